"""The ledger of backups (``batch.backup``), and its update from the store.

The ledger is in the database that is backed up. In a restored ledger, its own backup is still running, and later backups are missing. The
store is authoritative: its manifest is written last, after everything else was verified.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path

import psycopg

from include.skillreport.batches.data_backup.files import (
    DUMP_MANIFEST,
    FOLDER,
    MANIFEST,
    BackupDamagedError,
    Packer,
    is_complete,
)
from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.batches.data_backup.restore import entry_of
from include.skillreport.batches.data_backup.retention import VerifiedBackup
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.execution.object_store import ObjectStore

_SQL = Statements(Path(__file__).parent)
_MAX_BIGINT = 2**63 - 1

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredBackup:
    """A complete backup as its manifests describe it; ``business_date`` in Asia/Tokyo, the times are aware."""

    backup_id: str
    location: str
    business_date: date
    snapshot_at: datetime
    verified_at: datetime
    encrypted: bool
    dump_bytes: int
    total_bytes: int
    manifest_sha256: str


def read_stored(store: ObjectStore, backup_id: str) -> StoredBackup:
    """:raises BackupDamagedError: a manifest is missing, was changed, or belongs to another backup."""
    packer = Packer(store, f"{FOLDER}/{backup_id}")
    entry, manifest = packer.entry(MANIFEST)
    dump = packer.read_manifest(DUMP_MANIFEST, entry_of(manifest, DUMP_MANIFEST))
    about = manifest.about
    try:
        stored = StoredBackup(
            backup_id,
            store.location(packer.folder),
            date.fromisoformat(about["business_date"]),
            datetime.fromisoformat(about["snapshot_at"]),
            datetime.fromisoformat(about["verified_at"]),
            bool(about["encrypted"]),
            dump.total_bytes,
            int(about["total_bytes"]),
            entry.sha256,
        )
        is_sound = (
            about["backup_id"] == backup_id and 0 < stored.dump_bytes <= stored.total_bytes <= _MAX_BIGINT
        )
    except (KeyError, TypeError, ValueError):
        is_sound = False
    if not is_sound:
        raise BackupDamagedError(
            f"目録 {store.location(packer.key(MANIFEST))} の内容が正しくありません。別のバックアップを使ってください。"
        )
    return stored


def record_stored_backups(platform: psycopg.Connection, store: ObjectStore, execution_id: str) -> None:
    """In the open transaction: record the store's complete backups as verified, except ``settled_backups`` and damaged backups."""
    settled = set(_SQL.column(platform, "settled_backups", execution_id=execution_id))
    for backup_id in store.names(FOLDER):
        if backup_id in settled or not is_complete(store, backup_id):
            continue
        try:
            stored = read_stored(store, backup_id)
        except BackupDamagedError as error:
            log.warning("%s is not taken into the ledger: %s", backup_id, error)
            continue
        _SQL.execute(platform, "record_stored_backup", **asdict(stored))
        log.warning("%s is complete in the store: taken into the ledger as verified", backup_id)


def all_tenants(platform: psycopg.Connection) -> set[str]:
    """The ids of all tenants, with any status: the host keeps the rows of a tenant that has left."""
    return set(_SQL.column(platform, "all_tenants"))


def begin_backup(platform: psycopg.Connection, run: Run, store: ObjectStore, *, encrypted: bool) -> str:
    """Record the store's complete backups in the ledger, and write the run's own rows; returns the backup's id.

    :raises BackupError: another run is active, or this run's backup is complete or deleted.
    """
    execution = {"execution_id": run.execution_id}
    with platform.transaction():
        platform.execute("LOCK TABLE batch.backup IN SHARE ROW EXCLUSIVE MODE")
        running = _SQL.execute(platform, "running_backup", **execution).fetchone()
        if running:
            raise BackupError(
                "別の実行がバックアップ中です（{}、DAG {} の {}）。それが終わるのを待ってください。".format(
                    *running
                )
            )
        earlier_attempt = _SQL.execute(platform, "own_backup", **execution).fetchone()
        if earlier_attempt:
            require_unfinished(str(earlier_attempt[0]), str(earlier_attempt[1]))
        record_stored_backups(platform, store, run.execution_id)
        row = _SQL.row(
            platform, "begin_backup", **execution, business_date=run.business_date, stored=store.names(FOLDER)
        )
        backup_id = str(row[0])
        if is_complete(store, backup_id):  # its run was killed before it updated the ledger
            raise _is_complete_already(backup_id)
        _SQL.execute(platform, "reopen_execution", **execution)
        _SQL.execute(platform, "close_abandoned_history", **execution)
        _SQL.execute(
            platform, "note_location", backup_id=backup_id, location=store.location(f"{FOLDER}/{backup_id}")
        )
        _SQL.execute(platform, "write_history", **execution, encrypted=encrypted)
    return backup_id


