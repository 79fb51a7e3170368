"""Compare BATCH-001, without Airflow's start-up, with a bare ``pg_dump -Fd -j2`` of the same database.

``dump`` takes the snapshot, dumps, hashes each table and packs the files. ``check`` restores and compares. ``exports`` write the CSV
files of each tenant and the manifest. Compare ratios, not seconds, because the ratio does not depend on the machine.

    python -m benchmarks.backup [TENANTS ...]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import date
from functools import partial
from itertools import pairwise
from pathlib import Path

import psycopg

from benchmarks.measurement import Databases, connected, measure
from include.catalog import DATA_BACKUP
from include.data_management.data_backup import create_batch
from include.data_management.data_backup.server import BIN_VARIABLE, CONNECTION
from include.database import count_of
from include.execution.batch import Work
from include.execution.object_store import ObjectStore
from include.execution.run_log import close_execution
from local_stack.batch_runs import LocalInstallation, open_run, process_tenants
from local_stack.generator import benchmark_shape
from local_stack.postgres_server import EmbeddedPostgres

SIZES = (100, 1_000)
ALLOWED_RATIO = 1.3
ALLOWED_MEMORY_RATIO = 1.25
TOOLS = EmbeddedPostgres.binary("pg_dump").parent


def bare_dump(folder: str, dsn: str, _: date) -> None:
    """The command that an operator would use."""
    target = Path(folder, "bare")
    subprocess.run([TOOLS / "pg_dump", "-Fd", "-j2", f"--file={target}", f"--dbname={dsn}"], check=True)


def run_backup(folder: str, dsn: str, day: date) -> None:
    """Do one run as the DAG's tasks do; writes the seconds of each step to ``folder``."""
    with connected(dsn) as (platform, connection):
        store = ObjectStore(Path(folder))
        batch = create_batch(
            LocalInstallation(
                object_store=store, databases={CONNECTION: dsn}, variables={BIN_VARIABLE: str(TOOLS)}
            )
        )
        run, tenants = open_run(platform, DATA_BACKUP, batch, day)
        marks = [time.perf_counter()]
        batch.dump(Work(run, platform, store=store))
        marks.append(time.perf_counter())
        batch.check(Work(run, platform, store=store))
        marks.append(time.perf_counter())
        process_tenants(connection, platform, batch, run, tenants, store)
        batch.finish(Work(run, platform, store=store))
        marks.append(time.perf_counter())
        assert close_execution(platform, run).status == "completed"
    steps = [end - start for start, end in pairwise(marks)]
    Path(folder, "seconds").write_text(" ".join(map(str, steps)))


def main(sizes: tuple[int, ...]) -> int:
    ratios, peaks = [], []
    with tempfile.TemporaryDirectory(prefix="backup-benchmark-") as directory:
        server = EmbeddedPostgres(Path(directory) / "postgres")
        server.start()
        databases = Databases(server)
        try:
            print(
                f"{'tenants':>8} {'database MB':>12} {'pg_dump s':>10} {'dump s':>7} {'check s':>8} {'exports s':>10}"
                f" {'stored MB':>10} {'bare MB':>8} {'peak MB':>8}"
            )
            for tenants in sizes:
                # Large enough for a dump of several seconds, so that the start of pg_dump does not matter.
                shape = replace(benchmark_shape(tenants), requests_per_day=1_000 * tenants)
                dsn = databases.load(f"backup_{tenants}", shape)
                with psycopg.connect(dsn) as connection:
                    size = count_of(connection, "SELECT pg_database_size(current_database())")
                folder = Path(directory) / f"store_{tenants}"
                folder.mkdir()
                bare = measure(partial(bare_dump, str(folder)), dsn, shape.first_day)
                whole = measure(partial(run_backup, str(folder)), dsn, shape.first_day)
                dump, check, exports = map(float, (folder / "seconds").read_text().split())
                ratios.append(dump / bare.seconds)
                peaks.append(whole.peak_memory_bytes)
                (backup,) = (folder / "backups").iterdir()
                print(
                    f"{tenants:>8,} {size / 2**20:>12.0f} {bare.seconds:>10.1f} {dump:>7.1f} {check:>8.1f} {exports:>10.1f}"
                    f" {_megabytes(backup / 'dump'):>10.1f} {_megabytes(folder / 'bare'):>8.1f} {peaks[-1] / 2**20:>8.0f}",
                    flush=True,
                )
        finally:
            server.reset()
    memory = peaks[-1] / peaks[0]
    print(
        f"dump {ratios[-1]:.2f} times a bare pg_dump (allowed {ALLOWED_RATIO}); "
        f"peak memory of the largest run {memory:.2f} times that of the smallest (allowed {ALLOWED_MEMORY_RATIO})"
    )
    return int(ratios[-1] > ALLOWED_RATIO or memory > ALLOWED_MEMORY_RATIO)


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


if __name__ == "__main__":
    sys.exit(main(tuple(int(argument) for argument in sys.argv[1:]) or SIZES))
