"""The list of what happens to a leaving tenant's rows names every table of both variants, and nothing else."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from include.skillreport.core.errors import SchemaError
from include.skillreport.schema.deletion import (
    ListedTable,
    Rule,
    blanking,
    deletion_list,
    require_all_listed,
    unlisted_tables,
)
from include.skillreport.schema.deploy import upgrade
from include.skillreport.schema.host_contract import HostVariant
from tests.conftest import Database, Server
from tests.schema.catalogue import relations, rows_of, snapshot
from tests.worlds.planted_rows import plant

# Exists only if the application uses Prisma's migrations.
MAY_BE_ABSENT = {"public._prisma_migrations"}


@pytest.fixture(scope="module")
def columns(
    server: Server, templates: dict[HostVariant, str]
) -> dict[HostVariant, dict[str, dict[str, bool]]]:
    """The columns of each table with its schema, by variant, and whether they may be null."""
    found: dict[HostVariant, dict[str, dict[str, bool]]] = {}
    for variant, name in templates.items():
        tables = found[variant] = {}
        with psycopg.connect(server.dsn(name)) as connection:
            for table, column, is_nullable in connection.execute(
                """
                SELECT nspname || '.' || relname, attname, NOT attnotnull FROM pg_attribute
                INNER JOIN pg_class ON pg_class.oid = attrelid
                INNER JOIN pg_namespace ON pg_namespace.oid = relnamespace
                WHERE nspname IN ('public', 'batch') AND relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
                """
            ):
                tables.setdefault(table, {})[column] = is_nullable
    return found


def full_name(table: ListedTable) -> str:
    return f"{table.schema}.{table.name}"


@pytest.mark.parametrize("variant", HostVariant)
def test_the_list_has_every_table_and_no_other(
    server: Server,
    templates: dict[HostVariant, str],
    columns: dict[HostVariant, dict[str, dict[str, bool]]],
    variant: HostVariant,
) -> None:
    with psycopg.connect(server.dsn(templates[variant])) as connection:
        assert unlisted_tables(connection) == []
    names = [full_name(table) for table in deletion_list()]
    assert sorted(set(names) - MAY_BE_ABSENT) == sorted(columns[variant])
    assert len(names) == len(set(names))
    assert sum(name.startswith("public.") for name in columns[variant]) == 51


def test_every_listed_column_exists_and_can_be_blanked_so(
    columns: dict[HostVariant, dict[str, dict[str, bool]]],
) -> None:
    base, migrated = columns[HostVariant.BASE], columns[HostVariant.MULTI_TENANT]
    for table in deletion_list():
        name = full_name(table)
        assert bool(table.blanks) == (table.rule is Rule.BLANK), name
        assert (table.person_column is None) == (table.key_kind is None), name
        assert table.key_kind in (None, "employee", "account", "any"), name
        for column, value in table.blanks.items():
            assert value is not None or migrated[name][column], (name, column)
        if table.person_column:
            assert table.person_column in base[name], name
        if table.default_tenant or table.of_only_tenant:
            assert "tenant_id" in migrated[name].keys() - base[name].keys(), name


def test_each_reason_is_one_short_line_for_people_who_approve() -> None:
    for table in deletion_list():
        assert 2 < len(table.reason) < 60, table
        assert "\n" not in table.reason, table


def test_accounts_go_first_and_employees_last_then_our_tables() -> None:
    order = [full_name(table) for table in deletion_list() if table.rule is not Rule.KEEP]
    hosts = [name for name in order if name.startswith("public.")]
    assert order[: len(hosts)] == hosts
    assert hosts.index("public.MST_UserAuth") == 2
    assert hosts[-2:] == ["public.MST_Employee", "public.MST_Tenant"]


def test_no_deleted_row_is_referred_to_by_one_that_stays(deployed: psycopg.Connection) -> None:
    order = {table.name: place for place, table in enumerate(deletion_list()) if table.rule is Rule.DELETE}
    references = deployed.execute(
        """
        SELECT child.relname, parent.relname
        FROM pg_constraint INNER JOIN pg_class AS child ON conrelid = child.oid INNER JOIN pg_class AS parent ON confrelid = parent.oid
        WHERE contype = 'f' AND connamespace = 'batch'::regnamespace
        """
    ).fetchall()
    assert references
    for child, parent in references:
        if parent in order:
            assert order[child] < order[parent], (child, parent)


def test_our_rows_can_be_blanked_as_the_list_says(database: Database) -> None:
    """Past their checks, and with values of their types."""
    with database.connect() as connection:
        blanked = [table for table in deletion_list() if table.rule is Rule.BLANK and not table.is_host]
        assert len(blanked) == 4
        for table in blanked:
            plant(connection, table.name, "A")
            connection.execute(
                sql.SQL("UPDATE batch.{} SET {}").format(
                    sql.Identifier(table.name),
                    blanking(table, table.blanks),
                )
            )
            (row,) = rows_of(connection, table.name)
            assert {row[column] for column in table.blanks if isinstance(row[column], str)} <= {""}


def test_an_unlisted_table_is_named_and_no_deletion_is_allowed(database: Database) -> None:
    with database.connect() as connection:
        connection.execute(
            "CREATE TABLE public.a_new_table (tenant_id text) PARTITION BY LIST (tenant_id);"
            " CREATE TABLE public.a_part PARTITION OF public.a_new_table DEFAULT"
        )
        connection.execute("CREATE TABLE batch.another (tenant_id text)")
        with pytest.raises(SchemaError, match=r"batch\.another、public\.a_new_table は"):
            require_all_listed(connection)
        before = snapshot(connection)

        with pytest.raises(SchemaError, match=r"deletion\.yaml に規則と理由を書いて"):
            upgrade(database.dsn, with_deletion=True)

        assert snapshot(connection) == before
        # The batches go on: only a deletion needs the list.
        upgrade(database.dsn)
        assert relations(connection, "v")
