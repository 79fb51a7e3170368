"""Measure BATCH-004 without Airflow's start-up: reports (workbook and PDF) per second, and the growth of memory with a tenant's size.

python -m benchmarks.monthly_reports [TENANTS]
"""

from __future__ import annotations

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.measurement import Databases, Measurement, connected, measure, vacuum
from include.skillreport.batches.monthly_report import create_batch
from include.skillreport.core.catalog import MONTHLY_REPORT
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.object_store import ObjectStore
from local_stack.batch_runs import LOCAL, run_batch
from local_stack.generator import DataShape, benchmark_shape
from local_stack.postgres_server import EmbeddedPostgres

_SQL = Statements(Path(__file__).parent)

TENANTS, PROCESSES = 200, 2
REQUIRED_SECONDS = 180
PEOPLE = (100, 10_000)
ALLOWED_MEMORY_RATIO = 1.25
MONTH = date(2026, 10, 1)


def run_reports(dsn: str, month: date, *, codes: tuple[str, ...] = (), folder: str) -> None:
    """Do one run for these tenants as the DAG's tasks do."""
    with connected(dsn) as (platform, connection):
        result = run_batch(
            platform,
            connection,
            MONTHLY_REPORT,
            create_batch(LOCAL),
            month,
            codes=codes,
            store=ObjectStore(Path(folder)),
        )
        assert result.status == "completed", result.sentence()


def load(databases: Databases, name: str, shape: DataShape) -> str:
    """Create a host with these data and seven months of statistics."""
    dsn = databases.load(name, shape)
    with psycopg.ClientCursor(psycopg.connect(dsn, autocommit=True)) as cursor:
        _SQL.execute(cursor, "statistics_rows")
    vacuum(dsn)
    return dsn


def tenant_codes(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        return [code for (code,) in connection.execute("SELECT tenant_code FROM batch.all_tenant ORDER BY 1")]


def measure_many(dsn: str, folder: str) -> float:
    """The seconds for all tenants in one process per core, as a run's mapped instances share the cores."""
    codes = tenant_codes(dsn)
    parts = [tuple(codes[start::PROCESSES]) for start in range(PROCESSES)]
    started = time.perf_counter()
    with ThreadPoolExecutor(PROCESSES) as pool:
        list(
            pool.map(lambda part: measure(partial(run_reports, codes=part, folder=folder), dsn, MONTH), parts)
        )
    return time.perf_counter() - started


def measure_people(databases: Databases, people: int, folder: str) -> Measurement:
    """One tenant with this many people."""
    shape = DataShape(
        tenants=1,
        users_per_tenant=people,
        first_day=MONTH,
        days=1,
        requests_per_day=0,
        odd_tenants=False,
    )
    dsn = load(databases, f"people_{people}", shape)
    return measure(partial(run_reports, folder=folder), dsn, MONTH)


def main(tenants: int) -> int:
    with tempfile.TemporaryDirectory(prefix="report-benchmark-") as directory:
        server = EmbeddedPostgres(Path(directory) / "postgres")
        server.start()
        databases = Databases(server)
        try:
            dsn = load(databases, "reports", benchmark_shape(tenants))
            seconds = measure_many(dsn, f"{directory}/reports")
            files = [path for path in Path(directory, "reports").rglob("*") if path.is_file()]
            assert len(files) == 2 * tenants
            print(
                f"{tenants} workbooks and PDFs by {PROCESSES} processes in {seconds:.1f} s,"
                f" {tenants / seconds:.0f} tenants/s, {sum(path.stat().st_size for path in files) / 2**20:.0f} MB",
                flush=True,
            )
            peaks = []
            for people in PEOPLE:
                one = measure_people(databases, people, f"{directory}/{people}")
                peaks.append(one.peak_memory_bytes)
                print(
                    f"one tenant with {people:>6,} people: {one.seconds:.1f} s, {peaks[-1] / 2**20:.0f} MB",
                    flush=True,
                )
        finally:
            server.reset()
    ratio = peaks[-1] / peaks[0]
    allowed = REQUIRED_SECONDS * tenants / TENANTS
    print(
        f"{seconds:.1f} s (required: {allowed:.0f}); memory ratio {ratio:.2f} (allowed: {ALLOWED_MEMORY_RATIO})"
    )
    return 0 if seconds <= allowed and ratio <= ALLOWED_MEMORY_RATIO else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else TENANTS))
