"""Billing periods, and their parts with one plan. Days are Asia/Tokyo dates; both ends are inclusive."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import zip_longest
from typing import Self

from pydantic import BaseModel, ConfigDict

from include.skillreport.billing.money import EXACT

ONE_DAY = timedelta(days=1)


class Period(BaseModel):
    """The days from ``start`` to ``end``, both inclusive."""

    model_config = ConfigDict(frozen=True)

    start: date
    end: date

    @classmethod
    def month_of(cls, day: date) -> Self:
        """The month that contains the day."""
        last = monthrange(day.year, day.month)[1]
        return cls(start=day.replace(day=1), end=day.replace(day=last))

    @property
    def days(self) -> int:
        """The number of days."""
        return (self.end - self.start).days + 1

    @property
    def next_day(self) -> date:
        """The first day after the period."""
        return self.end + ONE_DAY

    @property
    def previous_day(self) -> date:
        """The last day before the period."""
        return self.start - ONE_DAY

    def dates(self) -> Iterator[date]:
        """The days in order."""
        return (self.start + timedelta(days=offset) for offset in range(self.days))

    def clipped(self, start: date | None, end: date | None) -> Period | None:
        """The part between two dates (None: open), or None if there is none."""
        first, last = max(self.start, start or self.start), min(self.end, end or self.end)
        return Period(start=first, end=last) if first <= last else None

    def holds(self, day: date) -> bool:
        """True if the day is in the period."""
        return self.start <= day <= self.end


class PlanChange(BaseModel):
    """The tenant's plan from ``effective_from`` on; None: it has no plan."""

    model_config = ConfigDict(frozen=True)

    effective_from: date
    plan: str | None


class PlanPart(BaseModel):
    """A part of the billing period with one plan."""

    model_config = ConfigDict(frozen=True)

    plan: str
    part: Period


def plan_parts(
    period: Period, changes: Sequence[PlanChange], *, contract_start: date | None, contract_end: date | None
) -> tuple[PlanPart, ...]:
    """The parts of the period in which the tenant had a plan and a contract, in order.

    ``changes`` are ordered by date, and each applies until the next. Adjacent parts with the same plan become one part.
    """
    contract = period.clipped(contract_start, contract_end)
    if contract is None:
        return ()
    parts: list[PlanPart] = []
    for change, following in zip_longest(changes, changes[1:]):
        until = following.effective_from - ONE_DAY if following else None
        part = contract.clipped(change.effective_from, until)
        if part is None or change.plan is None:
            continue
        if parts and parts[-1].plan == change.plan and parts[-1].part.end + ONE_DAY == part.start:
            part = Period(start=parts.pop().part.start, end=part.end)
        parts.append(PlanPart(plan=change.plan, part=part))
    return tuple(parts)


def prorate(amount: Decimal, part_days: int, month_days: int) -> Decimal:
    """The prorated amount: amount × days ÷ days in the month."""
    return EXACT.divide(amount * part_days, Decimal(month_days))
