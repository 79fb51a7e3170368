"""The yen of invoices, credit notes and payments in the books, at the rate of the invoice. Pure.

A foreign amount is converted once and rounded half up. What all entries of an invoice leave is 0 yen when nothing of it is open.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.money import in_yen
from include.skillreport.billing.pricing.consumption_tax import TaxCategory, TaxTotal

Amounts = dict[TaxCategory, Decimal]


def net_amount(invoice: Invoice, total: TaxTotal) -> Decimal:
    """A tax total without its tax, in the currency of the total."""
    return total.taxable_amount - total.tax_amount if invoice.tax_included else total.taxable_amount


def yen_of_invoice(invoice: Invoice, rate: Decimal) -> tuple[Amounts, Amounts]:
    """Per category the amounts with tax, and the tax, in yen. The largest category takes the rounding difference."""
    gross, taxes = _amounts(invoice)
    converted = {category: in_yen(amount, rate) for category, amount in gross.items()}
    if gross:
        largest = max(gross, key=lambda category: abs(gross[category]))
        converted[largest] += in_yen(invoice.total, rate) - sum(converted.values())
    return converted, {category: in_yen(tax, rate) for category, tax in taxes.items()}


def yen_of_credit(
    original: Invoice, earlier: Sequence[Invoice], credit: Invoice, rate: Decimal
) -> tuple[Amounts, Amounts]:
    """The yen of all credit notes up to this one, less the yen of those before it. This way rounding differences do not add up."""
    gross_before, taxes_before = _yen_taken(original, earlier, rate)
    gross_after, taxes_after = _yen_taken(original, (*earlier, credit), rate)
    categories = [total.category for total in credit.tax_totals]
    return (
        {category: gross_before[category] - gross_after[category] for category in categories},
        {category: taxes_before[category] - taxes_after[category] for category in categories},
    )


def yen_of_documents(original: Invoice, credits: Sequence[Invoice], rate: Decimal) -> Decimal:
    """The yen of an invoice and its credit notes together."""
    taken, _ = _yen_taken(original, credits, rate)
    return in_yen(original.total, rate) - sum(taken.values(), Decimal(0))


def _yen_taken(original: Invoice, notes: Sequence[Invoice], rate: Decimal) -> tuple[Amounts, Amounts]:
    """The yen that credit notes take from their original, with the original's sign. If all of a category is credited, all its yen are
    taken.
    """
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
    """Per category the amounts with tax, and the tax, in the invoice's currency."""
    gross = {total.category: net_amount(invoice, total) + total.tax_amount for total in invoice.tax_totals}
    return gross, {total.category: total.tax_amount for total in invoice.tax_totals}
