"""All temporary files of the batches. They may contain personal data, so a killed process must leave none for long.

A named file lies in a folder that its process has locked. The lock ends with the process, and the next process on this machine deletes the
folder. A nameless file is gone with its process. A test finds other temporary files.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import platform
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from include.skillreport.core.execution.storage_errors import StorageError, storage_errors_named

log = logging.getLogger(__name__)

_PREFIX = "skill-batch-"
_MAX_AGE_SECONDS = 24 * 3600


def temporary_place() -> Path:
    """The folder of all temporary files. :raises StorageError: there is none.

    Python leaves a TMPDIR that is full or read-only for another folder, without a word.
    """
    if chosen := os.environ.get("TMPDIR"):
        return Path(chosen).absolute()
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise StorageError(
            f"一時フォルダーがありません（{error.strerror}）。TMPDIR を設定してください。"
        ) from error


@contextmanager
def temporary_folder() -> Iterator[str]:
    """A temporary folder, deleted at the end. First deletes the folders that killed processes left.

    :raises StorageError: there is no room, or the folder cannot be used.
    """
    delete_left_folders()
    place = temporary_place()
    with _errors_named(place):
        folder, descriptor = _locked_folder(place)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
            os.close(descriptor)


@contextmanager
def temporary_file() -> Iterator[IO[bytes]]:
    """A temporary file without a name, to be written and read. :raises StorageError: as ``temporary_folder``."""
    place = temporary_place()
    with _errors_named(place), tempfile.TemporaryFile(dir=place) as file:
        yield file


def delete_left_folders() -> None:
    """Delete the folders of this user that killed processes left: unlocked ones of this machine, and others unchanged for a day."""
    own = _machine_prefix()
    for left in temporary_place().glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError):  # another process has deleted it
            found = left.lstat()
            if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
                continue  # another user's folder may be unreadable, and no batch makes anything else of this name
            descriptor = os.open(left, os.O_RDONLY)
            try:
                is_locked = _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                is_old = time.time() - _last_change(left) > _MAX_AGE_SECONDS
                if (is_locked and left.name.startswith(own)) or (is_locked is not False and is_old):
                    log.info("終了したプロセスの一時フォルダーを消します: %s", left)
                    shutil.rmtree(left)
            finally:
                os.close(descriptor)


def _locked_folder(place: Path) -> tuple[str, int]:
    """A new folder, and a descriptor that locks it until it is closed."""
    while True:
        folder = tempfile.mkdtemp(prefix=_machine_prefix(), dir=place)
        # Until it is locked, another process takes it for a leftover.
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY)
            _lock(descriptor, fcntl.LOCK_EX)
            if Path(folder).exists():
                return folder, descriptor
            os.close(descriptor)


def _machine_prefix() -> str:
    """The beginning of the names of folders whose locks this machine sees. Locks of folders do not reach over a network."""
    try:
        machine = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        machine = platform.node()
    return f"{_PREFIX}{hashlib.sha256(machine.encode()).hexdigest()[:8]}-"


def _lock(descriptor: int, operation: int) -> bool | None:
    """Lock the folder. False: another process has locked it. None: the file system has no locks."""
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextmanager
def _errors_named(place: Path) -> Iterator[None]:
    named = f"一時フォルダー（TMPDIR）{place}"
    if not place.is_dir():
        raise StorageError(f"{named} がありません。作るか、TMPDIR を直してください。")
    with storage_errors_named(named, place):
        yield


def _last_change(folder: Path) -> float:
    """The time of the last change of a file in the folder or of a folder in it (seconds since the epoch)."""
    return max(path.lstat().st_mtime for path in (folder, *folder.glob("*")))
