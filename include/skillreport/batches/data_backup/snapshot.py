"""The snapshot of a backup: no table changes its structure from before the snapshot until all contents are recorded."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from include.skillreport.batches.data_backup.files import TableContent
from include.skillreport.batches.data_backup.postgres_tools import SchemaChangingError
from include.skillreport.batches.data_backup.tables import Table, stream_contents
from include.skillreport.core.database import Statements
from include.skillreport.core.errors import reason_of

_SQL = Statements(Path(__file__).parent)

log = logging.getLogger(__name__)

# The next attempt begins at once if a table was created or dropped, and after the lock timeout if a table is locked.
LOCK_ATTEMPTS = 20

_TICK_SECONDS = 1.0

_MOVED = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.UndefinedTable,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.WrongObjectType,
)


@contextmanager
def exported_snapshot(connection: psycopg.Connection, attempts: int = LOCK_ATTEMPTS) -> Iterator[str]:
    """An exported snapshot that this and other connections can use until the block ends.

    Locks all its tables (ACCESS SHARE), so that nobody alters or drops them before the block ends. ``connection`` is in autocommit mode.
    :raises SchemaChangingError: after ``attempts`` attempts, other sessions still hold a lock or create tables.
    """
    for _ in range(attempts):
        snapshot = _take(connection)
        if snapshot:
            break
    else:
        holders = _SQL.column(connection, "exclusively_locked_tables")
        named = f"（{'、'.join(holders)}）" if holders else ""
        raise SchemaChangingError(
            f"表の構造を変える処理（移行など）が続いているため、スナップショットを取れません{named}"
        )
    try:
        yield snapshot
    finally:
        # A lost connection has released its locks.
        with suppress(psycopg.Error):
            connection.rollback()


def _take(connection: psycopg.Connection) -> str | None:
    """Lock all tables, then take the snapshot. None, without locks: a table is locked, or has appeared or vanished."""
    locked = _SQL.execute(connection, "lockable_tables").fetchall()
    _SQL.execute(connection, "begin_snapshot")
    try:
        if locked:
            # LOCK TABLE takes no snapshot either, so the snapshot comes after the locks.
            names = sql.SQL(", ").join(sql.Identifier(*name) for name in locked)
            connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
        _SQL.execute(connection, "end_lock_wait_limit")
        snapshot = str(_SQL.row(connection, "export_snapshot")[0])
        if set(_SQL.execute(connection, "lockable_tables")) <= set(locked):
            return snapshot
    except _MOVED:
        pass
    connection.rollback()
    return None


def contents_until_awaited(
    connection: psycopg.Connection,
    connect: Callable[[], psycopg.Connection],
    tables: Sequence[Table],
    *,
    hashed: Collection[tuple[str, str]],
    patience: timedelta,
) -> list[TableContent]:
    """The contents of the tables, as ``table_contents``, from the connection of ``exported_snapshot``.

    Stops if another session waits longer than ``patience`` for a lock of this transaction. Then some contents are missing, and the
    transaction can only be rolled back. ``connect`` opens a connection that watches for such sessions.
    """
    found: list[TableContent] = []
    with _giving_way(connection, connect, patience) as gives_way:
        try:
            if not gives_way.is_set():
                for content in stream_contents(connection, tables, hashed=hashed):
                    found.append(content)
        except psycopg.errors.QueryCanceled:
            if not gives_way.is_set():
                raise
    return found


@contextmanager
def _giving_way(
    connection: psycopg.Connection, connect: Callable[[], psycopg.Connection], patience: timedelta
) -> Iterator[threading.Event]:
    """Cancel the statement of ``connection``, and set the event, if a session waits too long for its locks."""
    ends, gives_way = threading.Event(), threading.Event()
    pid = connection.info.backend_pid

    def look() -> None:
        if _SQL.row(watching, "longest_lock_wait", pid=pid)[0] > patience:
            gives_way.set()

    def watch() -> None:
        try:
            while not gives_way.is_set() and not ends.wait(_TICK_SECONDS):
                look()
            if gives_way.is_set():
                connection.cancel_safe()
        except psycopg.Error as error:
            log.warning("Sessions that wait for the locks are not seen any more: %s", reason_of(error))

    with connect() as watching:
        look()
        thread = threading.Thread(target=watch, name="lock_waits", daemon=True)
        thread.start()
        try:
            yield gives_way
        finally:
            ends.set()
            thread.join()
