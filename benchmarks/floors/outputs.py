"""BATCH-018-02: its rows beside COPY of the same rows, its documents beside bare typesetting; and sending beside raw sockets."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import LiteralString, TypeVar

import psycopg
from psycopg import sql
from typing_extensions import override

from benchmarks.floors.comparison import Comparison, Site, require_equal
from benchmarks.measurement import measure, run_once
from benchmarks.place import integrate, queue
from benchmarks.scale_world import LAST_DAY, World, vacuum
from benchmarks.throttling import send_due
from include.skillreport.billing.documents.archive import write_documents
from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.documents.rendering import _TEMPLATE, _printed
from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.network import Network
from include.skillreport.core.typesetting import compile_pdf
from include.skillreport.messaging.channels.slack import SLACK
from local_stack.stand_ins.recorder import Arrived

T = TypeVar("T")

_SQL = Statements(Path(__file__).parent)
_BENCHMARKS_SQL = Statements(Path(__file__).parents[1])

MONTH = date(2026, 10, 1)
_DOCUMENTS = 300
# What records the run and not its result.
_BOOKKEEPING = frozenset({"execution_log", "tenant_outcome", "task_metric", "performance_metric"})
_LARGEST_ATTACHMENT = 10**7
# As many workspaces as a sender works on at the same time.
_WORKSPACES = 100
_MESSAGES = 50
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


def billing(site: Site) -> Iterator[Comparison]:
    """All invoices of a month, then the documents of the first of them."""
    with site.copied(site.planted) as dsn, site.copied(site.planted) as floor_dsn:
        for each in (dsn, floor_dsn):
            with psycopg.connect(each) as connection:
                _BENCHMARKS_SQL.execute(connection, "billing_month")
            vacuum(each)
        ours = measure(partial(run_once, TENANT_BILLING), dsn, MONTH)
        rows, folder = _written_tables(floor_dsn, dsn), site.new_folder()
        assert "invoice" in rows, "no invoice was made"
        _export(dsn, rows, folder)
        floor = measure(partial(import_rows, tuple(rows), str(folder)), floor_dsn, MONTH)
        for table in rows:
            require_equal(table, _digest(floor_dsn, table), _digest(dsn, table))
        yield Comparison("BATCH-018-02 billing, without documents", site.amount, 3.0, 12, [floor], [ours])
        yield _documents(site, dsn)


def import_rows(tables: Sequence[str], folder: str, dsn: str, _: date) -> None:
    """COPY the files of the tables into the empty tables."""
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        for table in tables:
            with cursor.copy(_named("COPY {} FROM STDIN (FORMAT binary)", table)) as copy:
                copy.write(Path(folder, table).read_bytes())


def _export(dsn: str, tables: Sequence[str], folder: Path) -> None:
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        for table in tables:
            statement = _named("COPY {} TO STDOUT (FORMAT binary)", table)
            with (folder / table).open("wb") as file, cursor.copy(statement) as copy:
                file.writelines(copy)


def _named(statement: LiteralString, table: str) -> sql.Composed:
    return sql.SQL(statement).format(sql.Identifier("batch", table))


def _written_tables(empty_dsn: str, dsn: str) -> list[str]:
    """The tables that the run has filled, in an order in which their foreign keys hold."""
    with psycopg.connect(empty_dsn) as empty, psycopg.connect(dsn) as full:
        references = {table: set(needed) for table, needed in _SQL.execute(full, "batch_tables").fetchall()}
        order = TopologicalSorter(references).static_order()
        return [
            table
            for table in order
            if table not in _BOOKKEEPING and _count(full, table) and not _count(empty, table)
        ]


def _count(connection: psycopg.Connection, table: str) -> int:
    row = connection.execute(_named("SELECT count(*) FROM {}", table)).fetchone()
    assert row is not None
    return int(row[0])


def _digest(dsn: str, table: str) -> object:
    query = _named("SELECT md5(string_agg(row::text, '' ORDER BY row::text)) FROM {} AS row", table)
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchone()


def _documents(site: Site, dsn: str) -> Comparison:
    store, pdfs = site.new_folder(), site.new_folder()
    with psycopg.connect(dsn) as connection:
        issued = _BENCHMARKS_SQL.execute(connection, "issued_invoices").fetchmany(_DOCUMENTS)
    tenants = [str(tenant_id) for tenant_id, *_ in issued]
    ours = measure(partial(write_in_shares, str(store), tuple(tenants)), dsn, MONTH)
    invoices = sorted(store.rglob("*.json"))
    inputs = site.new_folder() / "inputs.json"
    inputs.write_text(json.dumps([_input(path) for path in invoices]))
    floor = measure(partial(typeset_in_shares, str(inputs), str(pdfs)), dsn, MONTH)
    made, bare = ([path.read_bytes() for path in sorted(folder.rglob("*.pdf"))] for folder in (store, pdfs))
    assert made, "no document was written"
    require_equal("documents", bare, made)
    return Comparison("BATCH-018-02 documents, all cores", f"{len(made):,} PDFs", 1.2, 1.5, [floor], [ours])


def _input(path: Path) -> tuple[str, str, str]:
    """The name of an invoice's PDF, the data of its template, and its date."""
    invoice = Invoice.model_validate_json(path.read_bytes())
    dated = invoice.issued_on or invoice.period_end
    data = json.dumps(_printed(invoice) | {"sample_mark": None}, ensure_ascii=False)
    return path.with_suffix(".pdf").name, data, dated.isoformat()


