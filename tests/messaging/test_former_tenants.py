"""Tenants that are no longer active: their invoices and reminders still arrive, fail in sight and can be decided about."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest

from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.messaging import outbox
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.outbox import MessageDraft
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.outbox_rows import (
    lose_senders,
    make_due,
    operate,
    run_notifications,
    statuses,
    waiting,
)

LETTER = "keiri@left.example"


def leave(host: psycopg.Connection, status: str = "SUSPENDED") -> None:
    """Tenant L is no longer active."""
    host.execute("""UPDATE "MST_Tenant" SET status = %s WHERE tenant_id = 'L'""", [status])


@pytest.fixture(autouse=True)
def left(host: psycopg.Connection) -> None:
    """Tenant A is active. Tenant L has left, and a letter about its invoice waits."""
    host_rows.tenant(host, "A")
    host_rows.tenant(host, "L", status="SUSPENDED")
    waiting(host, "L", recipient_type="BILLING_CONTACT", recipient_address=LETTER)


def hour_later(database: Database, host: psycopg.Connection, services: StandIns) -> RunResult:
    """The next run of BATCH-019-02 after all pauses."""
    make_due(host)
    return run_notifications(database, services, spec=NOTIFICATION_RETRY)


def recipients(services: StandIns) -> list[str]:
    """Who has got a letter."""
    return [message.destination for message in services.messages]


@pytest.mark.parametrize("status", ["SUSPENDED", "INACTIVE", "EXPIRED"])
@pytest.mark.parametrize("answer", ["450 4.2.0 Try again later", "451 4.3.0 Temporary server error"])
def test_a_letter_that_failed_for_a_moment_is_sent_an_hour_later(
    database: Database, host: psycopg.Connection, services: StandIns, status: str, answer: str
) -> None:
    leave(host, status)
    services.fail_next("email", answer)
    run_notifications(database, services)
    assert services.messages == []

    assert hour_later(database, host, services).status == "completed"
    assert recipients(services) == [LETTER]
    assert hour_later(database, host, services).total_tenants == 1


def test_a_letter_whose_sender_was_killed_is_taken_over(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    services.fail_next("email", "450 4.2.0 Try again later")
    run_notifications(database, services)
    host.execute("""
        UPDATE batch.outbox SET status = 'sending', lease_owner = 'killed', lease_until = clock_timestamp()
    """)
    lose_senders(host)

    hour_later(database, host, services)
    assert recipients(services) == [LETTER]


def test_a_final_failure_is_reported_and_sent_again_by_an_operator(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    services.fail_next("email", "550 5.1.1 No such user", command="RCPT")
    run_notifications(database, services)
    run = hour_later(database, host, services)
    assert [(failure.code, failure.error_codes) for failure in run.failed_tenants] == [
        ("L", ["NOTIFICATIONS_FAILED"])
    ]
    (message_id,) = host.execute("SELECT message_id FROM batch.outbox").fetchone() or ("",)

    for codes in ((), ("L",)):
        host.execute("UPDATE batch.outbox SET status = 'dead', finished_at = now()")
        host.execute("DELETE FROM batch.suppressed_address")
        assert operate(database, services, "resend", message_id, codes=codes).status == "completed"
    assert recipients(services) == [LETTER, LETTER]


def test_stopped_messages_of_a_tenant_that_has_left_since_are_resumed(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    leave(host, "ACTIVE")
    operate(database, services, "stop", codes=["L"], reason="移行中", contract_letters=True)
    run_notifications(database, services)
    leave(host)
    assert services.messages == []

    assert operate(database, services, "resume", codes=["L"]).status == "completed"
    assert recipients(services) == [LETTER]


def test_other_messages_of_a_tenant_that_has_left_are_not_sent(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    drafts = [
        MessageDraft(
            "L",
            f"{kind}",
            EMAIL,
            f"{kind}@left.example",
            "件名",
            "本文",
            datetime.now(UTC),
            template_key=kind,
        )
        for kind in ("goal_reminder", "certificate_expiry")
    ]
    with database.connect("batch_tenant") as tenants, tenant_transaction(tenants, ["L"]):
        outbox.enqueue(tenants, drafts, created_by="test")
    run_notifications(database, services)
    for _ in range(2):
        assert hour_later(database, host, services).status == "completed"

    assert recipients(services) == [LETTER]
    assert statuses(host) == {("email", "sent"): 1, ("email", "pending"): 2}


def test_a_tenant_with_an_unknown_status_stays_left_out(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    services.fail_next("email", "450 4.2.0 Try again later")
    run_notifications(database, services)
    leave(host, "PAUSED?")

    assert hour_later(database, host, services).total_tenants == 1
    assert services.messages == []
