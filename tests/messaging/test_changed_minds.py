"""The application's row decides until the moment of sending: cancelled, deleted, edited, moved, switched off."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.core.database import count_of
from include.skillreport.messaging import shared_limits
from include.skillreport.messaging.retry import Status
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.waiting import wait_until
from tests.worlds import host_rows
from tests.worlds.outbox_rows import DUE, make_due, run_notifications, slack, statuses, unsigned, waiting

SHOWN = 'SELECT send_status, send_attempts, response_code FROM "HIS_NotificationLog" WHERE id = %s'


@pytest.fixture(autouse=True)
def tenant(host: psycopg.Connection, services: StandIns) -> None:
    """A tenant with mail and Slack."""
    host_rows.tenant(host, "A")
    slack(host, "A", services)


def put_off(database: Database, host: psycopg.Connection, services: StandIns, **values: Any) -> str:
    """A notification in the outbox that was refused once and is due again; returns the id of the application's row."""
    log_id = waiting(host, "A", **values)
    services.fail_next("email", "450 Try again", command="RCPT")
    run_notifications(database, services)
    assert statuses(host) == {("email", "retry"): 1}
    make_due(host)
    return log_id


def change(host: psycopg.Connection, assignment: str, log_id: str) -> None:
    """A change by the application."""
    host.execute(f'UPDATE "HIS_NotificationLog" SET {assignment} WHERE id = %s', [log_id])


def retry(database: Database, services: StandIns) -> None:
    """The hourly run."""
    run_notifications(database, services, spec=NOTIFICATION_RETRY)


@pytest.mark.parametrize("status", ["CANCELLED", "cancelled", " Canceled"])
def test_a_cancelled_notification_is_withdrawn_and_stays_cancelled(
    database: Database, host: psycopg.Connection, services: StandIns, status: str
) -> None:
    log_id = put_off(database, host, services)
    change(host, f"send_status = '{status}'", log_id)

    retry(database, services)

    assert services.messages == []
    assert statuses(host) == {("email", "withdrawn"): 1}
    assert host.execute(SHOWN, [log_id]).fetchone() == (status, 1, "smtp_4")


@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE "HIS_NotificationLog" SET is_deleted = true WHERE id = %s',
        'DELETE FROM "HIS_NotificationLog" WHERE id = %s',
    ],
)
def test_a_deleted_notification_is_withdrawn(
    database: Database, host: psycopg.Connection, services: StandIns, statement: str
) -> None:
    log_id = put_off(database, host, services)
    host.execute(statement, [log_id])

    retry(database, services)

    assert services.messages == []
    assert statuses(host) == {("email", "withdrawn"): 1}


