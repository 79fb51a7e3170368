"""The database is larger than the free disk: a backup finds too little room, first for its local files, then in the store.

It mounts file systems in memory, so it needs root on Linux.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.backup import TOOLS
from benchmarks.measurement import Measurement, connected, measure
from benchmarks.scale_world import LAST_DAY, World
from benchmarks.shocks.world import SQL, Found, Place
from include.skillreport.batches.data_backup.batch import DataBackupBatch
from include.skillreport.batches.data_backup.server import CONNECTION
from include.skillreport.core.catalog import DATA_BACKUP
from include.skillreport.core.errors import BatchError
from include.skillreport.core.execution.batch import Work, create_batch
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import close_execution
from include.skillreport.core.postgres_programs import BIN_VARIABLE
from local_stack.batch_runs import LocalInstallation, open_run, process_tenants

_SMALL, _LARGE = "1m", "1g"


@contextmanager
def file_system(folder: Path, size: str) -> Iterator[Path]:
    """A file system in memory of this size, for example ``45m``. :raises subprocess.CalledProcessError: this user may not mount."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=1777", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def back_up(folder: Path, dsn: str, day: date) -> None:
    """A run with its local files in ``local`` and its store in ``store``; writes why it failed to the file ``reason``."""
    tempfile.tempdir = str(folder / "local")
    store = ObjectStore(folder / "store")
    installation = LocalInstallation(
        object_store=store, databases={CONNECTION: dsn}, variables={BIN_VARIABLE: str(TOOLS)}
    )
    batch = create_batch(DATA_BACKUP, installation)
    assert isinstance(batch, DataBackupBatch)
    failure: BatchError | None = None
    with connected(dsn) as (platform, connection):
        run, tenants = open_run(platform, DATA_BACKUP, batch, day)
        try:
            batch.dump(Work(run, platform, store=store))
            batch.check(Work(run, platform, store=store))
            process_tenants(connection, platform, batch, run, tenants, store)
            batch.finish(Work(run, platform, store=store))
        except BatchError as error:
            failure = error
        close_execution(platform, run, failure)
    (folder / "reason").write_text(str(failure or ""))


def _run(place: Place, dsn: str) -> tuple[str, Measurement]:
    measured = measure(partial(back_up, place.folder), dsn, LAST_DAY)
    return (place.folder / "reason").read_text(), measured


def shock(place: Place) -> Found:
    """A clear error, no file that looks complete, and the next run with enough room is verified."""
    local = place.size(45, 5)
    dsn = place.plant("disk", World(100, users=5, requests=place.size(400_000, 40_000)))
    with psycopg.connect(dsn) as connection:
        (database_bytes,) = SQL.column(connection, "database_bytes")
    found = Found(f"{database_bytes >> 20} MB, {local} MB free", "clear error, no half file")
    with (
        file_system(place.folder / "local", f"{local}m") as spool,
        file_system(place.folder / "store", _SMALL) as store,
    ):
        too_small, _ = _run(place, dsn)
        found.require("TMPDIR" in too_small and f"{spool}" in too_small, f"local files: {too_small!r}")
        subprocess.run(["mount", "-o", f"remount,size={_LARGE}", spool], check=True)
        full, _ = _run(place, dsn)
        found.require("空き容量" in full or "空け" in full, f"store: {full!r}")
        left = [path.name for path in store.rglob("*") if path.is_file()]
        found.require(not any("manifest" in name for name in left), f"the store has {left}")
        found.require(not list(spool.iterdir()), "local files are left")
        subprocess.run(["mount", "-o", f"remount,size={_LARGE}", store], check=True)
        reason, measured = _run(place, dsn)
        found.require(not reason, f"with enough room: {reason}")
        backups = sorted(path.name for path in (store / "backups").iterdir())
        with psycopg.connect(dsn) as connection:
            verified = SQL.column(connection, "verified_backups")
        found.require(len(verified) == 1, f"{len(verified)} verified backups")
        found.require(backups == verified, f"the store has {backups}")
    found.seconds, found.peak_memory_bytes = measured.seconds, measured.peak_memory_bytes
    found.result = "refused for the local files, refused for the store, then verified"
    return found
