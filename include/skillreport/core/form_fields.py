"""The typed fields of forms: how each parses an entered value, and its input in a dialog.

DAG files import this module, so it imports the database driver only to read values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from include.skillreport.core.entered import EARLIEST_BUSINESS_DATE, entered_day, entered_number, plain

Input = Literal["text", "date", "month", "lines", "flag", "choice"]


class Field:
    """A form field, used in an ``Annotated`` type. Base class: a one-line text. Subclasses parse other types.

    ``problem`` returns what is wrong with a parsed value, or an empty text. The text continues a sentence that begins with the field's
    name. ``choices`` are the values of a ``Choice`` and their labels. ``is_personal``: a run's conf must not hold the value, because every
    viewer of Airflow can read it. ``is_target``: the value selects the operation's target, so a dialog does not let the user change a value
    set by its button. ``hint`` is the description in a dialog, which marks a required field and need not say what is usual.
    """

    # The input in the board's dialog.
    input: Input = "text"
    example: Any = ""

    def __init__(
        self,
        title: str,
        description: str = "",
        *,
        example: Any = None,
        problem: Callable[[Any], str] = lambda _: "",
        choices: Mapping[str, str] = MappingProxyType({}),
        is_personal: bool = False,
        is_target: bool = False,
    ) -> None:
        self.title, self.description, self.choices = title, description, choices
        self.hint = description.removeprefix("必須です。")
        self.is_personal, self.is_target = is_personal, is_target
        self.problem = problem
        self.example = example or self.example

    def read(self, value: Any) -> Any:
        """The parsed value. :raises ValueError: it cannot be parsed; the message continues a sentence like ``problem``."""
        from include.skillreport.core.database import has_control_characters
        from include.skillreport.core.execution.digest import one_line

        text = one_line(str(value))
        if has_control_characters(text):
            raise ValueError("に使えない制御文字か、見えない文字があります。入力し直してください。")
        return text

    def refusal(self, name: str, value: Any) -> str:
        """Why an entered value cannot be used, as a sentence; empty if it can. ``name`` is the field's name in the form."""
        try:
            problem = self.problem(self.read(value))
        except ValueError as error:
            problem = str(error)
        return f"「{self.title}」（{name}）{problem}" if problem else ""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def check(value: Any) -> Any:
            read = self.read(value)
            if problem := self.problem(read):
                raise ValueError(problem)
            return read

        return core_schema.no_info_before_validator_function(check, handler(source))


class Code(Field):
    """An id or a document number. Full-width letters and digits are converted."""

    def read(self, value: Any) -> str:
        return plain(super().read(value))


class Number(Field):
    """A number of up to 15 digits and 6 decimals. Full-width digits are converted."""

    example = "11000"

    def read(self, value: Any) -> Decimal:
        number = entered_number(plain(str(value)))
        if number is None:
            raise ValueError(
                f"の {str(value)[:40]!r} は数ではありません。半角の数字（整数部 15 桁、小数部 6 桁まで）で指定してください。"
            )
        return number


class Day(Field):
    """A day (Asia/Tokyo)."""

    input: Input = "date"
    example = "2026-10-31"

    def read(self, value: Any) -> date:
        day = entered_day(plain(str(value)))
        if day is None:
            raise ValueError(
                f"の {value!r} は使えません。{EARLIEST_BUSINESS_DATE} 以降の日付を YYYY-MM-DD で指定してください。"
            )
        return day


class Month(Day):
    """A month, entered as any of its days; the board enters the first one. The value is the first day."""

    input = "month"

    def read(self, value: Any) -> date:
        return super().read(value).replace(day=1)


class ReasonField(Field):
    """The user's reason for the operation. ``kept`` says where the text can be read."""

    _KEPT = "実行の記録に残り、ボードに出ます。"

    def __init__(
        self,
        kept: str = _KEPT,
        *,
        example: str,
        problem: Callable[[str], str] = lambda _: "",
    ) -> None:
        super().__init__("理由", f"必須です。{kept}", example=example, problem=problem)
        self.hint = "" if kept == self._KEPT else kept


class Lines(Field):
    """Texts, one per line; the value is a tuple.

    ``of_invoice``: each line is ``position=value`` for a line of the invoice of the form's tenant and month. A dialog lists these lines.
    """

    input = "lines"
    of_invoice = False
    example = ("TKH-DSN",)

    def read(self, value: Any) -> tuple[Any, ...]:
        lines = value if isinstance(value, list | tuple) else [value]
        return tuple(self.read_line(line) for line in lines if str(line).strip())

    def read_line(self, line: Any) -> Any:
        """The value of a line. :raises ValueError: it cannot be parsed."""
        return super().read(line)


class Codes(Lines):
    """Ids, one per line. Full-width letters and digits are converted."""

    def read_line(self, line: Any) -> str:
        return plain(super().read_line(line))


class Flag(Field):
    """Yes or no."""

    input = "flag"
    example = True

    def read(self, value: Any) -> Any:
        return value


class Choice(Field):
    """One of ``choices``."""

    input = "choice"

    def read(self, value: Any) -> Any:
        if not isinstance(value, str) or value not in self.choices:
            raise ValueError(
                f"の {value!r} は使えません。{'、'.join(self.choices)} のどれかを指定してください。"
            )
        return value
