"""The search of the header: batches, tenants, invoices by number, and runs by id; and the lines of an invoice in a dialog."""

from __future__ import annotations

import re
from urllib.parse import quote

import psycopg
import pytest

from skill_batch.board.access import Rights
from include.skillreport.core.catalog import TENANT_BILLING, TENANT_USAGE
from tests.board.billing.conftest import number_of
from tests.board.conftest import Board
from tests.worlds.billing_rows import MONTH


def target(board: Board, text: str) -> str | None:
    """The page that the only result opens, or None."""
    answer = board.get("/search", params={"q": text})
    assert answer.status_code in (200, 303), answer.text
    location: str | None = answer.headers.get("location")
    return location


def test_the_only_result_is_opened(board: Board, host: psycopg.Connection, ids: dict[str, str]) -> None:
    number = number_of(host, ids["PAID"])
    assert target(board, number.lower()) == f"/skill-batch-board/invoices/{ids['PAID']}"
    assert target(board, "paid 商") == "/skill-batch-board/tenants/PAID"
    (execution_id, run_id) = host.execute(
        "SELECT execution_id, run_id FROM batch.execution_log WHERE batch_id = %s LIMIT 1",
        [TENANT_BILLING.id],
    ).fetchone() or ("", "")
    page = f"/skill-batch-board/runs/{TENANT_BILLING.dag_id}/{quote(run_id, safe='')}"
    assert [target(board, each) for each in (execution_id, run_id)] == [page, page]


def test_several_results_are_listed_and_signs_are_no_pattern(board: Board, ids: dict[str, str]) -> None:
    text = board.get("/search?q=INV-2026-10").text
    assert f"/invoices/{ids['PAID']}" in text
    assert target(board, "100%_引") == "/skill-batch-board/tenants/FORMULA"
    for nothing in ("INV%", "_NV-2026", "   "):
        assert "見つかりません" in board.get("/search", params={"q": nothing}).text


@pytest.mark.parametrize(
    ("text", "page"),
    [("入金消", "/transfers"), ("ｶｲｹｲ", None), ("Accounting fi", "/accounting"), ("昨夜", "/")],
)
def test_pages_are_found_by_title(board: Board, text: str, page: str | None) -> None:
    assert target(board, text) == (f"/skill-batch-board{page}" if page else None)


def test_a_reader_finds_only_pages_that_open(board: Board) -> None:
    assert target(board.as_role("viewer"), "入金消込") is None
    assert target(board.as_role("viewer"), "売掛金") == "/skill-batch-board/receivables"


@pytest.mark.parametrize("hidden", [TENANT_USAGE.dag_id, TENANT_BILLING.dag_id])
def test_a_reader_finds_only_allowed_things(
    board: Board, monkeypatch: pytest.MonkeyPatch, hidden: str
) -> None:
    monkeypatch.setattr(Rights, "may_read", lambda _, dag_id: dag_id != hidden)
    found = [target(board, "PARTLY"), "/invoices/" in board.get("/search?q=INV-2026-10-0").text]
    assert found == [
        None if hidden == TENANT_USAGE.dag_id else "/skill-batch-board/tenants/PARTLY",
        hidden != TENANT_BILLING.dag_id,
    ]


def test_lines_are_picked_from_the_invoice(board: Board) -> None:
    about = {"tenants": "PARTLY", "business_date": str(MONTH)}
    dialog = board.get("/operations/operate_invoices/part_credit", params=about).text
    assert 'name="credit_lines=1"' in dialog
    assert "返す金額（税抜）か、数量" in dialog
    assert "段階のある料金では平均の単価" in dialog
    # The help of a field stands under it.
    assert "90 日以内に登録したもの" in dialog
    entered = about | {"reason": "値引き", "credit_lines=1": " １，０００ ", "credit_lines=2": ""}
    refused = board.post("/operations/operate_invoices/part_credit", entered | {"reason": ""})
    assert refused.status_code == 422
    assert 'value=" １，０００ "' in refused.text
    answer = board.press("/operations/operate_invoices/part_credit", entered)
    assert answer.status_code == 200, answer.text
    runs = board.api("GET", "/dags/operate_invoices/dagRuns", params={"order_by": "-id"}).json()["dag_runs"]
    assert runs[0]["conf"]["credit_lines"] == ["1=1000"]
    board.api("DELETE", f"/dags/operate_invoices/dagRuns/{runs[0]['dag_run_id']}")


