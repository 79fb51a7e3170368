"""What an action will change, as far as the values of its dialog say it: values before and after, by the rules of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import Any

import psycopg
from pydantic import ValidationError

from skill_batch.board.access import Rights
from skill_batch.board.actions import Action
from skill_batch.board.statements import SQL as _SQL
from skill_batch.board.targets import Targets
from include.skillreport.billing.actions.action import TenantAction
from include.skillreport.billing.contract_kinds import (
    EXCHANGE_RATE,
    PLAN,
    RowChange,
    Wanted,
    as_json,
    row_change,
)
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.foreseen import Foreseen, PresentInvoice
from include.skillreport.billing.ledger.stored_invoice import stored_document, stored_invoice
from include.skillreport.billing.settings import BillingSettings
from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.entered import plain
from include.skillreport.core.errors import ParameterError, SettingsError
from include.skillreport.core.form import Operation
from include.skillreport.operations.operate_contracts.form import SetRate
from include.skillreport.operations.operate_contracts.rows import wanted_rows
from include.skillreport.operations.restore_backup.form import Merge


@dataclass(frozen=True)
class ForeseenChange:
    """What changes of one target. ``problem``: why the run would refuse it. ``row``: the change of a contract's row, with ``stated``."""

    tenant_code: str
    values: Sequence[Foreseen] = ()
    row: Mapping[str, Any] | None = None
    problem: str = ""


def foresee(
    connection: psycopg.Connection[Any],
    rights: Rights,
    action: Action,
    texts: Mapping[str, Sequence[str]],
    targets: Targets,
    today: date,
) -> list[ForeseenChange]:
    """What the texts of the dialog change of the targets, by a run of ``today`` (Asia/Tokyo).

    Empty: it cannot be said, or the user may not see it elsewhere.
    """
    if action.operation is None or not foresees(action):
        return []
    # A document that this version cannot read must not close the dialog.
    with suppress(ParameterError, SettingsError, ValidationError):
        operation = action.operation.so_far(action.given(texts))
        if isinstance(operation, TenantAction):
            may_see = rights.may_read(TENANT_BILLING.dag_id)
            return list(_of_invoices(connection, operation, targets, today)) if may_see else []
        if operation:
            return list(_of_contracts(connection, operation, targets, today))
    return []


def foresees(action: Action) -> bool:
    """Whether a rule says what the action changes: the operation has one, or it changes rows of contracts."""
    if action.operation and issubclass(action.operation, TenantAction):
        return action.operation.foresee is not TenantAction.foresee
    return action.shows.rows in ("contracts", "rates")


def compared(
    connection: psycopg.Connection[Any], action: Action, values: Mapping[str, Any], targets: Targets
) -> list[dict[str, Any]]:
    """The newest comparison of each tenant with the backup that the action merges. It has numbers and names of columns, no values of rows.

    ``values``: as ``describe_targets``. Empty: the action merges nothing.
    """
    if action.operation is not Merge or not values.get("backup"):
        return []
    ids = [row["tenant_id"] for row in targets.rows if row["kind"] == "tenants"]
    return _SQL.rows(
        connection, "compared", batch_id=action.spec.id, backup=plain(values["backup"]), tenant_ids=ids
    )


def _of_invoices(
    connection: psycopg.Connection[Any], operation: TenantAction, targets: Targets, today: date
) -> Iterator[ForeseenChange]:
    rows = [row for row in targets.rows if row["kind"] == "invoices" and row["invoice_id"]]
    if not rows:
        return
    operation.check(today)
    found = _SQL.rows(
        connection,
        "present_invoices",
        invoice_ids=[row["invoice_id"] for row in rows],
        tenant_ids=[row["tenant_id"] for row in rows],
        numbers=[getattr(operation, operation.other_invoice)] if operation.other_invoice else [],
    )
    payments = _SQL.rows(connection, "present_payments", invoice_ids=[row["invoice_id"] for row in found])
    tolerance = BillingSettings.load().fee_tolerance
    for (tenant_code, _), of_tenant in groupby(found, itemgetter("tenant_code", "tenant_id")):
        present = [_present_invoice(row, payments, tolerance) for row in of_tenant]
        try:
            if values := operation.foresee(present):
                yield ForeseenChange(tenant_code, values)
        except BillingError as error:
            yield ForeseenChange(tenant_code, problem=str(error))


def _present_invoice(
    row: Mapping[str, Any], payments: Sequence[Mapping[str, Any]], tolerance: int
) -> PresentInvoice:
    own = [each for each in payments if each["invoice_id"] == row["invoice_id"]]
    return PresentInvoice(
        stored_invoice(dict(row)),
        [stored_document(credit) for credit in row["credits"]],
        own,
        row["of_month"],
        tolerance,
    )


def _of_contracts(
    connection: psycopg.Connection[Any], operation: Operation, targets: Targets, today: date
) -> Iterator[ForeseenChange]:
    # The reason changes no value.
    given = operation.model_copy(update={"reason": ""})
    if any(getattr(given, name) is None for name in given.fields(required=True)):
        return
    given.check(today)
    codes = {row["tenant_id"]: row["tenant_code"] for row in targets.rows if row["kind"] == "contracts"}
    owners = [given.currency] if isinstance(given, SetRate) else list(codes)
    for wanted in wanted_rows(given, owners):
        rows, stated = _present_rows(connection, wanted)
        try:
            change = row_change(wanted, rows)
        except BillingError as error:
            yield ForeseenChange(codes.get(wanted.owner, ""), problem=str(error))
        else:
            row = _shown(change, stated) if change else None
            yield ForeseenChange(codes.get(wanted.owner, ""), row=row)


def _present_rows(
    connection: psycopg.Connection[Any], wanted: Wanted
) -> tuple[list[dict[str, Any]], Mapping[str, Any]]:
    """The owner's rows of the kind with the columns of its table, and what documents say where a profile is empty."""
    if wanted.kind is EXCHANGE_RATE:
        return _SQL.rows(connection, "present_rates", owner=wanted.owner), {}
    found = _SQL.rows(connection, "present_contract_rows", kind=wanted.kind.name, owner=wanted.owner)
    stated: Mapping[str, Any] = next((row["stated"] for row in found if row["stated"]), {})
    return [_columns(wanted, row) for row in found if row["columns"]], stated


def _columns(wanted: Wanted, row: Mapping[str, Any]) -> dict[str, Any]:
    first = "effective_from" if wanted.kind is PLAN else "valid_from"
    numbers = {name: Decimal(row["columns"][name]) for name in ("value", "amount") if name in row["columns"]}
    return {**row["columns"], **numbers, first: row["valid_from"], "valid_to": row["valid_to"]}


def _shown(change: RowChange, stated: Mapping[str, Any]) -> dict[str, Any]:
    """The change as the pages about contracts show one."""
    return {
        "kind": change.kind.name,
        "before": as_json(change.before),
        "after": as_json(change.after),
        "changed": change.changed,
        "stated": stated,
    }
