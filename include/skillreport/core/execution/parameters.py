"""Parse and check the values of the trigger form before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from include.skillreport.core.entered import EARLIEST_BUSINESS_DATE, entered_day
from include.skillreport.core.errors import ParameterError


@dataclass(frozen=True)
class RunParameters:
    """The operator's choice. Empty values mean the run's own date and all active tenants."""

    business_date: date | None
    tenants: tuple[str, ...]
    dry_run: bool


def parse_parameters(values: Mapping[str, Any]) -> RunParameters:
    """The parameters that every DAG has.

    :raises ParameterError: names the parameter, the value and what is expected instead.
    """
    return RunParameters(
        business_date=_date(values.get("business_date")),
        tenants=_codes(values.get("tenants")),
        dry_run=_flag(values.get("dry_run")),
    )


def require_known(given: Iterable[str], form: Iterable[str]) -> None:
    """Refuse parameters that the DAG's form does not have: Airflow accepts any name, and ignores a misspelt one.

    :raises ParameterError: names the parameters that the form does not have.
    """
    known = set(form)
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ParameterError(
            f"パラメータ {'、'.join(unknown)} は、この DAG のフォームにありません。"
            f"使えるのは {'、'.join(sorted(known))} です。"
        )


def require_no_tenants(codes: Sequence[str]) -> None:
    """:raises ParameterError: the form names tenants, but the batch is not per tenant."""
    if codes:
        raise ParameterError("このバッチはテナント別ではありません。パラメータ tenants を空にしてください。")


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
