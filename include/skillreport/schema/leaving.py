"""Deploy the role ``batch_cleanup`` and its views, only in an installation that may delete.

Each application table that ``deletion.yaml`` deletes from or blanks has a view ``batch.leaving_<table>`` of the transaction's tenants. It
shows the primary key, the user's column, ``is_deleted``, ``updated_at``, the columns to blank, and the entire row as ``content`` (jsonb).
Rows are deleted and blanked only through these views.

The views find users by ``batch.person_key``, otherwise by ``batch.frozen_person``: ``batch.person_key`` loses a deleted account's keys at
the next update.

The view ``batch.all_marked_row`` shows ``batch_platform`` the keys of all rows that the application has marked as deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import psycopg
from psycopg import sql

from include.skillreport.core.database import count_of
from include.skillreport.core.errors import SchemaError
from include.skillreport.schema.checks.privileges import CLEANUP
from include.skillreport.schema.deletion import (
    TENANT_COLUMN,
    ListedTable,
    Rule,
    deletion_list,
    row_owner,
    tables_with_marked_rows,
)
from include.skillreport.schema.host_contract import HostVariant, host_columns

_HOST_VIEWS = Path(__file__).with_name("host_views")

# The record of the archives of deleted rows. The role adds a row in the transaction that deletes rows, and reads none.
_ARCHIVES = sql.Identifier("batch", "deleted_row_archive")

# The tables of batch.leaving_person.
_KEYS_OF_PEOPLE = (sql.Identifier("batch", "person_key"), sql.Identifier("batch", "frozen_person"))

# Shown if the table has them.
_SHOWN = ("is_deleted", "updated_at")

MARKED_ROWS = "all_marked_row"

# Before the multi-tenant migration, a second tenant makes every row's owner unknown.
_SOLE = sql.SQL('(SELECT count(*) FROM public."MST_Tenant") = 1')


def view_of(table: ListedTable) -> str:
    """The view's name for an application table, without the schema."""
    return f"leaving_{table.name.lower()}"


def withdraw_deletion(driver: psycopg.Connection) -> None:
    """Revoke the privileges of ``batch_cleanup`` in schema ``batch``, except on the views, which are dropped.

    The role stays, because another database on the server may use it. The session acts as ``batch_owner``.
    """
    _drop_policies(driver)
    if count_of(driver, "SELECT count(*) FROM pg_roles WHERE rolname = %s", [CLEANUP]):
        for object_ in (sql.SQL("SCHEMA batch"), _ARCHIVES):
            driver.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(object_, sql.Identifier(CLEANUP)))


def create_leaving_views(driver: psycopg.Connection, variant: HostVariant) -> None:
    """Create the views with the privileges of ``batch_cleanup``. The session acts as ``batch_owner``.

    :raises SchemaError: an application table lacks the columns that identify its rows' owner.
    """
    _drop_policies(driver)
    # The views read the keys as their owner, batch_owner. batch_tenant reads none of them.
    for relation in _KEYS_OF_PEOPLE:
        driver.execute(
            sql.SQL("CREATE POLICY leaving ON {} FOR SELECT TO batch_owner USING (true)").format(relation)
        )
    for name in (f"leaving_{variant}", "leaving"):
        driver.execute((_HOST_VIEWS / f"{name}.sql").read_bytes())
    cleanup = sql.Identifier(CLEANUP)
    driver.execute(sql.SQL("GRANT USAGE ON SCHEMA batch TO {}").format(cleanup))
    driver.execute(sql.SQL("GRANT INSERT ON {} TO {}").format(_ARCHIVES, cleanup))
    driver.execute(
        sql.SQL(
            "CREATE POLICY leaving ON {} FOR INSERT TO {} WITH CHECK (tenant_id = ANY((SELECT batch.current_tenants())::text[]))"
        ).format(_ARCHIVES, cleanup)
    )
    keys, columns = primary_keys(driver), host_columns(driver)
    for table in deletion_list():
        # Before the multi-tenant migration, rows belong to no tenant if their tenant column would have a default.
        if (
            table.is_host
            and table.rule is not Rule.KEEP
            and (found := columns.get(table.name))
            and not (table.of_only_tenant and table.default_tenant and TENANT_COLUMN not in found)
        ):
            _create_view(driver, table, found, keys.get(table.name, ()), variant)
    _create_view_of_marked_rows(driver, columns, variant)


def _drop_policies(driver: psycopg.Connection) -> None:
    for relation in (*_KEYS_OF_PEOPLE, _ARCHIVES):
        driver.execute(sql.SQL("DROP POLICY IF EXISTS leaving ON {}").format(relation))


