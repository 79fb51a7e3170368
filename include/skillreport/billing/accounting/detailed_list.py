"""The batches' own CSV: all numbered documents of a month, one row per document and tax rate. Void ones have amounts of 0. The adjustments
of receivables, the payments and the refunds follow, under the numbers of their invoices.

Amounts in the document's currency are the document's. Amounts in yen are the journal's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from csv import DictReader
from datetime import date
from decimal import Decimal
from io import StringIO

from include.skillreport.billing.accounting.csv_form import CsvForm, code_cell, receipt_text, text_cell
from include.skillreport.billing.accounting.entries import BookEntry, Booking, postings, signed
from include.skillreport.billing.documents.invoice import InvoiceKind
from include.skillreport.billing.money import YEN, minor_unit
from include.skillreport.billing.pricing.consumption_tax import TaxCategory, TaxTotal
from include.skillreport.billing.receivables.adjustment import AdjustedTax
from include.skillreport.billing.receivables.booked_yen import net_amount

# 取引日 is the day in the books. 税抜金額 + 消費税額 = 税込金額, in the invoice's currency. 消費税額（円） and 税込金額（円） are in yen,
# for other currencies at the rate of 換算レート and 換算日. Dates are ISO 8601. 税率 is in
# percent, and empty for a category without a rate.
COLUMNS = (
    "請求書番号",
    "種別",
    "状態",
    "取引日",
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
    "税込金額（円）",
    "元請求書番号",
    "登録番号",
    "備考",
)

STATUS_LABELS = {"finalized": "確定", "void": "取消"}
KIND_LABELS = {InvoiceKind.INVOICE: "請求", InvoiceKind.CREDIT: "返還"}

# The row of a receipt, and of an invoice without lines, which is listed so that the numbers have no gap.
_NO_TAX = TaxTotal(
    category=TaxCategory.OUT_OF_SCOPE,
    rate_percent=Decimal(0),
    taxable_amount=Decimal(0),
    tax_amount=Decimal(0),
)


def detailed_list() -> CsvForm:
    """The form for Japanese Excel: UTF-8 with BOM, CRLF."""
    return CsvForm("accounting", COLUMNS, "utf-8-sig", "\r\n", _rows, _yen, lists_all=True)


def plain_amount(amount: Decimal, currency: str) -> str:
    """A number that a spreadsheet can add, without separators and with the currency's decimals."""
    return f"{amount:.{-int(minor_unit(currency).adjusted())}f}"


def _rows(entry: BookEntry, _position: int) -> Iterator[list[str]]:
    """The rows of an entry. An entry that is no document has its document in 元請求書番号.

    :raises KeyError: an unknown status.
    """
    invoice, rate = entry.invoice, entry.known_rate
    is_document, is_void = not entry.label, entry.booking is Booking.VOID
    of_invoice = {
        "請求書番号": code_cell(invoice.number),
        "種別": entry.label or KIND_LABELS[invoice.kind],
        "状態": STATUS_LABELS["void" if is_void else entry.status],
        "取引日": _iso(entry.booked_on),
        "発行日": _iso(invoice.issued_on),
        "支払期限": _iso(invoice.due_on) if is_document else "",
        "対象期間開始": _iso(invoice.period_start),
        "対象期間終了": _iso(invoice.period_end),
        "テナントコード": text_cell(invoice.tenant_code),
        "請求先": text_cell(invoice.recipient.name),
        "通貨": invoice.currency,
        "換算レート": f"{rate.yen_per_unit:f}" if rate else "",
        "換算日": _iso(rate.rate_date) if rate else "",
        "元請求書番号": code_cell(invoice.original_number if is_document else invoice.number),
        "登録番号": text_cell(invoice.issuer.registration_number),
        "備考": text_cell(f"{receipt_text(entry)} {entry.remark}"),
    }
    # A void document needs no rate.
    in_yen = {} if is_void else {each.category: each for each in postings(entry)}
    for total in _net_totals(entry):
        yen = in_yen.get(total.category)
        amounts = {
            "税抜金額": total.taxable_amount,
            "消費税額": total.tax_amount,
            "税込金額": total.taxable_amount + total.tax_amount,
        }
        row = {
            **of_invoice,
            "税区分": _tax_label(total),
            "税率": f"{total.rate_percent:f}" if total.rate_percent else "",
            **{
                column: plain_amount(signed(entry, amount), invoice.currency)
                for column, amount in amounts.items()
            },
            "消費税額（円）": plain_amount(yen.tax, YEN) if yen else "0",
            "税込金額（円）": plain_amount(yen.gross, YEN) if yen else "0",
        }
        yield [row[column] for column in COLUMNS]


def _net_totals(entry: BookEntry) -> list[TaxTotal]:
    """The entry's totals without tax. A document without lines has one of 0."""
    invoice = entry.invoice
    if entry.receipt:
        return [_NO_TAX.model_copy(update={"taxable_amount": entry.receipt.amount})]
    if entry.adjustment:
        return [_net_total(part) for part in entry.adjustment.parts]
    return [
        total.model_copy(update={"taxable_amount": net_amount(invoice, total)})
        for total in invoice.tax_totals or (_NO_TAX,)
    ]


def _net_total(part: AdjustedTax) -> TaxTotal:
    """A part of an adjustment with the sign of the receivable."""
    return TaxTotal(
        category=part.category,
        rate_percent=part.rate_percent,
        taxable_amount=part.tax - part.gross,
        tax_amount=-part.tax,
    )


def listed_kinds(content: bytes) -> list[tuple[str, int, int]]:
    """The kinds (種別) of a list in its order, each with the number of its entries and their yen."""
    numbers: dict[str, set[tuple[str, ...]]] = {}
    totals: Counter[str] = Counter()
    for row in DictReader(StringIO(content.decode("utf-8-sig"), newline="")):
        # An entry has a row for each tax rate.
        numbers.setdefault(row["種別"], set()).add((row["請求書番号"], row["取引日"], row["備考"]))
        totals[row["種別"]] += _yen(row)
    return [(kind, len(entries), totals[kind]) for kind, entries in numbers.items()]


def _yen(row: Mapping[str, str]) -> int:
    return int(row["税込金額（円）"])


def _tax_label(total: TaxTotal) -> str:
    """課税10% or 軽減8%; a category without a rate has its name only."""
    return f"{total.category.label}{total.rate_percent:f}%" if total.rate_percent else total.category.label


def _iso(day: date | None) -> str:
    return "" if day is None else day.isoformat()
