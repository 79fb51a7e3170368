"""Connect to a server that restarts or fails over, and replace a lost connection for work that may be repeated."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from include.skillreport.core.database import session_of, set_up_session
from include.skillreport.core.errors import DatabaseUnavailableError, is_recoverable, reason_of

T = TypeVar("T")

log = logging.getLogger(__name__)

# Time limit in seconds to replace a lost connection, enough for a restart of PostgreSQL. Together with the limit of one send (two minutes)
# it is shorter than the lease of a message in flight.
_CONNECTING_SECONDS = 120
CONNECT_SECONDS = 10
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0

# If the same work loses more connections or transactions than this, the work itself is the cause.
_MOST_LOSSES = 3

# The addresses as given. psycopg keeps only the host that answered, with the address that its name had then.
_ADDRESSES: WeakKeyDictionary[psycopg.Connection[Any], Mapping[str, Any]] = WeakKeyDictionary()


class StandbyError(psycopg.OperationalError):
    """The server is a standby, which may be promoted."""


def connect_within(seconds: float, connect: Callable[[], T]) -> T:
    """Call ``connect`` until it succeeds, with growing pauses, for about ``seconds``; returns its result.

    :raises Exception: the last error of ``connect``, or an error that is not recoverable.
    """
    give_up_at, pause = time.monotonic() + seconds, _FIRST_PAUSE
    while True:
        try:
            return connect()
        except (psycopg.Error, DatabaseUnavailableError) as error:
            left = give_up_at - time.monotonic()
            if left <= 0 or not is_recoverable(error):
                raise
            log.warning("The database is not available yet: %s", reason_of(error))
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)


def refuse_standby(connection: psycopg.Connection[Any]) -> None:
    """Raise an error for a standby, which cannot write before its promotion.

    libpq's ``target_session_attrs`` does not help: PgBouncer keeps the answer of its first session, even after the promotion.
    :raises StandbyError: the server is a standby.
    """
    if _is_standby(connection):
        raise StandbyError(
            "サーバーは待機系（スタンバイ）で、書き込めません。昇格（フェイルオーバー）が終わるのを待つか、接続先を直してください"
        )


def keep_address(connection: psycopg.Connection[Any], **address: Any) -> None:
    """Record libpq's ``host``, ``hostaddr`` and ``port`` as given, for a replacement of this connection. Empty values are ignored."""
    _ADDRESSES[connection] = {name: value for name, value in address.items() if value}


class LastingConnection:
    """A connection in autocommit mode that is replaced after a loss, with the same login, role and settings.

    Use it from one thread at a time. :raises psycopg.Error: the connection does not answer at the start.
    """

    def __init__(self, connection: psycopg.Connection) -> None:
        info = connection.info
        values = dict(conninfo_to_dict(info.dsn))
        if given := _ADDRESSES.get(connection):
            values.pop("hostaddr", None)
            values |= given
        if info.password:
            values["password"] = info.password
        self._conninfo = make_conninfo("", **values | {"connect_timeout": CONNECT_SECONDS})
        self._role = _role_of(connection)
        self._session = session_of(connection)
        self._current = connection
        self._is_replacement = False
        self._has_given_up = False

    @property
    def connection(self) -> psycopg.Connection:
        """The current connection."""
        return self._current

    def run(
        self,
        work: Callable[[psycopg.Connection], T],
        after_loss: Callable[[psycopg.Connection], object] = lambda _: None,
    ) -> T:
        """Run ``work`` and return its result. After a lost connection, run ``after_loss`` and ``work`` on a new connection.

        The lost transaction may have been committed, so ``work`` must be safe to repeat. A connection to a standby counts as lost. ``work``
        also runs again after a deadlock.
        :raises psycopg.Error: an error of ``work``, or no new connection within about two minutes. Later calls then raise it at once.
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

    def _replace(self) -> None:
        try:
            replacement = connect_within(_CONNECTING_SECONDS, self._connected)
        except psycopg.Error:
            # The sender's lanes share this connection. Without this flag, each lane would wait again.
            self._has_given_up = True
            raise
        self.close()
        self._current, self._is_replacement = replacement, True

    def _connected(self) -> psycopg.Connection:
        connection = psycopg.connect(self._conninfo, autocommit=True)
        try:
            refuse_standby(connection)
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(self._role)))
            set_up_session(connection, **self._session)
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def lasting(connection: psycopg.Connection) -> Iterator[LastingConnection]:
    """A ``LastingConnection`` that begins with this connection. Replacements are closed at the end of the block."""
    kept = LastingConnection(connection)
    try:
        yield kept
    finally:
        kept.close()


def _is_lost(connection: psycopg.Connection, error: psycopg.Error) -> bool:
    # Class 57P: the server shuts down, or an administrator or a limit ended the session. 08: the connection failed.
    if connection.closed or connection.broken or (error.sqlstate or "").startswith(("57P", "08")):
        return True
    return isinstance(error, psycopg.errors.ReadOnlySqlTransaction) and _is_standby(connection)


def _role_of(connection: psycopg.Connection[Any]) -> str:
    row = connection.execute("SELECT current_setting('role')").fetchone()
    assert row is not None
    return str(row[0])


def _is_standby(connection: psycopg.Connection[Any]) -> bool:
    return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
