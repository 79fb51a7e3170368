"""The register of deleted tenants in the store. Backups from before a deletion still contain the tenant."""

from __future__ import annotations

import json
from pathlib import Path

from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.batches.data_backup.server import DatabaseServer
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.object_store import ObjectStore, tenant_folder

_SQL = Statements(Path(__file__).parent)

REGISTER = "deleted_tenants"
ENTRY = "entry.json"


def register_folder(tenant_id: str) -> str:
    """The folder in the store about a deleted tenant: the register's entry, the manifest of the last export, the certificates."""
    return f"{REGISTER}/{tenant_folder(tenant_id)}"


def require_not_deleted(store: ObjectStore, tenant_id: str) -> None:
    """:raises BackupError: the tenant was deleted, so no backup of it may be restored."""
    if store.exists(f"{register_folder(tenant_id)}/{ENTRY}"):
        raise BackupError(f"テナント {tenant_id} は退会して削除済みです。バックアップから復元できません。")


def mark_deleted_tenants(server: DatabaseServer, store: ObjectStore, database: str) -> list[str]:
    """Record, in a restored database, the tenants that were deleted since its backup: no batch runs there until they are deleted again.

    Returns their ids.
    """
    folders = [f"{REGISTER}/{name}/{ENTRY}" for name in store.names(REGISTER)]
    entries = [json.loads(store.read(each)) for each in folders if store.exists(each)]
    with server.connect(database) as connection:
        if connection.execute("SELECT to_regclass('batch.deleted_tenant')").fetchone() == (None,):
            return []
        return sorted(
            tenant_id
            for entry in entries
            for (tenant_id,) in _SQL.execute(connection, "mark_deleted_tenant", **entry)
        )


def deleted_sentence(tenant_ids: list[str]) -> str:
    """For operators: the deleted tenants that a restored database contains."""
    return (
        f"このデータベースには、退会して削除済みのテナント {'、'.join(tenant_ids)} があります。"
        "DAG offboard_tenant で削除をやり直すまで、このデータベースではバッチは動きません。"
    )
