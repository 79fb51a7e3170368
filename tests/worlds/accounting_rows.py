"""The accountant's files of a month as rows for tests, hand-overs, and the times of voids and hand-overs."""

from __future__ import annotations

import csv
from datetime import date, datetime
from typing import Any

import psycopg

from include.skillreport.billing.accounting.files import forms_of
from include.skillreport.billing.accounting.months import HandedOverMonth
from include.skillreport.billing.service import Billing
from include.skillreport.billing.terms import load_terms
from include.skillreport.core.execution.object_store import ObjectStore
from tests.worlds.billing_rows import FIRST_OF_NOVEMBER, MONTH, files

OCTOBER, NOVEMBER, DECEMBER = MONTH, FIRST_OF_NOVEMBER, date(2026, 12, 1)

NAMES = ("accounting", "freee", "journal", "moneyforward")


def keys(month: str, *, is_final: bool = False) -> list[str]:
    """The keys of a month's files, while the month is open or after its hand-over, in order."""
    end = "" if is_final else "-未確定"
    return [
        f"accounting/{month}/{name}-{month}{end}.csv"
        for name in (*NAMES, *(["receivables"] if is_final else []))
    ]


def written(store: ObjectStore) -> list[str]:
    """The keys of the accountant's files, in order."""
    return [key for key in files(store) if key.startswith("accounting/2")]


def rows(
    store: ObjectStore, month: str, name: str = "accounting", *, is_final: bool = False
) -> list[dict[str, str]]:
    """The rows of a file."""
    end = "" if is_final else "-未確定"
    content = files(store)[f"accounting/{month}/{name}-{month}{end}.csv"].decode("utf-8-sig")
    return list(csv.DictReader(content.splitlines()))


def listed(store: ObjectStore, month: str, *, is_final: bool = False) -> list[tuple[str, str, str, str]]:
    """Number, kind, status and total of the documents of a month."""
    return [
        (row["請求書番号"], row["種別"], row["状態"], row["税込金額"])
        for row in rows(store, month, is_final=is_final)
    ]


def days(store: ObjectStore, month: str, *, is_final: bool = False) -> list[tuple[str, str, str, str]]:
    """Number, day in the books, issue date and remark of the documents of a month."""
    return [
        (row["請求書番号"], row["取引日"], row["発行日"], row["備考"])
        for row in rows(store, month, is_final=is_final)
    ]


def receivables(store: ObjectStore, month: str) -> dict[str, int]:
    """What each of an open month's files adds to the receivables, in yen, as the hand-over counts it."""
    forms = {form.name: form for form in forms_of(load_terms().settings.accounting)}
    return {name: sum(map(forms[name].yen, rows(store, month, name))) for name in NAMES}


def hand_over(
    platform: psycopg.Connection,
    store: ObjectStore,
    month: date = OCTOBER,
    run_date: date = FIRST_OF_NOVEMBER,
    execution_id: str = "handing over",
    **accepted: Any,
) -> HandedOverMonth:
    """Hand a month over."""
    return Billing().hand_over(
        platform,
        month,
        run_date=run_date,
        actor="経理部 佐藤",
        execution_id=execution_id,
        store=store,
        **accepted,
    )


def stamp(host: psycopg.Connection, number: str, voided_at: datetime) -> None:
    """Move the void to a time, past the trigger that gives it the present time. Months were handed over at 4 in the night after them."""
    with host.transaction():
        host.execute("SET LOCAL session_replication_role = replica")
        host.execute("UPDATE batch.invoice SET voided_at = %s WHERE number = %s", [voided_at, number])
        host.execute(
            "UPDATE batch.accounting_month SET handed_over_at = month + interval '1 month 4 hours' - interval '9 hours'"
        )
