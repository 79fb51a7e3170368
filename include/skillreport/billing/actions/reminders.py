"""The stop list of the reminders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from typing_extensions import override

from include.skillreport.billing.actions.action import Desk, TenantAction
from include.skillreport.billing.actions.fields import EveryMonth, Reason
from include.skillreport.billing.state import invoice_label
from include.skillreport.core.form import Shows, described

if TYPE_CHECKING:
    from include.skillreport.billing.foreseen import Foreseen, PresentInvoice
    from include.skillreport.core.execution.batch import UnitResult


class ReminderAction(TenantAction):
    """An action on the stop list of the reminders."""

    shows = Shows("invoices", unless="every_month")
    takes_former = True

    every_month: EveryMonth = False

    def _foreseen(self, present: Sequence[PresentInvoice], *, are_stopped: bool) -> Sequence[Foreseen]:
        from include.skillreport.billing.foreseen import (
            ALL_REMINDERS,
            REMINDED,
            STOPPED,
            Foreseen,
            live_invoice,
        )

        if self.every_month:
            after = STOPPED if are_stopped else REMINDED
            return (Foreseen(None, ALL_REMINDERS, None, after, in_words=True),)
        live = live_invoice(present)
        return (live.reminders(are_stopped=are_stopped),) if live else ()

    def stopped(self, desk: Desk, tenant_id: str) -> tuple[str | None, str]:
        """The id of the invoice, or None for the entire tenant, and its name in messages."""
        if self.every_month:
            return None, "テナントのすべての請求書"
        stored = desk.invoice(tenant_id)
        return stored.invoice_id, invoice_label(stored.invoice.number)


@described("stop_reminders", "督促の停止")
class StopReminders(ReminderAction):
    """対象の請求書の督促を、再開するまで送りません。"""

    reason: Reason

    @override
    def foresee(self, present: Sequence[PresentInvoice], /) -> Sequence[Foreseen]:
        return self._foreseen(present, are_stopped=True)

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Put the month's invoice, or the tenant, on the stop list."""
        from include.skillreport.billing.ledger.overdue_letters import stop_reminders
        from include.skillreport.core.execution.batch import UnitResult

        invoice_id, name = self.stopped(desk, tenant_id)
        is_new = stop_reminders(desk.connection, tenant_id, invoice_id, self.reason, desk.run.person)
        notes = () if is_new else (f"{name}の督促はすでに止めています。理由は前のままです",)
        return UnitResult(tenant_id, {"reminders_stopped": name}, int(is_new), notes=notes)


@described("allow_reminders", "督促の再開")
class AllowReminders(ReminderAction):
    """督促の停止を取り消します。"""

    mail = "支払期限を過ぎた請求書があれば、督促の日に取引先へメールを送ります。"

    @override
    def foresee(self, present: Sequence[PresentInvoice], /) -> Sequence[Foreseen]:
        return self._foreseen(present, are_stopped=False)

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Take the month's invoice, or the tenant, off the stop list."""
        from include.skillreport.billing.ledger.overdue_letters import allow_reminders
        from include.skillreport.core.execution.batch import UnitResult

        invoice_id, name = self.stopped(desk, tenant_id)
        was_stopped = allow_reminders(desk.connection, tenant_id, invoice_id)
        notes = (
            ()
            if was_stopped
            else (f"{name}の督促は止めていません。対象月と「すべての月」を確認してください",)
        )
        return UnitResult(tenant_id, {"reminders_allowed": name}, int(was_stopped), notes=notes)
