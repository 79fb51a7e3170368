"""Operations on the receivable of an invoice without money: the fee of the payer's bank, a write-off, and taking either back."""

from __future__ import annotations

from include.skillreport.billing.ledger.adjustments import record_fee, record_write_off, take_back
from include.skillreport.billing.ledger.recoveries import Entered
from include.skillreport.billing.ledger.stored_invoice import StoredInvoice, invoice_of_month
from include.skillreport.billing.periods import Period
from include.skillreport.billing.receivables.adjustment import Adjustment, AdjustmentKind, Contra
from include.skillreport.billing.service import Billing
from include.skillreport.core.execution.batch import UnitResult, Work
from include.skillreport.operations.operate_invoices import form


def fee(billing: Billing, work: Work, entered: form.FeeDifference, tenant_id: str) -> UnitResult:
    """Record the fee that the payer's bank has kept. A second attempt of the run changes nothing."""
    stored, run = _invoice(work, tenant_id), work.run
    recorded = record_fee(
        work.connection,
        billing.terms,
        stored,
        entered.fee_amount,
        Entered(entered.fee_on, "振込手数料", run.person, run.execution_id),
        today=run.run_date,
    )
    notes = (
        ("仕入税額控除には、手数料の適格請求書（立替金精算書と、銀行の請求書の写し）が必要です",)
        if recorded.contra is Contra.PURCHASE
        else ()
    )
    return _result(tenant_id, stored, recorded, notes=notes)


def write_off(_: Billing, work: Work, entered: form.WriteOff, tenant_id: str) -> UnitResult:
    """Write off what is open of the invoice, or a part of it. A second attempt of the run changes nothing."""
    stored, run = _invoice(work, tenant_id), work.run
    recorded = record_write_off(
        work.connection,
        stored,
        entered.written_off_amount,
        Entered(
            entered.written_off_on,
            entered.evidence,
            run.person,
            run.execution_id,
            fact=None if entered.fact == "none" else entered.fact,
        ),
        today=run.run_date,
    )
    notes = ("消費税は控除しません",) if entered.fact == "none" else ()
    return _result(tenant_id, stored, recorded, notes=notes)


def undo(_: Billing, work: Work, entered: form.TakeBackAdjustment, tenant_id: str) -> UnitResult:
    """Take back the invoice's fees or its write-off, on the day of the run. A second attempt of the run changes nothing."""
    stored, run = _invoice(work, tenant_id), work.run
    recorded = take_back(
        work.connection,
        stored,
        AdjustmentKind(entered.adjustment),
        Entered(run.run_date, entered.reason, run.person, run.execution_id),
        today=run.run_date,
    )
    return _result(tenant_id, stored, *recorded)


def _invoice(work: Work, tenant_id: str) -> StoredInvoice:
    return invoice_of_month(work.connection, tenant_id, Period.month_of(work.run.business_date))


def _result(
    tenant_id: str, stored: StoredInvoice, *recorded: Adjustment, notes: tuple[str, ...] = ()
) -> UnitResult:
    invoice = stored.invoice
    named = [
        f"請求書 {invoice.number} の{each.label} {abs(each.amount):,f} {invoice.currency} を記録しました"
        for each in recorded
    ]
    return UnitResult(tenant_id, {"adjusted": invoice.number}, len(recorded), notes=(*named, *notes))
