"""Compare the host's schema with the tables and columns that the batches need."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

import psycopg

from include.skillreport.core.yaml_files import load_yaml
from include.skillreport.schema.checks.findings import Finding, error, refuse

_CONTRACT_FILE = Path(__file__).with_name("host_contract.yaml")

_TEXTS = ("text", "character varying", "character")
_INTEGERS = ("smallint", "integer", "bigint")

# The accepted column types by the contract's type name, as pg_catalog.format_type() spells them without length or precision. Error messages
# name the first one. Hosts differ in the width of texts and numbers.
_COMPATIBLE_TYPES = {
    "text": _TEXTS,
    "integer": ("integer", *_INTEGERS, "numeric"),
    "bigint": ("bigint", *_INTEGERS, "numeric"),
    "numeric": ("numeric", *_INTEGERS),
    "boolean": ("boolean",),
    "timestamp": ("timestamp without time zone",),
}


_REMEDY = (
    "ホストのスキーマを更新するか、接続先のデータベースを直してください。"
    "Prisma の `prisma db push` で列を変えるときは、detach、prisma db push、attach の順に実行します（docs/install/database.md）。"
)


class HostVariant(StrEnum):
    """The host before or after its multi-tenant migration, which gives employees and accounts a tenant."""

    BASE = "base"
    MULTI_TENANT = "multi_tenant"


@dataclass(frozen=True)
class HostTable:
    """One host table: the needed columns with their types, and the privileges of the views' owner.

    The views work without ``optional_columns``.
    """

    name: str
    columns: Mapping[str, str]
    multi_tenant_columns: Mapping[str, str]
    optional_columns: Mapping[str, str]
    privileges: tuple[str, ...]

    def columns_of(self, variant: HostVariant) -> Mapping[str, str]:
        """The columns that this variant's views use."""
        if variant is HostVariant.BASE:
            return self.columns
        return {**self.columns, **self.multi_tenant_columns, **self.optional_columns}


@cache
def load_contract() -> tuple[HostTable, ...]:
    """The tables of ``host_contract.yaml``."""
    document = load_yaml(_CONTRACT_FILE)
    return tuple(
        HostTable(
            name=name,
            columns=table["columns"],
            multi_tenant_columns=document["multi_tenant_columns"].get(name, {}),
            optional_columns=document["optional_columns"].get(name, {}),
            privileges=tuple(table["privileges"]),
        )
        for name, table in document["tables"].items()
    )


def check_host(connection: psycopg.Connection) -> HostVariant:
    """Check the host's schema; returns its variant.

    :raises SchemaError: names each missing table or column, and each column of a wrong type.
    """
    variant, findings = compare_host(connection)
    refuse(findings)
    return variant


def compare_host(connection: psycopg.Connection) -> tuple[HostVariant, list[Finding]]:
    """The host's variant, and all differences between its schema and the contract.

    Reads only the catalogue, so it needs no privileges on the host's tables.
    """
    tables = load_contract()
    actual = host_columns(connection, [table.name for table in tables])
    tenant_columns = [
        (table.name, column)
        for table in tables
        for column in table.multi_tenant_columns
        if table.name in actual
    ]
    missing = [f'"{table}"."{column}"' for table, column in tenant_columns if column not in actual[table]]
    present = [f'"{table}"."{column}"' for table, column in tenant_columns if column in actual[table]]
    compared = HostVariant.BASE if missing or not present else HostVariant.MULTI_TENANT
    findings = [finding for table in tables for finding in _differences(table, actual, compared)]
    if present and missing:
        findings.append(
            error(
                "variant-half-applied",
                f"ホストのマルチテナント移行が途中で止まっています（列 {'、'.join(present)} はあり、{'、'.join(missing)} がない）。",
                "移行の残りを実行してください。",
            )
        )
    return (HostVariant.MULTI_TENANT if present else HostVariant.BASE), findings


def host_columns(
    connection: psycopg.Connection, tables: Collection[str] | None = None
) -> dict[str, dict[str, str]]:
    """The column types of these (or all) host tables, by table and by column in table order."""
    rows = connection.execute(
        """
        SELECT
            relation.relname,
            array_agg(attribute.attname::text ORDER BY attribute.attnum),
            -- A domain counts as its base type. Without a modifier, no length or precision is spelled.
            array_agg(
                format_type(coalesce(nullif(type.typbasetype, 0), type.oid), NULL) ORDER BY attribute.attnum
            )
        FROM pg_attribute AS attribute
        INNER JOIN pg_class AS relation ON attribute.attrelid = relation.oid
        INNER JOIN pg_type AS type ON attribute.atttypid = type.oid
        WHERE
            relation.relnamespace = 'public'::regnamespace AND relation.relkind IN ('r', 'p')
            AND (%(tables)s::text[] IS NULL OR relation.relname = any(%(tables)s))
            AND attribute.attnum > 0 AND NOT attribute.attisdropped
        GROUP BY relation.relname
        """,
        {"tables": None if tables is None else list(tables)},
    )
    return {table: dict(zip(names, types, strict=True)) for table, names, types in rows}


def _differences(
    table: HostTable, actual: Mapping[str, Mapping[str, str]], variant: HostVariant
) -> list[Finding]:
    if table.name not in actual:
        return [error("table-missing", f'ホストに表 "{table.name}" がない。', _REMEDY, table.name)]
    findings = []
    for column, type_name in table.columns_of(variant).items():
        compatible = _COMPATIBLE_TYPES[type_name]
        found = actual[table.name].get(column)
        name = f'"{table.name}"."{column}"'
        if found is None and column in table.optional_columns:
            continue
        if found is None:
            findings.append(error("column-missing", f"ホストに列 {name} がない。", _REMEDY, name))
        elif found not in compatible:
            problem = f"ホストの列 {name} の型が {found}（必要なのは {compatible[0]}）。"
            findings.append(error("column-type", problem, _REMEDY, name))
    return findings
