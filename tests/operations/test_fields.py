"""The values of a form's fields: what is read, what counts as the same, and refusals that name the field."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from include.skillreport.billing.actions.fields import CreditLine
from include.skillreport.core.errors import ParameterError
from include.skillreport.operations.forms import FORMS
from include.skillreport.operations.operate_invoices.form import FORM

TODAY = date(2026, 12, 1)


def entered(operation: str, field: str, value: object) -> Any:
    """The value of a field that was entered, beside the examples of the fields that the operation needs."""
    (chosen,) = (each for each in FORM.operations if each.name == operation)
    examples = {name: each.example for name, each in chosen.fields(required=True).items()}
    return getattr(FORM.entered({"operation": operation} | examples | {field: value}, TODAY), field)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("11000", "11000"),
        (" 1,100,000 ", "1100000"),
        ("-3,000", "-3000"),
        ("+5", "5"),
        ("0.123456", "0.123456"),
        ("999999999999999", "999999999999999"),
        ("１１，０００", "11000"),
        ("－３０００．５", "-3000.5"),
        ("\N{MINUS SIGN}3000", "-3000"),
        (1000, "1000"),
    ],
)
def test_a_number_has_digits_and_commas_in_groups_of_three(text: object, number: str) -> None:
    amount = entered("record_payment", "paid_amount", text)
    assert (amount, type(amount)) == (Decimal(number), Decimal)


@pytest.mark.parametrize(
    "text",
    [
        *("1,5", "1_1000", "1e30", "1e70", "1E3", "NaN", "Infinity", "1.", ".5", "- 5", "1,1000"),
        *("1000000000000000", "0.1234567", "--5", "1,000,00", "٣", "一千"),
    ],
)
def test_another_number_is_refused_by_the_fields_name(text: str) -> None:
    with pytest.raises(ParameterError, match=r"「入金額」（paid_amount）の .* は数ではありません"):
        entered("record_payment", "paid_amount", text)


@pytest.mark.parametrize(
    ("operation", "field", "day"),
    [
        ("extra_line", "line_date", date(2026, 11, 30)),
        ("remove_line", "line_date", date(2026, 11, 30)),
        ("record_payment", "paid_on", date(2026, 11, 30)),
        ("hand_over", "accounting_month", date(2026, 11, 1)),
    ],
)
def test_a_day_has_one_form_and_an_earliest_day(operation: str, field: str, day: date) -> None:
    for text in ("2026-11-30", " ２０２６－１１－３０ "):
        assert entered(operation, field, text) == day
    for text in ("20261101", "2026-W44-6", "0001-01-01", "1999-12-31", "2026-11-31", "9" * 5000):
        with pytest.raises(
            ParameterError, match=rf"（{field}）の .* は使えません。2000-01-01 以降の日付を YYYY-MM-DD"
        ):
            entered(operation, field, text)


def test_a_line_is_at_most_a_year_ahead_when_it_is_entered() -> None:
    assert entered("extra_line", "line_date", "2027-12-01") == date(2027, 12, 1)
    with pytest.raises(ParameterError, match="「利用日」（line_date）の 2027-12-02 は先すぎます"):
        entered("extra_line", "line_date", "2027-12-02")


@pytest.mark.parametrize("text", ["a\x00b", "a\x07", "\ud800", "a\x7f", "a\u200bb", "a\u202eb", "a\u2066b"])
@pytest.mark.parametrize(
    ("operation", "field"),
    [("void", "reason"), ("extra_line", "line_text"), ("record_payment", "paid_reference")],
)
def test_a_text_with_control_characters_is_refused_by_the_fields_name(
    operation: str, field: str, text: str
) -> None:
    with pytest.raises(ParameterError, match=f"（{field}）に使えない制御文字"):
        entered(operation, field, text)


def test_line_breaks_become_blanks_and_a_text_keeps_its_letters() -> None:
    assert entered("void", "reason", " Ａ社の障害\r\n\tのため ") == "Ａ社の障害 のため"


def test_numbers_of_documents_are_normalised_and_references_are_not() -> None:
    """A file of payments has any text as a reference."""
    assert entered("move_payment", "paid_to", "ＩＮＶ－２０２６－１１－００１") == "INV-2026-11-001"
    assert entered("move_payment", "paid_reference", "ｶ)ｻﾝﾌﾟﾙ １") == "ｶ)ｻﾝﾌﾟﾙ １"


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("2=1500", CreditLine(2, Decimal(1500), False)),
        (" 2 : 1,500.5 ", CreditLine(2, Decimal("1500.5"), False)),
        ("２＝１，５００", CreditLine(2, Decimal(1500), False)),
        ("3=2Ｘ", CreditLine(3, Decimal(2), True)),
    ],
)
def test_a_credited_line_has_a_number_and_an_amount_or_a_quantity(line: str, part: CreditLine) -> None:
    assert entered("part_credit", "credit_lines", ["", line]) == (part,)


def test_a_value_of_another_type_is_refused_by_the_fields_name() -> None:
    for operation, field, value in (
        ("extra_line", "line_tax", "free"),
        ("stop_reminders", "every_month", "sometimes"),
        ("import_payments", "payment_file", "../2026-11.csv"),
    ):
        with pytest.raises(ParameterError, match=rf"（{field}）の .*は使えません。"):
            entered(operation, field, value)


def test_ids_of_messages_have_the_usual_letters_and_repeat_no_blank_line() -> None:
    given = {"operation": "resend", "messages": [" ｍ１ ", "", "m2"], "reason": " Ｘ "}
    assert FORMS["operate_notifications"].entered(given).values() == {
        "operation": "resend",
        "messages": ["m1", "m2"],
        "reason": "Ｘ",
    }


def test_a_wrong_address_is_masked_in_its_refusal() -> None:
    given = {"operation": "list_suppressed", "addresses": ["taro@example.jp", "hanako example.jp"]}
    with pytest.raises(ParameterError, match="「メールアドレス」（addresses）の ") as refused:
        FORMS["operate_notifications"].entered(given)
    assert "hanako" not in str(refused.value)
