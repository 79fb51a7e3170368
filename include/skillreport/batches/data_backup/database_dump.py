"""Stores a dump of the entire database and loads it, file by file. Only a few files are local at the same time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event
from typing import IO, cast

from include.skillreport.batches.data_backup.archive import ArchiveEntry, entries_left_out
from include.skillreport.batches.data_backup.files import (
    BackupDamagedError,
    CopyStream,
    Manifest,
    Packer,
    StoredFile,
    packer_suffix,
    write_out,
)
from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.batches.data_backup.server import DatabaseServer

log = logging.getLogger(__name__)

_BLOCK_BYTES = 1 << 20
_CONTENTS = "toc.dat"


def store_dump(
    server: DatabaseServer, packer: Packer, snapshot: str, folder: Path, *, jobs: int, waiting_bytes: int
) -> list[StoredFile]:
    """Dump the database in the exported snapshot. Store each complete file, and delete it from ``folder``.

    Returns the stored files by path. pg_dump waits while more than ``waiting_bytes`` of finished files are local.
    :raises BackupError: pg_dump fails. :raises OSError: the store is full or unreachable. All work stops after an error.
    """
    with ThreadPoolExecutor(jobs, "store_dump") as pool, closing(server.dump(snapshot, folder, jobs)) as dump:
        uploads = _Uploads(packer, pool)
        try:
            for path in dump:
                if path is not None:
                    uploads.add(path)
                uploads.wait(waiting_bytes)
            # pg_dump does not announce these files: the table of contents and the large objects.
            for path in sorted(folder.iterdir()):
                if path.name not in uploads.names:
                    uploads.add(path)
            uploads.wait(-1)
        except BaseException:
            uploads.stop()
            raise
    return sorted(uploads.files, key=lambda file: file.path)


def entries_of_superuser(
    server: DatabaseServer, packer: Packer, files: Sequence[StoredFile], folder: Path
) -> list[ArchiveEntry]:
    """The entries of this stored dump that only a superuser can restore. Creates ``folder`` for the table of contents."""
    folder.mkdir()
    write_out(packer, _local_names(files)[_CONTENTS], folder / _CONTENTS)
    return server.entries_of_superuser(folder)


def load_dump(
    server: DatabaseServer,
    packer: Packer,
    manifest: Manifest,
    database: str,
    folder: Path,
    *,
    jobs: int,
    waiting_bytes: int,
    with_owners: bool,
) -> None:
    """Create the database and restore the dump into it. Creates ``folder``, for one group of files at a time.

    The order is: everything before the rows, the rows in groups, sequences and large objects, and then indexes, constraints, triggers and
    policies. A group contains a file for each of the ``jobs`` processes, and at least ``waiting_bytes`` if there are so many.

    Without owners, a login that is no superuser omits the entries that it cannot restore. An incomplete database is dropped.
    :raises BackupDamagedError: a file is missing or changed, or the key does not decrypt it. :raises BackupError: see ``restore``.
    """
    files = _local_names(manifest.files)
    folder.mkdir()
    write_out(packer, files.pop(_CONTENTS), folder / _CONTENTS)
    left_out = set() if with_owners or server.is_superuser() else entries_left_out(manifest)
    kept = [each.entry_id for each in server.entries(folder) if each.entry_id not in left_out]
    data = [each.entry_id for each in server.entries(folder, "data") if each.entry_id not in left_out]
    files = {name: file for name, file in files.items() if name not in {f"{entry}.dat" for entry in left_out}}
    restore = partial(server.restore, folder, database, with_owners=with_owners)
    with server.new_database(database, manifest.about.get("database")):
        log.info("表の定義を復元しています。")
        restore("pre-data", entries=kept)
        _load_data(packer, files, data, folder, restore, jobs=jobs, waiting_bytes=waiting_bytes)
        log.info("索引と制約を復元しています。")
        restore("post-data", jobs=jobs, entries=kept)


def _load_data(
    packer: Packer,
    files: Mapping[str, StoredFile],
    entries: Sequence[int],
    folder: Path,
    restore: Callable[..., None],
    *,
    jobs: int,
    waiting_bytes: int,
) -> None:
    """Load the rows. ``files``: by local names, without the table of contents. ``entries``: the section's. ``restore``: of a section."""
    of_tables = {f"{entry}.dat": entry for entry in entries if f"{entry}.dat" in files}
    # Files of similar size are restored together, so that processes do not wait long for each other.
    largest_first = sorted(of_tables, key=lambda name: files[name].bytes, reverse=True)
    group: list[str] = []
    for restored, name in enumerate(largest_first, start=1):
        log.debug("%s を取り出しています（%s バイト）。", files[name].path, f"{files[name].bytes:,}")
        write_out(packer, files[name], folder / name)
        group.append(name)
        is_full = (
            len(group) >= jobs and sum((folder / each).stat().st_size for each in group) >= waiting_bytes
        )
        if is_full or name == largest_first[-1]:
            log.info("行を復元しています（%d / %d 表、大きい順）。", restored, len(largest_first))
            restore("data", jobs=jobs, entries=[of_tables[each] for each in group])
            for each in group:
                (folder / each).unlink()
            group = []
    # Sequences have no file. A separate file lists the files of large objects.
    for name in files.keys() - of_tables.keys():
        write_out(packer, files[name], folder / name)
    others = [entry for entry in entries if f"{entry}.dat" not in of_tables]
    if others:
        restore("data", jobs=jobs, entries=others)
    for name in files.keys() - of_tables.keys():
        (folder / name).unlink()


