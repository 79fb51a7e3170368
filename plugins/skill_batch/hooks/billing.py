"""Billing for DAGs, those of this repository and other teams': price, finalise, approve, void and credit invoices of one tenant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
from airflow.sdk import BaseHook

from include.billing import archive, ledger
from include.billing.accounts import load_accounts
from include.billing.errors import BillingError
from include.billing.explanation import explain
from include.billing.ledger import (
    Instructions,
    StoredInvoice,
    TenantSettlement,
    find_invoice,
    price_tenants,
    settle_tenants,
)
from include.billing.periods import Period
from include.billing.terms import load_terms
from include.billing.usage import UsageDay
from include.database import read_sql, tenant_transaction
from include.errors import BatchError, reason_of
from include.execution.run_log import select_tenants
from include.execution.sharding import Tenant
from include.tenant_management.tenant_billing import create_batch
from skill_batch.hooks.tenant_db import PlatformDbHook, TenantDbHook
from skill_batch.object_storage import object_store


class BillingHook(BaseHook):
    """The invoices of one tenant at a time, by the rules of BATCH-018-02 and under row-level security.

    Months are named by any of their days (Asia/Tokyo). What a method changes is one transaction: all of it, or nothing. As long as the
    price list or the issuer is a sample, nothing is finalised (settlement ``SAMPLE``), reissued, voided or credited. Wherever a
    tenant, a price or an invoice is not what it has to be, ``BillingError`` says in one Japanese sentence what is wrong and what to do.

    :param tenant_db_conn_id: Postgres connection that acts as ``batch_tenant``.
    :param platform_db_conn_id: Postgres connection that acts as ``batch_platform``; only for finding tenants.
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
        self._tenant_db = TenantDbHook(tenant_db_conn_id)
        self._platform_db = PlatformDbHook(platform_db_conn_id)

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

    def billable_tenants(self, month: date) -> list[Tenant]:
        """The tenants that a month's billing looks at: the active ones, and those that left in the month or later and still owe it."""
        with self._platform_db.connect() as platform:
            further = create_batch().further_tenants(platform, month)
            return select_tenants(platform, [], further).tenants

    def tenant_id_of(self, code: str) -> str:
        """The id of the tenant with this code (or id), whatever its status. :raises BillingError: there is none."""
        with self._platform_db.connect() as platform:
            row = platform.execute(
                read_sql(Path(ledger.__file__).parent, "find_tenant"), {"code": code}
            ).fetchone()
        if row is None:
            raise _no_such_tenant(code)
        return str(row[0])

    def usage_of(self, tenant_id: str, month: date) -> tuple[UsageDay, ...]:
        """The closed days of the month, in order."""
        with self._transaction(tenant_id) as connection:
            return tuple(
                day
                for account in load_accounts(connection, Period.month_of(month))
                for day in account.usage_days
            )

    def price(self, tenant_id: str, month: date, *, allow_incomplete: bool = False) -> TenantSettlement:
        """What the month would come to now; nothing is written."""
        period = Period.month_of(month)
        instructions = Instructions(period.next_day, "", allow_incomplete=allow_incomplete)
        with self._transaction(tenant_id) as connection:
            return self._only(tenant_id, price_tenants(connection, period, load_terms(), instructions))

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
        """Price the month and finalise its invoice; a month that is finalised stays as it is.

        ``approve`` also finalises a total that is held for its difference from the month before. ``actor`` is recorded.
        """
        instructions = Instructions(
            issued_on, actor, allow_incomplete=allow_incomplete, approved=(tenant_id,) if approve else ()
        )
        return self._settle(tenant_id, month, instructions)

    def approve(self, tenant_id: str, month: date, *, issued_on: date, actor: str) -> TenantSettlement:
        """Finalise a held invoice."""
        return self.finalize(tenant_id, month, issued_on=issued_on, actor=actor, approve=True)

    def reissue(
        self,
        tenant_id: str,
        month: date,
        reason: str,
        *,
        issued_on: date,
        actor: str,
        approve: bool = False,
    ) -> TenantSettlement:
        """Void the month's invoice, unless it is paid, and issue it anew under a new number; both are kept.

        Where the new total would be held, the old invoice stands, unless ``approve`` says that the total is right.
        """
        approved = (tenant_id,) if approve else ()
        return self._settle(
            tenant_id,
            month,
            Instructions(issued_on, actor, recalculate=True, reason=reason, approved=approved),
        )

    def void(self, tenant_id: str, number: str, reason: str, *, actor: str) -> StoredInvoice:
        """Take back an invoice that nobody has paid; it keeps its number."""
        with self._transaction(tenant_id) as connection:
            ledger.void_invoice(
                connection, load_terms(), find_invoice(connection, number), reason, actor=actor
            )
            return find_invoice(connection, number)

    def credit(
        self, tenant_id: str, number: str, reason: str, *, issued_on: date, actor: str
    ) -> StoredInvoice:
        """Issue the credit (適格返還請求書) that cancels an invoice exactly; its month may then be billed anew."""
        with self._transaction(tenant_id) as connection:
            credit = ledger.credit_invoice(
                connection,
                load_terms(),
                find_invoice(connection, number),
                reason,
                issued_on=issued_on,
                actor=actor,
            )
            assert credit.number is not None
            return find_invoice(connection, credit.number)

    def invoice(self, tenant_id: str, number: str) -> StoredInvoice:
        """An invoice or credit as it stands."""
        with self._transaction(tenant_id) as connection:
            return find_invoice(connection, number)

    def explain(self, tenant_id: str, number: str) -> Iterator[str]:
        """The invoice line by line, down to the closed days that it was calculated from."""
        stored = self.invoice(tenant_id, number)
        return explain(stored.invoice, stored.inputs)

    def document(self, tenant_id: str, number: str, format_name: str = "pdf") -> bytes:
        """The invoice as ``pdf`` or ``json``, made anew; the same invoice gives the same bytes."""
        if format_name not in archive.RENDERERS:
            raise BillingError(
                "UNKNOWN_FORMAT",
                f"形式 '{format_name}' はありません。{'、'.join(archive.RENDERERS)} のどれかです",
            )
        return archive.RENDERERS[format_name](self.invoice(tenant_id, number).invoice)

    def write_documents(self, tenant_id: str, month: date) -> None:
        """Write the files of the tenant's invoices and credits of a month that have none yet, into the object store."""
        with self._tenant_db.connect() as connection:
            archive.write_documents(connection, tenant_id, month.replace(day=1), object_store())

    def write_accounting_file(self, month: date) -> None:
        """Write the month's accounting CSV anew, over all tenants, into the object store."""
        with self._platform_db.connect() as platform:
            archive.write_accounting_file(platform, month.replace(day=1), object_store())

    @contextmanager
    def _transaction(self, tenant_id: str) -> Iterator[psycopg.Connection]:
        with self._tenant_db.connect() as connection, tenant_transaction(connection, [tenant_id]):
            yield connection

    def _settle(self, tenant_id: str, month: date, instructions: Instructions) -> TenantSettlement:
        with self._transaction(tenant_id) as connection:
            settlements = settle_tenants(connection, Period.month_of(month), load_terms(), instructions)
        return self._only(tenant_id, settlements)

    @staticmethod
    def _only(tenant_id: str, settlements: list[TenantSettlement]) -> TenantSettlement:
        if not settlements:
            raise _no_such_tenant(tenant_id)
        return settlements[0]


def _no_such_tenant(name: str) -> BillingError:
    return BillingError("NO_SUCH_TENANT", f"テナント '{name}' は存在しません")
