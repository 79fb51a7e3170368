"""The register of deleted tenants in the store. Backups from before a deletion still contain the tenant."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg

from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.object_store import ObjectStore, tenant_folder

_SQL = Statements(Path(__file__).parent)

REGISTER = "deleted_tenants"
ENTRY = "entry.json"


def register_folder(tenant_id: str) -> str:
    """The folder in the store about a deleted tenant: the register's entry, and a folder for each of its deletions."""
    return f"{REGISTER}/{tenant_folder(tenant_id)}"


def record_folder(tenant_id: str, offboarding_id: str) -> str:
    """The folder in the store with the certificates of one deletion, and the manifests of what was exported before it."""
    return f"{register_folder(tenant_id)}/{offboarding_id}"


def require_not_deleted(store: ObjectStore, tenant_id: str) -> None:
    """:raises BackupError: the tenant was deleted, so no backup of it may be restored."""
    if store.exists(f"{register_folder(tenant_id)}/{ENTRY}"):
        raise BackupError(f"テナント {tenant_id} は退会して削除済みです。バックアップから復元できません。")


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
