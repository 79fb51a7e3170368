"""Compare the host's schema with the tables and columns that the batches need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psycopg
import yaml

from include.errors import SchemaError

_CONTRACT_FILE = Path(__file__).with_name("host_contract.yaml")

_TEXTS = ("text", "character varying", "character")
_INTEGERS = ("smallint", "integer", "bigint")

# The accepted types of a column, by the contract's type name, as pg_catalog.format_type() spells them without length or precision.
# Error messages name the first one. Hosts differ in the width of texts and numbers.
_COMPATIBLE_TYPES = {
    "text": _TEXTS,
    "integer": ("integer", *_INTEGERS, "numeric"),
    "bigint": ("bigint", *_INTEGERS, "numeric"),
    "numeric": ("numeric", *_INTEGERS),
    "boolean": ("boolean",),
    "timestamp": ("timestamp without time zone",),
}


class HostVariant(StrEnum):
    """Whether the host has run its multi-tenant migration, which gives employees and accounts a tenant."""

    BASE = "base"
    MULTI_TENANT = "multi_tenant"


@dataclass(frozen=True)
class HostTable:
    """One host table: the type of each column that the batches need, and the privileges that the views' owner needs."""

    name: str
    columns: Mapping[str, str]
    multi_tenant_columns: Mapping[str, str]
    privileges: tuple[str, ...]

    def columns_of(self, variant: HostVariant) -> Mapping[str, str]:
        """The columns that the views of this variant use."""
        if variant is HostVariant.BASE:
            return self.columns
        return {**self.columns, **self.multi_tenant_columns}


def load_contract() -> tuple[HostTable, ...]:
    """The tables of ``host_contract.yaml``."""
    document = yaml.safe_load(_CONTRACT_FILE.read_text(encoding="utf-8"))
    return tuple(
        HostTable(
            name=name,
            columns=table["columns"],
            multi_tenant_columns=document["multi_tenant_columns"].get(name, {}),
            privileges=tuple(table["privileges"]),
        )
        for name, table in document["tables"].items()
    )


def check_host(connection: psycopg.Connection) -> HostVariant:
    """Check the host's schema; returns the host's variant.

    Reads only the catalogue, so the caller needs no privileges on the host's tables.
    :raises SchemaError: names each table or column that is missing, and each column of a wrong type.
    """
    actual = _host_columns(connection)
    variant = HostVariant.MULTI_TENANT if "tenant_id" in actual.get("MST_Employee", {}) else HostVariant.BASE
    problems = [problem for table in load_contract() for problem in _problems(table, actual, variant)]
    if problems:
        raise SchemaError(
            "ホストのデータベースがバッチの要件を満たしていません: "
            + "、".join(problems)
            + "。ホストのスキーマを更新するか、接続先のデータベースを直してください。"
        )
    return variant


def check_single_tenant(tenants: int) -> None:
    """Check that a host without tenant columns has only one tenant: accounts cannot be assigned to several tenants.

    :raises SchemaError: the host has more than one tenant.
    """
    if tenants > 1:
        raise SchemaError(
            f'ホストに {tenants} テナントありますが、利用者のテナントを示す列 "MST_Employee"."tenant_id" がありません。'
            "ホストのマルチテナント移行を行ってから `python -m include.migrations upgrade` を実行してください。"
        )


def _host_columns(connection: psycopg.Connection) -> dict[str, dict[str, str]]:
    rows = connection.execute(
        """
        SELECT
            relation.relname,
            attribute.attname,
            -- A domain counts as its base type.
            regexp_replace(format_type(coalesce(nullif(type.typbasetype, 0), type.oid), NULL), '[(].*[)]', '')
        FROM pg_attribute AS attribute
        INNER JOIN pg_class AS relation ON attribute.attrelid = relation.oid
        INNER JOIN pg_type AS type ON attribute.atttypid = type.oid
        WHERE
            relation.relnamespace = 'public'::regnamespace AND relation.relkind IN ('r', 'p')
            AND attribute.attnum > 0 AND NOT attribute.attisdropped
        """
    )
    columns: dict[str, dict[str, str]] = {}
    for table, column, type_name in rows:
        columns.setdefault(table, {})[column] = type_name
    return columns


def _problems(table: HostTable, actual: Mapping[str, Mapping[str, str]], variant: HostVariant) -> list[str]:
    if table.name not in actual:
        return [f'表 "{table.name}" がない']
    problems = []
    for column, type_name in table.columns_of(variant).items():
        compatible = _COMPATIBLE_TYPES[type_name]
        found = actual[table.name].get(column)
        if found is None:
            problems.append(f'列 "{table.name}"."{column}" がない')
        elif found not in compatible:
            problems.append(f'列 "{table.name}"."{column}" の型が {found}（必要なのは {compatible[0]}）')
    return problems
