"""A run that leaves the messages of a killed sender under their lease reports this."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.skillreport.core.catalog import (
    NOTIFICATION_RETRY,
    SCHEDULED_NOTIFICATIONS,
)
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.schedule import next_firing
from include.skillreport.core.run_spec import BatchSpec
from include.skillreport.messaging import outbox
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.outbox import Lane, MessageDraft
from include.skillreport.messaging.retry import Status
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.outbox_rows import claim_due, lose_senders, run_notifications, slack, statuses, waiting


@pytest.fixture
def interrupted(database: Database, host: psycopg.Connection, services: StandIns) -> datetime:
    """Two of A's messages are claimed by a sender that is dead, and a message of B waits; returns the end of the lease."""
    for tenant_id in ("A", "B"):
        host_rows.tenant(host, tenant_id)
        slack(host, tenant_id, services)
    now = datetime.now(UTC)
    drafts = [MessageDraft("A", f"m:{number}", SLACK, f"C{number}", "", "本文", now) for number in range(2)]
    with database.connect("batch_tenant") as connection:
        with tenant_transaction(connection, ["A"]):
            outbox.enqueue(connection, drafts, created_by="earlier")
        claimed = claim_due(
            connection,
            Lane("A", SLACK),
            [Status.PENDING],
            count=2,
            owner="killed",
            due_before=now,
            now=now,
        )
    assert len(claimed) == 2
    waiting(host, "B", "SLACK", recipient_address="C9")
    row = host.execute("SELECT max(lease_until) FROM batch.outbox").fetchone()
    assert row
    end: datetime = row[0]
    return end


def noted(host: psycopg.Connection) -> dict[str, tuple[str, int, list[str]]]:
    """Status, messages under a lease and notes of the last run, by tenant."""
    rows = host.execute(
        """
        SELECT DISTINCT ON (tenant_id) tenant_id, status, (details ->> 'leasedCount')::int, notes
        FROM batch.tenant_outcome
        ORDER BY tenant_id, recorded_at DESC
        """
    )
    return {tenant_id: (status, count, notes) for tenant_id, status, count, notes in rows}


@pytest.mark.parametrize("spec", [SCHEDULED_NOTIFICATIONS, NOTIFICATION_RETRY], ids=lambda spec: spec.id)
def test_messages_leased_by_a_killed_sender_are_a_remark_of_success(
    database: Database,
    host: psycopg.Connection,
    services: StandIns,
    interrupted: datetime,
    spec: BatchSpec,
) -> None:
    result = run_notifications(database, services, spec=spec)

    end = interrupted.astimezone(JAPAN)
    takes_over = next_firing(NOTIFICATION_RETRY.cron, interrupted)
    found = noted(host)
    assert found["A"] == (
        "success",
        2,
        [
            f"通知 2 件は、中断した送信者などが確保したままです（日本時間 {end:%m/%d %H:%M:%S} まで）。"
            f"その後、{takes_over:%m/%d %H:%M} の BATCH-019-02 が引き取ります"
            "（メールは再送し、ほかは届いたかの確認を求めます）"
        ],
    )
    assert found["B"] == ("success", 0, [])
    assert result.status == "completed"
    assert (
        "2 テナント中 2 件成功。通知 2 件は別の送信者が確保したまま（テナントの注記を参照）"
        in result.sentence()
    )
    totals = host.execute(
        "SELECT result -> 'totals' -> 'leasedCount' FROM batch.execution_log ORDER BY started_at DESC LIMIT 1"
    ).fetchone()
    assert totals == (2,)
    assert statuses(host)["slack", "sending"] == 2


def test_the_run_that_takes_them_over_has_no_such_remark(
    database: Database, host: psycopg.Connection, services: StandIns, interrupted: datetime
) -> None:
    assert interrupted
    lose_senders(host)

    # BATCH-019-01 does not take them over, so it also reports them when the lease has ended.
    assert "通知 2 件は別の送信者が" in run_notifications(database, services).sentence()
    taken_over = run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert "別の送信者" not in taken_over.sentence()
    assert "届いたか分からない通知 2 件" in taken_over.failed_tenants[0].reason


def test_a_run_without_leases_is_silent(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    slack(host, "A", services)
    waiting(host, "A", "SLACK", recipient_address="C1")
    result = run_notifications(database, services)
    assert result.sentence().endswith("1 テナント中 1 件成功")
    assert noted(host)["A"][1:] == (0, [])


@pytest.mark.parametrize(
    ("after", "fires"),
    [
        (datetime(2026, 11, 1, 0, 7, tzinfo=UTC), datetime(2026, 11, 1, 9, 30, tzinfo=JAPAN)),
        (datetime(2026, 11, 1, 0, 30, tzinfo=UTC), datetime(2026, 11, 1, 10, 30, tzinfo=JAPAN)),
        (
            datetime(2026, 11, 1, 0, 30, tzinfo=UTC) - timedelta(seconds=1),
            datetime(2026, 11, 1, 9, 30, tzinfo=JAPAN),
        ),
    ],
)
def test_the_next_firing_is_after_the_moment(after: datetime, fires: datetime) -> None:
    assert next_firing(NOTIFICATION_RETRY.cron, after) == fires
