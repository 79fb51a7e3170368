"""The dump of the whole database needs local room for a few files only, whatever happens to it on the way."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil
import pyrage  # type: ignore[import-untyped]
import pytest

from include.skillreport.batches.data_backup.database_dump import store_dump
from include.skillreport.batches.data_backup.files import Packer, StoredFile, write_out
from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.batches.data_backup.server import DatabaseServer
from include.skillreport.batches.data_backup.snapshot import exported_snapshot
from include.skillreport.core.database import count_of
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.storage_errors import NoSpaceError
from tests.conftest import Database
from tests.waiting import wait_until
from tests.worlds.backups import BIN, programs
from tests.worlds.session_limits import limit_sessions

TABLES, TABLE_BYTES = 16, 400_000
BOUND = 2 * TABLE_BYTES
JOBS = 2


@pytest.fixture
def wide(database: Database) -> DatabaseServer:
    """A database with 16 tables of about 400 kB each, in addition to the ordinary ones, and a large object."""
    with database.connect() as host:
        host.execute("CREATE SCHEMA wide")
        for number in range(TABLES):
            host.execute(
                f"CREATE TABLE wide.t{number} AS SELECT repeat('x', 392) AS filler FROM generate_series(1, 1000)"
            )
        host.execute("SELECT lo_from_bytea(0, 'something')")
    return DatabaseServer(database.dsn, BIN)


class WatchedStore(ObjectStore):
    """Counts the local bytes of the dump while a file is being stored, and stores slowly."""

    def __init__(self, root: Path, folder: Path, pause: float = 0.02) -> None:
        super().__init__(root)
        self.folder, self.pause, self.peak = folder, pause, 0

    @contextmanager
    def writer(self, key: str) -> Iterator[IO[bytes]]:
        with super().writer(key) as target:
            time.sleep(self.pause)
            self.peak = max(self.peak, local_bytes(self.folder))
            yield target


def local_bytes(folder: Path) -> int:
    total = 0
    for path in folder.glob("[0-9]*.dat"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def dump(server: DatabaseServer, store: ObjectStore, folder: Path) -> list[StoredFile]:
    with server.connect() as connection, exported_snapshot(connection) as snapshot:
        return store_dump(
            server, Packer(store, "backups/b"), snapshot, folder, jobs=JOBS, waiting_bytes=BOUND
        )


def sessions(database: Database) -> int:
    """The number of pg_dump's sessions, after up to ten seconds in which they end."""
    with database.connect() as connection:
        for _ in range(200):
            found = count_of(
                connection,
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_dump' AND datname = current_database()",
            )
            if found == 0:
                break
            time.sleep(0.05)
        return found


def endless(tmp_path: Path) -> str:
    """Tools whose pg_dump does all its work and then does not end."""
    return programs(tmp_path / "bin", f'{BIN}/pg_dump "$@"\necho $$ > {tmp_path}/pid\nsleep 1000')


def test_finished_files_are_stored_and_pg_dump_waits_for_room(wide: DatabaseServer, tmp_path: Path) -> None:
    folder = tmp_path / "dump"
    store = WatchedStore(tmp_path / "store", folder)

    files = dump(wide, store, folder)

    assert BOUND < store.peak < BOUND + (JOBS + 2) * TABLE_BYTES < TABLES * TABLE_BYTES / 2
    assert list(folder.iterdir()) == []
    plain = tmp_path / "plain"
    with wide.connect() as connection, exported_snapshot(connection) as snapshot:
        for _ in wide.dump(snapshot, plain, JOBS):
            pass
    assert [file.path for file in files] == [
        f"dump/{name}.zst" for name in sorted(path.name for path in plain.iterdir())
    ]
    assert any(file.path.startswith("dump/blob") for file in files)


class RefusingStore(ObjectStore):
    """Refuses one file of the dump."""

    @contextmanager
    def writer(self, key: str) -> Iterator[IO[bytes]]:
        if key.endswith(".dat.zst"):
            raise OSError(28, os.strerror(28), key)
        with super().writer(key) as target:
            yield target


@pytest.mark.usefixtures("wide")
def test_a_file_that_cannot_be_stored_ends_pg_dump_with_its_error(database: Database, tmp_path: Path) -> None:
    server = DatabaseServer(database.dsn, endless(tmp_path))
    with pytest.raises(OSError, match="No space left"):
        dump(server, RefusingStore(tmp_path / "store"), tmp_path / "dump")
    assert sessions(database) == 0


@pytest.mark.parametrize("encrypted", [False, True])
def test_the_disk_that_is_full_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encrypted: bool
) -> None:
    identity = str(pyrage.x25519.Identity.generate()) if encrypted else None

    class FullStore(ObjectStore):
        """Accepts the file and then no byte."""

        @contextmanager
        def writer(self, key: str) -> Iterator[IO[bytes]]:
            with super().writer(key), Path("/dev/full").open("wb", buffering=0) as target:
                yield target

    packer = Packer(FullStore(tmp_path / "store"), "backups/b", identity=identity)
    with pytest.raises(NoSpaceError, match=rf"^保存先 {tmp_path}/store の空き容量.*広げて"):
        packer.pack(io.BytesIO(b"x"), "dump/1.dat")

    sound = Packer(ObjectStore(tmp_path / "store"), "backups/b", identity=identity)
    file = sound.pack(io.BytesIO(b"x"), "dump/1.dat")
    (tmp_path / "1.dat").symlink_to("/dev/full")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(NoSpaceError, match=rf"一時フォルダー（TMPDIR）{tmp_path} の空き容量"):
        write_out(sound, file, tmp_path / "1.dat")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_encrypted_file_is_local_only_once_beside_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``DatabaseSize.spool_bytes`` calculates it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    identity = str(pyrage.x25519.Identity.generate())
    packer = Packer(ObjectStore(tmp_path / "store"), "backups/b", identity=identity)
    file = packer.pack(io.BytesIO(b"x"), "dump/1.dat")

    with packer.unpacked(file) as source:
        links = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
        assert len([link for link in links if link.startswith(str(tmp_path))]) == 1
        assert source.read() == b"x"


