"""BATCH-001, without Airflow's start-up, beside a bare ``pg_dump -Fd -j2`` of the same database.

``dump`` takes the snapshot, dumps, stores each file as it is finished, and hashes each table. ``check`` restores and compares.
``exports`` write the CSV files of each tenant and the manifest. ``spool`` is the peak of the local files of ``dump`` and of ``check``.
``--only 4`` measures a database of about 4 GB; TMPDIR needs three times that.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

from benchmarks.measurement import connected, measure
from benchmarks.place import Found, Place
from benchmarks.scale_world import LAST_DAY, World
from include.skillreport.batches.data_backup.batch import DataBackupBatch
from include.skillreport.batches.data_backup.server import CONNECTION, DatabaseServer
from include.skillreport.core.catalog import DATA_BACKUP
from include.skillreport.core.errors import BatchError
from include.skillreport.core.execution.batch import Work, create_batch
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.program_login import program_login
from include.skillreport.core.execution.run_log import close_execution
from include.skillreport.core.postgres_programs import BIN_VARIABLE
from local_stack.batch_runs import LocalInstallation, open_run, process_tenants
from local_stack.postgres_server import EmbeddedPostgres

ALLOWED_RATIO, ALLOWED_MEMORY_RATIO = 1.3, 1.25
TOOLS = EmbeddedPostgres.binary("pg_dump").parent
PROCESSES = 2
# Requests that fill about a gigabyte, with their indexes and the audit log.
_REQUESTS_OF_A_GIGABYTE = 2_500_000


@dataclass(frozen=True)
class Step:
    """The seconds of a step, and the peak of its local files in bytes."""

    seconds: float
    spool: int


def bare_dump(folder: str, dsn: str, _: date) -> None:
    """The command that an operator would use."""
    target = Path(folder, "bare")
    with program_login(dsn) as login:
        command = [
            str(TOOLS / "pg_dump"),
            "-Fd",
            f"-j{PROCESSES}",
            f"--file={target}",
            f"--dbname={login.conninfo}",
        ]
        subprocess.run(command, env=login.environment, pass_fds=login.files, check=True)


def run_backup(folder: str, with_exports: bool, dsn: str, day: date) -> dict[str, Step]:
    """Do one run as the DAG's tasks do, with its local files in ``local`` and its store in ``store``; returns its steps by name.

    :raises BatchError: it has failed.
    """
    local = Path(folder, "local")
    tempfile.tempdir = str(local)
    local.mkdir(exist_ok=True)
    steps: dict[str, Step] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        start = time.perf_counter()
        with local_peak(local) as peak:
            yield
        steps[name] = Step(time.perf_counter() - start, max(peak))

    store = ObjectStore(Path(folder, "store"))
    databases, variables = {CONNECTION: dsn}, {BIN_VARIABLE: str(TOOLS)}
    installation = LocalInstallation(object_store=store, databases=databases, variables=variables)
    batch = create_batch(DATA_BACKUP, installation)
    assert isinstance(batch, DataBackupBatch)
    with connected(dsn) as (platform, connection):
        run, tenants = open_run(platform, DATA_BACKUP, batch, day)
        work = Work(run, platform, store=store)
        try:
            with step("dump"):
                batch.dump(work)
            with step("check"):
                batch.check(work)
            if with_exports:
                with step("exports"):
                    process_tenants(connection, platform, batch, run, tenants, store)
                    batch.finish(work)
        except BatchError as failure:
            close_execution(platform, run, failure)
            raise
        assert close_execution(platform, run).status == "completed" or not with_exports
    return steps


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


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measurement(place: Place) -> Found:
    """The dump takes little longer than pg_dump, and memory does not grow with the database."""
    found = Found("databases", f"{ALLOWED_RATIO} times pg_dump, memory {ALLOWED_MEMORY_RATIO} times")
    worlds = [World(tenants, requests=100 * tenants) for tenants in place.size((1_000, 10_000), (10, 20))]
    if place.only:
        worlds = [World(100, requests=int(float(size) * _REQUESTS_OF_A_GIGABYTE)) for size in place.only]
    print(
        f"{'database':>11} {'largest 2':>11} {'pg_dump':>10} {'dump':>8} {'ratio':>6} {'check':>8} {'exports':>8}"
        f" {'dump spool':>11} {'check spool':>11} {'stored':>11} {'bare':>11} {'memory':>9}"
    )
    peaks, ratio = [], 0.0
    for number, world in enumerate(worlds):
        dsn, folder = place.plant(f"backup_{number}", world), place.folder / f"{number}"
        folder.mkdir()
        bare = measure(partial(bare_dump, str(folder)), dsn, LAST_DAY)
        whole = measure(partial(run_backup, str(folder), not place.only), dsn, LAST_DAY)
        steps, size = whole.value, DatabaseServer(dsn).sizes()
        (backup,) = (folder / "store" / "backups").iterdir()
        peaks.append(whole.peak_memory_bytes)
        ratio = steps["dump"].seconds / bare.seconds
        largest = sum(table.bytes for table in size.tables[:PROCESSES])
        exports = steps["exports"].seconds if "exports" in steps else 0
        print(
            f"{_mb(size.database_bytes)} {_mb(largest)} {bare.seconds:>8.1f} s {steps['dump'].seconds:>6.1f} s {ratio:>6.2f}"
            f" {steps['check'].seconds:>6.1f} s {exports:>6.1f} s {_mb(steps['dump'].spool)} {_mb(steps['check'].spool)}"
            f" {_mb(_bytes_in(backup / 'dump'))} {_mb(_bytes_in(folder / 'bare'))} {_mb(peaks[-1])}",
            flush=True,
        )
    found.result = f"{ratio:.2f} times pg_dump, memory {peaks[-1] / peaks[0]:.2f} times"
    # A dump of less than a second is the start of pg_dump.
    found.require(place.is_small or ratio <= ALLOWED_RATIO, "the dump takes longer than pg_dump")
    found.require(peaks[-1] / peaks[0] <= ALLOWED_MEMORY_RATIO, "memory grows with the database")
    return found


def _mb(size: int) -> str:
    return f"{size / 2**20:>8.1f} MB"
