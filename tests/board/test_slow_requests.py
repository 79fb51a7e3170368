"""Slow clients on a real HTTP server: each delays only its own requests."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace

import psycopg
import pytest
import uvicorn
from fastapi.routing import APIRoute

from skill_batch.board import bodies
from skill_batch.board.application import create_app
from skill_batch.board.at_once import AT_ONCE
from include.skillreport.core.catalog import TENANT_BILLING
from tests.board.conftest import Board, token
from tests.waiting import LIMIT_SECONDS, wait_until
from tests.worlds.night_rows import run

pytestmark = pytest.mark.tenants("A")

FORM = "/operations/operate_invoices/approve"


@pytest.fixture
def http_server(board: Board) -> Iterator[uvicorn.Server]:
    """An HTTP server with the board's app, in the event loop of the test's board."""
    server = uvicorn.Server(uvicorn.Config(board.app, port=0, lifespan="off", log_level="critical"))
    served = board.loop.start_task_soon(server.serve)
    wait_until(lambda: server.started or served.done(), "the HTTP server serves")
    yield server
    server.should_exit = server.force_exit = True
    served.result(LIMIT_SECONDS)


@pytest.fixture
def port(http_server: uvicorn.Server) -> int:
    """The server's port."""
    number: int = http_server.servers[0].sockets[0].getsockname()[1]
    return number


def sent(
    port: int, role: str, path: str, *, method: str = "POST", length: int | str = 200_000, body: bytes = b""
) -> socket.socket:
    """A connection on which a request has begun. Its body is incomplete, unless ``body`` has ``length`` bytes."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_SECONDS)
    lines = (
        f"{method} /skill-batch-board{path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Cookie: _token={token(role)}",
        "HX-Request: true",
        "Sec-Fetch-Site: same-origin",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {length}",
    )
    connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    return connection


def answered(connection: socket.socket) -> int:
    """The status of the answer."""
    found = re.match(rb"HTTP/1.1 (\d+)", connection.recv(64))
    assert found
    return int(found[1])


@pytest.mark.parametrize("role", ["viewer", "user"])
def test_slow_bodies_of_one_user_delay_no_other(port: int, role: str) -> None:
    with ExitStack() as slow:
        for _ in range(30):
            slow.enter_context(sent(port, role, FORM, body=b"reason="))
        # All three are complete, and the third needs a slot twice.
        for other in (
            sent(port, "admin", "/", method="GET", length=0),
            sent(port, "op", FORM, length=0),
            sent(port, "admin", "/messages/to", length=8, body=b"address="),
        ):
            with closing(other):
                assert answered(other) in (200, 422)


@pytest.mark.slow("waits for slow or throttling services")
def test_slow_readers_of_one_user_delay_no_other(http_server: uvicorn.Server, port: int) -> None:
    path = "/skill-batch-board/static/htmx.min.js"
    asked = f"GET {path} HTTP/1.1\r\nHost: x\r\nCookie: _token={token('viewer')}\r\n\r\n".encode()
    with ExitStack() as slow:
        for _ in range(AT_ONCE):
            reader = slow.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            reader.connect(("127.0.0.1", port))
            reader.sendall(asked * 40)
        wait_until(lambda: _unread(http_server) >= AT_ONCE, "answers wait for their readers")
        with closing(sent(port, "admin", "/", method="GET", length=0)) as other:
            assert answered(other) == 200


def _unread(server: uvicorn.Server) -> int:
    """The number of connections of which the client does not read the answer."""
    return sum(each.flow.write_paused for each in list(server.server_state.connections))  # type: ignore[union-attr]


def test_without_the_right_no_body_is_read(port: int, host: psycopg.Connection) -> None:
    run(host, TENANT_BILLING, succeeded=("A",), run_id="manual__1")
    posts = [each for each in create_app().routes if isinstance(each, APIRoute) and "POST" in each.methods]
    assert len(posts) > 6
    for route in posts:
        path = (
            route.path.format_map(
                {
                    "dag_id": "operate_invoices",
                    "name": "approve",
                    "run_id": "manual__1",
                    "suppression_id": "x",
                    "path:path": "x",
                }
            )
            if ":path" not in route.path
            else "/x"
        )
        with closing(sent(port, "viewer", path)) as connection:
            assert answered(connection) == (404 if ":path" in route.path else 403), route.path


def test_a_body_that_never_ends_is_refused(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_DIALOG", replace(bodies._DIALOG, seconds=0.5))
    with ExitStack() as slow:
        # Two are being read, and the third waits for them.
        connections = [slow.enter_context(sent(port, "user", FORM, body=b"reason=")) for _ in range(3)]
        assert [answered(each) for each in connections] == [408, 408, 408]
        for each in connections:
            while each.recv(1 << 16):
                pass  # the server closes the connection


def test_a_body_that_is_too_large_is_refused_unread(port: int) -> None:
    for length in ("300001", "9" * 18):
        with closing(sent(port, "user", FORM, length=length)) as connection:
            assert answered(connection) == 413


def test_a_client_that_hangs_up_frees_its_turn(port: int, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        sent(port, "user", FORM, body=b"reason=").close()
    with closing(sent(port, "user", FORM, length=7, body=b"reason=")) as connection:
        assert answered(connection) in (200, 422)
    assert "The board failed" not in caplog.text
