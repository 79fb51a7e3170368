"""A server that is a standby until its promotion, as after a failover: connections wait for it, and replacements find it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from threading import Event, Thread

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from skill_batch.hooks.tenant_db import TenantDbHook
from include.skillreport.core.errors import DatabaseUnavailableError, code_of, is_recoverable
from include.skillreport.core.lasting_connection import lasting
from local_stack.postgres_server import EmbeddedPostgres
from tests.failover_server import demote, promote, replicating_server

INSERT = "INSERT INTO written VALUES (1)"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server with the login and role ``batch_tenant``, and a table that it may write."""
    with (
        pytest.MonkeyPatch.context() as environment,
        replicating_server(tmp_path_factory.mktemp("failover") / "postgres", environment) as started,
    ):
        with psycopg.connect(started.admin_dsn()) as admin:
            admin.execute("CREATE ROLE batch_tenant LOGIN PASSWORD 'secret'")
            admin.execute("CREATE TABLE written (value integer)")
            admin.execute("GRANT INSERT ON written TO batch_tenant")
        yield started


@pytest.fixture
def standby(postgres: EmbeddedPostgres) -> EmbeddedPostgres:
    """The server as a standby."""
    demote(postgres)
    return postgres


def define(environment: pytest.MonkeyPatch, host: str, port: int, extra: str = "") -> None:
    url = f"postgres://batch_tenant:secret@{host}:{port}/postgres?connect_timeout=10{extra}"
    environment.setenv("AIRFLOW_CONN_SKILL_BATCH_TENANT_DB", url)


class PromotedWhenLogged(logging.Handler):
    """Promotes the standby as soon as somebody logs that the database is not available."""

    def __init__(self, standby: EmbeddedPostgres) -> None:
        super().__init__()
        self._standby = standby
        self._is_promoted = Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "not available yet" in record.getMessage() and not self._is_promoted.is_set():
            self._is_promoted.set()
            Thread(target=promote, args=(self._standby,)).start()


@pytest.fixture
def promotion(standby: EmbeddedPostgres) -> Iterator[None]:
    """The promotion, as soon as a connection has found out that the server is a standby."""
    logger, handler = (
        logging.getLogger("include.skillreport.core.lasting_connection"),
        PromotedWhenLogged(standby),
    )
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


@pytest.mark.slow("waits for slow or throttling services")
@pytest.mark.usefixtures("promotion")
@pytest.mark.parametrize("first_port", [None, 1], ids=["one host", "the second of two hosts"])
def test_a_connection_waits_for_the_promotion(
    standby: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, first_port: int | None
) -> None:
    hosts, ports = (
        ("127.0.0.1,127.0.0.1", f"&port={first_port},{standby.port}") if first_port else ("127.0.0.1", "")
    )
    define(monkeypatch, hosts, standby.port, ports)
    with TenantDbHook().connect() as connection:
        connection.execute(INSERT)


@pytest.mark.usefixtures("impatient")
def test_a_standby_that_stays_one_is_named_and_may_be_retried(
    standby: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    define(monkeypatch, "127.0.0.1", standby.port)
    with pytest.raises(DatabaseUnavailableError, match=rf"127.0.0.1:{standby.port} .*待機系.*昇格"):
        TenantDbHook().get_conn()


def test_the_button_in_the_form_of_the_connection_does_not_wait(
    standby: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    define(monkeypatch, "127.0.0.1", standby.port)
    is_usable, reason = TenantDbHook().test_connection()
    assert (is_usable, "待機系" in reason) == (False, True)
    assert "not available yet" not in caplog.text


@pytest.mark.usefixtures("promotion")
@pytest.mark.parametrize("is_connected", [True, False], ids=["to the standby", "to the lost primary"])
def test_a_lasting_connection_waits_for_the_promotion(standby: EmbeddedPostgres, is_connected: bool) -> None:
    if not is_connected:
        promote(standby)
    dsn = make_conninfo(
        host="127.0.0.1", port=standby.port, user="batch_tenant", password="secret", dbname="postgres"
    )
    with psycopg.connect(dsn, autocommit=True) as connection, lasting(connection) as database:
        if not is_connected:
            demote(standby)
        database.run(lambda current: current.execute(INSERT))
        assert database.connection is not connection


def test_a_statement_that_a_standby_refuses_may_be_retried(standby: EmbeddedPostgres) -> None:
    with psycopg.connect(standby.admin_dsn()) as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(INSERT)
    assert (code_of(caught.value), is_recoverable(caught.value)) == ("25006", True)
