"""Billing with an installation's price list and issuer. The billing hook is a subclass; BATCH-018-02 and its operations call it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import NoReturn, Protocol, Self

import psycopg

from include.skillreport.billing.accounting import months
from include.skillreport.billing.accounting.ageing_file import write_ageing
from include.skillreport.billing.accounting.document_index import write_index
from include.skillreport.billing.accounting.months import HandedOverMonth
from include.skillreport.billing.accounting.readiness import NOTHING_ACCEPTED, Accepted
from include.skillreport.billing.documents import archive
from include.skillreport.billing.documents.credit_note import CreditedPart
from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.documents.issuer_images import keep_images
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import ExtraCharge
from include.skillreport.billing.ledger.booking import keep_open
from include.skillreport.billing.ledger.correction import credit_invoice, void_invoice
from include.skillreport.billing.ledger.entries import EntryAuthor, lock_entries
from include.skillreport.billing.ledger.extra_charges import enter_line
from include.skillreport.billing.ledger.settlement import (
    Instructions,
    TenantSettlement,
    price_tenants,
    settle_tenants,
)
from include.skillreport.billing.ledger.stored_invoice import StoredInvoice, find_invoice
from include.skillreport.billing.ledger.waiting_credits import approve_credits
from include.skillreport.billing.outcomes import issue_date
from include.skillreport.billing.periods import Period
from include.skillreport.billing.review import ReviewSection, review
from include.skillreport.billing.terms import NO_IMAGES, Terms, load_terms
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.object_store import ObjectStore

_SQL = Statements(Path(__file__).parent)


class Billing:
    """Prices, finalises, corrects, voids and credits invoices.

    A method with ``connection`` works in the caller's ``tenant_transaction``, except ``write_documents``, which opens its own
    transactions; call it after the commit. A method with ``platform`` acts as ``batch_platform``. ``month`` is any day of the month
    (Asia/Tokyo). ``actor`` is the user or the run; it is saved with the invoice. With a sample price list or issuer, no invoice is
    finalised, corrected, voided or credited. :raises BillingError: an invoice or its terms do not allow the step.
    """

    @cached_property
    def terms(self) -> Terms:
        """The price list and the settings, which are read once. :raises SettingsError: they are invalid."""
        return load_terms()

    def check_terms(self) -> Self:
        """Read the terms before a run is opened. Returns this billing. :raises SettingsError: the terms are invalid."""
        _ = self.terms
        return self

    def find_tenant_id(self, platform: psycopg.Connection, code: str) -> str:
        """The id of the tenant with this code (or id), regardless of its status. :raises BillingError: there is no such tenant."""
        row = _SQL.execute(platform, "find_tenant", code=code).fetchone()
        return str(row[0]) if row else _refuse_tenant(code)

    def require_tenant(self, connection: psycopg.Connection, tenant_id: str) -> None:
        """Check that the transaction's tenant exists or still has invoices. :raises BillingError: neither."""
        if not _SQL.row(connection, "knows_tenant")[0]:
            _refuse_tenant(tenant_id)

    def former_tenants(self, platform: psycopg.Connection, month: date) -> set[str]:
        """The ids of tenants that left in the month or later and must still pay for it."""
        period = Period.month_of(month)
        tenant_ids = _SQL.column(
            platform, "formerly_active_tenants", period_start=period.start, period_end=period.end
        )
        return set(tenant_ids)

    def price(
        self, connection: psycopg.Connection, month: date, instructions: Instructions | None = None
    ) -> list[TenantSettlement]:
        """Price the month with the present data, without writing. Default: as an invoice of the day after the month."""
        period = Period.month_of(month)
        return price_tenants(
            connection, period, self.terms, instructions or Instructions(period.next_day, actor="")
        )

    def keep_images(self, store: ObjectStore) -> dict[str, str]:
        """Check the issuer's logo and seal, and store them for ``settle``. :raises SettingsError: an image is invalid."""
        return keep_images(self.terms.settings.issuer, store)

    def settle(
        self,
        connection: psycopg.Connection,
        month: date,
        instructions: Instructions,
        images: Mapping[str, str] = NO_IMAGES,
    ) -> list[TenantSettlement]:
        """Price the month, and finalise the invoices that need no approval. ``images`` come from ``keep_images``.

        A line that is entered concurrently is either on the invoice, or rejected because the month is final.
        """
        keep_open(connection)
        lock_entries(connection, is_shared=True)
        terms = replace(self.terms, images=images)
        return settle_tenants(connection, Period.month_of(month), terms, instructions)

    def invoice(self, connection: psycopg.Connection, number: str) -> StoredInvoice:
        """The stored invoice or credit note with this number."""
        return find_invoice(connection, number)

    def document(
        self,
        connection: psycopg.Connection,
        number: str,
        format_name: str = "pdf",
        store: ObjectStore | None = None,
    ) -> bytes:
        """The invoice or credit note as ``pdf`` or ``json``; the same invoice always gives the same bytes.

        ``store``: needed for the PDF of a document with the issuer's logo or seal.
        """
        if format_name not in archive.FORMATS:
            raise BillingError(
                "UNKNOWN_FORMAT",
                f"形式 '{format_name}' はありません。{'、'.join(archive.FORMATS)} のどれかです",
            )
        return archive.render(self.invoice(connection, number).invoice, format_name, store)

    def void(self, connection: psycopg.Connection, stored: StoredInvoice, reason: str, *, actor: str) -> None:
        """Void an unpaid invoice; it keeps its number."""
        void_invoice(connection, self.terms, stored, reason, actor=actor)

    def credit(
        self,
        connection: psycopg.Connection,
        stored: StoredInvoice,
        reason: str,
        *,
        issued_on: date,
        actor: str,
        entered_by: str | None = None,
        parts: Sequence[CreditedPart] | None = None,
        again_same: bool = False,
    ) -> Invoice:
        """Issue a credit note (適格返還請求書) for parts of an invoice, or for everything that is left of it.

        Without a number, it waits for another user's approval. ``entered_by``: the user; None: the actor. ``again_same``: an identical
        credit of another run is no mistake.
        """
        self.lock_entries(connection)
        entry = EntryAuthor(entered_by or actor, actor, issued_on, again_same)
        return credit_invoice(connection, self.terms, stored, reason, entry, parts=parts)

    def approve_credits(
        self,
        connection: psycopg.Connection,
        stored: StoredInvoice,
        *,
        issued_on: date,
        approver: str,
        execution_id: str,
    ) -> list[Invoice]:
        """Issue all or none of an invoice's waiting credit notes that other users entered."""
        self.lock_entries(connection)
        with connection.transaction():
            return approve_credits(
                connection,
                self.terms,
                stored,
                issued_on=issued_on,
                approver=approver,
                execution_id=execution_id,
            )

    def lock_entries(self, connection: psycopg.Connection) -> None:
        """Lock the entries of the transaction's tenants until it ends. Lock order: take this lock before any invoice's."""
        keep_open(connection)
        lock_entries(connection)

    def enter_line(
        self,
        connection: psycopg.Connection,
        tenant_id: str,
        line: ExtraCharge,
        entry: EntryAuthor,
    ) -> tuple[str, ...]:
        """Enter a one-off line for the invoice of the month of its date. Returns warnings, as ``extra_charges.enter_line``."""
        self.lock_entries(connection)
        return enter_line(connection, self.terms, tenant_id, line, entry)

    def review(self, platform: psycopg.Connection, month: date, execution_id: str) -> list[ReviewSection]:
        """The findings for the accountant after a run."""
        return review(platform, self.terms, Period.month_of(month), execution_id)

    def write_documents(
        self, connection: psycopg.Connection, tenant_id: str, month: date, store: ObjectStore
    ) -> None:
        """Write the missing files of a tenant's month. With sample terms, write its draft, marked as a sample."""
        month_start = month.replace(day=1)
        if self.terms.samples:
            archive.write_sample_documents(connection, tenant_id, month_start, store)
        else:
            archive.write_documents(
                connection,
                tenant_id,
                month_start,
                store,
                largest_attachment=self.terms.settings.largest_attachment,
            )

    def issue_date(self, month: date, run_date: date) -> date:
        """The date of the month's documents that are created on ``run_date``."""
        return issue_date(month, run_date)

    def write_accounting_files(
        self,
        platform: psycopg.Connection,
        month: date,
        *,
        run_date: date,
        execution_id: str,
        store: ObjectStore,
    ) -> None:
        """Write the document index of the billing month, and the books of the run and of the month in which its invoices are booked.

        Writes nothing with sample terms. :raises BillingError: a foreign document has no exchange rate.
        """
        if self.terms.samples:
            return
        store.delete_unfinished(f"invoices/{month:%Y-%m}")
        write_index(platform, month.replace(day=1), store)
        booking_month = self._booking_month(month, run_date)
        self.write_books(platform, booking_month, run_date=run_date, execution_id=execution_id, store=store)

    def write_books(
        self,
        platform: psycopg.Connection,
        *further: date,
        run_date: date,
        execution_id: str,
        store: ObjectStore,
    ) -> None:
        """Write the ageing table, and the accounting files of the open months that the run changed and of ``further`` months.

        Writes nothing with sample terms. :raises BillingError: a foreign document has no exchange rate.
        """
        if self.terms.samples:
            return
        store.delete_unfinished("accounting")
        write_ageing(platform, run_date, store)
        months.repair_files(platform, store)
        touched_months = months.touched_months(platform, execution_id, self.terms.settings.accounting)
        for touched in sorted({*further, *touched_months}):
            store.delete_unfinished(f"accounting/{touched:%Y-%m}")
            self.write_accounting_month(platform, touched, store)

    def write_accounting_month(self, platform: psycopg.Connection, month: date, store: ObjectStore) -> bool:
        """Write the provisional accounting files of a month. Returns False if the month is closed."""
        return not self.terms.samples and months.write_open_month(
            platform, month.replace(day=1), self.terms.settings.accounting, store
        )

    def hand_over(
        self,
        platform: psycopg.Connection,
        month: date,
        *,
        run_date: date,
        actor: str,
        execution_id: str,
        store: ObjectStore,
        accepted: Accepted = NOTHING_ACCEPTED,
    ) -> HandedOverMonth:
        """Write the month's final files, and close the month. A retry with the same ``execution_id`` changes nothing.

        ``month`` is the calendar month of the bookings. Opens its own transaction.
        :raises BillingError: the month is not over on ``run_date``, is closed, or has incomplete invoices; an earlier open month has
            documents; or the terms are a sample.
        """
        self.terms.require_no_sample()
        return months.hand_over(
            platform,
            month.replace(day=1),
            self.terms,
            store,
            run_date=run_date,
            actor=actor,
            execution_id=execution_id,
            accepted=accepted,
        )

    def _booking_month(self, month: date, run_date: date) -> date:
        if self.terms.settings.accounting.booked_on == "period_end":
            return month.replace(day=1)
        return self.issue_date(month, run_date).replace(day=1)


def _refuse_tenant(name: str) -> NoReturn:
    raise BillingError("NO_SUCH_TENANT", f"テナント '{name}' は存在しません")


class OffersBilling(Protocol):
    """An installation with billing."""

    def billing(self) -> Billing:
        """Billing with its price list and issuer."""
