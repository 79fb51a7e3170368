"""The differences of final invoices after usage was closed again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.billing.accounts import metered_days
from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import BillingInputs
from include.skillreport.billing.ledger.stored_invoice import stored_document
from include.skillreport.billing.periods import Period
from include.skillreport.billing.pricing.calculation import price_signed
from include.skillreport.billing.pricing.consumption_tax import TaxCategory
from include.skillreport.billing.pricing.usage import UsageDay
from include.skillreport.billing.state import invoice_label
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parent)

_LISTED_DAYS = 5

# Older months are not checked.
MONTHS = 12


@dataclass(frozen=True)
class Difference:
    """A final invoice, and the invoice that its month would have now. All inputs except the usage are the stored ones.

    ``days`` are the days with changed figures. ``carried``: the amounts that one-off lines already carry into later months, per category.
    ``returned``: the credit notes' amounts (below 0), per category. ``after`` is None if the month can no longer be priced; ``problem``
    says why.
    """

    invoice_id: str
    days: tuple[date, ...]
    before: Invoice
    after: Invoice | None
    carried: Mapping[TaxCategory, Decimal]
    returned: Mapping[TaxCategory, Decimal]
    problem: str = ""

    @property
    def uncarried(self) -> dict[TaxCategory, Decimal]:
        """The amounts that are left to carry per category, in the invoice's currency, with tax if the prices include it."""
        amounts: dict[TaxCategory, Decimal] = {}
        if self.after:
            _add(amounts, ((total.category, total.taxable_amount) for total in self.after.tax_totals))
            _add(amounts, ((total.category, -total.taxable_amount) for total in self.before.tax_totals))
        _add(amounts, ((category, -amount) for category, amount in self.carried.items()))
        return {category: amount for category, amount in amounts.items() if amount}

    @property
    def is_open(self) -> bool:
        """True if the accountant must check it: carried lines and credit notes do not cover the difference."""
        uncredited = dict(self.uncarried)
        _add(uncredited, ((category, -amount) for category, amount in self.returned.items()))
        return bool(self.problem) or (bool(self.uncarried) and any(uncredited.values()))

    def sentence(self) -> str:
        """Tenant, days and the difference, for the operators."""
        before, after = self.before, self.after
        days = "、".join(f"{day:%-m/%-d}" for day in self.days[:_LISTED_DAYS])
        more = f" ほか {len(self.days) - _LISTED_DAYS} 日" if len(self.days) > _LISTED_DAYS else ""
        name = (
            f"{before.tenant_code} の {before.period_start:%Y-%m} 分 {invoice_label(before.number).strip()}: 確定後に締め直された日 "
            f"{days}{more}（{len(self.days)} 日）。"
        )
        if after is None:
            return f"{name}今の使用量では計算できません（{self.problem.rstrip('。')}）"
        currency = before.currency
        details = [f"差額 {after.total - before.total:+,f} {currency}"]
        for label, amounts in (("繰越し済み", self.carried), ("返還済み", self.returned)):
            if amounts:
                details.append(f"{label} {sum(amounts.values(), Decimal(0)):+,f} {currency}")
        return (
            f"{name}請求額 {before.total:,f} {currency} は、今の使用量では {after.total:,f} {currency}"
            f"（{'、'.join(details)}）"
        )


def find_differences(
    connection: psycopg.Connection, since: date, month_start: date | None = None
) -> list[Difference]:
    """The open differences of a month, or of the months from ``since`` on. Ordered by month and tenant id.

    Covers the transaction's tenants, or all tenants as ``batch_platform``.
    """
    rows = _SQL.rows(connection, "changed_invoices", since=since, period_start=month_start)
    found = (_difference(connection, row) for row in rows)
    return [difference for difference in found if difference.days and difference.is_open]


def _difference(connection: psycopg.Connection, row: dict[str, Any]) -> Difference:
    inputs = BillingInputs.model_validate(row["inputs"])
    month = {
        "tenant_id": row["tenant_id"],
        "period_start": inputs.period.start,
        "period_end": inputs.period.end,
    }
    usage_days = tuple(
        day
        for day in map(UsageDay.model_validate, _SQL.rows(connection, "usage_of_month", **month))
        if any(priced.plan_part.part.holds(day.usage_date) for priced in inputs.parts)
    )
    metered = metered_days(_SQL.rows(connection, "metered_of_month", **month), inputs.parts)
    changed = {day.usage_date for day in {*usage_days} ^ {*inputs.usage_days}}
    changed |= {day.usage_date for day in {*metered} ^ {*inputs.metered}}
    after, problem = None, ""
    try:
        after = price_signed(inputs.model_copy(update={"usage_days": usage_days, "metered": metered}))
    except BillingError as error:
        problem = str(error)
    return Difference(
        row["invoice_id"],
        tuple(sorted(changed)),
        stored_document(row),
        after,
        _per_category(connection, "carried_amounts", row["invoice_id"]),
        _per_category(connection, "credited_amounts", row["invoice_id"]),
        problem,
    )


def first_month(period: Period) -> date:
    """The first of the ``MONTHS`` months that end with this one."""
    for _ in range(MONTHS - 1):
        period = Period.month_of(period.previous_day)
    return period.start


def _per_category(connection: psycopg.Connection, block: str, invoice_id: str) -> dict[TaxCategory, Decimal]:
    rows = _SQL.execute(connection, block, invoice_id=invoice_id).fetchall()
    return {TaxCategory(category): amount for category, amount in rows}


def _add(amounts: dict[TaxCategory, Decimal], more: Iterable[tuple[TaxCategory, Decimal]]) -> None:
    for category, amount in more:
        amounts[category] = amounts.get(category, Decimal(0)) + amount
