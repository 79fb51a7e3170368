"""Archives one tenant's old rows of one table: writes compressed files and a manifest, reads them back, then deletes the rows.

The files decide which rows are deleted. A row is deleted only if it equals, byte for byte, its copy in a verified file. So changes by the
application, another run or a kill in between are safe. A row that has changed stays for the next run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime
from gzip import GzipFile
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.core.database import Statements, tenant_transaction
from include.skillreport.core.errors import BatchError, is_recoverable, reason_of
from include.skillreport.core.execution.object_store import ObjectStore, tenant_folder

_SQL = Statements(Path(__file__).parent)

log = logging.getLogger(__name__)

# The name of an archive's folder: its business date.
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

# The rows that one statement reads, and the rows that one transaction deletes.
CHUNK_ROWS = 1_000

# The limits of a file, which is built in memory.
PART_ROWS = 10_000
PART_BYTES = 32 * 2**20  # before compression


class ArchiveError(BatchError):
    """An archive cannot be written, or differs from what was written. Rows without a verified file are not deleted."""

    def __init__(self, message: str, *, recoverable: bool) -> None:
        super().__init__(message)
        self.recoverable = recoverable


@dataclass(frozen=True)
class Source:
    """A table to archive. ``name`` is part of the names of its files and of its statements."""

    name: str
    table: str
    id_column: str

    def staging_id(self, execution_id: str) -> str:
        """The value of ``batch.old_notification.execution_id`` under which a run stages this table's ids."""
        return execution_id if self is NOTIFICATIONS else f"{execution_id}:{self.name}"


NOTIFICATIONS = Source("notifications", "HIS_NotificationLog", "id")
MESSAGES = Source("messages", "batch.outbox", "message_id")


@dataclass(frozen=True)
class Job:
    """The tenant and its rows to archive: finished before ``cutoff`` (naive UTC) and not needed ``today`` (aware).

    Archives of business dates before ``archived_since`` have expired.
    """

    execution_id: str
    business_date: date
    tenant_id: str
    tenant_code: str
    retention_days: int
    cutoff: datetime
    today: datetime
    archived_since: date


@dataclass(frozen=True)
class ArchivedFile:
    """A file's entry in the manifest. Ids are in the order of the rows; times are the earliest and the latest (UTC)."""

    key: str
    sha256: str
    bytes: int
    rows: int
    first_id: str
    last_id: str
    finished_from: str
    finished_to: str


def archive(connection: psycopg.Connection, source: Source, job: Job, store: ObjectStore) -> int:
    """Archive and delete the tenant's staged rows of a table that still qualify; returns the number of deleted rows.

    ``connection`` is in autocommit mode: no locks are held while files are written. File names depend on the content, so a file never
    replaces an archive whose rows are already deleted. Only files that a manifest lists are archives.
    :raises ArchiveError: a file cannot be written, or differs from what was written.
    """
    files = [
        _write_part(store, source, job, number, part)
        for number, part in enumerate(_parts(_rows(connection, source, job)), start=1)
    ]
    if not files:
        return 0
    manifest = _manifest(source, job, files)
    manifest_sha256 = hashlib.sha256(manifest).hexdigest()
    manifest_key = f"{_prefix(source, job)}-{manifest_sha256[:12]}.manifest.json"
    _write(store, source, manifest_key, manifest)
    _read_back(store, manifest_key, manifest_sha256)
    for file in files:
        rows = sum(1 for _ in _lines(store, file))
        if rows != file.rows:
            raise ArchiveError(
                f"書庫 {store.location(file.key)} は {file.rows} 行のはずが {rows} 行です。"
                f"{source.table} からは何も削除していません。",
                recoverable=False,
            )
    return sum(
        _delete(connection, source, job, lines)
        for file in files
        for lines in _chunks(_lines(store, file), CHUNK_ROWS)
    )


def delete_expired(job: Job, store: ObjectStore) -> None:
    """Delete the tenant's expired archives. :raises ArchiveError: the store refuses."""
    folder = _tenant_folder(job)
    try:
        for name in store.names(folder):
            if _DAY.fullmatch(name) and name < f"{job.archived_since}":
                store.delete(f"{folder}/{name}")
                log.info("Tenant %s: the archive of %s has expired and is deleted", job.tenant_code, name)
    except OSError as error:
        raise ArchiveError(
            f"保存期間を過ぎた書庫 {store.location(folder)} を削除できません（{reason_of(error)}）。"
            "保存先の権限・接続を確かめてください。",
            recoverable=is_recoverable(error),
        ) from error


# Reading rows ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    """A row to archive; ``line`` is PostgreSQL's own JSON, which can represent every value of the row."""

    id: str
    finished_at: str
    line: bytes


