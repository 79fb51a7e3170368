"""What the first runs after a pause hold, and what people decide about it."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from include.skillreport.approvals import DISCARD_ALL, SEND_ALL, SEND_NEW
from include.skillreport.approvals.requests import ApprovalAnswer, ApprovalRequest, items_of, record_answer
from include.skillreport.core.catalog import (
    INACTIVE_TENANTS,
    NOTIFICATION_RETRY,
    SCHEDULED_NOTIFICATIONS,
)
from include.skillreport.core.errors import AnswerError
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.operation_catalog import APPROVE_RESUMPTION
from include.skillreport.core.run_spec import RunSpec
from include.skillreport.operations.answers import require_resumption_answer
from include.skillreport.operations.approve_resumption.batch import ResumptionApproval
from local_stack.batch_runs import run_batch
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.approval_rows import ACCOUNTANT, asked, asked_about, items, requests, text_of
from tests.worlds.outbox_rows import TICK, TODAY, integration, scheduled, slack, statuses, waiting

OPERATOR = ACCOUNTANT


@pytest.fixture
def two_tenants(host: psycopg.Connection, services: StandIns) -> None:
    """A has two waiting notifications and B has one."""
    for tenant_id, number in (("A", 2), ("B", 1)):
        host_rows.tenant(host, tenant_id)
        slack(host, tenant_id, services)
        for place in range(number):
            waiting(host, tenant_id, "SLACK", recipient_address=f"C{place}")


def decide(
    database: Database,
    request: ApprovalRequest,
    option: str,
    *,
    hours: int | None = None,
    at: datetime | None = None,
) -> RunResult:
    """A person's answer, and the whole run that applies it."""
    at = at or datetime.now(UTC)
    with database.working() as (platform, connection):
        held = {item.tenant_id for item in items_of(platform, request.request_id)}
        record_answer(platform, request.request_id, ApprovalAnswer(OPERATOR, at, held))
        return run_batch(
            platform,
            connection,
            APPROVE_RESUMPTION,
            ResumptionApproval(),
            request.business_date,
            parameters={"request": request.request_id, "answer": option, "hours": hours},
            run_at=at,
        )


def held(host: psycopg.Connection) -> Counter[tuple[str, str]]:
    """How many messages of each tenant wait for which batch."""
    rows = host.execute(
        "SELECT tenant_id, deferred_for FROM batch.outbox WHERE deferred_for IS NOT null"
    ).fetchall()
    return Counter((tenant_id, batch_id) for tenant_id, batch_id in rows)


