"""The exports of a tenant that leaves: ours from one snapshot of the live database, proved in a scratch database, and the customer's."""

from __future__ import annotations

import csv
import hashlib
import io
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pyrage  # type: ignore[import-untyped]
from psycopg import sql

from include.skillreport.batches.data_backup.access import BackupAccess
from include.skillreport.batches.data_backup.files import Manifest, Packer
from include.skillreport.batches.data_backup.ownership import OwnedTable, find_leaving, tenant_contents
from include.skillreport.batches.data_backup.server import DatabaseServer, table_contents
from include.skillreport.batches.data_backup.spool import spool_folder
from include.skillreport.batches.data_backup.tenant_export import (
    export_tenant,
    manifest_path,
    restore_tenant,
    verify_restored,
)
from include.skillreport.core.database import plan_for_scans
from include.skillreport.core.execution.object_store import ObjectStore, full_disk_named
from include.skillreport.operations.offboard_tenant.ledger import Offboarding
from include.skillreport.schema.deletion import HOST_SCHEMA, ListedTable, Rule, listed_tables
from include.skillreport.schema.host_contract import host_columns
from include.skillreport.schema.leaving import view_of

CUSTOMER_FILE = "customer.zip.age"

_CONTENTS = "目次.csv"


@dataclass(frozen=True)
class Snapshot:
    """A transaction of the backup's login on the live database, and the tables with rows of tenants in it."""

    connection: psycopg.Connection
    tables: Sequence[OwnedTable]

    def counts(self, tenant_id: str) -> list[tuple[str, str, str, int]]:
        """The tenant's rows: schema, table, rule and number, only of tables with rows."""
        found = table_contents(
            self.connection,
            [owned.table for owned in self.tables],
            [owned.belongs("content", tenant_id) for owned in self.tables],
            hashed=(),
        )
        return [
            (each.schema, each.name, self.rule_of(each.schema, each.name), each.rows)
            for each in found
            if each.rows
        ]

    def unowned(self) -> int:
        """The rows of the application, in tables to delete from or to blank, whose owner nobody can know."""
        owned = [
            each
            for each in self.tables
            if each.table.schema == HOST_SCHEMA
            and self.rule_of(each.table.schema, each.table.name) != Rule.KEEP
        ]
        conditions = [sql.SQL("{} IS null").format(each.owner("content")) for each in owned]
        found = table_contents(self.connection, [each.table for each in owned], conditions, hashed=())
        return sum(each.rows for each in found)

    def rule_of(self, schema: str, name: str) -> str:
        """What happens to the tenant's rows of the table. Before the multi-tenant migration some tables have no view, and stay."""
        listed = listed_tables()[schema, name]
        return str(Rule.KEEP if listed.is_host and not self.has_view(listed) else listed.rule)

    def of(self, listed: ListedTable) -> OwnedTable:
        """The listed table in this snapshot."""
        return next(
            each
            for each in self.tables
            if (each.table.schema, each.table.name) == (listed.schema, listed.name)
        )

    def people(self, tenant_id: str) -> list[tuple[str, str]]:
        """The keys of the tenant's people, with their kinds."""
        rows = self.connection.execute(
            "SELECT person_key, kind FROM pg_temp.person_key WHERE tenant_id = %s", [tenant_id]
        )
        return rows.fetchall()

    def has_view(self, listed: ListedTable) -> bool:
        """Whether the application's table has a view to delete through."""
        found = self.connection.execute("SELECT to_regclass(%s)", [f"batch.{view_of(listed)}"]).fetchone()
        return found != (None,)


@contextmanager
def live_snapshot(server: DatabaseServer) -> Iterator[Snapshot]:
    """One snapshot of the live database; nothing is written. Vacuum keeps dead rows of all tables until the block ends."""
    with server.connect() as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        # Each table is read once. The planner does not know the number of frozen keys.
        plan_for_scans(connection)
        yield Snapshot(connection, [each for each in find_leaving(connection) if _is_listed(each)])


def _is_listed(owned: OwnedTable) -> bool:
    # Others are those of a restore beside the live rows, restored_….
    return (owned.table.schema, owned.table.name) in listed_tables()


