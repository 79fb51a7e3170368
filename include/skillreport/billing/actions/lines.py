"""One-off lines (``batch.extra_charge``): enter a line, remove an unbilled one, and carry a difference."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from typing_extensions import override

from include.skillreport.billing.actions.action import Desk, TenantAction
from include.skillreport.billing.actions.fields import (
    AgainSame,
    LineDate,
    LinePrice,
    LineQuantity,
    LineTax,
    LineText,
    LineUnit,
)
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.form import Shows, described

if TYPE_CHECKING:
    from include.skillreport.billing.entry_limits import Entry
    from include.skillreport.billing.foreseen import PresentInvoice
    from include.skillreport.billing.inputs import ExtraCharge
    from include.skillreport.core.execution.batch import UnitResult

# A line on a later day is a typing error.
_LONGEST_AHEAD = timedelta(days=365)


@described("extra_line", "個別明細の追加")
class ExtraLine(TenantAction):
    """利用日の月の請求書に載る明細を登録します。"""

    shows = Shows()
    of_month = False
    line_date: LineDate
    line_text: LineText
    line_price: LinePrice
    line_quantity: LineQuantity = Decimal(1)
    line_unit: LineUnit = ""
    line_tax: LineTax = "standard"
    again_same: AgainSame = False

    def check(self, today: date, /) -> None:
        latest = today + _LONGEST_AHEAD
        if self.line_date and self.line_date > latest:
            raise ParameterError(
                f"「利用日」（line_date）の {self.line_date} は先すぎます。{latest} までの日を指定してください。"
            )

    @override
    def entry(self, _: Sequence[PresentInvoice], /) -> Entry | None:
        from include.skillreport.billing.entry_limits import Entry

        if self.line_date is None or self.line_price is None:
            return None
        texts = (self.line_text or "", self.line_unit)
        return Entry(abs(self.line_quantity * self.line_price), self.line_date.replace(day=1), texts)

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Enter the line in the tenant's currency."""
        from include.skillreport.billing.inputs import ExtraCharge
        from include.skillreport.billing.ledger.entries import EntryAuthor
        from include.skillreport.billing.ledger.extra_charges import REMOVED, currency_of
        from include.skillreport.billing.pricing.consumption_tax import TaxCategory
        from include.skillreport.core.execution.batch import UnitResult

        line = ExtraCharge(
            charged_on=self.line_date,
            description=self.line_text,
            quantity=self.line_quantity,
            unit=self.line_unit or None,
            unit_amount=self.line_price,
            currency=currency_of(desk.connection, tenant_id),
            tax_category=TaxCategory(self.line_tax),
        )
        entry = EntryAuthor(desk.run.person, desk.run.execution_id, desk.run.run_date, self.again_same)
        remarks = desk.billing.enter_line(desk.connection, tenant_id, line, entry)
        if remarks == (REMOVED,):
            return UnitResult(tenant_id, {"entered": None}, 0, notes=remarks)
        details = {"entered": f"{line.charged_on:%Y-%m}", "description": line.description}
        return UnitResult(tenant_id, details, 1, notes=remarks or (_placed(line),))


@described("remove_line", "個別明細の取り消し")
class RemoveLine(TenantAction):
    """まだ請求書に載っていない明細を取り消します。"""

    unchanged = "確定した請求書は変わりません。明細は、次の計算から載りません。"
    shows = Shows("lines")
    of_month = False
    line_text: LineText
    line_date: LineDate | None = None

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Remove the tenant's line, and save its content in ``batch.extra_charge_removal``. The text may be the line's id."""
        from include.skillreport.billing.ledger.extra_charges import remove_line
        from include.skillreport.core.execution.batch import UnitResult

        # An approval that has read the line ends first.
        desk.billing.lock_entries(desk.connection)
        line = remove_line(
            desk.connection,
            tenant_id,
            self.line_text,
            self.line_date,
            removed_by=desk.run.person,
            execution_id=desk.run.execution_id,
        )
        details = {"removed": f"{line.charged_on:%Y-%m}", "description": line.description}
        note = f"{line.charged_on:%Y-%m} の請求に載せる「{line.description}」を取り消しました"
        return UnitResult(tenant_id, details, 1, notes=(note,))


@described("carry", "差額の翌月への繰越し")
class Carry(TenantAction):
    """締め直された月の差額を、まだ確定していない月の明細として登録します。"""

    unchanged = "確定した請求書は変わりません。差額は、実行のときに計算します。"

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Enter a reclosed month's difference as lines of the next open month."""
        from include.skillreport.billing.ledger.extra_charges import carry_difference
        from include.skillreport.core.execution.batch import UnitResult

        desk.billing.lock_entries(desk.connection)
        lines = carry_difference(
            desk.connection,
            desk.billing.terms,
            tenant_id,
            desk.period,
            entered_by=desk.run.person,
            execution_id=desk.run.execution_id,
        )
        notes = tuple(map(_placed, lines))
        return UnitResult(tenant_id, {"carried_to": f"{lines[0].charged_on:%Y-%m}"}, len(lines), notes=notes)


def _placed(line: ExtraCharge) -> str:
    times = " " if line.quantity == 1 else f"（× {line.quantity:,f}）"
    return f"{line.charged_on:%Y-%m} の請求に「{line.description}」{line.unit_amount:+,f} {line.currency}{times}を載せます"
