"""Corrections of invoices: voiding, which allows the month to be billed again, and crediting (適格返還請求書)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb

from include.billing.errors import BillingError
from include.billing.invoice import Invoice, InvoiceKind
from include.billing.ledger.finalization import finalize, write_host_rows
from include.billing.ledger.notification import withdraw_notifications
from include.billing.ledger.stored_invoice import StoredInvoice, find_by_number, invoice_label
from include.billing.periods import Period
from include.billing.terms import Terms
from include.database import Statements

_SQL = Statements(Path(__file__).parents[1])


def void_invoice(
    connection: psycopg.Connection, terms: Terms, stored: StoredInvoice, reason: str, *, actor: str
) -> None:
    """Void an unpaid invoice or a draft. An invoice keeps its number, and the month may be billed again.

    :raises BillingError: it is paid, credited, void or a credit, or no reason is given. Or it is finalised, and the terms are a sample.
    """
    if stored.status != "draft":
        terms.require_no_sample()
    require_reason(reason)
    _require_live(stored)
    if stored.invoice.kind is InvoiceKind.CREDIT:
        raise BillingError("IS_A_CREDIT", f"返還請求書 {stored.invoice.number} は取り消せません")
    if stored.invoice_id not in void_invoices(connection, [stored.invoice_id], reason, actor):
        raise not_voided_error(connection, stored.invoice.number)
    write_host_rows(connection, [stored.invoice_id])


def credit_invoice(
    connection: psycopg.Connection,
    terms: Terms,
    stored: StoredInvoice,
    reason: str,
    *,
    issued_on: date,
    actor: str,
) -> Invoice:
    """Issue the credit that cancels a paid or unpaid invoice exactly. The month may then be billed again.

    :raises BillingError: it is a draft, a credit, credited or void, or no reason is given. Or the terms are a sample.
    """
    terms.require_no_sample()
    require_reason(reason)
    _require_live(stored)
    if stored.invoice.kind is InvoiceKind.CREDIT or stored.invoice.number is None:
        raise BillingError(
            "NOT_CREDITABLE",
            f"{invoice_label(stored.invoice.number)}は返還できません。返還請求書は番号のある請求書にだけ発行できます",
        )
    credit = stored.invoice.credited()
    row = _SQL.row(
        connection,
        "insert_credit",
        invoice_id=stored.invoice_id,
        content=Jsonb(credit.model_dump(mode="json")),
        reason=reason,
        execution_id=actor,
    )
    numbers = finalize(connection, terms, [row[0]], issued_on=issued_on)
    _SQL.execute(connection, "mark_credited", invoice_id=stored.invoice_id)
    withdraw_notifications(connection, [stored.invoice_id])
    write_host_rows(connection, [row[0]])
    return credit.finalized(numbers[row[0]], issued_on, None)


def already_done(
    connection: psycopg.Connection, tenant_id: str, period: Period, actor: str, *, credit: bool
) -> list[str | None]:
    """The number of the invoice that this actor has voided in the tenant's month, or of the credit it has issued.

    A retry uses it to do nothing twice. The list is empty if there is nothing; a voided draft has the number None.
    """
    rows = _SQL.execute(
        connection,
        "find_by_execution",
        tenant_id=tenant_id,
        period_start=period.start,
        execution_id=actor,
        kind="credit" if credit else "invoice",
    )
    return [number for (number,) in rows]


def void_invoices(
    connection: psycopg.Connection, invoice_ids: Sequence[str], reason: str, actor: str
) -> set[str]:
    """Void invoices; returns the ids of those voided. A paid, credited or void invoice is skipped."""
    if not invoice_ids:
        return set()
    rows = _SQL.execute(
        connection, "void_invoices", invoice_ids=list(invoice_ids), reason=reason, voided_by=actor
    )
    voided = {invoice_id for (invoice_id,) in rows}
    withdraw_notifications(connection, voided)
    return voided


def paid_error(number: str | None) -> BillingError:
    """A paid invoice cannot be voided."""
    return BillingError(
        "ALREADY_PAID",
        f"{invoice_label(number)}は入金済みのため取り消せません。訂正するには DAG operate_invoices の「返還請求書の発行」を使ってください",
    )


def not_voided_error(connection: psycopg.Connection, number: str | None) -> BillingError:
    """Why a live invoice was not voided: it has been paid, voided or credited since it was read."""
    stored = find_by_number(connection, number) if number else None
    if stored and stored.is_paid and stored.status != "void" and not stored.credited:
        return paid_error(number)
    return BillingError(
        "ALREADY_TAKEN_BACK",
        f"{invoice_label(number)}は、同時に動いた別の実行がすでに取り消したか返還しました",
    )


def require_reason(reason: str) -> None:
    """:raises BillingError: no reason is given."""
    if not reason.strip():
        raise BillingError("NO_REASON", "理由が必要です。「理由」（reason）に書いてください")


def _require_live(stored: StoredInvoice) -> None:
    if stored.status == "void" or stored.credited:
        state = "取消済み" if stored.status == "void" else "返還済み"
        raise BillingError("ALREADY_TAKEN_BACK", f"{invoice_label(stored.invoice.number)}は{state}です")
