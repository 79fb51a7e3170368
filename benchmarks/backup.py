"""Compare BATCH-001, without Airflow's start-up, with a bare ``pg_dump -Fd -j2`` of the same database.

``dump`` takes the snapshot, dumps, stores each file as it is finished, and hashes each table. ``check`` restores and compares.
``exports`` write the CSV files of each tenant and the manifest. ``spool`` is the peak of the local files of ``dump`` and of ``check``.
Compare ratios, not seconds, because the ratio does not depend on the machine.

    python -m benchmarks.backup [TENANTS ...]
    python -m benchmarks.backup --gigabytes 10    # dump and check only, of a database with large logs; TMPDIR needs three times that
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.measurement import Databases, connected, measure, vacuum
from include.skillreport.batches.data_backup import create_batch
from include.skillreport.batches.data_backup.server import CONNECTION, DatabaseServer
from include.skillreport.batches.data_backup.spool import DatabaseSize
from include.skillreport.core.catalog import DATA_BACKUP
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.batch import Work
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import close_execution
from include.skillreport.core.postgres_programs import BIN_VARIABLE
from local_stack.batch_runs import LocalInstallation, open_run, process_tenants
from local_stack.generator import benchmark_shape
from local_stack.postgres_server import EmbeddedPostgres

SIZES = (100, 1_000)
TENANTS_OF_LARGE_LOGS = 100
ALLOWED_RATIO = 1.3
ALLOWED_MEMORY_RATIO = 1.25
TOOLS = EmbeddedPostgres.binary("pg_dump").parent
PROCESSES = 2

_SQL = Statements(Path(__file__).parent)


@dataclass(frozen=True)
class Figures:
    """The measured figures of one database: seconds, and bytes."""

    size: DatabaseSize
    bare_seconds: float
    seconds: dict[str, float]
    spool: dict[str, int]
    peak_memory_bytes: int
    stored_bytes: int
    bare_bytes: int

    @property
    def ratio(self) -> float:
        """The seconds of ``dump`` divided by those of a bare pg_dump."""
        return self.seconds["dump"] / self.bare_seconds

    def line(self, name: str) -> str:
        """A line of the table; megabytes are 2^20 bytes."""
        largest = sum(table.bytes for table in self.size.tables[:PROCESSES])
        return (
            f"{name:>10} {_mb(self.size.database_bytes):>11.0f} {_mb(largest):>9.0f} {self.bare_seconds:>10.1f}"
            f" {self.seconds['dump']:>7.1f} {self.ratio:>6.2f} {self.seconds['check']:>8.1f} {self.seconds.get('exports', 0):>10.1f}"
            f" {_mb(self.spool['dump']):>14.0f} {_mb(self.spool['check']):>15.0f} {_mb(self.stored_bytes):>10.1f}"
            f" {_mb(self.bare_bytes):>8.1f} {_mb(self.peak_memory_bytes):>10.0f}"
        )


TITLES = (
    f"{'tenants':>10} {'database MB':>11} {'largest 2':>9} {'pg_dump s':>10} {'dump s':>7} {'ratio':>6} {'check s':>8} {'exports s':>10}"
    f" {'dump spool MB':>14} {'check spool MB':>15} {'stored MB':>10} {'bare MB':>8} {'memory MB':>10}"
)


def bare_dump(folder: str, dsn: str, _: date) -> None:
    """The command that an operator would use."""
    target = Path(folder, "bare")
    subprocess.run(
        [TOOLS / "pg_dump", "-Fd", f"-j{PROCESSES}", f"--file={target}", f"--dbname={dsn}"], check=True
    )


def run_backup(folder: str, with_exports: bool, dsn: str, day: date) -> None:
    """Do one run as the DAG's tasks do; writes the seconds and the local bytes of each step to ``folder``."""
    tempfile.tempdir = str(Path(folder, "local"))
    Path(tempfile.tempdir).mkdir()
    lines: list[str] = []

    @contextmanager
    def step(name: str) -> Iterator[None]:
        start = time.perf_counter()
        with local_peak(Path(folder, "local")) as peak:
            yield
        lines.append(f"{name} {time.perf_counter() - start} {max(peak)}")

    with connected(dsn) as (platform, connection):
        store = ObjectStore(Path(folder))
        batch = create_batch(
            LocalInstallation(
                object_store=store, databases={CONNECTION: dsn}, variables={BIN_VARIABLE: str(TOOLS)}
            )
        )
        run, tenants = open_run(platform, DATA_BACKUP, batch, day)
        with step("dump"):
            batch.dump(Work(run, platform, store=store))
        with step("check"):
            batch.check(Work(run, platform, store=store))
        if with_exports:
            with step("exports"):
                process_tenants(connection, platform, batch, run, tenants, store)
                batch.finish(Work(run, platform, store=store))
            assert close_execution(platform, run).status == "completed"
    Path(folder, "steps").write_text("\n".join(lines))


