"""A stand-in for PgBouncer in session mode, in front of a real server."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread


@contextmanager
def session_pooler(host: str, port: int, *, refuses: bool) -> Iterator[int]:
    """Gives the pooler's port. It refuses unknown startup options, or ignores them."""

    def relay(client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection((host, port)) as server:
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65_536)
                    if not data:
                        return
                    if source is client and b"options\0" in data:
                        if refuses:
                            client.sendall(refusal)
                            return
                        data = _without_options(data)
                    (server if source is client else client).sendall(data)

    def accept() -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                Thread(target=relay, args=(listener.accept()[0],), daemon=True).start()

    message = b"SFATAL\0C08P01\0Munsupported startup parameter in options: batch.probe\0\0"
    refusal = b"E" + struct.pack(">I", len(message) + 4) + message
    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _without_options(startup: bytes) -> bytes:
    """The startup packet without its parameter ``options``."""
    fields = startup[8:].split(b"\0")
    at = fields.index(b"options")
    rest = startup[4:8] + b"\0".join(fields[:at] + fields[at + 2 :])
    return struct.pack(">I", len(rest) + 4) + rest
