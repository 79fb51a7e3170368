"""Archives one tenant's old rows of one table, then deletes them; see ``core.execution.row_archive``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.core.database import Statements, tenant_transaction
from include.skillreport.core.execution.object_store import ObjectStore, tenant_folder
from include.skillreport.core.execution.row_archive import (
    ArchivedRow,
    RowArchive,
    archived_chunks,
    copies_of,
)

_SQL = Statements(Path(__file__).parent)

# The rows per reading statement, and per deleting transaction.
CHUNK_ROWS = 1_000


@dataclass(frozen=True)
class ArchivedTable:
    """A table to archive. Its files and statements contain ``name``."""

    name: str
    table: str
    id_column: str

    def staging_id(self, execution_id: str) -> str:
        """The ``batch.old_notification.execution_id`` of this table's staged ids."""
        return execution_id if self is NOTIFICATIONS else f"{execution_id}:{self.name}"


NOTIFICATIONS = ArchivedTable("notifications", "HIS_NotificationLog", "id")
MESSAGES = ArchivedTable("messages", "batch.outbox", "message_id")


@dataclass(frozen=True)
class Job:
    """A tenant's rows to archive: finished before ``cutoff`` (naive UTC) and not needed ``today`` (aware).

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

    @property
    def folder(self) -> str:
        """The folder of the tenant's archives."""
        return f"notification_log/{tenant_folder(self.tenant_id)}"


def archive(
    connection: psycopg.Connection,
    source: ArchivedTable,
    job: Job,
    store: ObjectStore,
    count: Callable[[int], object],
) -> None:
    """Archive and delete the tenant's staged rows of a table that still qualify. ``count`` gets the number of rows in each transaction.

    ``connection`` is in autocommit mode, so no locks are held while files are written.
    :raises ArchiveError: a file cannot be written, or differs from the written bytes.
    """
    target = RowArchive(
        store, f"{job.folder}/{job.business_date}/{job.execution_id}-{source.name}", source.table
    )
    about = {
        "tenant_id": job.tenant_id,
        "tenant_code": job.tenant_code,
        "execution_id": job.execution_id,
        "business_date": f"{job.business_date}",
        "retention_days": job.retention_days,
        "finished_before_utc": job.cutoff.isoformat(),
    }
    written = target.write(_rows(connection, source, job), about)
    for lines in archived_chunks(store, written.files if written else (), CHUNK_ROWS):
        _delete(connection, source, job, lines, count)


def _rows(connection: psycopg.Connection, source: ArchivedTable, job: Job) -> Iterator[ArchivedRow]:
    """The staged rows to archive, by id. No transaction is open between two chunks."""
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
            rows = _SQL.execute(connection, f"{source.name}_to_archive", ids=ids, **_about(job)).fetchall()
        last_id = ids[-1]
        for row_id, finished_at, line in rows:
            yield ArchivedRow(row_id, finished_at, line.encode() + b"\n")


def _delete(
    connection: psycopg.Connection,
    source: ArchivedTable,
    job: Job,
    lines: list[bytes],
    count: Callable[[int], object],
) -> int:
    """Delete these archived rows, except changed or locked ones."""
    copies = copies_of(lines, source.id_column)
    with tenant_transaction(connection, [job.tenant_id]):
        rows = _SQL.execute(connection, f"delete_{source.name}", **_about(job), **copies).rowcount
        count(rows)
    return rows


def _about(job: Job) -> dict[str, Any]:
    return {"tenant_id": job.tenant_id, "cutoff": job.cutoff, "today": job.today}
