"""Archives of one tenant's rows of one table: compressed files and a manifest, verified before the rows are deleted.

A batch deletes a row only if it equals, byte for byte, its copy in a verified file. This is safe against changes by the application, other
runs and kills. A changed row stays for the next run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from gzip import GzipFile
from io import BytesIO
from itertools import islice
from typing import Any, TypeVar

from include.skillreport.core.errors import BatchError, is_recoverable, reason_of
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.proof import Fault, Recorded, UnprovedError, read_proved

log = logging.getLogger(__name__)

_T = TypeVar("_T")

# An archive's folder is named after its business date.
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

_MANIFEST = ".manifest.json"
# The length of the hash in a manifest's name.
_HASH_LENGTH = 12

# Limits of a file, which is built in memory.
PART_ROWS = 10_000
PART_BYTES = 32 * 2**20  # before compression

# A manifest has about 500 bytes for each file.
_MOST_MANIFEST_BYTES = 64 << 20


class ArchiveError(BatchError):
    """An archive cannot be written or differs from what was written. Rows without a verified file are not deleted."""

    def __init__(self, message: str, *, recoverable: bool) -> None:
        super().__init__(message)
        self.recoverable = recoverable


@dataclass(frozen=True)
class ArchivedRow:
    """A row to archive. ``finished_at`` is in UTC, as text. ``line`` is PostgreSQL's own JSON, which can represent every value."""

    id: str
    finished_at: str
    line: bytes


@dataclass(frozen=True)
class ArchivedFile:
    """A file's entry in the manifest. Ids are in row order; times are the earliest and the latest (UTC)."""

    key: str
    sha256: str
    bytes: int
    rows: int
    first_id: str
    last_id: str
    finished_from: str
    finished_to: str


@dataclass(frozen=True)
class WrittenArchive:
    """A verified archive. ``name``: see ``archive_names``. ``sha256`` is that of the manifest, as it was written."""

    name: str
    sha256: str
    files: Sequence[ArchivedFile]


@dataclass(frozen=True)
class RowArchive:
    """The place of a run's archives of ``table``. ``prefix`` is ``<tenant folder>/<business date>/<start of the file names>``.

    File names depend on the content, so a file never replaces an archive whose rows are already deleted. Only files listed in a manifest
    are archives.
    """

    store: ObjectStore
    prefix: str
    table: str

    def write(self, rows: Iterable[ArchivedRow], about: Mapping[str, Any]) -> WrittenArchive | None:
        """Write the rows and a manifest with ``about``, and read everything back. None: there are no rows.

        :raises ArchiveError: a file cannot be written or differs from what was written.
        """
        files = [self._write_part(number, part) for number, part in enumerate(_parts(rows), start=1)]
        if not files:
            return None
        content = {
            "table": self.table,
            **about,
            "rows": sum(file.rows for file in files),
            "files": [asdict(file) for file in files],
        }
        manifest = json.dumps(content, ensure_ascii=False, indent=2).encode()
        sha256 = hashlib.sha256(manifest).hexdigest()
        name = f"{self.prefix}-{sha256[:_HASH_LENGTH]}"
        self._write(f"{name}{_MANIFEST}", manifest)
        _read_back(self.store, f"{name}{_MANIFEST}", sha256)
        for file in files:
            rows_found = sum(1 for _ in archived_lines(self.store, file))
            if rows_found != file.rows:
                raise ArchiveError(
                    f"書庫 {self.store.location(file.key)} は {file.rows} 行のはずが {rows_found} 行です。"
                    f"{self.table} からは何も削除していません。",
                    recoverable=False,
                )
        return WrittenArchive("/".join(name.rsplit("/", 2)[1:]), sha256, files)

    def _write_part(self, number: int, part: _Part) -> ArchivedFile:
        content = part.content()
        sha256 = hashlib.sha256(content).hexdigest()
        key = f"{self.prefix}-{number:04}-{sha256[:_HASH_LENGTH]}.jsonl.gz"
        self._write(key, content)
        return ArchivedFile(
            key=key,
            sha256=sha256,
            bytes=len(content),
            rows=part.rows,
            first_id=part.first.id,
            last_id=part.last.id,
            finished_from=part.finished_from,
            finished_to=part.finished_to,
        )

    def _write(self, key: str, content: bytes) -> None:
        try:
            self.store.write(key, content)
            self.store.sync(key)
        except OSError as error:
            raise ArchiveError(
                f"書庫 {self.store.location(key)} に書き込めません（{reason_of(error)}）。{self.table} からは何も削除していません。"
                "保存先の空き容量・権限・接続を確かめてください。",
                recoverable=is_recoverable(error),
            ) from error


def archived_lines(store: ObjectStore, file: ArchivedFile) -> Iterator[bytes]:
    """The lines of a file in the store. :raises ArchiveError: the file has changed since it was written."""
    with GzipFile(fileobj=BytesIO(_read_back(store, file.key, file.sha256, file.bytes))) as lines:
        yield from lines


