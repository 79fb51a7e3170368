"""The application's rows decide which text a reminder has, and whether and over which channel it goes."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import psycopg
import pytest

from include.skillreport.batches.scheduled_notifications import create_batch
from include.skillreport.core.catalog import SCHEDULED_NOTIFICATIONS
from include.skillreport.core.execution.reconciliation import load_reconciliation
from local_stack.batch_runs import LOCAL, open_run, process_tenants
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.outbox_rows import TODAY, integration, network, run_notifications, unsigned, waiting

pytestmark = pytest.mark.tenants("A", admin_email="admin@example.jp")

UPDATED_AT = datetime(2026, 10, 1)

_ids = count(1)


@pytest.fixture(autouse=True)
def goal(host: psycopg.Connection) -> None:
    """Hanako's goal is due in seven days."""
    host_rows.user(host, "A", "hanako")
    host.execute("""UPDATE "MST_Employee" SET full_name = '山田 花子'""")
    host_rows.insert(
        host,
        "TRN_GoalProgress",
        id="goal-1",
        tenant_id="A",
        employee_id="emp_hanako",
        goal_title="英語",
        goal_type="SKILL",
        progress_rate=Decimal("62.50"),
        target_date=datetime(2026, 11, 8),
        achievement_status="in_progress",
        updated_at=UPDATED_AT,
        created_by="hanako",
        updated_by="hanako",
    )


def template(host: psycopg.Connection, key: str, body: str, **values: Any) -> None:
    """A template of A."""
    host_rows.insert(
        host,
        "MST_NotificationTemplate",
        **(
            {
                "id": f"template_{next(_ids)}",
                "tenant_id": "A",
                "template_key": key,
                "notification_type": "EMAIL",
                "language_code": "ja",
                "subject_template": key,
                "body_template": body,
                "format_type": "PLAIN",
                "is_active": True,
                "updated_at": UPDATED_AT,
            }
            | values
        ),
    )


def setting(host: psycopg.Connection, kind: str, *, enabled: bool = True, **config: str) -> None:
    """The application's setting for the reminders of goals."""
    host_rows.insert(
        host,
        "MST_NotificationSettings",
        id=f"setting_{next(_ids)}",
        tenant_id="A",
        setting_key="goal_deadline_reminder",
        notification_type=kind,
        trigger_event="goal_deadline_approaching",
        channel_config=json.dumps(config),
        is_enabled=enabled,
        updated_at=UPDATED_AT,
    )


def sent(database: Database, services: StandIns) -> list[tuple[str, str, str]]:
    """The messages that a run sends: channel, destination and text without the signature."""
    assert run_notifications(database, services).status == "completed"
    return [(arrived.channel, arrived.destination, unsigned(arrived.text)) for arrived in services.messages]


def test_the_applications_template_is_the_text(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    template(
        host,
        "goal_deadline_reminder",
        "{{employee_name}}|{{goal_title}}|{{deadline_date}}|{{remaining_days}}|{{progress_rate}}|{{goal_detail_url}}",
    )

    assert sent(database, services) == [
        ("email", "hanako@example.jp", "山田 花子|英語|2026年11月8日|7|62.5|")
    ]


@pytest.mark.parametrize(("days", "has_reminder"), [(-1, False), (0, True), (7, True), (8, False)])
def test_a_goal_has_a_reminder_until_its_last_day(
    database: Database, host: psycopg.Connection, services: StandIns, days: int, has_reminder: bool
) -> None:
    host.execute('UPDATE "TRN_GoalProgress" SET target_date = %s', [TODAY + timedelta(days=days)])

    assert bool(sent(database, services)) == has_reminder


@pytest.mark.parametrize("language", ["ja", "en"])
def test_a_template_with_the_key_of_the_batches_counts_first(
    database: Database, host: psycopg.Connection, services: StandIns, language: str
) -> None:
    template(host, "goal_due", "ours")
    for key in ("goal_deadline_reminder", "goalReminder"):
        template(host, key, "the application's", language_code=language)
    host.execute('UPDATE "MST_Tenant" SET locale = %s', [language])

    assert sent(database, services) == [("email", "hanako@example.jp", "ours")]


def test_a_switched_off_setting_stops_the_reminder(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    setting(host, "EMAIL", enabled=False)

    assert sent(database, services) == []


def test_the_setting_names_the_channel_and_its_webhook(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    setting(host, "SLACK", webhook_url=services.slack_webhook_url, channel="#goals")
    template(host, "goal_deadline_reminder", "mail")
    template(
        host,
        "goal_deadline_reminder",
        "{{employee_name}} あと{{remaining_days}}日",
        notification_type="SLACK",
    )

    [(channel, _, text)] = sent(database, services)

    assert channel == "slack"
    assert text == "goal_deadline_reminder\n山田 花子 あと7日"


def test_an_html_template_arrives_as_text_in_slack(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    setting(host, "SLACK", webhook_url=services.slack_webhook_url)
    template(
        host,
        "goal_due",
        "<p>{{full_name}} 様</p><p>あと<b>{{days_left}}</b>日</p>",
        notification_type="SLACK",
        format_type="HTML",
    )

    [(channel, _, text)] = sent(database, services)

    assert (channel, text) == ("slack", "goal_due\n山田 花子 様\nあと7日")


def test_the_built_in_text_goes_over_the_channel_of_the_setting(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    setting(host, "SLACK", channel="C0123456789")
    integration(
        host, "A", "slack", auth={"bot_token": "xoxb-test"}, connection={"base_url": services.slack_base_url}
    )

    [(channel, destination, text)] = sent(database, services)

    assert (channel, destination) == ("slack", "C0123456789")
    assert "目標「英語」の期限は2026年11月8日です（7 日後）。" in text


def test_blanks_around_an_address_stop_no_mail(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host.execute("""UPDATE "MST_Employee" SET email = %s""", ["\u3000hanako@example.jp\t"])
    waiting(host, "A", recipient_address="member@example.jp\u3000\r\n")

    assert sorted(destination for _, destination, _ in sent(database, services)) == [
        "hanako@example.jp",
        "member@example.jp",
    ]


def test_a_retry_of_a_killed_task_keeps_the_counts_of_rows(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    waiting(host, "A")
    batch = create_batch(LOCAL)
    with database.working() as (platform, connection):
        run, tenants = open_run(platform, SCHEDULED_NOTIFICATIONS, batch, TODAY)
        process_tenants(connection, platform, batch, run, tenants, network=network(services))
        counted = load_reconciliation(platform, run.execution_id).as_json()
        # The task is killed after it has sent the notification. Its next attempt finds none that waits.
        process_tenants(connection, platform, batch, run, tenants, network=network(services))

        assert load_reconciliation(platform, run.execution_id).as_json() == counted
    assert counted["sources"]["HIS_NotificationLog"]["placed"] == 1
