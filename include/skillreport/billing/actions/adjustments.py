"""Adjustments of an invoice's receivable without money: a bank fee, a write-off, and taking either back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from typing_extensions import override

from include.skillreport.billing.actions.action import Desk
from include.skillreport.billing.actions.fields import (
    AdjustmentName,
    Evidence,
    Fact,
    FeeAmount,
    FeeOn,
    Reason,
    WrittenOffAmount,
    WrittenOffOn,
)
from include.skillreport.billing.actions.payments import PaymentAction
from include.skillreport.billing.errors import BillingError
from include.skillreport.core.form import described

if TYPE_CHECKING:
    from include.skillreport.billing.entry_limits import Entry
    from include.skillreport.billing.foreseen import Foreseen, PresentInvoice
    from include.skillreport.billing.ledger.stored_invoice import StoredInvoice
    from include.skillreport.billing.receivables.adjustment import Adjustment
    from include.skillreport.core.execution.batch import UnitResult


@described("fee_difference", "手数料差額")
class FeeDifference(PaymentAction):
    """入金から引かれた振込手数料を、売上の返還（設定によっては支払手数料）として記録します。書類は発行しません。1 万円未満だけです。"""

    because = "手数料は請求書 1 件ずつ記録します。"

    fee_on: FeeOn
    fee_amount: FeeAmount | None = None

    @override
    def foresee(self, present: Sequence[PresentInvoice], /) -> Sequence[Foreseen]:
        from include.skillreport.billing.foreseen import live_invoice
        from include.skillreport.billing.ledger.adjustments import fee_amount
        from include.skillreport.billing.state import Act

        live = live_invoice(present, Act.FEE_DIFFERENCE)
        if live is None:
            return ()
        live.require_day(self.fee_on)
        return (live.opened(-fee_amount(live.stored, self.fee_amount, live.fee_tolerance)),)

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Record the fee that the payer's bank kept. A retry changes nothing."""
        from include.skillreport.billing.ledger.adjustments import record_fee
        from include.skillreport.billing.ledger.recoveries import AdjustmentAuthor
        from include.skillreport.billing.receivables.adjustment import Contra

        stored, run = desk.invoice(tenant_id), desk.run
        recorded = record_fee(
            desk.connection,
            desk.billing.terms,
            stored,
            self.fee_amount,
            AdjustmentAuthor(self.fee_on, "振込手数料", run.person, run.execution_id),
            today=run.run_date,
        )
        notes = (
            ("仕入税額控除には、手数料の適格請求書（立替金精算書と、銀行の請求書の写し）が必要です",)
            if recorded.contra is Contra.PURCHASE
            else ()
        )
        return _result(tenant_id, stored, recorded, notes=notes)


@described("write_off", "貸倒れ")
class WriteOff(PaymentAction):
    """請求書の残り（か一部）を貸倒れにします。後の入金は回収になります。1 人で登録できる額を超えると、承認を待ちます。"""

    because = "貸倒れは請求書 1 件ずつ記録します。"

    written_off_on: WrittenOffOn
    fact: Fact
    evidence: Evidence
    written_off_amount: WrittenOffAmount | None = None

    @override
    def foresee(self, present: Sequence[PresentInvoice], /) -> Sequence[Foreseen]:
        from include.skillreport.billing.foreseen import live_invoice
        from include.skillreport.billing.ledger.adjustments import write_off_amount
        from include.skillreport.billing.state import Act

        live = live_invoice(present, Act.WRITE_OFF)
        if live is None:
            return ()
        live.require_day(self.written_off_on)
        return (live.opened(-write_off_amount(live.stored, self.written_off_amount)),)

    @override
    def entry(self, present: Sequence[PresentInvoice], /) -> Entry | None:
        from include.skillreport.billing.entry_limits import Entry
        from include.skillreport.billing.foreseen import live_invoice
        from include.skillreport.billing.ledger.adjustments import write_off_amount
        from include.skillreport.billing.receivables.adjustment import yen_per_unit

        live = live_invoice(present)
        if live is None:
            return None
        stored = live.stored
        amount = write_off_amount(stored, self.written_off_amount)
        return Entry(amount, stored.invoice.period_start, rate=yen_per_unit(stored.inputs))

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Write off the invoice's open amount or a part of it, or let it wait. A retry changes nothing."""
        from include.skillreport.billing.ledger.recoveries import AdjustmentAuthor
        from include.skillreport.billing.ledger.waiting_write_offs import write_off_or_wait
        from include.skillreport.core.execution.batch import UnitResult

        desk.billing.lock_entries(desk.connection)
        stored, run = desk.invoice(tenant_id), desk.run
        fact = None if self.fact == "none" else self.fact
        entered = AdjustmentAuthor(
            self.written_off_on, self.evidence, run.person, run.execution_id, fact=fact
        )
        recorded = write_off_or_wait(
            desk.connection,
            desk.billing.terms,
            stored,
            self.written_off_amount,
            entered,
            today=run.run_date,
        )
        if isinstance(recorded, str):
            return UnitResult(tenant_id, {"waits": "write_off"}, 1, notes=(recorded,))
        notes = () if fact else ("消費税は控除しません",)
        return _result(tenant_id, stored, recorded, notes=notes)


