"""Entries of users for a tenant's month: one-off lines and credit notes.

An identical entry of another run is a typing mistake. Entries above a user's limit wait until another user approves them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import psycopg

from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.entry_limits import MONTHS, excess_reason
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import ExtraCharge
from include.skillreport.billing.money import EXACT
from include.skillreport.billing.periods import Period
from include.skillreport.billing.second_person import Approver, is_author
from include.skillreport.billing.terms import Terms
from include.skillreport.core.database import Statements
from include.skillreport.core.entered import compared, plain

_SQL = Statements(Path(__file__).parents[1])

# The first key of the advisory locks, unique among this product's locks. Lock order: after the lock against closing a month, before
# invoices.
_ENTRIES_LOCK = 180204

# An older identical entry is no mistake.
_SAME_WITHIN = timedelta(days=90)


@dataclass(frozen=True)
class EntryAuthor:
    """The user of an entry, the run and the day (Asia/Tokyo). ``again_same``: an identical earlier entry is no mistake."""

    person: str
    execution_id: str | None
    day: date
    again_same: bool = False


def lock_entries(connection: psycopg.Connection, *, is_shared: bool = False) -> None:
    """Lock the entries and approvals of the transaction's tenants until it ends.

    ``is_shared``: this transaction only reads entries, so others may do so at the same time.
    """
    _SQL.execute(connection, "lock_tenants", lock=_ENTRIES_LOCK, is_shared=is_shared)


def require_new_line(
    connection: psycopg.Connection, tenant_id: str, line: ExtraCharge, entry: EntryAuthor
) -> None:
    """Check for duplicates. :raises BillingError: another run entered the same line (month, text and amount) within 90 days."""
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
    connection: psycopg.Connection, tenant_id: str, credit: Invoice, reason: str, entry: EntryAuthor
) -> None:
    """Check for duplicates. :raises BillingError: another run entered the same credit (month, reason and total) within 90 days."""
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


def excess(
    connection: psycopg.Connection, terms: Terms, tenant_id: str, month: Period, person: str, *texts: str
) -> str | None:
    """Why the user's newest entry for the month waits, or None. ``texts``: its texts for the customer (``excess_reason``)."""
    entered = _SQL.rows(
        connection,
        "entered_yen",
        tenant_id=tenant_id,
        person=person,
        period_start=month.start,
    )[0]
    yen = None if entered["is_unknown"] else entered["yen"]
    return excess_reason(terms.settings, person, texts, yen, _recurring(connection, tenant_id))


def wait_reason(
    connection: psycopg.Connection, terms: Terms, tenant_id: str, person: str, *texts: str
) -> str:
    """Why an entry of the user waits. ``texts`` as in ``excess``."""
    reason = excess_reason(terms.settings, person, texts, None, _recurring(connection, tenant_id))
    assert reason is not None, "an entry without yen waits"
    return reason


def withdraw_entries(
    connection: psycopg.Connection,
    kind: Literal["line", "credit", "write_off", "contract"],
    entry_ids: Iterable[str],
    reason: str,
    execution_id: str,
    person: str = "",
) -> list[dict[str, Any]]:
    """Withdraw waiting entries (``second_person.WAITING_KINDS``) of any author: credit notes and write-offs by the id of the invoice, and
    lines even if they do not wait. Returns the rows of the statement ``withdraw_<kind>``. The transaction holds their locks.
    """
    values = {"reason": reason, "execution_id": execution_id, "person": person}
    return _SQL.rows(connection, f"withdraw_{kind}", entry_ids=sorted(entry_ids), **values)


def approver_of_month(
    connection: psycopg.Connection,
    approver: Approver,
    tenant_id: str,
    month: Period,
    *,
    only_lines: bool = False,
) -> str:
    """The approver's name for waiting entries of a tenant's month (``Approver.name_for``). It is about the sum of this user's entries,
    without signs. The transaction holds the locks of entries.
    """
    rows = _SQL.rows(
        connection,
        "waiting_of_month",
        tenant_id=tenant_id,
        period_start=month.start,
        period_end=month.end,
        only_lines=only_lines,
    )
    own = [row for row in rows if is_author(approver.person, [row["entered_by"]])]
    what = "、".join(f"「{row['entry_text']}」{row['amount']:,f} {row['currency']} " for row in own)
    return approver.name_for(
        f"{month.start:%Y-%m} の{what}",
        {row["entered_by"] for row in own},
        sum((row["amount"] for row in own), Decimal(0)),
    )


def confirmations(
    platform: psycopg.Connection, request_id: str, month: Period, lines: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """The confirmations in an answer's ``lines``, by the id of a tenant with own lines: ``named`` and ``typed`` of ``Approver``. Acts as
    ``batch_platform``.

    A line is ``code=amount``, or ``id=amount`` if codes are equal. An amount alone counts if only one tenant of the request has own
    lines.
    """
    own = _SQL.rows(
        platform,
        "own_lines_of_request",
        request_id=request_id,
        period_start=month.start,
        period_end=month.end,
    )
    codes = [row["tenant_code"] for row in own]
    texts = [plain(line).rpartition("=") for line in lines]
    found = {}
    for row in own:
        name = row["tenant_code"] if codes.count(row["tenant_code"]) == 1 else row["tenant_id"]
        typed = [
            amount
            for code, sign, amount in texts
            if code.strip() in (name, row["tenant_id"]) or (not sign and len(own) == 1)
        ]
        found[row["tenant_id"]] = {"named": f"{name}=", "typed": typed}
    return found


def credit_text(row: Mapping[str, Any]) -> str:
    """A credit note in one line: reason, amount, and author."""
    return f"「{row['credit_reason']}」{-row['total']:,f} {row['currency']}（登録者 {row['entered_by']}）"


def first_opened(connection: psycopg.Connection, execution_id: str) -> datetime | None:
    """The time at which a run was first opened, regardless of later clears; None if there is no such run.

    Its user approves only earlier entries, because later clears have an unknown user.
    """
    opened: datetime | None = _SQL.row(connection, "first_opened", execution_id=execution_id)[0]
    return opened


def old_entries(platform: psycopg.Connection, before: datetime) -> list[dict[str, Any]]:
    """The number of entries of each kind from before this time (aware) that still wait, and the oldest time. Acts as ``batch_platform``."""
    return _SQL.rows(platform, "old_entries", before=before)


def _recurring(connection: psycopg.Connection, tenant_id: str) -> list[Decimal]:
    return _SQL.column(connection, "recurring_yen", tenant_id=tenant_id, months=MONTHS)


def _with_text(rows: Sequence[Mapping[str, Any]], text: str) -> Iterable[Mapping[str, Any]]:
    return (row for row in rows if compared(row["text"]) == compared(text))


def _same_entry(code: str, what: str, row: Mapping[str, Any]) -> BillingError:
    return BillingError(
        code,
        f"同じ{what}を、{row['entered_on']} に {row['entered_by']} が登録しています。"
        "間違いでなければ「同じ内容をもう一度」（again_same）を選んでください",
    )
