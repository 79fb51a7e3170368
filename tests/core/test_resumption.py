"""Which scheduled runs count as the first ones after a pause, and what a cleared run keeps of that."""

from __future__ import annotations

from datetime import datetime, timedelta

import psycopg
import pytest

from include.skillreport.core.catalog import (
    INACTIVE_TENANTS,
    NOTIFICATION_RETRY,
    SCHEDULED_NOTIFICATIONS,
    TENANT_BILLING,
)
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.flow import RunRequest
from include.skillreport.core.execution.resumption import decide_deferral, pause_before
from include.skillreport.core.run_spec import RunSpec

PROMPTLY = timedelta(seconds=5)


def japan(*when: int) -> datetime:
    return datetime(*when, tzinfo=JAPAN)  # type: ignore[arg-type, misc]


DAY = japan(2026, 11, 25, 9)


@pytest.mark.parametrize(
    ("spec", "ticked_at", "last_tick", "waits"),
    [
        # Daily: one missed run is no pause, and two are one.
        (SCHEDULED_NOTIFICATIONS, DAY, japan(2026, 11, 24, 9), False),
        (SCHEDULED_NOTIFICATIONS, DAY, japan(2026, 11, 23, 9), False),
        (SCHEDULED_NOTIFICATIONS, DAY, japan(2026, 11, 22, 9), True),
        # Hourly: a pause lasts for a day, however many runs it has missed.
        (NOTIFICATION_RETRY, japan(2026, 11, 25, 9, 30), japan(2026, 11, 24, 10, 30), False),
        (NOTIFICATION_RETRY, japan(2026, 11, 25, 9, 30), japan(2026, 11, 24, 9, 30), True),
        # Monthly: the months differ in length.
        (TENANT_BILLING, japan(2026, 3, 1, 2), japan(2026, 1, 1, 2), False),
        (TENANT_BILLING, japan(2026, 3, 1, 2), japan(2025, 12, 1, 2), True),
        (INACTIVE_TENANTS, japan(2026, 11, 25, 4), None, True),
    ],
)
def test_more_than_two_periods_and_a_day_are_a_pause(
    spec: RunSpec, ticked_at: datetime, last_tick: datetime | None, waits: bool
) -> None:
    assert (pause_before(spec.cron, ticked_at, ticked_at + PROMPTLY, last_tick) is not None) == waits


def test_a_run_that_starts_more_than_a_day_late_follows_a_pause() -> None:
    before = japan(2026, 11, 24, 9)
    assert pause_before("0 9 * * *", DAY, DAY + timedelta(hours=24), before) is None
    reason = pause_before("0 9 * * *", DAY, DAY + timedelta(hours=24, seconds=1), before)
    assert reason == "予定（2026-11-25 09:00）から 24 時間を過ぎて始まりました"


def decide(
    platform: psycopg.Connection,
    ticked_at: datetime,
    *,
    after: timedelta = PROMPTLY,
    spec: RunSpec = SCHEDULED_NOTIFICATIONS,
) -> bool:
    """Whether the run of this tick holds, when it starts so long after it."""
    request = RunRequest(
        spec.dag_id, f"scheduled__{ticked_at.isoformat()}", ticked_at, {}, ticked_at=ticked_at
    )
    return decide_deferral(platform, spec, request, ticked_at + after) is not None


def test_only_the_first_run_of_a_new_schedule_waits(platform: psycopg.Connection) -> None:
    days = [DAY + timedelta(days=number) for number in range(3)]
    assert [decide(platform, day) for day in days] == [True, False, False]
    # Each batch has its own schedule.
    assert decide(platform, DAY, spec=NOTIFICATION_RETRY)


def test_a_cleared_run_keeps_its_first_decision(platform: psycopg.Connection) -> None:
    assert decide(platform, DAY - timedelta(days=1))
    assert not decide(platform, DAY)

    later = timedelta(days=3)
    assert decide(platform, DAY - timedelta(days=1), after=later)
    assert not decide(platform, DAY, after=later)
    # Also when later runs have replaced the row of its tick.
    assert not decide(platform, DAY + timedelta(days=1))
    assert not decide(platform, DAY, after=later)


def test_a_run_from_before_the_deployment_is_cleared_without_a_pause(platform: psycopg.Connection) -> None:
    platform.execute(
        """
        INSERT INTO batch.execution_log (
            execution_id, batch_id, dag_id, run_id, business_date, dry_run, parameters, execution_host, status, total_tenants
        ) VALUES ('old', %s, %s, %s, '2026-11-25', false, '{}', 'host', 'running', 0)
        """,
        [
            SCHEDULED_NOTIFICATIONS.id,
            SCHEDULED_NOTIFICATIONS.dag_id,
            f"scheduled__{DAY.isoformat()}",
        ],
    )
    assert not decide(platform, DAY, after=timedelta(days=3))


def test_a_run_that_failed_before_it_was_opened_still_waits(platform: psycopg.Connection) -> None:
    assert decide(platform, DAY - timedelta(days=14))
    assert decide(platform, DAY, after=timedelta(hours=5))


def test_the_ticks_are_bounded(platform: psycopg.Connection) -> None:
    for number in range(400):
        decide(platform, DAY + timedelta(days=number))
    kept = platform.execute(
        "SELECT ticked_at, deferral_reason IS null FROM batch.started_tick ORDER BY 1"
    ).fetchall()
    assert kept == [(DAY + timedelta(days=399), True)]


def test_later_runs_join_what_nobody_has_confirmed(platform: psycopg.Connection) -> None:
    assert decide(platform, DAY)
    platform.execute(
        """
        INSERT INTO batch.outbox (
            message_id, tenant_id, dedupe_key, channel, destination, subject, body, due_at, next_attempt_at, created_by, deferred_for
        ) VALUES ('held', 'A', 'key', 'email', 'a@example.jp', '', '', now(), now(), 'test', %s)
        """,
        [SCHEDULED_NOTIFICATIONS.id],
    )
    assert decide(platform, DAY + timedelta(days=1))
    platform.execute("UPDATE batch.outbox SET deferred_for = null")
    assert not decide(platform, DAY + timedelta(days=2))
