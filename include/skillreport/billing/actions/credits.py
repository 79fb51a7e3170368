"""Credits an invoice, in full or in part, and drops waiting credit notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from typing_extensions import override

from include.skillreport.billing.actions.action import Desk, TenantAction, document_result
from include.skillreport.billing.actions.fields import AgainSame, CreditedLines, CreditLine, Reason
from include.skillreport.core.form import Shows, described

if TYPE_CHECKING:
    from include.skillreport.billing.documents.credit_note import CreditedPart
    from include.skillreport.billing.documents.invoice import Invoice
    from include.skillreport.billing.entry_limits import Entry
    from include.skillreport.billing.foreseen import Foreseen, PresentInvoice
    from include.skillreport.core.execution.batch import UnitResult


@described("credit", "全額の返還", button="返還")
class Credit(TenantAction):
    """請求書の残り全部を打ち消す返還を行います。その月は閉じ、「請求のやり直し（新番号）」だけが請求し直します。"""

    mail = "取引先に、返還の書類をメールで送ります。"
    takes_former = True
    sends_letter = True

    reason: Reason

    @override
    def foresee(self, present: Sequence[PresentInvoice], /) -> Sequence[Foreseen]:
        return _foreseen(present, None)

    @override
    def entry(self, present: Sequence[PresentInvoice], /) -> Entry | None:
        return _entry(present, None, self.reason)

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Issue a credit note about everything that is left of the invoice, or let it wait."""
        return _credit(desk, tenant_id, self.reason, None, again_same=False)


@described("part_credit", "一部の返還")
class PartCredit(TenantAction):
    """指定した明細の一部だけの返還を行います。請求書は有効なままです。テナントは 1 件だけ指定します。"""

    mail = Credit.mail
    because = "明細の番号は請求書ごとに違います。"
    takes_former = True
    sends_letter = True

    reason: Reason
    credit_lines: CreditedLines
    again_same: AgainSame = False

    @override
    def foresee(self, present: Sequence[PresentInvoice], /) -> Sequence[Foreseen]:
        return _foreseen(present, self._parts()) if self.credit_lines else ()

    @override
    def entry(self, present: Sequence[PresentInvoice], /) -> Entry | None:
        return _entry(present, self._parts(), self.reason) if self.credit_lines else None

    def _parts(self) -> list[CreditedPart]:
        return [_part(line) for line in self.credit_lines]

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Issue a credit note about parts of the invoice, or let it wait."""
        return _credit(desk, tenant_id, self.reason, self._parts(), again_same=self.again_same)


@described("drop_credit", "承認待ちの返還の取り下げ", button="返還の取り下げ")
class DropCredit(TenantAction):
    """対象月の請求書の、承認待ちの返還をすべて取り下げます。請求書と残額は変わりません。"""

    unchanged = "請求書と未入金の額は変わりません。"
    shows = Shows("invoices", also="waiting_credits")
    takes_former = True

    reason: Reason

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Drop the waiting credit notes about the month's invoice. A retry changes nothing."""
        from include.skillreport.billing.ledger.entries import credit_text
        from include.skillreport.billing.ledger.waiting_credits import drop_credits
        from include.skillreport.core.execution.batch import UnitResult

        done = desk.done("credits_decided", tenant_id)
        dropped = [credit_text(row) for row in done] or drop_credits(
            desk.connection, desk.invoice(tenant_id), self.reason, actor=desk.run.execution_id
        )
        notes = tuple(f"承認待ちの返還{text}を取り下げました" for text in dropped)
        return UnitResult(tenant_id, {"dropped": len(dropped)}, len(dropped), notes=notes)


def _foreseen(present: Sequence[PresentInvoice], parts: Sequence[CreditedPart] | None) -> Sequence[Foreseen]:
    if (found := _calculated(present, parts)) is None:
        return ()
    live, credit = found
    assert credit.remaining_total is not None, "a credit note says what is left"
    return live.claimed(credit.remaining_total), live.opened(credit.total)


def _entry(
    present: Sequence[PresentInvoice], parts: Sequence[CreditedPart] | None, reason: str | None
) -> Entry | None:
    from include.skillreport.billing.entry_limits import Entry
    from include.skillreport.billing.receivables.adjustment import yen_per_unit

    if (found := _calculated(present, parts)) is None:
        return None
    live, credit = found
    rate = yen_per_unit(live.stored.inputs)
    return Entry(abs(credit.total), credit.period_start, (reason or "",), rate)


def _calculated(
    present: Sequence[PresentInvoice], parts: Sequence[CreditedPart] | None
) -> tuple[PresentInvoice, Invoice] | None:
    from include.skillreport.billing.foreseen import live_invoice
    from include.skillreport.billing.ledger.correction import calculated_credit

    live = live_invoice(present)
    if live is None:
        return None
    return live, calculated_credit(live.stored, live.credits, parts, "")


def _credit(
    desk: Desk, tenant_id: str, reason: str, parts: Sequence[CreditedPart] | None, *, again_same: bool
) -> UnitResult:
    from include.skillreport.core.execution.batch import UnitResult

    run = desk.run
    desk.billing.lock_entries(desk.connection)
    if not desk.done("credit_entered", tenant_id):
        desk.billing.credit(
            desk.connection,
            desk.invoice(tenant_id),
            reason,
            issued_on=desk.issued_on,
            actor=run.execution_id,
            entered_by=run.person,
            parts=parts,
            again_same=again_same,
        )
    (done,) = desk.done("credit_entered", tenant_id)
    if done["status"] == "draft":
        return UnitResult(tenant_id, {"waits": "credit"}, 1, notes=(done["hold_reason"],))
    if done["status"] == "void":
        return UnitResult(tenant_id, {"credited": None}, 0, notes=("承認待ちの返還は、取り下げ済みです",))
    return document_result(desk, tenant_id, "credited", done["number"])


def _part(line: CreditLine) -> CreditedPart:
    from include.skillreport.billing.documents.credit_note import CreditedPart

    if line.is_quantity:
        return CreditedPart(line.position, quantity=line.number)
    return CreditedPart(line.position, amount=line.number)
