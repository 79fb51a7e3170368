"""A mail server that limits the rate: no letter is lost or sent twice, and a letter waits until it is too old."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.network import EmailConfig, Network
from include.skillreport.messaging import outbox, throttle
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.dispatch import dispatch_due
from include.skillreport.messaging.outbox import MessageDraft
from include.skillreport.messaging.pacing import limit_of
from include.skillreport.messaging.settings import NotificationSettings
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.waiting import wait_until
from tests.worlds import host_rows
from tests.worlds.outbox_rows import make_due, network, run_notifications, statuses, waiting

TENANTS = [f"T{number}" for number in range(6)]
LETTERS_EACH = 5
ALL = len(TENANTS) * LETTERS_EACH
EACH_ONCE = {f"{tenant_id}-{number}@example.jp": 1 for tenant_id in TENANTS for number in range(LETTERS_EACH)}


@pytest.fixture
def letters(host: psycopg.Connection, connection: psycopg.Connection) -> None:
    """Six tenants with five letters each that are due."""
    due_at = datetime.now(UTC) - timedelta(hours=1)
    for tenant_id in TENANTS:
        host_rows.tenant(host, tenant_id)
    drafts = [
        MessageDraft(address.partition("-")[0], address, EMAIL, address, "件名", "本文", due_at)
        for address in EACH_ONCE
    ]
    with tenant_transaction(connection, TENANTS):
        outbox.enqueue(connection, drafts, created_by="test")


def send(
    connection: psycopg.Connection,
    services: StandIns,
    through: Network | None = None,
    *,
    seconds: float = 3_600,
) -> None:
    """One shard's dispatch of all due messages. It ends when all are sent, and at the latest after ``seconds``."""
    dispatch_due(
        connection,
        TENANTS,
        through or network(services),
        owner="run",
        clock=lambda: datetime.now(UTC),
        settings=NotificationSettings.load(),
        stop_at=datetime.now(UTC) + timedelta(seconds=seconds),
    )


def send_again(host: psycopg.Connection, connection: psycopg.Connection, services: StandIns) -> None:
    """The same letters in another run, when the server has noticed the end of the one before."""
    host.execute("UPDATE batch.outbox SET status = 'pending', finished_at = null")
    wait_until(lambda: services.open_smtp_connections == 0, "the connections are closed")
    send(connection, services)


def received(services: StandIns) -> Counter[str]:
    """How often each recipient has had a letter."""
    return Counter(letter.destination for letter in services.messages)


def attempts(host: psycopg.Connection) -> set[int]:
    """How often the letters were tried."""
    return {row[0] for row in host.execute("SELECT DISTINCT attempts FROM batch.outbox").fetchall()}


@pytest.mark.slow("waits for slow or throttling services")
@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize("refuses_connections", [False, True])
def test_one_run_passes_a_server_with_three_connections(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns, refuses_connections: bool
) -> None:
    services.limit_smtp_connections(3, refuses_connections=refuses_connections)

    send(connection, services)

    assert statuses(host) == {("email", "sent"): ALL}
    assert received(services) == EACH_ONCE
    assert attempts(host) == {1}
    assert services.messages_refused_for_rate > 0


@pytest.mark.slow("waits for slow or throttling services")
@pytest.mark.usefixtures("letters")
def test_one_run_passes_a_server_that_takes_ten_letters_a_second(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns
) -> None:
    services.set_limit("email", 10, 1)  # also a busy machine sends more

    send(connection, services)

    assert statuses(host) == {("email", "sent"): ALL}
    assert received(services) == EACH_ONCE
    assert attempts(host) == {1}
    assert services.messages_refused_for_rate > 0


