"""Messages of a channel that stays closed go to the tenant's administrator by e-mail, if the tenant has enabled this."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.core.database import tenant_transaction
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.outbox import MessageDraft, enqueue
from local_stack.stand_ins import Arrived, StandIns
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds import host_rows
from tests.worlds.outbox_rows import DUE, make_due, run_notifications, slack, statuses, waiting

SHOWN = 'SELECT send_status, response_code, error_details FROM "HIS_NotificationLog" WHERE id = %s'


def setting(host: psycopg.Connection, key: str, value: str, tenant_id: str = "A", category: str = "") -> None:
    """A row of MST_TenantSettings."""
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id=f"{tenant_id}:{key}",
        tenant_id=tenant_id,
        setting_category=category,
        setting_key=key,
        setting_value=value,
        updated_at=DUE,
    )


def closed_channel(
    database: Database,
    host: psycopg.Connection,
    services: StandIns,
    *texts: str,
    tenant_id: str = "A",
    hours: str = "2",
    admin_email: str | None = "admin@example.jp",
) -> list[str]:
    """A tenant whose Slack refuses the token while these notifications wait; returns the ids of the application's rows."""
    host_rows.tenant(host, tenant_id, admin_email=admin_email)
    setting(host, "batch.notification.fallback_hours", hours, tenant_id)
    slack(host, tenant_id, services)
    ids = [waiting(host, tenant_id, "SLACK", recipient_address="C1", message_body=text) for text in texts]
    services.fail_next("slack", "token_revoked", times=len(texts))
    run_notifications(database, services)
    assert services.messages == []
    return ids


def close_for(host: psycopg.Connection, duration: str) -> None:
    """The channels have been closed for so long."""
    host.execute("UPDATE batch.channel_circuit SET opened_at = now() - %s::interval", [duration])


def retry(database: Database, services: StandIns) -> list[Arrived]:
    """The messages that the hourly run sends."""
    before = len(services.messages)
    run_notifications(database, services, spec=NOTIFICATION_RETRY)
    return services.messages[before:]