@contextmanager
def local_peak(folder: Path) -> Iterator[list[int]]:
    """The bytes of all files in the folder, sampled 50 times a second."""
    samples, ended = [0], threading.Event()

    def sample() -> None:
        while not ended.wait(0.02):
            with suppress(OSError):  # a file was deleted meanwhile
                samples.append(_bytes_in(folder))

    sampling = threading.Thread(target=sample)
    sampling.start()
    try:
        yield samples
    finally:
        ended.set()
        sampling.join()


def measured(databases: Databases, name: str, tenants: int, gigabytes: int, folder: Path) -> Figures:
    """Load a database and back it up."""
    # Large enough for a dump of several seconds, so that the start of pg_dump does not matter.
    shape = replace(benchmark_shape(tenants), requests_per_day=1_000 * tenants)
    dsn = databases.load(name, shape)
    if gigabytes:
        with psycopg.connect(dsn, autocommit=True) as connection:
            for _ in range(gigabytes):
                for table in ("system_log", "audit_log", "notification_log"):
                    _SQL.execute(connection, f"grow_{table}")
        vacuum(dsn)
    folder.mkdir()
    bare = measure(partial(bare_dump, str(folder)), dsn, shape.first_day)
    whole = measure(partial(run_backup, str(folder), not gigabytes), dsn, shape.first_day)
    steps = [line.split() for line in (folder / "steps").read_text().splitlines()]
    (backup,) = (folder / "backups").iterdir()
    return Figures(
        DatabaseServer(dsn).sizes(),
        bare.seconds,
        {step: float(seconds) for step, seconds, _ in steps},
        {step: int(peak) for step, _, peak in steps},
        whole.peak_memory_bytes,
        _bytes_in(backup / "dump"),
        _bytes_in(folder / "bare"),
    )


def main(arguments: argparse.Namespace) -> int:
    """Print the table; 1 if the largest database exceeds a limit."""
    cases = [(f"{tenants:,}", tenants, 0) for tenants in arguments.tenants or SIZES]
    if arguments.gigabytes:
        cases = [(f"{size} GB", TENANTS_OF_LARGE_LOGS, size) for size in arguments.gigabytes]
    found = []
    with tempfile.TemporaryDirectory(prefix="backup-benchmark-") as directory:
        server = EmbeddedPostgres(Path(directory) / "postgres")
        server.start()
        databases = Databases(server)
        try:
            print(TITLES)
            for number, (name, tenants, gigabytes) in enumerate(cases):
                folder = Path(directory) / f"store_{number}"
                found.append(measured(databases, f"backup_{number}", tenants, gigabytes, folder))
                print(found[-1].line(name), flush=True)
        finally:
            server.reset()
    memory = found[-1].peak_memory_bytes / found[0].peak_memory_bytes
    print(
        f"dump {found[-1].ratio:.2f} times a bare pg_dump (allowed {ALLOWED_RATIO}); "
        f"peak memory of the largest run {memory:.2f} times that of the smallest (allowed {ALLOWED_MEMORY_RATIO}); "
        f"local files of dump {found[-1].spool['dump'] / found[-1].size.database_bytes:.2f} times the database"
    )
    return int(found[-1].ratio > ALLOWED_RATIO or memory > ALLOWED_MEMORY_RATIO)


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _mb(size: int) -> float:
    return size / 2**20


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backup", description=__doc__)
    parser.add_argument("tenants", nargs="*", type=int)
    parser.add_argument("--gigabytes", nargs="+", type=int, help="sizes of databases with large logs")
    return parser


if __name__ == "__main__":
    sys.exit(main(_parser().parse_args()))
