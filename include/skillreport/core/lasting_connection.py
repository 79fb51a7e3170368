"""A database connection that is replaced when it is lost, for work that may be repeated."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from include.skillreport.core.database import SESSION_SETTINGS

T = TypeVar("T")

log = logging.getLogger(__name__)

# Seconds in which a new connection must be established, enough for a restart of PostgreSQL. Together with the limit of one send (two
# minutes) this is shorter than the lease of a message in flight.
_CONNECTING_SECONDS = 120
_CONNECT_SECONDS = 10
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0

# If the same work loses this many connections or transactions, the work itself is the cause.
_MOST_LOSSES = 3

# The session settings that are copied to a replacement.
_SETTINGS = (*SESSION_SETTINGS, "statement_timeout")


class LastingConnection:
    """A connection, and after a loss its replacement with the same login, role and settings, in autocommit mode.

    Use it from one thread at a time. :raises psycopg.Error: the connection does not answer at the start.
    """

    def __init__(self, connection: psycopg.Connection) -> None:
        info = connection.info
        self._conninfo = make_conninfo(
            info.dsn,
            **({"password": info.password} if info.password else {}),
            connect_timeout=_CONNECT_SECONDS,
        )
        self._session = self._session_of(connection)
        self._current = connection
        self._is_replacement = False
        self._has_given_up = False

    @property
    def connection(self) -> psycopg.Connection:
        """The present connection."""
        return self._current

    def run(
        self,
        work: Callable[[psycopg.Connection], T],
        after_loss: Callable[[psycopg.Connection], object] = lambda _: None,
    ) -> T:
        """The result of ``work``. If the connection is lost during it, ``after_loss`` and ``work`` run on a new connection.

        It is unknown whether the lost transaction was committed, so it must be safe to repeat ``work``. It also runs again if PostgreSQL
        ended its transaction because another one and this one waited for each other.
        :raises psycopg.Error: an error of ``work``, or no new connection within about two minutes. After that it is raised at once.
        """
        for losses in range(_MOST_LOSSES + 1):
            try:
                return work(self._current)
            except psycopg.errors.DeadlockDetected:
                if losses == _MOST_LOSSES:
                    raise
                log.warning("PostgreSQL ended the transaction in a deadlock; repeating it")
            except psycopg.Error as error:
                if losses == _MOST_LOSSES or self._has_given_up or not _is_lost(self._current, error):
                    raise
                log.warning("The database connection was lost; connecting again")
                self._replace()
                self.run(after_loss)
        raise AssertionError("the loop returns or raises")

    def close(self) -> None:
        """Close a replacement. The caller closes the first connection."""
        if self._is_replacement:
            self._current.close()

    def _session_of(self, connection: psycopg.Connection) -> dict[str, str]:
        names = ("role", *_SETTINGS)
        row = connection.execute(
            "SELECT " + ", ".join(f"current_setting('{name}')" for name in names)
        ).fetchone()
        assert row is not None
        return dict(zip(names, row, strict=True))

    def _replace(self) -> None:
        give_up_at, pause = time.monotonic() + _CONNECTING_SECONDS, _FIRST_PAUSE
        while True:
            try:
                replacement = self._connected()
                break
            except psycopg.OperationalError:
                if time.monotonic() + pause >= give_up_at:
                    # The lanes of a sender share this connection, so they must not wait one after the other.
                    self._has_given_up = True
                    raise
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        self.close()
        self._current, self._is_replacement = replacement, True

    def _connected(self) -> psycopg.Connection:
        connection = psycopg.connect(self._conninfo, autocommit=True)
        try:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(self._session["role"])))
            for name in _SETTINGS:
                connection.execute("SELECT set_config(%s, %s, false)", [name, self._session[name]])
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def lasting(connection: psycopg.Connection) -> Iterator[LastingConnection]:
    """A ``LastingConnection`` that begins with this connection. Its replacements are closed at the end of the block."""
    kept = LastingConnection(connection)
    try:
        yield kept
    finally:
        kept.close()


def _is_lost(connection: psycopg.Connection, error: psycopg.Error) -> bool:
    # Class 57P: the server shuts down or an administrator ended the session. 08: the connection failed.
    return connection.closed or connection.broken or (error.sqlstate or "").startswith(("57P", "08"))
