"""Billing by an installation's own price list and issuer: what BATCH-018-02, its operations and the billing hook share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol

import psycopg

from include.billing import archive
from include.billing.invoice import Invoice
from include.billing.ledger.correction import credit_invoice, void_invoice
from include.billing.ledger.settlement import Instructions, TenantSettlement, price_tenants, settle_tenants
from include.billing.ledger.stored_invoice import StoredInvoice
from include.billing.periods import Period
from include.billing.terms import Terms
from include.database import Statements
from include.execution.object_store import ObjectStore

_SQL = Statements(Path(__file__).parent)


@dataclass(frozen=True)
class Billing:
    """Prices, finalises, voids and credits.

    ``price``, ``settle``, ``void`` and ``credit`` work in the caller's ``tenant_transaction``. ``write_documents`` opens its own
    transactions: call it after the commit. A method with ``platform`` acts as ``batch_platform``. ``month`` is any day of the month
    (Asia/Tokyo). :raises BillingError: an invoice or its terms do not allow the step.
    """

    terms: Terms

    def find_tenant_id(self, platform: psycopg.Connection, code: str) -> str | None:
        """The id of the tenant with this code (or id), whatever its status."""
        row = _SQL.execute(platform, "find_tenant", code=code).fetchone()
        return str(row[0]) if row else None

    def former_tenants(self, platform: psycopg.Connection, month: date) -> set[str]:
        """The ids of tenants that left in the month, or later, and still owe it."""
        period = Period.month_of(month)
        tenant_ids = _SQL.column(
            platform, "formerly_active_tenants", period_start=period.start, period_end=period.end
        )
        return set(tenant_ids)

    def price(
        self, connection: psycopg.Connection, month: date, instructions: Instructions
    ) -> list[TenantSettlement]:
        """What the month comes to now; writes nothing."""
        return price_tenants(connection, Period.month_of(month), self.terms, instructions)

    def settle(
        self, connection: psycopg.Connection, month: date, instructions: Instructions
    ) -> list[TenantSettlement]:
        """Price the month and finalise what needs no approval."""
        return settle_tenants(connection, Period.month_of(month), self.terms, instructions)

    def void(self, connection: psycopg.Connection, stored: StoredInvoice, reason: str, *, actor: str) -> None:
        """Void an invoice that is not paid; it keeps its number."""
        void_invoice(connection, self.terms, stored, reason, actor=actor)

    def credit(
        self,
        connection: psycopg.Connection,
        stored: StoredInvoice,
        reason: str,
        *,
        issued_on: date,
        actor: str,
    ) -> Invoice:
        """Issue the credit note (適格返還請求書) that cancels an invoice."""
        return credit_invoice(connection, self.terms, stored, reason, issued_on=issued_on, actor=actor)

    def write_documents(
        self, connection: psycopg.Connection, tenant_id: str, month: date, store: ObjectStore
    ) -> None:
        """Write the missing files of a tenant's month; with sample terms its draft, marked as a sample."""
        write = archive.write_sample_documents if self.terms.samples else archive.write_documents
        write(connection, tenant_id, month.replace(day=1), store)

    def write_accounting_file(self, platform: psycopg.Connection, month: date, store: ObjectStore) -> None:
        """Write the month's accounting CSV of all tenants; with sample terms there is none."""
        if not self.terms.samples:
            archive.write_accounting_file(platform, month.replace(day=1), store)


class OffersBilling(Protocol):
    """An installation that bills."""

    def billing(self) -> Billing:
        """Billing by its price list and issuer."""
