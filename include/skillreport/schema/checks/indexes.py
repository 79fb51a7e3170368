"""Check the indexes on the application's tables: lost, unusable, and missing on large tables."""

from __future__ import annotations

from collections.abc import Collection

import psycopg

from include.skillreport.schema.checks.findings import Finding, remark
from include.skillreport.schema.host_indexes.listing import index_states, recorded

LARGE_ROWS = 1_000_000
"""A table with more rows should have its index."""


def find_lost_indexes(connection: psycopg.Connection) -> list[Finding]:
    """Indexes that were created or found, and no longer exist. The login must be a member of ``batch_owner``."""
    known = recorded(connection)
    return [
        remark(
            "host-index-lost",
            f'表 "{index.table}" の列 {index.column} の索引 {known[index.key]} がなくなりました。'
            "`prisma db push` は、schema.prisma にない索引を削除します。",
            f"`{index.prisma_line}` を schema.prisma の model に加え、"
            f"`python -m include.skillreport indexes --create {index.name}` を実行してください。"
            f"いらなければ `python -m include.skillreport indexes --forget {index.name}` を実行してください。",
            index.subject,
        )
        for state in index_states(connection)
        if (index := state.index).key in known and not state.present
    ]


def find_missing_indexes(connection: psycopg.Connection, lost: Collection[str] = ()) -> list[Finding]:
    """Leftovers of interrupted creations, and one finding about all large tables without a wanted index.

    ``lost``: the subjects of findings about lost indexes. Reads only the catalogue.
    """
    states = index_states(connection)
    findings = [
        remark("host-index-unusable", state.index.removal, "", state.index.subject)
        for state in states
        if state.is_leftover
    ]
    missing = [
        state.index.subject
        for state in states
        if not state.present and (state.rows or 0) > LARGE_ROWS and state.index.subject not in lost
    ]
    if missing:
        findings.append(
            remark(
                "host-index-missing",
                f"{LARGE_ROWS:,} 行を超える表に、バッチが行を探す列の索引がありません: {'、'.join(missing)}。"
                "バッチは実行のたびに表の全体を読みます。",
                "`python -m include.skillreport indexes` で確認し、作成するか決めてください。",
                "public",
            )
        )
    return findings
