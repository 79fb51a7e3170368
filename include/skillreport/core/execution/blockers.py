"""Who holds the locks that a session waits for. A second session asks the server, because the waiting one cannot."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.core.errors import BatchError, reason_of

log = logging.getLogger(__name__)

_SQL = Statements(Path(__file__).parent)

# Seconds between two questions. A session that another one blocks at two of them is stopped, after about a second.
_SECONDS = 0.5
_MOST_TIMES = 2

_LOCKED = ("55P03", "57014")


@dataclass(frozen=True)
class Blocker:
    """A session that holds a lock. ``login`` and ``application`` are as the server knows them. ``is_own``: a login of the batches."""

    pid: int
    login: str
    application: str
    is_own: bool

    def __str__(self) -> str:
        return f"PID {self.pid}、ログイン {self.login}、アプリケーション {self.application or 'なし'}"


class LockedError(BatchError):
    """Another session holds rows or a table of the tenants longer than the work could wait. A retry may help."""

    recoverable = True
    code = "55P03"

    def __init__(self, blocker: Blocker | None) -> None:
        holder = f"（{blocker}）" if blocker else ""
        super().__init__(
            f"ほかの処理{holder}が行や表を占有していて、待っても終わりませんでした。"
            "その処理を終わらせてから、やり直してください。"
        )


class _Watch:
    """Asks until it is stopped. ``blocker``: the last session that blocked ``waiting``."""

    def __init__(
        self, platform: psycopg.Connection, waiting: psycopg.Connection, pid: int, *, stops: bool
    ) -> None:
        self._platform, self._waiting, self._pid, self._stops = platform, waiting, pid, stops
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self.blocker: Blocker | None = None

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()

    def _ask(self) -> None:
        times, logins = 0, [self._platform.info.user, self._waiting.info.user]
        while not self._is_over.wait(_SECONDS):
            try:
                row = _SQL.execute(self._platform, "blocker", pid=self._pid, logins=logins).fetchone()
                blocker = Blocker(*row) if row else None
                self.blocker = blocker or self.blocker
                times = times + 1 if blocker and not blocker.is_own else 0
                if self._stops and times >= _MOST_TIMES:
                    self._waiting.cancel()
                    return
            except psycopg.Error as error:
                log.warning("The server could not say who holds a lock: %s", reason_of(error))
                return


@contextmanager
def blockers_named(
    platform: psycopg.Connection, waiting: psycopg.Connection, pid: int, *, stops: bool
) -> Iterator[None]:
    """Name the session that blocks the block's statements. ``platform`` must not be used meanwhile. ``pid`` is the server's number of
    the session ``waiting``.

    ``stops``: a session of another login that blocks ``waiting`` for about a second ends its statement. Sessions of the batches' own logins
    finish soon, for example that of a shard that takes the numbers of invoices.
    :raises LockedError: the statement was stopped, or a lock or time limit ended it.
    """
    watch = _Watch(platform, waiting, pid, stops=stops)
    watch.start()
    try:
        try:
            yield
        finally:
            watch.end()
    except psycopg.Error as error:
        if error.sqlstate in _LOCKED and (watch.blocker or error.sqlstate == "55P03"):
            raise LockedError(watch.blocker) from error
        raise
