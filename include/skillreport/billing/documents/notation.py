"""The formats of dates, spans, numbers, currencies and countries in each language. Pure; dates are Asia/Tokyo."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import date
from decimal import Decimal
from functools import cache
from typing import ClassVar

from babel import Locale
from typing_extensions import override

from include.skillreport.billing.money import EXACT, YEN, minor_unit
from include.skillreport.core.written_dates import day_in_words

# The forms of Chinese characters by country (ISO 3166-1 alpha-2): language (ISO 639) and region, as typst names them.
_SCRIPTS = {
    "CN": ("zh", "cn"),
    "SG": ("zh", "cn"),
    "TW": ("zh", "tw"),
    "HK": ("zh", "hk"),
    "MO": ("zh", "hk"),
    "KR": ("ko", "kr"),
}


class Notation(ABC):
    """The notation of one language (ISO 639)."""

    language: ClassVar[str]
    minus: ClassVar[str]
    yen: ClassVar[str]
    separator: ClassVar[str]
    """The separator between the steps of a line's calculation."""

    def day(self, day: date) -> str:
        """A date in words."""
        return day_in_words(day, self.language)

    @abstractmethod
    def span(self, first: date, last: date) -> str:
        """The first and the last day in words. Common parts appear once."""

    @abstractmethod
    def short_span(self, first: date, last: date) -> str:
        """``span`` for a table's column."""

    def number(self, value: Decimal, decimals: int = 0) -> str:
        """The number with thousands separators and at least this many decimals. No digit is dropped."""
        exponent = value.normalize(EXACT).as_tuple().exponent
        assert isinstance(exponent, int)
        return f"{self.minus if value < 0 else ''}{value.copy_abs():,.{max(decimals, -exponent)}f}"

    def amount(self, amount: Decimal, currency: str) -> str:
        """The amount with the currency's decimals, without its name."""
        return self.number(amount, -int(minor_unit(currency).adjusted()))

    def money(self, amount: Decimal, currency: str) -> str:
        """The amount with the currency's name after it."""
        return f"{self.amount(amount, currency)} {self.currency(currency)}"

    def currency(self, currency: str) -> str:
        """The name of a currency (ISO 4217)."""
        return self.yen if currency == YEN else currency

    def country(self, code: str) -> str:
        """The name of a country (ISO 3166-1 alpha-2) from Unicode CLDR. An unknown code is returned unchanged."""
        return str(_locale(self.language).territories.get(code.upper(), code))


class JapaneseNotation(Notation):
    """2026年10月1日, ▲1,000 円."""

    language = "ja"
    minus = "▲"
    yen = "円"
    separator = "、"

    @override
    def span(self, first: date, last: date) -> str:
        if first == last:
            return self.day(first)
        return f"{self.day(first)}〜{self.day(last).removeprefix(f'{first.year}年')}"

    @override
    def short_span(self, first: date, last: date) -> str:
        if first == last:
            return f"{first:%Y/%m/%d}"
        return f"{first:%Y/%m/%d}〜{f'{last:%Y/%m/%d}'.removeprefix(f'{first:%Y/}')}"


class EnglishNotation(Notation):
    """1 October 2026, −1,000 JPY."""

    language = "en"
    minus = "−"
    yen = YEN
    separator = "; "

    @override
    def span(self, first: date, last: date) -> str:
        return _english_span(first, last, "%B")

    @override
    def short_span(self, first: date, last: date) -> str:
        return _english_span(first, last, "%b")


NOTATIONS: dict[str, Notation] = {each.language: each for each in (JapaneseNotation(), EnglishNotation())}


def character_forms(country: str | None) -> dict[str, str] | None:
    """Language and region of a country with its own forms of Chinese characters. None for Japan and all other countries."""
    forms = _SCRIPTS.get((country or "").upper())
    return None if forms is None else dict(zip(("lang", "region"), forms, strict=True))


def _english_span(first: date, last: date, month: str) -> str:
    end = f"{last:%-d {month} %Y}"
    if first == last:
        return end
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}–{end}"
    return f"{first:%-d {month}}{f' {first.year}' if first.year != last.year else ''} – {end}"


@cache
def _locale(language: str) -> Locale:
    return Locale(language)
