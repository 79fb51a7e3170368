"""The fields of the operation 「訂正」: the texts of an invoice that can be replaced. The DAG file imports this module."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, NamedTuple

from pydantic import PlainSerializer

from include.skillreport.core.form import Day, Field, Lines

# The text of a line: 2=text.
_LINE_TEXT = re.compile(r"([0-9０-９]{1,6})\s*[=＝]\s*(\S.*)")


class LineDescription(NamedTuple):
    """The new text of an invoice's line. ``position`` is the line's number on paper."""

    position: int
    text: str

    def entered(self) -> str:
        """The line as it is entered."""
        return f"{self.position}={self.text}"


class _LineTexts(Lines):
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
        "必須です。何をどう訂正したか。訂正した請求書とメールに書かれ、客先に見えます。英語の請求書では英語で書きます。",
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
        "書類に印刷します（英語の請求書では英語で）。例: 客先の注文番号。「-」なら消します。",
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
