"""Credit notes above a user's limit, which wait for another user's approval.

A waiting credit note is a draft: it has no number and no e-mail, is in no file, and does not lower the open amount.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.billing.documents.credit_note import CreditedPart, credit_note
from include.skillreport.billing.documents.invoice import Invoice, InvoiceLine
from include.skillreport.billing.documents.rendering import require_printable
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.correction import issue_credit, require_fitting, require_reason
from include.skillreport.billing.ledger.entries import credit_text, first_opened, withdraw_entries
from include.skillreport.billing.ledger.stored_invoice import StoredInvoice, load_credits, lock_invoice
from include.skillreport.billing.second_person import SecondPerson, WaitingEntry, approval_refusal, is_author
from include.skillreport.billing.terms import Terms
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])


def waiting_people(connection: psycopg.Connection, stored: StoredInvoice) -> list[str]:
    """The authors of the invoice's waiting credit notes."""
    return sorted(
        {row["entered_by"] for row in _SQL.rows(connection, "waiting_credits", invoice_id=stored.invoice_id)}
    )


def approve_credits(
    connection: psycopg.Connection,
    terms: Terms,
    stored: StoredInvoice,
    *,
    issued_on: date,
    approver: str,
    execution_id: str,
) -> list[Invoice]:
    """Issue the waiting credit notes of an invoice as they were entered. The approver's own ones still wait.

    :raises BillingError: the approver entered all of them, one was entered after the run was first opened, one would differ because
        the invoice has changed, or the terms are a sample.
    """
    terms.require_no_sample()
    setting = terms.settings.second_person
    stored = lock_invoice(connection, stored)
    waiting = _SQL.rows(connection, "waiting_credits", invoice_id=stored.invoice_id)
    others = [row for row in waiting if not is_author(approver, [row["entered_by"]])]
    opened_at = first_opened(connection, execution_id)
    # Skips the user's own credit notes, unless there are no others.
    for row in others or waiting:
        if error := approval_refusal(_entry(row), approver, setting, opened_at):
            raise error
    issued: list[Invoice] = []
    for row in others:
        # The last one has changed what is left of the invoice.
        stored = lock_invoice(connection, stored)
        if not stored.state.is_live:
            break
        credit = _as_entered(connection, stored, row, approver, setting)
        require_fitting(stored, credit)
        _SQL.execute(
            connection,
            "renew_credit",
            invoice_id=row["invoice_id"],
            content=Jsonb(credit.model_dump(mode="json")),
            execution_id=execution_id,
        )
        issued.append(
            issue_credit(
                connection,
                terms,
                stored,
                row["invoice_id"],
                credit,
                issued_on,
                execution_id,
                approved_by=approver,
            )
        )
    return issued


def drop_credits(
    connection: psycopg.Connection, stored: StoredInvoice, reason: str, *, actor: str
) -> list[str]:
    """Drop the waiting credit notes of an invoice. Returns a text about each.

    :raises BillingError: none waits, or no reason is given.
    """
    require_reason(reason)
    ids = [lock_invoice(connection, stored).invoice_id]
    dropped = withdraw_entries(connection, "credit", ids, reason, actor)
    if not dropped:
        raise BillingError(
            "NO_WAITING_CREDIT",
            f"{stored.invoice.period_start:%Y-%m} の請求書に、承認待ちの返還はありません。対象月とテナントを確認してください",
        )
    return [credit_text(row) for row in dropped]


def _as_entered(
    connection: psycopg.Connection,
    stored: StoredInvoice,
    row: Mapping[str, Any],
    approver: str,
    setting: SecondPerson,
) -> Invoice:
    """The waiting credit note, calculated with the invoice's present credit notes. Only the remaining amount may differ."""
    entered = Invoice.model_validate(row["content"])
    present: object
    try:
        credit = credit_note(
            stored.invoice,
            load_credits(connection, stored),
            [_part(stored.invoice, line) for line in entered.lines],
            reason=row["credit_reason"],
            rounding=stored.inputs.rounding,
        )
        require_printable(credit)
        present = _money(credit)
        difference = f"返還額が {-entered.total:,f} {entered.currency} から {-credit.total:,f} へ変わります"
    except BillingError as error:
        credit, present, difference = entered, None, str(error)
    entry = replace(_entry(row), seen=_money(entered), present=present, difference=difference)
    if refused := approval_refusal(entry, approver, setting):
        raise refused
    return credit


def _entry(row: Mapping[str, Any]) -> WaitingEntry:
    what = f"承認待ちの返還「{row['credit_reason']}」"
    return WaitingEntry("credit", what, [row["entered_by"]], row["created_at"])


def _part(original: Invoice, line: InvoiceLine) -> CreditedPart:
    position = line.credited_position or line.position
    whole = next(each for each in original.lines if each.position == position)
    if line.quantity is None or line.amount == -whole.amount:
        return CreditedPart(position, amount=abs(line.amount))
    return CreditedPart(position, quantity=line.quantity)


def _money(credit: Invoice) -> tuple[object, ...]:
    return credit.total, credit.tax_totals, credit.yen_tax, [line.amount for line in credit.lines]
