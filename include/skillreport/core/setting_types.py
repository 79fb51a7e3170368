"""The types of settings: bounded numbers, booleans and days. Each accepts exactly one form, so no value is misread.

A text of that form is accepted too: a tenant's own value and an invoice's stored inputs are texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from include.skillreport.core.yaml_files import scalar_of

# A day outside these years is a typing error. Adding days to a later date could exceed the range of ``date``.
EARLIEST_DAY, LATEST_DAY = date(1900, 1, 1), date(2999, 12, 31)

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

# Errors of this type have a sentence for the operator.
OPERATOR_TEXT = "operator_text"


@dataclass(frozen=True)
class Range:
    """The bounds of an int or Decimal, both included; ``above`` excludes the lower bound."""

    low: int
    high: int
    above: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        is_whole = source is int

        def check(value: object) -> int | Decimal:
            return self.checked(value, is_whole=is_whole)

        return core_schema.no_info_before_validator_function(check, handler(source))

    def checked(self, value: object, *, is_whole: bool) -> int | Decimal:
        """The number. :raises PydanticCustomError: it is not a number, not a whole number, or out of bounds."""
        number = _scalar(value)
        is_number = isinstance(number, int | Decimal) and not isinstance(number, bool)
        if not (is_number and Decimal(number).is_finite() and (number == int(number) or not is_whole)):
            raise refused(self._wanted(is_whole))
        if not (self.low < number if self.above else self.low <= number) or number > self.high:
            raise refused(self._wanted(is_whole))
        return int(number) if is_whole else number

    def _wanted(self, is_whole: bool) -> str:
        relation = "より大きく" if self.above else "以上"
        return f"{self.low} {relation} {self.high} 以下の{'整数' if is_whole else '数'}にしてください"


def refused(text: str, *place: int | str) -> PydanticCustomError:
    """A validation error with a text for the operator. ``place`` is the path from the validated value to the wrong value."""
    return PydanticCustomError(OPERATOR_TEXT, "{text}", {"text": text, "place": place})


def _scalar(value: object) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return scalar_of(value.strip())
    except ValueError:
        return value


def _flag(value: object) -> bool:
    flag = _scalar(value)
    if not isinstance(flag, bool):
        raise refused("true か false にしてください")
    return flag


def _day(value: object) -> date:
    try:
        day = date.fromisoformat(value) if isinstance(value, str) and _DAY.fullmatch(value) else value
    except ValueError:
        raise refused("暦にない日付です。正しい日付にしてください") from None
    if type(day) is not date or not EARLIEST_DAY <= day <= LATEST_DAY:
        raise refused(f"{EARLIEST_DAY} から {LATEST_DAY} までの日付を 2026-12-01 の形で書いてください")
    return day


def _first_of_month(day: date) -> date:
    if day.day != 1:
        raise refused("月の 1 日にしてください")
    return day


Flag = Annotated[bool, BeforeValidator(_flag)]
Day = Annotated[date, BeforeValidator(_day)]
FirstOfMonth = Annotated[Day, AfterValidator(_first_of_month)]

# A hundred years in days and ten years in hours. Larger sums could exceed the range of ``date``.
LONGEST_DAYS = 36_500
Days = Annotated[int, Range(1, LONGEST_DAYS)]
Hours = Annotated[int, Range(1, 87_600)]

# Below the maximum of an integer column (2,147,483,647).
Count = Annotated[int, Range(0, 1_000_000_000)]
PositiveInt = Annotated[int, Range(1, 1_000_000_000)]

Percent = Annotated[Decimal, Range(0, 1000, above=True)]
Share = Annotated[Decimal, Range(0, 100)]
Positive = Annotated[Decimal, Range(0, 1_000_000, above=True)]

# Amounts and quantities have at most 15 digits before the decimal point, like the numbers in forms.
MOST = 10**15 - 1
Quantity = Annotated[Decimal, Range(0, MOST)]


def _matching(pattern: str, wanted: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise refused(f"{wanted}にしてください")
        return value

    return AfterValidator(check)


_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]"
QuietHours = Annotated[str, _matching(f"({_TIME}-{_TIME})?", "22:00-07:00 の形か、空")]
Colour = Annotated[str, _matching("#[0-9A-Fa-f]{6}", "#1f3a5f の形")]
EmailAddress = Annotated[
    str,
    Field(max_length=254),
    _matching(
        r"[^@\s,;<>、]+@[^@\s,;<>、]+\.[^@\s,;<>、]+",
        "メールアドレス（テナントの設定では、複数をコンマで区切ります）",
    ),
]
ImageKey = Annotated[
    str,
    _matching(
        r"([A-Za-z0-9_-][\w.-]*(/[A-Za-z0-9_-][\w.-]*)*)?", "保存先のキー（例: issuer/logo.png）か、空"
    ),
]
WebAddress = Annotated[str, _matching(r"(https?://\S+)?", "https:// で始まるアドレスか、空")]
BankAccount = Annotated[
    str, _matching("[0-9]{4}-[0-9]{3}-[124]-[0-9]{7}", "0001-001-1-1234567（銀行-支店-種目-口座番号）の形")
]


# Longer lists are not split further: the rest is one invalid value. A tenant's list may be very long, with a problem per value.
_MOST_LISTED = 100


def _listed(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",", _MOST_LISTED) if part.strip()]


# Splits a tenant's own value, for example ``30, 7, 1``.
Listed = BeforeValidator(_listed)


def below(lower: str, upper: str) -> str:
    """The problem of two settings if the first is not smaller than the second."""
    return f"{lower} は {upper} より小さくしてください"
