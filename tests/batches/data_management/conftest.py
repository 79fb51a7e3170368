"""Tests that change rows only share one database."""

from tests.batches.data_management.backup_stages import planted_backups, taken_backups
from tests.shared_database import host_database, shared_copy, shared_database

__all__ = ["host_database", "planted_backups", "shared_copy", "shared_database", "taken_backups"]
