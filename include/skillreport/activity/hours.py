"""Hourly counts from the application's logs. Other batches use them instead of reading the logs.

The hourly batch writes them to ``batch.activity_hour``, by hour and by the key that names a user. All statements run as ``batch_platform``.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.core.execution.business_date import JAPAN, UtcBounds, naive_utc

_SQL = Statements(Path(__file__).parent)

# The hourly batch counts each hour again an hour later, and each day again after its end, because rows may be written late.
LATE = timedelta(hours=1)

# How long hours are kept: as long as a daily batch needs them, and two more days in case the batches are down.
_KEPT = timedelta(days=3)

# A daily batch that starts together with the hourly batch waits this long for it.
_PATIENCE = timedelta(minutes=2)
_POLL_SECONDS = 1.0


def day_to_read_again(platform: psycopg.Connection, until: datetime) -> datetime | None:
    """The start (aware) of the Japanese day before ``until``, if not all of its hours were read after its end; otherwise None."""
    day_end = until.astimezone(JAPAN).replace(hour=0, minute=0, second=0, microsecond=0)
    day = UtcBounds(naive_utc(day_end - timedelta(days=1)), naive_utc(day_end))
    return (
        None if _count(platform, day, timedelta(0), day.end) == _hours(day) else day_end - timedelta(days=1)
    )


def begin_hours(platform: psycopg.Connection, since: datetime, until: datetime) -> datetime:
    """Prepare to read the logs from ``since`` to ``until`` (aware, full hours), in the transaction of the hourly batch.

    Returns the first hour whose counts are written. After an outage, the batch reads more hours than are kept. If two runs read at the same
    time, the second waits here, and replaces the counts of the first.
    """
    kept_from = max(since, until - _KEPT)
    hours = {"kept_from": kept_from, "until": until}
    _SQL.execute(platform, "claim_hours", **hours)
    _SQL.execute(platform, "delete_hours", **hours, expired=until - _KEPT)
    return kept_from


def are_read(
    platform: psycopg.Connection, period: UtcBounds, *, late: timedelta = LATE, again_after: datetime
) -> bool:
    """True if each hour of the period (full hours) was read at least ``late`` after its end, and after ``again_after`` (UTC, naive).

    If so, the hours do not expire before the open transaction ends.
    """
    if _count(platform, period, late, again_after) != _hours(period):
        return False
    return len(_SQL.column(platform, "hold_hours", **_bounds(period))) == _hours(period)


def await_day(platform: psycopg.Connection, day: UtcBounds) -> None:
    """Wait briefly for the hourly run that reads the last hour of the day again, if earlier runs have read the other hours.

    BATCH-003 and that run start at the same time. Call it outside of a transaction, because `upgrade` and autovacuum wait for an open one.
    """
    ends = time.monotonic() + _PATIENCE.total_seconds()
    while (
        _count(platform, day, timedelta(0), day.end) == _hours(day)
        and _count(platform, day, LATE, day.end) < _hours(day)
        and time.monotonic() < ends
    ):
        time.sleep(_POLL_SECONDS)


def _count(platform: psycopg.Connection, period: UtcBounds, late: timedelta, again_after: datetime) -> int:
    about = {**_bounds(period), "late": late, "again_after": again_after}
    (count,) = _SQL.row(platform, "count_read_hours", **about)
    return int(count)


def _bounds(period: UtcBounds) -> dict[str, datetime]:
    return {"since": period.start, "until": period.end}


def _hours(period: UtcBounds) -> int:
    return (period.end - period.start) // timedelta(hours=1)
