"""The rows of a tenant's export, and the rows of no export.

A row of the host belongs to the tenant of its person (``batch.all_person_key``), otherwise to the tenant in its column ``tenant_id``. The
batches ignore the tenant of rows that a placeholder or the application itself wrote; an export contains these rows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg import sql

from include.skillreport.batches.data_backup.files import TableContent
from include.skillreport.batches.data_backup.tables import Table, list_tables, table_contents
from include.skillreport.core.database import Statements
from include.skillreport.schema.deletion import HOST_SCHEMA, listed_tables, row_owner

_SQL = Statements(Path(__file__).parent)

# In a database restored for exports, this schema contains the keys of all people; see index_owners.
KEY_SCHEMA = "tenant_export"
_KEYS = sql.Identifier(KEY_SCHEMA, "person_key")

_ONLY_TENANT = sql.SQL("(SELECT tenant_id FROM batch.only_tenant)")
_SOLE_ROW = sql.SQL('(SELECT max(tenant_id) FROM public."MST_Tenant")')

# Calculated from other tables.
_DERIVED = frozenset({("batch", "person_key")})


@dataclass(frozen=True)
class OwnedTable:
    """A table whose rows belong to tenants. ``keys`` is the table of people's keys.

    ``person_column`` contains a person's key of ``key_kind``. Without it and without a tenant column, all rows belong to the only tenant.
    ``default_tenant`` in the tenant column means no tenant. ``counts_deleted``: the only tenant counts even if it is deleted.
    """

    table: Table
    keys: sql.Identifier
    person_column: str | None = None
    key_kind: str | None = None
    default_tenant: str | None = None
    counts_deleted: bool = False

    def owner(self, alias: str) -> sql.Composable:
        """An expression for the tenant of the row ``alias``; null if there is none."""
        return row_owner(
            alias,
            person_column=self.person_column,
            key_kind=self.key_kind,
            has_tenant=self.table.has_tenant,
            default_tenant=self.default_tenant,
            keys=self.keys,
            only_tenant=_SOLE_ROW if self.counts_deleted else _ONLY_TENANT,
        )

    def belongs(self, alias: str, tenant_id: str) -> sql.Composable:
        """The condition that the row ``alias`` belongs to this tenant, for rows found by another condition."""
        tenant = sql.Literal(tenant_id)
        if self.person_column is None:
            return sql.SQL("{} = {}").format(self.owner(alias), tenant)
        # Not = ANY(ARRAY(…)), because PostgreSQL compares such an array with each row key by key, which is very slow for large tenants.
        named = sql.SQL(
            "btrim({person}) IN ("
            "SELECT keys.person_key FROM {keys} AS keys WHERE keys.tenant_id = {tenant} AND keys.kind = {kind})"
        ).format(
            person=sql.Identifier(alias, self.person_column),
            keys=self.keys,
            tenant=tenant,
            kind=sql.Literal(self.key_kind),
        )
        if not self.table.has_tenant:
            return named
        return sql.SQL("({named} OR ({stated} = {tenant} AND {owner} = {tenant}))").format(
            named=named,
            stated=sql.Identifier(alias, "tenant_id"),
            tenant=tenant,
            owner=self.owner(alias),
        )

    def found_by_index(self, alias: str, tenant_id: str) -> sql.Composable:
        """The condition of ``belongs``, which uses the indexes of ``index_owners`` if the database has them."""
        # Rows of a table and of its children can have the same ctid.
        if self.person_column is None or self.table.has_children or self.keys != _KEYS:
            return self.belongs(alias, tenant_id)
        tenant = sql.Literal(tenant_id)
        # Two steps, so that no row is compared with the list of keys: ctids by the indexes, then rows by ctid.
        places = sql.SQL(
            "SELECT own.ctid FROM {table} AS own WHERE btrim({person}) = ANY(ARRAY("
            "SELECT keys.person_key FROM {keys} AS keys WHERE keys.tenant_id = {tenant} AND keys.kind = {kind}))"
        ).format(
            table=self.table.identifier,
            person=sql.Identifier("own", self.person_column),
            keys=self.keys,
            tenant=tenant,
            kind=sql.Literal(self.key_kind),
        )
        if self.table.has_tenant:
            places += sql.SQL(
                " UNION ALL SELECT own.ctid FROM {table} AS own WHERE own.tenant_id = {tenant} AND {owner} = {tenant}"
            ).format(table=self.table.identifier, tenant=tenant, owner=self.owner("own"))
        return sql.SQL("{place} = ANY(ARRAY({places}))").format(
            place=sql.Identifier(alias, "ctid"), places=places
        )


@dataclass(frozen=True)
class LeftOut:
    """Rows that no tenant's export contains. ``table`` includes the schema. ``reason`` is for operators."""

    table: str
    rows: int
    reason: str


