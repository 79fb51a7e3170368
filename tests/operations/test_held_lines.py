"""Invoices that are held because of large one-off lines, or because they are a tenant's first."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.skillreport.core.execution.run_log import RunResult
from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.billing_rows import (
    close_month,
    customer,
    invoice,
    operate,
    outcomes,
    reasons,
    run_billing,
    states,
)
from tests.worlds.own_settings import change_billing

LINE = {"line_date": "2026-10-15", "line_text": "初期設定の作業費", "line_price": "50000000"}


def enter(database: Database, price: str = LINE["line_price"], **fields: Any) -> RunResult:
    return operate(database, "extra_line", values=LINE | {"line_price": price} | fields, triggered_by="佐藤")


def approve(database: Database, person: str = "鈴木") -> RunResult:
    return operate(database, "approve", triggered_by=person)


def approvals(host: psycopg.Connection) -> list[tuple[Any, ...]]:
    return host.execute(
        "SELECT approved_by, approved_at IS NOT null FROM batch.extra_charge ORDER BY entered_at"
    ).fetchall()


def test_a_line_of_50_million_for_a_tenant_of_11000_is_held(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    enter(database)

    result = run_billing(database)

    assert reasons(result)["A"].startswith(
        "未承認の個別明細の合計 50,000,000 JPY が、個別明細を除く小計 10,000 JPY の 50 % を超えます"
        "（2026-10-15「初期設定の作業費」50,000,000 JPY）"
    )
    assert states(host) == [("draft", None)]
    assert host.execute('SELECT FROM "HIS_NotificationLog"').fetchall() == []


def test_a_line_within_the_percentage_is_billed_without_an_approval(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    enter(database, "5000")
    run_billing(database)
    assert states(host) == [("finalized", "INV-2026-10-001")]
    assert approvals(host) == [(None, False)]


def test_an_approved_line_does_not_hold_a_later_calculation(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    enter(database, "20000")
    run_billing(database)
    held_hash = invoice(host, "A")["input_hash"]

    assert approve(database).status == "completed"

    approved = invoice(host, "A")
    assert (approved["status"], approved["approved_by"], approved["input_hash"]) == (
        "finalized",
        "鈴木",
        held_hash,
    )
    assert approvals(host) == [("鈴木", True)]
    assert operate(database, "reissue", reason="宛名の誤り").status == "completed"
    assert [status for status, _ in states(host)] == ["void", "finalized"]
    assert approvals(host) == [("鈴木", True)]


def test_a_line_after_the_approval_of_another_is_held_by_itself(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    enter(database, "20000")
    approve(database)
    operate(database, "void", reason="宛名の誤り")
    enter(database, "6000", line_text="追加の作業費")

    result = operate(database, "bill_again", reason="宛名の誤り")

    (note,) = outcomes(host, result)["A"]["notes"]
    assert "未承認の個別明細の合計 6,000 JPY が" in note


@pytest.mark.parametrize(
    ("approve_first", "users", "is_held"), [(True, 31, True), (True, 30, False), (False, 31, False)]
)
def test_a_first_invoice_is_held_if_the_setting_says_so(
    database: Database,
    host: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    approve_first: bool,
    users: int,
    is_held: bool,
) -> None:
    change_billing(monkeypatch, tmp_path, approve_first=approve_first)
    customer(host, "A", months=())
    close_month(host, "A", active_users=users)

    result = run_billing(database)

    assert [status for status, _ in states(host)] == ["draft" if is_held else "finalized"]
    if is_held:
        assert reasons(result)["A"].startswith(
            "最初の請求書で、個別明細を除く小計 15,500 JPY が、基本料金 10,000 JPY と 50 % を超えて違います"
        )


def test_a_first_invoice_for_a_few_days_is_compared_by_the_month(
    database: Database, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    change_billing(monkeypatch, tmp_path, approve_first=True)
    for tenant_id, users in (("A", 30), ("B", 31)):
        customer(host, tenant_id, months=(), contract_start_date=date(2026, 10, 21))
        close_month(host, tenant_id, first=21, active_users=users)

    result = run_billing(database)

    assert [states(host, tenant_id)[0][0] for tenant_id in ("A", "B")] == ["finalized", "draft"]
    assert reasons(result)["B"].startswith(
        "最初の請求書で、1 か月分に換算した、個別明細を除く小計 15,500 JPY が、基本料金 10,000 JPY と 50 % を超えて違います"
    )


def test_a_second_invoice_is_compared_with_the_first_only(
    database: Database, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    change_billing(monkeypatch, tmp_path, approve_first=True)
    customer(host, "A", months=())
    close_month(host, "A", active_users=31)
    close_month(host, "A", billing_rows.FIRST_OF_NOVEMBER, active_users=31)
    run_billing(database)
    approve(database)

    assert reasons(run_billing(database, billing_rows.FIRST_OF_NOVEMBER)) == {}
