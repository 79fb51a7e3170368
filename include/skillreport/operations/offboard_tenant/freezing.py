"""Freeze the subject of an approval: the keys of the tenant's people, and the primary keys of the application's rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from include.skillreport.core.database import Statements
from include.skillreport.operations.offboard_tenant.export import Snapshot
from include.skillreport.operations.offboard_tenant.ledger import Offboarding
from include.skillreport.schema.deletion import ListedTable, Rule, deletion_list
from include.skillreport.schema.leaving import primary_keys

_SQL = Statements(Path(__file__).parent)

# The rows per transaction. A thousand rows of the widest table take about 0.1 s.
CHUNK_ROWS = 1_000


def freeze(platform: psycopg.Connection, snapshot: Snapshot, offboarding: Offboarding) -> None:
    """Write the snapshot's keys, in short transactions. A repeated call replaces the keys of rows that are not yet deleted or blanked."""
    named = {"offboarding_id": offboarding.offboarding_id}
    _SQL.execute(platform, "drop_chunks", **named, only_undone=True)
    _freeze_people(platform, snapshot, offboarding.tenant_id)
    keys = primary_keys(snapshot.connection)
    for table in host_tables(snapshot):
        (last,) = _SQL.row(platform, "last_chunk", **named, table_name=full_name(table))
        for number, chunk in enumerate(
            _chunks(snapshot, table, keys[table.name], offboarding), start=last + 1
        ):
            _SQL.execute(
                platform,
                "freeze_chunk",
                **named,
                table_name=full_name(table),
                chunk=number,
                keys=Jsonb(chunk),
            )


def host_tables(snapshot: Snapshot) -> list[ListedTable]:
    """The application's tables that lose rows or values, in the order of deletion."""
    return [
        table
        for table in deletion_list()
        if table.is_host and table.rule is not Rule.KEEP and snapshot.has_view(table)
    ]


def full_name(table: ListedTable) -> str:
    """The table with its schema, as in ``batch.offboarding_table``."""
    return f"{table.schema}.{table.name}"


def appeared(
    snapshot: Snapshot, table: ListedTable, key: Sequence[str], offboarding: Offboarding
) -> list[str]:
    """At most three keys of the tenant's rows that are not frozen, because they are new or belonged to others.

    A row that returned after its deletion is new, too.
    """
    owned = snapshot.of(table)
    rows = snapshot.connection.execute(
        sql.SQL(
            "SELECT concat_ws(', ', {key}) FROM {table} AS content WHERE {belongs} AND NOT EXISTS ("
            "SELECT FROM batch.frozen_chunk AS chunk"
            " CROSS JOIN LATERAL jsonb_populate_recordset(null::{table}, chunk.keys) AS frozen"
            " WHERE chunk.offboarding_id = {offboarding} AND chunk.table_name = {name} AND {waits} AND {same})"
            " LIMIT 3"
        ).format(
            key=sql.SQL(", ").join(sql.Identifier("content", name) for name in key),
            table=owned.table.identifier,
            belongs=owned.belongs("content", offboarding.tenant_id),
            offboarding=sql.Literal(offboarding.offboarding_id),
            name=sql.Literal(full_name(table)),
            waits=sql.SQL("chunk.done_at IS null" if table.rule is Rule.DELETE else "true"),
            same=sql.SQL(" AND ").join(
                sql.SQL("{} = {}").format(sql.Identifier("frozen", name), sql.Identifier("content", name))
                for name in key
            ),
        )
    )
    return [str(row) for (row,) in rows]


def _freeze_people(platform: psycopg.Connection, snapshot: Snapshot, tenant_id: str) -> None:
    keys = snapshot.people(tenant_id)
    with platform.transaction(), platform.cursor() as cursor:
        cursor.executemany(
            _SQL["freeze_person"],
            [{"person_key": key, "kind": kind, "tenant_id": tenant_id} for key, kind in keys],
        )


def _chunks(
    snapshot: Snapshot, table: ListedTable, key: Sequence[str], offboarding: Offboarding
) -> Iterator[list[dict[str, object]]]:
    """The keys of the tenant's rows, in key order. A server-side cursor limits the memory."""
    owned = snapshot.of(table)
    names = sql.SQL(", ").join(sql.Identifier("content", name) for name in key)
    with snapshot.connection.cursor(name="keys_to_freeze") as cursor:
        cursor.itersize = CHUNK_ROWS
        cursor.execute(
            sql.SQL(
                "SELECT to_jsonb(own) FROM (SELECT {names} FROM {table} AS content WHERE {belongs} ORDER BY {names}) AS own"
            ).format(
                names=names,
                table=owned.table.identifier,
                belongs=owned.belongs("content", offboarding.tenant_id),
            )
        )
        while rows := cursor.fetchmany(CHUNK_ROWS):
            yield [row for (row,) in rows]
