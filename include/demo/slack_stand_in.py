"""A local server that speaks the part of Slack's Web API that the batches use, records what arrived and shows it on a page.

``POST /api/chat.postMessage`` and ``/api/auth.test`` answer as Slack does: HTTP 200 with ``ok`` true or false. ``GET /`` is a page
for people, ``GET /messages`` the record as JSON.
"""

from __future__ import annotations

import html
import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

_PAGE = """<!doctype html><html lang="ja"><meta charset="utf-8"><title>Slack stand-in</title>
<style>body{{font-family:sans-serif;max-width:48rem;margin:2rem auto}}pre{{white-space:pre-wrap;background:#f6f6f6;padding:1rem;
border-left:4px solid #c33}}</style><h1>Slack stand-in</h1><p>{count} 件（新しい順）</p>{messages}</html>"""


class SlackStandIn:
    """The server, on loopback. ``port`` 0 takes a free one; ``record`` appends each message to a file of JSON lines."""

    def __init__(self, port: int = 0, record: Path | None = None) -> None:
        self.messages: list[dict[str, Any]] = []
        # Answers to give instead of "ok", in order: (HTTP status, body).
        self.failures: deque[tuple[int, dict[str, Any]]] = deque()
        self._record = record
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"stand_in": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def base_url(self) -> str:
        """What the Slack connection's extra ``base_url`` points at."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/api/"

    def __enter__(self) -> SlackStandIn:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, token: str, payload: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """What Slack would answer to one call."""
        with self._lock:
            if self.failures:
                return self.failures.popleft()
            if not token.startswith("xoxb-"):
                return 200, {"ok": False, "error": "invalid_auth" if token else "not_authed"}
            if method == "auth.test":
                return 200, {"ok": True, "team": "stand-in", "user": "batch"}
            if method != "chat.postMessage":
                return 200, {"ok": False, "error": "unknown_method"}
            if not payload.get("channel"):
                return 200, {"ok": False, "error": "channel_not_found"}
            if not payload.get("text") and not payload.get("blocks"):
                return 200, {"ok": False, "error": "no_text"}
            self.messages.append(payload)
            if self._record:
                with self._record.open("a", encoding="utf-8") as record:
                    record.write(json.dumps(payload, ensure_ascii=False) + "\n")
            return 200, {"ok": True, "channel": payload["channel"], "ts": f"{len(self.messages)}.000000"}

    def page(self) -> str:
        """The messages, newest first."""
        with self._lock:
            shown = "".join(
                f"<pre>{html.escape(message.get('text', ''))}</pre>" for message in reversed(self.messages)
            )
            return _PAGE.format(count=len(self.messages), messages=shown)


class _Handler(BaseHTTPRequestHandler):
    stand_in: ClassVar[SlackStandIn]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        try:
            payload = json.loads(body) if body else {}
        except ValueError:
            payload = {}
        status, answer = self.stand_in.answer(self.path.rsplit("/", 1)[-1], token, payload)
        self._send(status, "application/json", json.dumps(answer))

    def do_GET(self) -> None:
        if self.path == "/messages":
            self._send(200, "application/json", json.dumps(self.stand_in.messages, ensure_ascii=False))
        else:
            self._send(200, "text/html; charset=utf-8", self.stand_in.page())

    def _send(self, status: int, content_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: what arrived is on the page."""
