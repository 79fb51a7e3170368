"""Japanese dates from aware instants, their UTC bounds, and the refusal of periods that are not over."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.business_date import (
    business_date_of,
    period_of,
    require_past,
    utc_bounds,
)
from include.skillreport.core.run_spec import WorksOn

# Japan had daylight saving time until 1951; no data are older than this.
DAYS = st.dates(date(1952, 1, 1), date(2999, 12, 31))
INSTANTS = st.datetimes(
    datetime(1952, 1, 2),
    datetime(2999, 12, 31),
    timezones=st.builds(timezone, st.timedeltas(timedelta(hours=-12), timedelta(hours=14))),
)


@given(DAYS)
def test_a_japanese_day_is_24_hours_from_1500_utc(day: date) -> None:
    bounds = utc_bounds(day)
    assert bounds.start == datetime(day.year, day.month, day.day) - timedelta(hours=9)
    assert (bounds.start.hour, bounds.start.minute, bounds.start.tzinfo) == (15, 0, None)
    assert bounds.end - bounds.start == timedelta(hours=24)


@given(DAYS)
def test_days_follow_each_other_without_gap_or_overlap(day: date) -> None:
    assert utc_bounds(day).end == utc_bounds(day + timedelta(days=1)).start


@given(INSTANTS)
def test_an_instant_is_within_the_bounds_of_its_day(instant: datetime) -> None:
    bounds = utc_bounds(business_date_of(instant, WorksOn.RUN_DATE))
    assert bounds.start <= instant.astimezone(UTC).replace(tzinfo=None) < bounds.end


@given(INSTANTS)
def test_yesterday_and_the_previous_month_end_where_today_and_this_month_begin(instant: datetime) -> None:
    today = business_date_of(instant, WorksOn.RUN_DATE)
    _, yesterday = period_of(business_date_of(instant, WorksOn.YESTERDAY), WorksOn.YESTERDAY)
    first, last = period_of(business_date_of(instant, WorksOn.PREVIOUS_MONTH), WorksOn.PREVIOUS_MONTH)

    assert yesterday + timedelta(days=1) == today
    assert first.day == 1
    assert last + timedelta(days=1) == today.replace(day=1)


@pytest.mark.parametrize(
    ("instant", "works_on", "expected"),
    [
        # 00:00 in Japan is 15:00 UTC.
        ("2026-10-31T14:59:59.999999+00:00", WorksOn.RUN_DATE, date(2026, 10, 31)),
        ("2026-10-31T15:00:00+00:00", WorksOn.RUN_DATE, date(2026, 11, 1)),
        ("2026-10-31T14:59:59.999999+00:00", WorksOn.YESTERDAY, date(2026, 10, 30)),
        ("2026-10-31T15:00:00+00:00", WorksOn.YESTERDAY, date(2026, 10, 31)),
        ("2026-10-31T14:59:59.999999+00:00", WorksOn.PREVIOUS_MONTH, date(2026, 9, 1)),
        ("2026-10-31T15:00:00+00:00", WorksOn.PREVIOUS_MONTH, date(2026, 10, 1)),
        # The zone in which the instant is written makes no difference.
        ("2026-11-01T00:00:00+09:00", WorksOn.RUN_DATE, date(2026, 11, 1)),
        ("2026-10-31T23:59:59+09:00", WorksOn.RUN_DATE, date(2026, 10, 31)),
        ("2026-10-31T05:00:00-10:00", WorksOn.RUN_DATE, date(2026, 11, 1)),
        # The schedules: BATCH-018-01 at 01:30, BATCH-018-02 at 02:00 on the 1st, both in Japan.
        ("2026-12-31T16:30:00+00:00", WorksOn.YESTERDAY, date(2026, 12, 31)),
        ("2026-12-31T17:00:00+00:00", WorksOn.PREVIOUS_MONTH, date(2026, 12, 1)),
        # Leap years.
        ("2028-02-28T15:00:00+00:00", WorksOn.RUN_DATE, date(2028, 2, 29)),
        ("2028-02-29T15:00:00+00:00", WorksOn.YESTERDAY, date(2028, 2, 29)),
        ("2027-02-28T15:00:00+00:00", WorksOn.YESTERDAY, date(2027, 2, 28)),
        ("2028-03-31T00:00:00+00:00", WorksOn.PREVIOUS_MONTH, date(2028, 2, 1)),
    ],
)
def test_the_runs_instant_gives_the_date_that_it_works_on(
    instant: str, works_on: WorksOn, expected: date
) -> None:
    assert business_date_of(datetime.fromisoformat(instant), works_on) == expected


@pytest.mark.parametrize("works_on", [WorksOn.RUN_DATE, WorksOn.YESTERDAY])
def test_a_daily_batchs_period_is_the_day_itself(works_on: WorksOn) -> None:
    assert period_of(date(2026, 10, 15), works_on) == (date(2026, 10, 15), date(2026, 10, 15))


@pytest.mark.parametrize(
    ("day", "first", "last"),
    [
        (date(2026, 10, 15), date(2026, 10, 1), date(2026, 10, 31)),
        (date(2026, 12, 31), date(2026, 12, 1), date(2026, 12, 31)),
        (date(2028, 2, 1), date(2028, 2, 1), date(2028, 2, 29)),
        (date(2100, 2, 10), date(2100, 2, 1), date(2100, 2, 28)),
        (date(2000, 2, 10), date(2000, 2, 1), date(2000, 2, 29)),
    ],
)
def test_a_monthly_period_is_the_whole_month_of_any_day(day: date, first: date, last: date) -> None:
    assert period_of(day, WorksOn.PREVIOUS_MONTH) == (first, last)


@pytest.mark.parametrize("works_on", [WorksOn.YESTERDAY, WorksOn.PREVIOUS_MONTH])
def test_a_period_may_be_closed_from_midnight_in_japan_on(works_on: WorksOn) -> None:
    last_day = date(2026, 10, 31)
    require_past(last_day, works_on, datetime(2026, 10, 31, 15, 0, tzinfo=UTC))
    with pytest.raises(ParameterError, match=r"2026-10-31 が日本時間でまだ終わっていません.*business_date"):
        require_past(last_day, works_on, datetime(2026, 10, 31, 14, 59, 59, tzinfo=UTC))


def test_a_run_may_work_on_its_own_japanese_day_once_begun() -> None:
    today = date(2026, 10, 31)
    require_past(today, WorksOn.RUN_DATE, datetime(2026, 10, 30, 15, 0, tzinfo=UTC))
    with pytest.raises(ParameterError, match=r"2026-10-31 は日本時間でまだ始まっていません.*business_date"):
        require_past(today, WorksOn.RUN_DATE, datetime(2026, 10, 30, 14, 59, 59, tzinfo=UTC))


@given(DAYS, st.sampled_from(WorksOn), INSTANTS)
def test_a_period_is_refused_until_its_last_day_is_over(
    last_day: date, works_on: WorksOn, now: datetime
) -> None:
    bounds = utc_bounds(last_day)
    allowed_from = bounds.start if works_on is WorksOn.RUN_DATE else bounds.end
    if now.astimezone(UTC).replace(tzinfo=None) >= allowed_from:
        require_past(last_day, works_on, now)
    else:
        with pytest.raises(ParameterError):
            require_past(last_day, works_on, now)
