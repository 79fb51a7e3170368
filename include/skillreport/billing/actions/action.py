"""The base classes of the accountant's actions. DAG files import this module."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar

from include.skillreport.billing.actions.fields import Tenants
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.second_person import CONFIRMATION
from include.skillreport.core.errors import ParameterError, code_of
from include.skillreport.core.form import Operation, Shows

if TYPE_CHECKING:
    import psycopg

    from include.skillreport.billing.billing_batch import BillingBatch
    from include.skillreport.billing.entry_limits import Entry
    from include.skillreport.billing.foreseen import Foreseen, PresentInvoice
    from include.skillreport.billing.ledger.stored_invoice import DoneByRun, StoredInvoice
    from include.skillreport.billing.periods import Period
    from include.skillreport.billing.second_person import Approver, SecondPerson
    from include.skillreport.billing.service import Billing
    from include.skillreport.core.errors import BatchError
    from include.skillreport.core.execution.batch import Outcome, Request, Run, UnitFailure, UnitResult, Work


@dataclass(frozen=True)
class Desk:
    """The context of an action in a step of its run. ``take`` returns the values that a user entered on the board; None: already used."""

    batch: BillingBatch
    work: Work
    take: Callable[[], Operation | None]
    confirmed_by: str = ""

    @property
    def person(self) -> str:
        """The user who acts. Authors who confirmed their own entries have a marked name (``Approver``)."""
        return self.confirmed_by or self.run.person

    def approver(self, confirmed: str) -> Approver:
        """The run's user as an approver who typed ``confirmed``."""
        from include.skillreport.billing.second_person import Approver

        typed = [confirmed] if confirmed else []
        return Approver(self.run.person, self.billing.terms.settings.second_person, typed)

    @property
    def billing(self) -> Billing:
        """Billing with the installation's terms."""
        return self.batch.billing

    @property
    def connection(self) -> psycopg.Connection:
        """The transaction of the tenants, or of the entire run."""
        return self.work.connection

    @property
    def run(self) -> Run:
        """The run."""
        return self.work.run

    @property
    def period(self) -> Period:
        """The month of the run."""
        from include.skillreport.billing.periods import Period

        return Period.month_of(self.run.business_date)

    @property
    def issued_on(self) -> date:
        """The date of the documents that the run issues."""
        return self.billing.issue_date(self.run.business_date, self.run.run_date)

    def invoice(self, tenant_id: str) -> StoredInvoice:
        """The tenant's live invoice of the month. :raises BillingError: there is none."""
        from include.skillreport.billing.ledger.stored_invoice import invoice_of_month

        return invoice_of_month(self.connection, tenant_id, self.period)

    def done(self, what: DoneByRun, tenant_id: str) -> list[dict[str, Any]]:
        """The run's earlier work in the tenant's month (``done_by_run``). A retry changes nothing."""
        from include.skillreport.billing.ledger.stored_invoice import done_by_run

        return done_by_run(self.connection, what, tenant_id, self.period, self.run.execution_id)

    def remark(self, tenant_id: str) -> str | None:
        """Why the tenant's contact receives no e-mail; None if they do."""
        from include.skillreport.billing.ledger.contacts import load_contacts

        return load_contacts(self.connection)[tenant_id].remark


class Action(Operation):
    """An action of the accountant.

    ``issues``: it issues invoices of the month, so the run begins like BATCH-018-02. ``needs_nobody``: it works on no tenant.
    ``reads_files``: it reads a file of the store. ``writes_documents``: it may leave a tenant's document without its files.
    """

    issues: ClassVar[bool] = False
    needs_nobody: ClassVar[bool] = False
    reads_files: ClassVar[bool] = False
    writes_documents: ClassVar[bool] = True

    def options(self, _: Request, /) -> dict[str, Any]:
        """The form values that the run keeps, before it is opened. :raises ParameterError: a value is invalid."""
        return self.values()

    def found_tenants(self, _: Billing, __: Request, /) -> Collection[str] | None:
        """The tenants that an action's file selects; None: the named tenants."""
        return None

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Act for one tenant, in the tenants' transaction. A later attempt recognises this, and does not change another invoice.

        :raises BillingError: the tenant's invoice does not allow it. :raises ParameterError: the values do not.
        """
        raise NotImplementedError

    def do_all(self, desk: Desk) -> list[Outcome]:
        """Act for the tenants of the shard. A tenant fails if its invoice does not allow it."""
        return [self._attempt(desk, tenant_id) for tenant_id in desk.work.tenant_ids]

    def finish(self, desk: Desk) -> None:
        """Write the files of all tenants that the action may have changed. Acts as ``batch_platform``."""
        desk.batch.write_month(desk.work)

    def _attempt(self, desk: Desk, tenant_id: str) -> Outcome:

        try:
            return self.do(desk, tenant_id)
        except (BillingError, ParameterError) as error:
            return failure(tenant_id, error)


class TenantAction(Action):
    """An action on the month's invoices of the tenants. With a reason ``because``, it works on exactly one tenant.

    ``other_invoice``: the field with the number of another invoice that it also changes. ``sends_letter``: the customer gets an e-mail
    about it, after an approval if it waits.
    """

    because: ClassVar[str] = ""
    sends_letter: ClassVar[bool] = False
    other_invoice: ClassVar[str] = ""
    shows = Shows("invoices")

    tenants: Tenants

    def check(self, _: date, /) -> None:
        self.require_few(self.tenants)
        if getattr(self, "confirmed", "") and len(set(self.tenants)) != 1:
            raise ParameterError(
                f"「{CONFIRMATION}」（confirmed）を入力するときは、「テナントコード」（tenants）に 1 件だけ指定してください。"
            )

    def foresee(self, _: Sequence[PresentInvoice], /) -> Sequence[Foreseen]:
        """The changes of a tenant's invoices by the values entered so far. Pure. Empty: unknown.

        :raises BillingError: the run would reject it.
        """
        return ()

    def entry(self, _: Sequence[PresentInvoice], /) -> Entry | None:
        """The entry that waits for another user's approval above a limit (``entry_limits``). Pure. None: no entry, or not known yet.

        :raises BillingError: the run would reject it.
        """
        return None

    @classmethod
    def always_waits(cls, _: SecondPerson, /) -> str:
        """Why every entry waits for another user. Empty: not every entry waits."""
        return ""

    @classmethod
    def require_few(cls, tenants: Collection[str]) -> None:
        """Check the number of tenants. :raises ParameterError: the action is for one tenant, and ``tenants`` (codes or ids) are none or
        several.
        """
        if cls.because and len(set(tenants)) != 1:
            raise ParameterError(
                f"操作「{cls.title}」では「テナントコード」（tenants）に 1 件だけ指定してください。{cls.because}"
            )


def failure(tenant_id: str, error: BatchError) -> UnitFailure:
    """The outcome of a tenant whose invoice does not allow the action."""
    from include.skillreport.core.execution.batch import UnitFailure

    return UnitFailure(tenant_id, code_of(error), str(error), recoverable=False)


def document_result(desk: Desk, tenant_id: str, verb: str, number: str | None) -> UnitResult:
    """The result about a numbered document. Its note says why the customer receives no e-mail about it."""
    from include.skillreport.core.execution.batch import UnitResult

    remark = desk.remark(tenant_id)
    return UnitResult(tenant_id, {verb: number}, 0, notes=(remark,) if remark and number else ())
