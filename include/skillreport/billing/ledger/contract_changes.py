"""The changes of contracts (``batch.contract_change``), and the rows that they change. All functions act as ``batch_platform``."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from include.skillreport.billing.contract_kinds import (
    EXCHANGE_RATE,
    KINDS,
    PAYER,
    PLAN,
    PROFILE,
    BillingContact,
    ContractApproval,
    ContractKind,
    RowChange,
    Wanted,
    as_json,
    needs_second_person,
    row_change,
)
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.entered_values import USABLE
from include.skillreport.billing.money import in_yen
from include.skillreport.billing.receivables.file_cells import CellProblem, unusable
from include.skillreport.billing.second_person import Approver, WaitingEntry, approval_refusal
from include.skillreport.core.database import Statements
from include.skillreport.core.errors import ParameterError

_SQL = Statements(Path(__file__).parents[1])

# Unique among this product's locks.
_CONTRACTS_LOCK = 7_018_022

# A change waits this long for a second user.
WAITS = timedelta(days=30)

# The answers to a late approval of a change that no longer waits.
_ENDED = {
    "applied": "すでに適用されています",
    "refused": "取り下げられています",
    "expired": f"{WAITS.days} 日の間に承認されず、期限が切れています。もう一度入力してください",
}

IMPORT = "import"

# The maximum number of problems of a contract file that are shown at once.
_LISTED = 50


@dataclass(frozen=True)
class Author:
    """The user who changes contracts, and the run. ``file`` is the name of an imported file. ``entered_at``: None means now."""

    person: str
    execution_id: str
    file: str | None = None
    entered_at: datetime | None = None


@dataclass(frozen=True)
class Recorded:
    """The numbers of the applied changes, and of the changes that wait for a second user. A waiting import counts as one.

    ``invoices`` are final ones with the former value of a replaced exchange rate, with the difference in yen.
    """

    applied: int = 0
    waiting: int = 0
    invoices: Sequence[str] = ()


def expire(platform: psycopg.Connection) -> None:
    """Delete expired values, and end expired changes."""
    _SQL.execute(platform, "expire", usable=USABLE, waits=WAITS)


def has_done(platform: psycopg.Connection, execution_id: str, step: str) -> bool:
    """True if an earlier attempt of the run has done this step, even before the entire run was cleared."""
    return bool(_SQL.column(platform, "has_done", execution_id=execution_id, step=step)[0])


def lock_contracts(platform: psycopg.Connection) -> None:
    """Lock all contracts until the transaction ends."""
    _SQL.execute(platform, "lock_contracts", lock=_CONTRACTS_LOCK)


def change_contracts(
    platform: psycopg.Connection, wanted: Sequence[Wanted], terms: ContractApproval, author: Author
) -> Recorded:
    """Change all of the rows, or none. If one change needs a second user, all wait, except for exchange rates: only unusual ones wait.
    The transaction has locked the contracts.

    :raises BillingError: a row cannot be changed as wanted. :raises ParameterError: rows of a file cannot; it names their lines.
    """
    changes: list[RowChange] = []
    odd_rates: list[RowChange] = []
    refused: list[tuple[Wanted, BillingError]] = []
    waiting: list[RowChange] = []
    is_rates = any(each.kind is EXCHANGE_RATE for each in wanted)
    with platform.transaction() as attempt:
        before = _recipients(platform, wanted)
        currencies = _currencies(platform, wanted)
        for each in sorted(wanted, key=lambda each: each.values["rate_date"]) if is_rates else wanted:
            try:
                each.require_currency(currencies.get(each.owner, ""))
                change = row_change(each, present_rows(platform, each.kind, each.owner))
            except BillingError as error:
                if each.line is None:
                    raise
                refused.append((each, error))
                continue
            if change is not None and is_rates and needs_second_person(change, terms, None, None):
                odd_rates.append(change)
            elif change is not None:
                _write(platform, change, author)
                changes.append(change)
                if is_rates:
                    _withdraw_waiting_rate(platform, change, author)
        if refused:
            raise _refusal_of_rows(platform, author, refused)
        after = _recipients(platform, wanted)
        waiting = [
            each
            for each in changes
            if needs_second_person(each, terms, before.get(each.owner), after.get(each.owner))
        ]
        if waiting:
            raise psycopg.Rollback(attempt)
    if author.file is not None and waiting:
        # The page shows a file's first rows: those that need the second user.
        first = {id(each) for each in waiting}
        _record_import(platform, sorted(changes, key=lambda each: id(each) not in first), author)
        return Recorded(waiting=1)
    if author.file is not None and odd_rates:
        _record_import(platform, odd_rates, author)
    elif odd_rates:
        _record(platform, odd_rates[0], author, "waiting", [])
    for change in changes:
        former = [] if waiting else _former(change, before, after)
        _record(platform, change, author, "waiting" if waiting else "applied", former)
    if waiting:
        return Recorded(waiting=len(changes))
    invoices = _with_former_rates(platform, changes) if is_rates else ()
    return Recorded(len(changes), int(bool(odd_rates)), invoices)


def _refusal_of_rows(
    platform: psycopg.Connection, author: Author, refused: Sequence[tuple[Wanted, BillingError]]
) -> ParameterError:
    codes = codes_of_tenants(platform)
    return unusable_contracts(
        str(author.file),
        [
            CellProblem(
                each.line or 0,
                each.kind.title,
                f"{codes.get(each.owner, each.owner)} の{str(error).rstrip('。')}",
            )
            for each, error in refused
        ],
    )


def file_label(name: str) -> str:
    """The name of a contract file in messages."""
    return f"契約のファイル '{name}'"


def unusable_contracts(name: str, problems: Sequence[CellProblem]) -> ParameterError:
    """The error that lists the problems of a contract file."""
    return unusable(file_label(name), problems, most=_LISTED)


def apply_waiting(
    platform: psycopg.Connection, change_id: str, approver: Approver, execution_id: str, code: str
) -> tuple[str | None, Sequence[str]]:
    """Apply a waiting change of the tenant with this code. Returns why it is impossible (the rest of a sentence) or None, and the
    ``invoices`` of ``Recorded``.

    The transaction has locked the contracts.
    """
    found = _SQL.rows(platform, "lock_change", change_id=change_id)
    if not found:
        return "この変更の記録は、もうありません", ()
    row = found[0]
    if row["status"] != "waiting":
        return f"この変更は、{_ENDED[row['status']]}", ()
    is_import = row["kind"] == IMPORT
    changes = [_stored(part) for part in (row["after"] if is_import else [row])]
    about = Decimal(len(changes)) if is_import else changes[0].amount or code
    try:
        author = Author(approver.name_for("この変更", [row["entered_by"]], about), execution_id)
    except BillingError as not_confirmed:
        return str(not_confirmed).rstrip("。"), ()
    entry = WaitingEntry(
        "contract",
        "この変更",
        [row["entered_by"]],
        seen=[change.before for change in changes],
        present=[
            as_json(_same_row(change, present_rows(platform, change.kind, change.owner)))
            for change in changes
        ],
    )
    if error := approval_refusal(entry, author.person, approver.setting):
        return str(error).rstrip("。"), ()
    before = _recipients(platform, changes)
    entered_by = Author(row["entered_by"], author.execution_id, entered_at=row["entered_at"])
    for change in changes:
        _write(platform, change, entered_by)
    after = _recipients(platform, changes)
    former = [] if is_import else _former(changes[0], before, after)
    _SQL.execute(platform, "approve_change", change_id=change_id, former_emails=former, **asdict(author))
    if is_import:
        for change in changes:
            _record(platform, change, entered_by, "applied", _former(change, before, after), author)
    return None, _with_former_rates(platform, [each for each in changes if each.kind is EXCHANGE_RATE])


def codes_of_tenants(platform: psycopg.Connection) -> dict[str, str]:
    """The codes of all tenants by id."""
    return {row["tenant_id"]: row["tenant_code"] for row in _SQL.rows(platform, "codes_of_tenants")}


def named_tenants(platform: psycopg.Connection, codes: Collection[str]) -> set[str]:
    """The ids of the tenants whose code or id is in ``codes``, including former tenants."""
    return {each for each, code in codes_of_tenants(platform).items() if each in codes or code in codes}


def tenants_by_code(platform: psycopg.Connection) -> dict[str, str]:
    """The ids of the tenants by code, without codes that several tenants share."""
    codes = codes_of_tenants(platform)
    shared = Counter(codes.values())
    return {code: tenant_id for tenant_id, code in codes.items() if shared[code] == 1}


def tenants_of_changes(platform: psycopg.Connection, change_ids: Collection[str]) -> set[str]:
    """The tenants of waiting changes, including changes in an import."""
    return set(_SQL.column(platform, "waiting_tenants", change_ids=list(change_ids)))


def present_rows(
    platform: psycopg.Connection, kind: ContractKind, owner: str | None = None
) -> list[dict[str, Any]]:
    """One owner's rows without the owner's column; or all rows, with it."""
    columns = [*kind.columns] if owner is not None else [kind.owner, *kind.columns]
    query = sql.SQL(
        "SELECT {} FROM batch.{} WHERE %(owner)s::text IS null OR {} = %(owner)s ORDER BY {}"
    ).format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.Identifier(kind.table),
        sql.Identifier(kind.owner),
        sql.SQL(", ").join(map(sql.Identifier, (kind.owner, *kind.key))),
    )
    with platform.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, {"owner": owner}).fetchall()


def _write(platform: psycopg.Connection, change: RowChange, author: Author) -> None:
    kind, table = change.kind, sql.Identifier(change.kind.table)
    if change.before is not None:
        named = [kind.owner, *kind.key]
        condition = sql.SQL(" AND ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in named)
        values = [change.owner, *(change.before[name] for name in kind.key)]
        platform.execute(sql.SQL("DELETE FROM batch.{} WHERE {}").format(table, condition), values)
    if change.after is not None:
        row = {kind.owner: change.owner, **{name: change.after[name] for name in kind.columns}}
        if kind is PAYER:
            row |= {"confirmed_by": author.person, "execution_id": author.execution_id}
        if kind is PLAN:
            row |= {"recorded_by": author.person}
        row = {name: list(value) if isinstance(value, tuple) else value for name, value in row.items()}
        platform.execute(
            sql.SQL("INSERT INTO batch.{} ({}) VALUES ({})").format(
                table,
                sql.SQL(", ").join(map(sql.Identifier, row)),
                sql.SQL(", ").join([sql.Placeholder()] * len(row)),
            ),
            list(row.values()),
        )


def _record(
    platform: psycopg.Connection,
    change: RowChange,
    author: Author,
    status: str,
    former_emails: Sequence[str],
    approved_by: Author | None = None,
) -> None:
    # Only the owner names a rate's currency.
    owner = {} if change.kind.owner == "tenant_id" else {change.kind.owner: change.owner}
    values = {
        "before": change.before and owner | (as_json(change.before) or {}),
        "after": change.after and owner | (as_json(change.after) or {}),
        "changed": change.changed,
        "former_emails": list(former_emails),
    }
    _insert(platform, change.kind.name, change.owner, values, change.reason, author, status, approved_by)


def _record_import(platform: psycopg.Connection, changes: Sequence[RowChange], author: Author) -> None:
    parts = [
        {
            "kind": change.kind.name,
            "owner": change.owner,
            "before": as_json(change.before),
            "after": as_json(change.after),
            "reason": change.reason,
        }
        for change in changes
    ]
    values = {
        "before": None,
        "after": parts,
        "changed": sorted({change.kind.name for change in changes}),
        "former_emails": [],
    }
    _insert(platform, IMPORT, "", values, str(author.file), author, "waiting", None)


def _insert(
    platform: psycopg.Connection,
    kind: str,
    owner: str,
    values: Mapping[str, Any],
    reason: str,
    author: Author,
    status: str,
    approved_by: Author | None,
) -> None:
    named = f"{author.execution_id} {kind} {owner} {values['before']} {values['after']}"
    _SQL.execute(
        platform,
        "record_change",
        change_id=f"C-{hashlib.sha256(named.encode()).hexdigest()[:20]}",
        tenant_id="" if kind == EXCHANGE_RATE.name else owner,
        kind=kind,
        before=values["before"] and Jsonb(values["before"]),
        after=values["after"] and Jsonb(values["after"]),
        changed=values["changed"],
        former_emails=values["former_emails"],
        reason=reason,
        entered_by=author.person,
        entered_at=author.entered_at,
        execution_id=author.execution_id,
        status=status,
        decided_by=approved_by and approved_by.person,
        decided_in=approved_by and approved_by.execution_id,
    )


def _recipients(
    platform: psycopg.Connection, changes: Iterable[Wanted | RowChange]
) -> dict[str, BillingContact]:
    tenant_ids = sorted({each.owner for each in changes if each.kind is PROFILE})
    return {
        row["tenant_id"]: BillingContact(row["name"], frozenset(row["addresses"] or ()))
        for row in _SQL.rows(platform, "present_recipients", tenant_ids=tenant_ids)
    }


def _withdraw_waiting_rate(platform: psycopg.Connection, change: RowChange, author: Author) -> None:
    """A new rate shows that the rate waiting for the same day was a mistake."""
    day = (change.after or {}).get("rate_date")
    by = {"person": author.person, "execution_id": author.execution_id}
    _SQL.execute(platform, "withdraw_rates", currency=change.owner, rate_date=day, **by)


def _with_former_rates(platform: psycopg.Connection, changes: Iterable[RowChange]) -> list[str]:
    """The final invoices with a replaced rate: their numbers, and the increase of their yen total at the new rate."""
    found = []
    for change in changes:
        if change.before is None or change.after is None:
            continue
        day, yen_per_unit = change.after["rate_date"], Decimal(change.after["yen_per_unit"])
        for row in _SQL.rows(platform, "invoices_with_rate", currency=change.owner, rate_date=day):
            difference = in_yen(row["total"], yen_per_unit) - in_yen(row["total"], row["yen_per_unit"])
            if difference:
                found.append(f"{row['number']}: {difference:+,f} 円")
    return [*found[:_LISTED], *([f"ほか {len(found) - _LISTED} 件"] if len(found) > _LISTED else [])]


def _currencies(platform: psycopg.Connection, wanted: Iterable[Wanted]) -> dict[str, str]:
    tenant_ids = sorted({each.owner for each in wanted if each.values.get("currency")})
    return dict(_SQL.execute(platform, "present_currencies", tenant_ids=tenant_ids).fetchall())


def _former(
    change: RowChange, before: Mapping[str, BillingContact], after: Mapping[str, BillingContact]
) -> list[str]:
    if change.kind is not PROFILE or change.owner not in before:
        return []
    return before[change.owner].missing_in(after[change.owner])


def _stored(part: Mapping[str, Any]) -> RowChange:
    kind = KINDS[part["kind"]]
    owner = part.get("owner") or part["tenant_id"] or (part["after"] or part["before"])[kind.owner]
    before, after = (
        row and {name: value for name, value in row.items() if name in kind.columns}
        for row in (part["before"], part["after"])
    )
    return RowChange(kind, owner, before, after, part["reason"])


def _same_row(change: RowChange, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The present row that the change replaces, or that has the new row's key."""
    named = as_json(change.before or change.after) or {}
    return next((row for row in rows if change.kind.names(as_json(row) or {}, named)), None)