@pytest.mark.usefixtures("wide")
def test_pg_dumps_full_disk_is_named_with_what_to_do(database: Database, tmp_path: Path) -> None:
    folder = programs(
        tmp_path / "bin", "echo 'pg_dump: error: could not write to file: No space left on device'\nexit 1"
    )
    with pytest.raises(
        BackupError, match=rf"No space left on device。一時フォルダー {tmp_path}/dump .*TMPDIR"
    ):
        dump(DatabaseServer(database.dsn, folder), ObjectStore(tmp_path / "store"), tmp_path / "dump")


@pytest.mark.usefixtures("wide")
def test_pg_dump_ends_with_its_task(database: Database, tmp_path: Path) -> None:
    """As Airflow does it: the handler of SIGTERM raises in the main thread, wherever it is."""

    class EndingStore(ObjectStore):
        @contextmanager
        def writer(self, key: str) -> Iterator[IO[bytes]]:
            os.kill(os.getpid(), signal.SIGUSR1)
            with super().writer(key) as target:
                yield target

    class TaskEndedError(Exception):
        pass

    def end(*_: object) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        raise TaskEndedError

    before = signal.signal(signal.SIGUSR1, end)
    try:
        with pytest.raises(TaskEndedError):
            dump(
                DatabaseServer(database.dsn, endless(tmp_path)),
                EndingStore(tmp_path / "store"),
                tmp_path / "dump",
            )
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert sessions(database) == 0
    # The signal may come while the pool starts its thread. Then the pool does not know the thread, which ends by itself.
    wait_until(
        lambda: all("store_dump" not in thread.name for thread in threading.enumerate()),
        "the threads that store files end",
    )


@pytest.mark.usefixtures("wide")
def test_pg_dump_does_not_outlive_a_task_that_is_killed(database: Database, tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from include.skillreport.batches.data_backup.server import DatabaseServer
from include.skillreport.batches.data_backup.snapshot import exported_snapshot
server = DatabaseServer({database.dsn!r}, {endless(tmp_path)!r})
with server.connect() as connection, exported_snapshot(connection) as snapshot:
    for path in server.dump(snapshot, Path({str(tmp_path / "dump")!r}), 2):
        pass
"""
    task = subprocess.Popen([sys.executable, "-c", code])
    note = tmp_path / "pid"
    while not (note.exists() and note.read_text().strip()):
        assert task.poll() is None
        time.sleep(0.02)
    tool = psutil.Process(int(note.read_text()))
    task.kill()
    task.wait()
    assert psutil.wait_procs([tool], timeout=30)[1] == []
    assert sessions(database) == 0


@pytest.mark.usefixtures("wide")
def test_the_death_of_pg_dump_is_the_error_while_workers_live(database: Database, tmp_path: Path) -> None:
    # The sleep keeps the pipe of the output open, like a worker in the middle of a large table.
    folder = programs(tmp_path / "bin", "sleep 1000 &\necho 'pg_dump: error: out of luck'\nkill -9 $$")
    with pytest.raises(BackupError, match=r"シグナル 9 で強制終了.*out of luck"):
        dump(DatabaseServer(database.dsn, folder), ObjectStore(tmp_path / "store"), tmp_path / "dump")


def test_an_error_is_read_although_a_workers_progress_comes_between_its_parts(
    database: Database, tmp_path: Path
) -> None:
    folder = programs(
        tmp_path / "bin",
        "echo 'pg_dump: error: pg_dump: dumping contents of table \"public.t\"'\n"
        "echo 'query failed: out of luck'\n"
        "echo 'pg_dump: detail: Query was: SELECT'\n"
        "exit 1",
    )
    with pytest.raises(
        BackupError, match=r": pg_dump: error: query failed: out of luck pg_dump: detail: Query"
    ):
        dump(DatabaseServer(database.dsn, folder), ObjectStore(tmp_path / "store"), tmp_path / "dump")


def test_limits_for_the_applications_sessions_do_not_end_the_snapshot(
    wide: DatabaseServer, database: Database, tmp_path: Path
) -> None:
    """The session of a dump is idle before and in its snapshot, and counts all rows in one statement."""
    with database.connect() as host:
        limit_sessions(host)
    with wide.connect() as connection:
        time.sleep(0.2)
        with exported_snapshot(connection):
            time.sleep(0.2)
            connection.execute("SELECT pg_sleep(0.2)")
    dump(wide, ObjectStore(tmp_path / "store"), tmp_path / "dump")


def test_limits_for_the_applications_sessions_do_not_end_a_program(
    wide: DatabaseServer, database: Database
) -> None:
    """A process of pg_restore is idle while the others work, and sets some limits only. psql has the same session."""
    with database.connect() as host:
        limits = limit_sessions(host)
    asked = [f"--command=SHOW {limit}" for limit in limits]
    answers = wide.programs.lines("psql", ["--no-psqlrc", "--tuples-only", "--no-align", *asked])
    assert [answer for answer in answers if answer] == ["0"] * len(limits)
