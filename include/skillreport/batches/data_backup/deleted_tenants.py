"""The register of deleted tenants in the store, and the locks between restores and deletions.

Backups from before a deletion still contain the tenant. Others may write into the store, so an entry counts only with a valid MAC, in its
tenant's folder, and unless two users have decided that it is wrong.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import psycopg

from include.skillreport.batches.data_backup.mac import SUFFIX, MacKeys
from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.core.database import Statements
from include.skillreport.core.errors import reason_of
from include.skillreport.core.execution.object_store import ObjectStore, is_tenant_folder, tenant_folder
from include.skillreport.core.execution.proof import UnprovedError, read_proved
from include.skillreport.core.execution.run_log import deleted_sentence

log = logging.getLogger(__name__)

_SQL = Statements(Path(__file__).parent)

# The first key of the advisory lock, unique among this product's locks. The second key is the hash of the tenant's id. Steps of an
# offboarding take it exclusively; restores share it.
TURN = 7_018_042

# The time that a restore waits for a step of an offboarding. Deleting a large tenant takes hours.
_TURN_WAIT = "1min"

REGISTER = "deleted_tenants"
ENTRY = "entry.json"

_MOST_ENTRY_BYTES = 64 << 10

# The maximum number of folders in a sentence, and of characters of each.
_NAMED, _NAMED_CHARACTERS = 5, 60


@dataclass(frozen=True)
class RegisterEntry:
    """The register's entry of a tenant. ``deleted_at`` is aware."""

    tenant_id: str
    offboarding_id: str
    deleted_at: datetime


@dataclass(frozen=True)
class Register:
    """``repeated``: a restored database's tenants that must be deleted again. ``unproved``: the folders whose entry does not count."""

    repeated: Sequence[str] = ()
    unproved: Sequence[str] = ()

    @property
    def unproved_sentence(self) -> str | None:
        """A sentence for operators about the entries that do not count, or None."""
        if not self.unproved:
            return None
        named = "、".join(f"{name[:_NAMED_CHARACTERS]!r}" for name in self.unproved[:_NAMED])
        return (
            f"保存先の退会の記録（{REGISTER}/）の {len(self.unproved)} 件（{named}{' など' if len(self.unproved) > _NAMED else ''}）は、"
            "正しい検証コード（MAC）がないため使いません。鍵の接続を確かめ、心当たりのない記録なら保存先に書ける人を調べて消してください"
        )


def register_folder(tenant_id: str) -> str:
    """A deleted tenant's folder in the store: the register's entry, and a folder for each of its deletions."""
    return f"{REGISTER}/{tenant_folder(tenant_id)}"


def record_folder(tenant_id: str, offboarding_id: str) -> str:
    """The folder with the certificates of one deletion, and the manifests of the exports before it."""
    return f"{register_folder(tenant_id)}/{offboarding_id}"


def write_entry(store: ObjectStore, keys: MacKeys, entry: RegisterEntry) -> None:
    """Write the entry with its MAC."""
    content = json.dumps(
        asdict(entry) | {"deleted_at": entry.deleted_at.isoformat()}, ensure_ascii=False, indent=1
    ).encode()
    key = f"{register_folder(entry.tenant_id)}/{ENTRY}"
    keys.write(store, key, content)
    store.write(key, content)


def delete_entry(store: ObjectStore, keys: MacKeys, tenant_id: str, offboarding_id: str) -> str | None:
    """Delete the tenant's wrong entry, or one that does not count. The entry of another deletion stays.

    If the store fails, returns a sentence for operators. The database's decision holds, so the entry does not count anyway.
    """
    folder = register_folder(tenant_id)
    try:
        entry = read_entry(store, keys, tenant_folder(tenant_id))
        if entry is None or entry.offboarding_id == offboarding_id:
            for suffix in ("", SUFFIX):
                store.delete(f"{folder}/{ENTRY}{suffix}")
    # Object stores' clients raise more than OSError.
    except Exception as error:
        return (
            f"保存先の退会の記録を消せませんでした。次の BATCH-001 がもう一度消します。それでも残ったら、フォルダー "
            f"{store.location(folder)} の {ENTRY} と {ENTRY}{SUFFIX} を消してください（{reason_of(error)}）"
        )
    return None


