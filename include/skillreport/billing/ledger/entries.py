"""What people enter for a tenant's month: one-off lines and credit notes. An identical entry of another run is a typing mistake."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import ExtraCharge
from include.skillreport.billing.money import EXACT
from include.skillreport.billing.periods import Period
from include.skillreport.core.database import Statements
from include.skillreport.core.entered import compared

_SQL = Statements(Path(__file__).parents[1])

# An arbitrary number. Taken after the lock of a hand-over and before the locks of invoices.
_ENTRIES_LOCK = 180202

# An identical entry is a mistake if it is at most this old.
_SAME_WITHIN = timedelta(days=90)


@dataclass(frozen=True)
class Entry:
    """Who enters something, with which run, on which day (Asia/Tokyo). ``again_same``: an identical earlier entry is no mistake."""

    person: str
    execution_id: str | None
    day: date
    again_same: bool = False


def lock_entries(connection: psycopg.Connection, tenant_ids: Iterable[str]) -> None:
    """Let no other transaction enter or approve anything for these tenants before this one ends."""
    for tenant_id in sorted(set(tenant_ids)):
        _SQL.execute(connection, "lock_entries", lock=_ENTRIES_LOCK, tenant_id=tenant_id)


def require_new_line(connection: psycopg.Connection, tenant_id: str, line: ExtraCharge, entry: Entry) -> None:
    """:raises BillingError: another run has entered the same line (month, text and amount) within 90 days."""
    if entry.again_same:
        return
    month = Period.month_of(line.charged_on)
    amount = EXACT.multiply(line.quantity, line.unit_amount)
    found = _SQL.rows(
        connection,
        "equal_lines",
        tenant_id=tenant_id,
        period_start=month.start,
        period_end=month.end,
        currency=line.currency,
        amount=amount,
        execution_id=entry.execution_id,
        since=entry.day - _SAME_WITHIN,
    )
    for row in _with_text(found, line.description):
        raise _same_entry(
            "SAME_LINE_ENTERED",
            f"個別明細（{row['charged_on']}「{row['text']}」{amount:,f} {line.currency}）",
            row,
        )


def require_new_credit(
    connection: psycopg.Connection, tenant_id: str, credit: Invoice, reason: str, entry: Entry
) -> None:
    """:raises BillingError: another run has entered the same credit (month, reason and total) within 90 days."""
    if entry.again_same:
        return
    found = _SQL.rows(
        connection,
        "equal_credits",
        tenant_id=tenant_id,
        period_start=credit.period_start,
        currency=credit.currency,
        total=credit.total,
        execution_id=entry.execution_id,
        since=entry.day - _SAME_WITHIN,
    )
    for row in _with_text(found, reason):
        raise _same_entry(
            "SAME_CREDIT_ENTERED",
            f"返還（{row['number'] or '承認待ち'}「{row['text']}」{-credit.total:,f} {credit.currency}）",
            row,
        )


def _with_text(rows: Sequence[Mapping[str, Any]], text: str) -> Iterable[Mapping[str, Any]]:
    return (row for row in rows if compared(row["text"]) == compared(text))


def _same_entry(code: str, what: str, row: Mapping[str, Any]) -> BillingError:
    return BillingError(
        code,
        f"同じ{what}を、{row['entered_on']} に {row['entered_by']} が登録しています。"
        "間違いでなければ「同じ内容をもう一度」（again_same）を選んでください",
    )
