"""Explains an invoice, and voids it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from typing_extensions import override

from include.skillreport.billing.actions.action import Desk, TenantAction, document_result
from include.skillreport.billing.actions.fields import Reason
from include.skillreport.core.form import described

if TYPE_CHECKING:
    from include.skillreport.billing.foreseen import Foreseen, PresentInvoice
    from include.skillreport.core.execution.batch import UnitResult


@described("explain", "内訳の表示", button="内訳", is_read_only=True)
class Explain(TenantAction):
    """何も変わりません。実行のログに、請求の内訳が 1 日単位で出ます。"""

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Log the calculation of the invoice."""
        from include.skillreport.billing.pricing import explanation
        from include.skillreport.core.execution.batch import UnitResult

        stored = desk.invoice(tenant_id)
        report = tuple(explanation.explain(stored.invoice, stored.inputs))
        return UnitResult(tenant_id, {"invoice_number": stored.invoice.number}, 0, report=report)


@described("void", "請求書の取消（入金前のみ）", button="取消")
class Void(TenantAction):
    """入金前の請求書を取り消します。確定済みなら番号は残り、その月は閉じ、「請求のやり直し（新番号）」だけが請求し直します。請求書を送った後なら、取引先に取消の通知が送られます。下書きは次の実行で作り直されます。"""

    mail = "請求書を送った後なら、取消を取引先にメールで知らせます。"
    takes_former = True

    reason: Reason

    @override
    def foresee(self, present: Sequence[PresentInvoice], /) -> Sequence[Foreseen]:
        from include.skillreport.billing.foreseen import live_invoice
        from include.skillreport.billing.state import Act

        live = live_invoice(present, Act.VOID)
        return (live.claimed(live.stored.state.total * 0),) if live else ()

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Void the unpaid invoice. A retry changes nothing."""
        from include.skillreport.billing.ledger.correction import void_invoice

        if done := desk.done("voided", tenant_id):
            return document_result(desk, tenant_id, "voided", done[0]["number"])
        stored, actor = desk.invoice(tenant_id), desk.run.execution_id
        void_invoice(desk.connection, desk.billing.terms, stored, self.reason, actor=actor)
        return document_result(desk, tenant_id, "voided", stored.invoice.number)
