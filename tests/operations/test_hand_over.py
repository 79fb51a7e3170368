"""The accountant takes over the files of a calendar month."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import psycopg
import pytest

from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import RunResult
from tests.conftest import Database
from tests.worlds.accounting_rows import keys, written
from tests.worlds.billing_rows import (
    customer,
    files,
    operate,
    outcomes,
    run_billing,
)

pytestmark = pytest.mark.usefixtures("billed")

NOVEMBER = date(2026, 11, 1)
OCTOBERS_LIST = "accounting/2026-10/accounting-2026-10.csv"


def hand_over(
    database: Database,
    store: ObjectStore,
    month: str = "2026-10-01",
    run_date: date = NOVEMBER,
    **values: Any,
) -> RunResult:
    run_at = datetime(run_date.year, run_date.month, run_date.day, 10, tzinfo=JAPAN)
    values = {"accounting_month": month, **values}
    return operate(database, "hand_over", codes=[], values=values, store=store, run_at=run_at)


def report_of(host: psycopg.Connection, result: RunResult) -> Mapping[str, str]:
    """What the page of the run shows."""
    rows = host.execute(
        "SELECT details FROM batch.run_remark WHERE execution_id = %s AND step = 'hand_over'",
        [result.execution_id],
    ).fetchall()
    ((details,),) = rows
    return dict(details)


def test_a_month_is_handed_over_without_naming_a_tenant(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    result = hand_over(database, store, "2026-10-26")

    assert (result.status, result.total_tenants, outcomes(host, result)) == ("completed", 0, {})
    assert host.execute("SELECT month, handed_over_by FROM batch.accounting_month").fetchall() == [
        (date(2026, 10, 1), result.execution_id)
    ]


def test_the_run_reports_rows_totals_hashes_and_changes(
    database: Database, host: psycopg.Connection, store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    # Without a store, so that the provisional files are older.
    operate(database, "void", reason="訂正")
    caplog.set_level(logging.INFO)

    result = hand_over(database, store)

    report = report_of(host, result)
    recorded = host.execute("SELECT files FROM batch.accounting_month").fetchone()
    assert recorded is not None
    shas = {file["key"].rpartition("/")[2]: file["sha256"] for file in recorded[0]}
    assert report == {
        "会計月": "2026-10",
        "accounting-2026-10.csv": f"1 行、売掛金の合計 0 円、SHA-256 {shas['accounting-2026-10.csv']}",
        "journal-2026-10.csv": f"0 行、売掛金の合計 0 円、SHA-256 {shas['journal-2026-10.csv']}",
        "freee-2026-10.csv": f"0 行、売掛金の合計 0 円、SHA-256 {shas['freee-2026-10.csv']}",
        "moneyforward-2026-10.csv": f"0 行、売掛金の合計 0 円、SHA-256 {shas['moneyforward-2026-10.csv']}",
        "receivables-2026-10.csv": f"0 行、売掛金の合計 0 円、SHA-256 {shas['receivables-2026-10.csv']}",
        "最後の未確定ファイルから変わった書類": "1 件。INV-2026-10-001（請求） 11,000 JPY → 0 JPY",
    }
    assert all(f"{name}: {text}" in caplog.text for name, text in report.items())


@pytest.mark.parametrize("has_files", [True, False])
def test_the_report_says_that_nothing_changed_or_was_compared(
    database: Database, host: psycopg.Connection, store: ObjectStore, has_files: bool
) -> None:
    if not has_files:
        store.delete("accounting")

    report = report_of(host, hand_over(database, store))

    expected = (
        "なし" if has_files else "未確定ファイルがないか、書いた後に内容が変わっているため、比べていません"
    )
    assert report["最後の未確定ファイルから変わった書類"] == expected
    assert report["journal-2026-10.csv"].startswith("2 行、売掛金の合計 11,000 円、SHA-256 ")


def test_later_documents_change_no_file_of_a_handed_over_month(
    database: Database, store: ObjectStore
) -> None:
    hand_over(database, store)
    before = {key: files(store)[key] for key in written(store)}
    assert list(before) == keys("2026-10", is_final=True)

    operate(database, "part_credit", reason="障害", values={"credit_lines": ["1=100"]}, store=store)

    assert {key: files(store)[key] for key in before} == before
    assert "CRN-2026-10-001" in files(store)[keys("2026-11")[0]].decode("utf-8-sig")


def test_a_month_that_is_not_over_is_refused(database: Database, store: ObjectStore) -> None:
    result = hand_over(database, store, "2026-11-01", date(2026, 11, 30))

    assert result.status == "failed"
    assert "2026-11 はまだ終わっていない" in (result.error or "")


@pytest.mark.parametrize(
    "values",
    [{"month": "10月"}, {"without_failed": "はい"}, {"with_held": "たぶん"}],
    ids=lambda values: next(iter(values)),
)
def test_bad_values_are_refused_before_anything_happens(
    database: Database, host: psycopg.Connection, store: ObjectStore, values: dict[str, Any]
) -> None:
    with pytest.raises(ParameterError, match=r"accounting_month|without_failed|with_held"):
        hand_over(database, store, **values)

    assert host.execute("SELECT FROM batch.accounting_month").fetchall() == []


def test_failed_tenants_and_held_invoices_are_left_out_if_ticked(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "B", months=())
    run_billing(database)
    with host.transaction():
        host.execute("SET LOCAL session_replication_role = replica")
        host.execute(
            "UPDATE batch.invoice SET status = 'draft', number = null, accrued_on = null, booked_on = null, hold_reason = '確認'"
        )

    for without_failed, missing in ((False, "失敗したままのテナント"), (True, "保留中の請求")):
        refused = hand_over(database, store, without_failed=without_failed)
        assert (refused.status, missing in (refused.error or "")) == ("failed", True)

    assert hand_over(database, store, without_failed=True, with_held=True).status == "completed"


def test_a_reason_closes_no_earlier_month(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    run_billing(database, NOVEMBER, store=store)
    provisional = written(store)

    with pytest.raises(ParameterError, match="「理由」（reason）は操作「会計データの確定」では使いません"):
        hand_over(
            database, store, "2026-11-01", date(2026, 12, 1), reason="11月分の締め", without_failed=True
        )

    assert written(store) == provisional
    assert host.execute("SELECT FROM batch.accounting_month").fetchall() == []


def test_the_first_hand_over_closes_earlier_months_if_ticked(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    december = date(2026, 12, 1)
    billed_november = run_billing(database, NOVEMBER, store=store)
    assert billed_november.error_count == 1
    refused = hand_over(database, store, "2026-11-01", december)
    assert (
        "先に会計月 2026-10 を確定してください。2026-11 までの書類を別の方法で渡し済みなら、「前の月もまとめて閉じる」"
        in (refused.error or "")
    )

    closed = hand_over(database, store, "2026-11-01", december, earlier_months=True, without_failed=True)

    assert closed.status == "completed"
    assert report_of(host, closed)["まとめて閉じた会計月 2026-10"] == (
        "accounting-2026-10.csv 1 行、売掛金の合計 11,000 円。最後の未確定ファイルから変わった書類: なし"
    )
    assert host.execute("SELECT month FROM batch.accounting_month ORDER BY month").fetchall() == [
        (date(2026, 10, 1),),
        (NOVEMBER,),
    ]
    assert written(store) == keys("2026-10", is_final=True) + keys("2026-11", is_final=True)
    assert "INV-2026-10-001" in files(store)[OCTOBERS_LIST].decode("utf-8-sig")
    operate(
        database,
        "part_credit",
        reason="障害",
        values={"credit_lines": ["1=100"]},
        store=store,
        run_at=datetime(2026, 12, 4, tzinfo=JAPAN),
    )
    decembers_list = files(store)[keys("2026-12")[0]].decode("utf-8-sig")
    assert "CRN-2026-10-001" in decembers_list
    assert "\nINV-2026-10-001" not in decembers_list