def read_entry(store: ObjectStore, keys: MacKeys, folder: str) -> RegisterEntry | None:
    """The entry of this folder of the register; None if it does not count for any reason."""
    key = f"{REGISTER}/{folder}/{ENTRY}"
    try:
        parts = json.loads(read_proved(store, key, keys, _MOST_ENTRY_BYTES))
        entry = RegisterEntry(
            str(parts["tenant_id"]),
            str(parts["offboarding_id"]),
            datetime.fromisoformat(parts["deleted_at"]),
        )
        is_own = tenant_folder(entry.tenant_id) == folder and entry.deleted_at.tzinfo is not None
        return entry if is_own and "\0" not in f"{entry.tenant_id}{entry.offboarding_id}" else None
    except (UnprovedError, ValueError, KeyError, TypeError, RecursionError):
        return None


def correct_entries(platform: psycopg.Connection, store: ObjectStore, keys: MacKeys) -> None:
    """Rewrite the entries of this database's register without a MAC of the present key, because the key is new or somebody changed them.

    Delete the entries that two users declared wrong, because the store failed then, or somebody brought them back.
    """
    present = MacKeys(keys.keys[:1])
    for row in _SQL.rows(platform, "own_register") if present.keys else ():
        entry = RegisterEntry(**row)
        if read_entry(store, present, tenant_folder(entry.tenant_id)) is None:
            write_entry(store, keys, entry)
    for void in _SQL.rows(platform, "void_entries"):
        found = read_entry(store, keys, tenant_folder(void["tenant_id"]))
        if (
            found
            and found.offboarding_id == void["offboarding_id"]
            and (problem := delete_entry(store, keys, **void))
        ):
            log.warning("%s", problem)


def hold_off_deletion(
    connection: psycopg.Connection, store: ObjectStore, keys: MacKeys, tenant_id: str
) -> None:
    """Prevent the tenant's deletion until the open transaction ends. Call it before restoring anything.

    Otherwise, a restore that begins before a deletion and ends after it would bring the tenant back.
    :raises BackupError: the tenant was deleted, its deletion has begun, or a step of its offboarding takes longer than a minute.
    """
    _SQL.execute(connection, "limit_turn_wait", wait=_TURN_WAIT)
    try:
        _SQL.execute(connection, "share_turn", lock=TURN, tenant_id=tenant_id)
    except psycopg.errors.LockNotAvailable:
        raise BackupError(
            f"テナント {tenant_id} の退会の操作（書き出しや削除）が実行中です。何も復元していません。"
            "DAG offboard_tenant と approve_offboarding の実行が終わってから、もう一度復元してください。"
        ) from None
    _SQL.execute(connection, "reset_lock_wait")
    entry = read_entry(store, keys, tenant_folder(tenant_id))
    is_listed = entry and not _SQL.column(connection, "void_entry", **asdict(entry))
    if is_listed or _SQL.column(connection, "listed_tenant", tenant_id=tenant_id):
        raise BackupError(f"テナント {tenant_id} は退会して削除済みです。バックアップから復元できません。")
    # A begun deletion cannot be cancelled. After an interruption it continues, and does not blank the same values again.
    if _SQL.column(connection, "begun_deletion", tenant_id=tenant_id):
        raise BackupError(
            f"テナント {tenant_id} の退会による削除が始まっています。バックアップから復元できません。"
        )


def mark_deleted_tenants(connection: psycopg.Connection, store: ObjectStore, keys: MacKeys) -> Register:
    """Record, in a restored database, the tenants deleted since its backup. No batch runs there until they are deleted again."""
    if connection.execute("SELECT to_regclass('batch.deleted_tenant')").fetchone() == (None,):
        return Register()  # of a release that deleted nobody
    known = {tenant_folder(tenant_id) for tenant_id in _SQL.column(connection, "deleted_tenants")}
    repeated, unproved = [], []
    for name in sorted(set(store.all_names(REGISTER)) - known):
        if not is_tenant_folder(name):
            unproved.append(name)
        elif entry := read_entry(store, keys, name):
            repeated += _SQL.column(connection, "mark_deleted_tenant", **asdict(entry))
        elif store.exists(f"{REGISTER}/{name}/{ENTRY}"):
            unproved.append(name)
    return Register(repeated, unproved)


def refuse_deleted_tenants(platform: psycopg.Connection, store: ObjectStore, keys: MacKeys) -> None:
    """Check for a database that other tools restored.

    :raises BackupError: it contains tenants that were deleted since. Records them, so that the other batches fail, too.
    """
    if repeated := mark_deleted_tenants(platform, store, keys).repeated:
        raise BackupError(deleted_sentence(repeated))
