"""The network fails for 90 s in the middle of each batch: between the tasks and PostgreSQL, the mail server and the chat services.

Each batch has a database and proxies of its own, which are cut at the same time. The proxies close all connections and refuse new ones, or
keep silent. In production a task is retried after 2 s and 4 s, so a longer cut fails it, and an operator clears it afterwards.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from time import perf_counter
from types import TracebackType
from typing import Self

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from benchmarks.place import Found, Place
from benchmarks.shocks.night import (
    PASSWORD,
    ROLES,
    Left,
    Night,
    Nights,
    allow_tcp,
    left,
    run_night,
    show_directories,
)
from benchmarks.shocks.world import SQL, Services, statuses
from include.skillreport.core.catalog import BATCHES, NOTIFICATION_RETRY, SCHEDULED_NOTIFICATIONS
from local_stack.data_management import create_backup_login
from local_stack.stand_ins import StandIns

_SILENT, _CLOSED = "silent", "closed"
_BACKUP = {"login": "shock_backup", "password": PASSWORD}
_PROCESSES = 14
# After the cut messages may wait for a retry, or an operator must say whether they have arrived. Their rows say so.
_KNOWN = {"sent", "retry", "pending", "ambiguous", "merged"}
_SENDING = (SCHEDULED_NOTIFICATIONS.id, NOTIFICATION_RETRY.id)
_MESSAGE_TABLES = ("outbox", "HIS_NotificationLog")
_CHUNK = 65_536


class Proxy:
    """A TCP proxy that can be cut. It forwards a free port of 127.0.0.1 to another port, in a thread, during the ``with`` block."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open = asyncio.Event()
        self._is_cut = False
        self._writers = set[asyncio.StreamWriter]()
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def cut(self, seconds: float, *, is_silent: bool) -> None:
        """Cut the network now, for these seconds. Silent: connections stay open, and what is sent arrives after the cut."""
        asyncio.run_coroutine_threadsafe(self._cut(seconds, is_silent), self._loop)

    async def _start(self) -> None:
        self._open.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        self._abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _cut(self, seconds: float, is_silent: bool) -> None:
        if is_silent:
            self._open.clear()
        else:
            self._is_cut = True
            self._abort()
        await asyncio.sleep(seconds)
        self._is_cut = False
        self._open.set()

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            onward, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        await asyncio.gather(self._forward(reader, back), self._forward(onward, writer))
        self._writers -= {writer, back}

    async def _forward(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(_CHUNK):
                await self._open.wait()
                target.write(data)
                await target.drain()
        except OSError:
            target.transport.abort()
        else:
            target.close()


@dataclass(frozen=True)
class Cut:
    """A run to disturb: its database, its batch, the port of the server, the seconds and the kind of the cut, the services' URL."""

    night: Night
    batch_id: str
    server_port: int
    seconds: float
    kind: str
    base_url: str


@dataclass(frozen=True)
class End:
    """How a run ended, and what it has left."""

    retried: int
    cleared: int
    left: Left
    problem: str = ""


def run(cut: Cut) -> End:
    """One run through proxies that are cut in its middle, with stand-ins of its own."""
    with ExitStack() as stack:
        stand_ins = stack.enter_context(StandIns())
        ports = (cut.server_port, stand_ins.http_port, stand_ins.smtp_port)
        proxies = [stack.enter_context(Proxy(port)) for port in ports]
        night = _through(cut.night, *(proxy.port for proxy in proxies))
        with psycopg.connect(cut.night.dsn) as connection:
            show_directories(stand_ins, SQL.column(connection, "tenant_ids"))

        def left_now() -> Left:
            _move_services(cut.night, cut.base_url)
            return left(cut.night, stand_ins.messages)

        ends_at = time.monotonic()

        def middle() -> None:
            nonlocal ends_at
            ends_at = time.monotonic() + cut.seconds
            for proxy in proxies:
                proxy.cut(cut.seconds, is_silent=cut.kind == _SILENT)

        def wait_for_network() -> None:
            time.sleep(max(0.0, ends_at - time.monotonic()) + 0.5)

        try:
            result, attempts = run_night(night, cut.batch_id, middle=middle, before_clear=wait_for_network)
        except Exception as error:  # the table shows it
            return End(0, 0, left_now(), f"{type(error).__name__}: {error}"[:300])
        # What a mail server has received during the cut arrives now.
        wait_for_network()
        problem = "" if result.status == "completed" else result.sentence()[:300]
        return End(len(attempts.retried), len(attempts.cleared), left_now(), problem)


def _through(night: Night, database: int, http: int, smtp: int) -> Night:
    _move_services(night, f"http://127.0.0.1:{http}/api/")
    name = conninfo_to_dict(night.dsn)["dbname"]

    def login(user: str) -> str:
        return make_conninfo(host="127.0.0.1", port=database, dbname=name, user=user, password=PASSWORD)

    return replace(
        night,
        logins={role: login(role) for role in ROLES},
        services=Services(smtp, frozenset({f"127.0.0.1:{http}"})),
        backup=login(_BACKUP["login"]),
    )


def _move_services(night: Night, base_url: str) -> None:
    with psycopg.connect(night.dsn) as connection:
        SQL.execute(connection, "move_services", config=json.dumps({"base_url": base_url}))


def _problems(cut: Cut, end: End, expected: Left) -> list[str]:
    name = f"{cut.batch_id} {cut.kind}"
    if end.problem:
        return [f"{name}: {end.problem}"]
    if cut.batch_id not in _SENDING:
        return [f"{cut.kind} {problem}" for problem in end.left.problems(cut.batch_id, expected)]
    counts = statuses(cut.night.dsn)
    more = (end.left.messages - expected.messages).total()
    tables = [
        table
        for table in {*end.left.rows, *expected.rows}
        if table not in _MESSAGE_TABLES and end.left.rows.get(table) != expected.rows.get(table)
    ]
    return [
        *([f"{name}: {more} messages arrived twice"] if more else []),
        *([f"{name}: rows differ in {', '.join(sorted(tables))}"] if tables else []),
        *([f"{name}: messages are {dict(counts)}"] if not set(counts) <= _KNOWN else []),
        *([f"{name}: messages lost: {dict(counts)}"] if end.left.messages.total() < counts["sent"] else []),
    ]


def measurement(place: Place) -> Found:
    """No row and no message is lost or doubled. What an operator must clear or decide says so."""
    tenants, seconds = place.size(24, 12), float(place.size(90, 8))
    found = Found(f"{len(BATCHES)} batches, {seconds:.0f} s, 2 kinds", "nothing lost or doubled")
    spawn = multiprocessing.get_context("spawn")
    start = perf_counter()
    with StandIns() as stand_ins, ProcessPoolExecutor(_PROCESSES, spawn) as pool:
        nights = Nights(place, tenants, stand_ins)
        expected = {spec.id: nights.undisturbed(spec.id) for spec in BATCHES}
        cuts = []
        for spec in BATCHES:
            for kind in (_CLOSED, _SILENT):
                night = nights.copy(spec.id)
                with psycopg.connect(night.dsn, autocommit=True) as connection:
                    allow_tcp(connection)
                    create_backup_login(connection, _BACKUP)
                cuts.append(Cut(night, spec.id, place.server.port, seconds, kind, stand_ins.slack_base_url))
        ends = list(pool.map(run, cuts))
    for cut, end in zip(cuts, ends, strict=True):
        found.problems += _problems(cut, end, expected[cut.batch_id])
    found.seconds = perf_counter() - start
    found.result = (
        f"{len(ends)} runs: {sum(end.retried for end in ends)} tasks retried,"
        f" {sum(end.cleared for end in ends)} cleared"
    )
    return found
