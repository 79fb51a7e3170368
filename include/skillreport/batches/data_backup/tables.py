"""The tables of a database: their names, sizes and contents."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from include.skillreport.batches.data_backup.files import TableContent
from include.skillreport.batches.data_backup.spool import TableSize
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parent)


@dataclass(frozen=True)
class Table:
    """A table. ``has_tenant``: it has a column tenant_id. ``has_children``: other tables inherit from it."""

    schema: str
    name: str
    has_tenant: bool
    has_children: bool = False

    @property
    def identifier(self) -> sql.Identifier:
        """The quoted name with the schema."""
        return sql.Identifier(self.schema, self.name)


def list_tables(connection: psycopg.Connection) -> list[Table]:
    """All tables, by schema and name."""
    return [Table(*row) for row in _SQL.execute(connection, "list_tables")]


def table_sizes(connection: psycopg.Connection) -> list[TableSize]:
    """The sizes of the tables, largest first, without concurrently dropped ones."""
    return [TableSize(*row) for row in _SQL.execute(connection, "table_sizes")]


def table_contents(
    connection: psycopg.Connection,
    tables: Sequence[Table],
    conditions: Sequence[sql.Composable] = (),
    *,
    hashed: Collection[tuple[str, str]] | None = None,
) -> list[TableContent]:
    """The number of rows and the content hash of each table, or of the rows ``content`` that match the table's condition.

    Only tables in ``hashed`` (by schema and name) have a hash; None: all tables.
    """
    if not tables:
        return []
    query = _contents_query(tables, conditions, hashed)
    found = [TableContent(*row) for row in connection.execute(query)]
    by_name = {(content.schema, content.name): content for content in found}
    return [by_name[table.schema, table.name] for table in tables]


def stream_contents(
    connection: psycopg.Connection, tables: Sequence[Table], *, hashed: Collection[tuple[str, str]]
) -> Iterator[TableContent]:
    """As ``table_contents``, in any order. Before a cancellation, yields the finished tables."""
    if tables:
        for row in connection.cursor().stream(_contents_query(tables, (), hashed)):
            yield TableContent(*row)


def _contents_query(
    tables: Sequence[Table],
    conditions: Sequence[sql.Composable],
    hashed: Collection[tuple[str, str]] | None,
) -> sql.Composed:
    """One statement for all tables, because round trips per table take longer than counting."""
    content_hash = sql.SQL("coalesce(sum(hashtextextended(content::text, 0)::numeric), 0)::text")
    parts = [
        sql.SQL(
            "SELECT {schema}::text, {name}::text, count(*), {content_hash} FROM {table} AS content WHERE {condition}"
        ).format(
            schema=table.schema,
            name=table.name,
            content_hash=(
                content_hash
                if hashed is None or (table.schema, table.name) in hashed
                else sql.SQL("null::text")
            ),
            table=table.identifier,
            condition=conditions[index] if conditions else sql.SQL("true"),
        )
        for index, table in enumerate(tables)
    ]
    return sql.SQL(" UNION ALL ").join(parts)
