"""Rows of the batches' daily statistics for tests. The test gives some values, the others are 0."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from include.skillreport.batches.statistics import create_batch
from include.skillreport.core.catalog import STATISTICS
from include.skillreport.core.execution.run_log import RunResult
from local_stack.batch_runs import LOCAL, run_batch
from tests.conftest import Database
from tests.worlds import host_rows

DAY = date(2026, 10, 31)

NOON = datetime(2026, 10, 31, 3, 0)

LONG_AGO = datetime(2026, 4, 1)


def days(
    connection: psycopg.Connection,
    tenant_id: str,
    first: date,
    last: date,
    figures: Mapping[str, int | None] | None = None,
    *,
    without: Collection[date] = (),
) -> None:
    """A row for each day of the span (inclusive) but ``without``, all alike. A figure of None has no record."""
    names = [
        name
        for (name,) in connection.execute(
            """
            SELECT column_name
            FROM information_schema.columns
            WHERE
                table_schema = 'batch' AND table_name = 'statistics_day' AND is_generated = 'NEVER'
                AND data_type IN ('bigint', 'numeric')
            """
        )
    ]
    row = {"tenant_id": tenant_id, "recorded_by": "test"} | dict.fromkeys(names, 0) | dict(figures or {})
    assert len(row) == len(names) + 2
    statement = sql.SQL("INSERT INTO batch.statistics_day (statistics_date, {}) VALUES (%s, {})").format(
        sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join(sql.Placeholder() * len(row))
    )
    span = (first + timedelta(days=number) for number in range((last - first).days + 1))
    with connection.cursor() as cursor:
        cursor.executemany(statement, [[day, *row.values()] for day in span if day not in without])


def group(
    connection: psycopg.Connection, tenant_id: str, day: date, dimension: str, name: str | None, people: int
) -> None:
    """A category or department of this many people, each with one skill of level 3; without a name, the rest."""
    connection.execute(
        """
        INSERT INTO batch.statistics_group
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 0, 0, %s, 0, 0)
        """,
        [tenant_id, day, dimension, name or "", name is None, name, people, people, 3 * people, people],
    )


def run(
    database: Database, day: date = DAY, *, dry_run: bool = False, codes: Sequence[str] = ()
) -> RunResult:
    with database.working() as (platform, connection):
        return run_batch(
            platform, connection, STATISTICS, create_batch(LOCAL), day, dry_run=dry_run, codes=codes
        )


def transaction(
    host: psycopg.Connection, table: str, row_id: str, person: str, tenant_id: str = "T1", **values: Any
) -> None:
    """A row of a TRN_ table about a person."""
    values = {"created_at": LONG_AGO, "updated_at": LONG_AGO, "created_by": "x", "updated_by": "x"} | values
    host_rows.insert(host, table, id=row_id, employee_id=person, tenant_id=tenant_id, **values)


def skill(
    host: psycopg.Connection,
    person: str,
    item: str,
    level: int | None,
    category: str | None = None,
    tenant_id: str = "T1",
    **values: Any,
) -> None:
    transaction(
        host,
        "TRN_SkillRecord",
        f"{person}/{item}",
        person,
        tenant_id,
        skill_item_id=item,
        skill_level=level,
        skill_category_id=category,
        **values,
    )
