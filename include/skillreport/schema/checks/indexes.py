"""Check the indexes on the application's tables: lost ones, and missing ones on large tables."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.schema.checks.findings import Finding, remark
from include.skillreport.schema.host_indexes import measurement, record
from include.skillreport.schema.host_indexes.recommended import RECOMMENDED, HostIndex

_SQL = Statements(Path(measurement.__file__).parent)

LARGE_ROWS = 1_000_000
"""A table with more rows should have its index."""


def find_lost_indexes(connection: psycopg.Connection) -> list[Finding]:
    """Indexes that were created or found, and no longer exist. The login must be a member of ``batch_owner``."""
    known = record.recorded(connection)
    return [
        remark(
            "host-index-lost",
            f'表 "{index.table}" の列 {index.column} の索引 {known[index.key]} がなくなりました。'
            "`prisma db push` は、schema.prisma にない索引を削除します。",
            "`python -m include.skillreport indexes` が示す行を schema.prisma に加え、"
            f"`python -m include.skillreport indexes --create {index.name}` を実行してください。"
            f"いらなければ `python -m include.skillreport indexes --forget {index.name}` を実行してください。",
            _subject(index),
        )
        for index in RECOMMENDED
        if index.key in known and not _is_present(connection, index)
    ]


def find_missing_indexes(connection: psycopg.Connection, lost: Collection[str] = ()) -> list[Finding]:
    """One finding about all large tables without a recommended index, except the ``lost`` ones (subjects of findings).

    Reads only the catalogue.
    """
    tables = sorted({index.table for index in RECOMMENDED})
    large = _SQL.column(connection, "large_tables", tables=tables, rows=LARGE_ROWS)
    missing = [
        _subject(index)
        for index in RECOMMENDED
        if index.table in large and _subject(index) not in lost and not _is_present(connection, index)
    ]
    if not missing:
        return []
    named = "、".join(missing)
    return [
        remark(
            "host-index-missing",
            f"{LARGE_ROWS:,} 行を超える表に、バッチが行を探す列の索引がありません: {named}。バッチは実行のたびに表の全体を読みます。",
            "`python -m include.skillreport indexes` で効果を確認し、作成するか決めてください。",
            "public",
        )
    ]


def _subject(index: HostIndex) -> str:
    return f'"{index.table}"."{index.column}"'


def _is_present(connection: psycopg.Connection, index: HostIndex) -> bool:
    return measurement.usable(measurement.find_indexes(connection, index), index) is not None
