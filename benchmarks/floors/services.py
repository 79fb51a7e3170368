"""Sending compared with raw sockets to the same stand-in, and a backup compared with ``pg_dump``."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path

from typing_extensions import override

from benchmarks.backup import bare_dump, run_backup
from benchmarks.floors.comparison import Comparison, Site, require_equal
from benchmarks.measurement import Measurement, measure
from benchmarks.notifications import DAY, MESSAGES_PER_TENANT, prepare, send_all
from benchmarks.scale_world import LAST_DAY
from include.skillreport.messaging.channels.slack import SLACK
from local_stack.stand_ins.recorder import Arrived

# As many workspaces as a sender works on at the same time.
_WORKSPACES = 100
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


def sending(site: Site) -> Iterator[Comparison]:
    """All messages of 100 workspaces. The stand-in is another process on the same cores."""
    services = site.services
    dsn = prepare(site.databases, site.new_name(), _WORKSPACES, MESSAGES_PER_TENANT, services)
    before = len(services.messages)
    ours = measure(partial(send_all, services.allowed_hosts), dsn, DAY)
    arrived = services.messages[before:]
    requests = [_request(number, message) for number, message in enumerate(arrived)]
    floor = measure(partial(send_raw, services.http_port, _WORKSPACES * SLACK.in_flight, requests), dsn, DAY)
    assert len(arrived) == _WORKSPACES * MESSAGES_PER_TENANT, "messages are missing"
    require_equal("sending", _contents(services.messages[before + len(arrived) :]), _contents(arrived))
    yield Comparison("BATCH-019-01 sending", f"{len(arrived):,} messages", 1.3, [floor], [ours])


def _request(number: int, message: Arrived) -> bytes:
    """The request with the same message, by a workspace of the floor's own: a workspace may only send a number of messages."""
    body = json.dumps({"channel": message.destination, "text": message.text, **message.options}).encode()
    return (
        b"POST /api/chat.postMessage HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Authorization: Bearer xoxb-floor-%d\r\nContent-Type: application/json; charset=utf-8\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (number // MESSAGES_PER_TENANT, len(body), body)
    )


def _contents(messages: Sequence[Arrived]) -> list[str]:
    return sorted(json.dumps([each.destination, each.text, each.rich, each.options]) for each in messages)


def send_raw(port: int, connections: int, requests: Sequence[bytes], dsn: str, day: date) -> None:  # noqa: ARG001 - the signature of Work
    """Send the requests over this many connections. A connection sends its next request after the answer to the last one."""
    asyncio.run(_send_raw(port, connections, list(requests)))


async def _send_raw(port: int, connections: int, waiting: list[bytes]) -> None:
    loop = asyncio.get_running_loop()
    lines = [_Connection(waiting) for _ in range(min(connections, len(waiting)))]
    for line in lines:
        await loop.create_connection(lambda line=line: line, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*(line.is_over for line in lines))


class _Connection(asyncio.Protocol):
    """Sends requests until none is left. ``is_over`` fails if the service closes the connection before that."""

    def __init__(self, waiting: list[bytes]) -> None:
        self.is_over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting = waiting
        self._answer = b""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send_next()

    @override
    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        length = _CONTENT_LENGTH.search(head + b"\r\n")
        if end and length and len(body) >= int(length[1]):
            self._answer = b""
            self._send_next()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if not self.is_over.done():
            self.is_over.set_exception(exc or ConnectionResetError("the service has closed the connection"))

    def _send_next(self) -> None:
        if self._waiting:
            self._transport.write(self._waiting.pop())
        else:
            self.is_over.set_result(None)
            self._transport.close()


def backup(site: Site) -> Iterator[Comparison]:
    """The dump of BATCH-001, which also stores and hashes each file. Its check then restores the dump and compares each table."""
    with site.copied(site.planted) as dsn:
        bare_folder, folder = site.new_folder(), site.new_folder()
        floor = measure(partial(bare_dump, str(bare_folder)), dsn, LAST_DAY)
        whole = measure(partial(run_backup, str(folder), False), dsn, LAST_DAY)
        seconds = float(_step(folder, "dump"))
        require_equal("backup", _dumped_tables(bare_folder / "bare"), _dumped_tables(_dump_of(folder)))
    ours = Measurement(seconds, whole.peak_memory_bytes)
    yield Comparison("BATCH-001 backup", site.amount, 1.3, [floor], [ours])


def _step(folder: Path, name: str) -> str:
    lines = (line.split() for line in (folder / "steps").read_text().splitlines())
    return next(seconds for step, seconds, _ in lines if step == name)


def _dump_of(folder: Path) -> Path:
    (made,) = (folder / "backups").iterdir()
    return made / "dump"


def _dumped_tables(folder: Path) -> int:
    """The number of files with the rows of a table."""
    return len(list(folder.rglob("*.dat*")))
