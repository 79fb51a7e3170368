"""The corrected document of an invoice (修正した適格請求書): other texts or another due date, but the same number and amounts. Pure.

Source: 消費税法第57条の4第4項. A corrected document repeats all items, and says what it corrects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from include.skillreport.billing.documents.invoice import Correction, Invoice
from include.skillreport.billing.errors import BillingError

# The value that removes an optional text.
REMOVED = "-"


@dataclass(frozen=True)
class CorrectedTexts:
    """The replacement texts, and the new due date (Asia/Tokyo). Empty values change nothing. ``REMOVED`` removes an optional text.

    ``lines`` are the new descriptions by line position. ``note`` is for the recipient.
    """

    name: str = ""
    department: str = ""
    postal_code: str = ""
    address: str = ""
    lines: Mapping[int, str] = field(default_factory=dict)
    note: str = ""
    due_on: date | None = None


def corrected_invoice(original: Invoice, texts: CorrectedTexts, what: str, corrected_on: date) -> Invoice:
    """The next revision of the final invoice. ``what`` says what was corrected; it is printed.

    :raises BillingError: a position does not exist, or nothing changes.
    """
    unknown = texts.lines.keys() - {line.position for line in original.lines}
    if unknown:
        raise BillingError(
            "NO_SUCH_LINE",
            f"請求書 {original.number} に {min(unknown)} 行目はありません（{len(original.lines)} 行）。行番号を直してください",
        )
    recipient = original.recipient
    changed = original.model_copy(
        update={
            "recipient": recipient.model_copy(
                update={
                    "name": texts.name or recipient.name,
                    "department": _replaced(recipient.department, texts.department),
                    "postal_code": _replaced(recipient.postal_code, texts.postal_code),
                    "address": _replaced(recipient.address, texts.address),
                }
            ),
            "lines": tuple(
                line.model_copy(update={"description": texts.lines.get(line.position, line.description)})
                for line in original.lines
            ),
            "note": _replaced(original.note, texts.note),
            "due_on": texts.due_on or original.due_on,
        }
    )
    if changed == original:
        raise BillingError(
            "NOTHING_CHANGES",
            f"請求書 {original.number} は、指定した内容のとおりです。訂正する欄だけに、新しい内容を書いてください",
        )
    assert _amounts(changed) == _amounts(original), "a correction changes no amount"
    correction = Correction(revision=original.revision + 1, corrected_on=corrected_on, text=what)
    return changed.model_copy(update={"correction": correction})


def changed_texts(original: Invoice, corrected: Invoice) -> list[tuple[str, int | None, object, object]]:
    """The differences of a corrected document: a Japanese title with the line's position, and the values before and after."""

    def values(document: Invoice) -> dict[tuple[str, int | None], object]:
        recipient = document.recipient
        return {
            ("宛名", None): recipient.name,
            ("宛先の部署", None): recipient.department,
            ("宛先の郵便番号", None): recipient.postal_code,
            ("宛先の住所", None): recipient.address,
            **{("明細の内容", line.position): line.description for line in document.lines},
            ("備考", None): document.note,
            ("支払期限", None): document.due_on,
        }

    after = values(corrected)
    return [(*key, each, after[key]) for key, each in values(original).items() if each != after[key]]


def _replaced(present: str | None, entered: str) -> str | None:
    if not entered:
        return present
    return None if entered == REMOVED else entered


def _amounts(invoice: Invoice) -> tuple[object, ...]:
    """Everything that a correction must not change."""
    return (
        invoice.number,
        invoice.issued_on,
        invoice.period_start,
        invoice.period_end,
        invoice.currency,
        [line.model_copy(update={"description": ""}) for line in invoice.lines],
        invoice.tax_totals,
        invoice.yen_tax,
        invoice.subtotal,
        invoice.tax,
        invoice.total,
    )
