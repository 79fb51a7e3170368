"""The values before and after an action, by the rules of the run, as far as its dialog's values determine them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
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
from include.skillreport.billing.actions.hand_over import HandOver
from include.skillreport.billing.contract_kinds import (
    EXCHANGE_RATE,
    PLAN,
    PROFILE,
    ContractApproval,
    RowChange,
    Wanted,
    as_json,
    needs_second_person,
    row_change,
)
from include.skillreport.billing.contract_kinds import BillingContact as Contact
from include.skillreport.billing.entry_limits import MONTHS, excess_reason
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.foreseen import Foreseen, PresentInvoice, paid
from include.skillreport.billing.ledger.contacts import BillingContact
from include.skillreport.billing.ledger.stored_invoice import stored_document, stored_invoice
from include.skillreport.billing.ledger.transfers import FoundTransfer
from include.skillreport.billing.money import EXACT
from include.skillreport.billing.receivables.due_dates import leaving_day
from include.skillreport.billing.receivables.payment import Payable
from include.skillreport.billing.second_person import approval_words
from include.skillreport.billing.settings import BillingSettings
from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.entered import plain
from include.skillreport.core.errors import ParameterError, SettingsError
from include.skillreport.core.form import Operation
from include.skillreport.operations.import_payments.confirming import require_usable, shares_of
from include.skillreport.operations.import_payments.form import Confirm
from include.skillreport.operations.operate_contracts.form import SetRate
from include.skillreport.operations.operate_contracts.rows import wanted_rows
from include.skillreport.operations.restore_backup.form import Merge
from include.skillreport.operations.shown import has_rows


@dataclass(frozen=True)
class ForeseenChange:
    """The changes of one target. ``problem``: why the run would reject it. ``row``: the change of a contract's row, with ``stated``.

    ``decision``: whether it waits for another user; None: it never does, or this is not known yet. ``included``: the entries of a closed
    month by kind, with their number and yen. ``note``: a further sentence.
    """

    tenant_code: str
    values: Sequence[Foreseen] = ()
    row: Mapping[str, Any] | None = None
    problem: str = ""
    decision: Decision | None = None
    included: Sequence[tuple[str, int, int]] = ()
    note: str = ""

    @property
    def yen(self) -> int:
        """The sum of the included entries."""
        return sum(yen for _, _, yen in self.included)

    @property
    def is_about_values(self) -> bool:
        """True if it says more than the decision."""
        return bool(self.values or self.row or self.problem) or self.decision is None


@dataclass(frozen=True)
class Decision:
    """The decision about an entry. ``waits``: why it needs another user's approval; empty: it does not. ``sends_letter``: the customer
    then gets an e-mail.

    ``leaves_on``: the day of the e-mail, if known. ``no_letter``: why there is none.
    """

    waits: str
    sends_letter: bool = False
    leaves_on: date | None = None
    no_letter: str = ""


def foresee(
    connection: psycopg.Connection[Any],
    rights: Rights,
    action: Action,
    texts: Mapping[str, Sequence[str]],
    targets: Targets,
    today: date,
) -> list[ForeseenChange]:
    """The changes of the targets by a run of ``today`` (Asia/Tokyo) with the dialog's texts.

    Empty: they are unknown, or the user may not see them elsewhere. ``foresee_closing`` is about accounting months.
    """
    if action.operation in (None, HandOver) or not foresees(action) or action.problems(texts):
        return []
    # A document that this version cannot read must not close the dialog.
    with suppress(SettingsError, ValidationError):
        operation = action.operation.so_far(action.given(texts))
        settings = BillingSettings.load()
        if isinstance(operation, Confirm):
            return _of_transfers(connection, settings, operation)
        if not isinstance(operation, TenantAction):
            return list(_of_contracts(connection, settings, operation, targets, today))
        if rights.may_read(TENANT_BILLING.dag_id):
            return list(_of_invoices(connection, settings, rights.name, operation, targets, today))
    return []


def foresees(action: Action) -> bool:
    """True if a rule foresees the action's changes: the operation has one, it changes rows of contracts, it closes a month, or it confirms
    transfers.
    """
    if action.operation and issubclass(action.operation, TenantAction):
        own = (action.operation.foresee, action.operation.entry)
        return own != (TenantAction.foresee, TenantAction.entry)
    return action.operation in (HandOver, Confirm) or action.shows.rows in ("contracts", "rates")


def compared(
    connection: psycopg.Connection[Any], action: Action, values: Mapping[str, Any], targets: Targets
) -> list[dict[str, Any]]:
    """The newest comparison of each tenant with the backup that the action merges, without values of rows.

    ``values``: as in ``describe_targets``. Empty: the action merges nothing.
    """
    if action.operation is not Merge or not values.get("backup"):
        return []
    ids = [row["tenant_id"] for row in targets.rows if row["kind"] == "tenants"]
    return _SQL.rows(
        connection, "compared", batch_id=action.spec.id, backup=plain(values["backup"]), tenant_ids=ids
    )


def _of_invoices(
    connection: psycopg.Connection[Any],
    settings: BillingSettings,
    person: str,
    operation: TenantAction,
    targets: Targets,
    today: date,
) -> Iterator[ForeseenChange]:
    rows = [row for row in targets.rows if row["kind"] == "invoices" and row["invoice_id"]]
    if has_rows(operation.shows, operation.values()) and not rows:
        return
    try:
        operation.check(today)
    except ParameterError as error:
        # If a value is missing, a check may only report that.
        if all(getattr(operation, name) is not None for name in operation.fields(required=True)):
            yield ForeseenChange("", problem=str(error))
        return
    found = _SQL.rows(
        connection,
        "present_invoices",
        invoice_ids=[row["invoice_id"] for row in rows],
        tenant_ids=[row["tenant_id"] for row in rows],
        numbers=[getattr(operation, operation.other_invoice)] if operation.other_invoice else [],
    )
    payments = _SQL.rows(connection, "present_payments", invoice_ids=[row["invoice_id"] for row in found])
    # Changes without an invoice are about the tenants.
    for (tenant_code, tenant_id), of_tenant in groupby(
        found or targets.rows, itemgetter("tenant_code", "tenant_id")
    ):
        present = [
            _present_invoice(row, payments, settings.fee_tolerance, today) for row in of_tenant if found
        ]
        try:
            values = operation.foresee(present)
            decision = _decision(connection, settings, person, operation, tenant_id, present, today)
        except BillingError as error:
            yield ForeseenChange(tenant_code, problem=str(error))
        else:
            if values or decision:
                yield ForeseenChange(tenant_code, values, decision=decision)


def _decision(
    connection: psycopg.Connection[Any],
    settings: BillingSettings,
    person: str,
    operation: TenantAction,
    tenant_id: str,
    present: Sequence[PresentInvoice],
    today: date,
) -> Decision | None:
    entry, waits = operation.entry(present), operation.always_waits(settings.second_person)
    if entry is None and not waits:
        return None
    (row,) = _SQL.rows(
        connection,
        "about_entry",
        tenant_id=tenant_id,
        person=person,
        period_start=entry.month if entry else today,
        months=MONTHS,
    )
    if entry:
        rate = row["newest_rate"] if entry.rate is None else entry.rate
        is_known = rate is not None and not row["is_unknown"]
        entered = row["yen"] + EXACT.multiply(entry.amount, rate) if is_known else None
        waits = excess_reason(settings, person, entry.texts, entered, row["recurring"]) or ""
    if not operation.sends_letter:
        return Decision(waits)
    leaves_on = None if waits else leaving_day(settings, today)
    contact = BillingContact(row["email"], None)
    return Decision(waits, sends_letter=True, leaves_on=leaves_on, no_letter=contact.problem or "")


def _present_invoice(
    row: Mapping[str, Any], payments: Sequence[Mapping[str, Any]], tolerance: int, today: date
) -> PresentInvoice:
    own = [each for each in payments if each["invoice_id"] == row["invoice_id"]]
    return PresentInvoice(
        stored_invoice(dict(row)),
        [stored_document(credit) for credit in row["credits"]],
        own,
        row["of_month"],
        tolerance,
        today,
        row["first_issued_on"],
        may_leave=row["may_leave"],
        has_no_reminders=row["has_no_reminders"],
    )


def _of_transfers(
    connection: psycopg.Connection[Any], settings: BillingSettings, operation: Confirm
) -> list[ForeseenChange]:
    confirmed = operation.transfers or ()
    ids, numbers = [each.transfer_id for each in confirmed], [n for each in confirmed for n in each.numbers]
    transfers = {
        row["transfer_id"]: FoundTransfer(**row)
        for row in _SQL.rows(connection, "present_transfers", ids=ids)
    }
    rows = {row["number"]: row for row in _SQL.rows(connection, "present_payables", numbers=numbers)}
    payables = {
        number: Payable(**{name: value for name, value in row.items() if name != "tenant_code"})
        for number, row in rows.items()
    }
    try:
        shares = shares_of(confirmed, require_usable(transfers, ids), payables, settings.fee_tolerance)
    except ParameterError as error:
        return [ForeseenChange("", problem=str(error))]
    amounts: dict[str, Decimal] = {}
    for _, share in shares:
        amounts[share.number] = amounts.get(share.number, Decimal(0)) + share.amount + share.fee
    return [
        ForeseenChange(rows[number]["tenant_code"], [paid(payables[number], amount)])
        for number, amount in amounts.items()
    ]


def _of_contracts(
    connection: psycopg.Connection[Any],
    settings: BillingSettings,
    operation: Operation,
    targets: Targets,
    today: date,
) -> Iterator[ForeseenChange]:
    # The reason changes no value.
    given = operation.model_copy(update={"reason": ""})
    if any(getattr(given, name) is None for name in given.fields(required=True)):
        return
    codes = {row["tenant_id"]: row["tenant_code"] for row in targets.rows if row["kind"] == "contracts"}
    owners = [given.currency] if isinstance(given, SetRate) else list(codes)
    try:
        given.check(today)
        every_wanted = wanted_rows(given, owners)
    except ParameterError as error:
        yield ForeseenChange("", problem=str(error))
        return
    terms, found, waits = ContractApproval.of(settings), [], False
    for wanted in every_wanted:
        rows, stated = _present_rows(connection, wanted)
        code = codes.get(wanted.owner, "")
        try:
            change = row_change(wanted, rows)
        except BillingError as error:
            found.append((ForeseenChange(code, problem=str(error)), False))
            continue
        if change is None:
            found.append((ForeseenChange(code), False))
            continue
        before, after = (_contact(row, stated) for row in (change.before, change.after))
        waits |= needs_second_person(change, terms, before, after)
        is_told = change.kind is PROFILE and bool(before.missing_in(after))
        found.append((ForeseenChange(code, row=_shown(change, stated)), is_told))
    # If one change needs a second user, all wait.
    why = f"{approval_words(settings.second_person)}を待ちます" if waits else ""
    for each, is_told in found:
        yield replace(each, decision=Decision(why, sends_letter=is_told)) if each.row else each


def _contact(profile: Mapping[str, Any] | None, stated: Mapping[str, Any]) -> Contact:
    """The name and addresses of a profile, completed by what documents state. The same rule as the statement ``present_recipients``."""
    row = profile or {}
    name, email = (row.get(each) or stated.get(each) for each in ("recipient_name", "email"))
    addresses = [email, *(row.get("further_emails") or ()), *(row.get("cc_emails") or ())]
    return Contact(name or "", frozenset(filter(None, addresses)))


def _present_rows(
    connection: psycopg.Connection[Any], wanted: Wanted
) -> tuple[list[dict[str, Any]], Mapping[str, Any]]:
    """The owner's rows of the kind with the table's columns, and what documents state where a profile is empty."""
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
    return {
        "kind": change.kind.name,
        "before": as_json(change.before),
        "after": as_json(change.after),
        "changed": change.changed,
        "stated": stated,
    }
