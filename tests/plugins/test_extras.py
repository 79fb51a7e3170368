"""The extra of a connection that is no JSON object, or has a value that libpq does not know: errors name the connection."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import Connection
from psycopg.conninfo import conninfo_to_dict

from skill_batch.board.database import BoardDatabase, BoardUnavailableError
from skill_batch.connections import conninfo_of
from skill_batch.extras import ExtraError, extra_of
from skill_batch.hooks.tenant_db import PlatformDbHook
from skill_batch.notifiers.alert_outbox import send_alert, send_result
from skill_batch.notifiers.channels import load_channels
from include.skillreport.core.errors import ConnectionInvalidError
from local_stack.stand_ins import StandIns
from tests.worlds.alerts import alert, report, services

__all__ = ["services"]

# Encoded twice, of other types, and no JSON.
WRONG = (json.dumps(json.dumps({"sslmode": "require"})), "[1]", "5", "sslmode=verify-full")
UNKNOWN = '{"sslmod": "require"}'


def define(monkeypatch: pytest.MonkeyPatch, conn_id: str, **fields: Any) -> None:
    """The connection with these fields; its extra is a text."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))


@pytest.fixture(params=WRONG)
def wrong(request: pytest.FixtureRequest) -> str:
    """An extra that a person or a secrets manager may write."""
    return str(request.param)


@pytest.mark.parametrize("extra", ["", "{}", " {} ", None])
def test_no_extra_has_no_values(extra: str | None) -> None:
    assert extra_of(Connection(conn_id="c", conn_type="http", extra=extra)) == {}


def test_an_extra_that_is_no_object_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(ExtraError, match="Airflow の接続 'c' の Extra は、JSON のオブジェクト"):
        extra_of(Connection(conn_id="c", conn_type="http", extra=wrong))


def test_the_optional_channel_keeps_no_alert_from_the_others(
    services: StandIns, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    define(
        monkeypatch, "skill_batch_alert_http", conn_type="http", host="127.0.0.1", password="key", extra=wrong
    )

    assert send_alert(alert(), "a", load_channels())
    send_result(report(), load_channels())
    assert [message.channel for message in services.messages] == ["slack"]


def test_an_alert_about_the_database_is_sent_although_its_extra_is_wrong(
    services: StandIns, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    define(monkeypatch, "skill_batch_platform_db", conn_type="postgres", host="127.0.0.1", extra=wrong)

    assert send_alert(alert(), "a", load_channels())
    assert "slack" in [message.channel for message in services.messages]


@pytest.mark.parametrize("extra", [*WRONG, UNKNOWN])
def test_a_database_connection_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, extra: str) -> None:
    for role in ("platform", "board"):
        define(monkeypatch, f"skill_batch_{role}_db", conn_type="postgres", host="127.0.0.1", extra=extra)
    named = "Airflow の接続 'skill_batch_{}_db' の Extra"
    with pytest.raises(ConnectionInvalidError, match=named.format("platform")), PlatformDbHook().connect():
        pass
    with pytest.raises(ConnectionInvalidError, match=named.format("platform")):
        conninfo_of(PlatformDbHook.get_connection("skill_batch_platform_db"))
    with pytest.raises(BoardUnavailableError, match=named.format("board")), BoardDatabase().read():
        pass


def test_the_ports_of_several_servers_come_from_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = {"conn_type": "postgres", "host": "db1,db2", "extra": {"port": "5432,5433"}}
    define(monkeypatch, "skill_batch_board_db", **servers)
    connection = PlatformDbHook.get_connection("skill_batch_board_db")
    assert conninfo_to_dict(conninfo_of(connection))["port"] == "5432,5433"
