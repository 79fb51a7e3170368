"""The register of deleted tenants in the store, and what keeps a restore and a deletion apart.

Backups from before a deletion still contain the tenant.
"""

from __future__ import annotations

import json
from pathlib import Path

import psycopg

from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.object_store import ObjectStore, tenant_folder

_SQL = Statements(Path(__file__).parent)

# The first key of the advisory lock, unique among this product's locks. The second key is the hash of the tenant's id. A step of an
# offboarding takes it alone, restores of the tenant share it.
TURN = 7_018_042

# How long a restore waits for a step of an offboarding. The deletion of a large tenant takes hours.
_TURN_WAIT = "1min"

REGISTER = "deleted_tenants"
ENTRY = "entry.json"


def register_folder(tenant_id: str) -> str:
    """The folder in the store about a deleted tenant: the register's entry, and a folder for each of its deletions."""
    return f"{REGISTER}/{tenant_folder(tenant_id)}"


def record_folder(tenant_id: str, offboarding_id: str) -> str:
    """The folder in the store with the certificates of one deletion, and the manifests of what was exported before it."""
    return f"{register_folder(tenant_id)}/{offboarding_id}"


def hold_off_deletion(connection: psycopg.Connection, store: ObjectStore, tenant_id: str) -> None:
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
    if store.exists(f"{register_folder(tenant_id)}/{ENTRY}"):
        raise BackupError(f"テナント {tenant_id} は退会して削除済みです。バックアップから復元できません。")
    # Nobody can cancel it any more. After an interruption it continues, and does not blank again what it has blanked.
    if _SQL.column(connection, "begun_deletion", tenant_id=tenant_id):
        raise BackupError(
            f"テナント {tenant_id} の退会による削除が始まっています。バックアップから復元できません。"
        )


def mark_deleted_tenants(connection: psycopg.Connection, store: ObjectStore) -> list[str]:
    """Record, in a restored database, the tenants that were deleted since its backup: no batch runs there until they are deleted again.

    Returns their ids.
    """
    if connection.execute("SELECT to_regclass('batch.deleted_tenant')").fetchone() == (None,):
        return []  # of a release that deleted nobody
    known = {tenant_folder(tenant_id) for tenant_id in _SQL.column(connection, "deleted_tenants")}
    entries = [
        json.loads(store.read(f"{REGISTER}/{name}/{ENTRY}"))
        for name in store.names(REGISTER)
        if name not in known and store.exists(f"{REGISTER}/{name}/{ENTRY}")
    ]
    return sorted(
        tenant_id
        for entry in entries
        for (tenant_id,) in _SQL.execute(connection, "mark_deleted_tenant", **entry)
    )


def refuse_deleted_tenants(platform: psycopg.Connection, store: ObjectStore) -> None:
    """Find a database that was restored by other means than ours.

    :raises BackupError: it has tenants that were deleted since. They are recorded, so that the other batches refuse, too.
    """
    if marked := mark_deleted_tenants(platform, store):
        raise BackupError(deleted_sentence(marked))


def deleted_sentence(tenant_ids: list[str]) -> str:
    """For operators: the deleted tenants that a restored database contains."""
    return (
        f"このデータベースには、退会して削除済みのテナント {'、'.join(tenant_ids)} があります。"
        "DAG offboard_tenant で削除をやり直すまで、このデータベースではバッチは動きません。"
    )
