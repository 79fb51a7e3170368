"""The form of dates and months in letters and documents, by language (``ja``, ``en``). Pure; dates are Asia/Tokyo."""

from __future__ import annotations

from datetime import date


def day_in_words(day: date, language: str) -> str:
    """2026年11月29日, or 29 November 2026."""
    return f"{day.year}年{day.month}月{day.day}日" if language == "ja" else f"{day:%-d %B %Y}"


def days_in_words(days: int, language: str) -> str:
    """A day that is so many days (0 or more) ahead: 本日, 明日, 6 日後; today, tomorrow, in 6 days."""
    if days < len(_NEAR_DAYS[language]):
        return _NEAR_DAYS[language][days]
    return f"{days} 日後" if language == "ja" else f"in {days} days"


_NEAR_DAYS = {"ja": ("本日", "明日"), "en": ("today", "tomorrow")}


def month_in_words(month: date, language: str) -> str:
    """2026年11月, or November 2026."""
    return f"{month.year}年{month.month}月" if language == "ja" else f"{month:%B %Y}"
