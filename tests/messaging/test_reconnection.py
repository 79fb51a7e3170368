"""A database connection is lost while messages are sent: the known results are recorded on a new one."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from skill_batch.hooks.tenant_db import TenantDbHook
from include.skillreport.core import lasting_connection
from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.core.database import SESSION_LIMITS, set_up_session, tenant_transaction
from include.skillreport.core.lasting_connection import LastingConnection, lasting
from include.skillreport.messaging import outbox
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.dispatch import DispatchReport, dispatch_due
from include.skillreport.messaging.outbox import MessageDraft
from include.skillreport.messaging.retry import Status
from include.skillreport.messaging.settings import NotificationSettings
from include.skillreport.schema.deploy import upgrade
from include.skillreport.schema.host_contract import HostVariant
from local_stack.host_fixture import create_host_schema
from local_stack.stand_ins import StandIns
from tests.conftest import PASSWORDS, Database, Server, wait_for_blocked_statement
from tests.failover_server import promote, replicating_server, standby_of, wait_for_replay
from tests.messaging.statement_proxy import StatementProxy
from tests.waiting import wait_until
from tests.worlds import host_rows
from tests.worlds.outbox_rows import (
    claim_due,
    make_due,
    network,
    run_notifications,
    slack,
    statuses,
    wait_for,
    waiting,
)
from tests.worlds.session_limits import limits_of

MESSAGES = 60

# The connection that acts as batch_tenant.
_SENDERS = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'sender'
"""


@pytest.fixture
def messages(host: psycopg.Connection, connection: psycopg.Connection, services: StandIns) -> None:
    """A tenant with many messages, each to a separate Slack channel."""
    host_rows.tenant(host, "A")
    slack(host, "A", services)
    due_at = datetime.now(UTC) - timedelta(hours=1)
    drafts = [
        MessageDraft("A", f"k{number}", SLACK, f"C{number}", "件名", "本文", due_at)
        for number in range(MESSAGES)
    ]
    with tenant_transaction(connection, ["A"]):
        outbox.enqueue(connection, drafts, created_by="test")


def send(
    database: Database, services: StandIns, tenant_ids: Sequence[str] = ("A",)
) -> dict[str, DispatchReport]:
    """A worker whose connection differs from the test's."""
    with database.connect("batch_tenant") as connection:
        connection.execute("SET application_name = 'sender'")
        return dispatch(connection, services, tenant_ids)


def dispatch(
    connection: psycopg.Connection, services: StandIns, tenant_ids: Sequence[str]
) -> dict[str, DispatchReport]:
    return dispatch_due(
        connection,
        tenant_ids,
        network(services),
        owner="run",
        clock=lambda: datetime.now(UTC),
        settings=NotificationSettings.load(),
    )


def while_sending(
    services: StandIns,
    work: Callable[[], DispatchReport],
    loss: Callable[[], object],
) -> DispatchReport:
    """Lose the connection while messages are in flight, and then let the service answer."""
    with services.held("slack") as release, ThreadPoolExecutor() as threads:
        sending = threads.submit(work)
        try:
            wait_until(lambda: len(services.messages) >= 5, "messages are in flight")
            loss()
        finally:
            release()
        return sending.result()


