"""The report's arithmetic, by value."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from include.skillreport.batches.monthly_report.figures import NotShown
from include.skillreport.batches.monthly_report.report import MonthlyReport, fiscal_start, make_report
from include.skillreport.batches.monthly_report.wording import (
    difference_text,
    growth_text,
    notices,
    tone,
    value_text,
    words,
)
from tests.worlds.monthly_rows import MONTH, NO_RECORDS, day


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


def days_between(first: date, last: date, /, **figures: int | None) -> list[dict[str, Any]]:
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
        "前月にデータのない日が 28 日あります: 2026年9月3日、2026年9月4日、2026年9月5日、"
    )
    assert "ほか 18 日" in notices(made)[1]

    # Months are not equally long, which is no reason; nor are missing days where as many are left.
    september = days_between(*SEPTEMBER, logins=10)
    assert growth_text(report(*september, *whole).figure("logins")) == "+3.3 %"
    assert not [said for said in notices(report(*september, *whole)) if "前月" in said]
    assert growth_text(report(*september, *whole[1:]).figure("logins")) == "±0.0 %"
    assert growth_text(report(*september, *whole[2:]).figure("logins")) == "—"
    assert "前月の統計データがない" in notices(report(*whole))[1]


def test_the_fiscal_year_s_missing_days_are_counted_by_month() -> None:
    since_may = days_between(date(2026, 5, 3), OCTOBER[1])
    gaps = {date(2026, 6, 5), *(date(2026, 8, number) for number in range(1, 32)), date(2026, 9, 1)}
    made = report(*(each for each in since_may if each["statistics_date"] not in gaps))
    said = notices(made)
    assert "データのある2026年5月3日以降" in said[2]
    assert (
        said[3]
        == "年度の数値には、次の月のデータのない日が含まれていません: 2026年6月（1 日）、2026年8月（31 日）。"
    )
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
        # The fiscal year's mean leaves it out. Otherwise it could be calculated from the mean and the other months.
        assert [figure.current, figure.previous, figure.fiscal] == [NotShown.FEW_PEOPLE, value, value]
        assert value_text(figure.current, figure.unit, "ja") == "5名未満のため非表示"
        assert (difference_text(figure), growth_text(figure), tone(figure)) == ("—", "—", "neutral")
        assert [getattr(month, key) for month in made.months[-3:]] == [value, value, NotShown.FEW_PEOPLE]
    assert [month.has_hidden for month in made.months[-2:]] == [False, True]
    only = figures((october, 1)).figure("mean_level")
    assert [only.current, only.previous, only.fiscal] == [NotShown.FEW_PEOPLE, None, NotShown.FEW_PEOPLE]
    # Without people there is nothing to hide.
    assert report(day(october)).figure("mean_level").current is None
    assert MonthlyReport.model_validate_json(made.model_dump_json()) == made


ABSENT = (*NO_RECORDS, "error_rate", "storage")


def absent_figures(made: MonthlyReport) -> list[str]:
    return [figure.key for figure in made.figures if figure.current is NotShown.NO_RECORD]


def test_figures_without_a_record_are_absent_and_named() -> None:
    made = report(*days_between(*SEPTEMBER, **NO_RECORDS), *days_between(*OCTOBER, logins=1, **NO_RECORDS))
    assert set(absent_figures(made)) == set(ABSENT) - {"storage_bytes"}
    for key in absent_figures(made):
        figure = made.figure(key)
        assert [figure.previous, figure.fiscal] == [NotShown.NO_RECORD] * 2
        assert value_text(figure.current, figure.unit, "ja") == "記録なし"
        assert value_text(figure.current, figure.unit, "en") == "No record"
        assert (difference_text(figure), growth_text(figure), tone(figure)) == ("—", "—", "neutral")
    assert [made.months[-1].api_calls, made.months[-1].error_rate] == [NotShown.NO_RECORD] * 2
    assert [made.days[0].api_calls, made.days[0].is_missing] == [None, False]
    assert made.figure("logins").current == 31
    assert notices(made)[2:] == [
        "次の数値は、アプリケーションに記録がないため「記録なし」と表示しています: API 呼び出し数、API エラー数、API エラー率、"
        "レポート出力数、通知の送信数、スキル評価数、ファイル容量。"
    ]
    assert MonthlyReport.model_validate_json(made.model_dump_json()) == made
    # A month without statistics has no figures at all, which is another matter.
    assert report(*days_between(*SEPTEMBER, **NO_RECORDS)).figure("api_calls").current is None


def test_days_without_a_record_are_left_out_counted_and_make_no_growth() -> None:
    no_calls: dict[str, int | None] = {"api_calls": None, "api_errors": None}
    made = report(
        *days_between(*SEPTEMBER, **no_calls),
        *days_between(date(2026, 10, 1), date(2026, 10, 12), **no_calls),
        *days_between(date(2026, 10, 13), OCTOBER[1], api_calls=100, api_errors=3, storage_bytes=2**20),
    )
    calls, rate = made.figure("api_calls"), made.figure("error_rate")
    assert [calls.current, calls.previous, calls.fiscal] == [1_900, NotShown.NO_RECORD, 1_900]
    assert [rate.current, rate.fiscal] == [3, 3]
    said = notices(made)
    names = "API 呼び出し数（{0} 日）、API エラー数（{0} 日）、API エラー率（{0} 日）。"
    assert said[-2].endswith("当月の記録のない日数）: " + names.format(12))
    assert said[-1].endswith("前月までの記録のない日数）: " + names.format(30))

    # Growth needs as many days with a record in both months.
    whole = days_between(*SEPTEMBER, api_calls=10)
    assert (
        growth_text(report(*whole, *days_between(*OCTOBER, api_calls=20)).figure("api_calls")) == "+106.7 %"
    )
    for lost, growth in ((1, "+100.0 %"), (2, "—")):
        october = [
            *days_between(*OCTOBER, api_calls=20)[lost:],
            *days_between(OCTOBER[0], date(2026, 10, lost), api_calls=None),
        ]
        assert growth_text(report(*whole, *october).figure("api_calls")) == growth


def test_an_error_rate_without_calls_is_none_and_without_records_absent() -> None:
    assert report(day(MONTH, api_calls=0)).figure("error_rate").current is None
    absent = report(day(MONTH, api_calls=None, api_errors=None))
    assert absent.figure("error_rate").current is NotShown.NO_RECORD


def test_rows_that_name_no_person_are_reported_if_there_are_any() -> None:
    def said(*days: dict[str, Any]) -> list[str]:
        return [notice for notice in notices(report(*days)) if "集計に含まれていません" in notice]

    months = [
        *days_between(*SEPTEMBER, unplaced_events=9, unplaced_accounts=9),
        *days_between(OCTOBER[0], date(2026, 10, 30), unplaced_events=40, unplaced_accounts=5),
    ]
    assert said(*months, day(OCTOBER[1], unplaced_accounts=3)) == [
        "利用者を特定できない操作 1,200 件、従業員のないアカウント 3 件は集計に含まれていません。"
    ]
    assert said(*months, day(OCTOBER[1])) == ["利用者を特定できない操作 1,200 件は集計に含まれていません。"]
    assert said(day(OCTOBER[1])) == []


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


def test_the_fiscal_years_error_rate_is_calculated_from_sums() -> None:
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


def test_a_month_takes_its_last_state_and_the_rate_of_sums() -> None:
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
