"""Servers of the standard library's ``socketserver`` (also werkzeug's), on a thread of the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer

# How often a server looks whether it is to stop. The default of half a second would delay the end of each test.
_POLL_SECONDS = 0.02


@contextmanager
def serving(server: BaseServer) -> Iterator[None]:
    """Serve until the block ends, then close the server's socket."""
    with server:
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": _POLL_SECONDS}, daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
