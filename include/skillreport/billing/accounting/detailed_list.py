"""The batches' own CSV: all numbered documents of a month, one row per document and tax rate, void ones with amounts of 0.

Nothing is rounded here, and only the net and gross amounts are calculated.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from include.skillreport.billing.accounting.csv_form import CsvForm, code_cell, text_cell
from include.skillreport.billing.accounting.entries import Booking, Entry, net_amount, signed
from include.skillreport.billing.documents.invoice import InvoiceKind
from include.skillreport.billing.money import YEN, minor_unit
from include.skillreport.billing.pricing.consumption_tax import TaxCategory, TaxTotal

# 税抜金額 + 消費税額 = 税込金額, in the invoice's currency. 消費税額（円） is the tax in yen, for another currency at the rate of
# 換算レート and 換算日. Dates are ISO 8601, 税率 is in percent.
COLUMNS = (
    "請求書番号",
    "種別",
    "状態",
    "発行日",
    "支払期限",
    "対象期間開始",
    "対象期間終了",
    "テナントコード",
    "請求先",
    "通貨",
    "税区分",
    "税率",
    "税抜金額",
    "消費税額",
    "税込金額",
    "換算レート",
    "換算日",
    "消費税額（円）",
    "元請求書番号",
    "登録番号",
)

STATUS_LABELS = {"finalized": "確定", "sent": "送付済", "void": "取消"}
KIND_LABELS = {InvoiceKind.INVOICE: "請求", InvoiceKind.CREDIT: "返還"}
_REVERSAL_LABEL = "取消"

# The row of an invoice without lines. It is listed too, so that the list of numbers has no gap.
_NO_TAX = TaxTotal(
    category=TaxCategory.OUT_OF_SCOPE,
    rate_percent=Decimal(0),
    taxable_amount=Decimal(0),
    tax_amount=Decimal(0),
)


def detailed_list() -> CsvForm:
    """The form for Japanese Excel: UTF-8 with BOM, CRLF."""
    return CsvForm("accounting", COLUMNS, "utf-8-sig", "\r\n", _rows, lists_all=True)


def plain_amount(amount: Decimal, currency: str) -> str:
    """A number that a spreadsheet can add: no separators, the currency's decimals."""
    return f"{amount:.{-int(minor_unit(currency).adjusted())}f}"


def _rows(entry: Entry, _position: int) -> Iterator[list[str]]:
    """The rows of an entry. A reversal names its own document as 元請求書番号, and its 発行日 is the day of the void.

    :raises KeyError: an unknown status.
    """
    invoice = entry.invoice
    is_reversal = entry.booking is Booking.REVERSAL
    yen_tax = invoice.yen_tax
    of_invoice = {
        "請求書番号": code_cell(invoice.number),
        "種別": _REVERSAL_LABEL if is_reversal else KIND_LABELS[invoice.kind],
        "状態": STATUS_LABELS[entry.status],
        "発行日": _iso(entry.booked_on),
        "支払期限": "" if is_reversal else _iso(invoice.due_on),
        "対象期間開始": _iso(invoice.period_start),
        "対象期間終了": _iso(invoice.period_end),
        "テナントコード": text_cell(invoice.tenant_code),
        "請求先": text_cell(invoice.recipient.name),
        "通貨": invoice.currency,
        "換算レート": f"{yen_tax.yen_per_unit:f}" if yen_tax else "",
        "換算日": _iso(yen_tax.rate_date) if yen_tax else "",
        "元請求書番号": code_cell(invoice.number if is_reversal else invoice.original_number),
        "登録番号": text_cell(invoice.issuer.registration_number),
    }
    yen_taxes = {
        total.category: total.tax_amount for total in (yen_tax.totals if yen_tax else invoice.tax_totals)
    }
    for total in invoice.tax_totals or (_NO_TAX,):
        net = net_amount(invoice, total)
        amounts = {
            "税抜金額": (net, invoice.currency),
            "消費税額": (total.tax_amount, invoice.currency),
            "税込金額": (net + total.tax_amount, invoice.currency),
            "消費税額（円）": (yen_taxes.get(total.category, Decimal(0)), YEN),
        }
        row = {
            **of_invoice,
            "税区分": _tax_label(total),
            "税率": f"{total.rate_percent:f}",
            **{
                column: plain_amount(signed(entry, amount), currency)
                for column, (amount, currency) in amounts.items()
            },
        }
        yield [row[column] for column in COLUMNS]


def _tax_label(total: TaxTotal) -> str:
    """課税10% or 軽減8%; a category without a rate has its name only."""
    return f"{total.category.label}{total.rate_percent:f}%" if total.rate_percent else total.category.label


def _iso(day: date | None) -> str:
    return "" if day is None else day.isoformat()
