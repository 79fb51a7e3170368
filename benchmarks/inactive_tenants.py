"""Measure BATCH-018-04 without Airflow's start-up: tenants per second, and the growth of memory.

The first day is the worst case: all tenants become critical, with a row, a step and a letter each. The second day finds no change and sends
nothing. The benchmark uses one process on one core; a run uses up to five.

    python -m benchmarks.inactive_tenants [TENANTS ...]
"""

from __future__ import annotations

import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path

import psycopg

from benchmarks.measurement import Databases, connected, measure
from include.skillreport.batches.inactive_tenants import create_batch
from include.skillreport.batches.inactive_tenants.settings import InactivitySettings
from include.skillreport.core.catalog import INACTIVE_TENANTS
from include.skillreport.core.database import count_of
from local_stack.batch_runs import LOCAL, run_batch
from local_stack.generator import benchmark_shape
from local_stack.postgres_server import EmbeddedPostgres

SIZES = (1_000, 10_000)
# 10,000 tenants in a tenth of the time limit, by one process.
REQUIRED_TENANTS_PER_SECOND = 56
ALLOWED_MEMORY_RATIO = 1.25


def run_inactivity(dsn: str, day: date) -> None:
    """Do one run as the DAG's tasks do."""
    with connected(dsn) as (platform, connection):
        assert (
            run_batch(platform, connection, INACTIVE_TENANTS, create_batch(LOCAL), day).status == "completed"
        )


def letters(dsn: str) -> int:
    """The number of messages in the outbox."""
    with psycopg.connect(dsn) as connection:
        return count_of(connection, "SELECT count(*) FROM batch.outbox")


def main(sizes: tuple[int, ...]) -> int:
    rates, peaks = [], []
    with tempfile.TemporaryDirectory(prefix="inactivity-benchmark-") as directory:
        server = EmbeddedPostgres(Path(directory))
        server.start()
        databases = Databases(server)
        try:
            print(f"{'tenants':>8} {'letters':>8} {'tenants/s':>10} {'the day after':>14} {'peak MB':>8}")
            for tenants in sizes:
                shape = benchmark_shape(tenants)
                dsn = databases.load(f"inactivity_{tenants}", shape)
                day = shape.first_day + timedelta(days=InactivitySettings.load().critical_days)
                first = measure(run_inactivity, dsn, day)
                written = letters(dsn)
                second = measure(run_inactivity, dsn, day + timedelta(days=1))
                if letters(dsn) != written:
                    raise SystemExit("the second day has sent a letter again")
                rates.append(tenants / first.seconds)
                peaks.append(max(first.peak_memory_bytes, second.peak_memory_bytes))
                print(
                    f"{tenants:>8,} {written:>8,} {rates[-1]:>10,.0f} {tenants / second.seconds:>14,.0f}"
                    f" {peaks[-1] / 2**20:>8.0f}",
                    flush=True,
                )
        finally:
            server.reset()
    ratio = peaks[-1] / peaks[0]
    print(
        f"{rates[-1]:,.0f} tenants/s at {sizes[-1]:,} (required: {REQUIRED_TENANTS_PER_SECOND});"
        f" memory ratio {ratio:.2f} (allowed: {ALLOWED_MEMORY_RATIO})"
    )
    return 0 if rates[-1] >= REQUIRED_TENANTS_PER_SECOND and ratio <= ALLOWED_MEMORY_RATIO else 1


if __name__ == "__main__":
    sys.exit(main(tuple(int(argument) for argument in sys.argv[1:]) or SIZES))
