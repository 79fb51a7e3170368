"""A month whose invoice was voided, or credited in full, is closed: only the operation 「請求のやり直し（新番号）」 bills it again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.skillreport.billing.accounts import load_accounts
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger import settlement
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import RunResult
from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.billing_letters import sent
from tests.worlds.billing_rows import (
    MONTH,
    customer,
    everything_written,
    files,
    invoices,
    open_operation,
    operate,
    outcomes,
    process,
    reasons,
    run_billing,
    states,
)
from tests.worlds.kept_rows import planted_once

ISSUED = "INV-2026-10-001"
CLOSED = f"請求書 {ISSUED} を取消か全額返還したため、この月は請求していません"


@pytest.fixture(params=["void", "credit", "part_credits"])
def closed_month(
    request: pytest.FixtureRequest, database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    """A's October was sent, and voided or credited in full. B's is billed."""

    def plant() -> None:
        customer(host, "A")
        customer(host, "B")
        run_billing(database, store=store)
        sent(host)
        if request.param == "part_credits":
            for amount in (4000, 6000):
                operate(
                    database,
                    "part_credit",
                    reason="返金",
                    values={"credit_lines": [f"1={amount}"]},
                    store=store,
                )
        else:
            operate(database, request.param, reason="解約", store=store)

    planted_once((__name__, request.param), database, plant, store)


def bill_again(database: Database, reason: str = "契約が続いていた", **options: Any) -> RunResult:
    return operate(database, "bill_again", reason=reason, **options)


@pytest.mark.usefixtures("closed_month")
@pytest.mark.parametrize("codes", [(), ("A", "B")], ids=["all tenants", "named tenants"])
def test_no_run_bills_a_closed_month_and_each_reports_it(
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    caplog: pytest.LogCaptureFixture,
    codes: tuple[str, ...],
) -> None:
    rows, documents = everything_written(host), files(store)

    with caplog.at_level(logging.INFO, "include.skillreport.core.execution.flow"):
        result = run_billing(database, codes=codes, store=store)

    assert result.status == "completed"
    assert everything_written(host) == rows
    assert files(store) == documents
    outcome = outcomes(host, result)["A"]
    (remark,) = outcome["notes"]
    assert remark.startswith(CLOSED)
    assert "DAG operate_invoices の「請求のやり直し（新番号）」" in remark
    assert outcome["details"] == {
        "settlement": "closed",
        "invoice_number": ISSUED,
        "attention": [remark],
    }
    assert outcomes(host, result)["B"]["details"]["settlement"] == "already finalized"
    assert "■ 確認が必要なテナント（1 件）" in caplog.messages
    assert f"・A: {remark}" in caplog.messages


@pytest.mark.usefixtures("closed_month")
def test_a_dry_run_of_a_closed_month_says_the_same(database: Database, host: psycopg.Connection) -> None:
    result = run_billing(database, codes=["A"], dry_run=True)

    assert outcomes(host, result)["A"]["details"]["settlement"] == "closed"


@pytest.mark.usefixtures("closed_month")
@pytest.mark.parametrize("operation", ["reissue", "approve"])
@pytest.mark.parametrize("dry_run", [False, True], ids=["run", "dry run"])
def test_reissue_and_approval_of_a_closed_month_are_refused(
    database: Database, host: psycopg.Connection, operation: str, dry_run: bool
) -> None:
    rows = everything_written(host)

    result = operate(
        database, operation, reason="宛先の誤り" if operation == "reissue" else "", dry_run=dry_run
    )

    assert outcomes(host, result)["A"]["error_code"] == "MONTH_CLOSED"
    assert reasons(result)["A"].startswith(CLOSED)
    assert everything_written(host) == rows


@pytest.mark.usefixtures("closed_month")
def test_bill_again_issues_one_invoice_that_names_the_closed_one(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    trial = bill_again(database, dry_run=True)
    result = bill_again(database, store=store)

    assert outcomes(host, trial)["A"]["details"]["totalAmountJPY"] == 11_000
    assert outcomes(host, result)["A"]["details"]["settlement"] == "finalized"
    assert states(host)[-1] == ("finalized", "INV-2026-10-003")
    assert host.execute(
        "SELECT content #>> '{replaces,number}', again_reason FROM batch.invoice WHERE number = 'INV-2026-10-003'"
    ).fetchone() == (ISSUED, "契約が続いていた")
    assert run_billing(database).status == "completed"
    assert states(host)[-1] == ("finalized", "INV-2026-10-003")


@pytest.mark.usefixtures("closed_month")
def test_the_second_bill_again_is_refused(database: Database, host: psycopg.Connection) -> None:
    bill_again(database)

    result = bill_again(database)

    assert reasons(result)["A"].startswith("請求書 INV-2026-10-003 が有効なため、請求をやり直しません")
    assert states(host)[-1] == ("finalized", "INV-2026-10-003")


@pytest.mark.usefixtures("closed_month")
def test_a_month_voided_after_bill_again_is_closed_again(
    database: Database, host: psycopg.Connection
) -> None:
    bill_again(database)
    operate(database, "void", reason="解約")

    result = run_billing(database)

    assert outcomes(host, result)["A"]["details"]["invoice_number"] == "INV-2026-10-003"
    assert states(host)[-1] == ("void", "INV-2026-10-003")


@pytest.mark.usefixtures("closed_month")
@pytest.mark.parametrize("operation", ["void", "credit"])
def test_a_cleared_bill_again_does_not_undo_a_later_void_or_credit(
    database: Database, host: psycopg.Connection, operation: str
) -> None:
    run = open_operation(database, "bill_again", reason="契約が続いていた")
    process(database, run)
    operate(database, operation, reason="やはり解約")
    rows = states(host)

    report = process(database, run)

    assert states(host) == rows
    (notes,) = [result.notes for result in report.results]
    assert notes[0].startswith("請求書 INV-2026-10-003 を取消か全額返還したため、この月は請求していません")


def test_bill_again_of_a_month_that_is_not_closed_is_refused(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    never = bill_again(database)
    run_billing(database)
    live = bill_again(database)

    assert reasons(never)["A"].startswith("この月に、取消か全額返還をした請求書はありません")
    assert reasons(live)["A"].startswith(f"請求書 {ISSUED} が有効なため")
    assert states(host) == [("finalized", ISSUED)]


def test_a_voided_draft_does_not_close_the_month(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    host.execute("UPDATE batch.usage_day SET read_events = 10, unplaced_events = 1, revision = 2")
    run_billing(database)
    operate(database, "void", reason="計算し直す")
    host.execute("UPDATE batch.usage_day SET unplaced_events = 0, revision = 3")

    run_billing(database)

    assert states(host)[-1] == ("finalized", ISSUED)


def test_a_held_draft_of_an_opened_month_continues_in_each_run(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    run_billing(database)
    operate(database, "void", reason="宛先の誤り")
    host.execute("UPDATE batch.usage_day SET read_events = 10, unplaced_events = 1, revision = 2")
    held = bill_again(database)
    outcome = outcomes(host, held)["A"]
    assert (held.status, outcome["details"]["settlement"]) == ("completed", "held")
    assert outcome["notes"][0].startswith("保留にしました。承認されるまで、取引先に請求しません。")
    host.execute("UPDATE batch.usage_day SET unplaced_events = 0, revision = 3")

    result = run_billing(database)

    assert outcomes(host, result)["A"]["details"]["settlement"] == "finalized"
    assert states(host) == [("void", ISSUED), ("finalized", "INV-2026-10-002")]
    reason = host.execute("SELECT again_reason FROM batch.invoice WHERE number = 'INV-2026-10-002'")
    assert reason.fetchone() == ("契約が続いていた",)


def test_a_month_closed_after_the_run_read_it_is_not_billed(
    database: Database, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer(host, "A")

    def close_after(read: Callable[..., object]) -> Callable[..., object]:
        def accounts(*arguments: object) -> object:
            found = read(*arguments)
            with monkeypatch.context() as undisturbed:
                undisturbed.setattr(settlement, "load_accounts", read)
                run_billing(database)
            operate(database, "void", reason="解約")
            return found

        return accounts

    monkeypatch.setattr(settlement, "load_accounts", close_after(load_accounts))
    with pytest.raises(
        BillingError, match="同時に動いた別の実行が、請求書を取り消したか返還しました"
    ) as raised:
        run_billing(database)

    assert raised.value.recoverable
    assert states(host) == [("void", ISSUED)]


def test_a_voided_invoice_of_zero_closes_its_month_too(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    billing_rows.discount(host, "A")
    run_billing(database)
    operate(database, "void", reason="解約")
    host.execute("DELETE FROM batch.discount")

    result = run_billing(database)

    assert "この月は請求していません" in outcomes(host, result)["A"]["notes"][0]
    assert [row[0] for row in states(host, "A")] == ["void"]
    again = bill_again(database)
    assert outcomes(host, again)["A"]["details"]["invoice_number"] == ISSUED


def test_a_line_of_a_closed_month_waits_for_bill_again(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    run_billing(database)
    operate(database, "void", reason="解約")

    values = {"line_date": "2026-10-20", "line_text": "作業", "line_price": "500"}
    entered = operate(database, "extra_line", values=values)

    assert outcomes(host, entered)["A"]["notes"] == [
        f"2026-10 は請求書 {ISSUED}を取消か全額返還したため閉じています。この明細は「請求のやり直し（新番号）」で請求されます"
    ]
    run_billing(database)
    assert [row[0] for row in states(host, "A")] == ["void"]
    bill_again(database)
    again = invoices(host, "A")[-1]
    assert [line["description"] for line in again["content"]["lines"]][-1] == "作業"
    assert "確定済み" in reasons(operate(database, "extra_line", values=values))["A"]


def test_a_difference_is_not_carried_into_a_closed_month(
    database: Database, host: psycopg.Connection
) -> None:
    november = date(2026, 11, 1)
    customer(host, "A", months=(MONTH, november))
    run_billing(database)
    run_billing(database, november)
    operate(database, "void", month=november, reason="解約")
    host.execute(
        """
        UPDATE batch.usage_day SET active_users = 60, revision = 2, closed_at = now() + interval '2 days'
        WHERE usage_date <= '2026-10-31'
        """
    )

    result = operate(database, "carry")

    assert outcomes(host, result)["A"]["details"] == {"carried_to": "2026-12"}


def test_no_text_says_that_another_run_bills_a_closed_month() -> None:
    """Only 「請求のやり直し（新番号）」 does. These sentences said otherwise."""
    folder = Path(__file__).parents[3]
    texts = [
        file.read_text(encoding="utf-8")
        for root in ("dags", "docs", "include", "plugins")
        for suffix in ("py", "md", "yaml", "html")
        for file in (folder / root).rglob(f"*.{suffix}")
    ]
    assert len(texts) > 300
    for wrong in ("請求し直すなら、テナントコードを指定して実行", "発行」の後に、この DAG を"):
        assert [text for text in texts if wrong in text] == []
