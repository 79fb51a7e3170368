"""Letters: the e-mails to a tenant's billing contact about invoices, credit notes and voids, with their files.

A letter is a row of ``HIS_NotificationLog``, written in its document's transaction; BATCH-019-01 sends it. If an invoice is voided or
credited while its letter waits, the letter is withdrawn. A void then has no letter, and the credit note's letter says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.billing.documents.invoice import Invoice, InvoiceKind, document_key
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.contacts import BillingContact, load_contacts
from include.skillreport.billing.ledger.entries import first_opened
from include.skillreport.billing.ledger.letter_texts import LetterTexts, document_letter, void_letter
from include.skillreport.billing.ledger.stored_invoice import (
    StoredInvoice,
    letter_id,
    lock_invoice,
)
from include.skillreport.billing.second_person import SecondPerson, WaitingEntry, approval_refusal
from include.skillreport.billing.state import Act, invoice_label, is_due_too_near, require
from include.skillreport.billing.terms import Terms
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.business_date import naive_utc
from include.skillreport.messaging.contract_letters import (
    CREDIT_NOTE,
    INVOICE,
    INVOICE_VOID,
    PAYMENT_REMINDER,
    RECIPIENT_CHANGED,
)
from include.skillreport.messaging.notices import sending_time

_SQL = Statements(Path(__file__).parents[1])

# The kinds of letters, by the prefix of their id. All others are about an invoice or a credit note.
_KINDS = {"void-": INVOICE_VOID, "reminder-": PAYMENT_REMINDER, "recipient-": RECIPIENT_CHANGED}


# A letter's row for ``insert_letters``. Without copies and a file, only the first five columns have values.
_COLUMNS = (
    "notification_id",
    "tenant_id",
    "recipient_address",
    "subject",
    "message_body",
    "letter_id",
    "place",
    "kind",
    "file_name",
    "object_key",
    "attached_text",
    "unattached_text",
    "sha256",
    "bytes",
    "is_attached",
)


def queue_letters(
    connection: psycopg.Connection,
    terms: Terms,
    documents: Mapping[str, Invoice],
    contacts: Mapping[str, BillingContact],
    leaves_on: date,
    *,
    is_original_unsent: bool = False,
    open_amount: Decimal | None = None,
    original_due_on: date | None = None,
) -> None:
    """Queue the letter of each invoice and credit note, by invoice id, if its contact has an address. The PDF is included if it is
    attached.

    BATCH-019-01 sends them on ``leaves_on`` (9:00 Asia/Tokyo), or later with its next run. ``is_original_unsent``: the letters are
    about credit notes whose invoices' letters were withdrawn. ``open_amount``: the letter is about a corrected invoice with this open
    amount. ``original_due_on``: the letter is about a credit note whose invoice has this due date.
    """
    letters = []
    for invoice_id, document in documents.items():
        contact = contacts[document.tenant_id]
        if contact.problem:
            continue
        delivery = contact.pdf_delivery or terms.settings.pdf_delivery
        letter = document_letter(
            document,
            delivery,
            terms.settings.invoice_link,
            is_original_unsent=is_original_unsent,
            open_amount=open_amount,
            original_due_on=original_due_on,
        )
        letters += letter_rows(letter_id(invoice_id, document.revision), document, contact, letter)
    insert_letters(connection, letters, leaves_on)


def queue_void_letters(
    connection: psycopg.Connection,
    voided: Mapping[str, Invoice],
    contacts: Mapping[str, BillingContact],
    reason: str,
) -> None:
    """Queue the letter about each void invoice, by invoice id, for the next run of BATCH-019-01."""
    letters = [
        row
        for invoice_id, invoice in voided.items()
        if not (contact := contacts[invoice.tenant_id]).problem
        for row in letter_rows(f"void-{invoice_id}", invoice, contact, void_letter(invoice, reason))
    ]
    insert_letters(connection, letters, None)


def withdraw_letters(connection: psycopg.Connection, invoice_ids: Iterable[str]) -> set[str]:
    """Withdraw the unsent letters, including those about corrected documents. Returns the ids of the invoices without another letter.

    The customer may have received the letters about all other invoices.
    """
    by_letter = {letter_id(invoice_id, 1): invoice_id for invoice_id in invoice_ids}
    if not by_letter:
        return set()
    revisions = _SQL.rows(connection, "letter_revisions", invoice_ids=list(by_letter.values()))
    by_letter |= {letter_id(row["invoice_id"], row["revision"]): row["invoice_id"] for row in revisions}
    withdrawn = withdraw(connection, by_letter)
    unsent = {letter for letter, may_have_arrived in withdrawn.items() if not may_have_arrived}
    return {*by_letter.values()} - {by_letter[letter] for letter in by_letter.keys() - unsent}


def withdraw(connection: psycopg.Connection, letter_ids: Iterable[str]) -> dict[str, bool]:
    """Withdraw these letters and their copies unless they were sent. Returns for each withdrawn letter True if an attempt may have
    arrived, or a copy was sent.
    """
    letter_of = {each: each for each in letter_ids}
    copies = _SQL.rows(connection, "letter_copies", letter_ids=list(letter_of))
    letter_of |= {row["notification_id"]: row["letter_id"] for row in copies}
    letters = {"notification_ids": list(letter_of)}
    # The next statement sees messages that a sender claimed before this one.
    known = _SQL.column(connection, "lock_letters", **letters)
    withdrawn = {
        row["id"]: row["may_have_arrived"] for row in _SQL.rows(connection, "withdraw_letters", **letters)
    }
    arrived: dict[str, bool] = defaultdict(bool)
    for each in known:
        arrived[letter_of[each]] |= withdrawn.get(each, True)
    return {each: arrived[each] for each in withdrawn if letter_of[each] == each}


@dataclass(frozen=True)
class LetterDecision:
    """A decision to stop or send a letter: user, run, and reason."""

    person: str
    execution_id: str
    reason: str


def stop_letter(
    connection: psycopg.Connection, stored: StoredInvoice, decision: LetterDecision
) -> tuple[str, ...]:
    """Stop an invoice's letter before it is sent. Returns warnings. The customer then sees nothing of a void.

    :raises BillingError: the invoice has no letter, is void or credited, or its letter was sent.
    """
    # A concurrent correction has replaced the letter.
    stored = lock_invoice(connection, stored)
    require(Act.STOP_LETTER, stored.state)
    require_letter(stored)
    newest = letter_id(stored.invoice_id, stored.invoice.revision)
    # The caller commits even if the stop is rejected. The copies of a sent letter are sent, too.
    with connection.transaction():
        withdrawn = withdraw(connection, [newest])
        if not withdrawn:
            raise has_left(
                stored,
                "止められません。誤りがあれば「訂正」「請求書の取消」「全額の返還」を使ってください",
            )
    remarks = {
        "送付はすでに停止しています。理由を書き換えました": stored.state.is_stopped,
        "送信を一度は試みたため、届いた可能性があります。取り消すと、取消の通知を送ります": withdrawn[newest],
    }
    _decide(connection, stored, "stop", decision)
    return tuple(remark for remark, is_due in remarks.items() if is_due)


def send_letter(
    connection: psycopg.Connection,
    terms: Terms,
    stored: StoredInvoice,
    decision: LetterDecision,
    *,
    today: date,
    accepts_near_due: bool,
) -> bool:
    """Release an invoice's letter for the next run of BATCH-019-01, whether it was stopped or waits for its day.

    It goes to the present contact. Returns False if a waiting correction has no letter; it then no longer waits.
    :raises BillingError: the invoice has no letter, is void or credited, its letter was sent, or there is no contact. Or another
        user must send a correction. Or an unpaid invoice is due sooner than at its issue and than ``due_least_days``, and
        ``accepts_near_due`` is not set.
    """
    # A concurrent void has withdrawn the letter.
    stored = lock_invoice(connection, stored)
    setting = terms.settings.second_person
    require(Act.SEND_LETTER, stored.state, decision.person, setting)
    if _waits_for(connection, stored, decision, setting) and stored.leaves_on is None:
        _decide(connection, stored, "send", decision)
        return False
    leaves_on, due_on = require_letter(stored), stored.invoice.due_on
    assert due_on is not None, "a final invoice is due"
    left, planned = (due_on - today).days, (due_on - leaves_on).days
    if not accepts_near_due and is_due_too_near(stored.state, left, planned, terms.settings.due_least_days):
        raise BillingError(
            "DUE_TOO_NEAR",
            f"{invoice_label(stored.invoice.number)}の支払期限 {due_on} まで {left} 日です。「訂正」で新しい支払期限にするか、"
            "そのまま送るなら「期限が近くても送る」（accept_near_due）を選んでください",
        )
    contact = load_contacts(connection)[stored.tenant_id]
    if contact.problem:
        raise BillingError(
            "NO_RECIPIENT", f"{invoice_label(stored.invoice.number)}の通知を送れません。{contact.problem}"
        )
    newest = letter_id(stored.invoice_id, stored.invoice.revision)
    if newest not in _release(connection, stored.tenant_id, newest, contact, today):
        raise has_left(stored, "もう一度は送れません。届いていなければ、ボードの「通知」から再送してください")
    _decide(connection, stored, "send", decision)
    return True


def _waits_for(
    connection: psycopg.Connection, stored: StoredInvoice, decision: LetterDecision, setting: SecondPerson
) -> bool:
    """True if corrections wait that the user has seen.

    :raises BillingError: one was made since the run was first opened. A cleared run keeps the user of its first opening.
    """
    waiting = _SQL.rows(connection, "waiting_corrections", invoice_id=stored.invoice_id)
    for row in waiting:
        entry = WaitingEntry(
            "correction", invoice_label(stored.invoice.number), [row["entered_by"]], row["entered_at"]
        )
        opened_at = first_opened(connection, decision.execution_id)
        if error := approval_refusal(entry, decision.person, setting, opened_at):
            raise error
    return bool(waiting)


def _release(
    connection: psycopg.Connection, tenant_id: str, letter: str, contact: BillingContact, today: date
) -> list[str]:
    """Release the letter with copies to the present addresses. Returns the ids of the unsent ones."""
    # Withdraws the copies to former addresses.
    with connection.transaction():
        if letter not in withdraw(connection, [letter]):
            return []
    _SQL.execute(connection, "forget_copies", letter_id=letter)
    copies = _SQL.rows(connection, "letter_copies", letter_ids=[letter])
    rows = _addressed(letter, contact, {row["address"].lower(): row["place"] for row in copies})
    letters = {
        "tenant_id": tenant_id,
        "notification_ids": [row["notification_id"] for row in rows],
        "addresses": [row["recipient_address"] for row in rows],
    }
    _SQL.execute(connection, "forget_withdrawn_messages", **letters)
    if "kind" in rows[0]:
        columns = {f"{name}_list": [row[name] for row in rows] for name in ("place", "kind")}
        _SQL.execute(connection, "copy_letter", **letters, **columns, letter_id=letter)
    return _SQL.column(connection, "release_letters", **letters, scheduled_at=naive_utc(sending_time(today)))


def _decide(
    connection: psycopg.Connection, stored: StoredInvoice, kind: str, decision: LetterDecision
) -> None:
    _SQL.execute(
        connection,
        "insert_letter_decision",
        invoice_id=stored.invoice_id,
        tenant_id=stored.tenant_id,
        kind=kind,
        reason=decision.reason,
        entered_by=decision.person,
        execution_id=decision.execution_id,
    )


def require_letter(stored: StoredInvoice) -> date:
    """The planned day of the invoice's e-mail. :raises BillingError: it has none."""
    if stored.leaves_on is None:
        raise BillingError(
            "NO_LETTER", f"{invoice_label(stored.invoice.number)}には、請求先に送る通知がありません"
        )
    return stored.leaves_on


