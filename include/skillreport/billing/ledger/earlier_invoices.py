"""Invoices from before this schema existed: their months stay billed, and new numbers start above theirs.

After the schema is recreated, only the application's table and the object store have them. Numbers are recognised by form, because
others may edit that table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psycopg

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.settings import BillingSettings
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.object_store import ObjectStore

_SQL = Statements(Path(__file__).parents[1])

_FOLDER = "invoices"
_NUMBER = re.compile(r"(INV|CRN)-((?!0000)[0-9]{4}-(?:0[1-9]|1[0-2]))-([0-9]{3,9})")
_NAMED_MONTHS = 12


def continue_earlier_invoices(
    platform: psycopg.Connection, settings: BillingSettings, store: ObjectStore | None
) -> None:
    """Before this schema's first number, reject billing earlier months again, and start above the earlier numbers.

    Acts as ``batch_platform``. Does nothing once an invoice has a number.
    :raises BillingError: ``first_month`` is not after the earlier invoices, and ``bill_again_until`` does not permit their months.
    """
    if _SQL.execute(platform, "numbers_from_before").fetchone() is None:
        return
    # Before the table, because a concurrent run that issues the first invoices writes their files last.
    of_files = tuple(_numbers_of_files(store))
    row = _SQL.execute(platform, "numbers_from_before").fetchone()
    if row is None:
        return
    last_numbers: dict[tuple[str, date], int] = {}
    for text in (*row[0], *of_files):
        if found := _NUMBER.match(text):
            series = found[1], date.fromisoformat(f"{found[2]}-01")
            last_numbers[series] = max(last_numbers.get(series, 0), int(found[3]))
    _require_new_months(settings, {month for _, month in last_numbers})
    _SQL.execute(
        platform,
        "begin_numbers",
        series=[series for series, _ in last_numbers],
        months=[month for _, month in last_numbers],
        last_numbers=list(last_numbers.values()),
    )


def _numbers_of_files(store: ObjectStore | None) -> Iterator[str]:
    if store is not None:
        for month in store.names(_FOLDER):
            yield from store.names(f"{_FOLDER}/{month}")


def _require_new_months(settings: BillingSettings, months: set[date]) -> None:
    first, last = settings.first_month, settings.bill_again_until
    closed = sorted(
        month for month in months if (not first or month >= first) and not (last and month <= last)
    )
    if closed:
        named = "、".join(f"{month:%Y-%m}" for month in closed[-_NAMED_MONTHS:])
        raise BillingError(
            "BILLED_EARLIER",
            f"スキーマ batch に請求書がありませんが、HIS_TenantBilling か保存先に {named} の請求書があるため、二重に請求しないように"
            "止めました。設定の billing.first_month を、まだ請求していない最初の月の 1 日に直してください（docs/admin/billing.md）",
        )
