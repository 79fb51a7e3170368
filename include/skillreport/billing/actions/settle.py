"""Finalises a month's invoices: approves held ones, issues an invoice again, and bills a closed month again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from include.skillreport.billing.actions.action import Desk, TenantAction, failure
from include.skillreport.billing.actions.adjustments import approve_write_off
from include.skillreport.billing.actions.fields import AcceptChange, AllowIncomplete, Confirmed, Reason
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.state import invoice_label
from include.skillreport.core.form import Shows, described

if TYPE_CHECKING:
    from include.skillreport.billing.foreseen import Foreseen, PresentInvoice
    from include.skillreport.billing.ledger.settlement import Instructions
    from include.skillreport.core.execution.batch import Outcome, UnitResult

_HELD = "保留にしました。承認されるまで、取引先に請求しません。"


class SettleAction(TenantAction):
    """An action that prices the month and finalises it."""

    issues = True

    allow_incomplete: AllowIncomplete = False

    def do_all(self, desk: Desk) -> list[Outcome]:
        """Settle the shard's tenants with the action's instructions."""
        from include.skillreport.billing.outcomes import outcome_of

        instructions = self.instructions(desk)
        if instructions.approved:
            # Lock order: take this lock before the lock of any draft.
            desk.billing.lock_entries(desk.connection)
        # A dry run of a reissue rolls its work back, so it also shows the obstacles.
        if desk.run.dry_run and not instructions.recalculate:
            priced = desk.billing.price(desk.connection, desk.run.business_date, instructions)
        else:
            priced = desk.batch.settle(desk.work, instructions)
        return [outcome_of(each, held=self.held(each.number)) for each in priced]

    def held(self, _: str | None, /) -> str:
        """What a hold means, for the result; given is the number of the issued invoice that it keeps. Empty: a hold is a failure."""
        return ""

    def instructions(self, desk: Desk, **options: Any) -> Instructions:
        """The settlement's instructions: ``options`` are the action's."""
        from include.skillreport.billing.ledger.entries import first_opened
        from include.skillreport.billing.ledger.settlement import Instructions

        return Instructions(
            issued_on=desk.issued_on,
            actor=desk.run.execution_id,
            resumable=True,
            allow_incomplete=self.allow_incomplete,
            approved_by=desk.person,
            entered_before=first_opened(desk.connection, desk.run.execution_id),
            **options,
        )


@described("approve", "保留中の請求の承認", button="承認")
class Approve(SettleAction):
    """保留中の請求を確定して番号を付け、請求書を発行します。未計算のテナントは計算して確定します。承認待ちの返還は、書類を発行し、承認待ちの貸倒れは記録します。自分が登録して承認待ちになったものは、承認できません（ほかの人の承認が要らない設定なら、金額を入力して承認できます）。取引先への通知も登録されます。"""

    shows = Shows("invoices", also="waiting")
    takes_former = True
    unchanged = "保留中の請求は、上の金額のまま確定します。未計算なら、金額は計算するまで決まりません。"
    mail = "確定した請求書と返還を、取引先にメールで送ります。"

    confirmed: Confirmed = ""

    def instructions(self, desk: Desk, **options: Any) -> Instructions:
        """Approve the tenants' held drafts."""
        return super().instructions(desk, **options, approved=desk.work.tenant_ids)

    def do_all(self, desk: Desk) -> list[Outcome]:
        """Settle the tenants, and decide about their waiting credit notes and write-offs. A user's own entry needs a confirmation."""
        from include.skillreport.billing.ledger.entries import approver_of_month

        desk.billing.lock_entries(desk.connection)
        approver, refused, names = desk.approver(self.confirmed), {}, {}
        for tenant_id in desk.work.tenant_ids:
            try:
                names[tenant_id] = approver_of_month(desk.connection, approver, tenant_id, desk.period)
            except BillingError as error:
                refused[tenant_id] = failure(tenant_id, error)
        # A user who typed a confirmation approves one tenant, so all names are equal.
        work = replace(desk.work, tenant_ids=tuple(names))
        approved = self._approve(replace(desk, work=work, confirmed_by=next(iter(names.values()), "")))
        outcomes = {outcome.unit_id: outcome for outcome in approved} | refused
        return [outcomes[tenant_id] for tenant_id in sorted(outcomes)]

    def _approve(self, desk: Desk) -> list[Outcome]:
        settled = super().do_all(desk)
        if not desk.run.dry_run:
            settled = self._with_others_lines(desk, settled)
        return self._with_credits(desk, settled)

    def _with_others_lines(self, desk: Desk, settled: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes of an approval. If the user's own line prevents it, approves the lines of others.

        Otherwise two users with waiting lines could never approve the month.
        """
        from include.skillreport.billing.ledger.drafts import renew_hold_reasons
        from include.skillreport.billing.ledger.extra_charges import approve_others_lines
        from include.skillreport.core.execution.batch import UnitFailure

        instructions = self.instructions(desk)
        remarks = {
            outcome.unit_id: approve_others_lines(
                desk.connection,
                outcome.unit_id,
                desk.period,
                desk.billing.terms.settings.second_person,
                approver=instructions.approver,
                entered_before=instructions.entered_before,
            )
            for outcome in settled
            if isinstance(outcome, UnitFailure) and outcome.code == "OWN_ENTRY"
        }
        approved = [tenant_id for tenant_id, each in remarks.items() if each]
        if approved:
            renew_hold_reasons(
                desk.connection,
                desk.period,
                desk.billing.terms,
                approved,
                allow_incomplete=self.allow_incomplete,
            )
        return [
            replace(outcome, notes=(*outcome.notes, *remarks.get(outcome.unit_id, ()))) for outcome in settled
        ]

    def _with_credits(self, desk: Desk, settled: Sequence[Outcome]) -> list[Outcome]:
        outcomes = {outcome.unit_id: outcome for outcome in settled}
        for tenant_id in desk.work.tenant_ids:
            found = [_approved(approve, desk, tenant_id) for approve in (approve_write_off, approve_credits)]
            decided = [each for each in found if each]
            if decided:
                outcomes[tenant_id] = _joined(decided)
            elif tenant_id not in outcomes:
                text = "アプリケーションから消えたテナントに、承認待ちの返還も貸倒れもありません。対象月を確認してください"
                outcomes[tenant_id] = failure(tenant_id, BillingError("NOTHING_TO_APPROVE", text))
        return [outcomes[tenant_id] for tenant_id in sorted(outcomes)]


def _approved(
    approve: Callable[[Desk, str], UnitResult | None], desk: Desk, tenant_id: str
) -> Outcome | None:
    """The outcome of one approval. An impossible approval changes nothing, and the tenant's other approval still counts."""
    try:
        with desk.connection.transaction():
            return approve(desk, tenant_id)
    except BillingError as error:
        return failure(tenant_id, error)


def _joined(outcomes: Sequence[Outcome]) -> Outcome:
    """The tenant's joined outcome. It is a failure if one of them is."""
    from include.skillreport.core.execution.batch import UnitFailure

    details = {name: value for each in outcomes for name, value in each.details.items()}
    notes = tuple(note for each in outcomes for note in each.notes)
    main = next((each for each in outcomes if isinstance(each, UnitFailure)), outcomes[0])
    return replace(main, details=details, notes=notes)


@described("reissue", "取消して再発行（入金前のみ）", button="再発行")
class Reissue(SettleAction):
    """入金前の請求書を取り消し、計算し直して新しい番号で発行します。"""

    mail = "新しい請求書を、取引先にメールで送ります。保留になったときは、何も送りません。"

    reason: Reason
    accept_change: AcceptChange = False

    @override
    def foresee(self, present: Sequence[PresentInvoice], /) -> Sequence[Foreseen]:
        from include.skillreport.billing.foreseen import VOIDED, live_invoice, new_invoice
        from include.skillreport.billing.state import Act

        live = live_invoice(present, Act.REISSUE)
        return (live.worded(*VOIDED), new_invoice()) if live else ()

    def instructions(self, desk: Desk, **options: Any) -> Instructions:
        """Void the unpaid invoices, and issue new ones."""
        approved = desk.work.tenant_ids if self.accept_change else ()
        return super().instructions(desk, **options, recalculate=True, reason=self.reason, approved=approved)

    def held(self, number: str | None, /) -> str:
        """An issued invoice stays; without one, the draft waits."""
        return f"再発行を保留にしました。{invoice_label(number)}は有効なままです。" if number else _HELD


@described("bill_again", "請求のやり直し（新番号）")
class BillAgain(SettleAction):
    """取消か全額返還をした月を、計算し直して新しい番号で請求します。"""

    shows = Shows("invoices", also="closed")
    mail = "新しい請求書を、取引先にメールで送ります。保留になったときは、承認されるまで送りません。"

    reason: Reason

    @override
    def foresee(self, present: Sequence[PresentInvoice], /) -> Sequence[Foreseen]:
        from include.skillreport.billing.foreseen import live_invoice, new_invoice
        from include.skillreport.billing.ledger.correction import not_closed_error

        if live := live_invoice(present):
            raise not_closed_error(live.stored.state.number)
        return (new_invoice(),)

    def instructions(self, desk: Desk, **options: Any) -> Instructions:
        """Open the closed months."""
        return super().instructions(desk, **options, bills_again=True, reason=self.reason)

    def held(self, _: str | None, /) -> str:
        """The draft waits for an approval."""
        return _HELD


def approve_credits(desk: Desk, tenant_id: str) -> UnitResult | None:
    """Issue the waiting credit notes about the month's invoice; None if there were none.

    :raises BillingError: this user entered them, one was entered after this run was opened, or the invoice has changed.
    """
    from include.skillreport.billing.ledger.waiting_credits import waiting_people
    from include.skillreport.billing.second_person import approval_words
    from include.skillreport.core.execution.batch import UnitResult

    try:
        stored = desk.invoice(tenant_id)
    except BillingError:  # an earlier attempt may have issued the credit note that closed the month
        stored = None
    issued = _approved_credits(desk, tenant_id)
    # The user saw only what an earlier attempt has issued.
    if stored and not issued and waiting_people(desk.connection, stored):
        desk.billing.approve_credits(
            desk.connection,
            stored,
            issued_on=desk.issued_on,
            approver=desk.person,
            execution_id=desk.run.execution_id,
        )
        issued = _approved_credits(desk, tenant_id)
    if not issued:
        return None
    waiting = "、".join(waiting_people(desk.connection, stored)) if stored else ""
    approval = approval_words(desk.billing.terms.settings.second_person)
    notes = (f"{waiting} が登録した返還は、{approval}を待っています",) if waiting else ()
    remark = desk.remark(tenant_id)
    return UnitResult(
        tenant_id, {"credited": "、".join(issued)}, 0, notes=(*notes, *((remark,) if remark else ()))
    )


def _approved_credits(desk: Desk, tenant_id: str) -> list[str]:
    return [row["number"] for row in desk.done("credits_decided", tenant_id) if row["number"]]
