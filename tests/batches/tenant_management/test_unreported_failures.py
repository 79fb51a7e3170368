"""Failures without an alert: each batch and each attempt of a run has a separate alert."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg

from skill_batch.notifiers.failure_alert import failure_key
from include.skillreport.batches.tenant_monitoring.orphans import close_orphan, running_rows
from include.skillreport.batches.tenant_monitoring.unreported import unclosed_executions, unreported_failures
from include.skillreport.core.catalog import (
    EXTERNAL_SYNC,
    NOTIFICATION_RETRY,
    SCHEDULED_NOTIFICATIONS,
    TENANT_BILLING,
)
from include.skillreport.core.execution import run_log
from include.skillreport.core.execution.batch import Run, RunRemark
from include.skillreport.core.execution.run_remarks import RunProblem, record_remark
from include.skillreport.core.execution.sharding import Shard
from include.skillreport.core.run_spec import BatchSpec

FAMILY_DAG, RUN_ID = "batch_019_notification", "manual__1"
# By then an alert would have been written down.
LATER = timedelta(minutes=15)


def fail(
    platform: psycopg.Connection, spec: BatchSpec, attempt: int = 0, run_id: str = RUN_ID, **values: Any
) -> Run:
    """A run of one tenant, in the family's DAG, that ended without a result."""
    run = run_log.open_execution(
        platform,
        spec,
        dag_id=FAMILY_DAG,
        run_id=run_id,
        business_date=date(2026, 10, 31),
        run_date=date(2026, 11, 1),
        parameters={},
        shards={Shard(0, "T1"): ["T1"]},
        attempt=attempt,
        **{"dry_run": False, **values},
    )
    assert run_log.close_execution(platform, run, attempt=attempt).status == "failed"
    return run


def alert(platform: psycopg.Connection, spec: BatchSpec, attempt: int = 0, run_id: str = RUN_ID) -> None:
    """The alert of that failure is written down."""
    platform.execute(
        "INSERT INTO batch.operator_alert (alert_key, channel, severity, message) VALUES (%s, 'slack', 'HIGH', '{}')",
        [failure_key(FAMILY_DAG, run_id, spec.id, attempt)],
    )


def unreported(platform: psycopg.Connection) -> list[tuple[str, int]]:
    """Batch and attempt of each failure that owes an alert."""
    return [
        (failure.spec.id, failure.attempt)
        for failure in unreported_failures(platform, datetime.now(UTC) + LATER)
    ]


def test_an_alert_of_another_batch_does_not_count_for_this_one(
    platform: psycopg.Connection,
) -> None:
    for spec in (SCHEDULED_NOTIFICATIONS, EXTERNAL_SYNC, TENANT_BILLING):
        fail(platform, spec)
    alert(platform, EXTERNAL_SYNC)

    assert unreported(platform) == [(SCHEDULED_NOTIFICATIONS.id, 0), (TENANT_BILLING.id, 0)]


def test_an_alert_before_a_clear_does_not_count_for_later_failures(
    platform: psycopg.Connection,
) -> None:
    run = fail(platform, TENANT_BILLING)
    alert(platform, TENANT_BILLING)
    assert unreported(platform) == []

    run_log.mark_reopened(platform, run)
    run_log.close_execution(platform, run, attempt=1)

    assert unreported(platform) == [(TENANT_BILLING.id, 1)]
    alert(platform, TENANT_BILLING, attempt=1)
    assert unreported(platform) == []


def test_a_problem_of_the_whole_run_keeps_its_code(platform: psycopg.Connection) -> None:
    run = run_log.open_execution(
        platform,
        NOTIFICATION_RETRY,
        dag_id=FAMILY_DAG,
        run_id=RUN_ID,
        business_date=date(2026, 10, 31),
        run_date=date(2026, 11, 1),
        parameters={},
        shards={Shard(0, "T1"): ["T1"]},
        dry_run=False,
    )
    platform.execute("UPDATE batch.tenant_outcome SET status = 'success'")
    remark = RunRemark({"mails": 0}, "受信箱を読めません", "MAILBOX_UNREADABLE")
    record_remark(platform, run, "read_mailbox", remark, datetime.now(UTC))
    assert run_log.close_execution(platform, run).status == "partial"

    (failure,) = unreported_failures(platform, datetime.now(UTC) + LATER)

    assert failure.result.problems == (RunProblem("受信箱を読めません", "MAILBOX_UNREADABLE"),)
    assert (failure.result.error, failure.result.failed_tenants) == (None, [])


