"""A stand-in for a connection pooler in transaction mode that passes startup options on, in front of a real server."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Condition, Thread

# The client asks whether the server speaks TLS or GSSAPI, before its startup packet.
_ENCRYPTION = (80_877_103, 80_877_104)
_LOGIN_OK, _SASL_FINAL = 0, 12


@contextmanager
def transaction_pooler(host: str, port: int, *, takes_newest: bool) -> Iterator[int]:
    """Gives the pooler's port. A transaction gets an idle session: the one that was returned last, or the one that has waited longest."""
    pool = _Pool(takes_newest)

    def relay(client: socket.socket) -> None:
        with suppress(OSError), client:
            _serve(client, socket.create_connection((host, port)), pool)

    def accept() -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                Thread(target=relay, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        pool.close()


class _Pool:
    """The sessions that no transaction uses."""

    def __init__(self, takes_newest: bool) -> None:
        self._takes_newest = takes_newest
        self._idle: list[socket.socket] = []
        self._change = Condition()

    def put(self, server: socket.socket) -> None:
        with self._change:
            self._idle.append(server)
            self._change.notify()

    def take(self) -> socket.socket:
        with self._change:
            self._change.wait_for(lambda: self._idle)
            return self._idle.pop(-1 if self._takes_newest else 0)

    def close(self) -> None:
        for server in self._idle:
            server.close()


def _serve(client: socket.socket, own: socket.socket, pool: _Pool) -> None:
    """Log the client in with a separate session, put it into the pool, and give each transaction a session of the pool."""
    _log_in(client, own)
    pool.put(own)
    server: socket.socket | None = None
    while True:
        kind, data = _message(client)
        if kind == b"X":
            return
        server = server or pool.take()
        server.sendall(data)
        if kind in (b"S", b"Q") and _answer(server, client):
            pool.put(server)
            server = None


def _log_in(client: socket.socket, server: socket.socket) -> None:
    size, code = struct.unpack(">II", _received(client, 8))
    while code in _ENCRYPTION:
        client.sendall(b"N")
        size, code = struct.unpack(">II", _received(client, 8))
    server.sendall(struct.pack(">II", size, code) + _received(client, size - 8))
    while True:
        kind, data = _message(server)
        client.sendall(data)
        if kind == b"Z":
            return
        if kind == b"R" and struct.unpack(">I", data[5:9])[0] not in (_LOGIN_OK, _SASL_FINAL):
            server.sendall(_message(client)[1])


def _answer(server: socket.socket, client: socket.socket) -> bool:
    """Relay until the server is ready; returns whether the transaction is over."""
    while True:
        kind, data = _message(server)
        client.sendall(data)
        if kind == b"Z":
            return data[-1:] == b"I"


def _message(source: socket.socket) -> tuple[bytes, bytes]:
    """The type of the next message, and all its bytes."""
    head = _received(source, 5)
    return head[:1], head + _received(source, struct.unpack(">I", head[1:])[0] - 4)


def _received(source: socket.socket, size: int) -> bytes:
    """Receive this many bytes. :raises OSError: the other side has closed the connection."""
    data = b""
    while len(data) < size:
        part = source.recv(size - len(data))
        if not part:
            raise OSError("the connection is closed")
        data += part
    return data
