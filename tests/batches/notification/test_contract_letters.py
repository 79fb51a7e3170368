"""Letters that belong to a contract: they offer no unsubscription, ignore earlier ones, and wait without an end, reported daily."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import psycopg
import pytest

from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.network import Network
from include.skillreport.messaging.contract_letters import CONTRACT_LETTERS, MONTHLY_REPORT, USAGE_WARNING
from include.skillreport.messaging.notices import notice
from include.skillreport.messaging.template_store import default_template
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.worlds import billing_rows, host_rows
from tests.worlds.billing_letters import JUNE, SEVENTH
from tests.worlds.billing_rows import customer, run_billing
from tests.worlds.outbox_rows import make_due, network, run_notifications, waiting
from tests.worlds.queued_letters import PAYER, TOO_OLD, draft, queue

# What the built-in templates name.
VARIABLES = dict.fromkeys(
    [
        *("days", "as_of", "last_activity", "tenant_name", "month", "files", "summary", "notices"),
        *("has_previous", "report_link"),
        *("service", "count", "findings", "metric", "threshold", "observed", "allowance", "percent"),
    ],
    "x",
)


def mail_with_unsubscription(services: StandIns) -> Network:
    usual = network(services)
    assert usual.email is not None
    return replace(usual, email=replace(usual.email, unsubscribe_address="unsubscribe+{token}@example.jp"))


def notify(database: Database, services: StandIns, **options: Any) -> RunResult:
    return run_notifications(database, services, through=mail_with_unsubscription(services), **options)


def retry(database: Database, services: StandIns) -> RunResult:
    return notify(database, services, spec=NOTIFICATION_RETRY, on=datetime.now(JAPAN).date())


def letter(host: psycopg.Connection, letter_id: str = "invoice-1", **values: Any) -> None:
    """A letter of BATCH-018-02."""
    waiting(host, "A", id=letter_id, recipient_type="BILLING_CONTACT", recipient_address=PAYER, **values)


def suppress(host: psycopg.Connection, reason: str) -> None:
    host.execute(
        """
        INSERT INTO batch.suppressed_address (tenant_id, address, error_code, reason, bounces, suppressed_at)
        VALUES ('A', %s, %s, %s, 0, now())
        """,
        [PAYER, reason, reason],
    )


def rows(host: psycopg.Connection, columns: str = "status, error_code") -> list[tuple[Any, ...]]:
    return host.execute(f"SELECT {columns} FROM batch.outbox ORDER BY dedupe_key").fetchall()


def test_an_unsubscription_stops_notifications_and_no_letter_of_the_contract(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    suppress(host, "unsubscribe")
    letter(host)
    waiting(host, "A", id="news", recipient_address=PAYER, subject="お知らせ")
    waiting(host, "A", id="other", recipient_address="other@example.jp", subject="お知らせ")

    result = notify(database, services)

    assert result.status == "completed"
    assert rows(host, "dedupe_key, status, error_code, template_key") == [
        ("host:invoice-1", "sent", None, "invoice"),
        ("host:news", "dead", "suppressed", None),
        ("host:other", "sent", None, None),
    ]
    offered = {each.destination: "List-Unsubscribe" in each.headers for each in services.messages}
    assert offered == {PAYER: False, "other@example.jp": True}


@pytest.mark.parametrize("reason", ["complaint", "bounce"])
def test_a_complaint_or_a_bounce_stops_a_letter_and_this_is_reported(
    database: Database, host: psycopg.Connection, services: StandIns, reason: str
) -> None:
    host_rows.tenant(host, "A")
    suppress(host, reason)
    letter(host)

    notify(database, services)
    told = retry(database, services)

    assert rows(host) == [("dead", "suppressed")]
    assert services.messages == []
    assert "送信できなかった通知 1 件" in told.failed_tenants[0].reason


def test_a_contract_letter_never_expires_and_is_reported_daily_until_sent(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    queue(
        database,
        draft(USAGE_WARNING, datetime.now(UTC) - TOO_OLD, "contract"),
        draft(None, datetime.now(UTC) - TOO_OLD, "usual"),
    )
    services.fail_next("email", "450 4.7.1 Greylisted", command="RCPT")

    told = retry(database, services)
    make_due(host)
    services.fail_next("email", "450 4.7.1 Greylisted", command="RCPT")
    again = retry(database, services)

    assert rows(host) == [("pending", "4.7"), ("expired", "expired")]
    (failure,) = told.failed_tenants
    assert "請求書など契約の通知 1 件" in failure.reason
    assert "グレイリスト" in failure.reason
    assert "期限切れの通知 1 件" in failure.reason
    assert again.status == "completed"

    host.execute("UPDATE batch.tenant_outcome SET recorded_at = recorded_at - interval '1 day'")
    make_due(host)
    services.fail_next("email", "450 4.7.1 Greylisted", command="RCPT")
    next_day = retry(database, services)
    make_due(host)
    sent = retry(database, services)

    assert "請求書など契約の通知 1 件" in next_day.failed_tenants[0].reason
    assert "期限切れ" not in next_day.failed_tenants[0].reason
    assert (sent.status, rows(host)) == ("completed", [("sent", None), ("expired", "expired")])


def test_a_letter_reported_as_waiting_is_reported_again_when_it_fails(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    queue(database, draft(USAGE_WARNING, datetime.now(UTC) - TOO_OLD))
    services.fail_next("email", "450 4.7.1 Greylisted", command="RCPT")
    retry(database, services)
    make_due(host)
    services.fail_next("email", "5.1.1", command="RCPT")

    told = retry(database, services)

    assert rows(host) == [("dead", "5.1.1")]
    assert "送信できなかった通知 1 件" in told.failed_tenants[0].reason


def test_a_letter_reported_as_waiting_is_reported_again_after_sender_loss(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    queue(database, draft(USAGE_WARNING, datetime.now(UTC) - TOO_OLD))
    services.fail_next("email", "450 4.7.1 Greylisted", command="RCPT")
    retry(database, services)
    host.execute(
        """
        UPDATE batch.outbox
        SET status = 'sending', attempts = 2, lease_owner = 'lost', lease_until = now() - interval '1 minute'
        """
    )

    told = retry(database, services)

    assert rows(host) == [("ambiguous", "sender_lost")]
    assert "届いたか分からない" in told.failed_tenants[0].reason


def test_a_tenant_cannot_switch_its_letters_off(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id="off",
        tenant_id="A",
        setting_category="NOTIFICATION",
        setting_key="EMAIL_ENABLED",
        setting_value="false",
        updated_at=datetime(2026, 10, 1),
    )
    letter(host)
    due_at = datetime.now(UTC) - timedelta(hours=1)
    queue(
        database,
        draft(USAGE_WARNING, due_at),
        draft(MONTHLY_REPORT, due_at, "report"),
        draft("goal_due", due_at, "reminder"),
    )

    notify(database, services)

    assert rows(host, "template_key, status, error_code") == [
        ("invoice", "sent", None),
        (USAGE_WARNING, "sent", None),
        ("goal_due", "pending", "switched_off"),
        (MONTHLY_REPORT, "sent", None),
    ]


def test_documents_voids_and_payment_reminders_are_letters_of_their_kinds(
    database: Database, host: psycopg.Connection, services: StandIns, settings: Callable[..., None]
) -> None:
    settings(payment_source="operations")
    may = date(2026, 5, 1)
    customer(host, "A", months=(may, JUNE))
    for month in (may, JUNE):
        run_billing(database, month)
    host.execute("""UPDATE "HIS_NotificationLog" SET send_status = 'SENT' WHERE id LIKE 'invoice-%'""")

    notify(database, services, on=SEVENTH)
    for month, operation in ((may, "void"), (JUNE, "credit")):
        run_at = datetime.combine(SEVENTH, time(15), JAPAN)
        billing_rows.operate(database, operation, month=month, reason="訂正", run_at=run_at)
    host.execute(
        """UPDATE "HIS_NotificationLog" SET scheduled_at = '2026-08-01' WHERE send_status = 'PENDING'"""
    )
    notify(database, services, on=SEVENTH)

    kinds = {key for (key,) in rows(host, "template_key")}
    assert kinds >= {"payment_reminder", "invoice_void", "credit_note"}
    assert kinds <= CONTRACT_LETTERS


@pytest.mark.parametrize(
    "key",
    sorted(
        {*CONTRACT_LETTERS, MONTHLY_REPORT}
        - {"invoice", "credit_note", "invoice_void", "payment_reminder", "recipient_changed"}
    ),
)
def test_a_notice_is_of_the_kind_of_its_template(key: str) -> None:
    written = notice(
        "A", default_template(key, "ja"), PAYER, VARIABLES, dedupe_key="k", due_at=datetime.now(UTC)
    )

    assert written.template_key == key
