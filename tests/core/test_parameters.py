"""The trigger form's values: one spelling each, and an error that names parameter, value and expectation."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from include.skillreport.core.entered import EARLIEST_BUSINESS_DATE
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.parameters import RunParameters, parse_parameters, require_known


def test_an_empty_form_means_own_date_all_tenants_and_real_run() -> None:
    assert parse_parameters({}) == RunParameters(None, (), False)
    assert parse_parameters({"business_date": None, "tenants": None, "dry_run": None}) == parse_parameters({})
    assert parse_parameters({"business_date": "", "tenants": [], "dry_run": False}) == parse_parameters({})
    assert parse_parameters({"tenants": ["", " 　"]}) == parse_parameters({})


def test_a_filled_form_is_kept_and_other_parameters_are_ignored() -> None:
    form = {
        "business_date": "2028-02-29",
        "tenants": ["HD001", "株式会社"],
        "dry_run": True,
        "batches": ["BATCH-001"],
    }
    assert parse_parameters(form) == RunParameters(date(2028, 2, 29), ("HD001", "株式会社"), True)


def test_codes_lose_blanks_around_them_and_repetitions_but_not_their_order() -> None:
    form = {"tenants": [" HD002", "HD001　", "", "  ", "HD002", "hd001"]}
    assert parse_parameters(form).tenants == ("HD002", "HD001", "hd001")


@pytest.mark.parametrize(
    "value",
    [
        "2026/10/31",
        "2026-10-32",
        "2027-02-29",
        "2026-1-1",
        "20261031",
        "31-10-2026",
        "２０２６-１０-３１",
        "2026-10-31T00:00:00",
        " 2026-10-31",
        "yesterday",
        20261031,
        True,
        ["2026-10-31"],
    ],
)
def test_an_invalid_date_is_refused_with_value_and_expected_form(value: object) -> None:
    with pytest.raises(ParameterError) as raised:
        parse_parameters({"business_date": value})
    assert "business_date" in str(raised.value)
    assert repr(value) in str(raised.value)
    assert "YYYY-MM-DD" in str(raised.value)


@given(st.dates(min_value=EARLIEST_BUSINESS_DATE))
def test_every_iso_date_is_read_as_that_date(day: date) -> None:
    assert parse_parameters({"business_date": day.isoformat()}).business_date == day


@given(st.text("0123456789-W", min_size=1, max_size=12) | st.text(min_size=1))
@example("2026-W44-6")
def test_whatever_is_taken_for_a_date_is_spelled_like_one(value: str) -> None:
    try:
        day = parse_parameters({"business_date": value}).business_date
    except ParameterError:
        return
    assert day is not None
    assert day.isoformat() == value


@pytest.mark.parametrize("value", ["HD001", 1, ["HD001", 2], [None], {"code": "HD001"}, [["HD001"]]])
def test_an_invalid_list_of_codes_is_refused_with_the_value(value: Any) -> None:
    with pytest.raises(ParameterError) as raised:
        parse_parameters({"tenants": value})
    assert "tenants" in str(raised.value)
    assert repr(value) in str(raised.value)
    assert '["HD001"]' in str(raised.value)


@pytest.mark.parametrize("value", ["true", "false", "", 0, 1, []])
def test_an_invalid_boolean_is_refused_so_no_dry_run_turns_real(value: object) -> None:
    with pytest.raises(ParameterError) as raised:
        parse_parameters({"dry_run": value})
    assert "dry_run" in str(raised.value)
    assert repr(value) in str(raised.value)


def test_a_wrong_parameter_does_not_help_by_being_tried_again() -> None:
    assert not ParameterError.recoverable


def test_a_parameter_that_the_form_does_not_have_is_named() -> None:
    require_known({"tenants": []}, ["tenants", "dry_run"])
    with pytest.raises(
        ParameterError, match="パラメータ tenant、action は、この DAG のフォームにありません"
    ) as caught:
        require_known({"tenant": ["T001"], "action": "list"}, ["tenants", "dry_run"])
    assert "使えるのは dry_run、tenants です" in str(caught.value)
