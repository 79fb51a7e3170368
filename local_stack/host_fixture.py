"""Create the host application's tables in an empty database, for the demo, the tests and the benchmarks.

``host_schema/`` holds the host application's schema, exported as CSV: the columns that Prisma creates, the columns that the
host's multi-tenant migration (a script) adds, and all keys and indexes after it.
"""

import csv
from collections.abc import Iterable, Iterator
from importlib import resources
from itertools import groupby
from typing import Any, TypeAlias

import psycopg
from psycopg import sql

from include.skillreport.schema.host_contract import HostVariant

__all__ = ["HostVariant", "create_host_schema", "migrate_to_multi_tenant"]

Line: TypeAlias = dict[str, str]

# The comment on the application's first table.
MADE_HERE = "made by the local stack of skill-report-batches"

ADDED_BY_SCRIPT = "added by the script"


def create_host_schema(conn: psycopg.Connection[Any], variant: HostVariant) -> None:
    """Create the host's 51 tables in schema public of the connected database, in one transaction.

    :raises psycopg.errors.DuplicateTable: the tables exist.
    """
    with conn.transaction():
        for name, columns in groupby(lines("columns.csv"), lambda line: line["table"]):
            definitions = sql.SQL(", ").join(map(column_definition, columns))
            conn.execute(sql.SQL("CREATE TABLE {} ({})").format(sql.Identifier("public", name), definitions))
        mark(conn, MADE_HERE)
        create_indexes(conn, (line for line in lines("indexes.csv") if not is_added_by_script(line)))
        if variant is HostVariant.MULTI_TENANT:
            migrate_to_multi_tenant(conn)


def mark(conn: psycopg.Connection[Any], text: str) -> None:
    """Replace the mark of the database."""
    conn.execute(sql.SQL('COMMENT ON TABLE public."MST_Tenant" IS {}').format(sql.Literal(text)))


def migrate_to_multi_tenant(conn: psycopg.Connection[Any]) -> None:
    """Apply the host's multi-tenant migration to the base schema, in one transaction.

    The global unique indexes on employee_code and email stay: the script drops only constraints of these names.
    """
    with conn.transaction():
        for column in lines("columns_multi_tenant.csv"):
            table = sql.Identifier("public", column["table"])
            conn.execute(sql.SQL("ALTER TABLE {} ADD COLUMN {}").format(table, column_definition(column)))
        create_indexes(conn, filter(is_added_by_script, lines("indexes.csv")))


def lines(file: str) -> Iterator[Line]:
    path = resources.files("local_stack") / "host_schema" / file
    yield from csv.DictReader(path.read_text(encoding="utf-8").splitlines())


def is_added_by_script(index: Line) -> bool:
    return index["note"].startswith(ADDED_BY_SCRIPT)


def column_definition(column: Line) -> sql.Composed:
    return sql.SQL("{} {}{}{}").format(
        sql.Identifier(column["column"]),
        sql.SQL(column["type"]),
        sql.SQL(" NOT NULL" if column["nullable"] == "NO" else ""),
        sql.SQL(" DEFAULT {}").format(sql.SQL(column["default"])) if column["default"] else sql.SQL(""),
    )


def create_indexes(conn: psycopg.Connection[Any], indexes: Iterable[Line]) -> None:
    """Prisma creates unique indexes, the script creates unique constraints."""
    for index in indexes:
        if index["kind"] == "constraint":
            kind = "PRIMARY KEY" if index["note"] == "primary key" else "UNIQUE"
            statement = sql.SQL("ALTER TABLE {table} ADD CONSTRAINT {name} {kind} ({columns})")
        else:
            kind = "UNIQUE INDEX" if index["unique"] == "yes" else "INDEX"
            statement = sql.SQL("CREATE {kind} {name} ON {table} ({columns})")
        conn.execute(
            statement.format(
                table=sql.Identifier("public", index["table"]),
                name=sql.Identifier(index["name"]),
                kind=sql.SQL(kind),
                columns=sql.SQL(", ").join(map(sql.Identifier, index["columns"].split(", "))),
            )
        )
