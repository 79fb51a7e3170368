"""Tests that change rows only share one database."""

from tests.shared_database import shared_copy, shared_database

__all__ = ["shared_copy", "shared_database"]
