"""Tests that change rows only share one database."""

from tests.worlds.backup_stages import planted_backups, taken_backups
from tests.worlds.shared_database import host_database, shared_copy, shared_database

__all__ = ["host_database", "planted_backups", "shared_copy", "shared_database", "taken_backups"]
