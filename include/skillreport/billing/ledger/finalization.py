"""Finalising: gives invoices their number, dates and booking day, and writes the application's rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from operator import attrgetter
from pathlib import Path

import psycopg

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.terms import OWN_TERMS, Terms
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])

# batch.guard_invoice's constraint for an invoice of a closed month without a reason to bill it again.
_STAYS_CLOSED_CONSTRAINT = "closed_month_stays_closed"


@dataclass(frozen=True)
class FinalDocument:
    """The final values of a tenant's draft. ``leaves_on``: the day on which its e-mail is sent; None: there is no e-mail.

    ``approved_by``: the approver, if it was held.
    """

    tenant_id: str
    issued_on: date
    leaves_on: date | None
    due_on: date | None = None
    approved_by: str | None = None


def finalize(
    connection: psycopg.Connection, terms: Terms, documents: Mapping[str, FinalDocument]
) -> dict[str, str | None]:
    """Finalise drafts by invoice id, at most one per tenant. Returns numbers by invoice id; a total of 0 gets no number.

    The numbers follow the order of the tenants' ids. The transaction locks the month's counter until it ends. A document of a closed
    accounting month is booked on the first open day.
    :raises BillingError: the terms are a sample, or the demo's in another database, or a tenant's month was closed after it was
        read.
    :raises ValueError: two documents are of one tenant.
    """
    if not documents:
        return {}
    terms.require_no_sample()
    if terms.settings.issuer.demo and not _SQL.column(connection, "find_local_stack"):
        raise BillingError(
            "SAMPLE_TERMS",
            f"発行者がデモのもの（demo: true）で、このデータベースはデモのものではないため、請求書を確定できません。{OWN_TERMS}",
        )
    columns = ("tenant_id", "issued_on", "leaves_on", "due_on", "approved_by")
    values = map(attrgetter(*columns), documents.values())
    tenant_ids, issued_on, leaves_on, due_on, approved_by = map(list, zip(*values, strict=True))
    if len(set(tenant_ids)) < len(tenant_ids):
        raise ValueError(f"two documents of one tenant: {tenant_ids}")
    _SQL.execute(connection, "choose_joins", others="off")
    try:
        # One statement, because PostgreSQL reads the table's many constraints for each.
        rows = _SQL.execute(
            connection,
            "finalize_invoices",
            invoice_ids=list(documents),
            tenant_ids=tenant_ids,
            issued_on=issued_on,
            leaves_on=leaves_on,
            due_on=due_on,
            approved_by=approved_by,
            books_period_end=terms.settings.accounting.booked_on == "period_end",
        )
    except psycopg.errors.RestrictViolation as error:
        if error.diag.constraint_name == _STAYS_CLOSED_CONSTRAINT:
            raise BillingError(
                "MONTH_CLOSED",
                "同時に動いた別の実行が、請求書を取り消したか返還しました。実行し直してください",
                recoverable=True,
            ) from error
        raise
    _SQL.execute(connection, "choose_joins", others="on")
    return dict(rows.fetchall())


def write_host_rows(connection: psycopg.Connection, invoice_ids: Iterable[str]) -> None:
    """Write the application's rows for these invoices."""
    _SQL.execute(connection, "write_host_billing", invoice_ids=list(invoice_ids))