@described("take_back_adjustment", "手数料差額・貸倒れの取り消し")
class TakeBackAdjustment(PaymentAction):
    """誤って記録した手数料差額か貸倒れを、今日の日付で取り消します。行は残ります。承認待ちの貸倒れは取り下げます。"""

    because = "請求書 1 件ずつ取り消します。"

    adjustment: AdjustmentName
    reason: Reason

    @override
    def foresee(self, present: Sequence[PresentInvoice], /) -> Sequence[Foreseen]:
        from include.skillreport.billing.foreseen import live_invoice
        from include.skillreport.billing.receivables.adjustment import AdjustmentKind

        live = live_invoice(present)
        if live is None or not self.adjustment:
            return ()
        state = live.stored.state
        # Without a recorded write-off, the waiting one is withdrawn, and no amount changes.
        left = state.fee_total if self.adjustment == AdjustmentKind.FEE else state.written_off_total
        return (live.opened(left),) if left else ()

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Take back the invoice's fees or its write-off, on the day of the run. A retry changes nothing."""
        from include.skillreport.billing.ledger.adjustments import take_back
        from include.skillreport.billing.ledger.recoveries import AdjustmentAuthor
        from include.skillreport.billing.ledger.waiting_write_offs import withdraw_write_off
        from include.skillreport.billing.receivables.adjustment import AdjustmentKind
        from include.skillreport.core.execution.batch import UnitResult

        stored, run = desk.invoice(tenant_id), desk.run
        by = {"person": run.person, "execution_id": run.execution_id}
        if self.adjustment == AdjustmentKind.WRITE_OFF and withdraw_write_off(
            desk.connection, stored, self.reason, **by
        ):
            note = f"請求書 {stored.invoice.number} の承認待ちの貸倒れを取り下げました"
            return UnitResult(tenant_id, {"adjusted": stored.invoice.number}, 1, notes=(note,))
        recorded = take_back(
            desk.connection,
            stored,
            AdjustmentKind(self.adjustment),
            AdjustmentAuthor(run.run_date, self.reason, run.person, run.execution_id),
            today=run.run_date,
        )
        return _result(tenant_id, stored, *recorded)


def approve_write_off(desk: Desk, tenant_id: str) -> UnitResult | None:
    """Record the waiting write-off of the month's invoice; None if there is none.

    :raises BillingError: this user entered it, it was entered after this run was opened, or the invoice has changed.
    """
    from include.skillreport.billing.ledger.waiting_write_offs import approve_write_off as approve

    try:
        stored = desk.invoice(tenant_id)
    except BillingError:  # a waiting write-off has a live invoice
        return None
    run = desk.run
    recorded = approve(
        desk.connection,
        desk.billing.terms,
        stored,
        approver=desk.person,
        execution_id=run.execution_id,
        today=run.run_date,
    )
    return _result(tenant_id, stored, recorded) if recorded else None


def _result(
    tenant_id: str, stored: StoredInvoice, *recorded: Adjustment, notes: tuple[str, ...] = ()
) -> UnitResult:
    from include.skillreport.core.execution.batch import UnitResult

    invoice = stored.invoice
    named = [
        f"請求書 {invoice.number} の{each.label} {abs(each.amount):,f} {invoice.currency} を記録しました"
        for each in recorded
    ]
    return UnitResult(tenant_id, {"adjusted": invoice.number}, len(recorded), notes=(*named, *notes))
