"""The unpaid invoices that the dialog of a transfer's confirmation offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from skill_batch.board.actions import Action
from skill_batch.board.statements import SQL as _SQL
from skill_batch.board.targets import split_lines
from include.skillreport.billing.settings import BillingSettings
from include.skillreport.operations.import_payments.form import FEE, Confirm

_MOST = 30


@dataclass(frozen=True)
class OfferedInvoices:
    """The invoices for one transfer, in the order of payment. ``chosen``: the numbers so far. ``fee_tolerance``: the largest fee in yen."""

    transfer_id: str
    rows: Sequence[Mapping[str, Any]]
    chosen: Sequence[str]
    has_fee: bool
    fee_tolerance: int

    @property
    def others(self) -> Sequence[str]:
        """The chosen numbers that are not in the list."""
        return [number for number in self.chosen if number not in {row["number"] for row in self.rows}]


def offered_invoices(
    connection: psycopg.Connection[Any], action: Action, values: Mapping[str, Sequence[str]]
) -> OfferedInvoices | None:
    """None: the action confirms nothing, or the values do not name exactly one waiting transfer."""
    if action.operation is not Confirm:
        return None
    lines = [line for text in values.get("transfers", ()) for line in text.splitlines() if line.strip()]
    ids, chosen = split_lines(lines)
    if len(lines) != 1 or len(ids) != 1:
        return None
    tolerance = BillingSettings.load().fee_tolerance
    found = {"transfer_id": ids[0], "chosen": chosen}
    if not _SQL.rows(connection, "present_transfers", ids=ids):
        return None
    rows = _SQL.rows(connection, "offered_invoices", **found, fee_tolerance=tolerance, most=_MOST)
    return OfferedInvoices(ids[0], rows, chosen, FEE in lines[0].split(","), tolerance)