def has_begun(connection: psycopg.Connection, run: Run) -> bool:
    """Whether an earlier attempt has begun the run's backup, so that the store may have files of it."""
    return _SQL.execute(connection, "own_backup", execution_id=run.execution_id).fetchone() is not None


def own_backup(connection: psycopg.Connection, run: Run) -> tuple[str, str, datetime]:
    """The id, status and time of the run's backup."""
    row = _SQL.execute(connection, "own_backup", execution_id=run.execution_id).fetchone()
    if row is None:
        raise BackupError("この実行のダンプがありません。", "DUMP_MISSING")
    return str(row[0]), str(row[1]), row[2]


def unfinished_backup(connection: psycopg.Connection, run: Run) -> str:
    """The id of the run's backup. :raises BackupError: the backup is complete and must not change, or it is deleted."""
    backup_id, status, _ = own_backup(connection, run)
    require_unfinished(backup_id, status)
    return backup_id


def verified_backups(connection: psycopg.Connection) -> list[VerifiedBackup]:
    """The ledger's verified backups, in the order in which they were verified."""
    return [VerifiedBackup(*row) for row in _SQL.execute(connection, "verified_backups")]


def manifest_sha256(connection: psycopg.Connection, backup_id: str) -> str:
    row = _SQL.execute(connection, "manifest_sha256", backup_id=backup_id).fetchone()
    if row is None:
        raise BackupDamagedError(f"バックアップ {backup_id} の記録がありません。")
    return str(row[0])


def close_as_verified(
    platform: psycopg.Connection, run: Run, total_bytes: int, manifest_sha256: str, verified_at: datetime
) -> None:
    """Record the run's backup as verified, for retention and for the application."""
    with platform.transaction():
        _SQL.execute(
            platform,
            "record_verified",
            execution_id=run.execution_id,
            total_bytes=total_bytes,
            manifest_sha256=manifest_sha256,
            verified_at=verified_at,
        )
        _close_history(platform, run, "SUCCESS", total_bytes, manifest_sha256)


def close_as_failed(platform: psycopg.Connection, run: Run) -> None:
    """Record the run's backup as failed, unless it is verified."""
    with platform.transaction():
        failed = _SQL.execute(platform, "record_failed", execution_id=run.execution_id).fetchone()
        if failed:
            _close_history(
                platform, run, "FAILED", None, None, "実行が失敗しました。理由は Airflow のログにあります"
            )


def require_unfinished(backup_id: str, status: str) -> None:
    """:raises BackupError: a backup with this status must not be changed any more."""
    if status == "verified":
        raise _is_complete_already(backup_id)
    if status in ("deleting", "deleted"):
        raise BackupError(f"この実行のバックアップ {backup_id} は整理（削除）されました。", "BACKUP_CLOSED")


def _is_complete_already(backup_id: str) -> BackupError:
    return BackupError(
        f"この実行のバックアップ {backup_id} は完成しているため、変更しません。", "BACKUP_CLOSED"
    )


def _close_history(
    platform: psycopg.Connection,
    run: Run,
    status: str,
    total: int | None,
    sha256: str | None,
    error: str | None = None,
) -> None:
    _SQL.execute(
        platform,
        "close_history",
        execution_id=run.execution_id,
        status=status,
        bytes=total,
        sha256=sha256,
        error=error,
    )
