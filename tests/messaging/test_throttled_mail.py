"""A mail server that asks for less: no letter is lost or sent twice, and only its age ends a letter's waiting."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.catalog import NOTIFICATION_RETRY
from include.database import tenant_transaction
from include.messaging import outbox
from include.messaging.dispatch import dispatch_due
from include.messaging.outbox import Draft
from include.messaging.outcome import Channel
from include.settings import load_settings
from local_stack.stand_ins import StandIns
from tests import host_rows
from tests.conftest import Database
from tests.messaging.outbox_rows import make_due, network, run_notifications, statuses, waiting

TENANTS = [f"T{number}" for number in range(6)]
LETTERS_EACH = 10
ALL = len(TENANTS) * LETTERS_EACH
EACH_ONCE = {f"{tenant_id}-{number}@example.jp": 1 for tenant_id in TENANTS for number in range(LETTERS_EACH)}


@pytest.fixture
def letters(host: psycopg.Connection, connection: psycopg.Connection) -> None:
    """Six tenants with ten letters each that are due."""
    due_at = datetime.now(UTC) - timedelta(hours=1)
    for tenant_id in TENANTS:
        host_rows.tenant(host, tenant_id)
    drafts = [
        Draft(address.partition("-")[0], address, Channel.EMAIL, address, "件名", "本文", due_at)
        for address in EACH_ONCE
    ]
    with tenant_transaction(connection, TENANTS):
        outbox.enqueue(connection, drafts, created_by="test")


def send(connection: psycopg.Connection, services: StandIns) -> None:
    """One shard's dispatch of all due messages."""
    dispatch_due(
        connection,
        TENANTS,
        network(services),
        owner="run",
        clock=lambda: datetime.now(UTC),
        settings=load_settings().notification,
    )


def received(services: StandIns) -> Counter[str]:
    """How often each recipient has had a letter."""
    return Counter(letter.destination for letter in services.messages)


def attempts(host: psycopg.Connection) -> set[int]:
    """How often the letters were tried."""
    return {row[0] for row in host.execute("SELECT DISTINCT attempts FROM batch.outbox").fetchall()}


@pytest.mark.usefixtures("letters")
def test_every_letter_passes_a_server_with_three_connections_once(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns
) -> None:
    services.limit_smtp_connections(3)

    for _ in range(3):
        send(connection, services)
        make_due(host)

    assert statuses(host) == {("email", "sent"): ALL}
    assert received(services) == EACH_ONCE


@pytest.mark.usefixtures("letters")
def test_a_server_that_takes_nothing_stops_all_lanes_and_costs_no_attempt(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns
) -> None:
    services.limit_smtp_connections(0)

    send(connection, services)

    # Each lane has three letters under way.
    assert statuses(host) == {("email", "retry"): 3 * len(TENANTS), ("email", "pending"): 7 * len(TENANTS)}
    assert services.smtp_connections < 2 * 3 * len(TENANTS)
    assert attempts(host) == {0}

    services.limit_smtp_connections(100)
    make_due(host)
    send(connection, services)
    assert received(services) == EACH_ONCE


@pytest.mark.usefixtures("letters")
def test_a_greylisted_recipient_waits_alone_and_costs_no_attempt(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns
) -> None:
    services.refuse_recipient("T0-0@example.jp", "450 4.7.1 Greylisted")

    for _ in range(4):
        send(connection, services)
        make_due(host)

    assert statuses(host) == {("email", "sent"): ALL - 1, ("email", "retry"): 1}
    assert host.execute(
        "SELECT attempts, error_code FROM batch.outbox WHERE status = 'retry'"
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
    assert statuses(host) == {("email", "retry"): 1}
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
