"""The sending days of e-mails, and due dates, by business days of Japanese banks (銀行法施行令第5条). Pure; days are Asia/Tokyo dates."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta

import jpholiday

from include.skillreport.billing.periods import ONE_DAY, Period
from include.skillreport.billing.settings import BillingSettings

_SATURDAY = 5

# Banks are closed from 31 December to 3 January.
_YEAR_END = {(12, 31), (1, 1), (1, 2), (1, 3)}

_MONTH_END = 31


@dataclass(frozen=True)
class PaymentTerms:
    """Due on this ``day``, the given number of ``months`` after the billing month. 31: on the last day of any month.

    ``is_own``: agreed with the customer, instead of the installation's setting.
    """

    months: int
    day: int = _MONTH_END
    is_own: bool = False


def leaving_day(settings: BillingSettings, issued_on: date) -> date:
    """The day on which a document's e-mail is sent: the ``review_days``-th business day after its issue, or the day of its issue."""
    return (
        business_days_after(issued_on, settings.review_days)
        if settings.letters_on == "bank_day"
        else issued_on
    )


def due_date(settings: BillingSettings, terms: PaymentTerms, period: Period, leaves_on: date) -> date:
    """The first due day under the terms, moved to a business day, that is at least ``due_least_days`` after ``leaves_on``.

    With ``letters_on: issue``, the e-mail of an invoice that is issued after 9:00 is sent on the next day, so that day counts. In the
    month's normal run, a customer's own terms have no such minimum. A run is normal if the e-mail is sent no later than for an issue on the
    day after the billing month. Without the minimum, a later invoice could be due at once.
    """
    is_normal = leaves_on <= leaving_day(settings, period.next_day)
    earliest = leaves_on if settings.letters_on == "bank_day" else leaves_on + ONE_DAY
    if not (terms.is_own and is_normal):
        earliest += timedelta(days=settings.due_least_days)
    month = period.start
    for _ in range(terms.months):
        month = Period.month_of(month).next_day
    while (due_on := _moved(settings, _day_of(month, terms.day))) < earliest:
        month = Period.month_of(month).next_day
    return due_on


def business_days_after(day: date, count: int) -> date:
    """The ``count``-th business day after ``day``."""
    for _ in range(count):
        day = _business_day(day + ONE_DAY, ONE_DAY)
    return day


def is_business_day(day: date) -> bool:
    """True if Japanese banks are open: not on Saturdays, Sundays and public holidays, nor from 31 December to 3 January."""
    return (
        day.weekday() < _SATURDAY and (day.month, day.day) not in _YEAR_END and not jpholiday.is_holiday(day)
    )


def _day_of(month: date, day: int) -> date:
    return month.replace(day=min(day, monthrange(month.year, month.month)[1]))


def _moved(settings: BillingSettings, day: date) -> date:
    if settings.due_day == "none":
        return day
    return _business_day(day, ONE_DAY if settings.due_day == "next" else -ONE_DAY)


def _business_day(day: date, step: timedelta) -> date:
    """The day itself, or the next business day in the direction of the step."""
    while not is_business_day(day):
        day += step
    return day
