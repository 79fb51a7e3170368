"""The pages about corrected invoices (訂正): both documents, the search by both names, and letters of invoices that are void."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import datetime

import psycopg
import pytest

from skill_batch.board.pages.documents import Criteria, find_documents
from skill_batch.board.pages.invoice import load_invoice
from skill_batch.board.pages.invoices import load_month
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.schema.host_contract import HostVariant
from tests.board.conftest import Board
from tests.conftest import Database, Server, copied_database
from tests.worlds.billing_rows import (
    FIRST_OF_NOVEMBER,
    MONTH,
    customer,
    operate,
    run_billing,
)
from tests.worlds.documents import pages_of

WHAT = "宛名を「青葉商事」に訂正"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ObjectStore:
    """A store of its own, because the numbers are those of the other tests."""
    return ObjectStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def database(server: Server, templates: dict[HostVariant, str], store: ObjectStore) -> Iterator[Database]:
    """October of A, whose name admin has corrected, and of VOID and CREDIT, which were taken back while their letters were stopped."""
    with copied_database(server, templates[HostVariant.MULTI_TENANT], "board_corrected") as copy:
        with copy.connect() as host:
            customer(host, "A", tenant_name="青場商事")
            customer(host, "VOID")
            customer(host, "CREDIT")
        run_billing(copy, store=store)
        values = {"correction": WHAT, "recipient_name": "青葉商事", "note": "PO-118"}
        at = datetime(2026, 11, 2, 10, tzinfo=JAPAN)
        operate(copy, "correct", values=values, triggered_by="admin", store=store, run_at=at)
        operate(copy, "stop_letter", "VOID", "CREDIT", reason="確認する")
        operate(copy, "void", "VOID", reason="二重請求", store=store)
        operate(copy, "credit", "CREDIT", reason="二重請求", store=store)
        yield copy


def test_the_page_shows_the_new_document_and_links_both(board: Board, ids: dict[str, str]) -> None:
    page = f"/invoices/{ids['A']}"
    text = board.get(page).text

    assert "<dt>請求先</dt><dd><bdi>青葉商事</bdi>" in text
    assert "PO-118" in text
    assert WHAT in text
    for revision, name in ((1, "青場商事"), (2, "青葉商事")):
        assert f"revision={revision}" in text
        file = board.get(f"{page}/file?revision={revision}")
        assert name in pages_of(file.content)[0]
    assert board.get(f"{page}/file").content == board.get(f"{page}/file?revision=2").content
    assert "INV-2026-10-001-r2.pdf" in board.get(f"{page}/file").headers["Content-Disposition"]
    assert board.get(f"{page}/file?revision=3").status_code == 404
    assert "revision=2" in board.get(f"{page}/sheets").text
    assert board.get(f"{page}/page/1.png?revision=1").status_code == 200


def test_the_search_says_which_version_each_row_is_and_which_is_valid(board: Board) -> None:
    text = board.get("/documents", params={"number": "INV-2026-10-"}).text
    rows = [
        " ".join(re.sub("<[^>]+>", " ", row).split())
        for row in re.findall("<tr>(<td>.*?)</tr>", text, re.DOTALL)
    ]
    named = [row for row in rows if row.startswith("INV-2026-10-001")]
    assert "第 2 版（有効）" in named[0]
    assert "第 1 版（訂正前）" in named[1]
    assert not any("版" in row for row in rows if row not in named)


def test_the_dialog_of_a_correction_shows_what_is_valid_today(board: Board) -> None:
    query = {"tenants": "A", "business_date": "2026-10-01"}
    dialog = board.get("/operations/operate_invoices/correct", params=query).text
    for name, value in (("recipient_name", "青葉商事"), ("note", "PO-118"), ("due_on", "2026-11-30")):
        field = dialog.split(f'name="{name}"')[0].rpartition("<label")[2]
        assert f"今の値: <bdi>{value}</bdi>" in field, name
    # What is empty stays as it is.
    assert 'name="recipient_name" value=""' in dialog


def test_an_invoice_is_found_by_its_old_and_new_name(reader: psycopg.Connection, board: Board) -> None:
    for name in ("青場", "青葉"):
        found = find_documents(reader, Criteria(counterparty=name))
        assert found.total == 1
        assert [(row["revision"], row["counterparty"], row["is_corrected"]) for row in found.documents] == [
            (2, "青葉商事", False),
            (1, "青場商事", True),
        ]
    lines = board.get("/documents.csv?counterparty=青葉").content.decode("utf-8-sig").splitlines()
    assert [line.split(",")[2] for line in lines[1:]] == ["確定", "訂正前"]
    assert "INV-2026-10-001-r2.json" in lines[1]
    # No order number.
    assert lines[1].endswith(f",2,2026-11-02,{WHAT},")


@pytest.mark.parametrize("tenant", ["VOID", "CREDIT"])
def test_an_invoice_that_was_taken_back_is_not_shown_as_stopped(
    reader: psycopg.Connection, board: Board, ids: dict[str, str], tenant: str
) -> None:
    page = load_invoice(reader, ids[tenant], FIRST_OF_NOVEMBER)
    assert page is not None
    assert page.row["stop_reason"] is None
    assert "停止中" not in board.get(f"/invoices/{ids[tenant]}").text
    assert {row["stop_reason"] for row in load_month(reader, MONTH, MONTH).documents} == {None, WHAT}


def test_a_correction_that_waits_says_who_sends_it(board: Board, ids: dict[str, str]) -> None:
    for path in ("/invoices?month=2026-10", f"/invoices/{ids['A']}"):
        text = board.get(path).text
        assert (
            '! 訂正の承認待ち（ほかの人が「送付する」）</span> <span class="muted">admin</span>'
            in html.unescape(text)
        )
    listed = [
        board.as_role(role)
        .get("/invoices?month=2026-10")
        .text.split("<h2>送付を停止している請求書")[1]
        .split("</section>")[0]
        for role in ("admin", "user")
    ]
    own, others = ["自分の訂正は、ほかの人が送付します。" in each for each in listed]
    assert (own, others) == (True, False)
    assert ["operate_invoices/send_letter?" in each for each in listed] == [False, True]
    pages = [board.as_role(role).get(f"/invoices/{ids['A']}").text for role in ("admin", "user")]
    assert ["operate_invoices/send_letter?" in each for each in pages] == [False, True]


def test_the_dialog_of_a_correction_keeps_its_values_out_of_airflow(
    board: Board, host: psycopg.Connection
) -> None:
    path = "/operations/operate_invoices/correct"
    given = {"tenants": "A", "business_date": "2026-10-01"}
    dialog = board.get(path, params=given | {"recipient_name": "偽の宛名"}).text
    assert 'name="business_date" value="2026-10-01"' in dialog
    assert "偽の宛名" not in dialog
    assert "個人の情報です。値は Airflow に残りません。" in dialog

    entered = {"correction": "宛名を「株式会社ヒミツ」に訂正", "recipient_name": "株式会社ヒミツ"}
    answer = board.as_role("user").press(path, given | entered)
    assert answer.status_code == 200, answer.text
    (run, *_) = board.api("GET", "/dags/operate_invoices/dagRuns", params={"order_by": "-run_after"}).json()[
        "dag_runs"
    ]
    assert run["conf"].keys() == {"operation", "tenants", "business_date", "shown", "entry"}
    log = board.api("GET", "/eventLogs", params={"dag_id": "operate_invoices", "limit": 100}).text
    assert run["conf"]["entry"] in log
    assert "ヒミツ" not in log
    kept = host.execute(
        "SELECT dag_id, operation, entered_by, form_values FROM batch.entered_values WHERE token = %s",
        [run["conf"]["entry"]],
    ).fetchall()
    assert kept == [("operate_invoices", "correct", "user", entered)]
    host.execute("DELETE FROM batch.entered_values")
