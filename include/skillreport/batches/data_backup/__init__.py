"""BATCH-001 データバックアップ."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.batches.data_backup.batch import DataBackupBatch
    from include.skillreport.core.execution.installation import Installation


def create_batch(installation: Installation) -> DataBackupBatch:
    """The batch with the deployed settings. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.batches.data_backup.access import BackupAccess
    from include.skillreport.batches.data_backup.batch import DataBackupBatch
    from include.skillreport.batches.data_backup.settings import BackupSettings

    return DataBackupBatch(BackupAccess(BackupSettings.load(), installation))
