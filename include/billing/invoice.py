"""The content of an invoice. PDF, JSON and CSV show the same content; finalising makes it immutable.

Amounts are Decimal in the invoice's currency with its minor units, and strings in JSON. Dates are Asia/Tokyo.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from include.billing.consumption_tax import TaxCategory, TaxTotal
from include.billing.money import EXACT


class Document(BaseModel):
    """Base of the values that are stored with an invoice."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class InvoiceKind(StrEnum):
    """適格請求書, or 適格返還請求書 (the credit of one invoice)."""

    INVOICE = "invoice"
    CREDIT = "credit"


class LineKind(StrEnum):
    """The step of the calculation that made a line, in the order of the steps."""

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
    """The invoice's recipient. The law requires only the name."""

    name: str
    department: str | None
    postal_code: str | None
    address: str | None
    email: str | None


class InvoiceLine(Document):
    """One line. ``amount`` is ``exact_amount`` (at most 30 decimals), rounded once; people read and add ``amount``.

    ``quantity`` is charged, without free quantities, in ``unit``. ``explanation`` has the steps of the calculation in Japanese.
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
    """The tax in yen of an invoice in another currency. The law requires it."""

    yen_per_unit: Decimal
    rate_date: date
    totals: tuple[TaxTotal, ...]


class Invoice(Document):
    """An invoice or a credit. A draft has no number, issue date or due date.

    ``subtotal`` is the sum of the lines' rounded amounts. With ``tax_included`` it includes the tax, otherwise the tax is added.
    ``remarks`` say in Japanese what is not charged because there is no record. Without any, JSON has no such key: older invoices
    keep their bytes.
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
    remarks: Annotated[tuple[str, ...], Field(exclude_if=lambda remarks: not remarks)] = ()

    def finalized(self, number: str | None, issued_on: date | None, due_on: date | None) -> Self:
        """The invoice with the values that finalising adds. A credit has no due date."""
        return self.model_copy(update={"number": number, "issued_on": issued_on, "due_on": due_on})

    def credited(self) -> Invoice:
        """The draft credit that cancels this invoice exactly: every amount has the opposite sign."""
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
                "remarks": (),
            }
        )
