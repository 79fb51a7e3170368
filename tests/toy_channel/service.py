"""The toy channel's service, on a real socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.serving import serving

KEY = "toy-very-secret"


@dataclass
class ToyService:
    """The messages that arrived. ``failures`` are the statuses of the next answers to a message."""

    host: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)

    def answer(self, key: str | None, message: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
        """The status and the body of an answer."""
        if key != f"Bearer {KEY}":
            return 401, {}
        if message is None:
            return 200, {"name": "bot"}
        if self.failures:
            return self.failures.pop(0), {}
        self.messages.append(message)
        return 200, {"id": len(self.messages)}


@contextmanager
def toy_service() -> Iterator[ToyService]:
    """The service, as long as the context lasts."""
    service = ToyService()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(None)

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, message: dict[str, Any] | None) -> None:
            status, body = service.answer(self.headers["Authorization"], message)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.host = f"127.0.0.1:{server.server_port}"
    with serving(server):
        yield service
