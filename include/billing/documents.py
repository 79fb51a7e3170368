"""One invoice as PDF and JSON, and a month's invoices as the accountant's CSV.

Nothing is rounded here, and nothing is calculated except the net and gross amounts of the CSV.
"""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

from include.billing.consumption_tax import TaxCategory, TaxTotal
from include.billing.errors import BillingError
from include.billing.invoice import Invoice, InvoiceKind, InvoiceLine, YenTax
from include.billing.money import EXACT, YEN, minor_unit
from include.typesetting import UnprintableError, compile_pdf

_TEMPLATE = Path(__file__).with_name("invoice.typ")

# The accountant's columns in order. 税抜金額 + 消費税額 = 税込金額, in the invoice's currency. 消費税額（円） is the tax in yen, for
# another currency at the rate of 換算レート and 換算日. Dates are ISO 8601, 税率 is in percent.
ACCOUNTING_COLUMNS = (
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

_VOID = "void"
_STATUS_LABELS = {"draft": "下書き", "finalized": "確定", "sent": "送付済", "paid": "入金済", _VOID: "取消"}
_KIND_LABELS = {InvoiceKind.INVOICE: "請求", InvoiceKind.CREDIT: "返還"}

# The row of an invoice without lines. It is listed too, so that the list of numbers has no gap.
_NO_TAX = TaxTotal(
    category=TaxCategory.EXEMPT, rate_percent=Decimal(0), taxable_amount=Decimal(0), tax_amount=Decimal(0)
)

# A spreadsheet program reads a cell that begins with one of these as a formula. Japanese programs accept the full-width signs too.
_FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")

# The mark on documents made with a sample price list or a sample issuer.
SAMPLE_MARK = "見本（請求書ではありません）"


def render_pdf(invoice: Invoice, *, sample: bool = False) -> bytes:
    """The invoice as an A4 PDF (PDF/A-2a). The same invoice gives the same bytes in any process. A draft is marked as a draft.

    A ``sample`` has 見本 across each page.

    Call it from one thread at a time. Never call it in a process that was forked after its parent made a PDF: typst's threads are
    missing there.

    :raises BillingError: a text contains a character that the Japanese fonts do not have.
    """
    printed = _printed(invoice) | {"sample_mark": SAMPLE_MARK if sample else None}
    data = json.dumps(printed, ensure_ascii=False)
    try:
        # The archive format. It makes a missing glyph an error, which typst otherwise prints as a box.
        return compile_pdf(
            _TEMPLATE, "invoice", data, dated=invoice.issued_on or invoice.period_end, standards="a-2a"
        )
    except UnprintableError as error:
        raise BillingError(
            "UNPRINTABLE_CHARACTER",
            f"請求書に印刷できない文字「{error.character}」があります。"
            "発行者、請求先または明細のその文字を、日本語フォントにある文字に直してください",
        ) from error


def require_printable(invoice: Invoice) -> None:
    """Check that the fonts have all characters of the invoice, before it gets a number.

    Only an invoice with a character outside JIS X 0213, a control character or a combining character is rendered for the check: the
    fonts have all other characters.
    :raises BillingError: as ``render_pdf``.
    """
    if any(_is_doubtful(character) for character in set(_texts(invoice.model_dump()))):
        render_pdf(invoice)


def _texts(value: Any) -> Iterator[str]:
    """The characters of all texts in a value."""
    if isinstance(value, str):
        yield from value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


def _is_doubtful(character: str) -> bool:
    if unicodedata.category(character) == "Cc" or unicodedata.combining(character):
        return character not in "\n\t"
    try:
        character.encode("euc_jis_2004")
    except UnicodeEncodeError:
        return True
    return False


def render_json(invoice: Invoice, *, sample: bool = False) -> bytes:
    """The invoice as UTF-8 JSON, amounts as strings, keys in a fixed order. ``Invoice.model_validate_json`` reads it.

    A ``sample`` begins with the key ``sample`` and is not a valid ``Invoice``.
    """
    if sample:
        marked = {"sample": SAMPLE_MARK} | invoice.model_dump(mode="json")
        return f"{json.dumps(marked, ensure_ascii=False, indent=2)}\n".encode()
    return f"{invoice.model_dump_json(indent=2)}\n".encode()


def write_accounting_csv(stream: IO[bytes], entries: Iterable[tuple[str, Invoice]]) -> int:
    """Write ``ACCOUNTING_COLUMNS`` and one row per invoice and tax rate, in the form for Japanese Excel: UTF-8 with BOM, CRLF.

    An entry is a status (draft, finalized, sent, paid or void) and an invoice. A void invoice has amounts of 0. The entries are read
    one by one, and the stream stays open. Returns the number of rows without the header.

    :raises KeyError: an unknown status.
    """
    text = TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    try:
        writer = csv.DictWriter(text, ACCOUNTING_COLUMNS)
        writer.writeheader()
        count = 0
        for status, invoice in entries:
            for row in _accounting_rows(status, invoice):
                writer.writerow(row)
                count += 1
    finally:
        text.detach()
    return count


def _printed(invoice: Invoice) -> dict[str, Any]:
    """The data of the template. Numbers and dates are finished texts."""
    return {
        "credit": invoice.kind is InvoiceKind.CREDIT,
        "number": invoice.number,
        "original_number": invoice.original_number,
        "issued_on": invoice.issued_on and _day(invoice.issued_on),
        "due_on": invoice.due_on and _day(invoice.due_on),
        "period": _span(
            _day(invoice.period_start), _day(invoice.period_end), f"{invoice.period_start.year}年"
        ),
        "issuer": invoice.issuer.model_dump(),
        "recipient": invoice.recipient.model_dump(),
        "currency": _currency_name(invoice.currency),
        "tax_included": invoice.tax_included,
        "lines": [_printed_line(line, invoice.currency) for line in invoice.lines],
        "remarks": invoice.remarks,
        "tax_totals": _printed_tax(invoice.tax_totals, invoice.currency),
        "yen_tax": invoice.yen_tax and _printed_yen_tax(invoice.yen_tax, invoice.currency),
        "subtotal": _money(invoice.subtotal, invoice.currency),
        "tax": _money(invoice.tax, invoice.currency),
        "total": _money(invoice.total, invoice.currency),
    }


def _printed_line(line: InvoiceLine, currency: str) -> dict[str, Any]:
    return {
        "position": str(line.position),
        "description": line.description,
        "explanation": "、".join(line.explanation),
        "reduced": line.tax_category is TaxCategory.REDUCED,
        "service": _span(
            f"{line.service_from:%Y/%m/%d}", f"{line.service_to:%Y/%m/%d}", f"{line.service_from:%Y/}"
        ),
        "quantity": "" if line.quantity is None else _number(line.quantity),
        "unit": line.unit or "",
        "unit_amount": "" if line.unit_amount is None else _number(line.unit_amount, _decimals(currency)),
        "amount": _number(line.amount, _decimals(currency)),
    }


def _printed_tax(totals: Iterable[TaxTotal], currency: str) -> list[dict[str, str]]:
    return [
        {
            "category": total.category,
            "rate": f"{_number(total.rate_percent)}%",
            "taxable_amount": _money(total.taxable_amount, currency),
            "tax_amount": _money(total.tax_amount, currency),
        }
        for total in totals
    ]


def _printed_yen_tax(yen_tax: YenTax, currency: str) -> dict[str, Any]:
    return {
        "rate": f"1 {currency} = {_number(yen_tax.yen_per_unit)} {_currency_name(YEN)}",
        "rate_date": _day(yen_tax.rate_date),
        "totals": _printed_tax(yen_tax.totals, YEN),
    }


def _number(value: Decimal, decimals: int = 0) -> str:
    """The number with thousands separators, ▲ for minus, and at least this many decimals. No digit is dropped."""
    exponent = value.normalize(EXACT).as_tuple().exponent
    assert isinstance(exponent, int)
    return f"{'▲' if value < 0 else ''}{value.copy_abs():,.{max(decimals, -exponent)}f}"


def _money(amount: Decimal, currency: str) -> str:
    return f"{_number(amount, _decimals(currency))} {_currency_name(currency)}"


def _decimals(currency: str) -> int:
    return -int(minor_unit(currency).adjusted())


def _currency_name(currency: str) -> str:
    return "円" if currency == YEN else currency


def _day(day: date) -> str:
    return f"{day.year}年{day.month}月{day.day}日"


def _span(first: str, last: str, year: str) -> str:
    """First and last day, with the year once: 2026/10/01〜10/31."""
    return f"{first}〜{last.removeprefix(year)}"


def _accounting_rows(status: str, invoice: Invoice) -> Iterator[dict[str, str]]:
    of_invoice = {
        "請求書番号": _text(invoice.number),
        "種別": _KIND_LABELS[invoice.kind],
        "状態": _STATUS_LABELS[status],
        "発行日": _iso(invoice.issued_on),
        "支払期限": _iso(invoice.due_on),
        "対象期間開始": _iso(invoice.period_start),
        "対象期間終了": _iso(invoice.period_end),
        "テナントコード": _text(invoice.tenant_code),
        "請求先": _text(invoice.recipient.name),
        "通貨": invoice.currency,
        "換算レート": f"{invoice.yen_tax.yen_per_unit:f}" if invoice.yen_tax else "",
        "換算日": _iso(invoice.yen_tax.rate_date) if invoice.yen_tax else "",
        "元請求書番号": _text(invoice.original_number),
        "登録番号": _text(invoice.issuer.registration_number),
    }
    yen_totals = invoice.yen_tax.totals if invoice.yen_tax else invoice.tax_totals
    yen_taxes = {total.category: total.tax_amount for total in yen_totals}
    for total in invoice.tax_totals or (_NO_TAX,):
        net = total.taxable_amount - total.tax_amount if invoice.tax_included else total.taxable_amount
        amounts = {
            "税抜金額": (net, invoice.currency),
            "消費税額": (total.tax_amount, invoice.currency),
            "税込金額": (net + total.tax_amount, invoice.currency),
            "消費税額（円）": (yen_taxes.get(total.category, Decimal(0)), YEN),
        }
        yield {
            **of_invoice,
            "税区分": _tax_label(total),
            "税率": f"{total.rate_percent:f}",
            **{
                column: _plain(Decimal(0) if status == _VOID else amount, currency)
                for column, (amount, currency) in amounts.items()
            },
        }


def _tax_label(total: TaxTotal) -> str:
    if total.category is TaxCategory.EXEMPT:
        return "対象外"
    kind = "軽減" if total.category is TaxCategory.REDUCED else "課税"
    return f"{kind}{total.rate_percent:f}%"


def _plain(amount: Decimal, currency: str) -> str:
    """A number that a spreadsheet can add: no separators, the currency's decimals."""
    return f"{amount:.{_decimals(currency)}f}"


def _iso(day: date | None) -> str:
    return "" if day is None else day.isoformat()


def _text(value: str | None) -> str:
    """The text as a cell. An apostrophe precedes what would start a formula."""
    text = value or ""
    return f"'{text}" if text.lstrip(" 　").startswith(_FORMULA_STARTS) else text
