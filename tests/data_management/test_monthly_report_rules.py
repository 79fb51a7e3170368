"""The report's arithmetic, by value."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from include.data_management.monthly_report.figures import Hidden
from include.data_management.monthly_report.report import MonthlyReport, fiscal_start, make_report
from include.data_management.monthly_report.wording import (
    difference_text,
    growth_text,
    notices,
    tone,
    value_text,
    words,
)

MONTH = date(2026, 10, 1)


def day(when: date, **figures: int) -> dict[str, Any]:
    row: dict[str, Any] = defaultdict(int, figures)
    return row | {
        "statistics_date": when,
        "api_error_rate": None,
        "training_hours": Decimal(0),
        **{name: figures.get(name, 0) for name in _COLUMNS},
    }


_COLUMNS = (
    *("users_total", "users_active", "users_new", "logins", "api_calls", "api_errors", "reports_generated"),
    *(
        "skill_assessments",
        "notifications_sent",
        "storage_bytes",
        "employees",
        "skill_records",
        "rated_records",
        "rated_people",
        "required_people",
    ),
    *("level_sum", "coverage_met", "coverage_target", "goals_not_started", "goals_in_progress"),
    *("goals_completed", "goals_other", "certificates_held", "certificates_expiring", "certificates_expired"),
    "trainings_completed",
)


def report(
    *days: dict[str, Any],
    month: date = MONTH,
    groups: Sequence[dict[str, Any]] = (),
    fiscal_start_month: int = 4,
) -> MonthlyReport:
    return make_report(
        days,
        groups,
        tenant_code="T1",
        tenant_name="T1",
        month=month,
        language="ja",
        colour="#000000",
        fiscal_start_month=fiscal_start_month,
    )


def days_between(first: date, last: date, **figures: int) -> list[dict[str, Any]]:
    """All days of the span (inclusive), alike."""
    return [day(first + timedelta(days=number), **figures) for number in range((last - first).days + 1)]


def test_growth_from_nothing_is_no_percentage() -> None:
    september, october = date(2026, 9, 30), date(2026, 10, 1)
    logins = report(day(september), day(october, logins=5)).figure("logins")
    assert (difference_text(logins), growth_text(logins), tone(logins)) == ("+5", "—", "good")
    logins = report(day(september, logins=5), day(october)).figure("logins")
    assert (difference_text(logins), growth_text(logins), tone(logins)) == ("−5", "−100.0 %", "bad")
    logins = report(day(october, logins=5)).figure("logins")
    assert (difference_text(logins), growth_text(logins), tone(logins)) == ("—", "—", "neutral")
    logins = report(day(september, logins=5), day(october, logins=5)).figure("logins")
    assert (difference_text(logins), growth_text(logins), tone(logins)) == ("±0", "±0.0 %", "neutral")


@pytest.mark.parametrize(
    ("met", "target", "coverage"), [(8, 10, Decimal("80.0")), (0, 10, Decimal("0.0")), (0, 0, None)]
)
def test_coverage_of_nothing_required_is_none(met: int, target: int, coverage: Decimal | None) -> None:
    figure = report(day(MONTH, coverage_met=met, coverage_target=target, required_people=5)).figure(
        "coverage_rate"
    )
    assert figure.current == coverage


def test_the_fiscal_year_begins_in_april_and_ends_in_march() -> None:
    assert fiscal_start(date(2027, 3, 1), 4) == date(2026, 4, 1)
    assert fiscal_start(date(2027, 4, 1), 4) == date(2027, 4, 1)
    # March of the fiscal year before is the month before, and no part of the year.
    march, april = date(2027, 3, 31), date(2027, 4, 1)
    made = report(day(march, logins=7, users_total=3), day(april, logins=2, users_total=4), month=april)
    logins = made.figure("logins")
    assert [logins.current, logins.previous, logins.fiscal] == [2, 7, 2]
    assert [month.month for month in made.months] == [april]
    whole = report(
        *(day(date(2026, 4, 1) + timedelta(days=n), logins=1) for n in range(365)), month=date(2027, 3, 1)
    )
    assert whole.figure("logins").fiscal == 365
    assert [month.days for month in whole.months] == [30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 28, 31]
    assert not notices(whole)[1:]


def test_a_fiscal_year_may_begin_in_any_month() -> None:
    """From July, and from January, for a report of October."""
    days = days_between(date(2025, 10, 1), date(2026, 10, 31), logins=1)
    for start_month, first, total in ((7, date(2026, 7, 1), 123), (1, date(2026, 1, 1), 304)):
        made = report(*days, fiscal_start_month=start_month)
        assert (made.fiscal_year, made.fiscal_start) == (2026, first)
        assert made.figure("logins").fiscal == total
        assert [made.months[0].month, made.months[-1].month] == [first, MONTH]
    # The year that began in the calendar year before is named after that one.
    made = report(*days, fiscal_start_month=11)
    assert [made.fiscal_year, made.figure("logins").fiscal] == [2025, 365]


SEPTEMBER = date(2026, 9, 1), date(2026, 9, 30)
OCTOBER = date(2026, 10, 1), date(2026, 10, 31)


def test_totals_of_months_of_which_days_are_missing_have_no_growth() -> None:
    whole = days_between(*OCTOBER, logins=10, users_active=20, api_calls=1)
    two_days = days_between(date(2026, 9, 1), date(2026, 9, 2), logins=10, users_active=10)
    made = report(*two_days, *whole)
    logins = made.figure("logins")
    assert (difference_text(logins), growth_text(logins), tone(logins)) == ("+290", "—", "neutral")
    # A mean of the days does not grow with them.
    assert growth_text(made.figure("users_active")) == "+100.0 %"
    assert notices(made)[1].startswith(
        "前月にデータのない日が 28 日あります: 9/3（木）、9/4（金）、9/5（土）、9/6（日）、9/7（月）、"
    )
    assert "ほか 18 日" in notices(made)[1]

    # Months are not equally long, which is no reason; nor are missing days where as many are left.
    september = days_between(*SEPTEMBER, logins=10)
    assert growth_text(report(*september, *whole).figure("logins")) == "+3.3 %"
    assert not [said for said in notices(report(*september, *whole)) if "前月" in said]
    assert growth_text(report(*september, *whole[1:]).figure("logins")) == "±0.0 %"
    assert growth_text(report(*september, *whole[2:]).figure("logins")) == "—"
    assert "前月の統計データがありません" in notices(report(*whole))[1]


def test_the_fiscal_year_s_missing_days_are_counted_by_month() -> None:
    since_may = days_between(date(2026, 5, 3), OCTOBER[1])
    gaps = {date(2026, 6, 5), *(date(2026, 8, number) for number in range(1, 32)), date(2026, 9, 1)}
    made = report(*(each for each in since_may if each["statistics_date"] not in gaps))
    said = notices(made)
    assert "データのある 2026-05-03 以降" in said[2]
    assert said[3] == "年度の数値には、次の月のデータのない日が含まれていません: 6月（1 日）、8月（31 日）。"
    assert len(said) == 4
    assert len(notices(report(*since_may))) == 2


def test_levels_of_fewer_than_five_people_are_hidden() -> None:
    levels = {"level_sum": 8, "rated_records": 4, "coverage_met": 1, "coverage_target": 2}

    def figures(*months: tuple[date, int]) -> MonthlyReport:
        return report(*(day(when, **levels, rated_people=few, required_people=few) for when, few in months))

    august, september, october = date(2026, 8, 31), date(2026, 9, 30), date(2026, 10, 31)
    shown = figures((september, 5), (october, 5)).figure("mean_level")
    assert [shown.current, shown.previous, shown.fiscal] == [2, 2, 2]
    made = figures((august, 6), (september, 6), (october, 4))
    for key, value in (("mean_level", 2), ("coverage_rate", 50)):
        figure = made.figure(key)
        # The fiscal year's mean leaves it out: from one with it, and the other months, it could be worked out.
        assert [figure.current, figure.previous, figure.fiscal] == [Hidden.FEW_PEOPLE, value, value]
        assert value_text(figure.current, figure.unit, "ja") == "5名未満のため非表示"
        assert (difference_text(figure), growth_text(figure), tone(figure)) == ("—", "—", "neutral")
        assert [getattr(month, key) for month in made.months[-3:]] == [value, value, Hidden.FEW_PEOPLE]
    assert [month.has_hidden for month in made.months[-2:]] == [False, True]
    only = figures((october, 1)).figure("mean_level")
    assert [only.current, only.previous, only.fiscal] == [Hidden.FEW_PEOPLE, None, Hidden.FEW_PEOPLE]
    # Of nobody there is nothing to hide.
    assert report(day(october)).figure("mean_level").current is None
    assert MonthlyReport.model_validate_json(made.model_dump_json()) == made


def test_a_mean_is_rounded_once() -> None:
    """229 skills, 79 of level 3 and the others of 2: 2.34498, which four decimals first would make 2.35."""
    levels = {"level_sum": 537, "rated_records": 229}
    group = {
        "dimension": "category",
        "group_key": "C",
        "group_name": "C",
        "is_rest": False,
        "people": 229,
        "records": 229,
        "level_sum": 537,
        **{f"level_{number}": 0 for number in range(1, 6)},
    }
    made = report(day(OCTOBER[1], **levels, rated_people=229), groups=[group])
    assert made.figure("mean_level").current == made.categories[0].mean_level == Decimal("2.34")


def test_the_fiscal_year_s_error_rate_is_that_of_the_sums_and_is_called_so() -> None:
    made = report(
        *days_between(*SEPTEMBER, api_calls=100),
        *days_between(*OCTOBER, api_calls=10_000, api_errors=500),
    )
    rate = made.figure("error_rate")
    # 15,500 of 313,000. The mean of the daily rates would be 2.5 %.
    assert (rate.fiscal, rate.fiscal_kind) == (Decimal("5.0"), "rate")
    assert "通算（API エラー率）は、年度初からのエラー数の合計" in words("ja")["fiscal_definition"]
    assert "An overall rate (API errors) is the sum of errors" in words("en")["fiscal_definition"]
    for language in ("ja", "en"):
        assert {figure.fiscal_kind for figure in made.figures} <= words(language)["columns"].keys()


def test_a_state_is_that_of_the_last_day_with_data_and_a_rate_is_of_the_sums() -> None:
    made = report(
        day(date(2026, 10, 1), users_total=9, api_calls=100, api_errors=10, users_active=3),
        day(date(2026, 10, 30), users_total=8, api_calls=900, api_errors=0, users_active=4),
    )
    assert made.figure("users_total").current == 8
    assert made.figure("error_rate").current == Decimal("1.0")
    assert made.figure("users_active").current == Decimal("3.5")
    assert made.figure("users_active_most").current == 4
    assert len(made.missing_days) == 29
    assert "ほか 19 日" in notices(made)[0]


def test_the_value_survives_json_and_both_languages_have_all_words() -> None:
    made = report(day(MONTH, logins=1, level_sum=2, rated_records=3))
    assert MonthlyReport.model_validate_json(made.model_dump_json()) == made

    def keys(value: Any, path: str = "") -> set[str]:
        if not isinstance(value, dict):
            return {path}
        return {key for name, part in value.items() for key in keys(part, f"{path}/{name}")}

    assert keys(words("ja")) == keys(words("en"))
    assert (
        {figure.key for figure in made.figures}
        == words("ja")["figures"].keys()
        == words("ja")["definitions"].keys()
    )
