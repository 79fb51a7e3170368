"""Revisions of issued invoices: a corrected document (訂正) with the same number and amounts. Nothing is booked again."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.billing.documents.corrected_invoice import CorrectedTexts, corrected_invoice
from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.documents.issuable import require_issuable
from include.skillreport.billing.documents.written_language import require_readable
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.contacts import load_contacts
from include.skillreport.billing.ledger.correction import require_reason
from include.skillreport.billing.ledger.finalization import write_host_rows
from include.skillreport.billing.ledger.letters import queue_letters, withdraw, withdraw_letters
from include.skillreport.billing.ledger.overdue_letters import withdraw_reminders
from include.skillreport.billing.ledger.stored_invoice import StoredInvoice, letter_id, lock_invoice
from include.skillreport.billing.receivables.due_dates import leaving_day
from include.skillreport.billing.state import Act, invoice_label, is_due_too_near, require
from include.skillreport.billing.terms import Terms
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])


def correct_invoice(
    connection: psycopg.Connection,
    terms: Terms,
    stored: StoredInvoice,
    texts: CorrectedTexts,
    what: str,
    *,
    corrected_on: date,
    entered_by: str,
    execution_id: str,
) -> Invoice:
    """Create the next revision of a paid or unpaid invoice. Returns the corrected document.

    It waits until another user sends its e-mail (``letters.send_letter``). An earlier revision's unsent e-mail is withdrawn. So are
    waiting reminders, if the due date changes.
    :raises BillingError: the invoice has no number, is a credit note, credited in full or void; nothing changes; a text cannot be
        printed or is not in the invoice's language; the due date is before the e-mail is sent, or too near for the first e-mail about
        the invoice; or the terms are a sample.
    """
    terms.require_no_sample()
    require_reason(what)
    stored = lock_invoice(connection, stored)
    require(Act.CORRECT, stored.state)
    _require_readable(stored.invoice, texts, what)
    document = corrected_invoice(stored.invoice, texts, what, corrected_on)
    require_issuable(document, corporate_issuer=terms.settings.issuer.corporate)
    contacts = load_contacts(connection)
    leaves_on = leaving_day(terms.settings, corrected_on)
    # The caller commits even if the correction is rejected.
    with connection.transaction():
        is_first_letter = stored.invoice_id in withdraw_letters(connection, [stored.invoice_id])
        _require_time_to_pay(terms, stored, document, texts, leaves_on, is_first_letter=is_first_letter)
    _SQL.execute(
        connection,
        "insert_revision",
        invoice_id=stored.invoice_id,
        revision=document.revision,
        tenant_id=stored.tenant_id,
        content=Jsonb(document.model_dump(mode="json")),
        due_on=document.due_on,
        earlier_due_on=stored.invoice.due_on,
        corrected_on=corrected_on,
        reason=what,
        entered_by=entered_by,
        execution_id=execution_id,
        leaves_on=None if contacts[stored.tenant_id].problem else leaves_on,
    )
    if document.due_on != stored.invoice.due_on:
        _SQL.execute(connection, "move_due_date", invoice_id=stored.invoice_id, due_on=document.due_on)
        withdraw_reminders(connection, [stored.invoice_id])
    documents = {stored.invoice_id: document}
    queue_letters(connection, terms, documents, contacts, leaves_on, open_amount=stored.state.open_amount)
    # Another user sends it (letters.send_letter).
    withdraw(connection, [letter_id(stored.invoice_id, document.revision)])
    write_host_rows(connection, [stored.invoice_id])
    return document


def _require_readable(invoice: Invoice, texts: CorrectedTexts, what: str) -> None:
    fields = {
        "「訂正の内容」（correction）": what,
        "「明細の内容」（line_texts）": "".join(texts.lines.values()),
        "「備考」（note）": texts.note,
    }
    require_readable(invoice.language, fields, invoice_label(invoice.number))


def _require_time_to_pay(
    terms: Terms,
    stored: StoredInvoice,
    document: Invoice,
    texts: CorrectedTexts,
    leaves_on: date,
    *,
    is_first_letter: bool,
) -> None:
    """Check that no e-mail is sent after an entered due date, and that a late first e-mail about an unpaid invoice has an entered one."""
    due_on = document.due_on
    assert due_on is not None, "a final invoice is due"
    name, days = invoice_label(document.number), (due_on - leaves_on).days
    if texts.due_on and days < 0:
        raise BillingError(
            "DUE_BEFORE_LETTER",
            f"{name}の新しい支払期限 {due_on} が、訂正の通知を送る {leaves_on} より前です。{leaves_on} 以降にしてください",
        )
    planned, least = (due_on - (stored.leaves_on or leaves_on)).days, terms.settings.due_least_days
    if is_first_letter and not texts.due_on and is_due_too_near(stored.state, days, planned, least):
        raise BillingError(
            "DUE_TOO_NEAR",
            f"{name}はまだ送っていません。訂正の通知を送る {leaves_on} から支払期限 {due_on} まで {days} 日です。"
            "「支払期限」（due_on）に新しい期限か、そのままにする期限を書いてください",
        )
