"""How a dialog ends: what the run has done, why it did nothing, and links to what it made or changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import psycopg
import pytest

from skill_batch.board.ended import NOTHING
from include.skillreport.core.catalog import TENANT_USAGE
from include.skillreport.core.operation_catalog import IMPORT_PAYMENTS, OPERATE_NOTIFICATIONS
from include.skillreport.operations.operate_notifications import create_batch as notification_operations
from local_stack.batch_runs import LOCAL, run_batch
from tests.board.conftest import Board
from tests.conftest import Database
from tests.worlds.billing_rows import FIRST_OF_NOVEMBER, customer, operate, run_billing
from tests.worlds.board_messages import message
from tests.worlds.contract_entries import run as change_contracts
from tests.worlds.night_rows import run as planted

DISCOUNT: dict[str, Any] = {
    "discount_name": "長期",
    "discount_kind": "percentage",
    "value": "10",
    "valid_from": "2026-10-01",
}


def _notify(database: Database, operation: str, **values: Any) -> None:
    with database.working() as (platform, connection):
        run_batch(
            platform,
            connection,
            OPERATE_NOTIFICATIONS,
            notification_operations(LOCAL),
            FIRST_OF_NOVEMBER,
            parameters={"operation": operation, **values},
            codes=values.get("tenants", ()),
            triggered_by="経理",
        )


def _discard(database: Database) -> None:
    _notify(database, "discard", messages=["m1"], reason="不要", shown=["m1"])


def _discount(database: Database) -> None:
    change_contracts(database, "set_discount", tenants=["A"], reason="長期の契約", **DISCOUNT)


def _told(board: Board, host: psycopg.Connection) -> tuple[str, list[str]]:
    """The text of the dialog about the newest run, which has ended, and its links below the board."""
    ((dag_id, execution_id),) = host.execute(
        "SELECT dag_id, execution_id FROM batch.execution_log WHERE run_id LIKE 'local %' AND batch_id NOT LIKE 'BATCH-%'"
    ).fetchall()
    host.execute(
        "UPDATE batch.execution_log SET run_id = execution_id WHERE execution_id = %s", [execution_id]
    )
    with board.living_run(dag_id, execution_id):
        board.end_run(dag_id, execution_id, "success")
        page = board.get(f"/follow/{dag_id}/{execution_id}").text
    text = " ".join(unescape(re.sub(r"<[^>]+>", " ", re.sub("</?bdi>", "", page))).split())
    return text, re.findall(r'href="/skill-batch-board/([^"]+)"', page)


PAID = {"paid_on": "2026-11-01", "paid_amount": "11000", "paid_method": "銀行振込", "paid_reference": "FT-1"}
LINE = {"line_date": "2026-11-01", "line_text": "作業", "line_price": "100", "line_quantity": "2"}

# What is done one after the other, what the dialog says then, and the beginning of one of its links.
STEPS: tuple[tuple[Callable[[Database], object], str, str], ...] = (
    (lambda world: operate(world, "void", reason="x", dry_run=True), "ドライランのため", "invoices/"),
    (lambda world: _notify(world, "list", tenants=["A"]), "読み取りだけの操作です。", "runs/"),
    (
        lambda world: operate(world, "stop_reminders", reason="係争中"),
        "INV-2026-10-001 11,000 JPY 確定 · 未入金 11,000 JPY",
        "invoices/",
    ),
    (lambda world: operate(world, "stop_reminders", reason="係争中"), "はすでに止めています", "invoices/"),
    (lambda world: operate(world, "record_payment", values=PAID), "確定 · 未入金 0 JPY", "invoices/"),
    (
        lambda world: operate(world, "extra_line", values=LINE),
        "2026-11 の請求に「作業」+100 JPY（× 2）を載せます",
        "tenants/A",
    ),
    (_discard, "CODE-A A: 破棄した通知 1。", "messages/m1"),
    (_discount, "登録した変更: 1", "tenants/A/contract"),
    (_discount, "入力した値は、今の登録と同じです。", "contracts"),
)


def test_the_dialog_ends_with_what_was_done_or_why_nothing_was(
    board: Board, database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", tenant_code="CODE-A")
    message(host, "m1")
    run_billing(database)
    for do, said, page in STEPS:
        host.execute("UPDATE batch.execution_log SET run_id = execution_id")
        do(database)
        text, links = _told(board, host)
        assert said in text
        assert any(link.startswith(page) for link in links), said


@pytest.mark.parametrize(
    ("first", "again", "said", "state"),
    [
        ("void", "bill_again", "保留にしました。承認されるまで、取引先に請求しません。", "draft"),
        ("", "reissue", "再発行を保留にしました。請求書 INV-2026-10-001 は有効なままです。", "finalized"),
    ],
)
def test_a_held_invoice_is_no_failure_and_has_a_link(
    board: Board, database: Database, host: psycopg.Connection, first: str, again: str, said: str, state: str
) -> None:
    customer(host, "A", tenant_code="CODE-A")
    run_billing(database)
    if first:
        operate(database, first, reason="宛先の誤り")
    host.execute("UPDATE batch.usage_day SET read_events = 10, unplaced_events = 1, revision = 2")
    host.execute("UPDATE batch.execution_log SET run_id = execution_id")
    operate(database, again, reason="契約が続いていた")
    text, links = _told(board, host)
    assert said in text
    assert "失敗" not in text
    ((invoice_id,),) = host.execute("SELECT invoice_id FROM batch.invoice WHERE status = %s", [state])
    assert f"invoices/{invoice_id}" in links


NONE_SHOWN = {"shown": ["テナント A: なし"], "tenants": ["A"], "reason": "確認のため"}


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (
            lambda world: _notify(world, "stop", **NONE_SHOWN),
            "CODE-A A: 通知を止めました。待っている通知は 1 件です。再開するまで送りません",
        ),
        (
            lambda world: change_contracts(world, "set_discount", **NONE_SHOWN | DISCOUNT | {"value": "40"}),
            "承認を待つ変更（承認されるまで反映されません）: 1",
        ),
    ],
)
def test_the_dialog_never_ends_with_nothing_where_something_was_done(
    board: Board, database: Database, host: psycopg.Connection, do: Callable[[Database], object], said: str
) -> None:
    customer(host, "A", tenant_code="CODE-A")
    message(host, "m1", status="pending")
    do(database)
    text, _ = _told(board, host)
    assert said in text
    assert "なし" not in text


def test_an_operation_on_no_tenant_does_not_claim_that_nothing_was_done(
    board: Board, host: psycopg.Connection
) -> None:
    planted(host, IMPORT_PAYMENTS, succeeded=(), run_id="local 1", dag_id=IMPORT_PAYMENTS.dag_id)
    text, links = _told(board, host)
    assert NOTHING not in text
    assert "transfers" in links


def test_the_dialog_about_a_nightly_batch_that_was_run_again_ends(
    board: Board, host: psycopg.Connection
) -> None:
    planted(host, TENANT_USAGE, succeeded=("A",), run_id="manual__1")
    with board.living_run(TENANT_USAGE.dag_id, "manual__1"):
        board.end_run(TENANT_USAGE.dag_id, "manual__1", "success")
        answer = board.get(f"/follow/{TENANT_USAGE.dag_id}/manual__1")
    assert answer.status_code == 200
    assert 'class="badge good"' in answer.text
    assert "data-follow" not in answer.text
