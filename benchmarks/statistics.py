"""Measure BATCH-003 without Airflow's start-up: tenants per second, and the growth of memory.

The benchmark uses one process on one core; a run uses up to five.

    python -m benchmarks.statistics [TENANTS ...]
"""

from __future__ import annotations

import sys
import tempfile
from datetime import date
from pathlib import Path

from benchmarks.measurement import Databases, connected, measure
from include.skillreport.batches.statistics import create_batch
from include.skillreport.core.catalog import STATISTICS
from local_stack.batch_runs import LOCAL, run_batch
from local_stack.generator import benchmark_shape
from local_stack.postgres_server import EmbeddedPostgres

SIZES = (1_000, 10_000)
# 10,000 tenants in a twentieth of the time limit, by one process.
REQUIRED_TENANTS_PER_SECOND = 56
ALLOWED_MEMORY_RATIO = 1.25


def run_statistics(dsn: str, day: date) -> None:
    """Do one run as the DAG's tasks do."""
    with connected(dsn) as (platform, connection):
        assert run_batch(platform, connection, STATISTICS, create_batch(LOCAL), day).status == "completed"


def main(sizes: tuple[int, ...]) -> int:
    rates, peaks = [], []
    with tempfile.TemporaryDirectory(prefix="statistics-benchmark-") as directory:
        server = EmbeddedPostgres(Path(directory))
        server.start()
        databases = Databases(server)
        try:
            print(f"{'tenants':>8} {'seconds':>8} {'tenants/s':>10} {'again':>8} {'peak MB':>8}")
            for tenants in sizes:
                shape = benchmark_shape(tenants)
                dsn = databases.load(f"statistics_{tenants}", shape)
                first = measure(run_statistics, dsn, shape.first_day)
                again = measure(run_statistics, dsn, shape.first_day)
                rates.append(tenants / first.seconds)
                peaks.append(max(first.peak_memory_bytes, again.peak_memory_bytes))
                print(
                    f"{tenants:>8,} {first.seconds:>8.1f} {rates[-1]:>10,.0f} {again.seconds:>8.1f}"
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