def _local_names(stored: Sequence[StoredFile]) -> dict[str, StoredFile]:
    """The files of a dump by their names for pg_restore. :raises BackupDamagedError: a path is invalid, or toc.dat is missing."""
    files = {}
    for file in stored:
        name = file.path.removeprefix("dump/").removesuffix(packer_suffix(file.path))
        if "/" in name or name in ("", ".", ".."):
            raise BackupDamagedError(
                f"目録のパス {file.path!r} は使えません。別のバックアップを使ってください。"
            )
        files[name] = file
    if _CONTENTS not in files:
        raise BackupDamagedError(f"目録に {_CONTENTS} がありません。別のバックアップを使ってください。")
    return files


class _Uploads:
    """The uploads of a dump's finished files."""

    def __init__(self, packer: Packer, pool: ThreadPoolExecutor) -> None:
        self.files: list[StoredFile] = []
        self.names: set[str] = set()
        self._packer = packer
        self._pool = pool
        self._waiting: dict[Future[StoredFile], int] = {}
        self._stopped = Event()

    def add(self, path: Path) -> None:
        """Start to store this file, and then delete it."""
        self.names.add(path.name)
        self._waiting[self._pool.submit(self._store, path)] = path.stat().st_size

    def wait(self, most_bytes: int) -> None:
        """Wait until at most this many bytes are local; -1: for all files. Raises a file's error."""
        while True:
            done = [future for future in self._waiting if future.done()]
            for future in done:
                del self._waiting[future]
                self.files.append(future.result())
            if not self._waiting or sum(self._waiting.values()) <= most_bytes:
                return
            wait(self._waiting, return_when=FIRST_COMPLETED)

    def stop(self) -> None:
        """Stop all uploads, including those in progress."""
        self._stopped.set()
        for future in self._waiting:
            future.cancel()

    def _store(self, path: Path) -> StoredFile:
        with path.open("rb") as source:

            def next_block() -> bytes:
                if self._stopped.is_set():
                    raise BackupError("ダンプは中止されました。")
                return source.read(_BLOCK_BYTES)

            stored = self._packer.pack(cast("IO[bytes]", CopyStream(next_block)), f"dump/{path.name}")
        path.unlink()
        return stored
