"""The hooks: their roles, their errors, and the limit of their statements."""

from __future__ import annotations

import os
import re
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from threading import Thread

import psycopg
import pytest

from skill_batch.hooks.tenant_db import CleanupDbHook, PlatformDbHook, TenantDbHook
from skill_batch.installation import AirflowInstallation
from skill_batch.notifiers.alert_outbox import open_database
from include.skillreport.batches.tenant_usage import create_batch
from include.skillreport.core.catalog import TENANT_USAGE
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.errors import ConnectionMissingError, DatabaseUnavailableError, SchemaError
from include.skillreport.core.execution.flow import RunRequest, open_run
from include.skillreport.schema.deploy import upgrade
from local_stack.batch_runs import LOCAL
from tests.conftest import PASSWORDS, Database, administer
from tests.schema.transaction_pooler import transaction_pooler
from tests.worlds.session_limits import limit_sessions, limits_of

LOGINS = "INSERT INTO batch.login_day (tenant_id, login_date, user_ids) VALUES (%s, '2026-10-31', ARRAY[%s])"


@pytest.fixture
def connected(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The database, with both Airflow connections pointing at it."""
    for role in ("batch_tenant", "batch_platform"):
        monkeypatch.setenv(f"AIRFLOW_CONN_SKILL_{role.upper()}_DB", database.airflow_connection(role))
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


@pytest.mark.own_database
def test_the_connection_for_deletions_opens_only_with_the_permission(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    minute = timedelta(minutes=1)
    installation = AirflowInstallation()
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", database.airflow_connection("batch_platform"))
    with pytest.raises(SchemaError, match="upgrade --with-deletion"), installation.cleanup(minute):
        pytest.fail("opened without the permission")

    upgrade(database.dsn, passwords=PASSWORDS, with_deletion=True)
    with (
        pytest.raises(ConnectionMissingError, match="'skill_batch_cleanup_db' が定義されていません"),
        installation.cleanup(minute),
    ):
        pytest.fail("opened without a connection")

    name = CleanupDbHook.default_conn_name.upper()
    monkeypatch.setenv(f"AIRFLOW_CONN_{name}", database.airflow_connection(CleanupDbHook.role))
    with installation.cleanup(minute) as connection, tenant_transaction(connection, ["A"]):
        assert connection.execute("DELETE FROM batch.leaving_mst_employee").rowcount == 0


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
def test_a_tasks_session_has_the_name_of_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("DAG_ID", "batch_003_statistics"), ("DAG_RUN_ID", "scheduled__2026-11-01")):
        monkeypatch.setenv(f"AIRFLOW_CTX_{name}", value)
    with PlatformDbHook().connect() as connection:
        named = connection.execute("SHOW application_name").fetchone()
    assert named == ("batch_003_statistics scheduled__2026-11-01",)


@pytest.mark.own_database
@pytest.mark.parametrize(
    ("time_limit", "own"), [(None, "0"), (timedelta(seconds=90), "90s")], ids=["none", "a task's"]
)
def test_a_task_has_its_own_limits_whatever_the_login_has(
    connected: Database, time_limit: timedelta | None, own: str
) -> None:
    with connected.connect() as owner:
        known = limit_sessions(owner, "batch_platform")
    with PlatformDbHook(statement_timeout=time_limit).connect() as connection:
        limits = limits_of(connection)
    with open_database(PlatformDbHook().connection) as alerts:
        assert alerts is not None
        limits_of_alerts = limits_of(alerts)

    assert {limit: limits[limit] for limit in known} == dict.fromkeys(known, "0") | {
        # No transaction_timeout: PostgreSQL would ignore a statement's limit that is not shorter.
        "statement_timeout": own,
        "idle_in_transaction_session_timeout": own,
    }
    assert {limit: limits_of_alerts[limit] for limit in known} == dict.fromkeys(known, "0") | {
        "statement_timeout": "15s"
    }


@pytest.mark.own_database
def test_connections_have_the_formats_that_the_code_reads_whatever_the_login_has(connected: Database) -> None:
    with connected.connect() as owner:
        for setting in ("timezone = 'Asia/Tokyo'", "datestyle = 'German'", "client_encoding = 'SJIS'"):
            owner.execute(f'ALTER ROLE batch_platform IN DATABASE "{connected.name}" SET {setting}'.encode())
    with PlatformDbHook().connect() as connection:
        row = connection.execute("SELECT %s, timestamptz '2026-10-31 09:00+09'", ["José 😀"]).fetchone()
    assert row == ("José 😀", datetime(2026, 10, 31, tzinfo=UTC))


@pytest.mark.parametrize(("extra", "seconds"), [("", 10), ("&keepalives_interval=7", 7)])
def test_a_connection_looks_whether_the_server_is_still_there(
    database: Database, monkeypatch: pytest.MonkeyPatch, extra: str, seconds: int
) -> None:
    address = database.airflow_connection("batch_tenant") + extra
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_TENANT_DB", address)

    with TenantDbHook().connect() as connection:
        by_hook = keepalive_interval(connection)
    with psycopg.connect(AirflowInstallation().database("skill_batch_tenant_db")) as connection:
        by_address = keepalive_interval(connection)

    assert by_hook == by_address == seconds


def keepalive_interval(connection: psycopg.Connection) -> int:
    """The seconds between two probes of a silent connection; 0 if there are none."""
    with socket.socket(fileno=os.dup(connection.fileno())) as copy:
        alive = copy.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        return copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) if alive else 0


def test_a_missing_connection_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SKILL_BATCH_TENANT_DB", raising=False)
    with pytest.raises(ConnectionMissingError, match="'skill_batch_tenant_db' が定義されていません"):
        TenantDbHook().get_conn()


@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_down_is_named_with_its_address(
    monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_SKILL_BATCH_TENANT_DB", f"postgres://batch_tenant:secret@127.0.0.1:{unused_port}/db"
    )
    with pytest.raises(DatabaseUnavailableError, match=f"127.0.0.1:{unused_port} に接続できません") as caught:
        TenantDbHook().get_conn()
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.usefixtures("impatient")
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
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_TENANT_DB", uri)
    with pytest.raises(
        DatabaseUnavailableError, match=f"接続できません.*'skill_batch_tenant_db'.*{reason}"
    ) as caught:
        TenantDbHook().get_conn()
    assert "wrong-password" not in str(caught.value)


def test_a_login_that_may_not_act_as_the_role_is_refused(
    connected: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", connected.airflow_connection("batch_tenant"))
    with pytest.raises(SchemaError) as caught:
        PlatformDbHook().get_conn()
    assert str(caught.value) == (
        "接続 'skill_batch_platform_db' のログイン \"batch_tenant\" はロール batch_platform になれません。"
        '管理者が `GRANT batch_platform TO "batch_tenant"` を実行してください。'
    )


def test_a_login_read_only_by_its_setting_is_named_at_once(
    connected: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = connected.airflow_connection("batch_tenant") + "&options=-c%20default_transaction_read_only%3Don"
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_TENANT_DB", uri)
    with pytest.raises(
        SchemaError, match=r'^接続 .*"batch_tenant" のトランザクションは読み取り専用です.*ALTER ROLE'
    ):
        TenantDbHook().get_conn()


def test_a_role_that_is_not_deployed_is_named_with_the_command(
    connected: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PlatformDbHook, "role", "batch_none")
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", connected.airflow_connection("batch_tenant"))
    with pytest.raises(SchemaError, match=r'role "batch_none" does not exist.*include\.skillreport upgrade'):
        PlatformDbHook().get_conn()


@pytest.mark.usefixtures("impatient")
def test_a_backend_lost_while_taking_its_role_may_be_retried(
    connected: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cut_at(b"SET ROLE", connected.server.host, connected.server.port) as port:
        uri = connected.airflow_connection("batch_tenant").replace(f":{connected.server.port}/", f":{port}/")
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_TENANT_DB", uri)
        with pytest.raises(DatabaseUnavailableError, match="ロール batch_tenant になる前に切れました"):
            TenantDbHook().get_conn()


@pytest.fixture
def pooled(connected: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The database behind a pooler in transaction mode, with one login for both roles."""
    login = f"login_{os.urandom(4).hex()}"
    administer(
        connected.server, "CREATE ROLE {} LOGIN PASSWORD 'login' IN ROLE batch_tenant, batch_platform", login
    )
    with transaction_pooler(connected.server.host, connected.server.port, takes_newest=True) as port:
        for role in ("batch_tenant", "batch_platform"):
            monkeypatch.setenv(
                f"AIRFLOW_CONN_SKILL_{role.upper()}_DB",
                f"postgres://{login}:login@127.0.0.1:{port}/{connected.name}",
            )
        yield connected
    administer(connected.server, "DROP ROLE {}", login)


@pytest.mark.usefixtures("pooled")
def test_a_transaction_is_refused_if_another_connection_changed_its_role() -> None:
    with TenantDbHook().connect() as tenants, PlatformDbHook().connect():
        assert tenants.execute("SELECT current_user").fetchone() == ("batch_platform",)
        with (
            pytest.raises(
                psycopg.errors.InsufficientPrivilege, match=r"batch_platform.*トランザクションモード"
            ),
            tenant_transaction(tenants, ["A"]),
        ):
            tenants.execute("SELECT FROM batch.tenant_outcome")


@pytest.mark.parametrize("hook", [TenantDbHook, PlatformDbHook])
@pytest.mark.usefixtures("pooled")
def test_a_login_whose_sessions_change_is_named_with_its_connection(
    hook: type[TenantDbHook | PlatformDbHook],
) -> None:
    with pytest.raises(
        SchemaError,
        match=rf"^接続 '{hook.default_conn_name}' のログイン .*トランザクションモード.*セッションモード",
    ):
        hook().check_login()


def test_no_run_opens_behind_a_pooler_in_transaction_mode(pooled: Database) -> None:
    request = RunRequest("batch", "run", datetime(2026, 11, 1, tzinfo=UTC), {})
    with pytest.raises(SchemaError, match=r"'skill_batch_platform_db'.*トランザクションモード"):
        open_run(TENANT_USAGE, create_batch(LOCAL), request, AirflowInstallation())
    with pooled.connect() as owner:
        assert owner.execute("SELECT FROM batch.execution_log").rowcount == 0


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
