"""A tenant's remains outside the tables (files in the store, the schema of a restore), and the register of deleted tenants."""

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

# The store's folders with a folder per tenant. The invoices' documents stay.
_FOLDERS = ("reports", "notification_log", "deleted_rows")

# The maximum number of undeletable files in the certificate.
_NAMED = 20


def write_register(
    store: ObjectStore,
    keys: MacKeys,
    offboarding: Offboarding,
    manifests: Mapping[str, bytes],
    now: datetime,
) -> None:
    """Record the tenant in the store, with its exports' manifests by name."""
    for name, content in manifests.items():
        store.write(f"{record_folder(offboarding.tenant_id, offboarding.offboarding_id)}/{name}", content)
    write_entry(store, keys, RegisterEntry(offboarding.tenant_id, offboarding.offboarding_id, now))


def files_of(offboarding: Offboarding) -> list[str]:
    """The folders of the store that are deleted with the tenant."""
    return [*(f"{each}/{tenant_folder(offboarding.tenant_id)}" for each in _FOLDERS), offboarding.folder]


def erase(store: ObjectStore, folders: Sequence[str]) -> list[str]:
    """Delete the folders with all versions of their files. Returns the location and the reason for at most 20 undeletable files."""
    remains = [each for folder in folders for each in store.erase(folder)]
    return [*remains[:_NAMED], *([f"… + {len(remains) - _NAMED:,}"] if len(remains) > _NAMED else [])]


def unerased(remains: Sequence[str]) -> list[str]:
    """A run's notes about the results of ``erase``."""
    return [f"消せないファイル: {each}" for each in remains]


def drop_restored_schema(server: DatabaseServer, tenant_id: str) -> None:
    """Drop the schema with the tenant's restored rows."""
    with server.connect() as connection:
        connection.execute(
            sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(restored_schema(tenant_id)))
        )
