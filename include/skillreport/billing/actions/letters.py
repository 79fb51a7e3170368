"""Stops an invoice's e-mail before it is sent, and releases it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from include.skillreport.billing.actions.action import Desk, TenantAction
from include.skillreport.billing.actions.fields import AcceptNearDue, Confirmed, Reason
from include.skillreport.billing.state import Act, invoice_label
from include.skillreport.core.form import described

if TYPE_CHECKING:
    from include.skillreport.billing.foreseen import Foreseen, PresentInvoice
    from include.skillreport.billing.ledger.letters import LetterDecision
    from include.skillreport.billing.ledger.stored_invoice import StoredInvoice
    from include.skillreport.core.execution.batch import UnitResult


class LetterAction(TenantAction):
    """A decision about the e-mail of the month's invoice. ``outcome`` names it in the result."""

    takes_former = True
    outcome: ClassVar[str]

    reason: Reason

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Decide. A second attempt of the run changes nothing, even if another user has decided otherwise since."""
        from include.skillreport.billing.ledger.letters import LetterDecision
        from include.skillreport.core.execution.batch import UnitResult

        if done := desk.done("letter_decided", tenant_id):
            return UnitResult(tenant_id, {self.outcome: done[0]["number"]}, 1)
        stored, run = desk.invoice(tenant_id), desk.run
        decision = LetterDecision(self.person(desk, stored), run.execution_id, self.reason)
        notes = self.decide(desk, stored, decision)
        return UnitResult(tenant_id, {self.outcome: stored.invoice.number}, 1, notes=notes)

    def person(self, desk: Desk, _: StoredInvoice, /) -> str:
        """The user who decides."""
        return desk.person

    def decide(self, desk: Desk, stored: StoredInvoice, decision: LetterDecision) -> tuple[str, ...]:
        """Apply the decision. Returns warnings. :raises BillingError: the e-mail does not allow it."""
        raise NotImplementedError


@described("stop_letter", "送付を停止")
class StopLetter(LetterAction):
    """請求書のメールを、送る前に止めます。止めている間に取り消せば、取引先には何も届きません。"""

    outcome = "letter_stopped"
    mail = "「送付する」を押すまで、取引先にメールを送りません。"

    @override
    def foresee(self, present: Sequence[PresentInvoice], /) -> Sequence[Foreseen]:
        from include.skillreport.billing.foreseen import STOPPED

        return _foreseen(present, Act.STOP_LETTER, STOPPED)

    def decide(self, desk: Desk, stored: StoredInvoice, decision: LetterDecision) -> tuple[str, ...]:
        """Stop the e-mail."""
        from include.skillreport.billing.ledger.letters import stop_letter

        return stop_letter(desk.connection, stored, decision)


@described("send_letter", "送付する")
class SendLetter(LetterAction):
    """止めた請求書、ほかの人が訂正した請求書、送付日を待つ請求書のメールを、次の BATCH-019-01 で送ります。"""

    outcome = "letter_released"
    mail = "取引先に、次の送信（毎日 9:00）でメールを送ります。"

    accept_near_due: AcceptNearDue = False
    confirmed: Confirmed = ""

    @override
    def foresee(self, present: Sequence[PresentInvoice], /) -> Sequence[Foreseen]:
        from include.skillreport.billing.foreseen import NEXT_SENDING

        return _foreseen(present, None, NEXT_SENDING)

    def person(self, desk: Desk, stored: StoredInvoice, /) -> str:
        """The user who sends it. With ``billing.second_person: none``, a correction's author types the invoice's total."""
        state = stored.state
        return desk.approver(self.confirmed).name_for(
            f"{invoice_label(state.number)}の訂正", state.corrected_by, abs(state.total)
        )

    def decide(self, desk: Desk, stored: StoredInvoice, decision: LetterDecision) -> tuple[str, ...]:
        """Release the e-mail for the next run of BATCH-019-01."""
        from include.skillreport.billing.ledger.letters import send_letter

        leaves = send_letter(
            desk.connection,
            desk.billing.terms,
            stored,
            decision,
            today=desk.run.run_date,
            accepts_near_due=self.accept_near_due,
        )
        if leaves:
            return ("次の BATCH-019-01（毎日 9 時）が送ります",)
        return ("請求先に送る通知はありません。訂正を確認済みにしました",)


def _foreseen(present: Sequence[PresentInvoice], act: Act | None, after: str) -> Sequence[Foreseen]:
    """The sending of the e-mail after the decision. ``act``: the state must allow it, whoever decides."""
    from include.skillreport.billing.foreseen import live_invoice

    live = live_invoice(present, act)
    return (live.letter(after),) if live else ()
