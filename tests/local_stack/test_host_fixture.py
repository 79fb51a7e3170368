"""The host's tables are those of the exported schema, in PostgreSQL's catalogue."""

from __future__ import annotations

import csv
from collections.abc import Iterator

import psycopg
import pytest

from include.skillreport.schema.host_contract import HostVariant
from local_stack.stack import PROJECT
from tests.conftest import Server

# The export's spelling of a type, and the catalogue's where it is another.
TYPES = {
    "DECIMAL(65,30)": "numeric(65,30)",
    "TIMESTAMP": "timestamp without time zone",
    "TIMESTAMP(3)": "timestamp(3) without time zone",
    "VARCHAR(255)": "character varying(255)",
}


@pytest.fixture(params=HostVariant)
def variant(request: pytest.FixtureRequest) -> HostVariant:
    return HostVariant(request.param)


@pytest.fixture
def host(
    server: Server, templates: dict[HostVariant, str], variant: HostVariant
) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.dsn(templates[variant]), autocommit=True) as connection:
        connection.read_only = True
        yield connection


def exported(file: str) -> list[dict[str, str]]:
    with (PROJECT / "local_stack" / "host_schema" / file).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_the_columns_have_the_exported_types_and_defaults(
    host: psycopg.Connection, variant: HostVariant
) -> None:
    columns = exported("columns.csv")
    if variant is HostVariant.MULTI_TENANT:
        columns += exported("columns_multi_tenant.csv")
    assert set(
        host.execute(
            """
            SELECT
                table_name::text, attname::text, format_type(atttypid, atttypmod),
                CASE WHEN attnotnull THEN 'NO' ELSE 'YES' END,
                regexp_replace(coalesce(pg_get_expr(adbin, adrelid), ''), '::.*', '')
            FROM information_schema.tables
            INNER JOIN pg_attribute ON attrelid = format('public.%I', table_name)::regclass AND attnum > 0
            LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
            WHERE table_schema = 'public'
            """
        )
    ) == {
        (
            column["table"],
            column["column"],
            TYPES.get(column["type"], column["type"].lower()),
            column["nullable"],
            column["default"],
        )
        for column in columns
    }


def test_the_keys_and_indexes_are_the_exported_ones(host: psycopg.Connection, variant: HostVariant) -> None:
    found = set(
        host.execute(
            """
            SELECT
                indrelid::regclass::text, indexrelid::regclass::text, indisunique, indisprimary,
                (
                    SELECT string_agg(attname, ', ' ORDER BY place)
                    FROM unnest(indkey::smallint []) WITH ORDINALITY AS key (number, place)
                    INNER JOIN pg_attribute ON attrelid = indrelid AND attnum = number
                ),
                EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
            FROM pg_index
            INNER JOIN pg_class ON pg_class.oid = indrelid
            WHERE relnamespace = 'public'::regnamespace
            """
        )
    )
    assert found == {
        (
            f'"{index["table"]}"',
            f'"{index["name"]}"',
            index["unique"] == "yes",
            index["note"] == "primary key",
            index["columns"],
            index["kind"] == "constraint",
        )
        for index in exported("indexes.csv")
        if variant is HostVariant.MULTI_TENANT or not index["note"].startswith("added by the script")
    }
    assert len(found) == {HostVariant.BASE: 80, HostVariant.MULTI_TENANT: 94}[variant]
