"""What an entire month would cost a tenant that was billed for a part of it. Pure."""

from __future__ import annotations

from datetime import date
from itertools import cycle
from typing import TypeVar

from include.skillreport.billing.inputs import BillingInputs, Discount, MeteredDay, PricedPart
from include.skillreport.billing.periods import Period
from include.skillreport.billing.pricing.commitments import Commitment
from include.skillreport.billing.pricing.usage import UsageDay

Day = TypeVar("Day", UsageDay, MeteredDay)
Agreed = TypeVar("Agreed", Discount, Commitment)


def whole_month(inputs: BillingInputs) -> BillingInputs:
    """The inputs of an entire month whose further days are like the billed ones. One-off lines are left out.

    The first plan begins on the first day, and the last plan ends on the last day; so do the discounts and commitments that were valid
    then. Usage and meters of the billed days repeat in turn.
    ``inputs`` have parts.
    """
    month = Period.month_of(inputs.period.start)
    first, last = inputs.parts[0].plan_part.part, inputs.parts[-1].plan_part.part
    further = [day for day in month.dates() if day < first.start or day > last.end]
    days = [*inputs.usage_days, *_repeated(inputs.usage_days, further)]
    metered = [*inputs.metered, *_repeated(inputs.metered, further)]
    parts = list(inputs.parts)
    parts[0] = _lasting(parts[0], month.start, parts[0].plan_part.part.end)
    parts[-1] = _lasting(parts[-1], parts[-1].plan_part.part.start, month.end)
    return inputs.model_copy(
        update={
            "parts": tuple(parts),
            "usage_days": tuple(sorted(days, key=lambda day: day.usage_date)),
            "metered": tuple(sorted(metered, key=lambda day: day.usage_date)),
            "discounts": tuple(_valid_before_and_after(each, first, last) for each in inputs.discounts),
            "commitments": tuple(_valid_before_and_after(each, first, last) for each in inputs.commitments),
            "extra_charges": (),
        }
    )


def _lasting(priced: PricedPart, start: date, end: date) -> PricedPart:
    part = priced.plan_part.model_copy(update={"part": Period(start=start, end=end)})
    return priced.model_copy(update={"plan_part": part})


def _valid_before_and_after(agreed: Agreed, first: Period, last: Period) -> Agreed:
    """The discount or commitment, also valid before the first and after the last billed day if it was valid on it."""
    month, start, end = Period.month_of(first.start), agreed.valid_from, agreed.valid_to
    if start <= first.start and (end is None or first.start <= end):
        start = min(start, month.start)
    if end is not None and start <= last.end <= end:
        end = max(end, month.end)
    return agreed.model_copy(update={"valid_from": start, "valid_to": end})


def _repeated(rows: tuple[Day, ...], further: list[date]) -> list[Day]:
    """The rows of the known days, in turn, as rows of the further days."""
    by_day: dict[date, list[Day]] = {}
    for row in rows:
        by_day.setdefault(row.usage_date, []).append(row)
    return [
        row.model_copy(update={"usage_date": day})
        for day, alike in zip(further, cycle(by_day.values()), strict=False)
        for row in alike
    ]
