"""Operations of an accountant on invoices: the steps of their run, and the work of each operation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from include.skillreport.billing.billing_batch import BillingBatch
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.contract_changes import named_tenants
from include.skillreport.billing.ledger.drafts import renew_hold_reasons
from include.skillreport.billing.ledger.entries import first_opened
from include.skillreport.billing.ledger.extra_charges import approve_others_lines
from include.skillreport.billing.ledger.settlement import Instructions
from include.skillreport.billing.outcomes import outcome_of
from include.skillreport.billing.periods import Period
from include.skillreport.billing.service import Billing
from include.skillreport.core.errors import BatchError, ParameterError, code_of
from include.skillreport.core.execution.batch import (
    Outcome,
    Request,
    Run,
    UnitFailure,
    UnitResult,
    Work,
)
from include.skillreport.core.execution.sharding import Tenant
from include.skillreport.core.form import Operation
from include.skillreport.operations.entries import entry_options
from include.skillreport.operations.operate_invoices import (
    accounting_month,
    adjustments,
    form,
    invoices,
    letters,
    one_off_lines,
    payments,
)
from include.skillreport.operations.operate_invoices.form import FORM
from include.skillreport.operations.shown import ChecksShown

# The work of each operation that works tenant by tenant: it gets the billing, the step's work, the entered values (None: they are
# personal) and a tenant's id.
_WORK: Mapping[type[Operation], Callable[[Billing, Work, Any, str], UnitResult]] = {
    form.Explain: invoices.explain,
    form.Void: invoices.void,
    form.Credit: invoices.credit,
    form.PartCredit: invoices.credit,
    form.DropCredit: invoices.drop,
    form.Correct: invoices.correct,
    form.StopLetter: letters.stop,
    form.SendLetter: letters.send,
    form.ExtraLine: one_off_lines.enter,
    form.RemoveLine: one_off_lines.remove,
    form.Carry: invoices.carry,
    form.RecordPayment: payments.record,
    form.ReversePayment: payments.reverse,
    form.MovePayment: payments.move,
    form.RecordRefund: payments.refund,
    form.FeeDifference: adjustments.fee,
    form.WriteOff: adjustments.write_off,
    form.TakeBackAdjustment: adjustments.undo,
    form.StopReminders: payments.stop,
    form.AllowReminders: payments.allow,
}


class InvoiceOperations(ChecksShown, BillingBatch):
    """One operation on the month's invoice of each named tenant. ``business_date`` is a day of that month.

    An import of payments takes its tenants from the invoices in the file.
    """

    own_form = FORM

    def options(self, request: Request) -> dict[str, Any]:
        """The operation and its values, or of a correction the token of what was entered on the board; and the digest of a payment file."""
        if FORM.chosen(request.values) is form.Correct:
            options = entry_options(form.Correct, request, "ボードの請求書のページの「訂正」")
            for named in (request.codes, request.tenant_ids):
                form.Correct.require_few(named)
            return options
        entered = FORM.entered(request.values, request.run_date)
        if isinstance(entered, form.ImportPayments):
            return {**entered.values(), "payment_digest": payments.digest_of(request.files, entered)}
        is_issued = isinstance(entered, form.Approve | form.Reissue | form.BillAgain)
        if is_issued:
            self.begin_billing(request)
        return entered.values() | (self.image_options(request) if is_issued else {})

    def changed(self, work: Work, *, again: bool = False) -> Mapping[str, str]:
        """Compare the invoices of the month when no settlement, approval or entry can change them any more."""
        if again and not FORM.chosen(work.run.options).is_read_only:
            self._billing.lock_entries(work.connection)
        return super().changed(work, again=again)

    def needs_nobody(self, request: Request) -> bool:
        """Whether the operation works on the files of all tenants."""
        return FORM.chosen(request.values) is form.HandOver

    def further_tenants(self, request: Request) -> Collection[str]:
        """The tenants that left in the month or later and must pay for it, or that have an issued invoice to work on.

        For an operation of no month, the named tenants that have left.
        """
        if not FORM.chosen(request.values).of_month:
            return named_tenants(request.platform, request.codes)
        leaving = self._billing.former_tenants(request.platform, request.business_date)
        if FORM.chosen(request.values).takes_former:
            return leaving | payments.former_payers(request)
        return leaving

    def found_tenants(self, request: Request) -> Collection[str] | None:
        """The tenants of the invoices in a payment file. The whole file is checked first."""
        if FORM.chosen(request.values) is not form.ImportPayments:
            return None
        return payments.tenants_of_file(self._billing, request, FORM.entered(request.values))

    def vanished_tenants(self, request: Request) -> Sequence[Tenant]:
        """For work on an issued invoice, the tenants that the application has deleted and that have invoices."""
        return payments.vanished(request) if FORM.chosen(request.values).takes_former else ()

    def reads_files(self, run: Run) -> bool:
        """Whether the operation imports a file."""
        return FORM.chosen(run.options) is form.ImportPayments

    def process(self, work: Work) -> list[Outcome]:
        """Do the operation for each tenant. If an invoice does not allow it, this tenant fails."""
        operation = FORM.chosen(work.run.options)
        # The work of an operation with personal values takes them itself.
        entered = None if operation.is_personal() else FORM.entered(work.run.options)
        if isinstance(entered, form.ImportPayments):
            return payments.import_file(self._billing, work, entered)
        if isinstance(entered, form.Approve | form.Reissue | form.BillAgain):
            return self._settle(work, entered)
        return [self._operate(work, operation, entered, tenant_id) for tenant_id in work.tenant_ids]

    def write_files(self, work: Work, tenant_id: str) -> None:
        """Write the documents of the tenant's month, unless the operation issues none."""
        operation = FORM.chosen(work.run.options)
        if not operation.is_read_only and operation is not form.ImportPayments:
            super().write_files(work, tenant_id)

    def finish(self, work: Work) -> None:
        """Hand the month over, or write the files of all tenants if the operation may have changed them."""
        operation = FORM.chosen(work.run.options)
        if operation is form.HandOver:
            entered = FORM.entered(work.run.options)
            assert isinstance(entered, form.HandOver)
            accounting_month.hand_over(self._billing, work, entered)
        elif not operation.is_read_only:
            super().finish(work)

    def _settle(self, work: Work, entered: form.Approve | form.Reissue | form.BillAgain) -> list[Outcome]:
        run = work.run
        reissue = entered if isinstance(entered, form.Reissue) else None
        is_approved = isinstance(entered, form.Approve) or (reissue is not None and reissue.accept_change)
        instructions = Instructions(
            issued_on=self._billing.issue_date(run.business_date, run.run_date),
            actor=run.execution_id,
            resumable=True,
            allow_incomplete=entered.allow_incomplete,
            recalculate=reissue is not None,
            bills_again=isinstance(entered, form.BillAgain),
            reason="" if isinstance(entered, form.Approve) else entered.reason,
            approved=work.tenant_ids if is_approved else (),
            approved_by=run.person,
            entered_before=first_opened(work.connection, run.execution_id),
        )
        if is_approved:
            # Before the locks of the drafts.
            self._billing.lock_entries(work.connection)
        # A dry run of a reissue does the work and rolls it back, so it also shows what prevents it.
        if run.dry_run and not reissue:
            priced = self._billing.price(work.connection, run.business_date, instructions)
        else:
            priced = self.settle(work, instructions)
        settled = [outcome_of(each) for each in priced]
        if not isinstance(entered, form.Approve):
            return settled
        if not run.dry_run:
            settled = self._with_others_lines(work, settled, instructions)
        return self._with_credits(work, settled)

    def _with_others_lines(
        self, work: Work, settled: Sequence[Outcome], instructions: Instructions
    ) -> list[Outcome]:
        """The outcomes of an approval. Where a line of the person's own prevents it, the lines of others are approved all the same.

        Otherwise, two people who both have waiting lines of the month could never approve it.
        """
        period = Period.month_of(work.run.business_date)
        remarks = {
            outcome.unit_id: approve_others_lines(
                work.connection,
                outcome.unit_id,
                period,
                approver=instructions.approver,
                entered_before=instructions.entered_before,
            )
            for outcome in settled
            if isinstance(outcome, UnitFailure) and outcome.code == "OWN_ENTRY"
        }
        approved = [tenant_id for tenant_id, each in remarks.items() if each]
        if approved:
            renew_hold_reasons(
                work.connection,
                period,
                self._billing.terms,
                approved,
                allow_incomplete=instructions.allow_incomplete,
            )
        return [
            replace(outcome, notes=(*outcome.notes, *remarks.get(outcome.unit_id, ()))) for outcome in settled
        ]

    def _with_credits(self, work: Work, settled: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes of an approval. A final invoice may have waiting credit notes, which are issued."""
        outcomes = {outcome.unit_id: outcome for outcome in settled}
        for tenant_id in work.tenant_ids:
            try:
                issued = invoices.approve_credits(self._billing, work, tenant_id)
                if issued is None and tenant_id not in outcomes:
                    raise BillingError(
                        "NOTHING_TO_APPROVE",
                        "アプリケーションから消えたテナントに、承認待ちの返還はありません。対象月を確認してください",
                    )
            except BillingError as error:
                outcomes[tenant_id] = _failure(tenant_id, error)
            else:
                outcomes |= {tenant_id: issued} if issued else {}
        return [outcomes[tenant_id] for tenant_id in sorted(outcomes)]

    def _operate(
        self, work: Work, operation: type[Operation], entered: Operation | None, tenant_id: str
    ) -> Outcome:
        """Do one tenant's operation. A later attempt finds it done, and does not change another invoice."""
        try:
            return _WORK[operation](self._billing, work, entered, tenant_id)
        except (BillingError, ParameterError) as error:
            return _failure(tenant_id, error)


def _failure(tenant_id: str, error: BatchError) -> UnitFailure:
    return UnitFailure(tenant_id, code_of(error), str(error), recoverable=False)
