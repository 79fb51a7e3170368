"""The invoice as a document: everything that is on the paper, frozen when it is finalised, and the same for PDF, JSON and CSV.

Amounts are Decimal in the invoice's currency with its minor units; dates are Asia/Tokyo. As JSON, amounts are strings.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict

from include.billing.consumption_tax import TaxCategory, TaxTotal
from include.billing.money import EXACT


class Document(BaseModel):
    """Base of what is frozen into an invoice."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class InvoiceKind(StrEnum):
    """適格請求書, and 適格返還請求書 (a credit that mirrors one invoice)."""

    INVOICE = "invoice"
    CREDIT = "credit"


class LineKind(StrEnum):
    """Where a line comes from, in the order of the calculation."""

    BASE_FEE = "base_fee"
    USAGE = "usage"
    PERCENTAGE_DISCOUNT = "percentage_discount"
    FIXED_DISCOUNT = "fixed_discount"
    COMMITMENT = "commitment"


class Issuer(Document):
    """Who sends the invoice."""

    name: str
    registration_number: str
    postal_code: str
    address: str
    phone: str
    email: str
    bank_account: str
    contact: str


class Recipient(Document):
    """Whom the invoice is for; only the name is required by law."""

    name: str
    department: str | None
    postal_code: str | None
    address: str | None
    email: str | None


class InvoiceLine(Document):
    """One line. ``amount`` is what people read and add up: ``exact_amount`` (no more than 30 decimals of it are kept), rounded once.

    ``quantity`` is what is charged, after all that is free, in ``unit``. ``explanation`` is the arithmetic in Japanese, one step each.
    """

    position: int
    kind: LineKind
    description: str
    plan: str | None
    metric: str | None
    quantity: Decimal | None
    unit: str | None
    unit_amount: Decimal | None
    exact_amount: Decimal
    amount: Decimal
    tax_category: TaxCategory
    service_from: date
    service_to: date
    explanation: tuple[str, ...]


class YenTax(Document):
    """The tax of an invoice in another currency, which the law wants in yen too."""

    yen_per_unit: Decimal
    rate_date: date
    totals: tuple[TaxTotal, ...]


class Invoice(Document):
    """A whole invoice. A draft has no number and no dates yet.

    ``subtotal`` is the sum of the lines' displayed amounts; with ``tax_included`` the tax is contained in it, otherwise it comes on top.
    """

    kind: InvoiceKind
    number: str | None
    original_number: str | None
    issued_on: date | None
    due_on: date | None
    period_start: date
    period_end: date
    tenant_id: str
    tenant_code: str
    currency: str
    tax_included: bool
    issuer: Issuer
    recipient: Recipient
    lines: tuple[InvoiceLine, ...]
    tax_totals: tuple[TaxTotal, ...]
    yen_tax: YenTax | None
    subtotal: Decimal
    tax: Decimal
    total: Decimal

    def finalized(self, number: str | None, issued_on: date | None, due_on: date | None) -> Self:
        """The invoice with what only finalising gives it; a draft has none of it, a credit nothing to be due."""
        return self.model_copy(update={"number": number, "issued_on": issued_on, "due_on": due_on})

    def credited(self) -> Invoice:
        """The draft credit that exactly cancels this invoice: every amount with the other sign, nothing calculated anew."""
        lines = tuple(
            line.model_copy(
                update={
                    "exact_amount": EXACT.minus(line.exact_amount),
                    "amount": -line.amount,
                    "explanation": (f"{self.number} の {line.position} 行目の取消",),
                }
            )
            for line in self.lines
        )
        yen_tax = self.yen_tax and self.yen_tax.model_copy(
            update={"totals": tuple(total.negated() for total in self.yen_tax.totals)}
        )
        return self.model_copy(
            update={
                "kind": InvoiceKind.CREDIT,
                "number": None,
                "original_number": self.number,
                "issued_on": None,
                "due_on": None,
                "lines": lines,
                "tax_totals": tuple(total.negated() for total in self.tax_totals),
                "yen_tax": yen_tax,
                "subtotal": -self.subtotal,
                "tax": -self.tax,
                "total": -self.total,
            }
        )
