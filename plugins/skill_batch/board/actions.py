"""The actions of the board's buttons: operations of ``include.skillreport.operations.forms``, and dry runs of batches.

An action triggers an existing DAG. The run's own functions check the values before it starts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from skill_batch.board.statements import SQL as _SQL
from include.skillreport.billing.settings import nobody_else_looks
from include.skillreport.core.catalog import BATCHES
from include.skillreport.core.database import has_control_characters
from include.skillreport.core.entered import plain
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.business_date import JAPAN, period_of, require_past
from include.skillreport.core.execution.digest import one_line
from include.skillreport.core.execution.parameters import parse_parameters
from include.skillreport.core.form import NO_MAIL, Operation, OperationForm, Shows, is_empty
from include.skillreport.core.form_fields import Day, Field, Flag, Lines, Month
from include.skillreport.core.run_spec import BatchSpec, RunSpec, WorksOn
from include.skillreport.operations.forms import FORMS

# The maximum number of characters of a value, and of lines of a list.
_MOST_CHARACTERS = 2_000
_MOST_LINES = 200

# The field in which an author confirms their own entry.
CONFIRMED = "confirmed"

# What a browser sends for a month.
_MONTH = re.compile("[0-9]{4}-[0-9]{2}")

_DRY_RUN = "dry_run"
_BUSINESS_DATE = "business_date"

_READS_ONLY = "読み取りだけで、何も変わりません。"
_DRY_RUN_EFFECT = "計算だけ行います。実行ログ以外には何も書き込まず、何も送信しません。"


@dataclass(frozen=True)
class Action:
    """A run that a user starts: the DAG of ``spec`` with ``operation``, or a batch's dry run (``operation`` is None).

    ``fields`` are the dialog's fields by name; ``required`` names the fields that need a value.
    """

    spec: RunSpec
    operation: type[Operation] | None
    fields: Mapping[str, Field]
    required: Collection[str] = ()

    @property
    def name(self) -> str:
        """The last part of the action's address."""
        return self.operation.name if self.operation else _DRY_RUN

    @property
    def batch(self) -> BatchSpec | None:
        """The batch of a dry run; None for an operation."""
        return self.spec if isinstance(self.spec, BatchSpec) else None

    @property
    def title(self) -> str:
        """The text of the button."""
        return self.operation.title if self.operation else "ドライラン"

    @property
    def effect(self) -> str:
        """The effect of the run."""
        return self.operation.effect if self.operation else _DRY_RUN_EFFECT

    @property
    def is_read_only(self) -> bool:
        """True if the run changes nothing."""
        return self.operation is None or self.operation.is_read_only

    @property
    def unchanged(self) -> str:
        """Why the dialog shows no values before and after; empty if it does."""
        if self.is_read_only:
            return _READS_ONLY
        return self.operation.unchanged if self.operation else ""

    @property
    def mail(self) -> str:
        """Who gets an e-mail."""
        return self.operation.mail if self.operation else NO_MAIL

    @property
    def is_personal(self) -> bool:
        """True if a value is personal. The conf must not contain such values."""
        return self.operation is not None and self.operation.is_personal()

    @property
    def shows(self) -> Shows:
        """The columns that the dialog shows of the targets; for a batch, of the tenants."""
        return self.operation.shows if self.operation else Shows(tenants="tenants" in self.fields)

    def conf(self, values: Mapping[str, Sequence[str]], now: datetime) -> dict[str, Any]:
        """The DAG run's conf from the texts of the dialog. ``now`` is aware.

        :raises ParameterError: a value is missing, too long, or invalid.
        """
        given = self.given(values)
        if _BUSINESS_DATE in given:
            given[_BUSINESS_DATE] = plain(given[_BUSINESS_DATE])
        day = parse_parameters(given).business_date
        if day:
            require_past(period_of(day, self.spec.works_on)[1], self.spec.works_on, now)
        if self.operation is None:
            return {**given, _DRY_RUN: True}
        form, chosen = FORMS[self.spec.dag_id], {"operation": self.operation.name, **given}
        conf = form.entered(chosen, now.astimezone(JAPAN).date(), on_board=True).values()
        conf |= {name: given[name] for name in (_BUSINESS_DATE, _DRY_RUN) if name in given}
        return {name: value for name, value in conf.items() if name != "operation" or form.has_choice}

    @property
    def lists_lines(self) -> bool:
        """True if a field is about invoice lines."""
        return any(isinstance(field, Lines) and field.of_invoice for field in self.fields.values())

    def problems(self, values: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """The reason why the run would reject a value, by field name. Valid values are omitted."""
        found = {}
        for name, field in self.fields.items():
            try:
                value = entered(field, values.get(name, ()))
            except ParameterError as error:
                found[name] = str(error)
            else:
                if not is_empty(value) and (problem := field.refusal(name, value)):
                    found[name] = problem
        return found

    def given(self, values: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """The values that are not empty, before the form parses them. :raises ParameterError: a value is invalid."""
        given = {name: entered(field, values.get(name, ())) for name, field in self.fields.items()}
        return {name: value for name, value in given.items() if not is_empty(value)}


def find_action(dag_id: str, name: str) -> Action | None:
    """The action of this DAG with this name, or None."""
    if form := FORMS.get(dag_id):
        operation = next((each for each in form.operations if each.name == name), None)
        return _operation_action(form, operation) if operation else None
    batch = next((spec for spec in BATCHES if spec.dag_id == dag_id), None)
    if batch is None or name != _DRY_RUN:
        return None
    fields: dict[str, Field] = {_BUSINESS_DATE: Day("業務日")}
    tenants = Lines("テナントコード", is_target=True)
    return Action(batch, None, fields | ({"tenants": tenants} if batch.takes_tenants else {}))


def unknown_tenants(
    connection: psycopg.Connection[Any], codes: Sequence[str], *, takes_former: bool = False
) -> list[str]:
    """The codes that are neither the code nor the id of a tenant.

    ``takes_former``: deleted tenants with invoices count as known.
    """
    return _SQL.column(connection, "unknown_tenant_codes", codes=list(codes), takes_former=takes_former)


def known_tenants(
    connection: psycopg.Connection[Any], codes: Sequence[str], *, takes_former: bool
) -> list[str]:
    """The codes in the tenants' spelling. Full-width letters are accepted.

    :raises ParameterError: names the codes without a tenant.
    """
    unknown = unknown_tenants(connection, codes, takes_former=takes_former)
    if not unknown:
        return list(codes)
    found = [plain(code) if code in unknown else code for code in codes]
    unknown = unknown_tenants(connection, found, takes_former=takes_former)
    if unknown:
        raise ParameterError(f"テナントコード {'、'.join(unknown[:5])} は存在しません。")
    return found


def unknown_messages(connection: psycopg.Connection[Any], message_ids: Sequence[str]) -> list[str]:
    """The ids without a message."""
    return _SQL.column(connection, "unknown_messages", message_ids=list(message_ids))


def _operation_action(form: OperationForm, operation: type[Operation]) -> Action:
    of_month = form.spec.works_on is WorksOn.PREVIOUS_MONTH and operation.of_month
    fields: dict[str, Field] = {
        **({_BUSINESS_DATE: Month("対象月", is_target=True)} if of_month else {}),
        **operation.fields(required=True),
        **operation.fields(required=False),
        **({} if operation.is_read_only else {_DRY_RUN: Flag("ドライラン（確認だけ）")}),
    }
    if not operation.shows.tenants:
        fields.pop("tenants", None)
    if not nobody_else_looks():
        # Users cannot approve their own entry by typing its values.
        fields.pop(CONFIRMED, None)
    required = {*operation.fields(required=True), *operation.needed_on_board}
    return Action(form.spec, operation, fields, required)


def texts_of(value: Any) -> list[str]:
    """The dialog's texts for a field's value in a conf; the reverse of ``entered``."""
    if isinstance(value, list):
        return [str(each) for each in value]
    return [] if is_empty(value) else ["on" if value is True else str(value)]


def entered(field: Field, given: Sequence[str], most: int = _MOST_CHARACTERS) -> Any:
    """The form value from the dialog's texts. :raises ParameterError: a text has over ``most`` characters, or control characters."""
    if any(len(text) > most for text in given):
        raise ParameterError(f"「{field.title}」が長すぎます（{most} 文字まで）。")
    # PostgreSQL rejects some control characters.
    if any(has_control_characters(one_line(text)) for text in given):
        raise ParameterError(f"「{field.title}」に使えない制御文字があります。入力し直してください。")
    if field.input == "lines":
        lines = [line.strip() for text in given for line in text.splitlines() if line.strip()]
        if len(lines) > _MOST_LINES:
            raise ParameterError(f"「{field.title}」は {_MOST_LINES} 件までです。")
        return lines
    text = given[-1].strip() if given else ""
    if field.input == "month" and _MONTH.fullmatch(plain(text)):
        return f"{plain(text)}-01"
    return text == "on" if field.input == "flag" else text
