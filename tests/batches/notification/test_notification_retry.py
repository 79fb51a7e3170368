"""The reports, retries and expirations of BATCH-019-02."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.skillreport.batches.notification_retry import create_batch
from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.outbox import MessageDraft, enqueue
from local_stack.batch_runs import LOCAL, open_run, process_tenants
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.outbox_rows import (
    TODAY,
    ambiguous,
    make_due,
    network,
    operate,
    run_notifications,
    slack,
    statuses,
    waiting,
)


@pytest.fixture
def parked(database: Database, host: psycopg.Connection, services: StandIns) -> str:
    """A message of A that may have arrived; returns its id."""
    return ambiguous(database, host, services)


def test_a_closed_channel_is_reported_once_and_reopened_by_the_operator(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    slack(host, "A", services)
    for number in range(3):
        waiting(host, "A", "SLACK", recipient_address=f"C{number}")
    services.fail_next("slack", "token_revoked", times=3)
    run_notifications(database, services)

    told = run_notifications(database, services, spec=NOTIFICATION_RETRY)
    again = run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert (told.status, again.status) == ("failed", "completed")
    assert (
        "チャネル slack を停止しました（トークンが取り消されました、待機 3 件）"
        in told.failed_tenants[0].reason
    )
    make_due(host)
    assert operate(database, services, "reopen").status == "completed"
    assert len(services.messages) == 3


def test_a_report_cut_off_is_repeated_by_the_same_run_only(
    database: Database, services: StandIns, parked: str
) -> None:
    batch = create_batch(LOCAL)
    with database.working() as (platform, connection):
        run, _ = open_run(platform, NOTIFICATION_RETRY, batch, TODAY)
        reports = [
            process_tenants(connection, platform, batch, run, ["A", "B"], None, network(services))
            for _ in range(2)
        ]

    assert [[failure.code for failure in report.failures] for report in reports] == [
        ["NOTIFICATIONS_FAILED"],
        ["NOTIFICATIONS_FAILED"],
    ]
    assert parked
    assert run_notifications(database, services, spec=NOTIFICATION_RETRY).status == "completed"


def test_expired_messages_are_given_up_and_reported(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    log_id = waiting(host, "A", "SLACK", recipient_address="C1")
    run_notifications(database, services)  # no Slack is configured: the message waits
    assert statuses(host) == {("slack", "retry"): 1}
    host.execute(
        "UPDATE batch.outbox SET due_at = %s", [datetime(2026, 11, 1, 15, tzinfo=UTC) - timedelta(hours=73)]
    )

    told = run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert statuses(host) == {("slack", "expired"): 1}
    assert "期限切れの通知 1 件（slack 1 件: 予定から" in told.failed_tenants[0].reason
    assert host.execute(
        'SELECT send_status, response_code FROM "HIS_NotificationLog" WHERE id = %s', [log_id]
    ).fetchone() == ("FAILED", "expired")


def test_a_report_of_many_reasons_says_how_many_messages_are_left_out(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    for number in range(8):
        waiting(host, "A", "SLACK", recipient_address=f"C{number}")
    run_notifications(database, services)
    host.execute(
        "UPDATE batch.outbox SET error_detail = 'reason ' || message_id, due_at = %s",
        [datetime(2026, 11, 1, 15, tzinfo=UTC) - timedelta(hours=73)],
    )

    told = run_notifications(database, services, spec=NOTIFICATION_RETRY)

    reason = told.failed_tenants[0].reason
    listed = sum(int(count) for count in re.findall(r"slack (\d+) 件: ", reason))
    (further,) = re.findall(r"、ほか (\d+) 件）", reason)
    assert "期限切れの通知 8 件" in reason
    assert (listed, further) == (5, "3")


def test_the_figures_of_a_failed_tenant_are_kept_by_channel(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    slack(host, "A", services)
    for number in range(2):
        waiting(host, "A", "SLACK", recipient_address=f"C{number}")
    services.fail_next("slack", "http_503", times=2)
    run_notifications(database, services)
    make_due(host)
    services.fail_next("slack", "channel_not_found")

    told = run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert told.status == "failed"
    assert host.execute(
        "SELECT result -> 'totals' FROM batch.execution_log WHERE execution_id = %s", [told.execution_id]
    ).fetchone() == (
        {
            "totalNotifications": 2,
            "sentCount": 1,
            "sent_slack": 1,
            "failedCount": 1,
            "failed_slack": 1,
            "retryCount": 0,
            "ambiguousCount": 0,
            "leasedCount": 0,
        },
    )


@pytest.mark.parametrize(
    ("hours", "problem"), [("87600", ""), ("999999", "1 以上 87600 以下の整数にしてください")]
)
def test_a_tenant_may_wait_for_ten_years_and_more_means_the_default(
    database: Database, host: psycopg.Connection, services: StandIns, hours: str, problem: str
) -> None:
    host_rows.tenant(host, "A")
    for name in ("expire_hours", "give_up_hours"):
        host_rows.insert(
            host,
            "MST_TenantSettings",
            id=name,
            tenant_id="A",
            setting_key=f"batch.notification.{name}",
            setting_value=hours,
            updated_at=datetime(2026, 10, 1),
        )
    waiting(host, "A", recipient_address="a@example.jp")

    sent = run_notifications(database, services)
    again = run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert (sent.status, again.status) == ("completed", "completed")
    assert [arrived.destination for arrived in services.messages] == ["a@example.jp"]
    (notes,) = host.execute(
        "SELECT notes FROM batch.tenant_outcome WHERE execution_id = %s", [sent.execution_id]
    ).fetchone() or ([],)
    assert [problem in note for note in notes if "batch.notification." in note] == [True] * bool(problem)


def test_in_quiet_hours_only_what_is_urgent_is_sent(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    now = datetime.now(JAPAN)
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id="around now",
        tenant_id="A",
        setting_key="batch.notification.quiet_hours",
        setting_value=f"{now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=1):%H:%M}",
        updated_at=datetime(2026, 10, 1),
    )
    waiting(host, "A", recipient_address="later@example.jp")
    waiting(host, "A", recipient_address="now@example.jp", priority_level="HIGH")

    run_notifications(database, services)

    assert [arrived.destination for arrived in services.messages] == ["now@example.jp"]
    # The other waits for the end of the quiet hours, not for the next daily run.
    (end,) = host.execute("SELECT next_attempt_at FROM batch.outbox WHERE status = 'pending'").fetchall()
    assert end == ((now + timedelta(hours=1)).replace(second=0, microsecond=0),)
    make_due(host)
    host.execute('DELETE FROM "MST_TenantSettings"')
    run_notifications(database, services, spec=NOTIFICATION_RETRY)
    assert [arrived.destination for arrived in services.messages] == ["now@example.jp", "later@example.jp"]


def test_the_next_run_reports_the_failures_of_a_lost_run(
    database: Database, host: psycopg.Connection, services: StandIns, parked: str
) -> None:
    batch = create_batch(LOCAL)
    with database.connect("batch_platform") as platform:
        run, _ = open_run(platform, NOTIFICATION_RETRY, batch, TODAY)
    # Killed between taking the failures and saying so.
    host.execute("UPDATE batch.outbox SET reported_by = %s", [run.execution_id])

    told = run_notifications(database, services, spec=NOTIFICATION_RETRY)
    again = run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert parked
    assert (told.status, again.status) == ("partial", "completed")


def test_the_application_learns_of_a_letter_after_its_tenant_left(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    """The application held the row while the letter was sent."""
    host_rows.tenant(host, "A")
    log_id = waiting(host, "A", recipient_address="a@example.jp")
    run_notifications(database, services)
    host.execute("UPDATE batch.outbox SET mirrored_status = 'pending'")
    host.execute("UPDATE \"HIS_NotificationLog\" SET send_status = 'PENDING'")
    host.execute("UPDATE \"MST_Tenant\" SET status = 'INACTIVE'")

    run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert host.execute('SELECT id, send_status FROM "HIS_NotificationLog"').fetchall() == [
        (log_id, "SUCCESS")
    ]
    assert len(services.messages) == 1


def test_a_letter_is_not_given_up_before_its_time(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id="hasty",
        tenant_id="A",
        setting_key="batch.notification.give_up_hours",
        setting_value="1",
        updated_at=datetime(2026, 10, 1),
    )
    soon = datetime.now(UTC) + timedelta(minutes=30)
    draft = MessageDraft("A", "soon", EMAIL, "a@example.jp", "件名", "本文", soon)
    with database.connect("batch_tenant") as connection, tenant_transaction(connection, ["A"]):
        enqueue(connection, [draft], created_by="test")

    run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert statuses(host) == {("email", "pending"): 1}
