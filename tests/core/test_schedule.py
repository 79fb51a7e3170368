"""Which firings of the schedules came to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from include.skillreport.core.catalog import (
    BATCHES,
    MONTHLY_REPORT,
    NOTIFICATION_RETRY,
    TENANT_USAGE,
)
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.schedule import firings_before, missed_starts
from include.skillreport.core.run_spec import RunSpec


def japan(*when: int) -> datetime:
    return datetime(*when, tzinfo=JAPAN)  # type: ignore[arg-type, misc]


@dataclass(frozen=True)
class Runs:
    """Airflow's runs of the batches: scheduled and manual ones, by their logical dates."""

    by_batch: dict[RunSpec, set[datetime]]
    paused: tuple[RunSpec, ...] = ()

    def count(self, spec: RunSpec, firings: Sequence[datetime]) -> int:
        return len(self.by_batch[spec].intersection(firings))

    def last_before(self, spec: RunSpec, moment: datetime) -> datetime | None:
        return max((each for each in self.by_batch[spec] if each < moment), default=None)

    def is_paused(self, spec: RunSpec) -> bool:
        return spec in self.paused


def runs(*fired_at: datetime) -> Runs:
    return Runs({TENANT_USAGE: set(fired_at)})


def missed_by(now: datetime, existing: Runs) -> list[tuple[str, *tuple[datetime, ...]]]:
    found = missed_starts(existing.by_batch, now, existing)
    return [(missed.spec.id, *missed.fired_at) for missed in found]


def daily(*days: int) -> list[datetime]:
    return [japan(2026, 11, day, 1, 30) for day in days]


def hourly(start: datetime, count: int) -> list[datetime]:
    return [start + timedelta(hours=hour) for hour in range(count)]


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


def test_a_firing_without_a_run_is_missed_after_15_minutes() -> None:
    existing = runs(japan(2026, 11, 24, 1, 30))
    assert missed_by(japan(2026, 11, 25, 1, 44), existing) == []
    assert missed_by(japan(2026, 11, 25, 1, 45), existing) == [("BATCH-018-01", japan(2026, 11, 25, 1, 30))]


def test_a_run_that_exists_is_not_missed() -> None:
    assert missed_by(japan(2026, 11, 25, 12), runs(japan(2026, 11, 25, 1, 30))) == []


def test_a_batch_that_was_never_scheduled_is_no_news() -> None:
    now = japan(2026, 11, 25, 12)
    assert missed_by(now, runs()) == []
    assert missed_by(now, runs(japan(2026, 11, 20, 11, 7))) == []  # by hand
    assert missed_by(now, runs(*daily(25))) == []


@pytest.mark.parametrize("days", [2, 14, 400])
def test_an_outage_of_any_length_is_missed_until_its_last_firing(days: int) -> None:
    before = japan(2026, 11, 25, 1, 30) - timedelta(days=days)
    (missed,) = missed_starts([TENANT_USAGE], japan(2026, 11, 25, 12), runs(before))
    assert (missed.fired_at[0], missed.fired_at[-1]) == (
        before + timedelta(days=1),
        japan(2026, 11, 25, 1, 30),
    )
    assert (len(missed.fired_at), missed.started_before, missed.started_after) == (days, before, None)


def test_firings_before_the_one_that_airflow_caught_up_are_missed() -> None:
    (missed,) = missed_starts([TENANT_USAGE], japan(2026, 11, 23, 10), runs(*daily(9, 23)))
    assert missed.fired_at == tuple(daily(*range(10, 23)))
    assert (missed.started_before, missed.started_after) == (*daily(9), *daily(23))


def test_an_hourly_batch_is_not_forgotten_after_a_day() -> None:
    last = japan(2026, 11, 20, 4, 30)
    existing = Runs({NOTIFICATION_RETRY: {last}})
    (missed,) = missed_starts([NOTIFICATION_RETRY], japan(2026, 11, 22, 5), existing)
    assert missed.fired_at == tuple(hourly(last + timedelta(hours=1), 48))


def test_a_gap_of_an_hourly_batch_is_reported_for_a_day() -> None:
    before, after = japan(2026, 11, 10, 4, 30), hourly(japan(2026, 11, 20, 4, 30), 48)
    existing = Runs({NOTIFICATION_RETRY: {before, *after}})
    (missed,) = missed_starts([NOTIFICATION_RETRY], japan(2026, 11, 21, 3), existing)
    assert (missed.started_before, missed.started_after) == (before, after[0])
    assert missed_starts([NOTIFICATION_RETRY], japan(2026, 11, 21, 8), existing) == []


def test_a_second_gap_on_the_same_day_is_another_gap() -> None:
    fired_at = hourly(japan(2026, 11, 20, 0, 30), 12)
    first, second = {*fired_at[1:3]}, {*fired_at[10:]}
    one_gap = Runs({NOTIFICATION_RETRY: {*fired_at} - first})
    two_gaps = Runs({NOTIFICATION_RETRY: {*fired_at} - first - second})
    now = japan(2026, 11, 20, 12)
    (one,), (two,) = (missed_starts([NOTIFICATION_RETRY], now, existing) for existing in (one_gap, two_gaps))
    assert (one.newest_gap_at, two.newest_gap_at) == (fired_at[1], fired_at[10])


def test_manual_runs_during_an_outage_do_not_hide_its_begin() -> None:
    by_hand = [japan(2026, 11, day, 11, 7) for day in range(10, 23)]
    (missed,) = missed_starts([TENANT_USAGE], japan(2026, 11, 23, 10), runs(*daily(9), *by_hand))
    assert missed.fired_at == tuple(daily(*range(10, 24)))


def test_a_paused_dag_is_marked() -> None:
    existing = Runs({TENANT_USAGE: set(daily(9))}, paused=(TENANT_USAGE,))
    (missed,) = missed_starts([TENANT_USAGE], japan(2026, 11, 23, 10), existing)
    assert missed.is_paused


def test_hourly_and_monthly_schedules_are_judged_by_their_own_firings() -> None:
    now = japan(2026, 11, 1, 6, 0)
    existing = Runs(
        {NOTIFICATION_RETRY: {japan(2026, 11, 1, 4, 30)}, MONTHLY_REPORT: {japan(2026, 10, 1, 5, 0)}}
    )
    assert missed_by(now, existing) == [
        ("BATCH-019-02", japan(2026, 11, 1, 5, 30)),
        ("BATCH-004", japan(2026, 11, 1, 5, 0)),
    ]


def test_every_schedule_of_the_registry_can_be_read() -> None:
    for spec in BATCHES:
        assert len(firings_before(spec.cron, japan(2026, 11, 25), 2)) == 2