def test_a_run_whose_id_begins_like_another_owes_its_own_alert(platform: psycopg.Connection) -> None:
    fail(platform, TENANT_BILLING)
    fail(platform, TENANT_BILLING, run_id=f"{RUN_ID}:{TENANT_BILLING.id}")
    alert(platform, TENANT_BILLING)

    assert unreported(platform) == [(TENANT_BILLING.id, 0)]


def test_a_failure_from_before_the_attempts_were_kept_is_left_alone(platform: psycopg.Connection) -> None:
    fail(platform, TENANT_BILLING)
    platform.execute("UPDATE batch.execution_log SET attempt = NULL")

    assert unreported(platform) == []


def test_a_cleared_run_is_listed_until_it_is_closed_again(
    platform: psycopg.Connection,
) -> None:
    run = fail(platform, TENANT_BILLING)

    def unclosed() -> list[str]:
        return [
            execution.execution_id for execution in unclosed_executions(platform, datetime.now(UTC) + LATER)
        ]

    assert unclosed() == []
    run_log.mark_reopened(platform, run)
    since = platform.execute("SELECT reopened_at FROM batch.execution_log").fetchone()
    run_log.mark_reopened(platform, run)
    assert platform.execute("SELECT reopened_at FROM batch.execution_log").fetchone() == since
    assert unclosed() == [run.execution_id]
    assert unclosed_executions(platform, datetime.now(UTC)) == []  # it may still be closing

    run_log.close_execution(platform, run, attempt=1)
    assert unclosed() == []


def test_a_run_repeated_from_its_beginning_leaves_no_reopened_row(
    platform: psycopg.Connection,
) -> None:
    run = fail(platform, TENANT_BILLING)
    run_log.mark_reopened(platform, run)

    fail(platform, TENANT_BILLING, attempt=1)

    assert unclosed_executions(platform, datetime.now(UTC) + LATER) == []


def test_an_orphan_that_was_reported_says_nothing_about_a_failure_after_it(
    platform: psycopg.Connection,
) -> None:
    run = fail(platform, TENANT_BILLING)
    platform.execute(
        "INSERT INTO batch.orphan_notice (execution_id, detail) VALUES (%s, 'lost')", [run.execution_id]
    )
    assert unreported(platform) == []

    run_log.close_execution(platform, run, attempt=1)

    assert unreported(platform) == [(TENANT_BILLING.id, 1)]


def test_a_dry_run_owes_an_alert_only_to_its_user(platform: psycopg.Connection) -> None:
    later = datetime.now(UTC) + LATER
    for user in (None, "keiri"):
        run = fail(platform, TENANT_BILLING, run_id=f"dry {user}", dry_run=True, triggered_by=user)
        run_log.mark_reopened(platform, run)
    by_hand = fail(platform, TENANT_BILLING, run_id="real", triggered_by="keiri")
    run_log.mark_reopened(platform, by_hand)

    expected = [("dry keiri", True, "keiri"), ("real", False, "keiri")]
    for found in (unreported_failures(platform, later), unclosed_executions(platform, later)):
        assert [(row.run_id, row.dry_run, row.triggered_by) for row in found] == expected


def test_a_lost_run_whose_user_was_not_alerted_owes_an_alert(platform: psycopg.Connection) -> None:
    fail(platform, TENANT_BILLING, dry_run=True, triggered_by="keiri")
    platform.execute("UPDATE batch.execution_log SET status = 'running', ended_at = NULL")
    ((spec, lost),) = running_rows(platform, "the check itself")

    assert close_orphan(platform, spec, lost, "理由", in_digest=False)

    assert unreported(platform) == [(TENANT_BILLING.id, 0)]
    alert(platform, TENANT_BILLING)
    assert unreported(platform) == []
