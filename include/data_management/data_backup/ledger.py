"""What the store holds and the ledger (``batch.backup``) does not know.

The ledger is in the database that is backed up: restored, it says of the very backup it comes from that it is running, and nothing of
those taken since. What counts is the store, where a manifest is written last, after everything else has been verified.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path

import psycopg

from include.data_management.data_backup.files import (
    DUMP_MANIFEST,
    FOLDER,
    MANIFEST,
    BackupDamagedError,
    Packer,
    is_complete,
)
from include.data_management.data_backup.restore import entry_of
from include.database import read_sql
from include.execution.object_store import ObjectStore

_HERE = Path(__file__).parent
_MAX_BIGINT = 2**63 - 1

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredBackup:
    """A complete backup as its manifests describe it; ``business_date`` in Asia/Tokyo, the times with their zone."""

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
    """:raises BackupDamagedError: a manifest is missing, changed, or that of something else."""
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


def take_in_stored(platform: psycopg.Connection, store: ObjectStore, execution_id: str) -> None:
    """Enter complete backups of the store as verified, in the transaction that is open: not those that the ledger calls verified, is
    deleting, or has a running execution for. A damaged one stays as it is.
    """
    settled = {
        backup_id
        for (backup_id,) in platform.execute(
            read_sql(_HERE, "settled_backups"), {"execution_id": execution_id}
        )
    }
    for backup_id in store.names(FOLDER):
        if backup_id in settled or not is_complete(store, backup_id):
            continue
        try:
            stored = read_stored(store, backup_id)
        except BackupDamagedError as error:
            log.warning("%s is not taken into the ledger: %s", backup_id, error)
            continue
        platform.execute(read_sql(_HERE, "take_in_backup"), asdict(stored))
        log.warning("%s is complete in the store: taken into the ledger as verified", backup_id)
