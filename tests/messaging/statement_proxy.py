"""A TCP proxy of PostgreSQL that counts the statements of a worker, and stops before or after one of them.

It reads the frontend/backend protocol (PostgreSQL's documentation, chapter 54), so the worker runs unchanged.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Condition, Event, Lock, Thread
from typing import BinaryIO

from psycopg.conninfo import conninfo_to_dict, make_conninfo

# Frontend: a simple query, and an execution of the extended protocol, which a pipeline uses too.
_STATEMENTS = b"QE"
# Backend: a statement has ended (CommandComplete, ErrorResponse, EmptyQueryResponse, PortalSuspended).
_ENDS = b"CEIs"
_FLUSH = b"H\x00\x00\x00\x04"

# Seconds for the statement that is stopped after.
_STATEMENT_SECONDS = 30


@dataclass
class StatementProxy:
    """Counts all statements of all its connections.

    With ``stop_at`` (the first is 1), it forwards no more from this statement on: with ``after``, the server has executed it and
    the worker gets no answer; otherwise the server never receives it. ``stop_when`` stops before the first statement for which it is
    true. ``stopped`` is set then.
    """

    dsn: str
    stop_at: int = 0
    after: bool = False
    stop_when: Callable[[], bool] = lambda: False
    statements: int = 0
    stopped: Event = field(default_factory=Event)
    _lock: Lock = field(default_factory=Lock)
    _closing: Event = field(default_factory=Event)

    @contextmanager
    def listening(self, application_name: str) -> Iterator[str]:
        """Gives the conninfo of the database through the proxy. All connections are closed at the end."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            Thread(target=self._accept, args=(listener,), daemon=True).start()
            try:
                yield make_conninfo(
                    self.dsn,
                    host="127.0.0.1",
                    port=listener.getsockname()[1],
                    # The proxy reads the messages.
                    sslmode="disable",
                    gssencmode="disable",
                    application_name=application_name,
                )
            finally:
                self._closing.set()
                listener.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                client = listener.accept()[0]
                # Otherwise each small message waits for the acknowledgement of the one before, 40 ms.
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                Thread(target=_Relay(self, client, self._connected()).run, daemon=True).start()

    def _connected(self) -> socket.socket:
        about = conninfo_to_dict(self.dsn)
        host, port = str(about["host"]), str(about["port"])
        if not host.startswith("/"):
            server = socket.create_connection((host, int(port)))
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return server
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def next_statement(self) -> int:
        """Count a statement; returns its number."""
        with self._lock:
            self.statements += 1
            return self.statements

    def stop(self) -> None:
        """Forward nothing more on this connection until the proxy closes."""
        self.stopped.set()
        self._closing.wait()


class _Relay:
    """One connection."""

    def __init__(self, proxy: StatementProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._executed = 0
        self._ended = 0
        self._progress = Condition()
        self._withholds = False

    def run(self) -> None:
        with self._client, self._server:
            answers = Thread(target=self._answers, daemon=True)
            answers.start()
            with suppress(OSError), self._client.makefile("rb") as messages:
                self._forward(messages)
            with suppress(OSError):
                self._server.shutdown(socket.SHUT_RDWR)
            answers.join()

    def _forward(self, messages: BinaryIO) -> None:
        # The start-up message has no type, and begins with a zero.
        message = _read(messages, 0)
        while message:
            if message[:1] in _STATEMENTS:
                self._execute(message)
            else:
                self._server.sendall(message)
            message = _read(messages, 1)

    def _execute(self, message: bytes) -> None:
        proxy = self._proxy
        number = proxy.next_statement()
        if (number == proxy.stop_at and not proxy.after) or proxy.stop_when():
            proxy.stop()
            return
        self._executed += 1
        if number != proxy.stop_at:
            self._server.sendall(message)
            return
        self._withholds = True
        # In a pipeline, the server answers at a flush.
        self._server.sendall(message + (_FLUSH if message[:1] == b"E" else b""))
        with self._progress:
            ended = self._progress.wait_for(lambda: self._ended >= self._executed, _STATEMENT_SECONDS)
        assert ended, "the statement did not end"
        proxy.stop()

    def _answers(self) -> None:
        with suppress(OSError), self._server.makefile("rb") as messages:
            while message := _read(messages, 1):
                if not self._withholds:
                    self._client.sendall(message)
                if message[:1] in _ENDS:
                    with self._progress:
                        self._ended += 1
                        self._progress.notify_all()
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)


def _read(messages: BinaryIO, prefix: int) -> bytes:
    """One message: a type of ``prefix`` bytes, and its length with itself; empty at the end of the connection."""
    head = messages.read(prefix + 4)
    if len(head) < prefix + 4:
        return b""
    return head + messages.read(int.from_bytes(head[prefix:], "big") - 4)
