"""The minimum commitment of a month, by day. Pure. Days are Asia/Tokyo dates. Amounts are monthly, and include tax if the price list does.

Each billable day adds one day's share of its commitment: the tenant's (of several, the one that began last), or else its plan's. Source:
BATCH-018-02's rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import Annotated

from pydantic import Field

from include.skillreport.billing.documents.invoice import Document
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.money import EXACT
from include.skillreport.billing.periods import Period


class Commitment(Document):
    """A tenant's agreed monthly minimum, with tax if the price list includes it. It replaces the minimum of its plans."""

    amount: Annotated[Decimal, Field(ge=0)]
    currency: str
    valid_from: date
    valid_to: date | None = None

    def holds(self, day: date) -> bool:
        """True if the commitment is valid on the day."""
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)


@dataclass(frozen=True)
class CommittedDays:
    """Consecutive days with one commitment above 0. ``is_agreed``: it is the tenant's, not its plan's."""

    days: Period
    amount: Decimal
    is_agreed: bool


def committed_days(
    plan_minimums: Sequence[tuple[Period, Decimal]], commitments: Sequence[Commitment], currency: str
) -> list[CommittedDays]:
    """The days with a commitment, in order. ``plan_minimums``: the month's billable parts with their plans' minimums.

    :raises BillingError: a billable day's commitment is in another currency.
    """
    if not commitments and len(plan_minimums) == 1:  # the usual case
        ((part, minimum),) = plan_minimums
        return [CommittedDays(part, minimum, is_agreed=False)] if minimum else []
    # Consecutive days of one commitment have the same difference between ordinal and position.
    days = list(_days(plan_minimums, commitments, currency))
    runs = groupby(enumerate(days), key=lambda item: (item[1][0].toordinal() - item[0], *item[1][1:]))
    return [
        CommittedDays(Period(start=run[0], end=run[-1]), amount, is_agreed)
        for (_, amount, is_agreed), items in runs
        if (run := [day for _, (day, _, _) in items])
    ]


def minimum_of(runs: Sequence[CommittedDays], month_days: int) -> Decimal:
    """The month's minimum: the sum over the days of commitment ÷ days in the month."""
    return EXACT.divide(sum((run.amount * run.days.days for run in runs), Decimal(0)), Decimal(month_days))


def _days(
    plan_minimums: Sequence[tuple[Period, Decimal]], commitments: Sequence[Commitment], currency: str
) -> Iterator[tuple[date, Decimal, bool]]:
    latest_first = sorted(commitments, key=lambda commitment: commitment.valid_from, reverse=True)
    for part, minimum in plan_minimums:
        for day in part.dates():
            agreed = next((commitment for commitment in latest_first if commitment.holds(day)), None)
            if agreed is not None:
                _require_currency(agreed, currency)
            amount = minimum if agreed is None else agreed.amount
            if amount:
                yield day, amount, agreed is not None


def _require_currency(commitment: Commitment, currency: str) -> None:
    if commitment.currency != currency:
        raise BillingError(
            "COMMITMENT_CURRENCY",
            f"最低利用料金の通貨 {commitment.currency} がテナントの通貨 {currency} と違います。"
            "DAG operate_contracts の「最低利用料金の登録・訂正」で直してください",
        )
