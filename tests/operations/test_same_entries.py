"""A one-off line or a part credit that another run has entered already is a typing mistake unless the person says otherwise."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import psycopg
import pytest

from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.run_log import RunResult
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds.billing_rows import (
    close_month,
    customer,
    invoices,
    operate,
    reasons,
    run_billing,
)
from tests.worlds.kept_rows import planted_once

LINE = {"line_date": "2026-10-15", "line_text": "初期設定 の作業費", "line_price": "5000"}
TODAY = datetime.now(JAPAN).date()


def enter(database: Database, *codes: str, person: str = "佐藤", **fields: Any) -> RunResult:
    return operate(database, "extra_line", *codes, values=LINE | fields, triggered_by=person)


def credit(database: Database, *lines: str, reason: str = "障害のため", **fields: Any) -> RunResult:
    values = {"credit_lines": list(lines or ["1=1000"])} | fields
    return operate(database, "part_credit", reason=reason, values=values, triggered_by="佐藤")


def lines(host: psycopg.Connection) -> int:
    return host.execute("SELECT FROM batch.extra_charge").rowcount


def credits(host: psycopg.Connection) -> int:
    return sum(row["kind"] == "credit" for row in invoices(host))


@pytest.fixture
def billed(database: Database, host: psycopg.Connection) -> None:
    """A's October: base fee ¥10,000 and five users at ¥500."""

    def plant() -> None:
        customer(host, "A", months=())
        close_month(host, "A", active_users=25)
        run_billing(database)

    planted_once(__name__, database, plant)


@pytest.mark.parametrize("text", [LINE["line_text"], " 初期設定　の作業費 ", "初期設定  の作業費"])
def test_the_same_line_is_refused_with_its_day_and_person(
    database: Database, host: psycopg.Connection, text: str
) -> None:
    customer(host, "A")
    enter(database)

    refused = enter(database, person="鈴木", line_text=text, line_date="2026-10-31")

    assert reasons(refused)["A"] == (
        f"同じ個別明細（2026-10-15「初期設定 の作業費」5,000 JPY）を、{TODAY} に 佐藤 が登録しています。"
        "間違いでなければ「同じ内容をもう一度」（again_same）を選んでください。"
    )
    assert lines(host) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"again_same": True},
        {"line_text": "初期設定の追加作業"},
        {"line_price": "5001"},
        {"line_date": "2026-11-15"},
        {"line_price": "-5000"},
    ],
)
def test_a_line_that_is_meant_or_differs_is_entered(
    database: Database, host: psycopg.Connection, changes: dict[str, Any]
) -> None:
    customer(host, "A")
    enter(database)

    assert enter(database, **changes).status == "completed"

    assert lines(host) == 2


def test_quantity_times_price_is_the_amount_that_is_compared(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    enter(database)

    assert "again_same" in reasons(enter(database, line_price="2500", line_quantity="2"))["A"]


def test_lines_of_other_tenants_and_removed_lines_do_not_count(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    customer(host, "B")
    enter(database, "B")
    enter(database)
    operate(database, "remove_line", values={"line_text": LINE["line_text"]})

    assert enter(database).status == "completed"


@pytest.mark.parametrize(("days", "is_refused"), [(90, True), (91, False)])
def test_an_entry_of_more_than_90_days_ago_does_not_count(
    database: Database, host: psycopg.Connection, days: int, is_refused: bool
) -> None:
    customer(host, "A")
    enter(database)
    # The runs of the tests are on 1 November.
    host.execute(
        "UPDATE batch.extra_charge SET entered_at = %s::date::timestamp AT TIME ZONE 'Asia/Tokyo' - %s * interval '1 day'",
        [date(2026, 11, 1), days],
    )

    assert bool(reasons(enter(database))) is is_refused


@pytest.mark.usefixtures("billed")
def test_the_same_part_credit_is_refused_with_its_number(
    database: Database, host: psycopg.Connection
) -> None:
    credit(database)

    refused = credit(database, "2=1000", reason="　障害のため")

    assert reasons(refused)["A"] == (
        f"同じ返還（CRN-2026-10-001「障害のため」1,100 JPY）を、{TODAY} に 佐藤 が登録しています。"
        "間違いでなければ「同じ内容をもう一度」（again_same）を選んでください。"
    )
    assert credits(host) == 1


@pytest.mark.usefixtures("billed")
@pytest.mark.parametrize(
    "changes", [{"again_same": True}, {"reason": "別の障害のため"}, {"credit_lines": ["1=1001"]}]
)
def test_a_part_credit_that_is_meant_or_differs_is_issued(
    database: Database, host: psycopg.Connection, changes: dict[str, Any]
) -> None:
    credit(database)

    assert credit(database, **changes).status == "completed"

    assert credits(host) == 2


@pytest.mark.usefixtures("billed")
@pytest.mark.parametrize(
    ("enter_same", "count"),
    [(lambda database: enter(database, line_date="2026-11-15"), lines), (credit, credits)],
)
def test_two_runs_at_once_enter_the_same_once(
    database: Database,
    host: psycopg.Connection,
    enter_same: Callable[[Database], RunResult],
    count: Callable[[psycopg.Connection], int],
) -> None:
    results: list[RunResult] = []
    threads = [threading.Thread(target=lambda: results.append(enter_same(database))) for _ in range(2)]
    with host.transaction():
        host.execute("SELECT pg_advisory_xact_lock(180204, hashtext('A') & 63)")
        for number, thread in enumerate(threads, 1):
            thread.start()
            wait_for_blocked_statement(database, number)
    for thread in threads:
        thread.join()

    assert sorted(len(result.failed_tenants) for result in results) == [0, 1]
    assert count(host) == 1
