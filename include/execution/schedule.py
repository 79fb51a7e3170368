"""When the registry's schedules fire, and which of the last scheduled times started no run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from croniter import croniter

from include.catalog import BatchSpec
from include.execution.business_date import JAPAN

# Airflow starts a run within seconds of its time, but a restart of the scheduler takes minutes.
GRACE = timedelta(minutes=15)

# The number of scheduled times to check. An outage may span several, and after it Airflow starts a run only for the last one.
_CHECKED = 8
# If this many of the last scheduled times started no run, an operator has paused the DAG. No alert is needed then.
_PAUSED_AFTER = 4


@dataclass(frozen=True)
class MissedStart:
    """Firings of a batch's schedule (aware, newest first) that started no run."""

    spec: BatchSpec
    fired_at: tuple[datetime, ...]


def firings_before(cron: str, moment: datetime, count: int) -> list[datetime]:
    """The last firings of a cron (Asia/Tokyo) at or before ``moment`` (aware), newest first."""
    firings = croniter(cron, moment.astimezone(JAPAN) + timedelta(microseconds=1), ret_type=datetime)
    return [firings.get_prev() for _ in range(count)]


def next_firing(cron: str, moment: datetime) -> datetime:
    """The first firing of a cron (Asia/Tokyo) after ``moment`` (aware)."""
    firing: datetime = croniter(cron, moment.astimezone(JAPAN), ret_type=datetime).get_next()
    return firing


def missed_starts(
    specs: Iterable[BatchSpec], now: datetime, count_runs: Callable[[BatchSpec, list[datetime]], int]
) -> list[MissedStart]:
    """The batches with firings that started no run, although an earlier firing did.

    ``count_runs`` asks Airflow how many of the given firings started a run. The firings of the last 15 minutes are not checked.
    """
    missed = []
    for spec in specs:
        firings = firings_before(spec.cron, now - GRACE, _CHECKED)
        if count_runs(spec, firings) in (0, len(firings)):
            continue
        started = [count_runs(spec, [firing]) > 0 for firing in firings]
        if any(started[:_PAUSED_AFTER]):
            first = max(index for index, has_run in enumerate(started) if has_run)
            without_run = tuple(
                firing for firing, has_run in zip(firings[:first], started, strict=False) if not has_run
            )
            if without_run:
                missed.append(MissedStart(spec, without_run))
    return missed
