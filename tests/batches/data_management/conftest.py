"""Tests that change rows only share one database."""

from tests.shared_database import host_database, shared_copy, shared_database

__all__ = ["host_database", "shared_copy", "shared_database"]
