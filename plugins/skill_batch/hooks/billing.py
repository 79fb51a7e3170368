"""A hook to price, finalise, approve, void and credit the invoices of one tenant, for the DAGs of this repository and of other teams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from functools import cached_property
from typing import Any

import psycopg
from airflow.sdk import BaseHook

from skill_batch.hooks.tenant_db import PlatformDbHook, TenantDbHook
from skill_batch.object_storage import object_store
from include.skillreport.billing.accounts import load_accounts
from include.skillreport.billing.documents import archive
from include.skillreport.billing.documents.credit_note import CreditedPart
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import ExtraCharge
from include.skillreport.billing.ledger.settlement import Instructions, TenantSettlement
from include.skillreport.billing.ledger.stored_invoice import StoredInvoice, find_invoice
from include.skillreport.billing.periods import Period
from include.skillreport.billing.pricing.explanation import explain
from include.skillreport.billing.pricing.usage import UsageDay
from include.skillreport.billing.service import Billing
from include.skillreport.billing.terms import load_terms
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.errors import BatchError, reason_of
from include.skillreport.core.execution.sharding import Unit
from include.skillreport.core.execution.tenant_selection import select_tenants


class BillingHook(BaseHook):
    """Prices, finalises, approves, voids and credits the invoices of one tenant, with the rules of BATCH-018-02 and row-level security.

    Pass any day of a month (Asia/Tokyo) to select the month. Each method is one transaction. If the price list or the issuer is a sample,
    no invoice is finalised (settlement ``SAMPLE``), reissued, voided or credited. A ``BillingError`` explains the problem of a tenant, a
    price or an invoice in one Japanese sentence, and what to do. BATCH-018-02 and ``operate_invoices`` use ``billing`` of this hook.

    .. code-block:: python

        settlement = BillingHook().price("T1", date(2026, 10, 1))
        print(settlement.total, settlement.currency)

    :param tenant_db_conn_id: Postgres connection that acts as ``batch_tenant``.
    :param platform_db_conn_id: Postgres connection that acts as ``batch_platform``; only to find tenants.
    """

    conn_name_attr = "tenant_db_conn_id"
    default_conn_name = TenantDbHook.default_conn_name
    conn_type = "postgres"
    hook_name = "Billing"

    def __init__(
        self,
        tenant_db_conn_id: str = TenantDbHook.default_conn_name,
        platform_db_conn_id: str = PlatformDbHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tenant_db_conn_id = tenant_db_conn_id
        self.platform_db_conn_id = platform_db_conn_id
        self._tenant_db = TenantDbHook(tenant_db_conn_id)
        self._platform_db = PlatformDbHook(platform_db_conn_id)

    @cached_property
    def billing(self) -> Billing:
        """Billing with this installation's price list and issuer."""
        return Billing(load_terms())

    def get_conn(self) -> psycopg.Connection:
        """A connection that acts as ``batch_tenant``."""
        return self._tenant_db.get_conn()

    def test_connection(self) -> tuple[bool, str]:
        """Whether both connections work; the message is for the connection form."""
        try:
            for hook in (self._tenant_db, self._platform_db):
                with hook.connect() as connection:
                    connection.execute("SELECT 1")
        except (BatchError, psycopg.Error) as error:
            return False, reason_of(error)
        return True, "Connection successfully tested"

    def billable_tenants(self, month: date) -> list[Unit]:
        """The tenants to bill for a month: the active ones, and those that left in the month or later and must pay for it.

        :param month: a day of the month.
        """
        with self._platform_db.connect() as platform:
            return select_tenants(platform, [], self.billing.former_tenants(platform, month)).tenants

    def tenant_id_of(self, code: str) -> str:
        """The id of the tenant with this code (or id), with any status. :raises BillingError: there is no such tenant."""
        with self._platform_db.connect() as platform:
            tenant_id = self.billing.find_tenant_id(platform, code)
        if tenant_id is None:
            raise _no_such_tenant(code)
        return tenant_id

    def usage_of(self, tenant_id: str, month: date) -> tuple[UsageDay, ...]:
        """The closed days of the month, in order. A figure is None if the host has no record of it.

        :param tenant_id: the tenant.
        :param month: a day of the month.
        """
        with self._transaction(tenant_id) as connection:
            return tuple(
                day
                for account in load_accounts(connection, Period.month_of(month))
                for day in account.usage_days
            )

    def price(self, tenant_id: str, month: date, *, allow_incomplete: bool = False) -> TenantSettlement:
        """Price the month with the present data, without writing anything.

        :param tenant_id: the tenant.
        :param month: a day of the month.
        :param allow_incomplete: bill by the closed days although others are missing.
        """
        instructions = Instructions(Period.month_of(month).next_day, "", allow_incomplete=allow_incomplete)
        with self._transaction(tenant_id) as connection:
            return self._only(tenant_id, self.billing.price(connection, month, instructions))

    def finalize(
        self,
        tenant_id: str,
        month: date,
        *,
        issued_on: date,
        actor: str,
        approve: bool = False,
        allow_incomplete: bool = False,
    ) -> TenantSettlement:
        """Price the month and finalise its invoice; a finalised month does not change.

        Call ``write_documents`` afterwards: the letter with the PDF waits until the PDF is written.

        :param tenant_id: the tenant.
        :param month: a day of the month.
        :param issued_on: the date of issue (Asia/Tokyo).
        :param actor: the person or the run; it is saved with the invoice.
        :param approve: also finalise an invoice that is held because of its total or of rows that name no person.
        :param allow_incomplete: bill by the closed days although others are missing.
        """
        instructions = Instructions(
            issued_on, actor, allow_incomplete=allow_incomplete, approved=(tenant_id,) if approve else ()
        )
        return self._settle(tenant_id, month, instructions)

    def approve(self, tenant_id: str, month: date, *, issued_on: date, actor: str) -> TenantSettlement:
        """Finalise a held invoice.

        :param tenant_id: the tenant.
        :param month: a day of the month.
        :param issued_on: the date of issue (Asia/Tokyo).
        :param actor: the person or the run; it is saved with the invoice.
        """
        return self.finalize(tenant_id, month, issued_on=issued_on, actor=actor, approve=True)

    def reissue(
        self, tenant_id: str, month: date, reason: str, *, issued_on: date, actor: str, approve: bool = False
    ) -> TenantSettlement:
        """Void the month's unpaid invoice and issue it again with a new number; both are kept.

        :param tenant_id: the tenant.
        :param month: a day of the month.
        :param reason: why; it is saved with the invoice.
        :param issued_on: the date of issue (Asia/Tokyo).
        :param actor: the person or the run; it is saved with the invoice.
        :param approve: also finalise an invoice that is held because of its total or of rows that name no person.
        """
        approved = (tenant_id,) if approve else ()
        return self._settle(
            tenant_id,
            month,
            Instructions(issued_on, actor, recalculate=True, reason=reason, approved=approved),
        )

    def void(self, tenant_id: str, number: str, reason: str, *, actor: str) -> StoredInvoice:
        """Void an unpaid invoice; it keeps its number.

        :param tenant_id: the tenant.
        :param number: the number of the invoice or credit note.
        :param reason: why; it is saved with the invoice.
        :param actor: the person or the run; it is saved with the invoice.
        """
        with self._transaction(tenant_id) as connection:
            self.billing.void(connection, find_invoice(connection, number), reason, actor=actor)
            return find_invoice(connection, number)

    def credit(
        self,
        tenant_id: str,
        number: str,
        reason: str,
        *,
        issued_on: date,
        actor: str,
        parts: Sequence[CreditedPart] | None = None,
    ) -> StoredInvoice:
        """Issue a credit note (適格返還請求書). If it takes the rest of the invoice, the month can be billed again.

        :param tenant_id: the tenant.
        :param number: the number of the invoice or credit note.
        :param reason: why; it is saved with the invoice.
        :param issued_on: the date of issue (Asia/Tokyo).
        :param actor: the person or the run; it is saved with the invoice.
        :param parts: the part of each line to credit; default: all that is left.
        """
        with self._transaction(tenant_id) as connection:
            credit = self.billing.credit(
                connection,
                find_invoice(connection, number),
                reason,
                issued_on=issued_on,
                actor=actor,
                parts=parts,
            )
            assert credit.number is not None
            return find_invoice(connection, credit.number)

    def enter_line(self, tenant_id: str, line: ExtraCharge, *, entered_by: str) -> None:
        """Enter a one-off line for the invoice of the month of its date.

        :param tenant_id: the tenant.
        :param line: the line, in the currency of the tenant's invoices.
        :param entered_by: the person or the system; it is saved with the line.
        """
        with self._transaction(tenant_id) as connection:
            self.billing.enter_line(connection, tenant_id, line, entered_by=entered_by)

    def carry_difference(self, tenant_id: str, month: date, *, entered_by: str) -> list[ExtraCharge]:
        """Carry a difference of a final month into the next month that is not final. A difference arises when usage is closed again.

        :param tenant_id: the tenant.
        :param month: a day of the final month.
        :param entered_by: the person or the system; it is saved with the lines.
        """
        with self._transaction(tenant_id) as connection:
            return self.billing.carry_difference(connection, tenant_id, month, entered_by=entered_by)

    def invoice(self, tenant_id: str, number: str) -> StoredInvoice:
        """An invoice or credit note in its present state.

        :param tenant_id: the tenant.
        :param number: the number of the invoice or credit note.
        """
        with self._transaction(tenant_id) as connection:
            return find_invoice(connection, number)

    def explain(self, tenant_id: str, number: str) -> Iterator[str]:
        """Explain the invoice line by line, with the closed days from which it was calculated.

        :param tenant_id: the tenant.
        :param number: the number of the invoice or credit note.
        """
        stored = self.invoice(tenant_id, number)
        return explain(stored.invoice, stored.inputs)

    def document(self, tenant_id: str, number: str, format_name: str = "pdf") -> bytes:
        """Render the invoice as ``pdf`` or ``json``; the same invoice gives the same bytes."""
        if format_name not in archive.RENDERERS:
            raise BillingError(
                "UNKNOWN_FORMAT",
                f"形式 '{format_name}' はありません。{'、'.join(archive.RENDERERS)} のどれかです",
            )
        return archive.RENDERERS[format_name](self.invoice(tenant_id, number).invoice)

    def write_documents(self, tenant_id: str, month: date) -> None:
        """Write the missing files of a month's invoices and credit notes of the tenant into the object store.

        :param tenant_id: the tenant.
        :param month: a day of the month.
        """
        with self._tenant_db.connect() as connection:
            self.billing.write_documents(connection, tenant_id, month, object_store())

    def write_accounting_files(self, month: date) -> bool:
        """Write the accountant's files of a month into the object store. Returns False if the month is closed.

        :param month: a day of the calendar month of the documents' dates.
        """
        with self._platform_db.connect() as platform:
            return self.billing.write_accounting_month(platform, month, object_store())

    @contextmanager
    def _transaction(self, tenant_id: str) -> Iterator[psycopg.Connection]:
        with self._tenant_db.connect() as connection, tenant_transaction(connection, [tenant_id]):
            yield connection

    def _settle(self, tenant_id: str, month: date, instructions: Instructions) -> TenantSettlement:
        with self._transaction(tenant_id) as connection:
            return self._only(tenant_id, self.billing.settle(connection, month, instructions))

    @staticmethod
    def _only(tenant_id: str, settlements: list[TenantSettlement]) -> TenantSettlement:
        if not settlements:
            raise _no_such_tenant(tenant_id)
        return settlements[0]


def _no_such_tenant(name: str) -> BillingError:
    return BillingError("NO_SUCH_TENANT", f"テナント '{name}' は存在しません")