def test_the_administrator_gets_undeliverable_messages_in_one_letter_after_the_hours(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    first, second = closed_channel(database, host, services, "本文 <1> & 2", "次の本文")
    close_for(host, "119 minutes")
    assert retry(database, services) == []
    close_for(host, "121 minutes")

    letters = retry(database, services)

    (one,) = letters
    assert (one.channel, one.destination, one.subject) == (
        "email",
        "admin@example.jp",
        "【要対応】Slack へ送信できなかった通知 2 件",
    )
    assert "Slack へ送信できない" in one.text
    assert "本文 <1> & 2" in one.text
    assert "次の本文" in one.text
    assert "本文 &lt;1&gt; &amp; 2" in one.rich
    assert statuses(host) == {("slack", "withdrawn"): 2, ("email", "sent"): 1}
    for log_id in (first, second):
        assert host.execute(SHOWN, [log_id]).fetchone() == (
            "SKIPPED",
            "fallback",
            "チャネルが停止しているため、管理者へメールで送ります",
        )

    host.execute("UPDATE \"SYS_IntegrationConfig\" SET updated_at = now() + interval '1 hour'")
    make_due(host)
    assert retry(database, services) == []


@pytest.mark.parametrize(("hours", "admin_email"), [("0", "admin@example.jp"), ("2", None)])
def test_without_the_setting_or_an_address_the_messages_wait(
    database: Database, host: psycopg.Connection, services: StandIns, hours: str, admin_email: str | None
) -> None:
    closed_channel(database, host, services, "本文", hours=hours, admin_email=admin_email)
    close_for(host, "10 days")

    assert retry(database, services) == []
    assert statuses(host) == {("slack", "retry"): 1}


def test_only_the_tenant_that_wants_it_falls_back(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    closed_channel(database, host, services, "A の本文")
    closed_channel(database, host, services, "B の本文", tenant_id="B", hours="0")
    close_for(host, "3 hours")

    (letter,) = retry(database, services)

    assert "A の本文" in letter.text


@pytest.mark.parametrize(
    "change",
    [
        """UPDATE "HIS_NotificationLog" SET send_status = 'CANCELLED'""",
        'UPDATE "HIS_NotificationLog" SET is_deleted = true',
        'DELETE FROM "HIS_NotificationLog"',
        """UPDATE "HIS_NotificationLog" SET scheduled_at = now() + interval '1 day'""",
        """UPDATE "HIS_NotificationLog" SET notification_type = 'TEAMS'""",
    ],
)
def test_messages_that_the_application_withdrew_or_moved_are_not_sent(
    database: Database, host: psycopg.Connection, services: StandIns, change: Any
) -> None:
    closed_channel(database, host, services, "本文")
    close_for(host, "3 hours")
    host.execute(change)

    assert retry(database, services) == []
    assert ("email", "sent") not in statuses(host)


def test_a_message_held_after_a_pause_waits_while_others_fall_back(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    held, _ = closed_channel(database, host, services, "確認を待つ本文", "次の本文")
    close_for(host, "3 hours")
    host.execute("UPDATE batch.outbox SET deferred_for = 'BATCH-019-02' WHERE host_log_id = %s", [held])

    (letter,) = retry(database, services)

    assert "次の本文" in letter.text
    assert "確認を待つ本文" not in letter.text
    waits = host.execute("SELECT host_log_id FROM batch.outbox WHERE finished_at IS null").fetchall()
    assert waits == [(held,)]


def test_messages_that_an_operator_has_stopped_do_not_fall_back(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    closed_channel(database, host, services, "本文")
    close_for(host, "3 hours")
    host.execute(
        """
        INSERT INTO batch.message_stop (tenant_id, still_sent, reason, entered_by)
        VALUES ('A', '{invoice}', '移行中', 'sato')
        """
    )

    assert retry(database, services) == []
    assert statuses(host) == {("slack", "retry"): 1}

    host.execute("DELETE FROM batch.message_stop")
    (letter,) = retry(database, services)
    assert "本文" in letter.text


@pytest.mark.parametrize("status", ["discarded", "sending"])
def test_a_message_that_somebody_takes_meanwhile_is_not_mailed(
    database: Database, host: psycopg.Connection, services: StandIns, status: str
) -> None:
    """An operator discards it, or a sender sends it."""
    closed_channel(database, host, services, "本文")
    close_for(host, "3 hours")
    with database.connect() as operator, ThreadPoolExecutor(1) as pool:
        with operator.transaction():
            operator.execute(
                """
                UPDATE batch.outbox SET
                    status = %(status)s,
                    finished_at = CASE WHEN %(status)s = 'discarded' THEN now() END,
                    lease_owner = CASE WHEN %(status)s = 'sending' THEN 'sender' END,
                    lease_until = CASE WHEN %(status)s = 'sending' THEN now() + interval '1 hour' END
                """,
                {"status": status},
            )
            sent = pool.submit(retry, database, services)
            wait_for_blocked_statement(database)
        assert sent.result(60) == []
    assert statuses(host) == {("slack", status): 1}
    # Nor does the statement fail: a message that is being sent has a lease.
    codes = host.execute("SELECT DISTINCT error_code FROM batch.tenant_outcome WHERE error_code IS NOT null")
    assert codes.fetchall() == [("CHANNEL_CLOSED",)]


def test_messages_that_the_tenant_switched_off_are_not_sent(
    database: Database, host: psycopg.Connection, connection: psycopg.Connection, services: StandIns
) -> None:
    closed_channel(database, host, services, "本文")
    reminder = MessageDraft(
        "A", "goal_due:1", SLACK, "C1", "件名", "目標", DUE.astimezone(), template_key="goal_due"
    )
    with tenant_transaction(connection, ["A"]):
        enqueue(connection, [reminder], created_by="test")
    setting(host, "SLACK_ENABLED", "false", category="NOTIFICATION")
    close_for(host, "3 hours")

    assert retry(database, services) == []
    host.execute(
        """UPDATE "MST_TenantSettings" SET setting_value = 'true' WHERE setting_key = 'SLACK_ENABLED'"""
    )
    (letter,) = retry(database, services)
    assert "本文" in letter.text
    assert "目標" in letter.text
