"""Numbers and texts of the invoice form: readable values, and refusals that name the field."""

from __future__ import annotations

from decimal import Decimal

import pytest

from include.skillreport.core.errors import ParameterError
from include.skillreport.operations.form_values import number_of, require_texts, text_of


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("11000", "11000"),
        (" 1,100,000 ", "1100000"),
        ("-3,000", "-3000"),
        ("+5", "5"),
        ("0.123456", "0.123456"),
        ("999999999999999", "999999999999999"),
    ],
)
def test_a_number_has_ascii_digits_and_commas_in_groups_of_three(text: str, number: str) -> None:
    assert number_of({"paid_amount": text}, "paid_amount") == Decimal(number)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "1,5",
            "1_1000",
            "１１０００",
            "1e30",
            "1e70",
            "1E3",
            "NaN",
            "Infinity",
            "1.",
            ".5",
            "- 5",
            "1,1000",
        ),
        *("1000000000000000", "0.1234567", "--5", "1,000,00", "", "٣"),
    ],
)
def test_another_number_is_refused_by_the_fields_name(text: str) -> None:
    with pytest.raises(ParameterError, match=r"「入金額」（paid_amount）の .* は数ではありません"):
        number_of({"paid_amount": text}, "paid_amount")


@pytest.mark.parametrize("text", ["a\x00b", "a\x07", "\ud800", "a\x7f"])
@pytest.mark.parametrize("field", ["reason", "line_text", "paid_reference", "credit_lines"])
def test_a_text_with_control_characters_is_refused_by_the_fields_name(field: str, text: str) -> None:
    with pytest.raises(ParameterError, match=f"（{field}）に使えない制御文字"):
        require_texts({field: [text] if field == "credit_lines" else text})


def test_line_breaks_and_tabs_become_blanks() -> None:
    values = {"reason": " 障害\r\n\tのため "}
    require_texts(values)
    assert text_of(values, "reason") == "障害 のため"
