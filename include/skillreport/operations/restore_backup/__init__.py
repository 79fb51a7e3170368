"""Restore tenants or the entire database from a backup."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.core.execution.installation import Installation
    from include.skillreport.operations.restore_backup.batch import BackupRestore


def create_batch(installation: Installation) -> BackupRestore:
    """The restore with the backups of the installation. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.batches.data_backup.access import BackupAccess
    from include.skillreport.batches.data_backup.settings import BackupSettings
    from include.skillreport.operations.restore_backup.batch import BackupRestore

    return BackupRestore(BackupAccess(BackupSettings.load(), installation))
