"""Accounting months: open until they are handed over to the accountant, then closed. Months are first days (Asia/Tokyo).

No document is booked in a closed month (the trigger ``book`` of ``batch.invoice``), and the month's files are never written again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from include.skillreport.billing.accounting.detailed_list import detailed_list
from include.skillreport.billing.accounting.files import (
    WrittenFile,
    delete_provisional,
    delete_unrecorded,
    file_key,
    forms_of,
    lock_month,
    write_files,
)
from include.skillreport.billing.accounting.list_changes import DocumentChange, changes_between
from include.skillreport.billing.accounting.readiness import (
    Accepted,
    require_billed,
    require_earlier_billed,
    require_transfers_settled,
)
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.booking import HAND_OVER_LOCK, keep_open
from include.skillreport.billing.periods import Period
from include.skillreport.billing.settings import AccountingSettings
from include.skillreport.billing.terms import Terms
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.digest import listed
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.proof import Recorded, UnprovedError, read_proved

log = logging.getLogger(__name__)

_SQL = Statements(Path(__file__).parents[1])

# The daily run writes the files of a killed run on the next day. A week allows for days on which the daily run fails too. The business date
# does not show a run's start: for an operation on an invoice, it is in the billed month.
_UNFINISHED_RUNS = timedelta(days=7)


@dataclass(frozen=True)
class HandedOverMonth:
    """A closed month. ``handed_over_at`` is aware. ``changes`` are those since the last provisional list; None: there was none that proved
    itself.

    ``earlier`` are the months with entries that the first hand-over also closed.
    """

    month: date
    handed_over_at: datetime
    handed_over_by: str
    files: tuple[WrittenFile, ...]
    changes: tuple[DocumentChange, ...] | None
    earlier: tuple[HandedOverMonth, ...] = ()


def first_open_day(connection: psycopg.Connection) -> date:
    """The first day after the last closed month, or ``date.min``. No month is closed before the transaction ends."""
    keep_open(connection)
    last = _SQL.column(connection, "last_closed_month")[0]
    return Period.month_of(last).next_day if last else date.min


def touched_months(
    platform: psycopg.Connection, execution_id: str, settings: AccountingSettings
) -> list[date]:
    """The months whose files change, because the run, or an unfinished or failed run of the last days, entered or took back entries."""
    return _SQL.column(
        platform,
        "touched_months",
        execution_id=execution_id,
        unfinished_for=_UNFINISHED_RUNS,
        with_receipts=settings.receipts,
    )


def write_open_month(
    platform: psycopg.Connection, month: date, settings: AccountingSettings, store: ObjectStore
) -> bool:
    """Write the month's provisional files. Returns False if the month is closed."""
    with platform.transaction():
        if month < first_open_day(platform):
            return False
        lock_month(platform, month)
        delete_unrecorded(month, forms_of(settings), store)
        written = write_files(platform, month, settings, store, is_final=False)
        for file in written:
            _SQL.execute(
                platform,
                "record_provisional",
                key=file.key,
                month=month,
                sha256=file.sha256,
                bytes=file.bytes,
            )
        return True


def repair_files(platform: psycopg.Connection, store: ObjectStore) -> None:
    """Delete the provisional files of closed months after a killed hand-over."""
    last = _SQL.column(platform, "last_closed_month")[0]
    if last:
        delete_provisional(last, store, is_repair=True)


def hand_over(
    platform: psycopg.Connection,
    month: date,
    terms: Terms,
    store: ObjectStore,
    *,
    run_date: date,
    actor: str,
    execution_id: str,
    accepted: Accepted,
) -> HandedOverMonth:
    """Write the month's final files, close the month, and delete its provisional files. A retry of the same run returns the closed month.

    Documents that are finalised or voided at the same time wait, and belong to the next months. ``accepted.earlier_months``: the first
    hand-over also closes the earlier months, and writes the final files of those with entries, because they cannot be written later.
    :raises BillingError: the month is not over on ``run_date``, it is closed, an earlier open month has documents, its invoices are
        incomplete, or transfers wait.
    """
    settings = terms.settings.accounting
    with platform.transaction():
        platform.execute("SELECT pg_advisory_xact_lock(%s, %s)", HAND_OVER_LOCK)
        row = _find(platform, month)
        if row is None or row["execution_id"] != execution_id:
            earlier = _require_closable(
                platform, month, run_date, row, settings, closes_earlier=accepted.earlier_months
            )
            require_earlier_billed(platform, month, terms, accepted, first_open_day(platform))
            require_billed(platform, month, terms, accepted)
            require_transfers_settled(platform, month, terms, store, accepted)
            for each in (*earlier, month):
                row = _close(platform, each, settings, store, actor, execution_id)
        assert row is not None
        closed_with = _SQL.rows(platform, "closed_with", execution_id=execution_id, month=month)
    # After the commit, because a month that stays open keeps its provisional files.
    delete_provisional(month, store)
    return replace(_handed_over(row), earlier=tuple(map(_handed_over, closed_with)))