def index_owners(connection: psycopg.Connection) -> None:
    """Prepare a restored database for exports: the keys of all people, and indexes to find a tenant's rows.

    Without these indexes, every export would read entire tables.
    """
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(KEY_SCHEMA)))
    _write_keys(connection, sql.SQL("TABLE"), _KEYS)
    for owned in owned_tables(connection):
        columns: list[sql.Composable] = [sql.SQL("tenant_id")] if owned.table.has_tenant else []
        if owned.person_column:
            columns.append(sql.SQL("btrim({})").format(sql.Identifier(owned.person_column)))
        for column in columns:
            connection.execute(sql.SQL("CREATE INDEX ON {} ({})").format(owned.table.identifier, column))
    connection.execute("ANALYZE")


def find_owners(connection: psycopg.Connection) -> list[OwnedTable]:
    """The live database's tables, with its people's keys in a temporary table of the open transaction."""
    return owned_tables(connection, _temporary_keys(connection, "person_keys"))


def find_leaving(connection: psycopg.Connection) -> list[OwnedTable]:
    """As ``find_owners`` for a leaving tenant, in an installation that may delete: the rows of the views ``batch.leaving_*``.

    Its people are known during their deletion. The only tenant counts with any status. A column's default is no tenant.
    """
    found = owned_tables(connection, _temporary_keys(connection, "leaving_keys"))
    return [
        replace(
            owned,
            counts_deleted=True,
            default_tenant=listed.default_tenant
            if (listed := listed_tables().get((owned.table.schema, owned.table.name)))
            else None,
        )
        for owned in found
    ]


def _temporary_keys(connection: psycopg.Connection, query: str) -> sql.Identifier:
    connection.execute("DROP TABLE IF EXISTS pg_temp.person_key")
    keys = sql.Identifier("pg_temp", "person_key")
    _write_keys(connection, sql.SQL("TEMPORARY TABLE"), keys, query)
    return keys


def _write_keys(
    connection: psycopg.Connection, kind: sql.SQL, keys: sql.Identifier, query: str = "person_keys"
) -> None:
    statement = sql.SQL("CREATE {} {} AS {}").format(kind, keys, sql.SQL(_SQL[query]))
    # The login sees all rows and forbids row-level security, but the view reads one table as its owner, who has a policy.
    connection.execute("SET LOCAL row_security = on")
    connection.execute(statement)
    connection.execute("SET LOCAL row_security = off")
    for columns in ("person_key, kind", "tenant_id, kind"):
        connection.execute(sql.SQL("CREATE INDEX ON {} ({})").format(keys, sql.SQL(columns)))
    connection.execute(sql.SQL("ANALYZE {}").format(keys))


def owned_tables(connection: psycopg.Connection, keys: sql.Identifier | None = None) -> list[OwnedTable]:
    """The tables whose rows belong to tenants, by schema and name. Default of ``keys``: those of ``index_owners``."""
    keys = keys or _KEYS
    owned = []
    for table in list_tables(connection):
        if (table.schema, table.name) in _DERIVED:
            continue
        listed = listed_tables().get((table.schema, table.name)) if table.schema == HOST_SCHEMA else None
        if listed and listed.person_column:
            owned.append(
                OwnedTable(table, keys, listed.person_column, listed.key_kind, listed.default_tenant)
            )
        elif table.has_tenant or (listed and listed.of_only_tenant):
            # An export also contains the rows with the column's default, which belong to no leaving tenant.
            owned.append(OwnedTable(table, keys))
    return owned


def tenant_rows(connection: psycopg.Connection, tables: Sequence[OwnedTable], tenant_id: str) -> int:
    """The number of the tenant's rows."""
    return sum(content.rows for content in _contents(connection, tables, tenant_id, hashed=()))


def tenant_contents(
    connection: psycopg.Connection, tables: Sequence[OwnedTable], tenant_id: str
) -> list[tuple[OwnedTable, TableContent]]:
    """The tables with rows of the tenant, and the rows' number and hash."""
    contents = _contents(connection, tables, tenant_id)
    return [(owned, content) for owned, content in zip(tables, contents, strict=True) if content.rows]


def _contents(
    connection: psycopg.Connection,
    tables: Sequence[OwnedTable],
    tenant_id: str,
    *,
    hashed: Collection[tuple[str, str]] | None = None,
) -> list[TableContent]:
    return table_contents(
        connection,
        [owned.table for owned in tables],
        [owned.found_by_index("content", tenant_id) for owned in tables],
        hashed=hashed,
    )


def left_out(connection: psycopg.Connection, exported: dict[tuple[str, str], int]) -> list[LeftOut]:
    """The restored database's rows without an export, by table. ``exported`` counts the exported rows by schema and name."""
    tables = list_tables(connection)
    owned = {(each.table.schema, each.table.name) for each in owned_tables(connection)}
    found = []
    for table, content in zip(tables, table_contents(connection, tables, hashed=()), strict=True):
        name = (table.schema, table.name)
        rows = content.rows - exported.get(name, 0)
        if name not in owned:
            reason = "どのテナントのものでもない表（全テナント共通のマスター、または実行の記録）"
            found.append(LeftOut(f"{table.schema}.{table.name}", rows, reason))
        elif rows:
            reason = "テナントが決まらない行（該当する従業員がいない、または存在しないテナント）"
            found.append(LeftOut(f"{table.schema}.{table.name}", rows, reason))
    return found
