"""The yen of invoices, credit notes and payments in the books, at the invoice's rate. Pure.

A foreign amount is converted once and rounded half up. The entries of an invoice without an open amount add up to 0 yen.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.money import in_yen
from include.skillreport.billing.pricing.consumption_tax import TaxCategory, TaxTotal

Amounts = dict[TaxCategory, Decimal]


def net_amount(invoice: Invoice, total: TaxTotal) -> Decimal:
    """A tax total without its tax, in the total's currency."""
    return total.taxable_amount - total.tax_amount if invoice.tax_included else total.taxable_amount


def yen_of_invoice(invoice: Invoice, rate: Decimal) -> tuple[Amounts, Amounts]:
    """The amounts with tax, and the tax, in yen per category. The largest category takes the rounding difference."""
    gross, taxes = _amounts(invoice)
    converted = {category: in_yen(amount, rate) for category, amount in gross.items()}
    if gross:
        largest = max(gross, key=lambda category: abs(gross[category]))
        converted[largest] += in_yen(invoice.total, rate) - sum(converted.values())
    return converted, {category: in_yen(tax, rate) for category, tax in taxes.items()}


def yen_of_credit(
    original: Invoice, earlier: Sequence[Invoice], credit: Invoice, rate: Decimal
) -> tuple[Amounts, Amounts]:
    """The yen of all credit notes up to this one, less the yen of the earlier ones, so that rounding differences do not add up."""
    gross_before, taxes_before = _yen_taken(original, earlier, rate)
    gross_after, taxes_after = _yen_taken(original, (*earlier, credit), rate)
    categories = [total.category for total in credit.tax_totals]
    return (
        {category: gross_before[category] - gross_after[category] for category in categories},
        {category: taxes_before[category] - taxes_after[category] for category in categories},
    )


def yen_of_documents(original: Invoice, credits: Sequence[Invoice], rate: Decimal) -> Decimal:
    """The yen of an invoice less its credit notes."""
    taken, _ = _yen_taken(original, credits, rate)
    return in_yen(original.total, rate) - sum(taken.values(), Decimal(0))


def _yen_taken(original: Invoice, notes: Sequence[Invoice], rate: Decimal) -> tuple[Amounts, Amounts]:
    """The yen that credit notes take from their original, with its sign. A category that is credited in full loses all its yen."""
    taken = [_amounts(note) for note in notes]

    def taken_in_yen(whole: Amounts, whole_in_yen: Amounts, parts: Sequence[Amounts]) -> Amounts:
        sums = {
            category: -sum((part.get(category, Decimal(0)) for part in parts), Decimal(0))
            for category in whole
        }
        return {
            category: whole_in_yen[category] if amount == whole[category] else in_yen(amount, rate)
            for category, amount in sums.items()
        }

    (gross, taxes), (gross_in_yen, taxes_in_yen) = _amounts(original), yen_of_invoice(original, rate)
    return (
        taken_in_yen(gross, gross_in_yen, [each for each, _ in taken]),
        taken_in_yen(taxes, taxes_in_yen, [each for _, each in taken]),
    )


def _amounts(invoice: Invoice) -> tuple[Amounts, Amounts]:
    """The amounts with tax, and the tax, per category in the invoice's currency."""
    gross = {total.category: net_amount(invoice, total) + total.tax_amount for total in invoice.tax_totals}
    return gross, {total.category: total.tax_amount for total in invoice.tax_totals}
