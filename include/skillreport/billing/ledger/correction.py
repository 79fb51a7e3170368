"""Corrections of invoices: voids and credit notes (適格返還請求書). Both close the month until a user bills it again explicitly."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.billing.documents.credit_note import CreditedPart, credit_note
from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.documents.rendering import require_printable
from include.skillreport.billing.documents.written_language import require_readable_reason
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.application_payments import record_application_payment
from include.skillreport.billing.ledger.booking import keep_open
from include.skillreport.billing.ledger.contacts import BillingContact, load_contacts
from include.skillreport.billing.ledger.entries import (
    EntryAuthor,
    excess,
    require_new_credit,
    withdraw_entries,
)
from include.skillreport.billing.ledger.finalization import FinalDocument, finalize, write_host_rows
from include.skillreport.billing.ledger.letters import (
    queue_letters,
    queue_void_letters,
    withdraw_letters,
)
from include.skillreport.billing.ledger.overdue_letters import withdraw_reminders
from include.skillreport.billing.ledger.shown_payments import show_payments
from include.skillreport.billing.ledger.stored_invoice import (
    StoredInvoice,
    find_by_id,
    find_by_number,
    load_credits,
    lock_invoice,
)
from include.skillreport.billing.payment_words import names_payment
from include.skillreport.billing.periods import Period
from include.skillreport.billing.receivables.due_dates import leaving_day
from include.skillreport.billing.state import (
    Act,
    already_taken_back,
    invoice_label,
    refusal,
    refusal_of_credit,
    require,
)
from include.skillreport.billing.terms import Terms
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])


def void_invoice(
    connection: psycopg.Connection, terms: Terms, stored: StoredInvoice, reason: str, *, actor: str
) -> None:
    """Void an unpaid invoice or a draft. An invoice keeps its number, and its month is closed.

    :raises BillingError: its state rejects it (``state.refusal``), or there is no reason. For a final invoice also: the terms are a
        sample, or the customer cannot read the reason.
    """
    keep_open(connection)
    is_issued = stored.state.status != "draft"
    if is_issued:
        terms.require_no_sample()
    require_reason(reason)
    if is_issued:
        _require_reason_of_void(stored.invoice, reason)
    stored = lock_invoice(connection, stored)
    require(Act.VOID, stored.state)
    if stored.invoice_id not in void_invoices(connection, [stored.invoice_id], reason, actor):
        raise not_voided_error(connection, stored.invoice.number)
    announce_voids(connection, [stored.invoice_id], load_contacts(connection), reason)
    write_host_rows(connection, [stored.invoice_id])


def credit_invoice(
    connection: psycopg.Connection,
    terms: Terms,
    stored: StoredInvoice,
    reason: str,
    entry: EntryAuthor,
    *,
    parts: Sequence[CreditedPart] | None = None,
) -> Invoice:
    """Issue a credit note for parts of a paid or unpaid invoice, or for everything that earlier credit notes have left.

    Its date is the day of the entry. If nothing is left, the month is closed.
    :raises BillingError: its state rejects it (``state.refusal``), a part is impossible, another run has entered the same parts, the
        reason is missing or unreadable for the customer, or the terms are a sample.
    """
    terms.require_no_sample()
    require_reason(reason)
    require_customers_reason(stored.invoice, reason)
    stored = lock_invoice(connection, stored)
    original = stored.invoice
    credit = calculated_credit(stored, load_credits(connection, stored), parts, reason)
    require_printable(credit)
    if parts is not None:
        require_new_credit(connection, stored.tenant_id, credit, reason, entry)
    credit_id = _store_credit(connection, stored, credit, reason, entry)
    month = Period.month_of(original.period_start)
    hold_reason = excess(connection, terms, stored.tenant_id, month, entry.person, reason)
    if hold_reason:
        _SQL.execute(connection, "hold_credit", invoice_id=credit_id, hold_reason=hold_reason)
        return credit
    return issue_credit(connection, terms, stored, credit_id, credit, entry.day, str(entry.execution_id))


def calculated_credit(
    stored: StoredInvoice, earlier: Sequence[Invoice], parts: Sequence[CreditedPart] | None, reason: str
) -> Invoice:
    """The draft credit note, after the ``earlier`` final ones. Pure. :raises BillingError: the state or a part rejects it."""
    require(Act.CREDIT if parts is None else Act.PART_CREDIT, stored.state)
    credit = credit_note(stored.invoice, earlier, parts, reason=reason, rounding=stored.inputs.rounding)
    require_fitting(stored, credit)
    return credit


def issue_credit(
    connection: psycopg.Connection,
    terms: Terms,
    stored: StoredInvoice,
    credit_id: str,
    credit: Invoice,
    issued_on: date,
    actor: str,
    *,
    approved_by: str | None = None,
) -> Invoice:
    """Finalise a stored credit note of a locked invoice, lower the open amount, and queue the e-mail. Returns it with its number.

    The caller has checked it (``require_fitting``). If nothing is left of the invoice, closes its month and drops its waiting credit
    notes.
    """
    credited_total = credited_with(stored, credit)
    is_credited = credited_total == stored.state.total
    if terms.settings.payment_source == "host":
        record_application_payment(connection, stored.invoice_id, today=issued_on, execution_id=actor)
    contacts = load_contacts(connection)
    leaves_on = leaving_day(terms.settings, issued_on)
    document = FinalDocument(
        stored.tenant_id,
        issued_on,
        None if contacts[stored.tenant_id].problem else leaves_on,
        approved_by=approved_by,
    )
    number = finalize(connection, terms, {credit_id: document})[credit_id]
    _SQL.execute(
        connection,
        "mark_credited",
        invoice_id=stored.invoice_id,
        credited_total=credited_total,
        is_credited=is_credited,
    )
    credit = credit.finalized(number, issued_on, None)
    show_payments(connection, stored.invoice_id)
    withdrawn: set[str] = set()
    if is_credited:
        withdrawn = withdraw_letters(connection, [stored.invoice_id])
        withdraw_entries(connection, "credit", [stored.invoice_id], f"{number} で全額を返還したため", actor)
        withdraw_entries(
            connection, "write_off", [stored.invoice_id], f"{number} で全額を返還したため", actor
        )
    queue_letters(
        connection,
        terms,
        {credit_id: credit},
        contacts,
        leaves_on,
        is_original_unsent=bool(withdrawn),
        original_due_on=stored.invoice.due_on,
    )
    write_host_rows(connection, [credit_id])
    return credit


def _store_credit(
    connection: psycopg.Connection, stored: StoredInvoice, credit: Invoice, reason: str, entry: EntryAuthor
) -> str:
    row = _SQL.row(
        connection,
        "insert_credit",
        invoice_id=stored.invoice_id,
        total=credit.total,
        content=Jsonb(credit.model_dump(mode="json")),
        reason=reason,
        execution_id=entry.execution_id,
        entered_by=entry.person,
    )
    return str(row[0])


def void_invoices(
    connection: psycopg.Connection, invoice_ids: Sequence[str], reason: str, actor: str
) -> set[str]:
    """Void invoices. Returns the voided ids. Skips invoices that are paid, credited even in part, or void."""
    if not invoice_ids:
        return set()
    # A separate statement, so that the next one sees the changes of earlier transactions.
    _SQL.execute(connection, "lock_by_id", invoice_ids=list(invoice_ids))
    rows = _SQL.execute(
        connection, "void_invoices", invoice_ids=list(invoice_ids), reason=reason, voided_by=actor
    )
    voided = {invoice_id for (invoice_id,) in rows}
    withdraw_reminders(connection, voided)
    if voided:
        withdraw_entries(connection, "credit", voided, "請求書を取り消したため", actor)
        withdraw_entries(connection, "write_off", voided, "請求書を取り消したため", actor)
    return voided


def announce_voids(
    connection: psycopg.Connection,
    invoice_ids: Collection[str],
    contacts: Mapping[str, BillingContact],
    reason: str,
) -> None:
    """Withdraw waiting e-mails about voided invoices. Queue an e-mail about each void whose invoice the customer may have received.

    A withdrawn e-mail was to say that its invoice replaced another one. The customer then gets the e-mail about the void of that one.
    """
    unsent = withdraw_letters(connection, invoice_ids)
    replaced = _SQL.column(connection, "void_replaced", invoice_ids=list(unsent))
    known = {*invoice_ids, *replaced} - unsent
    documents = {invoice_id: find_by_id(connection, invoice_id).invoice for invoice_id in known}
    numbered = {invoice_id: invoice for invoice_id, invoice in documents.items() if invoice.number}
    queue_void_letters(connection, numbered, contacts, reason)


def stays_closed_error(number: str | None) -> BillingError:
    """The error that a month whose invoice was voided or credited in full is not billed."""
    return BillingError(
        "MONTH_CLOSED",
        f"{invoice_label(number)}を取消か全額返還したため、この月は請求していません。"
        "請求し直すときは、DAG operate_invoices の「請求のやり直し（新番号）」を実行してください",
    )


def not_closed_error(number: str | None) -> BillingError:
    """The error that only a closed month is billed again. ``number`` is its live invoice's."""
    return BillingError(
        "MONTH_NOT_CLOSED",
        f"{invoice_label(number)}が有効なため、請求をやり直しません。直すには DAG operate_invoices の「取消して再発行」を使ってください",
    )


