"""The rules for holding an invoice: its total differs too much from the previous month, or too many rows name nobody. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from include.execution.reconciliation import is_beyond
from include.settings import IdentitySettings


@dataclass(frozen=True)
class PreviousTotal:
    """The total of the tenant's invoice for the previous month."""

    amount: Decimal
    currency: str


@dataclass(frozen=True)
class UnplacedRows:
    """The host's rows of a tenant's month that no person could be found for, and how many rows there are in all.

    ``events`` are of the whole month. ``accounts`` are of the day with the most of them.
    """

    events: int
    read_events: int
    accounts: int
    read_accounts: int


def change_reason(
    total: Decimal, currency: str, previous: PreviousTotal | None, percent: Decimal
) -> str | None:
    """Why the total needs an approval, or None. A tenant's first invoice has nothing to be compared with."""
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


def unplaced_reason(unplaced: UnplacedRows, settings: IdentitySettings) -> str | None:
    """Why the number of users needs an approval, or None. Events and accounts each have the thresholds of the settings."""
    counts = (
        ("利用者を特定できない操作", "読み取り", unplaced.events, unplaced.read_events),
        ("従業員のないアカウント", "アカウント", unplaced.accounts, unplaced.read_accounts),
    )
    beyond = [
        f"{name}が {count:,} 件（{whole} {read:,} 件の {Decimal(100 * count) / read:.1f} %）"
        for name, whole, count, read in counts
        if is_beyond(count, read, settings)
    ]
    if not beyond:
        return None
    return (
        f"{'、'.join(beyond)}あり、利用者数に含めていません。アプリケーションの記録を直したら、"
        "BATCH-018-01 をその月の各日で実行してから請求を計算し直すと、保留は解けます"
    )
