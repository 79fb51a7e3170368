"""Corrects the texts of an issued invoice (訂正). Its number and amounts stay."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import PlainSerializer
from typing_extensions import override

from include.skillreport.billing.actions.action import Desk, TenantAction, document_result
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.form import described
from include.skillreport.core.form_fields import Day, Field, Lines

if TYPE_CHECKING:
    from include.skillreport.billing.documents.corrected_invoice import CorrectedTexts
    from include.skillreport.billing.foreseen import Foreseen, PresentInvoice
    from include.skillreport.billing.second_person import SecondPerson
    from include.skillreport.core.execution.batch import UnitResult

# A later day is a typing error.
_LONGEST_AHEAD = timedelta(days=365)


# A line's new text: 2=text.
_LINE_TEXT = re.compile(r"([0-9０-９]{1,6})\s*[=＝]\s*(\S.*)")


class LineDescription(NamedTuple):
    """The new text of an invoice line. ``position`` is the printed line number."""

    position: int
    text: str

    def entered(self) -> str:
        """The line as entered."""
        return f"{self.position}={self.text}"


class _LineTexts(Lines):
    of_invoice = True
    example = ("2=追加利用者（10 月分）",)

    def read(self, value: Any) -> tuple[Any, ...]:
        lines = super().read(value)
        if len({line.position for line in lines}) < len(lines):
            raise ValueError("に同じ行番号が 2 回あります。1 行に 1 回だけ書いてください。")
        return lines

    def read_line(self, line: Any) -> LineDescription:
        match = _LINE_TEXT.fullmatch(super().read_line(line))
        if match is None:
            raise ValueError(
                f"の {str(line)[:40]!r} が読めません。「行番号=内容」（例 2=追加利用者）で、1 行に 1 件書いてください。"
            )
        return LineDescription(int(match[1]), match[2])


CorrectedWhat = Annotated[
    str,
    Field(
        "訂正の内容",
        "必須です。何をどう訂正したか。訂正した請求書とメールに書かれ、取引先に見えます。英語の請求書では英語で書きます。",
        example="宛名を「青葉商事株式会社」に訂正",
        is_personal=True,
    ),
]
RecipientName = Annotated[
    str, Field("宛名", "訂正するときだけ。", example="青葉商事株式会社", is_personal=True)
]
RecipientDepartment = Annotated[
    str, Field("宛先の部署", "訂正するときだけ。「-」なら消します。", example="経理部", is_personal=True)
]
RecipientPostalCode = Annotated[
    str,
    Field("宛先の郵便番号", "訂正するときだけ。「-」なら消します。", example="100-0001", is_personal=True),
]
RecipientAddress = Annotated[
    str,
    Field(
        "宛先の住所",
        "訂正するときだけ。「-」なら消します。",
        example="東京都千代田区千代田1-1",
        is_personal=True,
    ),
]
LineTexts = Annotated[
    tuple[Annotated[LineDescription, PlainSerializer(LineDescription.entered)], ...],
    _LineTexts(
        "明細の内容",
        "訂正する行だけ。1 行に 1 件、「行番号=内容」（例 2=追加利用者）。英語の請求書では英語で書きます。金額は変わりません。",
        is_personal=True,
    ),
]
DocumentNote = Annotated[
    str,
    Field(
        "備考",
        "書類に印刷します（英語の請求書では英語で）。例: 取引先の注文番号。「-」なら消します。",
        example="ご注文番号 PO-2026-118",
        is_personal=True,
    ),
]
DueOn = Annotated[
    date,
    Day(
        "支払期限",
        "新しい期限にするときだけ（日本時間、YYYY-MM-DD。今日から 1 年先まで）。",
        example="2027-01-04",
    ),
]


@described("correct", "訂正")
class Correct(TenantAction):
    """番号と金額を変えずに、宛名、明細の内容、備考、支払期限を訂正した請求書を作ります。取引先には、ほかの人が「送付する」を使うと
    送ります。入金の前でも後でも使えます。前の書類も残ります。テナントは 1 件だけ指定します。"""

    mail = "取引先には、ほかの人が「送付する」を押した後にメールを送ります。"
    because = "訂正の内容は請求書ごとに違います。"
    sends_letter = True
    takes_former = True

    correction: CorrectedWhat
    recipient_name: RecipientName = ""
    recipient_department: RecipientDepartment = ""
    recipient_postal_code: RecipientPostalCode = ""
    recipient_address: RecipientAddress = ""
    line_texts: LineTexts = ()
    note: DocumentNote = ""
    due_on: DueOn | None = None

    def check(self, today: date, /) -> None:
        super().check(today)
        optional = self.fields(required=False)
        if not any(getattr(self, name) for name in optional):
            titles = "、".join(f"「{field.title}」" for field in optional.values())
            raise ParameterError(
                f"操作「{self.title}」では {titles} のどれかに、新しい内容を書いてください。"
            )
        if self.due_on and not today <= self.due_on <= today + _LONGEST_AHEAD:
            raise ParameterError(
                f"「支払期限」（due_on）の {self.due_on} は使えません。{today} から {today + _LONGEST_AHEAD} までの日を"
                "指定してください。"
            )

    def texts(self) -> CorrectedTexts:
        """The new texts and the new due date."""
        from include.skillreport.billing.documents.corrected_invoice import CorrectedTexts

        return CorrectedTexts(
            name=self.recipient_name,
            department=self.recipient_department,
            postal_code=self.recipient_postal_code,
            address=self.recipient_address,
            lines={line.position: line.text for line in self.line_texts},
            note=self.note,
            due_on=self.due_on,
        )

    @override
    def foresee(self, present: Sequence[PresentInvoice], /) -> Sequence[Foreseen]:
        from include.skillreport.billing.documents.corrected_invoice import changed_texts, corrected_invoice
        from include.skillreport.billing.foreseen import Foreseen, live_invoice
        from include.skillreport.billing.state import Act, require

        live = live_invoice(present)
        if live is None or not any(getattr(self, name) for name in self.fields(required=False)):
            return ()
        original = live.stored.invoice
        require(Act.CORRECT, live.stored.state)
        corrected = corrected_invoice(original, self.texts(), "", original.period_start)
        return [
            Foreseen(original.number, title, before, after, line=line)
            for title, line, before, after in changed_texts(original, corrected)
        ]

    @override
    @classmethod
    def always_waits(cls, setting: SecondPerson, /) -> str:
        from include.skillreport.billing.second_person import approver_words

        return f"訂正は承認待ちです。{approver_words(setting)}「送付する」を使うまで、訂正の通知も督促も送りません"

    def do(self, desk: Desk, tenant_id: str) -> UnitResult:
        """Take the entered values, and create a corrected document. A retry changes nothing.

        This instance has no values before they are taken.
        """
        from include.skillreport.billing.ledger.revisions import correct_invoice

        run = desk.run
        if done := desk.done("corrected", tenant_id):
            number = done[0]["number"]
        else:
            # A rejected correction leaves the values for another attempt, until they expire.
            with desk.connection.transaction():
                entered = desk.take()
                assert isinstance(entered, Correct), "a run that has used its values has made a correction"
                stored = desk.invoice(tenant_id)
                correct_invoice(
                    desk.connection,
                    desk.billing.terms,
                    stored,
                    entered.texts(),
                    entered.correction,
                    corrected_on=run.run_date,
                    entered_by=run.person,
                    execution_id=run.execution_id,
                )
            number = stored.invoice.number
        result = document_result(desk, tenant_id, "corrected", number)
        waits = self.always_waits(desk.billing.terms.settings.second_person)
        return replace(result, notes=(*result.notes, waits))
