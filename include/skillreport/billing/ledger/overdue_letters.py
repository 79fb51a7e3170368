"""Reminders of overdue invoices: e-mails as in ``letters``, and the stop list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.billing.documents.invoice import revision_suffix
from include.skillreport.billing.ledger.contacts import BillingContact, load_contacts
from include.skillreport.billing.ledger.letter_texts import reminder_letter
from include.skillreport.billing.ledger.letters import (
    insert_letters,
    letter_rows,
    withdraw,
)
from include.skillreport.billing.ledger.stored_invoice import stored_document
from include.skillreport.billing.receivables.overdue import due_dates_to_remind, due_reminder
from include.skillreport.billing.terms import Terms
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])


@dataclass(frozen=True)
class Reminder:
    """A reminder that BATCH-019-01 queued and sends. ``problem``: why it cannot be sent, as a warning for operators.

    ``destinations`` are the addresses of the e-mail and its copies, by their ids. ``remark`` is about invalid addresses.
    """

    tenant_id: str
    destinations: Mapping[str, str] = field(default_factory=dict)
    subject: str = ""
    body: str = ""
    problem: str | None = None
    remark: str | None = None


def former_debtors(platform: psycopg.Connection, terms: Terms, today: date) -> list[str]:
    """The ids of inactive tenants with an overdue invoice. Acts as ``batch_platform``."""
    if not _sends_reminders(terms):
        return []
    first, last = due_dates_to_remind(today, terms.settings.reminder_days)
    return _SQL.column(platform, "overdue_former_tenants", first_day=first, last_day=last)


def queue_reminders(
    connection: psycopg.Connection, terms: Terms, today: date, execution_id: str
) -> list[Reminder]:
    """Queue the reminders of the transaction's tenants that are due today, each once. Returns them, and the reminders without an address.
    There is none about a rest that may be the bank's fee (``fee_tolerance``).

    An invoice gets a problem instead if the tenant's overpaid invoices of the same currency cover it, its e-mail is stopped, or an
    unconfirmed transfer may have paid it (``reminder_holds``).

    With sample terms, or without a payment source, none is queued. The invoices stay locked, so that a concurrent payment either
    prevents its reminder or withdraws it.
    """
    if not _sends_reminders(terms):
        return []
    first, last = due_dates_to_remind(today, terms.settings.reminder_days)
    overdue = _SQL.column(
        connection,
        "lock_overdue",
        first_day=first,
        last_day=last,
        fee_tolerance=terms.settings.fee_tolerance,
    )
    if not overdue:
        return []
    contacts = load_contacts(connection)
    balances = {(row["tenant_id"], row["currency"]): row for row in _SQL.rows(connection, "credit_balances")}
    reminders = []
    # Read after the lock, to include concurrent changes.
    for row in _SQL.rows(connection, "load_overdue", invoice_ids=overdue, today=today):
        days = due_reminder(row["due_on"], today, terms.settings.reminder_days, row["queued_days"])
        balance = balances.get((row["tenant_id"], row["currency"]))
        is_covered = balance is not None and balance["amount"] >= row["open_amount"]
        problem = _credit_balance(row["number"], balance) if balance and is_covered else None
        if balance and is_covered:
            # The balance covers the oldest invoices first.
            balance["amount"] -= row["open_amount"]
        if days is None:
            continue
        if row["is_stopped"]:
            problem = _stopped(row["number"])
        if row["held_by"]:
            problem = _may_be_paid(row["number"], row["held_by"])
        notification_id = f"reminder-{row['invoice_id']}-{days}{revision_suffix(row['revision'])}"
        if problem:
            reminders.append(Reminder(row["tenant_id"], problem=problem))
            continue
        contact = contacts[row["tenant_id"]]
        if contact.problem:
            problem = f"請求書 {row['number']} の督促を送れません。{contact.problem}"
            reminders.append(Reminder(row["tenant_id"], problem=problem))
            continue
        reminders.append(_queue(connection, terms, row, days, notification_id, contact, today, execution_id))
    return reminders


def withdraw_reminders(connection: psycopg.Connection, invoice_ids: Iterable[str]) -> None:
    """Withdraw the unsent reminders of these invoices. They are not queued again."""
    notification_ids = _SQL.column(connection, "reminder_ids", invoice_ids=list(invoice_ids))
    if notification_ids:
        withdraw(connection, notification_ids)


def stop_reminders(
    connection: psycopg.Connection, tenant_id: str, invoice_id: str | None, reason: str, entered_by: str
) -> bool:
    """Stop the reminders of the invoice; None: of all the tenant's invoices. Returns True if the entry is new."""
    invoice_ids = _SQL.column(connection, "lock_open_invoices", tenant_id=tenant_id, invoice_id=invoice_id)
    stopped = _SQL.execute(
        connection,
        "insert_stop",
        tenant_id=tenant_id,
        invoice_id=invoice_id,
        reason=reason,
        entered_by=entered_by,
    ).fetchone()
    withdraw_reminders(connection, invoice_ids)
    return stopped is not None


def allow_reminders(connection: psycopg.Connection, tenant_id: str, invoice_id: str | None) -> bool:
    """Remove an entry of ``stop_reminders``. Returns True if there was one."""
    return bool(_SQL.column(connection, "delete_stop", tenant_id=tenant_id, invoice_id=invoice_id))


def _sends_reminders(terms: Terms) -> bool:
    return terms.settings.sends_reminders and not terms.samples


def _credit_balance(number: str, balance: dict[str, Any]) -> str:
    return (
        f"請求書 {number} の督促を送りません。請求書 {balance['numbers']} に過入金 {balance['amount']:,f} {balance['currency']} が"
        "あります。付け替えてください"
    )


def _stopped(number: str) -> str:
    return (
        f"請求書 {number} は送付を停止しているため、督促を送りません。DAG operate_invoices の「送付する」で送るか、"
        "「請求書の取消」で取り消してください"
    )


def _may_be_paid(number: str, transfers: str) -> str:
    return (
        f"請求書 {number} の督促を今日は送りません。確定待ちの振込 {transfers} の入金かもしれません。"
        "ボードの「入金消込」で確認してください"
    )


def _queue(
    connection: psycopg.Connection,
    terms: Terms,
    row: dict[str, Any],
    days: int,
    notification_id: str,
    contact: BillingContact,
    today: date,
    execution_id: str,
) -> Reminder:
    settings, document = terms.settings, stored_document(row)
    delivery = contact.pdf_delivery or settings.pdf_delivery
    if delivery == "attachment" and row["sha256"] is None:
        # The reminder does not wait for a document that a killed run has not written.
        delivery = "none"
    unsent = _SQL.column(connection, "unsent_reminders", notification_ids=row["reminders"])
    letter = reminder_letter(
        document,
        row["open_amount"],
        delivery,
        settings.invoice_link,
        is_repeated=len(row["reminders"]) > len(unsent),
    )
    _SQL.execute(
        connection,
        "queue_reminder",
        invoice_id=row["invoice_id"],
        tenant_id=row["tenant_id"],
        days=days,
        revision=row["revision"],
        queued_on=today,
        open_amount=row["open_amount"],
        execution_id=execution_id,
    )
    queued = letter_rows(
        notification_id,
        document,
        contact,
        letter,
        sha256=row["sha256"],
        size=row["bytes"],
        largest=settings.largest_attachment,
    )
    insert_letters(connection, queued, today)
    destinations = {each["notification_id"]: each["recipient_address"] for each in queued}
    return Reminder(row["tenant_id"], destinations, letter.subject, letter.body, remark=contact.remark)
