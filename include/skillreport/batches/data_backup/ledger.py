"""The ledger of backups (``batch.backup``), and its update from the store.

The ledger is in the backed-up database. In a restored ledger, its own backup is still running, and later backups are missing. They are
known only from the store: the manifest is written last, after everything else was verified. Others may write into the store, so such a
manifest needs a MAC.
"""

from __future__ import annotations

import hashlib
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
from include.skillreport.batches.data_backup.mac import MAC_CONNECTION, MacKeys
from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.batches.data_backup.restore import entry_of
from include.skillreport.batches.data_backup.retention import VerifiedBackup
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.proof import Recorded, Unchecked

_SQL = Statements(Path(__file__).parent)
_MAX_BIGINT = 2**63 - 1

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredBackup:
    """A complete backup, from its manifests. ``business_date`` is in Asia/Tokyo; the times are aware.

    ``has_mac``: true if the manifest has a valid MAC; None: the database contains its hash.
    """

    backup_id: str
    location: str
    business_date: date
    snapshot_at: datetime
    verified_at: datetime
    encrypted: bool
    dump_bytes: int
    total_bytes: int
    manifest_sha256: str
    has_mac: bool | None = None


@dataclass(frozen=True)
class OwnBackup:
    """A run's backup. ``dump_sha256`` is the hash of the written ``dump.json``, ``manifest_sha256`` that of ``manifest.json``."""

    backup_id: str
    status: str
    snapshot_at: datetime
    dump_sha256: str | None
    encrypted: bool
    manifest_sha256: str | None

    @property
    def dump(self) -> str:
        """``dump_sha256``. :raises BackupError: the run has no dump."""
        if self.dump_sha256 is None:
            raise _no_dump()
        return self.dump_sha256


