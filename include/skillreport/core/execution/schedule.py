"""The times of the registry's schedules, and scheduled times without a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Protocol

from croniter import croniter

from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.run_spec import RunSpec

# Airflow starts a run within seconds, but a restart of the scheduler takes minutes.
GRACE = timedelta(minutes=15)

# Firings of the last week are checked, but at most 24 (a day of an hourly batch) and at least two.
_LOOKED_BACK = timedelta(days=7)
_MOST_CHECKED = 24
_LEAST_CHECKED = 2


class StartedRuns(Protocol):
    """Airflow's data about the runs of a batch's or operation's own DAG. Logical dates are aware."""

    def count(self, spec: RunSpec, firings: Sequence[datetime]) -> int:
        """The number of these firings that started a run."""

    def last_before(self, spec: RunSpec, moment: datetime) -> datetime | None:
        """The logical date of the last run (also a manual run) before ``moment``, or None."""

    def is_paused(self, spec: RunSpec) -> bool:
        """True if the DAG is paused."""


@dataclass(frozen=True)
class MissedStarts:
    """The firings of a batch's schedule that started no run (aware, Asia/Tokyo, oldest first).

    ``started_before`` is the last firing before them that started a run, ``started_after`` the first one after them, or None.
    ``newest_gap_at`` is the first missed firing after the last start.
    """

    spec: RunSpec
    fired_at: tuple[datetime, ...]
    started_before: datetime
    started_after: datetime | None
    is_paused: bool
    newest_gap_at: datetime


def firings_before(cron: str, moment: datetime, count: int) -> list[datetime]:
    """The last firings of a cron (Asia/Tokyo) at or before ``moment`` (aware), newest first."""
    firings = croniter(cron, moment.astimezone(JAPAN) + timedelta(microseconds=1), ret_type=datetime)
    return [firings.get_prev() for _ in range(count)]


def next_firing(cron: str, moment: datetime) -> datetime:
    """The first firing of a cron (Asia/Tokyo) after ``moment`` (aware)."""
    firing: datetime = croniter(cron, moment.astimezone(JAPAN), ret_type=datetime).get_next()
    return firing


def missed_starts(specs: Iterable[RunSpec], now: datetime, runs: StartedRuns) -> list[MissedStarts]:
    """The batches with firings that started no run after an earlier firing did, however long ago.

    Ignores the 15 minutes before ``now`` (aware).
    """
    found = (_missed(spec, now - GRACE, runs) for spec in specs)
    return [missed for missed in found if missed]


def _missed(spec: RunSpec, until: datetime, runs: StartedRuns) -> MissedStarts | None:
    """Several gaps of the last week are reported as one."""
    firings = [
        fired_at
        for number, fired_at in enumerate(firings_before(spec.cron, until, _MOST_CHECKED))
        if number < _LEAST_CHECKED or until - fired_at < _LOOKED_BACK
    ]
    count = runs.count(spec, firings)
    if count == len(firings):
        return None
    started = [fired_at for fired_at in firings if count and runs.count(spec, [fired_at])]
    # An outage may last longer than the checked firings.
    before = firings[-1] if firings[-1] in started else _last_started(spec, firings[-1], runs)
    if before is None:
        # The schedule has started no run before these firings. Without any run, the batch is not in use yet.
        if not started:
            return None
        before = started[-1]
    missed = [fired_at for fired_at in _firings_between(spec.cron, before, until) if fired_at not in started]
    if not missed:
        return None
    last_start = max((each for each in started if each < missed[-1]), default=before)
    return MissedStarts(
        spec,
        tuple(missed),
        started_before=before,
        started_after=min((each for each in started if each > missed[-1]), default=None),
        is_paused=runs.is_paused(spec),
        newest_gap_at=next(each for each in missed if each > last_start),
    )


def _last_started(spec: RunSpec, moment: datetime, runs: StartedRuns) -> datetime | None:
    """Skips manual runs, whose logical date is rarely a firing."""
    found = runs.last_before(spec, moment)
    while found and next_firing(spec.cron, found - timedelta(microseconds=1)) != found:
        found = runs.last_before(spec, found)
    return found and found.astimezone(JAPAN)


def _firings_between(cron: str, start: datetime, end: datetime) -> list[datetime]:
    """Returns times in Asia/Tokyo, oldest first. ``start`` is excluded."""
    firings = croniter(cron, start.astimezone(JAPAN), ret_type=datetime)
    return list(takewhile(lambda fired_at: fired_at <= end, iter(firings.get_next, None)))
