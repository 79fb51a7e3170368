"""Measure BATCH-002's row deletion: expired rows per second, the wait of concurrent inserts, and the growth of memory.

python -m benchmarks.log_deletion [ROWS ...]
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from datetime import date
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.measurement import Databases, measure, vacuum
from include.skillreport.batches.log_cleanup.rows import ROW_CLASSES, cutoff, delete_old
from include.skillreport.batches.log_cleanup.settings import LogCleanupSettings
from include.skillreport.core.database import Statements, count_of
from local_stack.generator import benchmark_shape
from local_stack.postgres_server import EmbeddedPostgres

SIZES = (100_000, 1_000_000)
DAY = date(2026, 11, 1)
# A million rows in a tenth of the time limit.
REQUIRED_ROWS_PER_SECOND = 1_400
ALLOWED_WAIT_SECONDS = 1.0
ALLOWED_MEMORY_RATIO = 1.25
_SQL = Statements(Path(__file__).parent)


def delete_rows(dsn: str, day: date) -> None:
    """Do the unit ``rows/system_log`` of one run."""
    settings = LogCleanupSettings.load()
    row_class = ROW_CLASSES["system_log"]
    with psycopg.connect(dsn, autocommit=True) as platform:
        platform.execute("SET ROLE batch_platform")
        before = cutoff(day, row_class, settings.row_days)
        for rows in delete_old(platform, row_class, before, settings.chunk_rows):
            assert rows <= settings.chunk_rows


def insert_until(stop: threading.Event, dsn: str, waits: list[float]) -> None:
    """Insert rows, as the application does during the deletion."""
    with psycopg.connect(dsn, autocommit=True) as host:
        while not stop.is_set():
            start = time.perf_counter()
            _SQL.execute(host, "fresh_request")
            waits.append(time.perf_counter() - start)


def main(sizes: tuple[int, ...]) -> int:
    rates, peaks, longest = [], [], 0.0
    with tempfile.TemporaryDirectory(prefix="deletion-benchmark-") as directory:
        server = EmbeddedPostgres(Path(directory))
        server.start()
        databases = Databases(server)
        try:
            print(f"{'rows':>10} {'rows/s':>8} {'inserts':>8} {'longest insert ms':>18} {'peak MB':>8}")
            for rows in sizes:
                dsn = databases.load(f"deletion_{rows}", benchmark_shape(2))
                with psycopg.connect(dsn) as connection:
                    _SQL.execute(connection, "expired_requests", rows=rows)
                vacuum(dsn)
                waits: list[float] = []
                stop = threading.Event()
                writer = threading.Thread(target=partial(insert_until, stop, dsn, waits))
                writer.start()
                deletion = measure(delete_rows, dsn, DAY)
                stop.set()
                writer.join()
                with psycopg.connect(dsn) as connection:
                    if count_of(
                        connection, """SELECT count(*) FROM "SYS_SystemLog" WHERE message = 'expired'"""
                    ):
                        raise SystemExit("not every expired row is deleted")
                rates.append(rows / deletion.seconds)
                peaks.append(deletion.peak_memory_bytes)
                longest = max(longest, *waits)
                print(
                    f"{rows:>10,} {rates[-1]:>8,.0f} {len(waits):>8,} {max(waits) * 1000:>18.0f}"
                    f" {peaks[-1] / 2**20:>8.0f}",
                    flush=True,
                )
        finally:
            server.reset()
    memory = peaks[-1] / peaks[0]
    print(
        f"{rates[-1]:,.0f} rows/s (required {REQUIRED_ROWS_PER_SECOND}), longest insert {longest:.2f} s (allowed"
        f" {ALLOWED_WAIT_SECONDS}), memory ratio {memory:.2f} (allowed {ALLOWED_MEMORY_RATIO})"
    )
    return int(
        rates[-1] < REQUIRED_ROWS_PER_SECOND
        or longest > ALLOWED_WAIT_SECONDS
        or memory > ALLOWED_MEMORY_RATIO
    )


if __name__ == "__main__":
    sys.exit(main(tuple(int(argument) for argument in sys.argv[1:]) or SIZES))
