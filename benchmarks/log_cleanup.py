"""Measure BATCH-019-04 without Airflow's start-up: old rows archived, verified and deleted per second, and the growth of memory.

Half of the application's notifications are old, and each has a message in the outbox, which is deleted too. Each size has the same
number of tenants, so that memory per tenant is measured. The benchmark uses one process on one core; a run uses up to five.

    python -m benchmarks.log_cleanup [NOTIFICATIONS ...]
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.measurement import Databases, connected, measure, vacuum
from include.skillreport.batches.notification_log_cleanup import create_batch
from include.skillreport.core.catalog import NOTIFICATION_LOG_CLEANUP
from include.skillreport.core.database import Statements, count_of
from include.skillreport.core.execution.object_store import ObjectStore
from local_stack.batch_runs import LOCAL, run_batch
from local_stack.generator import benchmark_shape
from local_stack.postgres_server import EmbeddedPostgres

SIZES = (20_000, 200_000)
TENANTS = 2
DAY = date(2026, 11, 1)
# A million rows in a quarter of the time limit, by one process.
REQUIRED_ROWS_PER_SECOND = 600
ALLOWED_MEMORY_RATIO = 1.25
_SQL = Statements(Path(__file__).parent)


def run_cleanup(directory: str, dsn: str, day: date) -> None:
    """Do one run as the DAG's tasks do."""
    with connected(dsn) as (platform, connection):
        store = ObjectStore(Path(directory))
        result = run_batch(
            platform, connection, NOTIFICATION_LOG_CLEANUP, create_batch(LOCAL), day, store=store
        )
        assert result.status == "completed"


def rows_left(dsn: str) -> int:
    """The number of notifications and messages in the database."""
    with psycopg.connect(dsn) as connection:
        return count_of(connection, 'SELECT count(*) FROM "HIS_NotificationLog"') + count_of(
            connection, "SELECT count(*) FROM batch.outbox"
        )


def main(sizes: tuple[int, ...]) -> int:
    rates, peaks = [], []
    with tempfile.TemporaryDirectory(prefix="log-cleanup-benchmark-") as directory:
        server = EmbeddedPostgres(Path(directory) / "postgres")
        server.start()
        databases = Databases(server)
        try:
            print(f"{'archived rows':>13} {'rows/s':>8} {'peak MB':>8} {'archive MB':>11}")
            for notifications in sizes:
                shape = replace(benchmark_shape(TENANTS), users_per_tenant=0, requests_per_day=0)
                dsn = databases.load(f"cleanup_{notifications}", shape)
                with psycopg.connect(dsn) as connection:
                    _SQL.execute(connection, "old_notifications", notifications=notifications // TENANTS)
                    _SQL.execute(connection, "old_messages")
                vacuum(dsn)
                store = Path(directory) / f"store_{notifications}"
                rows = rows_left(dsn) // 2
                cleanup = measure(partial(run_cleanup, str(store)), dsn, DAY)
                if rows_left(dsn) != rows:
                    raise SystemExit("the run has not deleted exactly the old rows")
                rates.append(rows / cleanup.seconds)
                peaks.append(cleanup.peak_memory_bytes)
                written = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
                print(
                    f"{rows:>13,} {rates[-1]:>8,.0f} {peaks[-1] / 2**20:>8.0f} {written / 2**20:>11.1f}",
                    flush=True,
                )
        finally:
            server.reset()
    ratio = peaks[-1] / peaks[0]
    print(
        f"{rates[-1]:,.0f} rows/s (required {REQUIRED_ROWS_PER_SECOND}), "
        f"peak memory of the largest run {ratio:.2f} times that of the smallest (allowed {ALLOWED_MEMORY_RATIO})"
    )
    return int(rates[-1] < REQUIRED_ROWS_PER_SECOND or ratio > ALLOWED_MEMORY_RATIO)


if __name__ == "__main__":
    sys.exit(main(tuple(int(argument) for argument in sys.argv[1:]) or SIZES))
