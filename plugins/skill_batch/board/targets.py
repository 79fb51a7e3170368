"""The rows that an action will work on, in their present state, for the dialog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import psycopg

from skill_batch.board.actions import Action, unknown_tenants
from skill_batch.board.choosing import choices, tenant_ids_of
from skill_batch.board.message_words import ALL_STATES, channel_labels
from skill_batch.board.statements import SQL as _SQL
from include.skillreport.approvals.requests import HOLDS
from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.ledger.stored_invoice import stored_document
from include.skillreport.core.database import has_control_characters
from include.skillreport.core.entered import SHOWN, plain
from include.skillreport.core.errors import ParameterError
from include.skillreport.messaging.contract_letters import CONTRACT_LETTERS
from include.skillreport.operations.import_payments.form import FEE
from include.skillreport.operations.offboard_tenant.form import OPEN_ITEMS
from include.skillreport.operations.shown import difference, has_rows, lines_of, parameters_of

# The statement for each kind of rows, and what these fields select by its id.
_ROWS = {
    "invoices": "described_invoices",
    "lines": "described_lines",
    "channels": "described_channels",
    "stops": "described_stops",
    "offboardings": "described_offboardings",
    "contracts": "described_contracts",
    "rates": "described_rates",
}
_OF_IDS = {
    "messages": "described_messages",
    "transfers": "described_transfers",
    "same_transfers": "described_transfers",
    "transfer_ids": "described_transfers",
    "payers": "described_payers",
    "changes": "described_changes",
}

MOST = 50

_AGAIN = "対象を確かめて、もう一度「実行する」を押してください。"


@dataclass(frozen=True)
class Targets:
    """The selection of a dialog's values. ``rows`` are the first of ``total`` rows; their ``kind`` determines the columns.

    ``lines`` are all rows as texts, which the run compares with its targets. ``open_items``: a single tenant's open items, by field.
    """

    rows: Sequence[Mapping[str, Any]]
    total: int
    lines: Sequence[str]
    open_items: Mapping[str, int] = field(default_factory=dict)

    @property
    def further(self) -> int:
        """The number of further rows."""
        return self.total - len(self.rows)

    def document(self, connection: psycopg.Connection[Any]) -> Invoice | None:
        """The only invoice among the rows, as printed, or None."""
        ids = [row["invoice_id"] for row in self.rows if row["kind"] == "invoices" and row["invoice_id"]]
        if len(ids) != 1:
            return None
        (row,) = _SQL.rows(connection, "invoice", invoice_id=ids[0], codes_of_holds=HOLDS)
        return stored_document(row)


def describe_targets(
    connection: psycopg.Connection[Any], action: Action, values: Mapping[str, Any], today: date
) -> Targets:
    """The rows that the values select. The values come from a conf or an incomplete dialog. ``today`` is in Asia/Tokyo."""
    shows = action.shows
    tenant_ids = _tenant_ids(connection, action, values) if shows.tenants else []
    about = parameters_of(shows, values, tenant_ids, _month(values.get("business_date"), today))
    rows: list[dict[str, Any]] = []
    if has_rows(shows, values):
        rows = _described(
            connection, _ROWS[shows.rows], shows.rows, **about, contract_letters=list(CONTRACT_LETTERS)
        )
    lines = lines_of(shows, values, tenant_ids, rows)
    named = {row["tenant_id"] for row in rows}
    kind = "customers" if shows.unless and values.get(shows.unless) else "tenants"
    left = [each for each in tenant_ids if each not in named]
    if left:
        rows += _described(connection, "described_tenants", kind, tenant_ids=left)
    for name in shows.ids:
        if name in _OF_IDS and values.get(name):
            ids, numbers = split_lines(values[name])
            rows += _described(connection, _OF_IDS[name], name, ids=ids, numbers=numbers)
    is_begun = bool(action.operation) and OPEN_ITEMS.keys() <= action.fields.keys() and len(tenant_ids) == 1
    items = _SQL.rows(connection, "open_items", tenant_ids=tenant_ids) if is_begun else []
    return Targets(rows[:MOST], len(rows), lines, items[0] if items else {})


def require_confirmed(action: Action, shown: Sequence[str], targets: Targets) -> None:
    """Check that the dialog showed what the values select. Read-only actions need no second look at typed tenants.

    :raises ParameterError: it did not; the dialog appears again, and names both.
    """
    lines = list(targets.lines)
    # The rest of a line that the dialog began was chosen in it.
    begun = [each for each in shown if each.endswith("=")]
    shown = [
        next((line for line in lines if line.startswith(each)), each) if each in begun else each
        for each in shown
    ]
    if sorted(shown) == lines or (action.is_read_only and not shown):
        return
    if shown:
        raise ParameterError(difference(shown, lines) + _AGAIN)
    raise ParameterError(f"まだ何もしていません。{_AGAIN}")


def with_shown(action: Action, conf: Mapping[str, Any], targets: Targets) -> dict[str, Any]:
    """The conf with the shown targets. A batch has no such field."""
    return {**conf, **({SHOWN: list(targets.lines)} if action.operation and targets.lines else {})}


def tenants_of_messages(connection: psycopg.Connection[Any], message_ids: Sequence[str]) -> list[str]:
    """The value of a form's field "tenants" that selects exactly the tenants of these messages.

    :raises ParameterError: the operation cannot work on one of these tenants.
    """
    rows = _SQL.rows(connection, "described_messages", ids=list(message_ids))
    codes = {str(row["tenant_id"]): str(row["tenant_code"]) for row in rows}
    found = choices(connection, list(codes))
    for tenant_id, choice in found.items():
        if choice.refusal:
            raise ParameterError(
                f"テナント {codes[tenant_id]}: {choice.refusal}。このテナントの通知を選択から外してください。"
            )
    return sorted(str(choice.chosen_as) for choice in found.values())


def _described(
    connection: psycopg.Connection[Any], statement: str, kind: str, /, **about: Any
) -> list[dict[str, Any]]:
    rows = _SQL.rows(connection, statement, **about)
    return [_in_words({**row, "kind": kind}) for row in rows]


def _tenant_ids(connection: psycopg.Connection[Any], action: Action, values: Mapping[str, Any]) -> list[str]:
    names = [name for name in values.get("tenants", ()) if not has_control_characters(name)]
    tenant_ids = tenant_ids_of(connection, names)
    if action.operation and action.operation.takes_former and names:
        unknown = unknown_tenants(connection, names)
        tenant_ids += _SQL.column(connection, "former_tenant_ids", names=unknown) if unknown else []
    return tenant_ids


def split_lines(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """The ids before, and the invoices' numbers after, the equals signs of these lines."""
    parts = [plain(line).partition("=") for line in lines if not has_control_characters(line)]
    numbers = [each.strip() for _, _, numbers in parts for each in numbers.split(",")]
    return [each.strip() for each, _, _ in parts], [each for each in numbers if each not in ("", FEE)]


def _in_words(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **row,
        "status_name": ALL_STATES.get(row.get("status", ""), row.get("status")),
        "channel_name": channel_labels().get(row.get("channel", ""), row.get("channel")),
    }


def _month(given: str | None, today: date) -> date:
    try:
        return date.fromisoformat(plain(given or ""))
    except ValueError:
        return today.replace(day=1) - timedelta(days=1)
