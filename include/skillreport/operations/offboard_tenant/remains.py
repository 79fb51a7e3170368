"""What a tenant leaves outside the tables: its files in the store and the schema of a restore; and the register of deleted tenants."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from psycopg import sql

from include.skillreport.batches.data_backup.deleted_tenants import ENTRY, register_folder
from include.skillreport.batches.data_backup.server import DatabaseServer
from include.skillreport.batches.data_backup.tenant_export import restored_schema
from include.skillreport.core.errors import reason_of
from include.skillreport.core.execution.object_store import ObjectStore, tenant_folder
from include.skillreport.operations.offboard_tenant.ledger import Offboarding

# The folders of the store with a folder of each tenant. The documents of invoices stay.
_FOLDERS = ("reports", "notification_log", "deleted_rows")


def write_register(
    store: ObjectStore, offboarding: Offboarding, manifest: bytes | None, now: datetime
) -> None:
    """Record the tenant in the store. ``manifest`` is that of the last export; None: an earlier attempt has written it."""
    folder = register_folder(offboarding.tenant_id)
    if manifest is not None:
        store.write(f"{folder}/manifest.json", manifest)
    entry = {
        "tenant_id": offboarding.tenant_id,
        "offboarding_id": offboarding.offboarding_id,
        "deleted_at": now.isoformat(),
    }
    store.write(f"{folder}/{ENTRY}", json.dumps(entry, ensure_ascii=False, indent=1).encode())


def files_of(offboarding: Offboarding) -> list[str]:
    """The folders of the store that are deleted with the tenant."""
    return [*(f"{each}/{tenant_folder(offboarding.tenant_id)}" for each in _FOLDERS), offboarding.folder]


def erase(store: ObjectStore, folders: Sequence[str]) -> list[str]:
    """Delete the folders with the versions of their files; returns the place and the reason of each that cannot be deleted."""
    remains = []
    for folder in folders:
        try:
            store.erase(folder)
        except OSError as error:
            remains.append(f"{store.location(folder)}: {reason_of(error)}")
    return remains


def unerased(remains: Sequence[str]) -> list[str]:
    """The notes of a run about what ``erase`` has returned."""
    return [f"消せないファイル: {each}" for each in remains]


def drop_restored_schema(server: DatabaseServer, tenant_id: str) -> None:
    """Drop the schema into which somebody has restored the tenant."""
    with server.connect() as connection:
        connection.execute(
            sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(restored_schema(tenant_id)))
        )
