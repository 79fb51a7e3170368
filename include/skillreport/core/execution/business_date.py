"""The business date of a run. All dates are Asia/Tokyo; the host stores UTC."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from include.skillreport.core.errors import ParameterError
from include.skillreport.core.run_spec import WorksOn

JAPAN = ZoneInfo("Asia/Tokyo")


@dataclass(frozen=True)
class UtcBounds:
    """A half-open interval ``[start, end)`` of naive UTC timestamps, as in the host's TIMESTAMP(3) columns."""

    start: datetime
    end: datetime


def business_date_of(run_instant: datetime, works_on: WorksOn) -> date:
    """The date that a run works on. For a monthly batch it is the first day of the month.

    ``run_instant`` is the run's logical date (aware), not the current time, so a run that is cleared later works on the same date.
    """
    run_date = run_instant.astimezone(JAPAN).date()
    match works_on:
        case WorksOn.RUN_DATE:
            return run_date
        case WorksOn.YESTERDAY:
            return run_date - timedelta(days=1)
        case WorksOn.PREVIOUS_MONTH:
            return (run_date.replace(day=1) - timedelta(days=1)).replace(day=1)


def naive_utc(moment: datetime) -> datetime:
    """An aware time as a naive UTC time, as in the host's TIMESTAMP(3) columns."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def utc_bounds(day: date) -> UtcBounds:
    """The Japanese day in UTC: from 15:00 on the day before to 15:00."""
    start = naive_utc(datetime.combine(day, time(), JAPAN))
    return UtcBounds(start, start + timedelta(days=1))


def period_of(business_date: date, works_on: WorksOn) -> tuple[date, date]:
    """The first and last day (inclusive) of a run's period: the business date itself or its entire month."""
    if works_on is not WorksOn.PREVIOUS_MONTH:
        return business_date, business_date
    last = business_date.replace(day=monthrange(business_date.year, business_date.month)[1])
    return business_date.replace(day=1), last


def is_past(last_day: date, now: datetime) -> bool:
    """True if the Japanese day has ended at ``now`` (aware)."""
    return last_day < now.astimezone(JAPAN).date()


def require_past(last_day: date, works_on: WorksOn, now: datetime) -> None:
    """Reject a period that has not ended: its usage would be incomplete, and a period is closed only once. A run date must have begun.

    :raises ParameterError: the Japanese day ``last_day`` has not ended (or begun) at ``now`` (aware).
    """
    if works_on is WorksOn.RUN_DATE:
        if last_day > now.astimezone(JAPAN).date():
            raise ParameterError(
                f"業務日 {last_day:%Y-%m-%d} は日本時間でまだ始まっていません。今日までの業務日（business_date）を指定してください。"
            )
        return
    if not is_past(last_day, now):
        raise ParameterError(
            f"対象期間の末日 {last_day:%Y-%m-%d} が日本時間でまだ終わっていません。"
            "過去の業務日（business_date）を指定するか、翌日 0 時以降に実行してください。"
        )
