"""What the board's buttons start: an operation of ``include.skillreport.operations.forms``, or a dry run of a batch.

An action is a run of a DAG that already exists, with the values of its form. The functions that check the values in the run check them
here, before it starts.
"""

from __future__ import annotations

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
from include.skillreport.core.form import (
    Day,
    Field,
    Flag,
    Lines,
    Operation,
    OperationForm,
    Shows,
    is_empty,
)
from include.skillreport.core.run_spec import BatchSpec, RunSpec, WorksOn
from include.skillreport.operations.forms import FORMS

# The maximum number of characters of a value, and of lines of a list.
_MOST_CHARACTERS = 2_000
_MOST_LINES = 200

# The field in which an author confirms an own entry.
CONFIRMED = "confirmed"

_DRY_RUN = "dry_run"
_BUSINESS_DATE = "business_date"

_DRY_RUN_EFFECT = "計算だけ行います。実行ログ以外には何も書き込まず、何も送信しません。"


@dataclass(frozen=True)
class Action:
    """A run that a user starts: the DAG of ``spec`` with ``operation``, or a dry run of a batch (``operation`` is None).

    ``fields`` are those of the dialog by name; ``required`` names the ones that need a value.
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
        """What the run changes."""
        return self.operation.effect if self.operation else _DRY_RUN_EFFECT

    @property
    def is_read_only(self) -> bool:
        """Whether the run changes nothing."""
        return self.operation is None or self.operation.is_read_only

    @property
    def is_personal(self) -> bool:
        """Whether a value is personal: then the conf must not hold the values."""
        return self.operation is not None and self.operation.is_personal()

    @property
    def shows(self) -> Shows:
        """What the dialog shows of the things that the run works on; of a batch, the tenants."""
        return self.operation.shows if self.operation else Shows(tenants="tenants" in self.fields)

    def conf(self, values: Mapping[str, Sequence[str]], now: datetime) -> dict[str, Any]:
        """The form values of the DAG run from the values of the dialog, which are texts. ``now`` is aware.

        :raises ParameterError: a value is missing, too long, or cannot be used.
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
        """Whether a field is about the lines of an invoice."""
        return any(isinstance(field, Lines) and field.of_invoice for field in self.fields.values())

    def problems(self, values: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """Why the run would refuse each value that was entered so far, by the field's name. A value that can be read is not in it."""
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
        """The values that are not empty, before the form reads them. :raises ParameterError: one cannot be used."""
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

    ``takes_former``: tenants that the application has deleted and that have invoices count as known.
    """
    return _SQL.column(connection, "unknown_tenant_codes", codes=list(codes), takes_former=takes_former)


def known_tenants(
    connection: psycopg.Connection[Any], codes: Sequence[str], *, takes_former: bool
) -> list[str]:
    """The codes, as the tenants have them: a code that no tenant has may be written in full-width letters.

    :raises ParameterError: names the codes that no tenant has.
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
    """The ids that no message has."""
    return _SQL.column(connection, "unknown_messages", message_ids=list(message_ids))


def _operation_action(form: OperationForm, operation: type[Operation]) -> Action:
    of_month = form.spec.works_on is WorksOn.PREVIOUS_MONTH and operation.of_month
    fields: dict[str, Field] = {
        **({_BUSINESS_DATE: Day("対象月（その月のどれか 1 日）", is_target=True)} if of_month else {}),
        **operation.fields(required=True),
        **operation.fields(required=False),
        **({} if operation.is_read_only else {_DRY_RUN: Flag("ドライラン（確認だけ）")}),
    }
    if not operation.shows.tenants:
        # What the ids select has its tenants.
        fields.pop("tenants", None)
    if not nobody_else_looks():
        # Nobody can approve an own entry by typing what it is about.
        fields.pop(CONFIRMED, None)
    required = {*operation.fields(required=True), *operation.needed_on_board}
    return Action(form.spec, operation, fields, required)


def texts_of(value: Any) -> list[str]:
    """The texts of a dialog's field that has this value in a conf; the reverse of ``entered``."""
    if isinstance(value, list):
        return [str(each) for each in value]
    return [] if is_empty(value) else ["on" if value is True else str(value)]


def entered(field: Field, given: Sequence[str], most: int = _MOST_CHARACTERS) -> Any:
    """The value of Airflow's form from the texts of a dialog. :raises ParameterError: one has over ``most`` characters, or control ones."""
    if any(len(text) > most for text in given):
        raise ParameterError(f"「{field.title}」が長すぎます（{most} 文字まで）。")
    # PostgreSQL refuses some of them.
    if any(has_control_characters(one_line(text)) for text in given):
        raise ParameterError(f"「{field.title}」に使えない制御文字があります。入力し直してください。")
    if field.input == "lines":
        lines = [line.strip() for text in given for line in text.splitlines() if line.strip()]
        if len(lines) > _MOST_LINES:
            raise ParameterError(f"「{field.title}」は {_MOST_LINES} 件までです。")
        return lines
    text = given[-1].strip() if given else ""
    return text == "on" if field.input == "flag" else text
