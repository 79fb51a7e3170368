"""Archives rows that the application has marked as deleted, tenant by tenant, and deletes those that equal their archived copy.

One pass finds the keys of all tenants' rows, with a cursor that outlives its transaction (see ``rows``). A tenant's rows are read and
deleted by key as ``batch_cleanup``, through views that show only the transaction's tenant. So a row with a new owner stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors, sql

from include.skillreport.core.database import (
    Statements,
    is_tenant_id,
    storable,
    tenant_transaction,
    tenant_turn,
)
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.execution.business_date import utc_bounds
from include.skillreport.core.execution.object_store import ObjectStore, is_tenant_folder, tenant_folder
from include.skillreport.core.execution.people import keep_people
from include.skillreport.core.execution.row_archive import (
    ArchivedRow,
    ArchiveError,
    RowArchive,
    archived_chunks,
    chunks,
    copies_of,
    delete_expired,
    expired_days,
)
from include.skillreport.schema.deletion import ListedTable
from include.skillreport.schema.leaving import view_of

_SQL = Statements(Path(__file__).parent)

# The first part of the lock's key, different from other locks; the table is the second part.
_TABLE_LOCK = 2_04

FOLDER = "deleted_rows"

# The rows per reading statement, and per deleting transaction.
CHUNK_ROWS = 1_000

# A deletion that waits for the application holds the locks of its other rows, so it stops before PostgreSQL's deadlock check.
_LOCK_WAIT = "500ms"

_READ = sql.SQL(
    """SELECT id, updated_at::text, content::text FROM {view}
    WHERE id = any(%(ids)s) AND is_deleted AND updated_at < %(before)s ORDER BY id"""
)

# A row that equals its archived copy is still marked, and old enough.
_DELETE = sql.SQL(
    "DELETE FROM {view} WHERE id = any(%(ids)s) AND sha256(convert_to(content::text, 'UTF8')) = any(%(digests)s)"
)


@dataclass
class MarkedReport:
    """The number of a table's deleted (or to be deleted) rows. ``ownerless`` rows stay, because their tenant is unknown."""

    rows: int = 0
    ownerless: int = 0


def folder_of(tenant_id: str) -> str:
    """The folder of a tenant's archives."""
    return f"{FOLDER}/{tenant_folder(tenant_id)}"


def marked_before(platform: psycopg.Connection, business_date: date, days: int) -> datetime | None:
    """Rows last changed before this time (naive UTC) are deleted: they are older than ``days`` and than the last closed month's first day.

    None: no month is closed, so none is deleted. Invoices of open months are still calculated from the rows.
    """
    (closed,) = _SQL.row(platform, "last_closed_month")
    return closed and min(utc_bounds(day).start for day in (closed, business_date - timedelta(days=days)))


def count_marked(platform: psycopg.Connection, table: ListedTable, before: datetime) -> MarkedReport:
    """The rows that would be deleted."""
    _know_people(platform)
    return MarkedReport(*_SQL.row(platform, "count_marked", table_name=table.name, before=before))


def delete_marked(
    platform: psycopg.Connection,
    cleanup: psycopg.Connection,
    table: ListedTable,
    before: datetime,
    run: Run,
    store: ObjectStore,
    count: Callable[[int], object],
) -> MarkedReport:
    """Archive and delete a table's old marked rows. Both connections are in autocommit mode. Other runs for the table wait.

    :raises ArchiveError: a tenant's file cannot be written, or differs from the written bytes. Its rows and those of later tenants stay.
    """
    report = MarkedReport()
    with (
        tenant_turn(platform, _TABLE_LOCK, table.name),
        platform.cursor(name="marked", withhold=True) as cursor,
    ):
        _know_people(platform)
        cursor.itersize = CHUNK_ROWS
        _SQL.execute(cursor, "find_marked", table_name=table.name, before=before)
        for (tenant_id, code), found in groupby(cursor, key=lambda row: row[:2]):
            ids = (row_id for _, _, row_id in found)
            if tenant_id is None or not is_tenant_id(tenant_id):
                report.ownerless += sum(1 for _ in ids)
                continue
            target = RowArchive(
                store,
                f"{folder_of(tenant_id)}/{run.business_date}/{run.execution_id}-{table.name}",
                table.name,
            )
            about = {
                "tenant_id": tenant_id,
                "tenant_code": code,
                "execution_id": run.execution_id,
                "business_date": f"{run.business_date}",
                "changed_before_utc": before.isoformat(),
            }
            if written := target.write(_rows(cleanup, table, tenant_id, before, ids), about):
                record = {
                    "archive": written.name,
                    "business_date": run.business_date,
                    "manifest_sha256": written.sha256,
                }
                for lines in archived_chunks(store, written.files, CHUNK_ROWS):
                    rows = _delete(cleanup, table, tenant_id, lines, record)
                    # Not in the deletion's transaction: batch_cleanup has no privilege on the run's outcomes.
                    count(rows)
                    report.rows += rows
    return report


def delete_expired_archives(
    platform: psycopg.Connection, store: ObjectStore, archived_since: date, *, dry_run: bool
) -> tuple[int, list[str]]:
    """Delete the archives of earlier business dates and their records, even of tenants without rows.

    Returns the number of dates, over all tenants, and the entries that are no tenant's folder, which stay.
    :raises ArchiveError: an archive cannot be deleted. The others are.
    """
    names = store.all_names(FOLDER)
    count, failures = 0, []
    for name in filter(is_tenant_folder, names):
        folder = f"{FOLDER}/{name}"
        try:
            if dry_run:
                count += len(expired_days(store, folder, archived_since))
            else:
                count += delete_expired(store, folder, archived_since)
        except ArchiveError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    if not dry_run:
        _SQL.execute(platform, "forget_archives", archived_since=archived_since)
    return count, [storable(f"{FOLDER}/{name}") for name in names if not is_tenant_folder(name)]


def _know_people(platform: psycopg.Connection) -> None:
    with platform.transaction():
        keep_people(platform)


def _rows(
    cleanup: psycopg.Connection, table: ListedTable, tenant_id: str, before: datetime, ids: Iterable[str]
) -> Iterator[ArchivedRow]:
    """The present rows, without rows that are no longer marked or old enough. No transaction is open between two chunks."""
    query = _READ.format(view=sql.Identifier("batch", view_of(table)))
    for chunk in chunks(ids, CHUNK_ROWS):
        with tenant_transaction(cleanup, [tenant_id]):
            rows = cleanup.execute(query, {"ids": chunk, "before": before}).fetchall()
        for row_id, updated_at, line in rows:
            yield ArchivedRow(row_id, updated_at, line.encode() + b"\n")


def _delete(
    cleanup: psycopg.Connection,
    table: ListedTable,
    tenant_id: str,
    lines: list[bytes],
    record: Mapping[str, Any],
) -> int:
    """Delete these archived rows, except changed ones, and record their archive. If the application has locked one, all wait for the next
    run.
    """
    statement = _DELETE.format(view=sql.Identifier("batch", view_of(table)))
    try:
        with tenant_transaction(cleanup, [tenant_id]):
            cleanup.execute("SELECT set_config('lock_timeout', %s, true)", [_LOCK_WAIT])
            deleted = cleanup.execute(statement, copies_of(lines, "id")).rowcount
            if deleted:
                _SQL.execute(cleanup, "record_archive", tenant_id=tenant_id, **record)
            return deleted
    except errors.LockNotAvailable:
        return 0