@pytest.mark.usefixtures("two_tenants")
def test_a_late_run_holds_its_messages_and_completes(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    result = scheduled(database, services, after=timedelta(hours=25))

    assert (result.status, services.messages) == ("completed", [])
    assert held(host) == {("A", "BATCH-019-01"): 2, ("B", "BATCH-019-01"): 1}
    ((details, notes),) = host.execute(
        "SELECT details, notes FROM batch.tenant_outcome WHERE tenant_id = 'A'"
    ).fetchall()
    assert (details["heldMessages"], notes) == (2, ["通知 2 件は、停止後の「再開の承認」を待っています"])
    subject, body = text_of(database, asked(database, result))
    assert subject == "再開の承認: BATCH-019-01（通知 3 件）"
    assert "| BATCH\\-019\\-01 定期通知送信バッチ | アプリの通知 | 2 | 0 | 0 | 0 | 3 |" in body
    assert "24 時間を過ぎて始まりました" in body


@pytest.mark.usefixtures("two_tenants")
def test_a_run_without_a_pause_or_by_hand_sends(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    scheduled(database, services, ticked_at=None, codes=["A"])
    assert len(services.messages) == 2

    database_has_started(host, SCHEDULED_NOTIFICATIONS, TICK - timedelta(days=1))
    result = scheduled(database, services)

    assert (result.status, len(services.messages)) == ("completed", 3)
    assert asked_about(database, result) is None


def database_has_started(host: psycopg.Connection, spec: RunSpec, ticked_at: datetime) -> None:
    """The last run of the schedule."""
    host.execute("INSERT INTO batch.started_tick VALUES (%s, %s, 'earlier', null)", [spec.id, ticked_at])


@pytest.mark.usefixtures("two_tenants")
def test_a_cleared_run_keeps_its_decision(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    scheduled(database, services, run_id="first", codes=["A"])
    scheduled(database, services, run_id="first", after=timedelta(hours=2))

    assert services.messages == []
    assert held(host) == {("A", "BATCH-019-01"): 2, ("B", "BATCH-019-01"): 1}


@pytest.mark.usefixtures("two_tenants")
def test_contract_letters_and_decided_messages_leave(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    scheduled(database, services)
    host.execute(
        "UPDATE batch.outbox SET template_key = 'invoice', deferred_for = null WHERE tenant_id = 'B'"
    )
    host.execute(
        """
        UPDATE batch.outbox SET decided_by = 'operator', deferred_for = null
        WHERE message_id = (SELECT min(message_id) FROM batch.outbox WHERE tenant_id = 'A')
        """
    )

    result = scheduled(database, services, NOTIFICATION_RETRY)

    assert (result.status, len(services.messages)) == ("completed", 2)
    assert held(host) == {("A", "BATCH-019-01"): 1}


@pytest.mark.usefixtures("two_tenants")
def test_later_runs_join_the_request_until_it_is_answered(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    first = asked(database, scheduled(database, services))
    later = datetime(2026, 11, 1, 20)
    waiting(host, "B", "SLACK", recipient_address="C9", scheduled_at=later, updated_at=later)

    day = timedelta(days=1)
    second = asked(database, scheduled(database, services, ticked_at=TICK + day, on=TODAY + day))

    assert second.request_id == first.request_id
    assert held(host) == {("A", "BATCH-019-01"): 2, ("B", "BATCH-019-01"): 2}
    decide(database, second, SEND_ALL)
    scheduled(database, services, ticked_at=TICK + 2 * day, on=TODAY + 2 * day)
    assert len(services.messages) == 4


@pytest.mark.usefixtures("two_tenants")
def test_a_request_whose_run_was_deleted_is_asked_again(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    first = asked(database, scheduled(database, services))
    day = timedelta(days=1)
    again = asked(database, scheduled(database, services, ticked_at=TICK + day, on=TODAY + day), ended=True)

    assert requests(host) == [(first.request_id, "superseded"), (again.request_id, None)]
    assert decide(database, first, DISCARD_ALL).status == "completed"
    assert len(held(host)) == 2
    assert items(host, first)["BATCH-019-01"]["result"] == "out_of_date"


@pytest.mark.usefixtures("two_tenants")
def test_the_answer_to_send_releases_everything_at_once(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    request = asked(database, scheduled(database, services))

    result = decide(database, request, SEND_ALL)
    database_has_started(host, NOTIFICATION_RETRY, TICK)
    sent = scheduled(database, services, NOTIFICATION_RETRY, ticked_at=TICK + timedelta(minutes=30))

    assert (result.status, sent.status, len(services.messages)) == ("completed", "completed", 3)
    assert items(host, request)["BATCH-019-01"]["result_text"] == "送る通知 3 件、破棄した通知 0 件"
    # A clear of the answer has no effect on what is held later.
    host.execute(
        "UPDATE batch.outbox SET status = 'pending', finished_at = null, deferred_for = 'BATCH-019-01'"
    )
    decide(database, request, DISCARD_ALL)
    assert statuses(host) == {("slack", "pending"): 3}


@pytest.mark.usefixtures("two_tenants")
def test_the_answer_to_discard_ends_in_the_application_too(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    request = asked(database, scheduled(database, services))

    decide(database, request, DISCARD_ALL)
    scheduled(database, services, NOTIFICATION_RETRY)

    assert services.messages == []
    assert statuses(host) == {("slack", "discarded"): 3}
    assert host.execute('SELECT DISTINCT send_status FROM "HIS_NotificationLog"').fetchall() == [("FAILED",)]
    assert host.execute("SELECT DISTINCT decided_by IS null FROM batch.outbox").fetchall() == [(False,)]


@pytest.mark.usefixtures("two_tenants")
def test_only_messages_that_are_newer_than_the_answer_says_are_sent(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    request = asked(database, scheduled(database, services))
    at = TICK + timedelta(hours=30)
    host.execute("UPDATE batch.outbox SET due_at = %s WHERE tenant_id = 'A'", [at - timedelta(hours=25)])
    host.execute("UPDATE batch.outbox SET due_at = %s WHERE tenant_id = 'B'", [at - timedelta(hours=23)])

    result = decide(database, request, SEND_NEW, at=at)

    assert result.status == "completed"
    assert statuses(host) == {("slack", "discarded"): 2, ("slack", "pending"): 1}
    # It is not too old to be sent.
    assert host.execute("SELECT due_at FROM batch.outbox WHERE tenant_id = 'B'").fetchone() == (at,)


@pytest.mark.parametrize("hours", [0, -1, "24", 1.5, 100_000])
def test_hours_that_cannot_be_used_are_refused(hours: object) -> None:
    with pytest.raises(AnswerError, match="整数を指定してください"):
        require_resumption_answer(SEND_NEW, hours)


@pytest.mark.usefixtures("two_tenants")
def test_each_batch_has_its_own_request(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    first = asked(database, scheduled(database, services))
    host_rows.tenant(host, "C")
    integration(host, "C", "slack", auth={"bot_token": "x"}, connection={})
    host.execute(
        """
        UPDATE batch.outbox SET deferred_for = null, status = 'retry', attempts = 1 WHERE tenant_id = 'B'
        """
    )

    second = asked(database, scheduled(database, services, NOTIFICATION_RETRY))

    assert first.request_id != second.request_id
    assert held(host) == {("A", "BATCH-019-01"): 2, ("B", "BATCH-019-02"): 1}
    decide(database, first, DISCARD_ALL)
    assert held(host) == {("B", "BATCH-019-02"): 1}


@pytest.mark.usefixtures("two_tenants")
def test_held_messages_do_not_expire(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    scheduled(database, services)
    host.execute("UPDATE batch.outbox SET due_at = now() - interval '30 days'")
    database_has_started(host, NOTIFICATION_RETRY, TICK)

    result = scheduled(database, services, NOTIFICATION_RETRY, ticked_at=TICK + timedelta(minutes=30))

    assert result.status == "completed"
    assert statuses(host) == {("slack", "pending"): 3}


@pytest.mark.usefixtures("two_tenants")
def test_two_runs_at_once_hold_each_message_once(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(scheduled, database, services, run_id=name) for name in ("one", "two")]
        first, second = (asked(database, run.result()) for run in runs)

    assert first.request_id == second.request_id
    assert held(host) == {("A", "BATCH-019-01"): 2, ("B", "BATCH-019-01"): 1}


def test_a_backfill_sends_nobody_a_letter_about_a_past_day(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A", created_at=datetime(2020, 4, 1), contact_email="contact@customer.example")
    # The schedule goes on without a pause.
    ticks = [TICK.replace(hour=4) - timedelta(days=number) for number in (3, 0)]
    database_has_started(host, INACTIVE_TENANTS, ticks[1])

    past: dict[str, Any] = {"ticked_at": ticks[0], "on": TODAY - timedelta(days=3), "is_backfill": True}
    for _ in range(2):  # also after a clear
        result = scheduled(database, services, INACTIVE_TENANTS, run_id="backfill", **past)

        assert (result.status, services.messages) == ("completed", [])
        assert held(host) == {("A", "BATCH-018-04"): 1}
    _, body = text_of(database, asked(database, result))
    assert "の過去分再実行です" in body
    recorded = host.execute("SELECT ticked_at FROM batch.started_tick ORDER BY 1").fetchall()
    assert [ticked_at for (ticked_at,) in recorded] == ticks


def test_letters_about_inactivity_wait_although_they_are_contract_letters(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A", created_at=datetime(2020, 4, 1), contact_email="contact@customer.example")
    waiting(host, "A")

    result = scheduled(database, services, INACTIVE_TENANTS, ticked_at=TICK.replace(hour=4))

    assert result.status == "completed"
    assert held(host) == {("A", "BATCH-018-04"): 1}
    subject, body = text_of(database, asked(database, result))
    assert subject == "再開の承認: BATCH-018-04（通知 1 件）"
    assert "利用がないテナントへの" in body
