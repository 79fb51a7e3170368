"""The rule for holding an invoice: its total differs too much from the previous month. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class PreviousTotal:
    """The total of the tenant's invoice for the previous month."""

    amount: Decimal
    currency: str


def hold_reason(
    total: Decimal, currency: str, previous: PreviousTotal | None, percent: Decimal
) -> str | None:
    """Why the invoice must not be finalised without an approval, or None. A tenant's first invoice is never held."""
    if previous is None:
        return None
    if previous.currency != currency:
        return f"前月は {previous.currency} 建てで、比較できません"
    difference = total - previous.amount
    if abs(difference) * 100 <= percent * abs(previous.amount):
        return None
    change = f"{difference * 100 / previous.amount:+.1f} %" if previous.amount else "前月は 0"
    return (
        f"請求額 {total:,f} {currency} が前月の {previous.amount:,f} {currency} から "
        f"{percent.normalize():f} % を超えて変わりました（{change}）"
    )
