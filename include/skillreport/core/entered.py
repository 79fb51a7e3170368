"""Texts, numbers and days that users enter. DAG files import this module."""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from decimal import Context, Decimal

# No data is older. A year such as 0001 is a typing error.
EARLIEST_BUSINESS_DATE = date(2000, 1, 1)

# The form field and run option for the items that the board's dialog has shown.
SHOWN = "shown"

_WHOLE_DIGITS = 15
_DECIMALS = 6
_EXACT = Context(prec=60)

_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?")

# Invisible characters: the zero-width space, and the controls that change the text direction and so disguise a text.
INVISIBLE = frozenset(map(chr, (0x200B, *range(0x202A, 0x202F), *range(0x2066, 0x206A))))


def plain(text: str) -> str:
    """The text in its usual (not full-width) characters, without surrounding blanks."""
    return unicodedata.normalize("NFKC", text).replace("\N{MINUS SIGN}", "-").strip()


def compared(text: str) -> str:
    """The text as compared with other entered texts: ``plain``, with one blank between words."""
    return " ".join(plain(text).split())


def visible(text: str) -> str:
    """The text without its ``INVISIBLE`` characters."""
    return "".join(character for character in text if character not in INVISIBLE)


def entered_day(value: object) -> date | None:
    """The day in a form field. None if it is not in the form YYYY-MM-DD or is before ``EARLIEST_BUSINESS_DATE``."""
    if not isinstance(value, str):
        return None
    try:
        day = date.fromisoformat(value)
    except ValueError:
        return None
    # date.fromisoformat() also accepts 20261031 and 2026-W44-6.
    return day if day.isoformat() == value and day >= EARLIEST_BUSINESS_DATE else None


def is_enterable(number: Decimal) -> bool:
    """True if the number is finite, with at most 15 digits before the decimal point and 6 after it."""
    if not number.is_finite() or abs(number) >= Decimal(1).scaleb(_WHOLE_DIGITS):
        return False
    return number == number.quantize(Decimal(1).scaleb(-_DECIMALS), context=_EXACT)


def entered_number(text: str) -> Decimal | None:
    """The number in an entered text, or None. Allowed: ASCII digits, a sign, commas in groups of three, and a decimal point."""
    if _NUMBER.fullmatch(text) is None:
        return None
    number = Decimal(text.replace(",", ""))
    return number if is_enterable(number) else None
