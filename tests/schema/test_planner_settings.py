"""How ``plan_for_scans`` changes a plan."""

from __future__ import annotations

import psycopg

from include.skillreport.core.database import plan_for_scans
from tests.conftest import Database

SORTED = b"EXPLAIN SELECT * FROM pair ORDER BY tenant, employee"


def plan(connection: psycopg.Connection) -> str:
    return "\n".join(line for (line,) in connection.execute(SORTED))


def test_a_long_statement_makes_no_incremental_sort(database: Database) -> None:
    with database.connect() as connection, connection.transaction():
        connection.execute(
            "CREATE TEMP TABLE pair AS SELECT n / 10 AS tenant, n AS employee FROM generate_series(1, 20000) AS n"
        )
        connection.execute("CREATE INDEX ON pair (tenant)")
        connection.execute("ANALYZE pair")
        before = plan(connection)
        plan_for_scans(connection)

        assert "Incremental Sort" in before
        assert "Incremental Sort" not in plan(connection)
