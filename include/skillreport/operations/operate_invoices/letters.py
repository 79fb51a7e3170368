"""Operations on the letter of the month's invoice: stop it before it leaves, and let it leave with the next run."""

from __future__ import annotations

from include.skillreport.billing.ledger.letters import Decision, already_decided, send_letter, stop_letter
from include.skillreport.billing.ledger.stored_invoice import invoice_of_month
from include.skillreport.billing.periods import Period
from include.skillreport.billing.service import Billing
from include.skillreport.core.execution.batch import UnitResult, Work
from include.skillreport.operations.operate_invoices import form


def stop(_: Billing, work: Work, entered: form.StopLetter, tenant_id: str) -> UnitResult:
    """Stop the letter. A second attempt of the run changes nothing, also if the letter was released since."""
    run, period = work.run, Period.month_of(work.run.business_date)
    if done := already_decided(work.connection, tenant_id, period, run.execution_id):
        return UnitResult(tenant_id, {"letter_stopped": done[0]}, 1)
    stored = invoice_of_month(work.connection, tenant_id, period)
    decision = Decision(run.person, run.execution_id, entered.reason)
    notes = stop_letter(work.connection, stored, decision)
    return UnitResult(tenant_id, {"letter_stopped": stored.invoice.number}, 1, notes=notes)


def send(billing: Billing, work: Work, entered: form.SendLetter, tenant_id: str) -> UnitResult:
    """Let the letter leave with the next run of BATCH-019-01. A second attempt changes nothing, also if the letter was stopped since."""
    run, period = work.run, Period.month_of(work.run.business_date)
    if done := already_decided(work.connection, tenant_id, period, run.execution_id):
        return UnitResult(tenant_id, {"letter_released": done[0]}, 1)
    stored = invoice_of_month(work.connection, tenant_id, period)
    leaves = send_letter(
        work.connection,
        billing.terms,
        stored,
        Decision(run.person, run.execution_id, entered.reason),
        today=run.run_date,
        accepts_near_due=entered.accept_near_due,
    )
    return UnitResult(
        tenant_id,
        {"letter_released": stored.invoice.number},
        1,
        notes=(
            "次の BATCH-019-01（毎日 9 時）が送ります"
            if leaves
            else "請求先に送る通知はありません。訂正を確認済みにしました",
        ),
    )
