"""The rules for holding an invoice: it differs too much from the previous month's or from the base fee, it has large or waiting one-off
lines, or too many rows name no user. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from include.skillreport.billing.documents.invoice import Invoice, LineKind
from include.skillreport.billing.second_person import SecondPerson, approval_words
from include.skillreport.core.execution.reconciliation import is_beyond
from include.skillreport.core.execution.settings import IdentitySettings

# A reason names this many lines, and counts the others.
_NAMED_LINES = 5


@dataclass(frozen=True)
class PreviousTotal:
    """The tenant's invoice for the previous month, less its credit notes, for ``billed_days`` of its ``month_days``.

    ``amount`` includes tax. ``recurring`` is the subtotal without one-off lines, as ``recurring_subtotal``. ``yen_per_unit`` is a foreign
    invoice's rate.
    """

    amount: Decimal
    recurring: Decimal
    currency: str
    billed_days: int = 1
    month_days: int = 1
    yen_per_unit: Decimal | None = None


@dataclass(frozen=True)
class UnplacedRows:
    """The host's rows of a tenant's month for which no user was found, and the number of all rows.

    ``events`` are those of the entire month. ``accounts`` are those of the day with the most of them.
    """

    events: int
    read_events: int
    accounts: int
    read_accounts: int


@dataclass(frozen=True)
class OneOffLine:
    """A one-off line that a user entered, with its rounded ``amount`` in the invoice's currency.

    ``waits``: only a user other than ``entered_by`` may approve it.
    """

    charged_on: date
    description: str
    amount: Decimal
    entered_by: str = ""
    waits: bool = False


def recurring_subtotal(invoice: Invoice) -> Decimal:
    """The sum of the lines without the one-off lines. With ``tax_included`` it includes the tax."""
    return sum((line.amount for line in invoice.lines if line.kind is not LineKind.EXTRA), Decimal(0))


def base_fees(invoice: Invoice) -> Decimal:
    """The sum of the base fees, as ``recurring_subtotal``."""
    return sum((line.amount for line in invoice.lines if line.kind is LineKind.BASE_FEE), Decimal(0))


def change_reason(
    total: Decimal, recurring: Decimal, currency: str, previous: PreviousTotal | None, percent: Decimal
) -> str | None:
    """Why the invoice needs an approval, or None: ``recurring`` differs by more than ``percent`` from the previous month's.

    One-off lines are not compared, because ``one_off_reason`` limits them. A tenant's first invoice is not compared. If only some days of
    the previous month were billed, for example a new customer's, its equivalent of an entire month is compared.
    """
    if previous is None:
        return None
    if previous.currency != currency:
        return f"請求額 {total:,f} {currency} を前月の {previous.amount:,f} {previous.currency} と比較できません（通貨が違います）"
    # Compare equal numbers of days by multiplication, so that nothing is rounded.
    before = Fraction(previous.recurring) * previous.month_days
    difference = Fraction(recurring) * previous.billed_days - before
    if abs(difference) * 100 <= Fraction(percent) * abs(before):
        return None
    days, by_month = " ", ""
    if previous.billed_days < previous.month_days:
        days, by_month = (
            f"（{previous.month_days} 日のうち {previous.billed_days} 日分）",
            "1 か月分に換算して ",
        )
    change = _change(difference * 100 / before) if before else "前月は 0"
    return (
        f"個別明細を除く小計が前月の {previous.recurring:,f} {currency}{days}から {recurring:,f} {currency} へ、"
        f"{by_month}{percent.normalize():f} % を超えて変わりました（{change}、請求額は {previous.amount:,f} {currency} から "
        f"{total:,f} {currency}）"
    )


def yen_reason(
    recurring: Decimal,
    yen_per_unit: Decimal | None,
    currency: str,
    previous: PreviousTotal | None,
    percent: Decimal,
) -> str | None:
    """Why a foreign invoice needs an approval, or None: ``recurring`` in yen differs by more than ``percent`` from the previous month's.

    As ``change_reason``, each month at its own rate.
    """
    if (
        previous is None
        or previous.currency != currency
        or previous.yen_per_unit is None
        or yen_per_unit is None
    ):
        return None
    before = Fraction(previous.recurring) * previous.month_days * Fraction(previous.yen_per_unit)
    difference = Fraction(recurring) * previous.billed_days * Fraction(yen_per_unit) - before
    if abs(difference) * 100 <= Fraction(percent) * abs(before):
        return None
    return (
        f"個別明細を除く小計が、円に換算すると前月から {percent.normalize():f} % を超えて変わりました"
        f"（1 {currency} は前月 {previous.yen_per_unit.normalize():f} 円、今月 {yen_per_unit.normalize():f} 円）"
    )


def one_off_reason(
    lines: Sequence[OneOffLine], recurring: Decimal, currency: str, percent: Decimal
) -> str | None:
    """Why unapproved one-off lines need an approval, or None: their sum is above ``percent`` of ``recurring``.

    Charges and deductions are added without their signs, so that a mistake and its correction do not hide each other.
    """
    total = sum((abs(line.amount) for line in lines), Decimal(0))
    if total * 100 <= percent * abs(recurring):
        return None
    named = [
        f"{line.charged_on}「{line.description}」{line.amount:,f} {currency}" for line in lines[:_NAMED_LINES]
    ]
    if len(lines) > _NAMED_LINES:
        named.append(f"ほか {len(lines) - _NAMED_LINES} 件")
    return (
        f"未承認の個別明細の合計 {total:,f} {currency} が、個別明細を除く小計 {recurring:,f} {currency} の "
        f"{percent.normalize():f} % を超えます（{'、'.join(named)}）"
    )


def waiting_reason(lines: Sequence[OneOffLine], second_person: SecondPerson) -> str | None:
    """Why one-off lines need an approval by the setting ``second_person``, or None: none of them ``waits``."""
    waiting = [f"「{line.description}」（登録者 {line.entered_by}）" for line in lines if line.waits]
    if not waiting:
        return None
    return (
        f"個別明細{'、'.join(waiting)}は 1 人で登録できる額を超えるか、支払いに関わる語があるため、"
        f"{approval_words(second_person, '登録した人以外の')}が必要です"
    )


def first_invoice_reason(
    recurring: Decimal, base_fees: Decimal, currency: str, percent: Decimal, *, is_part: bool = False
) -> str | None:
    """Why a tenant's first invoice needs an approval, or None: ``recurring`` differs by more than ``percent`` from the base fees.

    Both are what an entire month would cost. ``is_part``: a part of it was billed.
    """
    if abs(recurring - base_fees) * 100 <= percent * abs(base_fees):
        return None
    by_month = "1 か月分に換算した、" if is_part else ""
    return (
        f"最初の請求書で、{by_month}個別明細を除く小計 {recurring:,f} {currency} が、基本料金 {base_fees:,f} {currency} と "
        f"{percent.normalize():f} % を超えて違います"
    )


def _change(change: Fraction) -> str:
    """The change in percent with one decimal, rounded away from 0, so that a change beyond the limit never looks like the limit."""
    tenths = math.ceil(abs(change) * 10)
    return f"{'-' if change < 0 else '+'}{tenths // 10:,}.{tenths % 10} %"


def unplaced_reason(unplaced: UnplacedRows, settings: IdentitySettings) -> str | None:
    """Why the number of users needs an approval, or None. The thresholds of the settings apply to events and accounts separately."""
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
