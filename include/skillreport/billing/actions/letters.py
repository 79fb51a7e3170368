"""Stop the letter of an invoice before it leaves, and let it leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.skillreport.billing.actions.action import Desk, TenantAction
from include.skillreport.billing.actions.fields import AcceptNearDue, Reason
from include.skillreport.core.form import described

if TYPE_CHECKING:
    from include.skillreport.core.execution.batch import UnitResult


class LetterAction(TenantAction):
    """An action on the letter of the month's invoice."""

    takes_former = True

    reason: Reason


@described("stop_letter", "発送を止める")
class StopLetter(LetterAction):
    """請求書のメールを、送る前に止めます。止めている間に取り消せば、客先には何も届きません。"""

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Stop the letter. A second attempt of the run changes nothing, also if the letter was released since."""
        from include.skillreport.billing.ledger.letters import LetterDecision, already_decided, stop_letter
        from include.skillreport.core.execution.batch import UnitResult

        run = desk.run
        if done := already_decided(desk.connection, tenant_id, desk.period, run.execution_id):
            return UnitResult(tenant_id, {"letter_stopped": done[0]}, 1)
        stored = desk.invoice(tenant_id)
        notes = stop_letter(
            desk.connection, stored, LetterDecision(run.person, run.execution_id, self.reason)
        )
        return UnitResult(tenant_id, {"letter_stopped": stored.invoice.number}, 1, notes=notes)


@described("send_letter", "発送する")
class SendLetter(LetterAction):
    """止めた請求書、ほかの人が訂正した請求書、発送日を待つ請求書のメールを、次の BATCH-019-01 で送ります。"""

    accept_near_due: AcceptNearDue = False

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Let the letter leave with the next run of BATCH-019-01. A second attempt changes nothing, also if it was stopped since."""
        from include.skillreport.billing.ledger.letters import LetterDecision, already_decided, send_letter
        from include.skillreport.core.execution.batch import UnitResult

        run = desk.run
        if done := already_decided(desk.connection, tenant_id, desk.period, run.execution_id):
            return UnitResult(tenant_id, {"letter_released": done[0]}, 1)
        stored = desk.invoice(tenant_id)
        leaves = send_letter(
            desk.connection,
            desk.billing.terms,
            stored,
            LetterDecision(run.person, run.execution_id, self.reason),
            today=run.run_date,
            accepts_near_due=self.accept_near_due,
        )
        note = (
            "次の BATCH-019-01（毎日 9 時）が送ります"
            if leaves
            else "請求先に送る通知はありません。訂正を確認済みにしました"
        )
        return UnitResult(tenant_id, {"letter_released": stored.invoice.number}, 1, notes=(note,))