def test_texts_of_several_invoices_are_typed(board: Board) -> None:
    dialog = board.get("/operations/operate_invoices/part_credit", params={"business_date": str(MONTH)}).text
    assert '<textarea name="credit_lines"' in dialog


@pytest.mark.parametrize(("is_kept", "is_paused"), [(True, False), (False, True)])
def test_a_dialog_resumes_a_paused_operation_if_the_person_wants_it(
    board: Board, *, is_kept: bool, is_paused: bool
) -> None:
    board.api("PATCH", "/dags/operate_invoices", json={"is_paused": True})
    about = {"tenants": "PARTLY", "business_date": str(MONTH), "reason": "x", "credit_lines=1": "1"}
    dialog = board.get("/operations/operate_invoices/part_credit", params=about).text
    assert 'name="resume" checked' in dialog
    # The missed run of a batch would start for real.
    board.api("PATCH", f"/dags/{TENANT_BILLING.dag_id}", json={"is_paused": True})
    assert 'name="resume"' not in board.get(f"/operations/{TENANT_BILLING.dag_id}/dry_run").text
    answer = board.press(
        "/operations/operate_invoices/part_credit", about | ({"resume": "on"} if is_kept else {})
    )
    assert answer.status_code == 200, answer.text
    assert board.api("GET", "/dags/operate_invoices").json()["is_paused"] is is_paused
    for dag_id in ("operate_invoices", TENANT_BILLING.dag_id):
        board.api("PATCH", f"/dags/{dag_id}", json={"is_paused": False})
    runs = board.api("GET", "/dags/operate_invoices/dagRuns", params={"order_by": "-id"}).json()["dag_runs"]
    board.api("DELETE", f"/dags/operate_invoices/dagRuns/{runs[0]['dag_run_id']}")


def test_the_months_head_adds_up_with_the_list(board: Board, host: psycopg.Connection) -> None:
    (billed, paid, unpaid, invoices) = host.execute(
        """
        SELECT sum(total - credited_total), sum(paid_total), sum(open_amount) FILTER (WHERE open_amount > 0), count(*)
        FROM batch.invoice
        WHERE period_start = %s AND kind = 'invoice' AND status = 'finalized' AND currency = 'JPY' AND number IS NOT null
        """,
        [MONTH],
    ).fetchone() or (0, 0, 0, 0)
    head = board.get(f"/invoices?month={MONTH:%Y-%m}").text.partition('<div class="tiles">')[2]
    head = head[: head.index('<div class="panel">')]
    assert f"<b>{billed:,f} JPY</b><span>請求（{invoices} 通。返還を引いた額）" in head
    assert f"<b>{paid:,f} JPY</b><span>入金" in head
    assert f"<b>{unpaid:,f} JPY</b><span>未入金" in head
    assert "USD: 請求" in head


@pytest.mark.parametrize(
    ("text", "batch"),
    [
        ("BATCH-019-03", "BATCH-019-03"),
        ("batch_019_03_external_sync", "BATCH-019-03"),
        ("外部システム連携", "BATCH-019-03"),
        ("restore_backup", "RESTORE-BACKUP"),
    ],
)
def test_a_batch_is_found_by_id_dag_and_title(board: Board, text: str, batch: str) -> None:
    assert target(board, text) == f"/skill-batch-board/batches/{batch}"


def test_several_batches_are_listed(board: Board) -> None:
    listed = board.get("/search?q=BATCH-019").text
    assert re.findall("/batches/(BATCH-019-[0-9]+)", listed) == [
        f"BATCH-019-0{number}" for number in range(1, 6)
    ]