def test_a_message_cancelled_while_being_sent_stays_cancelled(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    log_id = waiting(host, "A")
    host.execute(
        """
        CREATE FUNCTION pg_temp.cancel() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN
            UPDATE "HIS_NotificationLog" SET send_status = 'CANCELLED';
            RETURN null;
        END $$
        """
    )
    # As soon as the message is claimed, and before its result is recorded.
    host.execute(
        "CREATE TRIGGER cancelled AFTER UPDATE ON batch.outbox FOR EACH ROW WHEN (new.status = 'sending')"
        " EXECUTE FUNCTION pg_temp.cancel()"
    )
    run_notifications(database, services)
    host.execute("DROP TRIGGER cancelled ON batch.outbox")
    retry(database, services)

    assert len(services.messages) == 1
    assert statuses(host) == {("email", "sent"): 1}
    assert host.execute(SHOWN, [log_id]).fetchone() == ("CANCELLED", 0, None)
    assert host.execute("SELECT mirrored_status FROM batch.outbox").fetchall() == [("sent",)]


def test_an_edited_text_and_recipient_are_sent(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    log_id = put_off(database, host, services, recipient_address="old@example.jp", message_body="前の本文")
    change(
        host,
        "recipient_address = 'new@example.jp', subject = '新しい件名', message_body = '新しい本文'",
        log_id,
    )

    retry(database, services)

    (arrived,) = services.messages
    assert (arrived.destination, arrived.subject, unsigned(arrived.text)) == (
        "new@example.jp",
        "新しい件名",
        "新しい本文",
    )
    assert "新しい本文" in (arrived.rich or "")
    assert host.execute("SELECT destination, subject, body FROM batch.outbox").fetchall() == [
        ("new@example.jp", "新しい件名", "新しい本文")
    ]


def test_a_notification_that_moved_to_another_channel_goes_there(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    log_id = put_off(database, host, services)
    change(host, "notification_type = 'SLACK', recipient_address = 'C1'", log_id)

    retry(database, services)
    retry(database, services)

    assert [(arrived.channel, arrived.destination) for arrived in services.messages] == [("slack", "C1")]
    assert statuses(host) == {("slack", "sent"): 1}


def test_a_notification_postponed_by_the_application_waits_for_its_time(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    log_id = put_off(database, host, services)
    later = datetime.now(UTC) + timedelta(days=1)
    host.execute(
        'UPDATE "HIS_NotificationLog" SET scheduled_at = %s WHERE id = %s',
        [later.replace(tzinfo=None), log_id],
    )

    retry(database, services)

    assert services.messages == []
    ((waits_until,),) = host.execute("SELECT next_attempt_at FROM batch.outbox").fetchall()
    assert abs(waits_until - later) < timedelta(seconds=1)


@pytest.mark.parametrize(("retries", "status"), [(0, "dead"), (1, "retry"), (None, "retry"), (-1, "retry")])
def test_the_rows_own_number_of_retries_holds(
    database: Database, host: psycopg.Connection, services: StandIns, retries: int | None, status: str
) -> None:
    waiting(host, "A", max_retry_count=retries)
    services.fail_next("email", "450 Try again", command="RCPT")

    run_notifications(database, services)

    assert statuses(host) == {("email", status): 1}


def notification_setting(host: psycopg.Connection, **values: object) -> None:
    """A row of MST_NotificationSettings."""
    usual = {"id": "NS001", "tenant_id": "A", "setting_key": "x", "updated_at": DUE, "is_enabled": True}
    host_rows.insert(host, "MST_NotificationSettings", **usual | values)


@pytest.mark.parametrize("assignment", ["is_enabled = false", "is_deleted = true"])
def test_a_disabled_setting_holds_its_notifications(
    database: Database, host: psycopg.Connection, services: StandIns, assignment: str
) -> None:
    notification_setting(host)
    put_off(database, host, services, setting_id="NS001")
    host.execute(f'UPDATE "MST_NotificationSettings" SET {assignment}')

    retry(database, services)
    assert services.messages == []
    assert host.execute("SELECT error_code FROM batch.outbox").fetchall() == [("switched_off",)]
    host.execute('UPDATE "MST_NotificationSettings" SET is_enabled = true, is_deleted = false')
    make_due(host)
    retry(database, services)

    assert len(services.messages) == 1


def test_a_notification_of_a_disabled_setting_is_not_queued(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    notification_setting(host, is_enabled=False)
    log_id = waiting(host, "A", setting_id="NS001")

    run_notifications(database, services)

    assert services.messages == []
    assert statuses(host) == {}
    assert host.execute(SHOWN, [log_id]).fetchone() == ("PENDING", 0, None)
    assert host.execute("SELECT notes FROM batch.tenant_outcome").fetchall() == [
        (["通知の設定が無効のため、通知 1 件を送信しません"],)
    ]


def switch(host: psycopg.Connection, value: str, key: str = "EMAIL_ENABLED") -> None:
    """The tenant's own switch, as the application's script writes it."""
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id=key,
        tenant_id="A",
        setting_category="NOTIFICATION",
        setting_key=key,
        setting_value=value,
        updated_at=DUE,
    )


def test_a_channel_that_the_tenant_switched_off_is_not_used(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    put_off(database, host, services)
    waiting(host, "A")
    waiting(host, "A", "SLACK", recipient_address="C1")
    switch(host, "false")

    run_notifications(database, services)
    retry(database, services)

    assert [arrived.channel for arrived in services.messages] == ["slack"]
    assert host.execute("SELECT error_code FROM batch.outbox WHERE channel = 'email'").fetchall() == [
        ("switched_off",)
    ]


def test_a_switch_holds_also_during_a_run(
    database: Database, host: psycopg.Connection, services: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_limits, "_RENEW_SECONDS", 0.05)
    for number in range(8):
        waiting(host, "A", "SLACK", recipient_address=f"C{number}")

    with services.held("slack") as release, ThreadPoolExecutor() as threads:
        run = threads.submit(run_notifications, database, services)
        wait_until(lambda: len(services.messages) >= 5, "messages are in flight")
        switch(host, "false", "SLACK_ENABLED")
        wait_until(lambda: held(host) == 3, "the others are held")
        release()
        run.result()

    assert statuses(host) == {("slack", "sent"): 5, ("slack", "pending"): 3}


def test_a_notification_switched_on_again_expires_like_any_other(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    """It was held, and then its channel was closed."""
    put_off(database, host, services)
    switch(host, "false")
    retry(database, services)
    assert held(host) == 1
    host.execute('DELETE FROM "MST_TenantSettings"')
    host.execute(
        "INSERT INTO batch.channel_circuit (tenant_id, channel, error_code, reason) VALUES ('A', 'email', '535', 'x')"
    )
    make_due(host)
    retry(database, services)
    assert held(host) == 0
    host.execute("UPDATE batch.outbox SET due_at = due_at - interval '73 hours'")

    run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert statuses(host) == {("email", "expired"): 1}


def test_a_letter_about_an_invoice_is_sent_whatever_setting_it_names(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    notification_setting(host, is_enabled=False)
    waiting(host, "A", recipient_type="BILLING_CONTACT", setting_id="NS001")

    run_notifications(database, services)

    assert len(services.messages) == 1


def test_an_invoice_letter_is_sent_late_and_other_notifications_expire(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    days_ago = DUE - timedelta(days=5)
    for recipient_type in ("BILLING_CONTACT", "USER"):
        waiting(host, "A", recipient_type=recipient_type, scheduled_at=days_ago.replace(tzinfo=None))
    services.fail_next("email", "450 Try again", command="RCPT")

    run_notifications(database, services)
    # The letter waits for its next attempt. It is not given up because its first time is long ago.
    assert statuses(host) == {("email", "retry"): 1}
    make_due(host)
    retry(database, services)

    assert statuses(host) == {("email", "sent"): 1}
    shown = host.execute(
        'SELECT recipient_type, send_status FROM "HIS_NotificationLog" ORDER BY 1'
    ).fetchall()
    assert shown == [("BILLING_CONTACT", "SUCCESS"), ("USER", "FAILED")]


@pytest.mark.parametrize("never", ["infinity", "294276-12-31", "9999-12-31 23:59:59"])
def test_a_notification_that_is_never_due_waits(
    database: Database, host: psycopg.Connection, services: StandIns, never: str
) -> None:
    moved = put_off(database, host, services)
    other = waiting(host, "A")
    change(host, f"scheduled_at = '{never}'", moved)

    run_notifications(database, services)
    change(host, f"scheduled_at = '{never}'", waiting(host, "A"))
    retry(database, services)

    assert len(services.messages) == 1
    assert host.execute(SHOWN, [other]).fetchone() == ("SUCCESS", 1, None)
    assert statuses(host) == {("email", "retry"): 1, ("email", "sent"): 1}


def test_a_notification_that_was_due_before_all_time_is_given_up(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    lost = waiting(host, "A")
    change(host, "scheduled_at = '-infinity'", lost)
    waiting(host, "A")

    run_notifications(database, services)

    assert len(services.messages) == 1
    assert host.execute(SHOWN, [lost]).fetchone() == ("FAILED", 0, "expired")


def test_a_notification_whose_type_became_unknown_is_not_sent(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    log_id = put_off(database, host, services)
    change(host, "notification_type = 'FAX'", log_id)

    retry(database, services)

    assert services.messages == []
    assert statuses(host) == {("email", "withdrawn"): 1}


def held(host: psycopg.Connection) -> int:
    """How many messages are held."""
    return count_of(host, "SELECT count(*) FROM batch.outbox WHERE error_code = 'switched_off'")


@pytest.mark.parametrize("value", ["true", "", "1"])
def test_a_switch_that_is_on_stops_nothing(
    database: Database, host: psycopg.Connection, services: StandIns, value: str
) -> None:
    waiting(host, "A")
    switch(host, value)

    run_notifications(database, services)

    assert len(services.messages) == 1


def test_a_letter_about_an_invoice_has_no_switch(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    waiting(host, "A", recipient_type="BILLING_CONTACT")
    switch(host, "false")

    run_notifications(database, services)

    assert len(services.messages) == 1


def test_a_held_message_that_becomes_too_old_is_withdrawn(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    put_off(database, host, services)
    switch(host, "false")
    retry(database, services)
    host.execute("UPDATE batch.outbox SET due_at = due_at - interval '73 hours'")

    result = run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert result.status == "completed"
    assert statuses(host) == {("email", Status.WITHDRAWN): 1}