@pytest.mark.slow("waits for slow or throttling services")
@pytest.mark.usefixtures("letters")
def test_a_server_that_delays_its_answers_gets_fewer_letters_at_once(
    host: psycopg.Connection,
    connection: psycopg.Connection,
    services: StandIns,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(throttle, "_SLOW_ANSWER", 0.2)
    services.delay_letters(0.05)

    send(connection, services)

    assert statuses(host) == {("email", "sent"): ALL}
    assert received(services) == EACH_ONCE
    (at_once,) = host.execute("SELECT at_once FROM batch.service_limit").fetchone() or (None,)
    assert at_once is not None
    assert at_once < EmailConfig.connections


@pytest.mark.slow("waits for slow or throttling services")
@pytest.mark.usefixtures("letters")
def test_a_server_that_accepts_nothing_is_asked_less_and_costs_no_attempt(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns
) -> None:
    services.limit_smtp_connections(0)

    send(connection, services, seconds=3)

    assert statuses(host) == {("email", "pending"): ALL}
    # First 20 connections, 10 after a second, and 5 after two more.
    assert services.smtp_connections <= EmailConfig.connections + 10 + 5
    assert attempts(host) == {0}
    services.limit_smtp_connections(100)
    make_due(host)
    host.execute("UPDATE batch.service_limit SET blocked_until = 'epoch'")
    send(connection, services)
    assert received(services) == EACH_ONCE


@pytest.mark.usefixtures("letters")
def test_there_are_never_more_connections_than_the_settings_allow(
    connection: psycopg.Connection, services: StandIns
) -> None:
    services.limit_smtp_connections(2)
    through = network(services)
    assert through.email is not None

    send(connection, services, replace(through, email=replace(through.email, connections=2)))

    assert received(services) == EACH_ONCE
    assert services.messages_refused_for_rate == 0


@pytest.mark.slow("waits for slow or throttling services")
@pytest.mark.usefixtures("letters")
def test_the_next_run_knows_the_learnt_pace(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns
) -> None:
    services.limit_smtp_connections(3)
    send(connection, services)
    send_again(host, connection, services)
    refused = services.messages_refused_for_rate

    # Twice as many, because a busy server still counts a connection that has just ended. A run that knows nothing opens twenty.
    services.limit_smtp_connections(6)
    send_again(host, connection, services)

    assert refused > 0
    assert services.messages_refused_for_rate == refused


@pytest.mark.usefixtures("letters")
def test_two_processes_share_the_limit(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns
) -> None:
    """Another process has announced itself first, so of one connection this one has none."""
    key = limit_of(network(services).email).key
    host.execute(
        "INSERT INTO batch.service_limit (limit_key, per_minute, at_once) VALUES (%s, null, 1)", [key]
    )
    outbox.mark_alive(host, "another")
    host.execute("INSERT INTO batch.limit_sender (limit_key, owner) VALUES (%s, 'another')", [key])

    send(connection, services, seconds=0.5)
    assert services.messages == []
    host.execute("UPDATE batch.limit_sender SET seen_at = now() - interval '2 minutes'")
    send(connection, services)

    assert received(services) == EACH_ONCE
    assert host.execute("SELECT owner FROM batch.limit_sender").fetchall() == [("another",)]


@pytest.mark.usefixtures("letters")
def test_a_greylisted_recipient_waits_alone_and_costs_no_attempt(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns
) -> None:
    services.refuse_recipient("T0-0@example.jp", "450 4.7.1 Greylisted")

    for _ in range(4):
        send(connection, services)
        make_due(host)

    assert statuses(host) == {("email", "sent"): ALL - 1, ("email", "pending"): 1}
    assert host.execute(
        "SELECT attempts, error_code FROM batch.outbox WHERE status = 'pending'"
    ).fetchall() == [(0, "4.7")]


def test_a_throttled_letter_expires_by_its_age_and_is_reported(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    log_id = waiting(host, "A")
    services.fail_next("email", "daily_limit", times=9)
    run_notifications(database, services)
    for _ in range(3):
        make_due(host)
        assert run_notifications(database, services, spec=NOTIFICATION_RETRY).status == "completed"
    assert statuses(host) == {("email", "pending"): 1}
    assert attempts(host) == {0}
    host.execute("UPDATE batch.outbox SET due_at = due_at - interval '73 hours'")

    reported = run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert statuses(host) == {("email", "expired"): 1}
    reason = reported.failed_tenants[0].reason
    assert "期限切れの通知 1 件" in reason
    assert "時間を過ぎたため送信をやめました（1 日の送信数の上限に達しました" in reason
    assert host.execute(
        'SELECT send_status, send_attempts, response_code FROM "HIS_NotificationLog" WHERE id = %s', [log_id]
    ).fetchone() == ("FAILED", 0, "expired")
