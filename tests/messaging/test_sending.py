"""BATCH-019-01 and 019-02 on real rows, over real sockets."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import psycopg
import pytest

from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.messaging import throttle
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.virtual_time import VirtualTime
from tests.worlds import host_rows
from tests.worlds.outbox_rows import (
    make_due,
    network,
    operate,
    run_notifications,
    slack,
    statuses,
    waiting,
)


def shown(host: psycopg.Connection, log_id: str) -> tuple[str, int, str | None]:
    """Status, attempts and error code that the application shows."""
    row = host.execute(
        'SELECT send_status, send_attempts, response_code FROM "HIS_NotificationLog" WHERE id = %s', [log_id]
    ).fetchone()
    assert row is not None
    return row


def test_due_messages_arrive_once_and_a_second_run_sends_nothing(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    slack(host, "A", services)
    mail = waiting(host, "A")
    post = waiting(host, "A", "Slack", recipient_address="C0123", priority_level="HIGH")

    first = run_notifications(database, services)
    second = run_notifications(database, services)

    assert (first.status, second.status) == ("completed", "completed")
    assert sorted((arrived.channel, arrived.destination) for arrived in services.messages) == [
        ("email", "member@example.jp"),
        ("slack", "C0123"),
    ]
    assert shown(host, mail) == ("SUCCESS", 1, None)
    assert shown(host, post) == ("SUCCESS", 1, None)


def test_a_transient_failure_is_sent_by_the_hourly_run(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    log_id = waiting(host, "A")
    services.fail_next("email", "smtp_4")
    run_notifications(database, services)
    assert shown(host, log_id) == ("RETRY", 1, "smtp_4")

    assert run_notifications(database, services, spec=NOTIFICATION_RETRY).status == "completed"
    assert services.messages == []  # its hour has not come

    make_due(host)
    run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert len(services.messages) == 1
    assert shown(host, log_id) == ("SUCCESS", 2, None)


def test_a_revoked_token_closes_the_channel_and_nothing_is_lost(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    for tenant in ("A", "B"):
        host_rows.tenant(host, tenant)
        slack(host, tenant, services)
    for number in range(20):
        waiting(host, "A", "SLACK", recipient_address=f"C{number}")
    waiting(host, "B", "SLACK", recipient_address="C0")
    services.fail_next("slack", "token_revoked", times=5)

    run_notifications(database, services, codes=["A"])
    run_notifications(database, services, codes=["B"])

    assert [arrived.destination for arrived in services.messages] == ["C0"]
    assert statuses(host) == {("slack", "retry"): 5, ("slack", "pending"): 15, ("slack", "sent"): 1}
    host.execute(
        "UPDATE \"SYS_IntegrationConfig\" SET updated_at = now() AT TIME ZONE 'UTC' + interval '1 minute'"
    )
    make_due(host)
    run_notifications(database, services, spec=NOTIFICATION_RETRY)
    assert statuses(host) == {("slack", "sent"): 21}


def test_a_message_that_waited_more_than_a_day_expires(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    late = waiting(host, "A", scheduled_at=datetime(2026, 10, 30, 23, 59))
    odd = waiting(host, "A", "PIGEON")
    blank = waiting(host, "A", subject=None, message_body=" \n")

    run_notifications(database, services)

    assert services.messages == []
    assert shown(host, late) == ("FAILED", 0, "expired")
    assert shown(host, odd) == ("FAILED", 0, "unknown_channel")
    assert shown(host, blank) == ("FAILED", 0, "no_text")


def test_the_tokens_of_all_sending_tenants_are_masked(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    for tenant_id in ("A", "B"):
        host_rows.tenant(host, tenant_id)
        slack(host, tenant_id, services)
        waiting(host, tenant_id, "SLACK", recipient_address="C1")
    masked = set[str]()

    run_notifications(database, services, through=replace(network(services), mask=masked.update))

    assert {"xoxb-A", "xoxb-B"} <= masked


def test_an_uncertain_post_is_reported_once_and_decided_by_an_operator(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    slack(host, "A", services)
    waiting(host, "A", "SLACK", recipient_address="C1")
    services.drop_connection("slack")
    run_notifications(database, services)
    assert statuses(host) == {("slack", "ambiguous"): 1}

    told = run_notifications(database, services, spec=NOTIFICATION_RETRY)
    again = run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert told.status == "failed"
    assert "届いたか分からない通知 1 件" in told.failed_tenants[0].reason
    assert again.status == "completed"
    (message_id,) = host.execute("SELECT message_id FROM batch.outbox").fetchone() or ("",)
    arrived = len(services.messages)
    operate(database, services, "mark_sent", message_id)
    assert statuses(host) == {("slack", "sent"): 1}
    assert len(services.messages) == arrived


def test_an_address_that_does_not_exist_is_not_written_to_again(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    services.refuse_recipient("nobody@example.jp", "5.1.1")
    waiting(host, "A", recipient_address="nobody@example.jp")
    run_notifications(database, services)

    assert host.execute("SELECT tenant_id, address, error_code FROM batch.suppressed_address").fetchall() == [
        ("A", "nobody@example.jp", "5.1.1")
    ]
    connections = services.smtp_connections
    second = waiting(host, "A", recipient_address="Nobody@example.jp")
    run_notifications(database, services)
    assert services.smtp_connections == connections
    assert shown(host, second) == ("FAILED", 1, "suppressed")


def test_reminders_are_sent_once_per_threshold_and_after_missed_days(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    host_rows.user(host, "A", "hanako")
    for record_id, expires_at in (("r28", datetime(2026, 11, 29)), ("r40", datetime(2026, 12, 11))):
        host_rows.insert(
            host,
            "TRN_PDU",
            id=record_id,
            tenant_id="A",
            employee_id="emp_hanako",
            activity_type="certification",
            certification_id="CERT1",
            expiry_date=expires_at,
            updated_at=datetime(2026, 10, 1),
            created_by="hanako",
            updated_by="hanako",
        )

    run_notifications(database, services)
    run_notifications(database, services)

    (arrived,) = services.messages
    assert arrived.destination == "hanako@example.jp"
    assert "CERT1 の期限は 28 日後です" in arrived.subject


def test_a_tenants_own_rate_limit_is_kept(
    database: Database, host: psycopg.Connection, services: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = VirtualTime()
    time.replace_clock(monkeypatch, throttle)
    host_rows.tenant(host, "A")
    slack(host, "A", services)
    host.execute('UPDATE "SYS_IntegrationConfig" SET rate_limit_per_minute = 120')
    for number in range(4):
        waiting(host, "A", "SLACK", recipient_address=f"C{number}")

    run_notifications(database, services)

    assert len(services.messages) == 4
    assert time.pauses == pytest.approx([0.5, 0.5, 0.5], abs=0.02)
