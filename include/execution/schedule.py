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

# So many firings are looked at: an outage may span several, and after it Airflow makes up for the last one only.
_LOOKED_AT = 8
# A batch of which so many of the last firings made no run is paused for good, and no news.
_NO_NEWS = 4


@dataclass(frozen=True)
class MissedStart:
    """Firings of a batch's schedule (aware, newest first) that made no run."""

    spec: BatchSpec
    fired_at: tuple[datetime, ...]


def firings_before(cron: str, moment: datetime, count: int) -> list[datetime]:
    """The last times at or before ``moment`` (aware) at which a cron in Japanese time fires, newest first."""
    firings = croniter(cron, moment.astimezone(JAPAN) + timedelta(microseconds=1), ret_type=datetime)
    return [firings.get_prev() for _ in range(count)]


def missed_starts(
    specs: Iterable[BatchSpec], now: datetime, count_runs: Callable[[BatchSpec, list[datetime]], int]
) -> list[MissedStart]:
    """The batches with firings that made no run although the schedule was in use: an earlier one did.

    ``count_runs`` asks Airflow how many of these firings made a run. The last quarter of an hour is not judged yet.
    """
    missed = []
    for spec in specs:
        firings = firings_before(spec.cron, now - GRACE, _LOOKED_AT)
        if count_runs(spec, firings) in (0, len(firings)):
            continue
        made = [count_runs(spec, [firing]) > 0 for firing in firings]
        if any(made[:_NO_NEWS]):
            first = max(index for index, has_run in enumerate(made) if has_run)
            without = tuple(
                firing for firing, has_run in zip(firings[:first], made, strict=False) if not has_run
            )
            if without:
                missed.append(MissedStart(spec, without))
    return missed