def never_closed_error() -> BillingError:
    """The error that only a month whose invoice was taken back is billed again."""
    return BillingError(
        "MONTH_NOT_CLOSED",
        "この月に、取消か全額返還をした請求書はありません。対象月とテナントを確認してください",
    )


def not_billable_any_more_error(number: str | None) -> BillingError:
    """The error that an issued invoice has no contract any more. A user decides how to correct it."""
    return BillingError(
        "NOT_BILLABLE_ANY_MORE",
        f"請求対象の契約がありませんが、{invoice_label(number)}が確定済みです。"
        "DAG operate_invoices の「請求書の取消」か「全額の返還」で訂正してください",
    )


def not_voided_error(connection: psycopg.Connection, number: str | None) -> BillingError:
    """Why a live invoice was not voided: it was paid, voided or credited after it was read."""
    stored = find_by_number(connection, number) if number else None
    is_live = stored is not None and stored.state.is_live
    return (stored and is_live and refusal(Act.VOID, stored.state)) or already_taken_back(number)


def require_reason(reason: str) -> None:
    """Check the reason. :raises BillingError: it is empty."""
    if not reason.strip():
        raise BillingError("NO_REASON", "理由が必要です。「理由」（reason）に書いてください")


def _require_reason_of_void(invoice: Invoice, reason: str) -> None:
    """Check the reason. :raises BillingError: the customer cannot read it, or it may redirect payments, because no other user checks it."""
    require_customers_reason(invoice, reason)
    if names_payment(reason):
        raise BillingError(
            "REASON_NAMES_PAYMENT",
            "「理由」（reason）は取引先へのメールに書かれるため、口座、銀行、振込、アドレス、7 桁の番号は書けません。言い換えてください",
        )


def require_customers_reason(invoice: Invoice, reason: str) -> None:
    """Check the customer's reason. :raises BillingError: it is not in the language of the invoice."""
    require_readable_reason(invoice.language, reason, invoice_label(invoice.number))


def reason_problems(
    connection: psycopg.Connection, issued: Mapping[str, str], reason: str
) -> dict[str, BillingError]:
    """The tenants whose e-mail about the void (invoice ids in ``issued``) cannot have this reason, with the error."""
    problems = {}
    for tenant_id, invoice_id in issued.items():
        try:
            _require_reason_of_void(find_by_id(connection, invoice_id).invoice, reason)
        except BillingError as error:
            problems[tenant_id] = error
    return problems


def require_fitting(stored: StoredInvoice, credit: Invoice) -> None:
    """Check the amount. :raises BillingError: the locked invoice has no room for the credit note (``state.refusal_of_credit``)."""
    if error := refusal_of_credit(stored.state, credited_with(stored, credit)):
        raise error


def credited_with(stored: StoredInvoice, credit: Invoice) -> Decimal:
    """The sum of the invoice's credit notes including this one, whose total is below 0."""
    return stored.state.credited_total - credit.total
