"""These tests change rows only: they share one database."""

from tests.worlds.shared_database import database, shared_copy, shared_database

__all__ = ["database", "shared_copy", "shared_database"]
