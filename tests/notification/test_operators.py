"""What an operator sees and decides with BATCH-019-02: the list, requeue, discard, mark as sent, reopen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from include.catalog import NOTIFICATION_RETRY
from include.database import tenant_transaction
from include.errors import ParameterError
from include.execution.business_date import JAPAN
from include.execution.run_log import RunResult
from include.execution.tenant_work import ShardReport, process_shard
from include.messaging.outbox import Draft, enqueue
from include.messaging.outcome import Channel
from include.notification.notification_retry import create_batch
from local_stack.stand_ins import StandIns
from local_stack.whole_run import open_run
from tests import host_rows
from tests.conftest import Database
from tests.messaging.outbox_rows import (
    TODAY,
    make_due,
    network,
    run_notifications,
    slack,
    statuses,
    waiting,
)


@pytest.fixture
def parked(database: Database, host: psycopg.Connection, services: StandIns) -> str:
    """A message of A that may have arrived; returns its id."""
    for tenant_id in ("A", "B"):
        host_rows.tenant(host, tenant_id)
        slack(host, tenant_id, services)
    waiting(host, "A", "SLACK", recipient_address="C1", message_body="極秘の本文")
    services.fail_next("slack", "internal_error")
    run_notifications(database, services)
    row = host.execute("SELECT message_id FROM batch.outbox WHERE status = 'ambiguous'").fetchone()
    assert row is not None
    return str(row[0])


def decide(
    database: Database, services: StandIns, action: str, *messages: str, **arguments: Any
) -> RunResult:
    """One run with the operator's action."""
    return run_notifications(
        database, services, spec=NOTIFICATION_RETRY, action=action, messages=list(messages), **arguments
    )


def listing(database: Database, tenant_id: str = "A") -> list[str]:
    """The lines that the task's log shows."""
    batch = create_batch()
    with database.connect("batch_platform") as platform, database.connect("batch_tenant") as connection:
        run, _ = open_run(
            platform, NOTIFICATION_RETRY, batch, TODAY, codes=[tenant_id], parameters={"action": "list"}
        )
        report: ShardReport = process_shard(connection, platform, batch, run, [tenant_id])
    (result,) = report.results
    return list(result.report)


def shown(host: psycopg.Connection) -> list[str]:
    """What the application shows of its notifications."""
    rows = host.execute('SELECT send_status FROM "HIS_NotificationLog" ORDER BY id').fetchall()
    return [status for (status,) in rows]


def test_the_list_says_what_waits_and_why_and_no_address_and_no_text(
    database: Database, host: psycopg.Connection, services: StandIns, parked: str
) -> None:
    waiting(host, "A", "SLACK", recipient_address="C2")
    services.fail_next("slack", "token_revoked")
    run_notifications(database, services)

    lines = listing(database)

    assert lines[0].startswith("停止中のチャネル slack: トークンが取り消されました（2026-")
    assert lines[1] == "通知 2 件（送信済み・破棄を除く）"
    assert lines[2].startswith(f"{parked} slack ambiguous（1 回試行）、Slack の内部エラーで")
    assert "retry（0 回試行）、チャネル停止中、トークンが取り消されました" in lines[3]
    assert not any("極秘" in line or "C1" in line or "C2" in line for line in lines)
    assert listing(database, "B") == ["待機中の通知はありません"]


def test_requeued_it_is_sent_again_at_once(
    database: Database, host: psycopg.Connection, services: StandIns, parked: str
) -> None:
    assert decide(database, services, "requeue", parked).status == "completed"

    assert [arrived.destination for arrived in services.messages] == ["C1"]
    assert (statuses(host), shown(host)) == ({("slack", "sent"): 1}, ["SUCCESS"])


def test_discarded_it_is_never_sent(
    database: Database, host: psycopg.Connection, services: StandIns, parked: str
) -> None:
    decide(database, services, "discard", parked)
    make_due(host)
    run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert (services.messages, statuses(host), shown(host)) == ([], {("slack", "discarded"): 1}, ["FAILED"])


def test_marked_as_sent_it_is_shown_as_that(
    database: Database, host: psycopg.Connection, services: StandIns, parked: str
) -> None:
    decide(database, services, "mark_sent", parked)

    assert (services.messages, statuses(host), shown(host)) == ([], {("slack", "sent"): 1}, ["SUCCESS"])


def test_a_decision_about_what_is_not_there_is_refused_by_name(
    database: Database, host: psycopg.Connection, services: StandIns, parked: str
) -> None:
    decide(database, services, "discard", parked)

    with pytest.raises(
        ParameterError, match=rf"{parked}（discarded）、nowhere（対象のテナントにありません）"
    ):
        decide(database, services, "requeue", parked, "nowhere")
    with pytest.raises(ParameterError, match="メッセージID"):
        decide(database, services, "requeue")
    with pytest.raises(ParameterError, match="'resend' は使えません"):
        decide(database, services, "resend", parked)
    assert statuses(host) == {("slack", "discarded"): 1}


