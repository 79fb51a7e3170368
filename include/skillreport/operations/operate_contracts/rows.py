"""The requested rows of the operations on contracts: from a form, or from a CSV file with the same columns."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import date
from io import StringIO
from operator import itemgetter
from typing import Any

import psycopg

from include.skillreport.billing.accounting.csv_form import text_cell
from include.skillreport.billing.accounts import TRIAL_PLAN
from include.skillreport.billing.contract_kinds import (
    COMMITMENT,
    DISCOUNT,
    EXCHANGE_RATE,
    KINDS,
    ORDER_NUMBER,
    PAYER,
    PLAN,
    PROFILE,
    ContractKind,
    Wanted,
)
from include.skillreport.billing.ledger.contract_changes import (
    codes_of_tenants,
    file_label,
    present_rows,
    tenants_by_code,
    unusable_contracts,
)
from include.skillreport.billing.receivables.file_cells import CellProblem, csv_rows, day_in
from include.skillreport.billing.receivables.transfer import code_key, payer_key
from include.skillreport.core.entered import plain
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.proof import Fault, Unchecked, UnprovedError, read_proved
from include.skillreport.core.form import Operation
from include.skillreport.core.form_fields import Day, Field, Lines
from include.skillreport.operations.operate_contracts import form
from include.skillreport.operations.operate_contracts.fields import EXPORTED, INCOMING
from include.skillreport.operations.operate_contracts.form import FORM

# The operation that checks a file's lines, by the file's kind.
_LINES: Mapping[str, type[Operation]] = {
    "profile": form.SetProfile,
    "plan": form.SetPlan,
    "discount": form.SetDiscount,
    "commitment": form.SetCommitment,
    "order_number": form.SetOrderNumber,
    "payer": form.AddPayer,
    "exchange_rate": form.SetRate,
}

# The table's column of a field, if it has another name.
_COLUMNS = {"discount_name": "name", "discount_kind": "kind", "plan_from": "effective_from"}

_TENANT = "tenant"
_NOT_IN_FILES = ("tenants", "reason", "is_checked")

_MOST_BYTES = 5_000_000
_MOST_LINES = 20_000

# Separates addresses in a cell.
_SEPARATOR = ";"


def wanted_rows(entered: Operation, owners: Iterable[str]) -> list[Wanted]:
    """The requested rows for the tenants (ids), or for the currency."""
    make = _MADE[type(entered)]
    return [make(entered, owner) for owner in owners]


def _same_columns(kind: ContractKind) -> Callable[[Any, str], Wanted]:
    def made(entered: Any, owner: str) -> Wanted:
        given = {_COLUMNS.get(name, name): value for name, value in entered.model_dump().items()}
        values = {name: given[name] if given[name] != "" else None for name in kind.columns}
        is_checked = getattr(entered, "is_checked", False)
        return Wanted(kind, owner, values, entered.reason, is_checked=is_checked)

    return made


def _profile(entered: form.SetProfile, owner: str) -> Wanted:
    given = entered.model_dump()
    values = {name: given[name] if given[name] != "" else None for name in PROFILE.columns}
    numbers = {name: None if given[name] is None else int(given[name]) for name in ("due_months", "due_day")}
    return Wanted(PROFILE, owner, values | numbers | entered.copies(), entered.reason)


def _payer(entered: form.AddPayer, owner: str) -> Wanted:
    values = {
        "payer_key": payer_key(entered.payer_name),
        "payer_code": code_key(entered.payer_code),
        "payer_name": entered.payer_name,
    }
    return Wanted(PAYER, owner, values, entered.reason)


def _rate(entered: form.SetRate, owner: str) -> Wanted:
    values = {"rate_date": entered.rate_date, "yen_per_unit": entered.yen_per_unit}
    return Wanted(EXCHANGE_RATE, owner, values, entered.reason)


def _end(entered: form.End, owner: str) -> Wanted:
    values = {"valid_from": entered.valid_from, "valid_to": entered.last_day, "name": entered.discount_name}
    return Wanted(KINDS[entered.ended], owner, values, entered.reason, is_end=True)


_MADE: Mapping[type[Operation], Callable[[Any, str], Wanted]] = {
    form.SetProfile: _profile,
    form.SetPlan: _same_columns(PLAN),
    form.SetDiscount: _same_columns(DISCOUNT),
    form.SetCommitment: _same_columns(COMMITMENT),
    form.SetOrderNumber: _same_columns(ORDER_NUMBER),
    form.SetRate: _rate,
    form.AddPayer: _payer,
    form.End: _end,
}


def content_of(store: ObjectStore, entered: form.ImportFile) -> bytes:
    """The content of a file in ``contracts/incoming/``. :raises ParameterError: the file is missing or too large."""
    file = file_label(entered.imported_file)
    try:
        return read_proved(store, f"{INCOMING}/{entered.imported_file}", Unchecked(), _MOST_BYTES)
    except UnprovedError as error:
        problem = {
            Fault.MISSING: f"が保存先の {INCOMING}/ にありません。名前を確かめてください。",
            Fault.TOO_LARGE: f"は大きすぎます（{_MOST_BYTES // 1_000_000} MB まで）。分けてください。",
        }.get(error.fault, f"を読めません（{error.fault}）。置き直してください。")
        raise ParameterError(f"{file} {problem}") from None


def same_content(store: ObjectStore, entered: form.ImportFile, sha256: str) -> bytes:
    """The content of the file with the SHA-256 from the opening of the run.

    :raises ParameterError: the file is missing, too large or changed.
    """
    content = content_of(store, entered)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ParameterError(
            f"{file_label(entered.imported_file)} は、実行を始めた後に内容が変わっています（何も記録していません）。"
            "置き直したなら、新しく実行してください。"
        )
    return content


def rows_of_file(
    platform: psycopg.Connection,
    content: bytes,
    entered: form.ImportFile,
    plans: Collection[str],
    today: date,
) -> list[Wanted]:
    """The rows of a file's content, checked entirely. ``plans`` are the price list's, ``today`` is the day (Asia/Tokyo).

    :raises ParameterError: lines cannot be used, with their numbers.
    """
    file = file_label(entered.imported_file)
    lines = [(number, cells) for number, cells in csv_rows(content, file) if any(cells)]
    if not lines:
        raise ParameterError(f"{file} は空です。")
    if len(lines) > _MOST_LINES + 1:
        raise ParameterError(f"{file} は長すぎます（{_MOST_LINES:,} 行まで）。分けてください。")
    (_, header), *rows = lines
    operation, kind = _LINES[entered.imported_kind], KINDS[entered.imported_kind]
    columns = _columns(operation, kind)
    if sorted(header) != sorted(columns):
        raise ParameterError(
            f"{file} の 1 行目は、種類「{kind.title}」の列の名前（{','.join(columns)}）にしてください。"
        )
    tenants = tenants_by_code(platform) if kind.owner == "tenant_id" else {}
    wanted: list[Wanted] = []
    problems: list[CellProblem] = []
    seen: dict[tuple[Any, ...], int] = {}
    for number, cells in rows:
        try:
            if len(cells) != len(header):
                raise ParameterError(
                    f"列が {len(cells)} 個あります。1 行目と同じ {len(header)} 個にしてください。"
                )
            texts = dict(zip(header, cells, strict=True))
            found = replace(_row(operation, kind, texts, entered, tenants, today), line=number)
            require_known_plan(found, plans)
            key = (found.owner, *(found.values[name] for name in kind.key))
            if key in seen:
                raise ParameterError(f"{seen[key]} 行目と同じものです。")
            seen[key] = number
            wanted.append(found)
        except ParameterError as error:
            problems.append(CellProblem(number, kind.title, str(error).rstrip("。")))
    if problems:
        raise unusable_contracts(entered.imported_file, problems)
    return wanted


def require_known_plan(wanted: Wanted, plans: Collection[str]) -> None:
    """Check the plan. :raises ParameterError: the row's plan is not one of ``plans``."""
    if wanted.kind is not PLAN or wanted.values["plan"] in {*plans, TRIAL_PLAN, None}:
        return
    raise ParameterError(
        f"プラン {wanted.values['plan'][:40]} は料金表にありません。{'、'.join(sorted(plans))} のどれかにしてください。"
    )