def export_all(packer: Packer, snapshot: Snapshot, tenant_id: str) -> tuple[Manifest, str]:
    """Export all rows of the tenant; returns the manifest and its SHA-256."""
    packer.store.delete(packer.folder)  # files of an earlier attempt
    entry = export_tenant(snapshot.connection, snapshot.tables, packer, tenant_id)
    return packer.read_manifest(entry.path, entry.sha256), entry.sha256


def prove(access: BackupAccess, packer: Packer, manifest: Manifest, owner: str) -> None:
    """Restore an export into a scratch database with the structure of the live one, and compare it.

    ``owner`` names the attempt. :raises BackupDamagedError: names the tables that differ.
    """
    server = access.server()
    # Not the prefix of BATCH-001, which drops what has it.
    scratch = f"batch_offboard_check_{hashlib.sha256(owner.encode()).hexdigest()[:16]}"
    server.drop(scratch)
    with spool_folder(owner) as spool:
        server.copy_structure(Path(spool, "structure"), scratch)
    try:
        with server.connect(scratch) as connection, connection.transaction():
            schema = restore_tenant(connection, packer, manifest)
            verify_restored(connection, schema, manifest)
    finally:
        server.drop(scratch)


def stored_manifest(packer: Packer, tenant_id: str) -> bytes:
    """The manifest as it is stored."""
    return packer.store.read(packer.key(manifest_path(tenant_id)))


def write_customer_file(snapshot: Snapshot, store: ObjectStore, offboarding: Offboarding, key: str) -> str:
    """Write the application's rows of the tenant for the customer, encrypted to their public age key; returns the location.

    A zip with a CSV (UTF-8) for each table and a table of contents. It has neither credentials nor our own schema.
    """
    columns = host_columns(snapshot.connection)
    contents = [("ファイル", "内容", "行数")]
    with (
        full_disk_named(f"一時フォルダー（TMPDIR）{tempfile.gettempdir()}"),
        tempfile.TemporaryFile() as plain_file,
    ):
        with zipfile.ZipFile(plain_file, "w", zipfile.ZIP_DEFLATED) as archive:
            for owned, content in tenant_contents(
                snapshot.connection, snapshot.tables, offboarding.tenant_id
            ):
                listed = listed_tables()[content.schema, content.name]
                if not listed.is_host or listed.secret is True:
                    continue
                query = sql.SQL("COPY (SELECT {} FROM {} AS content WHERE {}) TO STDOUT (FORMAT csv, HEADER)")
                with (
                    archive.open(f"{content.name}.csv", "w", force_zip64=True) as file,
                    snapshot.connection.cursor().copy(
                        query.format(
                            _shown(listed, columns[content.name]),
                            owned.table.identifier,
                            owned.belongs("content", offboarding.tenant_id),
                        )
                    ) as copy,
                ):
                    for block in copy:
                        file.write(block)
                contents.append((f"{content.name}.csv", listed.reason, str(content.rows)))
            text = io.StringIO()
            csv.writer(text).writerows(contents)
            archive.writestr(_CONTENTS, "\ufeff" + text.getvalue())
        plain_file.seek(0)
        path = f"{offboarding.folder}/{CUSTOMER_FILE}"
        with store.writer(path) as target:
            pyrage.encrypt_io(plain_file, target, [pyrage.x25519.Recipient.from_str(key)])
    return store.location(path)


def _shown(listed: ListedTable, columns: Sequence[str] | dict[str, str]) -> sql.Composed:
    """The columns of the customer's file. A secret one is left out, or empty in the rows that another column marks."""
    secret = listed.secret if isinstance(listed.secret, dict) else {}
    shown: list[sql.Composable] = []
    for name in columns:
        flag = secret.get(name)
        if flag is None:
            shown.append(sql.Identifier("content", name))
        elif flag in columns:
            shown.append(
                sql.SQL("CASE WHEN {} IS NOT true THEN {} END AS {}").format(
                    sql.Identifier("content", flag), sql.Identifier("content", name), sql.Identifier(name)
                )
            )
    return sql.SQL(", ").join(shown)
