"""A server that answers every request with bytes of the test's choice, and a measurement of the memory for reading them."""

from __future__ import annotations

import gzip
import re
import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from threading import Thread

MEBIBYTE = 1024**2

# The head of an answer whose body ends with the connection.
ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"

# Far more than a client may store, and small enough to be created quickly.
_BOMB_SIZE = 64 * MEBIBYTE


@contextmanager
def answering(raw: bytes, and_then: bytes = b"", *, speaks_first: bool = False) -> Iterator[int]:
    """The port of a server that reads requests and answers with these bytes, whatever they are, and then with others without end.

    With ``speaks_first`` it does not wait for a request.
    """

    def answer(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with suppress(OSError), connection:
                if not speaks_first:
                    _read_request(connection)
                connection.sendall(raw)
                while and_then:
                    connection.sendall(and_then)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=answer, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _read_request(connection: socket.socket) -> None:
    """Read it completely: unread bytes would reset the connection, and the answer would be lost."""
    request = b""
    while b"\r\n\r\n" not in request:
        if not (part := connection.recv(65_536)):
            return
        request += part
    head, _, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    missing = int(length[1]) - len(body) if length else 0
    while missing > 0 and (part := connection.recv(65_536)):
        missing -= len(part)


def http(content_type: str, body: bytes, more: str = "", *, status: str = "200 OK") -> bytes:
    """A whole answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


@cache
def bomb() -> bytes:
    """A small answer of JSON that becomes ``_BOMB_SIZE`` bytes once it is decompressed."""
    body = gzip.compress(b'{"ok": true, "padding": "' + b"x" * _BOMB_SIZE + b'"}', compresslevel=1)
    return http("application/json", body, "Content-Encoding: gzip\r\n")


@contextmanager
def memory_within(most: int) -> Iterator[None]:
    """Fail if the block allocates more bytes at once than this."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most, f"{peak:,} bytes"