def _create_view(
    driver: psycopg.Connection,
    table: ListedTable,
    columns: Mapping[str, str],
    key: Sequence[str],
    variant: HostVariant,
) -> None:
    by = table.person_column or TENANT_COLUMN
    if not key or (by not in columns and not table.of_only_tenant):
        raise _lacks(table, f'主キーか列 "{by}" ')
    blanked = [name for name in table.blanks if name in columns]
    shown = dict.fromkeys(
        [
            *key,
            *([table.person_column] if table.person_column else []),
            *(name for name in _SHOWN if name in columns),
            *blanked,
        ]
    )
    view = sql.Identifier("batch", view_of(table))
    driver.execute(
        sql.SQL(
            # The barrier keeps functions in conditions from seeing other tenants' rows. Key comparisons pass it.
            "CREATE OR REPLACE VIEW {view} WITH (security_barrier) AS SELECT {columns}, to_jsonb(leaving) AS content"
            " FROM {table} AS leaving WHERE {owner} = ANY((SELECT batch.current_tenants())::text[]){sole}"
            " WITH LOCAL CHECK OPTION"
        ).format(
            view=view,
            columns=sql.SQL(", ").join(sql.Identifier("leaving", name) for name in shown),
            table=sql.Identifier(table.schema, table.name),
            owner=_owner(table, columns),
            sole=sql.SQL(" AND {}").format(_SOLE) if variant is HostVariant.BASE else sql.SQL(""),
        )
    )
    may = (
        sql.SQL("DELETE")
        if table.rule is Rule.DELETE
        else sql.SQL("UPDATE ({})").format(sql.SQL(", ").join(map(sql.Identifier, blanked)))
    )
    driver.execute(sql.SQL("GRANT SELECT, {} ON {} TO {}").format(may, view, sql.Identifier(CLEANUP)))


def _create_view_of_marked_rows(
    driver: psycopg.Connection, columns: Mapping[str, Mapping[str, str]], variant: HostVariant
) -> None:
    parts = []
    for table in tables_with_marked_rows():
        found = columns.get(table.name, {})
        if missing := {"id", *_SHOWN}.difference(found):
            raise _lacks(table, f"列 {'、'.join(sorted(missing))} ")
        owner = _owner(table, found, "marked")
        if variant is HostVariant.BASE:
            owner = sql.SQL("CASE WHEN {} THEN {} END").format(_SOLE, owner)
        parts.append(
            sql.SQL(
                "SELECT {name}::text AS table_name, marked.id::text AS row_id, marked.updated_at, {owner} AS owner_id"
                " FROM {table} AS marked WHERE marked.is_deleted"
            ).format(
                name=sql.Literal(table.name),
                owner=owner,
                table=sql.Identifier(table.schema, table.name),
            )
        )
    view = sql.Identifier("batch", MARKED_ROWS)
    driver.execute(
        sql.SQL("CREATE OR REPLACE VIEW {} AS {}").format(view, sql.SQL(" UNION ALL ").join(parts))
    )
    driver.execute(sql.SQL("GRANT SELECT ON {} TO batch_platform").format(view))


def _owner(table: ListedTable, columns: Mapping[str, str], alias: str = "leaving") -> sql.Composable:
    return row_owner(
        alias,
        person_column=table.person_column,
        key_kind=table.key_kind,
        has_tenant=TENANT_COLUMN in columns,
        default_tenant=table.default_tenant,
        keys=sql.Identifier("batch", "leaving_person"),
        only_tenant=sql.SQL('(SELECT max(tenant_id) FROM public."MST_Tenant")'),
    )


def _lacks(table: ListedTable, what: str) -> SchemaError:
    return SchemaError(
        f'ホストの表 "{table.name}" に、{what}がありません。'
        "戻すか、`python -m include.skillreport upgrade --without-deletion` を実行してください。"
    )


def primary_keys(driver: psycopg.Connection) -> dict[str, list[str]]:
    """The primary key columns of each application table, in key order."""
    rows = driver.execute(
        """
        SELECT relation.relname, array_agg(attribute.attname::text ORDER BY part.place)
        FROM pg_index AS key
        INNER JOIN pg_class AS relation ON key.indrelid = relation.oid
        CROSS JOIN LATERAL unnest(key.indkey::smallint[]) WITH ORDINALITY AS part (number, place)
        INNER JOIN pg_attribute AS attribute ON relation.oid = attribute.attrelid AND part.number = attribute.attnum
        WHERE key.indisprimary AND relation.relnamespace = 'public'::regnamespace
        GROUP BY relation.relname
        """
    )
    return dict(rows.fetchall())