def write_in_shares(folder: str, tenant_ids: Sequence[str], dsn: str, month: date) -> None:
    """Write the tenants' documents with one process per core."""
    _in_shares(partial(_write_share, folder, dsn, month), tenant_ids)


def _write_share(folder: str, dsn: str, month: date, tenant_ids: Sequence[str]) -> None:
    store = ObjectStore(Path(folder))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET ROLE batch_tenant")
        for tenant_id in tenant_ids:
            write_documents(connection, tenant_id, month, store, largest_attachment=_LARGEST_ATTACHMENT)


def typeset_in_shares(inputs: str, folder: str, dsn: str, _: date) -> None:  # noqa: ARG001 - the signature of Work
    """Typeset the documents with one process per core."""
    _in_shares(partial(_typeset_share, folder), json.loads(Path(inputs).read_text()))


def _typeset_share(folder: str, inputs: Sequence[tuple[str, str, str]]) -> None:
    for name, data, dated in inputs:
        pdf = compile_pdf(_TEMPLATE, "invoice", data, dated=date.fromisoformat(dated), standards="a-2a")
        Path(folder, name).write_bytes(pdf)


def _in_shares(work: Callable[[Sequence[T]], None], parts: Sequence[T]) -> None:
    """Each process works on every n-th part."""
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(work, [parts[number::cores] for number in range(cores)]))


def sending(site: Site) -> Iterator[Comparison]:
    """All messages of 100 workspaces. The stand-in is another process on the same cores."""
    services = site.services
    dsn = site.place.plant(site.new_name(), World(_WORKSPACES, users=0, requests=0))
    # A workspace accepts 60 messages at once, and then 600 a minute.
    integrate(dsn, SLACK, {"bot_token": "xoxb-{}"}, {"base_url": services.slack_base_url})
    queue(dsn, SLACK, "C{}", _MESSAGES)
    before = len(services.messages)
    ours = measure(partial(send_due, Network(allowed_hosts=services.allowed_hosts)), dsn, LAST_DAY)
    arrived = services.messages[before:]
    requests = [_request(number, message) for number, message in enumerate(arrived)]
    floor = measure(
        partial(send_raw, services.http_port, _WORKSPACES * SLACK.in_flight, requests), dsn, LAST_DAY
    )
    assert len(arrived) == _WORKSPACES * _MESSAGES, "messages are missing"
    require_equal("sending", _contents(services.messages[before + len(arrived) :]), _contents(arrived))
    yield Comparison("BATCH-019-01 sending", f"{len(arrived):,} messages", 1.3, 6, [floor], [ours])


def _request(number: int, message: Arrived) -> bytes:
    """The request with the same message, by a workspace of the floor's own: a workspace may only send a number of messages."""
    body = json.dumps({"channel": message.destination, "text": message.text, **message.options}).encode()
    return (
        b"POST /api/chat.postMessage HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Authorization: Bearer xoxb-floor-%d\r\nContent-Type: application/json; charset=utf-8\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (number // _MESSAGES, len(body), body)
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