def has_left(stored: StoredInvoice, advice: str) -> BillingError:
    """The error that the e-mail was sent, or is being sent."""
    return BillingError(
        "LETTER_HAS_LEFT",
        f"{invoice_label(stored.invoice.number)}の通知は送信済みか送信中のため、{advice}",
    )


def letter_kinds(connection: psycopg.Connection, letter_ids: Sequence[str]) -> dict[str, str]:
    """The kind (``contract_letters``) of each letter of the transaction's tenants, by its id in ``HIS_NotificationLog``."""
    credit_notes = set(_SQL.column(connection, "credit_note_letters", letter_ids=list(letter_ids)))
    return {
        letter: CREDIT_NOTE
        if letter in credit_notes
        else next((kind for prefix, kind in _KINDS.items() if letter.startswith(prefix)), INVOICE)
        for letter in letter_ids
    }


def letter_rows(
    notification_id: str,
    document: Invoice,
    contact: BillingContact,
    letter: LetterTexts,
    *,
    sha256: str | None = None,
    size: int | None = None,
    largest: int = 0,
) -> list[dict[str, Any]]:
    """A letter and its copies for ``insert_letters``. A letter with a PDF waits for the file, unless its hash and size in bytes are
    known. Up to ``largest`` bytes, the file is attached.
    """
    kind = "credit-note" if document.kind is InvoiceKind.CREDIT else "invoice"
    rows = [
        each
        | plain_letter_row(each["notification_id"], document.tenant_id, each["recipient_address"], letter)
        for each in _addressed(notification_id, contact)
    ]
    if letter.attached_text is not None:
        rows[0] |= {
            "file_name": f"{kind}-{document.file_name}.pdf",
            "object_key": document_key(document, "pdf"),
            "attached_text": letter.attached_text,
            "unattached_text": letter.unattached_text,
            "sha256": sha256,
            "bytes": size,
            "is_attached": None if size is None else size <= largest,
        }
    return rows


