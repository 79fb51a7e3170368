"""The register of deleted tenants in the store, and what keeps a restore and a deletion apart.

Backups from before a deletion still contain the tenant. Others may write into the store: an entry counts with a valid MAC, in the
folder of its tenant, and unless two persons have decided that it is wrong.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import psycopg

from include.skillreport.batches.data_backup.mac import SUFFIX, UNREADABLE, MacKeys, read_at_most
from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.core.database import Statements
from include.skillreport.core.errors import reason_of
from include.skillreport.core.execution.object_store import ObjectStore, tenant_folder
from include.skillreport.core.execution.run_log import deleted_sentence

log = logging.getLogger(__name__)

_SQL = Statements(Path(__file__).parent)

# The first key of the advisory lock, unique among this product's locks. The second key is the hash of the tenant's id. A step of an
# offboarding takes it alone, restores of the tenant share it.
TURN = 7_018_042

# How long a restore waits for a step of an offboarding. The deletion of a large tenant takes hours.
_TURN_WAIT = "1min"

REGISTER = "deleted_tenants"
ENTRY = "entry.json"

_MOST_ENTRY_BYTES = 64 << 10

# As ``tenant_folder`` names it.
_FOLDER = re.compile(r"[A-Za-z0-9_-]{0,40}-[0-9a-f]{16}")

# A sentence names so many folders, and so much of each name.
_NAMED, _NAMED_CHARACTERS = 5, 60


@dataclass(frozen=True)
class RegisterEntry:
    """What the register says about a tenant. ``deleted_at`` is aware."""

    tenant_id: str
    offboarding_id: str
    deleted_at: datetime


@dataclass(frozen=True)
class Register:
    """``repeated``: the tenants of a restored database that must be deleted again. ``unproved``: the folders whose entry does not count."""

    repeated: Sequence[str] = ()
    unproved: Sequence[str] = ()

    @property
    def unproved_sentence(self) -> str | None:
        """For operators: the entries that do not count."""
        if not self.unproved:
            return None
        named = "、".join(f"{name[:_NAMED_CHARACTERS]!r}" for name in self.unproved[:_NAMED])
        return (
            f"保存先の退会の記録（{REGISTER}/）の {len(self.unproved)} 件（{named}{' など' if len(self.unproved) > _NAMED else ''}）は、"
            "正しい検証コード（MAC）がないため使いません。鍵の接続を確かめ、心当たりのない記録なら保存先に書ける人を調べて消してください"
        )


def register_folder(tenant_id: str) -> str:
    """The folder in the store about a deleted tenant: the register's entry, and a folder for each of its deletions."""
    return f"{REGISTER}/{tenant_folder(tenant_id)}"


def record_folder(tenant_id: str, offboarding_id: str) -> str:
    """The folder in the store with the certificates of one deletion, and the manifests of what was exported before it."""
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
    """Delete the tenant's entry that is wrong, or that does not count. The entry of another deletion stays.

    Returns a sentence for operators if the store fails: the database has decided, and the entry does not count.
    """
    folder = register_folder(tenant_id)
    try:
        entry = read_entry(store, keys, tenant_folder(tenant_id))
        if entry is None or entry.offboarding_id == offboarding_id:
            for suffix in ("", SUFFIX):
                store.delete(f"{folder}/{ENTRY}{suffix}")
    # The clients of object stores raise more than OSError.
    except Exception as error:
        return (
            f"保存先の退会の記録を消せませんでした。次の BATCH-001 がもう一度消します。それでも残ったら、フォルダー "
            f"{store.location(folder)} の {ENTRY} と {ENTRY}{SUFFIX} を消してください（{reason_of(error)}）"
        )
    return None


def read_entry(store: ObjectStore, keys: MacKeys, folder: str) -> RegisterEntry | None:
    """The entry of this folder of the register; None if it does not count, whatever it holds."""
    key = f"{REGISTER}/{folder}/{ENTRY}"
    try:
        content = read_at_most(store, key, _MOST_ENTRY_BYTES)
        if not keys.verify(store, key, content):
            return None
        parts = json.loads(content)
        entry = RegisterEntry(
            str(parts["tenant_id"]),
            str(parts["offboarding_id"]),
            datetime.fromisoformat(parts["deleted_at"]),
        )
        is_own = tenant_folder(entry.tenant_id) == folder and entry.deleted_at.tzinfo is not None
        return entry if is_own and "\0" not in f"{entry.tenant_id}{entry.offboarding_id}" else None
    except (*UNREADABLE, PermissionError, ValueError, KeyError, TypeError, RecursionError):
        return None


def correct_entries(platform: psycopg.Connection, store: ObjectStore, keys: MacKeys) -> None:
    """Write the entries of this database's register again that lack a MAC of the present key: it is new, or somebody has changed them.

    Delete the entries that are wrong, as two persons have decided: the store failed then, or somebody has brought them back.
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
    """Let nobody delete the tenant before the open transaction ends. Call it before the transaction restores anything.

    Without it, a restore that begins before a deletion and ends after it would bring the tenant back.
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
    # Nobody can cancel it any more. After an interruption it continues, and does not blank again what it has blanked.
    if _SQL.column(connection, "begun_deletion", tenant_id=tenant_id):
        raise BackupError(
            f"テナント {tenant_id} の退会による削除が始まっています。バックアップから復元できません。"
        )


def mark_deleted_tenants(connection: psycopg.Connection, store: ObjectStore, keys: MacKeys) -> Register:
    """Record, in a restored database, the tenants that were deleted since its backup: no batch runs there until they are deleted again."""
    if connection.execute("SELECT to_regclass('batch.deleted_tenant')").fetchone() == (None,):
        return Register()  # of a release that deleted nobody
    known = {tenant_folder(tenant_id) for tenant_id in _SQL.column(connection, "deleted_tenants")}
    repeated, unproved = [], []
    for name in sorted(set(store.names(REGISTER)) - known):
        if not _FOLDER.fullmatch(name):
            unproved.append(name)
        elif entry := read_entry(store, keys, name):
            repeated += _SQL.column(connection, "mark_deleted_tenant", **asdict(entry))
        elif store.exists(f"{REGISTER}/{name}/{ENTRY}"):
            unproved.append(name)
    return Register(repeated, unproved)


def refuse_deleted_tenants(platform: psycopg.Connection, store: ObjectStore, keys: MacKeys) -> None:
    """Find a database that was restored by other means than ours.

    :raises BackupError: it has tenants that were deleted since. They are recorded, so that the other batches refuse, too.
    """
    if repeated := mark_deleted_tenants(platform, store, keys).repeated:
        raise BackupError(deleted_sentence(repeated))
