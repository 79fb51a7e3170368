"""A document as an entry of a month's books, and its amounts in yen. Pure.

A document belongs to the calendar month (Asia/Tokyo) of its date. A void document has no amounts in its month while the month is open. If
the month is handed over before the void, the document keeps its amounts, and the month of the void has a reversal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.money import EXACT, YEN, RoundingMode, round_to_minor_unit
from include.skillreport.billing.pricing.consumption_tax import TaxCategory, TaxTotal


class Booking(StrEnum):
    """How a document counts in a month: unchanged, with amounts of 0, or reversed."""

    DOCUMENT = "document"
    VOID = "void"
    REVERSAL = "reversal"


@dataclass(frozen=True)
class CreditedInvoice:
    """The original of a credit note, and the original's credit notes before it in the order of their numbers."""

    original: Invoice
    earlier: tuple[Invoice, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A document in a month's books.

    ``booked_on`` (Asia/Tokyo) is the date of the document, or of a reversal the day of the void. ``status`` is that of the database
    (finalized, sent or void). ``yen_per_unit`` is the rate of a document that states none; None: there is no rate. A credit note in a
    foreign currency has ``credits``.
    """

    booking: Booking
    status: str
    booked_on: date
    invoice: Invoice
    partner_code: str
    yen_per_unit: Decimal | None = None
    credits: CreditedInvoice | None = None

    @property
    def is_booked(self) -> bool:
        """Whether the journal and the imports contain the document: it is not void, and its total is not 0."""
        return self.booking is not Booking.VOID and self.invoice.total != 0

    @property
    def rate(self) -> Decimal:
        """Yen for one unit: from the document, otherwise from its inputs or its month. :raises BillingError: there is no rate."""
        if self.invoice.currency == YEN:
            return Decimal(1)
        rate = self.invoice.yen_tax.yen_per_unit if self.invoice.yen_tax else self.yen_per_unit
        if rate is None:
            raise BillingError(
                "NO_EXCHANGE_RATE",
                f"{self.invoice.number} の通貨 {self.invoice.currency} を円に換算するレートがありません。"
                f"batch.exchange_rate に発行月（{self.invoice.issued_on:%Y-%m}）のレートを登録し、再実行してください",
            )
        return rate


@dataclass(frozen=True)
class Posting:
    """One tax category's amounts in whole yen: ``net`` is sales, ``tax`` output tax. Negative amounts reduce sales."""

    category: TaxCategory
    net: Decimal
    tax: Decimal

    @property
    def gross(self) -> Decimal:
        """The part of the receivable."""
        return self.net + self.tax


def signed(entry: Entry, amount: Decimal) -> Decimal:
    """The amount in the month's books: 0 for a void document, the opposite for a reversal."""
    if entry.booking is Booking.VOID:
        return Decimal(0)
    return -amount if entry.booking is Booking.REVERSAL else amount


def net_amount(invoice: Invoice, total: TaxTotal) -> Decimal:
    """A tax total without its tax, in the currency of the total."""
    return total.taxable_amount - total.tax_amount if invoice.tax_included else total.taxable_amount


def postings(entry: Entry) -> tuple[Posting, ...]:
    """The entry's amounts per tax category. Categories without amounts are left out.

    A foreign total is converted once and rounded half up. The tax in yen is that of the document. The sales of the category with the
    largest amount take the rounding difference, so that the categories add up to the receivable. The credit notes that take all of an
    invoice cancel its yen in every category.
    :raises BillingError: a foreign document has no rate.
    """
    invoice, rate = entry.invoice, entry.rate
    gross, taxes = (
        _yen_of_credit(invoice, entry.credits, rate) if entry.credits else _yen_of_invoice(invoice, rate)
    )
    if invoice.yen_tax:
        taxes |= {total.category: total.tax_amount for total in invoice.yen_tax.totals}
    return tuple(
        Posting(category, signed(entry, amount - taxes[category]), signed(entry, taxes[category]))
        for category, amount in gross.items()
        if amount or taxes[category]
    )


_Amounts = dict[TaxCategory, Decimal]


def _yen_of_invoice(invoice: Invoice, rate: Decimal) -> tuple[_Amounts, _Amounts]:
    """Per category the amounts with tax, and the tax, in yen."""
    gross, taxes = _amounts(invoice)
    in_yen = {category: _in_yen(amount, rate) for category, amount in gross.items()}
    if gross:
        largest = max(gross, key=lambda category: abs(gross[category]))
        in_yen[largest] += _in_yen(invoice.total, rate) - sum(in_yen.values())
    return in_yen, {category: _in_yen(tax, rate) for category, tax in taxes.items()}


def _yen_of_credit(credit: Invoice, credits: CreditedInvoice, rate: Decimal) -> tuple[_Amounts, _Amounts]:
    """The yen of all credit notes up to this one, less the yen of those before it. This way rounding differences do not add up."""
    gross_before, taxes_before = _yen_taken(credits.original, credits.earlier, rate)
    gross_after, taxes_after = _yen_taken(credits.original, (*credits.earlier, credit), rate)
    categories = [total.category for total in credit.tax_totals]
    return (
        {category: gross_before[category] - gross_after[category] for category in categories},
        {category: taxes_before[category] - taxes_after[category] for category in categories},
    )


def _yen_taken(original: Invoice, notes: Sequence[Invoice], rate: Decimal) -> tuple[_Amounts, _Amounts]:
    """The yen that credit notes take from their original, with the original's sign. If all of a category is credited, all its yen are
    taken.
    """
    taken = [_amounts(note) for note in notes]

    def in_yen(whole: _Amounts, whole_in_yen: _Amounts, parts: Sequence[_Amounts]) -> _Amounts:
        sums = {
            category: -sum((part.get(category, Decimal(0)) for part in parts), Decimal(0))
            for category in whole
        }
        return {
            category: whole_in_yen[category] if amount == whole[category] else _in_yen(amount, rate)
            for category, amount in sums.items()
        }

    (gross, taxes), (gross_in_yen, taxes_in_yen) = _amounts(original), _yen_of_invoice(original, rate)
    return (
        in_yen(gross, gross_in_yen, [each for each, _ in taken]),
        in_yen(taxes, taxes_in_yen, [each for _, each in taken]),
    )


def _amounts(invoice: Invoice) -> tuple[_Amounts, _Amounts]:
    """Per category the amounts with tax, and the tax, in the invoice's currency."""
    gross = {total.category: net_amount(invoice, total) + total.tax_amount for total in invoice.tax_totals}
    return gross, {total.category: total.tax_amount for total in invoice.tax_totals}


def _in_yen(amount: Decimal, rate: Decimal) -> Decimal:
    return round_to_minor_unit(EXACT.multiply(amount, rate), YEN, RoundingMode.HALF_UP)
