"""Which firings of the schedules came to nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from include.catalog import BATCHES, MONTHLY_REPORT, NOTIFICATION_RETRY, TENANT_USAGE, BatchSpec
from include.execution.business_date import JAPAN
from include.execution.schedule import firings_before, missed_starts


def japan(*when: int) -> datetime:
    return datetime(*when, tzinfo=JAPAN)  # type: ignore[arg-type, misc]


def runs(*fired_at: datetime) -> dict[BatchSpec, set[datetime]]:
    return {TENANT_USAGE: set(fired_at)}


def missed_by(
    now: datetime, existing: dict[BatchSpec, set[datetime]]
) -> list[tuple[str, *tuple[datetime, ...]]]:
    found = missed_starts(existing, now, lambda spec, firings: len(existing[spec].intersection(firings)))
    return [(missed.spec.id, *missed.fired_at) for missed in found]


@pytest.mark.parametrize(
    ("cron", "now", "expected"),
    [
        ("30 1 * * *", japan(2026, 11, 25, 1, 30), [japan(2026, 11, 25, 1, 30), japan(2026, 11, 24, 1, 30)]),
        ("30 1 * * *", japan(2026, 11, 25, 1, 29), [japan(2026, 11, 24, 1, 30), japan(2026, 11, 23, 1, 30)]),
        ("0 5 1 * *", japan(2026, 1, 15), [japan(2026, 1, 1, 5), japan(2025, 12, 1, 5)]),
        ("0 3 * * 0", japan(2026, 11, 25), [japan(2026, 11, 22, 3), japan(2026, 11, 15, 3)]),
    ],
)
def test_the_last_firings_are_those_of_japanese_time(
    cron: str, now: datetime, expected: list[datetime]
) -> None:
    assert firings_before(cron, now.astimezone(UTC), 2) == expected


def test_a_firing_without_a_run_is_missed_after_a_quarter_of_an_hour() -> None:
    existing = runs(japan(2026, 11, 24, 1, 30))
    assert missed_by(japan(2026, 11, 25, 1, 44), existing) == []
    assert missed_by(japan(2026, 11, 25, 1, 45), existing) == [("BATCH-018-01", japan(2026, 11, 25, 1, 30))]


def test_a_run_that_exists_is_not_missed() -> None:
    assert missed_by(japan(2026, 11, 25, 12), runs(japan(2026, 11, 25, 1, 30))) == []


def test_a_batch_that_is_not_scheduled_or_paused_for_days_is_no_news() -> None:
    assert missed_by(japan(2026, 11, 25, 12), runs()) == []
    assert missed_by(japan(2026, 11, 25, 12), runs(japan(2026, 11, 22, 1, 30))) != []
    assert missed_by(japan(2026, 11, 25, 12), runs(japan(2026, 11, 21, 1, 30))) == []


def test_every_firing_of_a_longer_outage_is_missed_also_after_airflow_has_made_up_for_the_last() -> None:
    before, made_up = japan(2026, 11, 20, 1, 30), japan(2026, 11, 23, 1, 30)
    assert missed_by(japan(2026, 11, 23, 10), runs(before, made_up)) == [
        ("BATCH-018-01", japan(2026, 11, 22, 1, 30), japan(2026, 11, 21, 1, 30)),
    ]


def test_hourly_and_monthly_schedules_are_judged_by_their_own_firings() -> None:
    now = japan(2026, 11, 1, 6, 0)
    existing = {
        NOTIFICATION_RETRY: {japan(2026, 11, 1, 4, 30)},
        MONTHLY_REPORT: {japan(2026, 10, 1, 5, 0)},
    }
    assert missed_by(now, existing) == [
        ("BATCH-019-02", japan(2026, 11, 1, 5, 30)),
        ("BATCH-004", japan(2026, 11, 1, 5, 0)),
    ]


def test_every_schedule_of_the_registry_can_be_read() -> None:
    for spec in BATCHES:
        assert len(firings_before(spec.cron, japan(2026, 11, 25), 2)) == 2
