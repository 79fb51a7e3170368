"""The exports of a leaving tenant: ours, from one snapshot of the live database and proved in a scratch database, and the customer's."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psycopg
import pyrage  # type: ignore[import-untyped]
from psycopg import sql

from include.skillreport.batches.data_backup.access import BackupAccess
from include.skillreport.batches.data_backup.files import Manifest, Packer
from include.skillreport.batches.data_backup.ownership import OwnedTable, find_leaving, tenant_contents
from include.skillreport.batches.data_backup.server import DatabaseServer
from include.skillreport.batches.data_backup.tables import table_contents
from include.skillreport.batches.data_backup.tenant_export import (
    export_tenant,
    restore_tenant,
    verify_restored,
)
from include.skillreport.core.database import plan_for_scans
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.temporary_files import temporary_file, temporary_folder
from include.skillreport.operations.offboard_tenant.ledger import Offboarding
from include.skillreport.schema.deletion import HOST_SCHEMA, ListedTable, Rule, listed_tables
from include.skillreport.schema.host_contract import host_columns
from include.skillreport.schema.leaving import view_of

CUSTOMER_FILE = "customer.zip.age"

_CONTENTS = "目次.csv"


@dataclass(frozen=True)
class Snapshot:
    """A transaction of the backup's login on the live database, and the tables with tenants' rows."""

    connection: psycopg.Connection
    tables: Sequence[OwnedTable]

    def counts(self, tenant_id: str) -> list[tuple[str, str, str, int]]:
        """The tenant's rows: schema, table, rule and number, for tables with rows."""
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
        """The number of the application's rows, in tables to delete from or to blank, without a known person, or with an unknown tenant.

        Shared rows of all tenants do not count.
        """
        owned = [
            each
            for each in self.tables
            if each.table.schema == HOST_SCHEMA
            and self.rule_of(each.table.schema, each.table.name) != Rule.KEEP
        ]
        conditions = [
            sql.SQL(
                "{} IS null"
                if each.person_column
                else '{} NOT IN (SELECT known.tenant_id FROM public."MST_Tenant" AS known)'
            ).format(each.owner("content"))
            for each in owned
        ]
        found = table_contents(self.connection, [each.table for each in owned], conditions, hashed=())
        return sum(each.rows for each in found)

    def rule_of(self, schema: str, name: str) -> str:
        """The rule for the tenant's rows of the table. Before the multi-tenant migration some tables have no view, and stay."""
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
        """True if the application's table has a view for deletions."""
        found = self.connection.execute("SELECT to_regclass(%s)", [f"batch.{view_of(listed)}"]).fetchone()
        return found != (None,)


@contextmanager
def live_snapshot(server: DatabaseServer) -> Iterator[Snapshot]:
    """One read-only snapshot of the live database. Vacuum keeps all tables' dead rows until the block ends."""
    with server.connect() as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        # One scan per table, because the planner does not know the number of frozen keys.
        plan_for_scans(connection)
        yield Snapshot(connection, [each for each in find_leaving(connection) if _is_listed(each)])


def _is_listed(owned: OwnedTable) -> bool:
    # The others belong to a restore beside the live rows, restored_….
    return (owned.table.schema, owned.table.name) in listed_tables()


def export_all(packer: Packer, snapshot: Snapshot, tenant_id: str) -> tuple[Manifest, str]:
    """Export all rows of the tenant. Returns the manifest and its SHA-256."""
    packer.store.delete(packer.folder)  # files of an earlier attempt
    entry = export_tenant(snapshot.connection, snapshot.tables, packer, tenant_id)
    return packer.read_manifest(entry.path, entry.sha256), entry.sha256


def prove(
    access: BackupAccess, packer: Packer, manifest: Manifest, execution_id: str, tenant_id: str
) -> None:
    """Restore the tenant's export into a scratch database with the live structure, and compare it.

    :raises BackupDamagedError: with the tables that differ.
    """
    server = access.server()
    # A run proves several tenants' exports concurrently.
    owner = f"{execution_id.rpartition('_')[2]}_{hashlib.sha256(tenant_id.encode()).hexdigest()[:8]}"
    # A killed attempt may have left it.
    scratch = server.run_database(owner)
    server.drop(scratch)
    with temporary_folder() as spool:
        server.copy_structure(Path(spool, "structure"), scratch)
    try:
        with server.connect(scratch) as connection, connection.transaction():
            schema = restore_tenant(connection, packer, manifest)
            verify_restored(connection, schema, manifest)
    finally:
        server.drop(scratch)


def write_customer_file(snapshot: Snapshot, store: ObjectStore, offboarding: Offboarding, key: str) -> str:
    """Write the application's rows of the tenant for the customer, encrypted to their public age key. Returns the location.

    A zip with a CSV (UTF-8 with BOM) for each table and a table of contents, which also lists omitted credentials. The batches' own tables
    are omitted.
    """
    columns = host_columns(snapshot.connection)
    contents = [("ファイル", "内容", "行数", "入れていない列")]
    with temporary_file() as plain_file:
        with zipfile.ZipFile(plain_file, "w", zipfile.ZIP_DEFLATED) as archive:
            for owned, content in tenant_contents(
                snapshot.connection, snapshot.tables, offboarding.tenant_id
            ):
                listed = listed_tables()[content.schema, content.name]
                if not listed.is_host:
                    continue
                name, rows = f"{content.name}.csv", str(content.rows)
                if listed.secret is True:
                    contents.append((f"（{name}）", listed.reason, rows, "すべて"))
                    continue
                with archive.open(name, "w", force_zip64=True) as file:
                    _write_table(file, snapshot, owned, offboarding.tenant_id, columns[content.name])
                left_out = sorted(_secret_columns(listed).keys() & columns[content.name].keys())
                contents.append((name, listed.reason, rows, "、".join(left_out)))
            text = io.StringIO()
            csv.writer(text).writerows(contents)
            archive.writestr(_CONTENTS, "\ufeff" + text.getvalue())
        plain_file.seek(0)
        path = f"{offboarding.folder}/{CUSTOMER_FILE}"
        with store.writer(path) as target:
            pyrage.encrypt_io(plain_file, target, [pyrage.x25519.Recipient.from_str(key)])
    return store.location(path)


def _write_table(
    file: IO[bytes], snapshot: Snapshot, owned: OwnedTable, tenant_id: str, columns: Mapping[str, str]
) -> None:
    listed = listed_tables()[owned.table.schema, owned.table.name]
    query = sql.SQL("COPY (SELECT {} FROM {} AS content WHERE {}) TO STDOUT (FORMAT csv, HEADER)").format(
        _shown(listed, columns), owned.table.identifier, owned.belongs("content", tenant_id)
    )
    file.write("\ufeff".encode())
    with snapshot.connection.cursor().copy(query) as copy:
        for block in copy:
            file.write(block)


def _shown(listed: ListedTable, columns: Mapping[str, str]) -> sql.Composed:
    """The columns of the customer's file. A secret one is omitted, or empty in the rows that another column marks."""
    secret = _secret_columns(listed)
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


def _secret_columns(listed: ListedTable) -> Mapping[str, str]:
    """The columns that the customer does not get, with the column that marks the rows; empty: all rows."""
    return {} if isinstance(listed.secret, bool) else listed.secret