def read_stored(
    store: ObjectStore,
    backup_id: str,
    keys: MacKeys,
    *,
    recorded: str | None,
    now: datetime,
    day: date,
    without_mac: bool = False,
) -> StoredBackup:
    """A complete backup of the store. ``recorded`` is its manifest's hash in the ledger. Without it, the manifest needs a valid MAC.

    ``now`` is aware. ``day`` (Asia/Tokyo) is the latest business date so far. ``without_mac``: a user has accepted the backup.
    :raises BackupDamagedError: a manifest is missing, was changed, belongs to another backup, has no valid MAC, or is of the future.
    """
    packer = Packer(store, f"{FOLDER}/{backup_id}")
    # A user may accept a backup without MAC.
    content = packer.manifest_bytes(MANIFEST, Recorded(recorded) if recorded else Unchecked())
    sha256 = hashlib.sha256(content).hexdigest()
    has_mac = None if recorded else keys.fault(store, packer.key(MANIFEST), content) is None
    if has_mac is False and not without_mac:
        raise BackupDamagedError(
            f"バックアップ {backup_id} はこのデータベースに記録がなく、目録に正しい検証コード（MAC）もありません。"
            f"接続 '{MAC_CONNECTION}' に取得時の鍵を登録するか、出所を確かめてから「検証コードのないバックアップを認める」"
            "（コマンドでは --without-mac）を選んでください。"
        )
    manifest = packer.parsed(MANIFEST, content)
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
            sha256,
            has_mac,
        )
        is_sound = (
            about["backup_id"] == backup_id and 0 < stored.dump_bytes <= stored.total_bytes <= _MAX_BIGINT
        )
        latest = max(day, now.astimezone(JAPAN).date())
        is_sound &= recorded is not None or (
            stored.business_date <= latest and max(stored.snapshot_at, stored.verified_at) <= now
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        is_sound = False
    if not is_sound:
        raise BackupDamagedError(
            f"目録 {store.location(packer.key(MANIFEST))} の内容が正しくありません。別のバックアップを使ってください。"
        )
    return stored


def record_stored_backups(
    platform: psycopg.Connection, store: ObjectStore, keys: MacKeys, run: Run, now: datetime
) -> None:
    """Record the store's complete backups as verified, in the open transaction, except ``settled_backups`` and unproved ones."""
    settled = set(_SQL.column(platform, "settled_backups", execution_id=run.execution_id))
    recorded = _recorded_manifests(platform)
    for backup_id in store.names(FOLDER):
        if backup_id in settled or not is_complete(store, backup_id):
            continue
        try:
            stored = read_stored(
                store, backup_id, keys, recorded=recorded.get(backup_id), now=now, day=run.business_date
            )
        except BackupDamagedError as error:
            log.warning("%s is not taken into the ledger: %s", backup_id, error)
            continue
        _SQL.execute(platform, "record_stored_backup", **asdict(stored))
        log.warning("%s is complete in the store: taken into the ledger as verified", backup_id)


def all_tenants(platform: psycopg.Connection) -> set[str]:
    """The ids of all tenants, with any status, because the host keeps former tenants' rows."""
    return set(_SQL.column(platform, "all_tenants"))


def begin_backup(
    platform: psycopg.Connection,
    run: Run,
    store: ObjectStore,
    keys: MacKeys,
    now: datetime,
    *,
    encrypted: bool,
) -> str:
    """Record the store's complete backups in the ledger, and write the run's own rows. Returns the backup's id. ``now`` is aware.

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
        for earlier_attempt in _own_backups(platform, run):
            require_unfinished(earlier_attempt)
            # It was killed before it updated the ledger. A manifest written by others completes nothing.
            if earlier_attempt.manifest_sha256 and is_complete(store, earlier_attempt.backup_id):
                raise _is_complete_already(earlier_attempt.backup_id)
        record_stored_backups(platform, store, keys, run, now)
        row = _SQL.row(
            platform, "begin_backup", **execution, business_date=run.business_date, stored=store.names(FOLDER)
        )
        backup_id = str(row[0])
        _SQL.execute(platform, "reopen_execution", **execution)
        _SQL.execute(platform, "close_abandoned_history", **execution)
        _SQL.execute(
            platform, "note_location", backup_id=backup_id, location=store.location(f"{FOLDER}/{backup_id}")
        )
        _SQL.execute(platform, "write_history", **execution, encrypted=encrypted)
    return backup_id


def has_begun(connection: psycopg.Connection, run: Run) -> bool:
    """True if an earlier attempt has begun the run's backup, so that the store may contain its files."""
    return bool(_own_backups(connection, run))


def own_backup(connection: psycopg.Connection, run: Run) -> OwnBackup:
    """The run's backup. :raises BackupError: it has none."""
    found = _own_backups(connection, run)
    if not found:
        raise _no_dump()
    return found[0]


def _own_backups(connection: psycopg.Connection, run: Run) -> list[OwnBackup]:
    return [OwnBackup(**row) for row in _SQL.rows(connection, "own_backup", execution_id=run.execution_id)]


def _no_dump() -> BackupError:
    return BackupError("この実行のダンプがありません。", "DUMP_MISSING")


def unfinished_backup(connection: psycopg.Connection, run: Run) -> OwnBackup:
    """The run's backup. :raises BackupError: it is complete and must not change, or it is deleted."""
    backup = own_backup(connection, run)
    require_unfinished(backup)
    return backup


def verified_backups(connection: psycopg.Connection) -> list[VerifiedBackup]:
    """The ledger's verified backups, in the order of their verification."""
    return [VerifiedBackup(*row) for row in _SQL.execute(connection, "verified_backups")]


def find_backup(
    connection: psycopg.Connection,
    store: ObjectStore,
    backup_id: str,
    keys: MacKeys,
    *,
    now: datetime,
    day: date,
    without_mac: bool = False,
) -> StoredBackup:
    """The backup to restore, checked by the ledger if the database has one. Parameters and errors as ``read_stored``."""
    has_ledger = connection.execute("SELECT to_regclass('batch.backup')").fetchone() != (None,)
    recorded = _recorded_manifests(connection) if has_ledger else {}
    return read_stored(
        store,
        backup_id,
        keys,
        recorded=recorded.get(backup_id),
        now=now,
        day=day,
        without_mac=without_mac,
    )


def _recorded_manifests(connection: psycopg.Connection) -> dict[str, str]:
    return {row["backup_id"]: row["manifest_sha256"] for row in _SQL.rows(connection, "recorded_manifests")}


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


def require_unfinished(backup: OwnBackup) -> None:
    """Check the status. :raises BackupError: the backup must not be changed any more."""
    if backup.status == "verified":
        raise _is_complete_already(backup.backup_id)
    if backup.status in ("deleting", "deleted"):
        raise BackupError(
            f"この実行のバックアップ {backup.backup_id} は整理（削除）されました。", "BACKUP_CLOSED"
        )


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
