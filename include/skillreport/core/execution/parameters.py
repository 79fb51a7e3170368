"""Parse and check the trigger form's values before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from include.skillreport.core.entered import EARLIEST_BUSINESS_DATE, entered_day
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import NotDueError
from include.skillreport.core.execution.business_date import is_past, require_past
from include.skillreport.core.run_spec import RunSpec, WorksOn


@dataclass(frozen=True)
class RunParameters:
    """The operator's choice. Empty values mean the run's own date and all tenants of the batch."""

    business_date: date | None
    tenants: tuple[str, ...]
    dry_run: bool


def parse_parameters(values: Mapping[str, Any]) -> RunParameters:
    """The parameters that every DAG has.

    :raises ParameterError: names the parameter, its value and the expected form.
    """
    return RunParameters(
        business_date=_date(values.get("business_date")),
        tenants=_codes(values.get("tenants")),
        dry_run=_flag(values.get("dry_run")),
    )


def require_known(given: Iterable[str], form: Iterable[str]) -> None:
    """Reject parameters that the DAG's form lacks. Airflow accepts any name and ignores misspelt ones.

    :raises ParameterError: names these parameters.
    """
    known = set(form)
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ParameterError(
            f"パラメータ {'、'.join(unknown)} は、この DAG のフォームにありません。"
            f"使えるのは {'、'.join(sorted(known))} です。"
        )


def require_applicable(
    parameters: RunParameters, spec: RunSpec, last_day: date, now: datetime, *, one_of_many: bool
) -> None:
    """Reject a period whose ``last_day`` (Asia/Tokyo) has not ended at ``now`` (aware), and tenants named for a batch that works on all.

    ``one_of_many``: the run contains several batches, and batches to which the form does not apply are skipped.
    :raises NotDueError: the batch is skipped. :raises ParameterError: the form cannot be used.
    """
    if one_of_many and spec.works_on is WorksOn.PREVIOUS_MONTH and not is_past(last_day, now):
        raise NotDueError(f"{last_day:%Y-%m} はまだ終わっていないため、{spec.id} は対象外です")
    require_past(last_day, spec.works_on, now)
    if parameters.tenants and not spec.takes_tenants:
        refusal = NotDueError if one_of_many else ParameterError
        raise refusal(f"{spec.id} は常に全体を対象とします。テナントコード（tenants）を空にしてください。")


def _date(value: object) -> date | None:
    if value is None or value == "":
        return None
    day = entered_day(value)
    if day:
        return day
    raise ParameterError(
        f"業務日（business_date）{value!r} は使えません。{EARLIEST_BUSINESS_DATE} 以降の日付を "
        "YYYY-MM-DD の形で指定してください（例: 2026-10-31）。"
    )


def _codes(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(code, str) for code in value):
        raise ParameterError(
            f'テナント（tenants）{value!r} はコードの一覧ではありません。["HD001"] の形で指定してください。'
        )
    return tuple(dict.fromkeys(code.strip() for code in value if code.strip()))


def _flag(value: object) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise ParameterError(
            f"ドライラン（dry_run）{value!r} は真偽値ではありません。true か false を指定してください。"
        )
    return value
