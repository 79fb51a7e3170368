"""BATCH-001 データバックアップ."""

from include.data_management.data_backup.batch import DataBackupBatch
from include.settings import load_settings


def create_batch() -> DataBackupBatch:
    """The batch with the deployed settings."""
    return DataBackupBatch(load_settings().backup)
