"""Deletes expired backups."""

from __future__ import annotations

import logging
from pathlib import Path

from include.skillreport.batches.data_backup.files import FOLDER, MANIFEST, is_complete
from include.skillreport.batches.data_backup.ledger import verified_backups
from include.skillreport.batches.data_backup.retention import backups_to_keep
from include.skillreport.batches.data_backup.settings import RetentionSettings
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.batch import Work

_SQL = Statements(Path(__file__).parent)

log = logging.getLogger(__name__)


def delete_expired(work: Work, own_id: str, retention: RetentionSettings) -> None:
    """Delete expired backups, and files of runs without a manifest. ``own_id``: this run's backup."""
    platform, store = work.connection, work.files
    verified = []
    for backup in verified_backups(platform):
        if is_complete(store, backup.backup_id):
            verified.append(backup)
        else:
            log.warning(
                "%s was verified, but has no manifest in %s any more: nothing of it is deleted",
                backup.backup_id,
                store.location(FOLDER),
            )
    kept = backups_to_keep(verified, retention) | {own_id}
    unfinished = _SQL.execute(platform, "unfinished_backups", execution_id=work.run.execution_id)
    leaving = [backup.backup_id for backup in verified if backup.backup_id not in kept]
    # A backup with a manifest is complete: the next run records it in the ledger.
    leaving += [backup_id for (backup_id,) in unfinished if not is_complete(store, backup_id)]
    # Committed before the deletion, so that the next run continues after a kill.
    deleting = _SQL.execute(platform, "record_deleting", backup_ids=leaving).fetchall()
    for (backup_id,) in sorted(deleting):
        # The manifest first, so that after a kill the remaining files do not count as a backup.
        store.delete(f"{FOLDER}/{backup_id}/{MANIFEST}")
        store.delete(f"{FOLDER}/{backup_id}")
        with platform.transaction():
            _SQL.execute(platform, "record_deleted", backup_id=backup_id)
            _SQL.execute(platform, "delete_history", backup_id=backup_id)
        log.info("%s is deleted", backup_id)
