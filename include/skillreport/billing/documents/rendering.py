"""One invoice as PDF and JSON. This module rounds and calculates nothing."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from include.skillreport.billing.documents.invoice import Invoice, InvoiceKind, InvoiceLine, Recipient, YenTax
from include.skillreport.billing.documents.notation import NOTATIONS, Notation, character_forms
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.money import YEN
from include.skillreport.billing.pricing.consumption_tax import TaxCategory, TaxTotal
from include.skillreport.core.typesetting import UnprintableError, compile_pdf

_TEMPLATE = Path(__file__).with_name("invoice.typ")

_JAPAN = "JP"

# The mark on documents made with a sample price list or a sample issuer.
SAMPLE_MARKS = {"ja": "見本（請求書ではありません）", "en": "Sample (not an invoice)"}

# Characters of JIS X 0213 that are in no font.
_NOT_IN_FONTS = frozenset("≒⦅⦆")

# Words of scripts that are in the fonts but not in JIS X 0213: a letter, or a letter with marks that its font can place. Other marks are
# doubtful. A test renders all of them.
_PRINTABLE = re.compile(
    "[\u00a0-\u00ac\u00ae-\u024f\u1e00-\u1eff]"  # Latin
    "|[\u0370-\u0377\u037a-\u037f\u0384-\u038a\u038c\u038e-\u03a1\u03a3-\u03e1\u03f0-\u03ff\u0400-\u0482\u048a-\u052f]"
    "|[\u0e01-\u0e30\u0e32\u0e33\u0e3f-\u0e46\u0e4f-\u0e5b][\u0e31\u0e34-\u0e3a\u0e47-\u0e4e]*"  # Thai
    "|[\u060c\u061b\u061f-\u064a\u0660-\u066f\u0671-\u06d5\u06ee-\u06ff][\u064b-\u065f\u0670]*"  # Arabic
    "|[\uac00-\ud7a3\u3131-\u318e]"  # Hangul
    "|[\u4e00-\u9fef\u3400-\u4db5\u3105-\u312f]"  # Chinese
)

# The escapes of control characters other than \n and \t in JSON. A backslash in a text is written twice.
_CONTROL_IN_JSON = re.compile(r"(?<!\\)(?:\\\\)*\\[bfru]")


def render_pdf(invoice: Invoice, *, sample: bool = False, images: Mapping[str, bytes] | None = None) -> bytes:
    """The invoice as an A4 PDF (PDF/A-2a). The same invoice gives the same bytes in any process. A draft is marked as a draft.

    A ``sample`` has 見本 across each page. ``images`` are the issuer's images by name (``issuer_images.read_images``).

    Call it from one thread at a time. Never call it in a process that was forked after its parent created a PDF, because typst's threads
    are missing there.

    :raises BillingError: a text contains a character that is in no font.
    """
    printed = _printed(invoice) | {"sample_mark": SAMPLE_MARKS[invoice.language] if sample else None}
    data = json.dumps(printed, ensure_ascii=False)
    try:
        # The archive format makes a missing glyph an error. Otherwise, typst prints a box.
        return compile_pdf(
            _TEMPLATE,
            "invoice",
            data,
            dated=invoice.issued_on or invoice.period_end,
            standards="a-2a",
            images=images,
        )
    except UnprintableError as error:
        raise BillingError(
            "UNPRINTABLE_CHARACTER",
            f"請求書に印刷できない文字「{error.character}」があります。"
            "発行者、請求先または明細のその文字を、印刷できる文字に直してください",
        ) from error


def require_printable(invoice: Invoice) -> None:
    """Check that the fonts have all characters of the invoice, before it gets a number.

    Only an invoice with a doubtful character is rendered for the check: a character outside JIS X 0213 and the scripts of legal names
    (``_PRINTABLE``), a control character, or a combining character without its letter.
    :raises BillingError: as ``render_pdf``.
    """
    document = invoice.model_dump_json()
    # Few documents have a backslash, and looking for it is fast.
    if ("\\" in document and _CONTROL_IN_JSON.search(document)) or _has_doubtful(document):
        render_pdf(invoice.with_images({"logo": None, "seal": None}))


def _has_doubtful(text: str) -> bool:
    return any(map(_is_doubtful, set(text))) and any(map(_is_doubtful, set(_PRINTABLE.sub("", text))))


# The invoices of a month repeat a few thousand characters.
@cache
def _is_doubtful(character: str) -> bool:
    if character in _NOT_IN_FONTS:
        return True
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
        marked = {"sample": SAMPLE_MARKS[invoice.language]} | invoice.model_dump(mode="json")
        return f"{json.dumps(marked, ensure_ascii=False, indent=2)}\n".encode()
    return f"{invoice.model_dump_json(indent=2)}\n".encode()


def _printed(invoice: Invoice) -> dict[str, Any]:
    """The data of the template. Numbers and dates are formatted in the invoice's language."""
    notation = NOTATIONS[invoice.language]

    def money(amount: Decimal) -> str:
        return notation.money(amount, invoice.currency)

    return {
        "language": invoice.language,
        "credit": invoice.kind is InvoiceKind.CREDIT,
        "taxable": invoice.is_taxable,
        "number": invoice.number,
        "order_number": invoice.order_number,
        "original": _reference(invoice.original_number, invoice.original_issued_on, notation),
        # Only a partial credit note leaves an amount to pay.
        "remaining": money(invoice.remaining_total) if invoice.remaining_total else None,
        "replaces": invoice.replaces
        and _reference(invoice.replaces.number, invoice.replaces.issued_on, notation),
        "reason": invoice.reason,
        "note": invoice.note,
        "correction": invoice.correction
        and {
            "revision": str(invoice.correction.revision),
            "corrected_on": notation.day(invoice.correction.corrected_on),
            "text": invoice.correction.text,
        },
        "issued_on": invoice.issued_on and notation.day(invoice.issued_on),
        "due_on": invoice.due_on and notation.day(invoice.due_on),
        "period": notation.span(invoice.period_start, invoice.period_end),
        "issuer": {"logo": None, "seal": None} | invoice.issuer.model_dump(),
        "recipient": _printed_recipient(invoice.recipient, notation),
        "currency": notation.currency(invoice.currency),
        "tax_included": invoice.tax_included,
        "lines": [_printed_line(line, invoice.currency, notation) for line in invoice.lines],
        "remarks": invoice.remarks,
        "tax_totals": _printed_tax(invoice.tax_totals, invoice.currency, notation),
        "yen_tax": invoice.yen_tax and _printed_yen_tax(invoice.yen_tax, invoice.currency, notation),
        "subtotal": money(invoice.subtotal),
        "tax": money(invoice.tax),
        "total": money(invoice.total),
    }


