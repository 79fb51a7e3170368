"""When the registry's schedules fire, and which of the last firings came to nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from croniter import croniter

from include.catalog import BatchSpec
from include.execution.business_date import JAPAN

# Airflow makes a run within seconds of its time; a restart of the scheduler takes minutes.
GRACE = timedelta(minutes=15)

# A batch counts as scheduled if one of so many firings before made a run: one that is paused for good is soon no news.
_LOOKED_BACK = 3


@dataclass(frozen=True)
class MissedStart:
    """A firing of a batch's schedule (aware) that made no run."""

    spec: BatchSpec
    fired_at: datetime


def firings_before(cron: str, moment: datetime, count: int) -> list[datetime]:
    """The last times at or before ``moment`` (aware) at which a cron in Japanese time fires, newest first."""
    firings = croniter(cron, moment.astimezone(JAPAN) + timedelta(microseconds=1), ret_type=datetime)
    return [firings.get_prev() for _ in range(count)]


def missed_starts(
    specs: Iterable[BatchSpec], now: datetime, has_run: Callable[[BatchSpec, list[datetime]], bool]
) -> list[MissedStart]:
    """The batches whose last firing made no run, although their schedule is in use.

    ``has_run`` asks Airflow whether a run of the batch exists for one of these times. The last quarter of an hour is not judged yet.
    """
    missed = []
    for spec in specs:
        last, *before = firings_before(spec.cron, now - GRACE, 1 + _LOOKED_BACK)
        if not has_run(spec, [last]) and has_run(spec, before):
            missed.append(MissedStart(spec, last))
    return missed
