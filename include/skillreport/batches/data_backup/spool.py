"""Local folders for a few files of a dump, and the disk space that they need."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# The maximum bytes that wait for the store or for pg_restore before more are fetched or dumped.
WAITING_BYTES = 256 << 20

_PREFIX = "batch-backup-"
_MAX_AGE_SECONDS = 24 * 3600


@dataclass(frozen=True)
class TableSize:
    """The size of a table on the server, in bytes, without its indexes."""

    schema: str
    name: str
    bytes: int


@dataclass(frozen=True)
class DatabaseSize:
    """The size of a database on the server, in bytes; ``tables`` largest first."""

    tables: Sequence[TableSize]
    large_object_bytes: int
    database_bytes: int

    def spool_bytes(self, processes: int) -> int:
        """The maximum local bytes that a dump with this many processes needs.

        Each process writes a table, and finished files wait within ``WAITING_BYTES``. Large objects remain until the end. A file that is
        uploaded or downloaded also has a compressed copy; text compresses to less than half. A restore does not need more. This is an
        estimate: in a dump, binary columns take twice their bytes, and long texts, which the server compresses, several times.
        """
        whole = sum(table.bytes for table in self.tables)
        written = sum(table.bytes for table in self.tables[:processes])
        return min(whole, written + WAITING_BYTES) + written // 2 + self.large_object_bytes


def spool_folder(owner: str = "") -> tempfile.TemporaryDirectory[str]:
    """A temporary folder. First deletes leftovers of killed processes: folders of the same ``owner``, and all folders unchanged for a day.

    ``owner`` is a step of a run, of which only one attempt is active at a time.
    """
    prefix = f"{_PREFIX}{owner}-" if owner else _PREFIX
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError):  # another process has deleted it
            status = left.lstat()
            is_predecessor = bool(owner) and left.name.rpartition("-")[0] == prefix.removesuffix("-")
            is_old = time.time() - _last_change(left) > _MAX_AGE_SECONDS
            if status.st_uid == os.geteuid() and (is_predecessor or is_old):
                shutil.rmtree(left)
    return tempfile.TemporaryDirectory(prefix=prefix)


def _last_change(folder: Path) -> float:
    """The time of the last change of a file in the folder or of a folder in it (seconds since the epoch)."""
    return max(path.lstat().st_mtime for path in (folder, *folder.glob("*")))
