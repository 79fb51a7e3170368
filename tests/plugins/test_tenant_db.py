"""The hooks: their roles, their errors, and the limit of their statements."""

from __future__ import annotations

import re
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Thread

import psycopg
import pytest

from include.errors import ConnectionMissingError, DatabaseUnavailableError, SchemaError
from skill_batch.hooks.tenant_db import PlatformDbHook, TenantDbHook
from tests.conftest import Database

LOGINS = "INSERT INTO batch.login_day (tenant_id, login_date, user_ids) VALUES (%s, '2026-10-31', ARRAY[%s])"


@pytest.fixture
def connected(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The database, with both Airflow connections pointing at it."""
    for role in ("batch_tenant", "batch_platform"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{role.upper()}_DB", database.airflow_connection(role))
    return database


def test_a_tenant_connection_without_a_context_sees_nothing(connected: Database) -> None:
    with connected.connect() as owner:
        owner.execute(LOGINS, ["A", "user"])
    with TenantDbHook().connect() as connection:
        assert connection.execute("SELECT * FROM batch.login_day").fetchall() == []


@pytest.mark.usefixtures("connected")
def test_a_transaction_sees_and_writes_its_tenant_only() -> None:
    hook = TenantDbHook()
    with hook.transaction(["A"]) as connection:
        connection.execute(LOGINS, ["A", "user"])
    with hook.transaction(["B"]) as connection:
        assert connection.execute("SELECT * FROM batch.login_day").fetchall() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute(LOGINS, ["A", "intruder"])


def test_a_failed_transaction_leaves_nothing(connected: Database) -> None:
    def work() -> None:
        with TenantDbHook().transaction(["A"]) as connection:
            connection.execute(LOGINS, ["A", "user"])
            connection.execute("SELECT 1 / 0")

    with pytest.raises(psycopg.errors.DivisionByZero):
        work()
    with connected.connect() as owner:
        assert owner.execute("SELECT * FROM batch.login_day").fetchall() == []


@pytest.mark.usefixtures("connected")
def test_rows_are_streamed_in_portions() -> None:
    rows = TenantDbHook().stream("SELECT generate_series(1, %(last)s)", {"last": 2_500}, tenant_ids=["A"])
    assert [number for (number,) in rows] == list(range(1, 2_501))


@pytest.mark.usefixtures("connected")
def test_a_statement_is_cancelled_at_the_tasks_time_limit() -> None:
    with (
        PlatformDbHook(statement_timeout=timedelta(milliseconds=50)).connect() as connection,
        pytest.raises(psycopg.errors.QueryCanceled),
    ):
        connection.execute("SELECT pg_sleep(10)")


@pytest.mark.usefixtures("connected")
def test_connections_speak_utc() -> None:
    with PlatformDbHook().connect() as connection:
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)


def test_a_missing_connection_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_BATCH_TENANT_DB", raising=False)
    with pytest.raises(ConnectionMissingError, match="'batch_tenant_db' が定義されていません"):
        TenantDbHook().get_conn()


def test_a_server_that_is_down_is_named_with_its_address(
    monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_BATCH_TENANT_DB", f"postgres://batch_tenant:secret@127.0.0.1:{unused_port}/db"
    )
    with pytest.raises(DatabaseUnavailableError, match=f"127.0.0.1:{unused_port} に接続できません") as caught:
        TenantDbHook().get_conn()
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("part", "wrong", "reason"),
    [
        (":[^:@]*@", ":wrong-password@", "password authentication failed"),
        ("/[^/?]*[?]", "/no_such_database?", 'database "no_such_database" does not exist'),
    ],
)
def test_a_refused_login_is_named_with_the_servers_reason(
    connected: Database, monkeypatch: pytest.MonkeyPatch, part: str, wrong: str, reason: str
) -> None:
    uri = re.sub(part, wrong, connected.airflow_connection("batch_tenant"))
    monkeypatch.setenv("AIRFLOW_CONN_BATCH_TENANT_DB", uri)
    with pytest.raises(
        DatabaseUnavailableError, match=f"接続できません.*'batch_tenant_db'.*{reason}"
    ) as caught:
        TenantDbHook().get_conn()
    assert "wrong-password" not in str(caught.value)


def test_a_login_that_may_not_act_as_the_role_is_refused(
    connected: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BATCH_PLATFORM_DB", connected.airflow_connection("batch_tenant"))
    with pytest.raises(SchemaError) as caught:
        PlatformDbHook().get_conn()
    assert str(caught.value) == (
        "接続 'batch_platform_db' のログイン \"batch_tenant\" はロール batch_platform になれません。"
        '管理者が `GRANT batch_platform TO "batch_tenant"` を実行してください。'
    )


def test_a_role_that_is_not_deployed_is_named_with_the_command(
    connected: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PlatformDbHook, "role", "batch_none")
    monkeypatch.setenv("AIRFLOW_CONN_BATCH_PLATFORM_DB", connected.airflow_connection("batch_tenant"))
    with pytest.raises(SchemaError, match=r'role "batch_none" does not exist.*include\.migrations upgrade'):
        PlatformDbHook().get_conn()


def test_a_backend_that_is_lost_while_it_takes_on_the_role_may_be_tried_again(
    connected: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cut_at(b"SET ROLE", connected.server.host, connected.server.port) as port:
        uri = connected.airflow_connection("batch_tenant").replace(f":{connected.server.port}/", f":{port}/")
        monkeypatch.setenv("AIRFLOW_CONN_BATCH_TENANT_DB", uri)
        with pytest.raises(DatabaseUnavailableError, match="ロール batch_tenant になる前に切れました"):
            TenantDbHook().get_conn()


@contextmanager
def cut_at(statement: bytes, host: str, port: int) -> Iterator[int]:
    """A proxy of the database that closes the connection when the client sends ``statement``; gives the proxy's port."""

    def relay(client: socket.socket) -> None:
        with client, socket.create_connection((host, port)) as server:
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65_536)
                    if not data or statement in data:
                        return
                    (server if source is client else client).sendall(data)

    def accept() -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                relay(listener.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
