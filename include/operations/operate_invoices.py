"""Operations of an accountant on invoices: explain, approve, void, credit, reissue."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from include.billing.errors import BillingError
from include.billing.explanation import explain
from include.billing.ledger.correction import already_done
from include.billing.ledger.settlement import Instructions
from include.billing.ledger.stored_invoice import invoice_of_month
from include.billing.outcomes import issue_date, outcome_of
from include.billing.periods import Period
from include.billing.service import Billing
from include.execution.batch import (
    FinishesRun,
    Outcome,
    Request,
    SelectsTenants,
    TakesOptions,
    TenantBatch,
    UnitFailure,
    UnitResult,
    Work,
    WritesFiles,
)
from include.operations.forms import INVOICES


class InvoiceOperations(TakesOptions, SelectsTenants, TenantBatch, WritesFiles, FinishesRun):
    """One operation on the month's invoice of each named tenant. ``business_date`` is a day of that month."""

    def __init__(self, billing: Billing) -> None:
        self._billing = billing

    def options(self, request: Request) -> dict[str, Any]:
        """``operation``, ``reason``, and which deviations an approval or a reissue accepts."""
        operation = INVOICES.chosen(request.values)
        return {
            "operation": operation.name,
            "is_read_only": operation.is_read_only,
            "reason": str(request.values.get("reason") or "").strip(),
            "allow_incomplete": bool(request.values.get("allow_incomplete")),
            "accept_change": bool(request.values.get("accept_change")),
        }

    def further_tenants(self, request: Request) -> Collection[str]:
        """The tenants that left in the month or later, and owe it."""
        return self._billing.former_tenants(request.platform, request.business_date)

    def process(self, work: Work) -> list[Outcome]:
        """Do the operation for each tenant. If an invoice does not allow it, this tenant fails."""
        run = work.run
        if run.options["operation"] not in ("approve", "reissue"):
            return [self._operate(work, tenant_id) for tenant_id in work.tenant_ids]
        reissues = run.options["operation"] == "reissue"
        instructions = Instructions(
            issued_on=issue_date(run.business_date, run.run_date),
            actor=run.execution_id,
            resumable=True,
            allow_incomplete=run.options["allow_incomplete"],
            recalculate=reissues,
            reason=run.options["reason"],
            approved=() if reissues and not run.options["accept_change"] else work.tenant_ids,
        )
        # A dry run of a reissue is a rolled back one: it also shows what prevents it.
        bill = self._billing.price if run.dry_run and not reissues else self._billing.settle
        return [outcome_of(each) for each in bill(work.connection, run.business_date, instructions)]

    def write_files(self, work: Work, tenant_id: str) -> None:
        """Write the documents of the tenant's month that have no file."""
        if not work.run.options["is_read_only"]:
            self._billing.write_documents(work.connection, tenant_id, work.run.business_date, work.files)

    def finish(self, work: Work) -> None:
        """Write the month's accounting CSV, which contains all tenants."""
        if not work.run.options["is_read_only"]:
            self._billing.write_accounting_file(work.connection, work.run.business_date, work.files)

    def _operate(self, work: Work, tenant_id: str) -> Outcome:
        """Explain, void or credit. A later attempt finds the operation done, and does not change another invoice."""
        run, operation = work.run, work.run.options["operation"]
        period = Period.month_of(run.business_date)
        reason, actor = run.options["reason"], run.execution_id
        try:
            if operation == "explain":
                stored = invoice_of_month(work.connection, tenant_id, period)
                report = tuple(explain(stored.invoice, stored.inputs))
                return UnitResult(tenant_id, {"invoice_number": stored.invoice.number}, 0, report=report)
            credits = operation == "credit"
            result = "credited" if credits else "voided"
            done = already_done(work.connection, tenant_id, period, actor, credit=credits)
            if done:
                return UnitResult(tenant_id, {result: done[0]}, 0)
            stored = invoice_of_month(work.connection, tenant_id, period)
            number = stored.invoice.number
            if credits:
                issued_on = issue_date(run.business_date, run.run_date)
                number = self._billing.credit(
                    work.connection, stored, reason, issued_on=issued_on, actor=actor
                ).number
            else:
                self._billing.void(work.connection, stored, reason, actor=actor)
        except BillingError as error:
            return UnitFailure(tenant_id, error.code, str(error), recoverable=False)
        return UnitResult(tenant_id, {result: number}, 0)
