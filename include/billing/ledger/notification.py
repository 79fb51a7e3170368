"""The e-mail that tells a tenant's billing contact about an invoice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date
from pathlib import Path

import psycopg

from include.billing.invoice import Invoice
from include.database import Statements
from include.messaging.notices import sending_time

_SQL = Statements(Path(__file__).parents[1])


def queue_notifications(
    connection: psycopg.Connection, finalized: Mapping[str, Invoice], issued_on: date
) -> None:
    """Queue an e-mail for each invoice, by invoice id, whose recipient has an address."""
    letters = [
        (_notification_id(invoice_id), invoice.tenant_id, invoice.recipient.email, *_letter(invoice))
        for invoice_id, invoice in finalized.items()
        if invoice.recipient.email
    ]
    if not letters:
        return
    due = sending_time(issued_on).astimezone(UTC).replace(tzinfo=None)
    columns = [list(column) for column in zip(*letters, strict=True)]
    names = ("notification_ids", "tenant_ids", "addresses", "subjects", "bodies")
    _SQL.execute(
        connection, "queue_notifications", **dict(zip(names, columns, strict=True)), scheduled_at=due
    )


def withdraw_notifications(connection: psycopg.Connection, invoice_ids: Iterable[str]) -> None:
    """Withdraw the e-mails about these invoices that are not sent yet."""
    _SQL.execute(
        connection,
        "withdraw_notifications",
        notification_ids=[_notification_id(invoice_id) for invoice_id in invoice_ids],
    )


def _notification_id(invoice_id: str) -> str:
    return f"invoice-{invoice_id}"


def _letter(invoice: Invoice) -> tuple[str, str]:
    """Subject and text."""
    subject = f"【{invoice.issuer.name}】{invoice.period_start:%Y年%-m月}分 ご請求書 {invoice.number}"
    body = (
        f"{invoice.recipient.name} 御中\n\n"
        f"{invoice.period_start:%Y年%-m月}分のご請求書を発行しました。\n\n"
        f"請求書番号: {invoice.number}\n"
        f"ご請求金額（税込）: {invoice.total:,f} {invoice.currency}\n\n"
        "請求書（PDF）が必要な場合は、下記までお問い合わせください。\n\n"
        f"{invoice.issuer.name} {invoice.issuer.contact}\n{invoice.issuer.email} / {invoice.issuer.phone}\n"
    )
    return subject, body
