"""Name the sessions that a deployment waits for, such as a run's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import sqlalchemy

from include.skillreport.core.database import Statements, set_up_session
from include.skillreport.core.errors import SchemaError

_SQL = Statements(Path(__file__).parent)

_POLL_SECONDS = 0.2

# A longer list helps nobody.
_MOST_NAMED = 3


@dataclass
class _Wait:
    """The last wait for a lock: the relation (empty: transactions, as CREATE INDEX CONCURRENTLY does), and who holds it."""

    relation: str = ""
    holders: tuple[str, ...] = ()


@contextmanager
def lock_waits_named(connection: psycopg.Connection, dsn: str, phase: str, seconds: float) -> Iterator[None]:
    """Name phase, relation and sessions if a lock was not free within ``seconds``, the lock timeout of ``connection``.

    A second session of ``dsn`` looks meanwhile, because afterwards the wait is over. A task's session has the name of its run.
    :raises SchemaError: a lock was not free in time.
    """
    try:
        with _watched(dsn, connection.info.backend_pid) as wait:
            yield
    except (psycopg.errors.LockNotAvailable, sqlalchemy.exc.DBAPIError) as error:
        # SQLAlchemy wraps the errors of Alembic's own statements.
        if not isinstance(getattr(error, "orig", error), psycopg.errors.LockNotAvailable):
            raise
        occupied = f"{wait.relation} を占有している " if wait.relation else ""
        raise SchemaError(
            f"{phase}は、{occupied}{'、'.join(wait.holders[:_MOST_NAMED]) or 'ほかの処理'} が終わるのを {seconds:g} 秒待ちました。"
            "それが終わってからやり直してください。"
        ) from None


@contextmanager
def _watched(dsn: str, pid: int) -> Iterator[_Wait]:
    wait, is_over = _Wait(), threading.Event()
    watcher = threading.Thread(target=_watch, args=(dsn, pid, wait, is_over), daemon=True)
    watcher.start()
    try:
        yield wait
    finally:
        is_over.set()
        watcher.join()


def _watch(dsn: str, pid: int, wait: _Wait, is_over: threading.Event) -> None:
    # Without a second session, the message names nobody.
    with suppress(psycopg.Error), psycopg.connect(dsn, autocommit=True) as connection:
        set_up_session(connection)
        while not is_over.wait(_POLL_SECONDS):
            for relation, holders in _SQL.execute(connection, "lock_wait", pid=pid):
                wait.relation, wait.holders = relation, tuple(holders)
