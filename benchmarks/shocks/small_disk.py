"""The database is larger than the free disk: a backup finds too little room, first for its local files, then in the store.

It mounts file systems in memory, so it needs root on Linux.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.backup import run_backup
from benchmarks.measurement import measure
from benchmarks.place import Found, Place
from benchmarks.scale_world import LAST_DAY, World
from benchmarks.shocks.world import SQL
from include.skillreport.core.errors import BatchError

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


def back_up(folder: Path, dsn: str, day: date) -> str:
    """A run; returns why it failed."""
    try:
        run_backup(str(folder), True, dsn, day)
    except BatchError as failure:
        return str(failure)
    return ""


def measurement(place: Place) -> Found:
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
        work = partial(back_up, place.folder)
        too_small = measure(work, dsn, LAST_DAY).value
        found.require("TMPDIR" in too_small and f"{spool}" in too_small, f"local files: {too_small!r}")
        subprocess.run(["mount", "-o", f"remount,size={_LARGE}", spool], check=True)
        full = measure(work, dsn, LAST_DAY).value
        found.require("空き容量" in full or "空け" in full, f"store: {full!r}")
        left = [path.name for path in store.rglob("*") if path.is_file()]
        found.require(not any("manifest" in name for name in left), f"the store has {left}")
        found.require(not list(spool.iterdir()), "local files are left")
        subprocess.run(["mount", "-o", f"remount,size={_LARGE}", store], check=True)
        measured = measure(work, dsn, LAST_DAY)
        found.require(not measured.value, f"with enough room: {measured.value}")
        backups = sorted(path.name for path in (store / "backups").iterdir())
        with psycopg.connect(dsn) as connection:
            verified = SQL.column(connection, "verified_backups")
        found.require(len(verified) == 1, f"{len(verified)} verified backups")
        found.require(backups == verified, f"the store has {backups}")
    found.seconds, found.peak_memory_bytes = measured.seconds, measured.peak_memory_bytes
    found.result = "refused for the local files, refused for the store, then verified"
    return found
