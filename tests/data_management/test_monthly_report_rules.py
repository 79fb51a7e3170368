"""The report's arithmetic, by value."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from include.data_management.monthly_report.report import MonthlyReport, fiscal_start, make_report
from include.data_management.monthly_report.wording import difference_text, growth_text, notices, tone, words

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
    ),
    *("level_sum", "coverage_met", "coverage_target", "goals_not_started", "goals_in_progress"),
    *("goals_completed", "goals_other", "certificates_held", "certificates_expiring", "certificates_expired"),
    "trainings_completed",
)


def report(*days: dict[str, Any], month: date = MONTH) -> MonthlyReport:
    return make_report(
        days, [], tenant_code="T1", tenant_name="T1", month=month, language="ja", colour="#000000"
    )


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
    figure = report(day(MONTH, coverage_met=met, coverage_target=target)).figure("coverage_rate")
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
