"""One setting moves all ports of the local stack."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from include.skillreport.core.errors import BatchError
from local_stack.__main__ import up
from local_stack.airflow_settings import load_airflow_settings
from local_stack.notifications import move_channels
from local_stack.ports import (
    FIRST_OUTGOING_PORT,
    LARGEST_OFFSET,
    PORT_OFFSET,
    UI_PORT,
    Ports,
    port_problem,
    require_free,
    require_openable,
)
from local_stack.stack import EXTERNAL_DATABASE, LocalStack
from tests.conftest import Database


def test_every_port_of_the_settings_file_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(EXTERNAL_DATABASE, raising=False)
    monkeypatch.setenv(PORT_OFFSET, "1000")
    stack = LocalStack(tmp_path)

    assert stack.ports == Ports(database=26432, http=26480, smtp=26425, imap=26443, ui=9080)
    assert stack.environment()["AIRFLOW__API__PORT"] == "9080"
    assert stack.environment()["AIRFLOW__API__BASE_URL"] == "http://localhost:9080"
    assert "port=26432" in stack.environment()["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    # No address of the file is left where it was.
    moved = f"{stack.settings.connections} {stack.settings.variables}"
    assert re.findall(r"\b25\d{3}\b", moved) == []
    assert stack.settings.variables["skill_batch_allowed_hosts"] == "127.0.0.1:26480"


def test_addresses_of_other_machines_stay(tmp_path: Path) -> None:
    file = tmp_path / "airflow_settings.yaml"
    file.write_text(
        """
        airflow:
          connections:
            - {conn_id: near, conn_type: http, conn_host: 127.0.0.1, conn_port: 10, conn_extra: {url: "http://127.0.0.1:11/a"}}
            - {conn_id: far, conn_type: http, conn_host: example.jp, conn_port: 10, conn_extra: {url: "http://1.127.0.0.1:11/a"}}
          variables: []
          pools: []
        """,
        encoding="utf-8",
    )
    settings = load_airflow_settings(file)

    moved = settings.with_ports_moved_by(5).connections

    assert (moved["near"]["port"], moved["near"]["extra"]) == (15, {"url": "http://127.0.0.1:16/a"})
    assert moved["far"] == settings.connections["far"]


@pytest.mark.parametrize("text", ["-1", "1e3", "1000x", str(LARGEST_OFFSET + 1), "１"])
def test_an_offset_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(PORT_OFFSET, text)
    with pytest.raises(BatchError, match=f"{PORT_OFFSET} is .* must be a number from 0 to {LARGEST_OFFSET}"):
        _ = LocalStack(tmp_path).ports


def test_even_with_the_largest_offset_no_port_is_one_of_outgoing_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PORT_OFFSET, str(LARGEST_OFFSET))
    ports = LocalStack(tmp_path).ports
    assert max(ports.database, ports.http, ports.smtp, ports.imap, ports.ui) < FIRST_OUTGOING_PORT


def test_make_up_refuses_a_port_that_browsers_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PORT_OFFSET, "2000")
    with pytest.raises(BatchError, match=r"port 10080, which browsers block.* make up PORT_OFFSET=2100 "):
        up(LocalStack(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_largest_offset_reaches_no_other_blocked_port() -> None:
    """https://fetch.spec.whatwg.org/#port-blocking, from 1024 on."""
    blocked = {
        1719,
        1720,
        1723,
        2049,
        3659,
        4045,
        4190,
        5060,
        5061,
        6000,
        6566,
        6679,
        6697,
        10080,
        *range(6665, 6670),
    }
    refused = set()
    for offset in range(LARGEST_OFFSET + 1):
        try:
            require_openable(UI_PORT + offset)
        except BatchError:
            refused.add(UI_PORT + offset)
    assert refused == blocked.intersection(range(UI_PORT, UI_PORT + LARGEST_OFFSET + 1))


def test_a_busy_port_is_named_with_its_use_and_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BatchError) as refused:
            require_free({"the stand-in of the mail server (SMTP)": port})
    message = str(refused.value)
    assert message.startswith(
        f"Port {port} on 127.0.0.1, needed by the stand-in of the mail server (SMTP), cannot be used"
    )
    assert "make up PORT_OFFSET=1000" in message
    require_free({"nobody": port})


def test_the_channels_of_earlier_demo_data_follow_the_stand_ins(database: Database) -> None:
    with database.connect() as connection:
        connection.execute(
            """
            INSERT INTO "SYS_IntegrationConfig" (
                id, tenant_id, integration_key, integration_type, endpoint_url, connection_config, is_enabled, updated_at
            )
            VALUES
            ('a', 't', 'teams', 'CHAT', 'http://127.0.0.1:25480/workflows/1', '{"x": "http://127.0.0.1:25480/a"}', true, '2026-10-01'),
            ('b', 't', 'slack', 'CHAT', NULL, '{"x": "http://127.0.0.1:25480/a", "y": "http://127.0.0.1:25480/"}', true, '2026-10-01'),
            ('c', 't', 'other', 'CHAT', 'https://example.jp:25480/', NULL, true, '2026-10-01')
            """
        )
        for _ in range(2):
            move_channels(connection, 26480)
            assert connection.execute(
                'SELECT endpoint_url, connection_config FROM "SYS_IntegrationConfig" ORDER BY id'
            ).fetchall() == [
                ("http://127.0.0.1:26480/workflows/1", '{"x": "http://127.0.0.1:26480/a"}'),
                (None, '{"x": "http://127.0.0.1:26480/a", "y": "http://127.0.0.1:26480/"}'),
                ("https://example.jp:25480/", None),
            ]


@pytest.fixture
def offsets() -> tuple[int, int]:
    """Two offsets whose ports are free."""
    first, second, *_ = (
        offset for offset in range(2_000, LARGEST_OFFSET, 37) if not port_problem(25_432 + offset)
    )
    return first, second


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    LocalStack(tmp_path).reset()


def test_the_database_moves_with_the_offset_and_the_folder_remembers_it(
    folder: Path, offsets: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(EXTERNAL_DATABASE, raising=False)
    first, second = offsets
    monkeypatch.setenv(PORT_OFFSET, str(first))
    LocalStack(folder).start_database()
    monkeypatch.delenv(PORT_OFFSET)
    LocalStack(folder).start_database()
    assert LocalStack(folder).server.port == 25_432 + first

    monkeypatch.setenv(PORT_OFFSET, str(second))
    with (
        psycopg.connect(LocalStack(folder).admin_dsn()),
        pytest.raises(
            BatchError, match=rf"runs on port {25_432 + first} and is in use, .* `make down` first"
        ),
    ):
        LocalStack(folder).start_database()
    with psycopg.connect(LocalStack(folder).admin_dsn()), pytest.raises(BatchError, match="command uses the"):
        LocalStack(folder).reset()
    # `make demo` is not always connected.
    with LocalStack(folder).in_use(), pytest.raises(BatchError, match="is in use"):
        LocalStack(folder).start_database()
    with LocalStack(folder).in_use(), pytest.raises(BatchError, match="command uses the database"):
        LocalStack(folder).reset()
    LocalStack(folder).start_database()
    assert LocalStack(folder).server.port == 25_432 + second

    # The error for another checkout with the same ports names them.
    with pytest.raises(BatchError, match=f"Port {25_432 + second} .* needed by the embedded PostgreSQL"):
        LocalStack(folder / "other").start_database()