@pytest.mark.usefixtures("messages")
def test_no_message_whose_answer_is_known_becomes_ambiguous(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    report = while_sending(
        services, lambda: send(database, services)["A"], lambda: host.execute(_SENDERS).fetchall()
    )

    assert statuses(host) == {("slack", "sent"): MESSAGES}
    assert set(Counter(arrived.destination for arrived in services.messages).values()) == {1}
    assert report.total(Status.SENT) == MESSAGES


@pytest.mark.usefixtures("messages")
def test_a_claim_whose_answer_was_lost_is_given_back(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    """The sender knows one of its three messages."""
    claimed = claim_due(
        connection,
        outbox.Lane("A", SLACK),
        [Status.PENDING],
        count=3,
        owner="run",
        due_before=datetime.now(UTC),
        now=datetime.now(UTC),
    )
    known = claimed[0].message.message_id

    with tenant_transaction(connection, ["A"]):
        outbox.release_unsent(connection, "run", {known})
        outbox.release_unsent(connection, "another", set())

    assert statuses(host) == {("slack", "sending"): 1, ("slack", "pending"): MESSAGES - 1}
    assert host.execute("SELECT message_id FROM batch.outbox WHERE status = 'sending'").fetchall() == [
        (known,)
    ]


def test_a_run_that_loses_its_connection_records_the_outcomes_of_its_tenants(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    slack(host, "A", services)
    for number in range(8):
        waiting(host, "A", "SLACK", recipient_address=f"C{number}")
    # A lane stops after five failures, the most that are in flight. A sixth would meet the next run.
    services.fail_next("slack", "http_503", times=5)
    run_notifications(database, services)
    make_due(host)

    with services.held("slack") as release, ThreadPoolExecutor() as threads:
        run = threads.submit(run_notifications, database, services, spec=NOTIFICATION_RETRY)
        wait_until(lambda: len(services.messages) >= 5, "messages are in flight")
        lost = host.execute(_SENDERS).fetchall()
        release()
        result = run.result()

    assert len(lost) == 1
    assert result.status == "completed"
    assert statuses(host) == {("slack", "sent"): 8}
    outcomes = host.execute(
        "SELECT status, details ->> 'sentCount' FROM batch.tenant_outcome ORDER BY recorded_at DESC LIMIT 1"
    )
    assert outcomes.fetchall() == [("success", "8")]


@pytest.fixture
def own_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database on a server that the test may stop."""
    with replicating_server(tmp_path / "postgres", monkeypatch, durable=True) as postgres:
        with psycopg.connect(postgres.admin_dsn(), autocommit=True) as admin:
            admin.execute("CREATE DATABASE own")
        server = Server(postgres.admin_dsn(), "127.0.0.1", postgres.port, postgres)
        with psycopg.connect(server.dsn("own")) as connection:
            create_host_schema(connection, HostVariant.MULTI_TENANT)
        upgrade(server.dsn("own"), passwords=PASSWORDS)
        yield Database("own", server)


@pytest.mark.long
@pytest.mark.parametrize("fails_over", [False, True], ids=["restart", "failover"])
def test_a_lost_server_with_200_messages_in_flight_leaves_no_doubt(
    own_database: Database,
    services: StandIns,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fails_over: bool,
) -> None:
    tenants, each = [f"T{number:02}" for number in range(40)], 5
    due_at = datetime.now(UTC) - timedelta(hours=1)
    with own_database.connect() as host, own_database.connect("batch_tenant") as connection:
        for tenant_id in tenants:
            host_rows.tenant(host, tenant_id)
            slack(host, tenant_id, services)
        drafts = [
            MessageDraft(tenant_id, f"k{number}", SLACK, f"{tenant_id}-{number}", "件名", "本文", due_at)
            for tenant_id in tenants
            for number in range(each)
        ]
        with tenant_transaction(connection, tenants):
            outbox.enqueue(connection, drafts, created_by="test")
    postgres = own_database.server.postgres
    assert postgres is not None

    with (
        standby_of(postgres, tmp_path / "standby") if fails_over else nullcontext(postgres) as survivor,
        services.held("slack") as release,
        ThreadPoolExecutor() as threads,
    ):
        # Two servers in the failover, as an installation names them.
        uri = own_database.airflow_connection("batch_tenant").replace("127.0.0.1", "127.0.0.1,127.0.0.1")
        monkeypatch.setenv(
            "AIRFLOW_CONN_SKILL_BATCH_TENANT_DB", f"{uri}&port={postgres.port},{survivor.port}"
        )
        with TenantDbHook().connect() as connection:
            sending = threads.submit(dispatch, connection, services, tenants)
            try:
                wait_for(services, len(drafts))
                if fails_over:
                    wait_for_replay(postgres)
                postmaster = (tmp_path / "postgres" / "data" / "postmaster.pid").read_text().split()[0]
                # An immediate shutdown: it ends all sessions, and the next start recovers from the log.
                os.kill(int(postmaster), signal.SIGQUIT)
                wait_until(lambda: not postgres.is_running(), "PostgreSQL stops")
                release()
                # The senders find out that it is gone, and that the standby does not write.
                time.sleep(5 if fails_over else 1)
                if fails_over:
                    promote(survivor)
                else:
                    postgres.start()
            finally:
                release()
            reports = sending.result()

        with psycopg.connect(survivor.admin_dsn(own_database.name)) as host:
            assert statuses(host) == {("slack", "sent"): len(drafts)}
    assert Counter(arrived.destination for arrived in services.messages) == Counter(
        draft.destination for draft in drafts
    )
    assert sum(report.total(Status.SENT) for report in reports.values()) == len(drafts)


def test_a_new_connection_has_the_role_and_settings_of_the_old(
    connection: psycopg.Connection, host: psycopg.Connection
) -> None:
    set_up_session(connection, **{limit: f"{12345 + place}ms" for place, limit in enumerate(SESSION_LIMITS)})
    limits = limits_of(connection)
    connection.execute("SET timezone = 'UTC'")
    connection.execute("SET datestyle = 'ISO, DMY'")
    pid = connection.info.backend_pid
    with lasting(connection) as database:
        host.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

        found = database.run(
            lambda current: (
                current.execute(
                    "SELECT current_user, current_setting('datestyle'), pg_backend_pid()"
                ).fetchone(),
                limits_of(current),
            )
        )

        row, found_limits = found
        assert row is not None
        assert row[:2] == ("batch_tenant", "ISO, DMY")
        assert row[2] != pid
        assert found_limits == limits
        assert limits["statement_timeout"] == "12345ms"
        assert limits["lock_timeout"] == "12346ms"
        replacement = database.connection
    assert replacement.closed


def test_a_server_that_stays_away_is_waited_for_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lasting_connection, "_CONNECTING_SECONDS", 0.05)
    with (
        StatementProxy(database.dsn).listening("test") as dsn,
        psycopg.connect(dsn, autocommit=True) as connection,
    ):
        kept = LastingConnection(connection)

    for _ in range(3):
        with pytest.raises(psycopg.OperationalError):
            kept.run(lambda current: current.execute("SELECT 1"))

    assert caplog.messages.count("The database connection was lost; connecting again") == 1


def test_an_error_of_the_statement_is_no_loss(connection: psycopg.Connection) -> None:
    database = LastingConnection(connection)

    with pytest.raises(psycopg.errors.DivisionByZero):
        database.run(lambda current: current.execute("SELECT 1 / 0"))

    assert database.connection is connection


def test_a_transaction_that_postgresql_ends_in_a_deadlock_is_repeated(
    database: Database, connection: psycopg.Connection
) -> None:
    with database.connect() as other, ThreadPoolExecutor() as beside:
        # So it is the work that PostgreSQL ends.
        other.execute("SET deadlock_timeout = '1h'; BEGIN; SELECT pg_advisory_xact_lock(2)")
        tries: list[psycopg.Connection] = []

        def work(current: psycopg.Connection) -> str:
            tries.append(current)
            with current.transaction():
                current.execute("SELECT pg_advisory_xact_lock(1)")
                if len(tries) == 1:
                    beside.submit(other.execute, "SELECT pg_advisory_xact_lock(1); COMMIT")
                    wait_for_blocked_statement(database)
                current.execute("SELECT pg_advisory_xact_lock(2)")
            return "done"

        assert LastingConnection(connection).run(work) == "done"
    assert tries == [connection] * 2


def test_a_transaction_that_always_deadlocks_is_the_cause(connection: psycopg.Connection) -> None:
    tries = []

    def work(_: psycopg.Connection) -> None:
        tries.append(1)
        raise psycopg.errors.DeadlockDetected

    with pytest.raises(psycopg.errors.DeadlockDetected):
        LastingConnection(connection).run(work)
    assert len(tries) == 4
