"""The operators' views and decisions about messages: list, resend, discard, mark as sent, reopen a channel."""

from __future__ import annotations

import psycopg
import pytest

from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.operation_catalog import OPERATE_NOTIFICATIONS
from include.skillreport.operations.operate_notifications import create_batch as notification_operations
from local_stack.batch_runs import LOCAL, open_run, process_tenants
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.outbox_rows import (
    TODAY,
    ambiguous,
    listing,
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


def shown(host: psycopg.Connection) -> list[str]:
    """The application's rows of its notifications."""
    rows = host.execute('SELECT send_status FROM "HIS_NotificationLog" ORDER BY id').fetchall()
    return [status for (status,) in rows]


def test_the_list_shows_waiting_messages_and_reasons_without_addresses_or_texts(
    database: Database, host: psycopg.Connection, services: StandIns, parked: str
) -> None:
    waiting(host, "A", "SLACK", recipient_address="C2")
    services.fail_next("slack", "token_revoked")
    run_notifications(database, services)

    lines = listing(database)

    assert lines[0].startswith("停止中のチャネル slack: トークンが取り消されました（2026-")
    assert lines[1] == "通知 2 件（送信済み・破棄を除く）"
    assert lines[2].startswith(f"{parked} slack ambiguous（1 回試行）、Slack の内部エラーで")
    assert "retry（1 回試行）、チャネル停止中、トークンが取り消されました" in lines[3]
    assert not any("極秘" in line or "C1" in line or "C2" in line for line in lines)
    assert listing(database, "B") == ["待機中の通知はありません"]


def test_resent_it_is_sent_again_at_once(
    database: Database, host: psycopg.Connection, services: StandIns, parked: str
) -> None:
    assert operate(database, services, "resend", parked).status == "completed"

    assert [arrived.destination for arrived in services.messages] == ["C1"]
    assert (statuses(host), shown(host)) == ({("slack", "sent"): 1}, ["SUCCESS"])


def test_discarded_it_is_never_sent(
    database: Database, host: psycopg.Connection, services: StandIns, parked: str
) -> None:
    operate(database, services, "discard", parked)
    make_due(host)
    run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert (services.messages, statuses(host), shown(host)) == ([], {("slack", "discarded"): 1}, ["FAILED"])


def test_marked_as_sent_it_is_shown_as_that(
    database: Database, host: psycopg.Connection, services: StandIns, parked: str
) -> None:
    operate(database, services, "mark_sent", parked)

    assert (services.messages, statuses(host), shown(host)) == ([], {("slack", "sent"): 1}, ["SUCCESS"])


def test_a_decision_about_what_is_not_there_is_refused_by_name(
    database: Database, host: psycopg.Connection, services: StandIns, parked: str
) -> None:
    operate(database, services, "discard", parked)

    with pytest.raises(
        ParameterError, match=rf"{parked}（discarded）、nowhere（対象のテナントにありません）"
    ):
        operate(database, services, "resend", parked, "nowhere")
    with pytest.raises(ParameterError, match="メッセージID"):
        operate(database, services, "resend")
    with pytest.raises(ParameterError, match="'requeue' は使えません"):
        operate(database, services, "requeue", parked)
    assert statuses(host) == {("slack", "discarded"): 1}


def test_a_refusal_of_thousands_names_ten_and_counts_the_others(
    database: Database, host: psycopg.Connection, services: StandIns, parked: str
) -> None:
    unknown = [f"unknown-{number:04}" for number in range(5_000)]

    with pytest.raises(
        ParameterError, match="unknown-0009（対象のテナントにありません）、ほか 4,990 件。操作"
    ) as refused:
        operate(database, services, "resend", parked, *unknown)

    assert "unknown-0010" not in str(refused.value)
    assert statuses(host) == {("slack", "ambiguous"): 1}


def test_a_refusal_of_thousands_of_addresses_names_ten_and_counts_the_others(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A")
    batch = notification_operations(LOCAL)
    addresses = [f"nobody{number}@example.jp" for number in range(5_000)]
    values = {"operation": "lift", "addresses": addresses, "reason": "本人の依頼"}
    with (
        database.connect("batch_platform") as platform,
        pytest.raises(ParameterError, match="、ほか 4,990 件。操作") as refused,
    ):
        open_run(platform, OPERATE_NOTIFICATIONS, batch, TODAY, codes=["A"], parameters=values)

    assert len(str(refused.value)) < 1_000


def test_another_tenants_message_is_not_there_to_be_decided_about(
    database: Database, host: psycopg.Connection, services: StandIns, parked: str
) -> None:
    waiting(host, "B", "SLACK", recipient_address="C2")
    services.fail_next("slack", "internal_error")
    run_notifications(database, services)
    (of_b,) = host.execute("SELECT message_id FROM batch.outbox WHERE tenant_id = 'B'").fetchone() or ("",)

    with pytest.raises(
        ParameterError, match=f"この通知は決められません: {of_b}（対象のテナントにありません）"
    ):
        operate(database, services, "discard", parked, of_b, codes=["A"])
    assert statuses(host) == {("slack", "ambiguous"): 2}
    operate(database, services, "discard", parked, codes=["A"])

    assert host.execute("SELECT tenant_id, status FROM batch.outbox ORDER BY 1").fetchall() == [
        ("A", "discarded"),
        ("B", "ambiguous"),
    ]


def test_resending_opens_the_channel_that_was_closed(
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

    operate(database, services, "resend", message_id)

    assert len(services.messages) == 1


def test_reopening_sends_what_waited_for_the_channel(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    for tenant_id in ("A", "B"):
        host_rows.tenant(host, tenant_id)
        slack(host, tenant_id, services)
        waiting(host, tenant_id, "SLACK", recipient_address=f"C-{tenant_id}")
    services.fail_next("slack", "token_revoked", times=2)
    run_notifications(database, services)
    make_due(host)

    result = operate(database, services, "reopen", codes=["A"])

    assert [arrived.destination for arrived in services.messages] == ["C-A"]
    assert host.execute(
        "SELECT details -> 'reopened' FROM batch.tenant_outcome WHERE execution_id = %s",
        [result.execution_id],
    ).fetchall() == [(1,)]
    assert statuses(host) == {("slack", "sent"): 1, ("slack", "retry"): 1}


def test_a_run_that_is_cleared_decides_nothing_anew(
    database: Database, host: psycopg.Connection, services: StandIns, parked: str
) -> None:
    batch = notification_operations(LOCAL)
    services.fail_next("slack", "internal_error")
    with database.working() as (platform, connection):
        run, _ = open_run(
            platform,
            OPERATE_NOTIFICATIONS,
            batch,
            TODAY,
            codes=["A"],
            parameters={"operation": "resend", "messages": [parked], "reason": "宛先を直したため"},
        )
        process_tenants(connection, platform, batch, run, ["A"], None, network(services))
        assert statuses(host) == {("slack", "ambiguous"): 1}
        process_tenants(connection, platform, batch, run, ["A"], None, network(services))

    assert (services.messages, statuses(host)) == ([], {("slack", "ambiguous"): 1})


@pytest.mark.usefixtures("parked")
def test_an_operation_leaves_the_failures_of_others_to_the_hourly_run(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    waiting(host, "B", recipient_address="keiri@b.example")
    services.fail_next("email", "550 5.1.1 No such user", command="RCPT")
    run_notifications(database, services)

    assert operate(database, services, "reopen").status == "completed"
    reported = run_notifications(database, services, spec=NOTIFICATION_RETRY)
    assert sorted(failure.code for failure in reported.failed_tenants) == ["A", "B"]


def test_an_operation_reports_what_it_has_decided_about(
    database: Database, services: StandIns, parked: str
) -> None:
    services.fail_next("slack", "channel_not_found")
    failed = operate(database, services, "resend", parked)
    assert [(each.code, each.error_codes) for each in failed.failed_tenants] == [
        ("A", ["NOTIFICATIONS_FAILED"])
    ]
    assert run_notifications(database, services, spec=NOTIFICATION_RETRY).status == "completed"


@pytest.mark.parametrize("operation", ["reopen", "resend"])
def test_a_channel_that_closes_again_is_told_and_still_reported_to_all(
    database: Database, host: psycopg.Connection, services: StandIns, parked: str, operation: str
) -> None:
    waiting(host, "A", "SLACK", recipient_address="C2")
    services.fail_next("slack", "token_revoked", times=4)
    run_notifications(database, services)

    failed = operate(database, services, operation, *([parked] if operation == "resend" else []))
    assert "チャネル slack を停止しました" in failed.sentence()
    reported = run_notifications(database, services, spec=NOTIFICATION_RETRY)
    assert "チャネル slack を停止しました" in reported.sentence()


def test_a_message_resent_to_a_stopped_tenant_says_that_it_waits(
    database: Database, host: psycopg.Connection, services: StandIns, parked: str
) -> None:
    operate(database, services, "stop", codes=["A"], reason="移行中")
    run = operate(database, services, "resend", parked)

    assert services.messages == []
    notes = host.execute(
        "SELECT notes FROM batch.tenant_outcome WHERE execution_id = %s AND tenant_id = 'A'",
        [run.execution_id],
    ).fetchall()
    assert notes == [(["通知を止めました。待っている通知は 1 件です。再開するまで送りません"],)]