def _reference(number: str | None, issued_on: date | None, notation: Notation) -> dict[str, str] | None:
    if number is None or issued_on is None:
        return None
    return {"number": number, "issued_on": notation.day(issued_on)}


def _printed_recipient(recipient: Recipient, notation: Notation) -> dict[str, Any]:
    """The recipient's data. An address in Japan includes its country only in another language."""
    country = recipient.country
    shown = notation.country(country or _JAPAN)
    return recipient.model_dump() | {
        "country": shown if country not in (None, _JAPAN) or notation.language != "ja" else None,
        "forms": character_forms(country),
    }


def _printed_line(line: InvoiceLine, currency: str, notation: Notation) -> dict[str, Any]:
    return {
        "position": str(line.position),
        "description": line.description,
        "explanation": notation.separator.join(line.explanation),
        "reduced": line.tax_category is TaxCategory.REDUCED,
        "service": notation.short_span(line.service_from, line.service_to),
        "quantity": "" if line.quantity is None else notation.number(line.quantity),
        "unit": line.unit or "",
        "unit_amount": "" if line.unit_amount is None else notation.amount(line.unit_amount, currency),
        "amount": notation.amount(line.amount, currency),
    }


def _printed_tax(totals: Iterable[TaxTotal], currency: str, notation: Notation) -> list[dict[str, str]]:
    return [
        {
            "category": total.category,
            "rate": f"{notation.number(total.rate_percent)}%",
            "taxable_amount": notation.money(total.taxable_amount, currency),
            "tax_amount": notation.money(total.tax_amount, currency),
        }
        for total in totals
    ]


def _printed_yen_tax(yen_tax: YenTax, currency: str, notation: Notation) -> dict[str, Any]:
    return {
        "rate": f"1 {currency} = {notation.number(yen_tax.yen_per_unit)} {notation.yen}",
        "rate_date": notation.day(yen_tax.rate_date),
        "totals": _printed_tax(yen_tax.totals, YEN, notation),
    }
