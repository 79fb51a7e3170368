"""Measure the indexes that ``python -m include.skillreport indexes`` recommends: a B-tree, and BRIN in four forms.

The table is a request log of 40 days. It is measured in the order in which it was written, and after churn: BATCH-002 has deleted the
oldest 30 days, vacuum has freed their pages, and new rows have filled them. For the rows of a day, of an hour and of the oldest week the
benchmark prints the time, the rows and the pages read. For each index it prints the size and the additional time of an insert.

    python -m benchmarks.host_indexes [ROWS_PER_DAY]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from benchmarks.measurement import Databases, vacuum
from include.skillreport.batches.log_cleanup.rows import ROW_CLASSES, delete_old
from include.skillreport.core.database import Statements
from local_stack.generator import benchmark_shape
from local_stack.postgres_server import EmbeddedPostgres

ROWS_PER_DAY = 100_000
DAYS, EXPIRED_DAYS = 40, 30
FIRST_DAY = datetime(2026, 9, 1)
CHUNK_ROWS = 5_000
INSERTED_ROWS = 50_000
REPETITIONS = 3
_SQL = Statements(Path(__file__).parent)

INDEXES = {
    "btree": "btree (created_at)",
    "minmax_128": "brin (created_at) WITH (pages_per_range = 128)",
    "minmax_32": "brin (created_at) WITH (pages_per_range = 32)",
    "multi_128": "brin (created_at timestamp_minmax_multi_ops) WITH (pages_per_range = 128)",
    "multi_32": "brin (created_at timestamp_minmax_multi_ops) WITH (pages_per_range = 32)",
}
"""The candidates, by the second part of their name."""


@dataclass(frozen=True)
class Reading:
    """The cost of reading one period: milliseconds, rows and pages."""

    milliseconds: float
    rows: int
    pages: int


def read(connection: psycopg.Connection, block: str, start: datetime, end: datetime) -> Reading:
    """Run a block over a period; the fastest of some repetitions."""
    explain = b"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) " + _SQL[block].encode()
    readings = []
    for _ in range(REPETITIONS):
        row = connection.execute(explain, {"period_start": start, "period_end": end}).fetchone()
        assert row is not None
        top = row[0][0]
        rows = sum(
            round(
                node["Actual Loops"]
                * (
                    node["Actual Rows"]
                    + node.get("Rows Removed by Filter", 0)
                    + node.get("Rows Removed by Index Recheck", 0)
                )
            )
            for node in _nodes(top["Plan"])
            if node.get("Relation Name") == "SYS_SystemLog"
        )
        pages = top["Plan"]["Shared Hit Blocks"] + top["Plan"]["Shared Read Blocks"]
        readings.append(Reading(top["Execution Time"], rows, pages))
    return min(readings, key=lambda reading: reading.milliseconds)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


@contextmanager
def only(connection: psycopg.Connection, kept: str | None) -> Iterator[None]:
    """A transaction in which the table has one of the candidates, or none. It is rolled back."""
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL jit = off")
        connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        for name in INDEXES:
            if name != kept:
                connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(f"candidate_{name}")))
        yield


def print_reads(dsn: str, title: str, day: datetime, oldest: datetime) -> None:
    """The readings of one day, of one hour in it, and of the oldest week, with each candidate."""
    print(f"\n{title}")
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(
            "SELECT correlation FROM pg_stats WHERE tablename = 'SYS_SystemLog' AND attname = 'created_at'"
        ).fetchone()
        assert row is not None
        print(f"pg_stats.correlation {row[0]:.3f}")
        sizes: dict[str, int] = dict(_SQL.execute(connection, "candidate_indexes").fetchall())
        print(
            f"{'index':<12} {'MB':>7}"
            + "".join(f" {period + ' ms':>9} {'rows':>10} {'pages':>8}" for period in ("day", "hour", "week"))
        )
        hour = day + timedelta(hours=3)
        for name in (None, *INDEXES):
            with only(connection, name):
                readings = (
                    read(connection, "read_period", day, day + timedelta(days=1)),
                    read(connection, "read_period", hour, hour + timedelta(hours=1)),
                    read(connection, "read_expired", oldest, oldest + timedelta(days=7)),
                )
            size = sizes[f"candidate_{name}"] / 2**20 if name else 0.0
            print(
                f"{name or 'none':<12} {size:>7.2f}"
                + "".join(
                    f" {each.milliseconds:>9.1f} {each.rows:>10,} {each.pages:>8,}" for each in readings
                ),
                flush=True,
            )


def print_writes(dsn: str, day: datetime) -> None:
    """The microseconds that an insert of one row takes, with each candidate."""
    print(f"\n{'index':<12} {'µs per inserted row':>20}")
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name in (None, *INDEXES):
            seconds = []
            for _ in range(REPETITIONS):
                with only(connection, name):
                    start = time.perf_counter()
                    _SQL.execute(connection, "log_days", first_day=day, days=1, rows_per_day=INSERTED_ROWS)
                    seconds.append(time.perf_counter() - start)
            print(
                f"{name or 'none':<12} {statistics.median(seconds) / INSERTED_ROWS * 1e6:>20.2f}", flush=True
            )


def churn(dsn: str, before: datetime, rows_per_day: int) -> None:
    """Delete the rows before a moment in BATCH-002's chunks, free their pages, and fill these with the rows of later days."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET ROLE batch_platform")
        for _ in delete_old(connection, ROW_CLASSES["system_log"], before, CHUNK_ROWS):
            pass
    vacuum(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        _SQL.execute(
            connection,
            "log_days",
            first_day=FIRST_DAY + timedelta(days=DAYS),
            days=EXPIRED_DAYS,
            rows_per_day=rows_per_day,
        )
    vacuum(dsn)


def main(arguments: Sequence[str]) -> int:
    rows_per_day = int(arguments[0]) if arguments else ROWS_PER_DAY
    with tempfile.TemporaryDirectory(prefix="index-benchmark-") as directory:
        server = EmbeddedPostgres(Path(directory))
        server.start()
        try:
            dsn = Databases(server).load("host_indexes", benchmark_shape(2))
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute('TRUNCATE "SYS_SystemLog"')
                _SQL.execute(
                    connection, "log_days", first_day=FIRST_DAY, days=DAYS, rows_per_day=rows_per_day
                )
                for name, definition in INDEXES.items():
                    start = time.perf_counter()
                    connection.execute(
                        sql.SQL('CREATE INDEX {} ON "SYS_SystemLog" USING ').format(
                            sql.Identifier(f"candidate_{name}")
                        )
                        + sql.SQL(definition)
                    )
                    print(f"created {name} in {time.perf_counter() - start:.1f} s", flush=True)
            vacuum(dsn)
            title = f"{DAYS} days of {rows_per_day:,} rows, as written"
            print_reads(dsn, title, FIRST_DAY + timedelta(days=35), FIRST_DAY)
            print_writes(dsn, FIRST_DAY + timedelta(days=DAYS))
            oldest = FIRST_DAY + timedelta(days=EXPIRED_DAYS)
            churn(dsn, oldest, rows_per_day)
            print_reads(dsn, "after churn, a new day", FIRST_DAY + timedelta(days=DAYS + 15), oldest)
            print_reads(dsn, "after churn, an old day", FIRST_DAY + timedelta(days=35), oldest)
        finally:
            server.reset()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
