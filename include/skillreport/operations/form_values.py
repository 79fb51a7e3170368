"""Numbers, days and texts of the invoice form, in which all fields are texts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from include.skillreport.billing.money import entered_number
from include.skillreport.core.database import has_control_characters
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.digest import one_line
from include.skillreport.core.execution.parameters import EARLIEST_BUSINESS_DATE, entered_day
from include.skillreport.operations.forms import INVOICES


def number_of(values: Mapping[str, Any], field: str, default: str | None = None) -> Decimal:
    """The number in a field (``entered_number``). :raises ParameterError: it is no number, or too long."""
    text = str(values.get(field) or default or "").strip()
    number = entered_number(text)
    if number is None:
        raise ParameterError(
            f"「{INVOICES.titles[field]}」（{field}）の {text[:40]!r} は数ではありません。"
            "半角の数字（整数部 15 桁、小数部 6 桁まで）で指定してください。"
        )
    return number


def text_of(values: Mapping[str, Any], field: str) -> str:
    """The text in a field in one line, without surrounding blanks; empty if the field is empty."""
    return one_line(str(values.get(field) or ""))


def require_texts(values: Mapping[str, Any]) -> None:
    """Check that no field has characters that the database or a document cannot contain. Tabs and line breaks count as blanks.

    :raises ParameterError: names the field with a control character or half of a surrogate pair.
    """
    for field, title in INVOICES.titles.items():
        value = values.get(field)
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and has_control_characters(one_line(text)):
                raise ParameterError(
                    f"「{title}」（{field}）に使えない制御文字があります。入力し直してください。"
                )


def day_of(values: Mapping[str, Any], field: str) -> date:
    """The day in a field. :raises ParameterError: it is no day."""
    day = entered_day(values[field])
    if day is None:
        raise ParameterError(
            f"「{INVOICES.titles[field]}」（{field}）の {values[field]!r} は使えません。"
            f"{EARLIEST_BUSINESS_DATE} 以降の日付を YYYY-MM-DD で指定してください。"
        )
    return day
