"""The list of ``deletion.yaml``: the rule for a tenant's rows in each table, and the owner of an application row."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql

from include.skillreport.core.errors import SchemaError
from include.skillreport.core.yaml_files import load_yaml

_LIST_FILE = Path(__file__).with_name("deletion.yaml")

HOST_SCHEMA = "public"
TENANT_COLUMN = "tenant_id"


class Rule(StrEnum):
    """The rule for the rows of a tenant that has left. ``blank``: the rows stay, but some columns lose their values."""

    DELETE = "delete"
    BLANK = "blank"
    KEEP = "keep"


@dataclass(frozen=True)
class ListedTable:
    """One table of the list. ``reason`` is for the users who approve a deletion.

    ``blanks``: new values (texts in PostgreSQL's input format, or null) of columns that are not null. ``person_column`` identifies a user
    by a key of ``key_kind``: ``employee``, ``account`` or ``any``. ``default_tenant`` in tenant_id means no tenant. ``of_only_tenant``:
    without tenant_id all rows belong to the only tenant. ``secret``: the customer's file omits the table, or the given columns (always, or
    in rows in which another column is true).
    """

    schema: str
    name: str
    rule: Rule
    reason: str
    blanks: Mapping[str, str | None]
    person_column: str | None
    key_kind: str | None
    default_tenant: str | None
    of_only_tenant: bool
    secret: bool | Mapping[str, str]

    @property
    def is_host(self) -> bool:
        """True if the application owns the table."""
        return self.schema == HOST_SCHEMA


@cache
def deletion_list() -> tuple[ListedTable, ...]:
    """The tables in the order of deletion: the application's, then ours."""
    return tuple(
        ListedTable(
            schema=schema,
            name=name,
            rule=Rule(table["rule"]),
            reason=table["reason"],
            blanks=table.get("blank", {}),
            person_column=table.get("person", {}).get("column"),
            key_kind=table.get("person", {}).get("key"),
            default_tenant=table.get("default_tenant"),
            of_only_tenant=table.get("of_only_tenant", False),
            secret=table.get("secret", {}),
        )
        for schema, tables in load_yaml(_LIST_FILE).items()
        for name, table in tables.items()
    )


@cache
def listed_tables() -> Mapping[tuple[str, str], ListedTable]:
    """The listed tables by schema and name."""
    return {(table.schema, table.name): table for table in deletion_list()}


def tables_with_marked_rows() -> list[ListedTable]:
    """The application's tables of user entries. The application only marks their deleted rows (``is_deleted``)."""
    return [
        table
        for table in deletion_list()
        if table.is_host and table.name.startswith("TRN_") and table.name != "TRN_Notification"
    ]


def blanking(table: ListedTable, columns: Collection[str]) -> sql.Composed:
    """The assignments of an UPDATE that blanks the table or its view. ``columns`` are the existing columns."""
    return sql.SQL(", ").join(
        # The column comes first, so that the value gets its type.
        sql.SQL("{0} = CASE WHEN {0} IS null THEN {0} ELSE {1} END").format(
            sql.Identifier(name), sql.Literal(value)
        )
        for name, value in table.blanks.items()
        if name in columns
    )


def tables_to_delete_from() -> list[str]:
    """The application's tables that lose rows or values, in the order of deletion."""
    return [table.name for table in deletion_list() if table.is_host and table.rule is not Rule.KEEP]


def host_privileges(columns: Mapping[str, Collection[str]]) -> list[tuple[str, str, list[str] | None]]:
    """The privileges that ``batch_owner`` needs to delete and blank: table, privilege and columns (None: the entire table).

    ``columns`` are the existing columns by table. A view's ``content`` is the entire row, so it needs to read the entire table.
    """
    wanted: list[tuple[str, str, list[str] | None]] = []
    for table in deletion_list():
        if not table.is_host or table.rule is Rule.KEEP or table.name not in columns:
            continue
        wanted.append((table.name, "SELECT", None))
        if table.rule is Rule.DELETE:
            wanted.append((table.name, "DELETE", None))
        else:
            wanted.append(
                (table.name, "UPDATE", [name for name in table.blanks if name in columns[table.name]])
            )
    return wanted


def is_with_deletion(connection: psycopg.Connection) -> bool:
    """True if the installation may delete application rows (``upgrade --with-deletion``). The login reads ``batch.deployment``."""
    if connection.execute("SELECT to_regclass('batch.deployment')").fetchone() == (None,):
        return False
    # Not the column itself: the schema's revision may lack it.
    stored = connection.execute(
        "SELECT coalesce((to_jsonb(deployed) ->> 'with_deletion')::boolean, false) FROM batch.deployment AS deployed"
    ).fetchone()
    return stored == (True,)


def require_deletion(connection: psycopg.Connection) -> None:
    """Check that the installation may delete. :raises SchemaError: it may not; contains the command to run."""
    if not is_with_deletion(connection):
        raise SchemaError(
            "アプリケーションの行を削除する権限は、まだ与えられていません。"
            "管理者が `python -m include.skillreport upgrade --with-deletion` を実行してください（docs/install/database.md）。"
        )


def unlisted_tables(connection: psycopg.Connection) -> list[str]:
    """The tables of the application and of schema ``batch`` that the list lacks. Reads only the catalogue."""
    existing = connection.execute(
        """
        SELECT relation.relnamespace::regnamespace::text, relation.relname
        FROM pg_class AS relation
        WHERE
            relation.relnamespace IN ('public'::regnamespace, to_regnamespace('batch'))
            AND relation.relkind IN ('r', 'p', 'f', 'm') AND NOT relation.relispartition
        ORDER BY 1, 2
        """
    ).fetchall()
    return [f"{schema}.{name}" for schema, name in existing if (schema, name) not in listed_tables()]


def require_all_listed(connection: psycopg.Connection) -> None:
    """Check that the list covers all tables. :raises SchemaError: names the others, which may have rows of a tenant."""
    if unlisted := unlisted_tables(connection):
        raise SchemaError(unlisted_problem(unlisted))


def unlisted_problem(unlisted: list[str]) -> str:
    """The Japanese sentence about unlisted tables."""
    return (
        f"表 {'、'.join(unlisted)} は、退会したテナントの行をどうするか決まっていません。"
        "include/skillreport/schema/deletion.yaml に規則と理由を書いてください。"
    )


def row_owner(
    alias: str,
    *,
    person_column: str | None,
    key_kind: str | None,
    has_tenant: bool,
    default_tenant: str | None,
    keys: sql.Composable,
    only_tenant: sql.Composable,
) -> sql.Composable:
    """An SQL expression for the tenant of the row ``alias``; null if it belongs to no tenant.

    The user decides, then the row's own tenant if it exists. ``keys`` is a relation with person_key, kind and tenant_id. ``only_tenant`` is
    the owner if the table has neither column.
    """
    stated: sql.Composable = sql.Identifier(alias, TENANT_COLUMN)
    if default_tenant:
        stated = sql.SQL("nullif({}::text, {})").format(stated, sql.Literal(default_tenant))
    if person_column is None:
        return stated if has_tenant else only_tenant
    by_person = sql.SQL(
        "(SELECT keys.tenant_id FROM {keys} AS keys WHERE keys.person_key = btrim({person}) AND keys.kind = {kind})"
    ).format(keys=keys, person=sql.Identifier(alias, person_column), kind=sql.Literal(key_kind))
    if not has_tenant:
        return by_person
    return sql.SQL(
        'coalesce({}, (SELECT known.tenant_id::text FROM public."MST_Tenant" AS known WHERE known.tenant_id = {}))'
    ).format(by_person, stated)
