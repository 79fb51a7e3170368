"""What a tenant leaves outside the tables: its files in the store and the schema of a restore; and the register of deleted tenants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from psycopg import sql

from include.skillreport.batches.data_backup.deleted_tenants import RegisterEntry, record_folder, write_entry
from include.skillreport.batches.data_backup.mac import MacKeys
from include.skillreport.batches.data_backup.server import DatabaseServer
from include.skillreport.batches.data_backup.tenant_export import restored_schema
from include.skillreport.core.execution.object_store import ObjectStore, tenant_folder
from include.skillreport.operations.offboard_tenant.ledger import Offboarding

# The folders of the store with a folder of each tenant. The documents of invoices stay.
_FOLDERS = ("reports", "notification_log", "deleted_rows")

# The certificate names so many files that cannot be deleted.
_NAMED = 20


def write_register(
    store: ObjectStore,
    keys: MacKeys,
    offboarding: Offboarding,
    manifests: Mapping[str, bytes],
    now: datetime,
) -> None:
    """Record the tenant in the store, with the manifests of its exports by their names."""
    for name, content in manifests.items():
        store.write(f"{record_folder(offboarding.tenant_id, offboarding.offboarding_id)}/{name}", content)
    write_entry(store, keys, RegisterEntry(offboarding.tenant_id, offboarding.offboarding_id, now))


def files_of(offboarding: Offboarding) -> list[str]:
    """The folders of the store that are deleted with the tenant."""
    return [*(f"{each}/{tenant_folder(offboarding.tenant_id)}" for each in _FOLDERS), offboarding.folder]


def erase(store: ObjectStore, folders: Sequence[str]) -> list[str]:
    """Delete the folders with the versions of their files; returns the place and the reason of each that cannot be deleted, at most 20."""
    remains = [each for folder in folders for each in store.erase(folder)]
    return [*remains[:_NAMED], *([f"… + {len(remains) - _NAMED:,}"] if len(remains) > _NAMED else [])]


def unerased(remains: Sequence[str]) -> list[str]:
    """The notes of a run about what ``erase`` has returned."""
    return [f"消せないファイル: {each}" for each in remains]


def drop_restored_schema(server: DatabaseServer, tenant_id: str) -> None:
    """Drop the schema into which somebody has restored the tenant."""
    with server.connect() as connection:
        connection.execute(
            sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(restored_schema(tenant_id)))
        )