def test_another_tenants_message_is_not_there_to_be_decided_about(
    database: Database, host: psycopg.Connection, services: StandIns, parked: str
) -> None:
    with pytest.raises(ParameterError, match=f"{parked}（対象のテナントにありません）"):
        decide(database, services, "discard", parked, codes=["B"])
    assert statuses(host) == {("slack", "ambiguous"): 1}


def test_requeueing_opens_the_channel_that_was_closed(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    slack(host, "A", services)
    waiting(host, "A", "SLACK", recipient_address="C1")
    services.fail_next("slack", "token_revoked")
    run_notifications(database, services)
    (message_id,) = host.execute("SELECT message_id FROM batch.outbox").fetchone() or ("",)
    make_due(host)
    run_notifications(database, services, spec=NOTIFICATION_RETRY)
    assert services.messages == []

    decide(database, services, "requeue", message_id)

    assert len(services.messages) == 1


def test_a_closed_channel_is_told_once_with_what_waits_for_it_and_reopened_by_the_operator(
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
    assert decide(database, services, "reopen").status == "completed"
    assert len(services.messages) == 3


def test_a_report_that_was_cut_off_is_made_again_by_the_same_run_and_by_no_other(
    database: Database, services: StandIns, parked: str
) -> None:
    batch = create_batch()
    with database.connect("batch_platform") as platform, database.connect("batch_tenant") as connection:
        run, _ = open_run(platform, NOTIFICATION_RETRY, batch, TODAY)
        reports = [
            process_shard(connection, platform, batch, run, ["A", "B"], None, network(services))
            for _ in range(2)
        ]

    assert [[failure.code for failure in report.failures] for report in reports] == [
        ["NOTIFICATIONS_FAILED"],
        ["NOTIFICATIONS_FAILED"],
    ]
    assert parked
    assert run_notifications(database, services, spec=NOTIFICATION_RETRY).status == "completed"


def test_what_nobody_wants_any_more_is_given_up_and_told(
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
    assert (
        "期限切れの通知 1 件。Trigger の操作「一覧」で確認し、再送・破棄・送信済みのどれかに決めてください（slack 1 件: 予定から"
        in told.failed_tenants[0].reason
    )
    assert host.execute(
        'SELECT send_status, response_code FROM "HIS_NotificationLog" WHERE id = %s', [log_id]
    ).fetchone() == ("FAILED", "expired")


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
    host.execute('DELETE FROM "MST_TenantSettings"')
    run_notifications(database, services, spec=NOTIFICATION_RETRY)
    assert [arrived.destination for arrived in services.messages] == ["now@example.jp", "later@example.jp"]


def test_a_run_that_is_cleared_decides_nothing_anew(
    database: Database, host: psycopg.Connection, services: StandIns, parked: str
) -> None:
    batch = create_batch()
    services.fail_next("slack", "internal_error")
    with database.connect("batch_platform") as platform, database.connect("batch_tenant") as connection:
        run, _ = open_run(
            platform,
            NOTIFICATION_RETRY,
            batch,
            TODAY,
            codes=["A"],
            parameters={"action": "requeue", "messages": [parked]},
        )
        process_shard(connection, platform, batch, run, ["A"], None, network(services))
        assert statuses(host) == {("slack", "ambiguous"): 1}
        process_shard(connection, platform, batch, run, ["A"], None, network(services))

    assert (services.messages, statuses(host)) == ([], {("slack", "ambiguous"): 1})


def test_what_a_lost_run_was_about_to_tell_the_next_one_tells(
    database: Database, host: psycopg.Connection, services: StandIns, parked: str
) -> None:
    batch = create_batch()
    with database.connect("batch_platform") as platform:
        run, _ = open_run(platform, NOTIFICATION_RETRY, batch, TODAY)
    # Killed between taking the failures and saying so.
    host.execute("UPDATE batch.outbox SET reported_by = %s", [run.execution_id])

    told = run_notifications(database, services, spec=NOTIFICATION_RETRY)
    again = run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert parked
    assert (told.status, again.status) == ("partial", "completed")


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
    draft = Draft("A", "soon", Channel.EMAIL, "a@example.jp", "件名", "本文", soon)
    with database.connect("batch_tenant") as connection, tenant_transaction(connection, ["A"]):
        enqueue(connection, [draft], created_by="test")

    run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert statuses(host) == {("email", "pending"): 1}
