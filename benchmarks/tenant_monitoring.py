"""Measure BATCH-018-03 without Airflow's start-up: tenants per second, and the growth of memory.

The first run measures four weeks of each tenant, an ordinary run the last hour. In the storm all tenants breach at once: an incident
each, and one alert. The benchmark uses one process on one core; a run uses up to five.

    python -m benchmarks.tenant_monitoring [TENANTS ...]
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.measurement import Databases, Measurement, connected, measure, vacuum
from include.skillreport.batches.tenant_monitoring import create_batch
from include.skillreport.core.catalog import TENANT_MONITORING
from include.skillreport.core.database import Statements, count_of
from include.skillreport.core.execution.batch import Run, Work
from include.skillreport.core.execution.business_date import JAPAN
from local_stack.batch_runs import LOCAL, run_batch
from local_stack.generator import DataShape, benchmark_shape
from local_stack.postgres_server import EmbeddedPostgres

_SQL = Statements(Path(__file__).parent)

SIZES = (1_000, 10_000)
# 10,000 tenants in five minutes, by one process.
REQUIRED_TENANTS_PER_SECOND = 34
ALLOWED_MEMORY_RATIO = 1.5

# A Friday. The four Fridays before it are no holidays.
DAY = date(2026, 10, 30)
# The hours (Asia/Tokyo) that are checked by the first run, the ordinary run, the run before the storm and the run in the storm.
CHECKS = (10, 11, 12, 13)
FAILING = (12, 13)


def shape_of(tenants: int) -> DataShape:
    """Five weeks of any number of equal tenants with 20 users and one request a day. ``plant_hours`` adds requests."""
    return replace(
        benchmark_shape(tenants),
        first_day=DAY - timedelta(weeks=5),
        days=36,
        requests_per_day=tenants,
    )


def plant_hours(dsn: str) -> None:
    """Insert requests in the checked hours, and in the same hours of the four weeks before."""
    hours = {
        datetime.combine(DAY - timedelta(weeks=weeks), time(check - 1), JAPAN): check in FAILING and not weeks
        for weeks in range(5)
        for check in CHECKS
    }
    with psycopg.connect(dsn, autocommit=True) as connection:
        _SQL.execute(
            connection,
            "monitored_hours",
            hours=[hour.astimezone(UTC).replace(tzinfo=None) for hour in hours],
            fails=list(hours.values()),
        )


def run_check(dsn: str, day: date, *, check: int) -> None:
    """Do one run as the DAG's tasks do, including the text of the digest."""
    run_at = datetime.combine(day, time(check), JAPAN)
    batch = create_batch(LOCAL)
    with connected(dsn) as (platform, connection):
        result = run_batch(platform, connection, TENANT_MONITORING, batch, day, run_at=run_at)
        assert result.status == "completed"
        run = Run(result.execution_id, day, day, options={"all_tenants": True}, run_at=run_at)
        batch.digest(Work(run, platform))


def counted(dsn: str, table: str) -> int:
    """The number of rows of a table in schema ``batch``."""
    queries = {
        "hourly_measure": "SELECT count(*) FROM batch.hourly_measure",
        "incident": "SELECT count(*) FROM batch.incident",
    }
    with psycopg.connect(dsn) as connection:
        return count_of(connection, queries[table])


def main(sizes: tuple[int, ...]) -> int:
    slowest, peaks = 0.0, []
    with tempfile.TemporaryDirectory(prefix="monitoring-benchmark-") as directory:
        server = EmbeddedPostgres(Path(directory))
        server.start()
        databases = Databases(server)
        try:
            print(
                f"{'tenants':>8} {'measures':>10} {'first run':>10} {'ordinary':>9} {'storm':>6} {'incidents':>10} {'peak MB':>8}"
            )
            for tenants in sizes:
                dsn = databases.load(f"monitoring_{tenants}", shape_of(tenants))
                plant_hours(dsn)
                vacuum(dsn)
                runs: list[Measurement] = []
                for check in CHECKS:
                    runs.append(measure(partial(run_check, check=check), dsn, DAY))
                    vacuum(dsn)
                slowest = max(run.seconds for run in runs)
                peaks.append(max(run.peak_memory_bytes for run in runs))
                first, ordinary, _, storm = runs
                print(
                    f"{tenants:>8,} {counted(dsn, 'hourly_measure'):>10,} {first.seconds:>8.1f} s {ordinary.seconds:>7.1f} s"
                    f" {storm.seconds:>4.1f} s {counted(dsn, 'incident'):>10,} {peaks[-1] / 2**20:>8.0f}",
                    flush=True,
                )
        finally:
            server.reset()
    rate, ratio = sizes[-1] / slowest, peaks[-1] / peaks[0]
    print(
        f"{rate:,.0f} tenants/s at {sizes[-1]:,} in the slowest run (required: {REQUIRED_TENANTS_PER_SECOND});"
        f" memory ratio {ratio:.2f} (allowed: {ALLOWED_MEMORY_RATIO})"
    )
    return 0 if rate >= REQUIRED_TENANTS_PER_SECOND and ratio <= ALLOWED_MEMORY_RATIO else 1


if __name__ == "__main__":
    sys.exit(main(tuple(int(argument) for argument in sys.argv[1:]) or SIZES))