def export(platform: psycopg.Connection, store: ObjectStore) -> dict[str, int]:
    """Write a file of each kind's rows, in the import's format and the order of the tenants' codes. Returns the numbers of rows by kind."""
    codes = codes_of_tenants(platform)
    written = {}
    for name, operation in _LINES.items():
        kind = KINDS[name]
        columns = _columns(operation, kind)
        rows = present_rows(platform, kind)
        text = StringIO(newline="")
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(columns)
        owned = [{_TENANT: codes.get(row[kind.owner], row[kind.owner]), **row} for row in rows]
        for cells in sorted(owned, key=itemgetter(_TENANT)):
            writer.writerow([_cell(cells[_COLUMNS.get(column, column)]) for column in columns])
        # Excel reads UTF-8 only with a BOM.
        store.write(f"{EXPORTED}/{name}.csv", text.getvalue().encode("utf-8-sig"))
        written[name] = len(rows)
    return written


def _columns(operation: type[Operation], kind: ContractKind) -> list[str]:
    """The columns of a kind's file: the tenant's code, and the fields of the form."""
    named = [name for name in operation.fields() if name not in _NOT_IN_FILES]
    return [_TENANT, *named] if kind.owner == "tenant_id" else named


def _row(
    operation: type[Operation],
    kind: ContractKind,
    cells: Mapping[str, str],
    of_file: form.ImportFile,
    tenants: Mapping[str, str],
    today: date,
) -> Wanted:
    """A line's row. :raises ParameterError: a cell cannot be used."""
    fields = operation.fields()
    texts = {name: _unguarded(text) for name, text in cells.items() if name in fields}
    given = {name: _value(fields[name], text) for name, text in texts.items()}
    code = _unguarded(cells.get(_TENANT, ""))
    if kind.owner == "tenant_id":
        if code not in tenants:
            raise ParameterError(f"テナントコード {code[:40]!r} のテナントは、ないか、複数あります")
        given["tenants"] = [code]
    if "is_checked" in fields:
        given["is_checked"] = of_file.is_checked
    entered = FORM.entered({"operation": operation.name, **given, "reason": of_file.reason}, today)
    owner = tenants[code] if kind.owner == "tenant_id" else getattr(entered, kind.owner)
    return _MADE[operation](entered, owner)


def _value(field: Field, text: str) -> Any:
    """The cell as the form's value: a list, or a day as YYYY-MM-DD, which Excel saves as 2026/11/1."""
    if isinstance(field, Lines):
        return text.split(_SEPARATOR)
    day = day_in(plain(text)) if isinstance(field, Day) else None
    return day.isoformat() if day else text


def _unguarded(text: str) -> str:
    """The text without the apostrophe that the export adds before a formula."""
    return text[1:] if text.startswith("'") and text_cell(text[1:]) == text else text


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return text_cell(_SEPARATOR.join(value))
    return text_cell(value) if isinstance(value, str) else str(value)
