"""Rows of the batches' daily statistics for tests. The test gives some values, the others are 0."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, timedelta

import psycopg
from psycopg import sql


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