def _addressed(letter: str, contact: BillingContact, sent: Mapping[str, int] = {}) -> list[dict[str, Any]]:
    """The ids and addresses of a letter and its copies, except ``sent`` ones: their places, by address in lower case.

    Only a letter with copies has ``letter_id``, ``place`` and ``kind``.
    """
    (kind, address), *further = contact.recipients
    row = {"notification_id": letter, "recipient_address": address}
    if not further and not sent:
        return [row]
    rows: list[dict[str, Any]] = [row | {"letter_id": letter, "place": 0, "kind": kind}]
    new = [each for each in further if each[1].lower() not in sent]
    for place, (kind, address) in enumerate(new, 1 + max(sent.values(), default=0)):
        row = {"notification_id": f"{letter}-copy-{place}", "recipient_address": address}
        rows.append(row | {"letter_id": letter, "place": place, "kind": kind})
    return rows


def plain_letter_row(
    notification_id: str, tenant_id: str, address: str, letter: LetterTexts
) -> dict[str, Any]:
    """A letter without a file to one address, for ``insert_letters``."""
    return {
        "notification_id": notification_id,
        "tenant_id": tenant_id,
        "recipient_address": address,
        "subject": letter.subject,
        "message_body": letter.body,
    }


def insert_letters(
    connection: psycopg.Connection, letters: Collection[Mapping[str, Any]], leaves_on: date | None
) -> None:
    """Insert rows of ``letter_rows`` or ``plain_letter_row``.

    BATCH-019-01 sends them on ``leaves_on`` (9:00 Asia/Tokyo); None: with its next run.
    """
    if not letters:
        return
    columns = {f"{name}_list": [letter.get(name) for letter in letters] for name in _COLUMNS}
    due = naive_utc(sending_time(leaves_on)) if leaves_on else None
    _SQL.execute(connection, "queue_letters", **columns, scheduled_at=due)
