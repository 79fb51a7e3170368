"""The entries of a month's books, and their amounts in yen: documents, adjustments of receivables, payments and refunds. Pure.

With the setting ``booked_on: period_end``, an invoice belongs to the month (Asia/Tokyo) in which its service ends. Any other entry belongs
to the month of its date. If that month is handed over, the entry is on the first open day. A void document or a reversed payment has no
amounts in its month if the month was open at that time. Otherwise it keeps its amounts, and the month of the void or reversal has a
reversal.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import ExchangeRate
from include.skillreport.billing.money import YEN
from include.skillreport.billing.pricing.consumption_tax import TaxCategory
from include.skillreport.billing.receivables.adjustment import Adjustment, Contra
from include.skillreport.billing.receivables.booked_yen import yen_of_credit, yen_of_invoice


class Booking(StrEnum):
    """A document, an adjustment of its receivable, or a payment: unchanged, with amounts of 0, or reversed."""

    DOCUMENT = "document"
    VOID = "void"
    REVERSAL = "reversal"
    ADJUSTMENT = "adjustment"
    PAYMENT = "payment"


@dataclass(frozen=True)
class CreditedInvoice:
    """The original of a credit note, and the original's earlier credit notes in the order of their numbers."""

    original: Invoice
    earlier: tuple[Invoice, ...] = ()


@dataclass(frozen=True)
class Receipt:
    """Money that arrived, or was paid back. ``amount`` (in the invoice's currency) and ``yen`` are added to the receivable, so they are
    negative for a payment.
    """

    amount: Decimal
    yen: Decimal
    method: str
    reference: str

    @property
    def label(self) -> str:
        """Its name in the books."""
        return "入金" if self.amount < 0 else "返金"


@dataclass(frozen=True)
class BookEntry:
    """A document in a month's books, or an ``adjustment`` or a ``receipt`` of the invoice.

    ``accrued_on`` (Asia/Tokyo) is the entry's own day; for a reversal, the day of the void. ``booked_on`` is the day in the books.
    ``status`` is the database's (finalized or void). ``exchange_rate`` is for a document that states none: its inputs' rate, or the newest
    in the month of ``service_day``; None: there is no rate. A credit note in a foreign currency has ``credits``, and its invoice's
    ``service_day``.
    """

    booking: Booking
    status: str
    accrued_on: date
    booked_on: date
    service_day: date
    invoice: Invoice
    partner_code: str
    exchange_rate: ExchangeRate | None = None
    credits: CreditedInvoice | None = None
    adjustment: Adjustment | None = None
    receipt: Receipt | None = None

    @property
    def label(self) -> str:
        """The name of an entry that is no document; empty for a document."""
        is_reversal = self.booking is Booking.REVERSAL
        if self.receipt:
            return f"{self.receipt.label}{'の取り消し' if is_reversal else ''}"
        return self.adjustment.label if self.adjustment else "取消" if is_reversal else ""

    @property
    def is_booked(self) -> bool:
        """True if the journal and the imports contain the entry: it is not void, and its amount is not 0."""
        return self.booking is not Booking.VOID and self.invoice.total != 0

    @property
    def amount(self) -> Decimal:
        """The entry's amount in the document's currency: its total, or the addition of an adjustment or a receipt to the receivable."""
        if self.receipt:
            return self.receipt.amount
        return -self.adjustment.amount if self.adjustment else self.invoice.total

    @property
    def remark(self) -> str:
        """Why the entry is in a later month than its own; empty if it is not."""
        if self.booked_on.replace(day=1) == self.accrued_on.replace(day=1):
            return ""
        return f"{self.accrued_on:%Y-%m} は確定済みのため"

    @property
    def known_rate(self) -> ExchangeRate | None:
        """The rate of a foreign document: its own, otherwise ``exchange_rate``. None: no rate is known, or the document is in yen."""
        if self.invoice.currency == YEN:
            return None
        own = self.invoice.yen_tax
        if own is None:
            return self.exchange_rate
        return ExchangeRate(yen_per_unit=own.yen_per_unit, rate_date=own.rate_date)

    @property
    def rate(self) -> Decimal:
        """The yen for one unit of the document's currency. :raises BillingError: there is no rate."""
        if self.invoice.currency == YEN:
            return Decimal(1)
        if self.known_rate is None:
            raise BillingError(
                "NO_EXCHANGE_RATE",
                f"{self.invoice.number} の通貨 {self.invoice.currency} を円に換算するレートがありません。"
                f"利用月（{self.service_day:%Y-%m}）のレートを "
                "DAG operate_contracts の「為替レートの登録・訂正」で登録し、再実行してください",
            )
        return self.known_rate.yen_per_unit


@dataclass(frozen=True)
class Posting:
    """One tax category's amounts in whole yen against an account, ``net`` and ``tax``. Negative amounts reduce the receivable.

    ``rate``: the document's, in percent.
    """

    category: TaxCategory
    net: Decimal
    tax: Decimal
    contra: Contra = Contra.SALES
    rate: Decimal = Decimal(0)

    @property
    def gross(self) -> Decimal:
        """The part of the receivable."""
        return self.net + self.tax


def signed(entry: BookEntry, amount: Decimal) -> Decimal:
    """The amount in the month's books: 0 for a void document, the opposite for a reversal."""
    if entry.booking is Booking.VOID:
        return Decimal(0)
    return -amount if entry.booking is Booking.REVERSAL else amount


def postings(entry: BookEntry) -> tuple[Posting, ...]:
    """The entry's amounts per tax category, without categories that have no amounts.

    A foreign total is converted once and rounded half up. The tax in yen is the document's. The sales of the category with the largest
    amount take the rounding difference, so that the categories add up to the receivable. Credit notes for an entire invoice cancel its yen
    in every category.
    :raises BillingError: a foreign document has no rate.
    """
    if entry.receipt:
        yen = signed(entry, entry.receipt.yen)
        return (Posting(TaxCategory.OUT_OF_SCOPE, yen, Decimal(0), Contra.BANK),) if yen else ()
    if entry.adjustment:
        return tuple(
            Posting(
                part.category,
                part.yen_tax - part.yen,
                -part.yen_tax,
                entry.adjustment.contra,
                part.rate_percent,
            )
            for part in entry.adjustment.parts
        )
    invoice, rate = entry.invoice, entry.rate
    gross, taxes = (
        yen_of_credit(entry.credits.original, entry.credits.earlier, invoice, rate)
        if entry.credits
        else yen_of_invoice(invoice, rate)
    )
    if invoice.yen_tax:
        taxes |= {total.category: total.tax_amount for total in invoice.yen_tax.totals}
    rates = {total.category: total.rate_percent for total in invoice.tax_totals}
    return tuple(
        Posting(
            category,
            signed(entry, amount - taxes[category]),
            signed(entry, taxes[category]),
            rate=rates[category],
        )
        for category, amount in gross.items()
        if amount or taxes[category]
    )