def _close(
    platform: psycopg.Connection,
    month: date,
    settings: AccountingSettings,
    store: ObjectStore,
    actor: str,
    execution_id: str,
) -> dict[str, Any]:
    lock_month(platform, month)
    files = write_files(platform, month, settings, store, is_final=True)
    changes = _changes(platform, month, files, store)
    _SQL.execute(platform, "forget_provisional", month=month)
    return _SQL.row(
        platform.cursor(row_factory=dict_row),
        "record_hand_over",
        month=month,
        handed_over_by=actor,
        execution_id=execution_id,
        files=Jsonb([file.as_json() for file in files]),
        changes=None if changes is None else Jsonb([change.as_json() for change in changes]),
    )


def _changes(
    platform: psycopg.Connection, month: date, files: Sequence[WrittenFile], store: ObjectStore
) -> tuple[DocumentChange, ...] | None:
    """The changes since the last provisional list. None: there is none, or it does not prove itself."""
    provisional, final = (file_key(detailed_list(), month, is_final=is_final) for is_final in (False, True))
    before = _SQL.execute(platform, "find_provisional", key=provisional).fetchone()
    after = next(file for file in files if file.key == final)
    try:
        sha256, size = before or (None, 0)
        return changes_between(
            read_proved(store, provisional, Recorded(sha256), size),
            read_proved(store, final, Recorded(after.sha256), after.bytes),
        )
    except UnprovedError as error:
        log.warning("最後の未確定の一覧とは比べません: %s", error)
        return None


def require_over(month: date, today: date) -> None:
    """Check that the month is over. :raises BillingError: it is not."""
    if today < Period.month_of(month).next_day:
        raise BillingError(
            "MONTH_NOT_OVER",
            f"会計月 {month:%Y-%m} はまだ終わっていないため確定できません。{Period.month_of(month).next_day} 以降に実行してください",
        )


def _require_closable(
    platform: psycopg.Connection,
    month: date,
    run_date: date,
    closed: dict[str, Any] | None,
    settings: AccountingSettings,
    *,
    closes_earlier: bool,
) -> list[date]:
    """Check that the month may close. Returns the earlier months with entries that it also closes."""
    name = f"会計月 {month:%Y-%m} "
    require_over(month, run_date)
    if closed:
        raise BillingError(
            "MONTH_HANDED_OVER",
            f"{name}は {closed['handed_over_by']} が確定済みです。ファイルは保存先の accounting/{month:%Y-%m} にあります",
        )
    open_from = first_open_day(platform)
    if month < open_from:
        raise BillingError(
            "MONTH_HANDED_OVER",
            f"{name}より後の月が確定済みのため、確定できません。{open_from:%Y-%m} 以降の月を指定してください",
        )
    earlier: list[date] = _SQL.column(
        platform,
        "earlier_open_months",
        month=month,
        first_open_day=open_from,
        with_receipts=settings.receipts,
    )
    is_first = open_from == date.min
    if earlier and not (is_first and closes_earlier):
        advice = (
            f"。{month:%Y-%m} までの書類を別の方法で渡し済みなら、「前の月もまとめて閉じる」（earlier_months）を選ぶと、"
            "まとめて閉じます"
        )
        months = "、".join(listed(earlier, lambda each: f"{each:%Y-%m}", "ほか {} か月"))
        raise BillingError(
            "EARLIER_MONTH_OPEN",
            f"{name}より前に、書類か入金があるのに確定していない月があります。先に会計月 {months} を確定してください"
            f"{advice if is_first else ''}",
        )
    return earlier


def _find(platform: psycopg.Connection, month: date) -> dict[str, Any] | None:
    return _SQL.execute(platform.cursor(row_factory=dict_row), "find_hand_over", month=month).fetchone()


def _handed_over(row: dict[str, Any]) -> HandedOverMonth:
    return HandedOverMonth(
        row["month"],
        row["handed_over_at"],
        row["handed_over_by"],
        tuple(WrittenFile(**file) for file in row["files"]),
        None if row["changes"] is None else tuple(DocumentChange(**change) for change in row["changes"]),
    )
