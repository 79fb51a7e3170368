"""Reminders that are switched off after they were queued wait, and go out when they are switched on again."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import psycopg
import pytest

from include.skillreport.core.catalog import NOTIFICATION_RETRY
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.outbox_rows import DUE, make_due, run_notifications, statuses

HELD = "通知設定（MST_NotificationSettings）が無効です"


@pytest.fixture(autouse=True)
def queued(database: Database, host: psycopg.Connection, services: StandIns) -> None:
    """Reminders to Hanako about a goal (tenant A) and to Jiro (tenant B) that the mail server has put off."""
    for tenant_id, user_id in (("A", "hanako"), ("B", "jiro")):
        host_rows.tenant(host, tenant_id)
        host_rows.user(host, tenant_id, user_id)
        host_rows.insert(
            host,
            "TRN_GoalProgress",
            id=f"goal_{user_id}",
            tenant_id=tenant_id,
            employee_id=f"emp_{user_id}",
            goal_title="英語",
            goal_type="SKILL",
            progress_rate=Decimal(10),
            target_date=datetime(2026, 11, 8),
            achievement_status="in_progress",
            updated_at=DUE,
            created_by=user_id,
            updated_by=user_id,
        )
    services.fail_next("email", "450 Try again", times=2, command="RCPT")
    run_notifications(database, services)
    assert statuses(host) == {("email", "retry"): 2}
    make_due(host)


def switch_off(host: psycopg.Connection) -> None:
    """Tenant A has switched off the reminders of goals."""
    host_rows.insert(
        host,
        "MST_NotificationSettings",
        id="setting",
        tenant_id="A",
        setting_key="goal_due",
        notification_type="EMAIL",
        is_enabled=False,
        updated_at=DUE,
    )


def retry(database: Database, services: StandIns) -> list[str]:
    """To whom the hourly run sends."""
    before = len(services.messages)
    assert run_notifications(database, services, spec=NOTIFICATION_RETRY).status == "completed"
    return [arrived.destination for arrived in services.messages[before:]]


def test_they_wait_until_they_are_switched_on_again(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    switch_off(host)

    assert retry(database, services) == ["jiro@example.jp"]
    assert host.execute(
        "SELECT error_code, error_detail, next_attempt_at > now() + interval '50 minutes' FROM batch.outbox"
        " WHERE tenant_id = 'A'"
    ).fetchall() == [("switched_off", HELD, True)]
    # The next day's run queues no second one.
    run_notifications(database, services)
    assert len(services.messages) == 1
    host.execute('UPDATE "MST_NotificationSettings" SET is_enabled = true')
    make_due(host)

    assert retry(database, services) == ["hanako@example.jp"]


def test_they_are_withdrawn_when_it_is_too_late(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    switch_off(host)
    retry(database, services)
    host.execute("UPDATE batch.outbox SET due_at = due_at - interval '73 hours'")

    assert retry(database, services) == []
    assert statuses(host) == {("email", "withdrawn"): 1, ("email", "sent"): 1}


def test_another_kind_is_not_held(database: Database, host: psycopg.Connection, services: StandIns) -> None:
    switch_off(host)
    host.execute("""UPDATE "MST_NotificationSettings" SET setting_key = 'certificate_expiry'""")

    assert sorted(retry(database, services)) == ["hanako@example.jp", "jiro@example.jp"]
