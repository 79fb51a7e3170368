"""The cost of the batches' own tables after five years, compared with one month of rows.

Both databases have the same tenants and almost no rows of the application, so the time is that of statements on the batches' tables. The
database with years is in the state just before the weekly clean-up. Compare ratios, not seconds. For the clean-up, compare the time per
deleted row.

    python -m benchmarks.years [TENANTS] [YEARS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from time import perf_counter

import psycopg
from psycopg import sql

from benchmarks.measurement import connected
from benchmarks.scale_world import LAST_DAY, World, plant_host
from benchmarks.years_world import TODAY, month_of, plant_years, years_of
from include.skillreport.batches import tenant_monitoring
from include.skillreport.batches.log_cleanup.rows import ROW_CLASSES, cutoff, delete_old
from include.skillreport.batches.log_cleanup.settings import LogCleanupSettings
from include.skillreport.core.catalog import TENANT_MONITORING
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.messaging import outbox
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.outbox import Exchange, Lane
from include.skillreport.messaging.retry import Status
from include.skillreport.schema.deploy import upgrade
from local_stack.batch_runs import LOCAL, run_batch
from local_stack.postgres_server import EmbeddedPostgres

TENANTS, YEARS = 1_000, 5
REQUIRED_GROWTH = 1.5
CLAIMS = 100
HOURS = 5
_MIDNIGHT = datetime.combine(TODAY, datetime.min.time(), JAPAN)


def plant(server: EmbeddedPostgres, name: str, tenants: int, years: int) -> str:
    """A database with the tenants and the rows of a month (``years`` 0) or of these years. Returns its owner's connection string."""
    with psycopg.connect(server.admin_dsn(), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    dsn = server.admin_dsn(name)
    plant_host(dsn, World(tenants, users=2, requests=1_000))
    upgrade(dsn)
    plant_years(dsn, years_of(tenants, years) if years else month_of(tenants))
    return dsn


def monitor(dsn: str) -> float:
    """Seconds of an hourly run of BATCH-018-03: the median of several, after a run that warms the cache."""
    seconds = []
    with connected(dsn) as (platform, connection):
        for hour in range(HOURS + 1):
            run_at = _MIDNIGHT + timedelta(hours=hour)
            start = perf_counter()
            run_batch(
                platform,
                connection,
                TENANT_MONITORING,
                tenant_monitoring.create_batch(LOCAL),
                LAST_DAY,
                run_at=run_at,
            )
            seconds.append(perf_counter() - start)
    return statistics.median(seconds[1:])


def claim(dsn: str) -> float:
    """Seconds of one claim from the outbox: the median over many tenants."""
    now = _MIDNIGHT + timedelta(days=1)
    with connected(dsn) as (_, connection):
        return statistics.median(
            _seconds(
                partial(
                    outbox.exchange,
                    connection,
                    [Exchange(Lane(f"tenant-{number + 1:06}", SLACK), (), 5)],
                    [Status.PENDING, Status.RETRY],
                    owner="benchmark",
                    started_at=now,
                    now=now,
                )
            )
            for number in range(CLAIMS)
        )


def clean_up(dsn: str, week: int) -> tuple[float, int]:
    """Seconds and rows of a clean-up that finds about a week of old rows.

    ``week``: days by which the business date is after ``TODAY``, so that both databases have a week of old rows.
    """
    settings = LogCleanupSettings.load()
    rows, start = 0, perf_counter()
    with connected(dsn) as (platform, _):
        for row_class in ROW_CLASSES.values():
            if not row_class.is_host:
                before = cutoff(TODAY + timedelta(days=week), row_class, settings.row_days)
                rows += sum(delete_old(platform, row_class, before, settings.chunk_rows))
    return perf_counter() - start, rows


def _seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def sizes(dsn: str) -> list[tuple[str, int, str]]:
    """The largest tables of schema ``batch`` with their rows and their size with indexes."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            """
            SELECT relname, reltuples::bigint, pg_size_pretty(pg_total_relation_size(oid))
            FROM pg_class
            WHERE relnamespace = 'batch'::regnamespace AND relkind = 'r' AND reltuples > 0
            ORDER BY pg_total_relation_size(oid) DESC
            LIMIT 12
            """
        ).fetchall()


def main(tenants: int = TENANTS, years: int = YEARS) -> int:
    """Measure; returns 0 if the requirement holds."""
    with tempfile.TemporaryDirectory(prefix="years-benchmark-") as directory:
        server = EmbeddedPostgres(Path(directory))
        server.start()
        try:
            month, long = plant(server, "month", tenants, 0), plant(server, "long", tenants, years)
            for name, count, size in sizes(long):
                print(f"{name:<20} {count:>12,} rows {size:>10}")
            found = {
                "one hour of BATCH-018-03": (monitor(month), monitor(long)),
                "one claim of the outbox": (claim(month), claim(long)),
            }
            # A month has no row that is old enough. With a later business date, its first week is old.
            kept = LogCleanupSettings.load().row_days.execution_log
            (short_seconds, short_rows), (long_seconds, long_rows) = (
                clean_up(month, kept - 30 + 7),
                clean_up(long, 0),
            )
            print(
                f"deleted: {short_rows:,} rows in {short_seconds:.1f} s, {long_rows:,} in {long_seconds:.1f} s"
            )
            found["clean-up, per row"] = (short_seconds / short_rows, long_seconds / long_rows)
        finally:
            server.reset()
    print(f"{'':<26} {'month':>10} {f'{years} years':>10} {'growth':>7}")
    for label, (short, long_time) in found.items():
        print(f"{label:<26} {short * 1000:>7.3f} ms {long_time * 1000:>7.3f} ms {long_time / short:>7.2f}")
    growth = max(long_time / short for short, long_time in found.values())
    print(f"largest growth: {growth:.2f} (required: {REQUIRED_GROWTH})")
    return int(growth > REQUIRED_GROWTH)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