def archived_chunks(store: ObjectStore, files: Iterable[ArchivedFile], size: int) -> Iterator[list[bytes]]:
    """The lines of several files, in lists of at most ``size``."""
    for file in files:
        yield from chunks(archived_lines(store, file), size)


def copies_of(lines: Iterable[bytes], id_column: str) -> dict[str, list[Any]]:
    """The ``ids`` and ``digests`` (SHA-256) of archived rows, as parameters of a statement that deletes only equal rows."""
    rows = [line.removesuffix(b"\n") for line in lines]
    return {
        "ids": [json.loads(row)[id_column] for row in rows],
        "digests": [hashlib.sha256(row).digest() for row in rows],
    }


def chunks(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """The items in lists of this size; the last one may be shorter."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def archive_names(store: ObjectStore, folder: str) -> list[str]:
    """The archives in a tenant's folder as ``<business date>/<name>``, oldest first."""
    return [
        f"{day}/{name.removesuffix(_MANIFEST)}"
        for day in store.names(folder)
        if _DAY.fullmatch(day)
        for name in store.names(f"{folder}/{day}")
        if name.endswith(_MANIFEST)
    ]


def read_manifest(
    store: ObjectStore, folder: str, name: str, sha256: str | None
) -> tuple[dict[str, Any], list[ArchivedFile]]:
    """The manifest of one of ``archive_names``, and its files. ``sha256`` is its hash in the database.

    :raises UnprovedError: there is no such hash, or it is not that of the manifest. :raises OSError: the store fails.
    """
    content = read_proved(store, f"{folder}/{name}{_MANIFEST}", Recorded(sha256), _MOST_MANIFEST_BYTES)
    manifest: dict[str, Any] = json.loads(content)
    return manifest, [ArchivedFile(**file) for file in manifest["files"]]


def expired_days(store: ObjectStore, folder: str, archived_since: date) -> list[str]:
    """The business dates before ``archived_since`` with archives in a tenant's folder."""
    return [name for name in store.names(folder) if _DAY.fullmatch(name) and name < f"{archived_since}"]


def delete_expired(store: ObjectStore, folder: str, archived_since: date) -> int:
    """Delete the archives of ``expired_days``; returns the number of dates.

    :raises ArchiveError: the store fails, for some dates or for all. The others are deleted.
    """
    failures: list[OSError] = []
    days: list[str] = []
    try:
        days = expired_days(store, folder, archived_since)
    except OSError as error:
        failures.append(error)
    for day in days:
        try:
            store.delete(f"{folder}/{day}")
            log.info("The archive %s/%s has expired and is deleted", folder, day)
        except OSError as error:
            failures.append(error)
    if failures:
        raise ArchiveError(
            f"保存期間を過ぎた書庫 {store.location(folder)} を削除できません（{reason_of(failures[0])}）。"
            "保存先の権限・接続を確かめてください。",
            recoverable=is_recoverable(failures[0]),
        ) from failures[0]
    return len(days)


class _Part:
    """One file's content while it is built. Equal rows give equal bytes."""

    def __init__(self, first: ArchivedRow) -> None:
        self._buffer = BytesIO()
        self._file = GzipFile(filename="", mode="wb", fileobj=self._buffer, mtime=0)
        self._bytes = self.rows = 0
        self.first = self.last = first
        self.finished_from = self.finished_to = first.finished_at

    def add(self, row: ArchivedRow) -> bool:
        """Add a row; returns True if the file is full."""
        self._bytes += self._file.write(row.line)
        self.rows += 1
        self.last = row
        self.finished_from = min(self.finished_from, row.finished_at)
        self.finished_to = max(self.finished_to, row.finished_at)
        return self.rows >= PART_ROWS or self._bytes >= PART_BYTES

    def content(self) -> bytes:
        """The complete file. Rows cannot be added afterwards."""
        self._file.close()
        return self._buffer.getvalue()


def _parts(rows: Iterable[ArchivedRow]) -> Iterator[_Part]:
    part: _Part | None = None
    for row in rows:
        part = part or _Part(row)
        if part.add(row):
            yield part
            part = None
    if part:
        yield part


def _read_back(store: ObjectStore, key: str, sha256: str, most_bytes: int = _MOST_MANIFEST_BYTES) -> bytes:
    try:
        return read_proved(store, key, Recorded(sha256), most_bytes)
    except UnprovedError as error:
        is_unread = error.fault in (Fault.MISSING, Fault.NO_FILE, Fault.DENIED)
        problem = (
            f"を読み戻せません（{error.fault}）" if is_unread else "を読み戻すと、書き込んだ内容と違います"
        )
        raise ArchiveError(
            f"書庫 {store.location(key)} {problem}。確認できていない行は削除していません。保存先の故障を確かめてください。",
            recoverable=True,  # a second write may succeed
        ) from error
    except OSError as error:
        raise ArchiveError(
            f"書庫 {store.location(key)} を読み戻せません（{reason_of(error)}）。確認できていない行は削除していません。"
            "保存先を確かめてください。",
            recoverable=is_recoverable(error),
        ) from error
