"""All temporary files of the batches. They may contain personal data, so a killed process must leave none for long.

A named file lies in a folder of a step of a run, and the next attempt of the step deletes the folder of its predecessor. A nameless file is
gone with its process. A test finds other temporary files.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from include.skillreport.core.execution.storage_errors import StorageError, storage_errors_named

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
def temporary_folder(owner: str = "") -> Iterator[str]:
    """A temporary folder, deleted at the end. First deletes the folders that killed processes left: as ``delete_left_folders``.

    ``owner`` is a step of a run, of which only one attempt is active at a time.
    :raises StorageError: there is no room, or the folder cannot be used.
    """
    prefix = f"{_PREFIX}{owner}-" if owner else _PREFIX
    delete_left_folders(owner)
    place = temporary_place()
    with _errors_named(place), tempfile.TemporaryDirectory(prefix=prefix, dir=place) as folder:
        yield folder


@contextmanager
def temporary_file() -> Iterator[IO[bytes]]:
    """A temporary file without a name, to be written and read. :raises StorageError: as ``temporary_folder``."""
    place = temporary_place()
    with _errors_named(place), tempfile.TemporaryFile(dir=place) as file:
        yield file


def delete_left_folders(owner: str = "") -> None:
    """Delete leftovers of killed processes: folders of the same ``owner``, and all folders unchanged for a day."""
    prefix = f"{_PREFIX}{owner}-" if owner else _PREFIX
    for left in temporary_place().glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError):  # another process has deleted it
            found = left.lstat()
            if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
                continue  # another user's folder may be unreadable, and no batch makes anything else of this name
            is_predecessor = bool(owner) and left.name.rpartition("-")[0] == prefix.removesuffix("-")
            is_old = time.time() - _last_change(left) > _MAX_AGE_SECONDS
            if is_predecessor or is_old:
                shutil.rmtree(left)


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