def _rows(connection: psycopg.Connection, source: Source, job: Job) -> Iterator[_Row]:
    """The staged rows to archive, in the order of their ids. No transaction is open between two chunks."""
    last_id = ""
    while True:
        with tenant_transaction(connection, [job.tenant_id]):
            ids = _SQL.column(
                connection,
                "collected_ids",
                staging_id=source.staging_id(job.execution_id),
                tenant_id=job.tenant_id,
                after=last_id,
                count=CHUNK_ROWS,
            )
            if not ids:
                return
            rows = _SQL.execute(connection, f"{source.name}_to_archive", **_about(job, ids)).fetchall()
        last_id = ids[-1]
        for row_id, finished_at, line in rows:
            yield _Row(row_id, finished_at, line.encode() + b"\n")


def _delete(connection: psycopg.Connection, source: Source, job: Job, lines: list[bytes]) -> int:
    """Delete these archived rows, except rows that have changed since or are locked."""
    about = _about(job, [json.loads(line)[source.id_column] for line in lines])
    digests = [hashlib.sha256(line.removesuffix(b"\n")).digest() for line in lines]
    with tenant_transaction(connection, [job.tenant_id]):
        return _SQL.execute(connection, f"delete_{source.name}", **about, digests=digests).rowcount


def _about(job: Job, ids: list[str]) -> dict[str, Any]:
    return {"ids": ids, "tenant_id": job.tenant_id, "cutoff": job.cutoff, "today": job.today}


# Files -------------------------------------------------------------------------------------------------------------------


class _Part:
    """The content of one file while it is built. The same rows give the same bytes."""

    def __init__(self, first: _Row) -> None:
        self._buffer = BytesIO()
        self._file = GzipFile(filename="", mode="wb", fileobj=self._buffer, mtime=0)
        self._bytes = self.rows = 0
        self.first = self.last = first
        self.finished_from = self.finished_to = first.finished_at

    def add(self, row: _Row) -> bool:
        """Add a row; returns whether the file is full now."""
        self._bytes += self._file.write(row.line)
        self.rows += 1
        self.last = row
        self.finished_from = min(self.finished_from, row.finished_at)
        self.finished_to = max(self.finished_to, row.finished_at)
        return self.rows >= PART_ROWS or self._bytes >= PART_BYTES

    def content(self) -> bytes:
        """The whole file; no row can be added afterwards."""
        self._file.close()
        return self._buffer.getvalue()


def _parts(rows: Iterable[_Row]) -> Iterator[_Part]:
    part: _Part | None = None
    for row in rows:
        part = part or _Part(row)
        if part.add(row):
            yield part
            part = None
    if part:
        yield part


def _write_part(store: ObjectStore, source: Source, job: Job, number: int, part: _Part) -> ArchivedFile:
    content = part.content()
    sha256 = hashlib.sha256(content).hexdigest()
    key = f"{_prefix(source, job)}-{number:04}-{sha256[:12]}.jsonl.gz"
    _write(store, source, key, content)
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


def _manifest(source: Source, job: Job, files: list[ArchivedFile]) -> bytes:
    content = {
        "table": source.table,
        "tenant_id": job.tenant_id,
        "tenant_code": job.tenant_code,
        "execution_id": job.execution_id,
        "business_date": f"{job.business_date}",
        "retention_days": job.retention_days,
        "finished_before_utc": job.cutoff.isoformat(),
        "rows": sum(file.rows for file in files),
        "files": [asdict(file) for file in files],
    }
    return json.dumps(content, ensure_ascii=False, indent=2).encode()


def _prefix(source: Source, job: Job) -> str:
    return f"{_tenant_folder(job)}/{job.business_date}/{job.execution_id}-{source.name}"


def _tenant_folder(job: Job) -> str:
    return f"notification_log/{tenant_folder(job.tenant_id)}"


def _write(store: ObjectStore, source: Source, key: str, content: bytes) -> None:
    try:
        store.write(key, content)
        store.sync(key)
    except OSError as error:
        raise ArchiveError(
            f"書庫 {store.location(key)} に書き込めません（{reason_of(error)}）。{source.table} からは何も削除していません。"
            "保存先の空き容量・権限・接続を確かめてください。",
            recoverable=is_recoverable(error),
        ) from error


def _read_back(store: ObjectStore, key: str, sha256: str) -> bytes:
    """The present content of the store. It is read again before rows are deleted, because the file may have changed."""
    try:
        content = store.read(key)
    except OSError as error:
        raise ArchiveError(
            f"書庫 {store.location(key)} を読み戻せません（{reason_of(error)}）。確認できていない行は削除していません。"
            "保存先を確かめてください。",
            recoverable=is_recoverable(error),
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ArchiveError(
            f"書庫 {store.location(key)} を読み戻すと、書き込んだ内容と違います。確認できていない行は削除していません。"
            "保存先の故障を確かめてください。",
            recoverable=True,  # a second write may succeed
        )
    return content


def _lines(store: ObjectStore, file: ArchivedFile) -> Iterator[bytes]:
    with GzipFile(fileobj=BytesIO(_read_back(store, file.key, file.sha256))) as lines:
        yield from lines


def _chunks(lines: Iterator[bytes], size: int) -> Iterator[list[bytes]]:
    while chunk := list(islice(lines, size)):
        yield chunk
