"""The pages about corrected invoices (訂正): both documents, the search by both names, and letters of invoices that are void."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from io import BytesIO

import psycopg
import pytest
from pypdf import PdfReader

from skill_batch.board.pages.documents import Criteria, find_documents
from skill_batch.board.pages.invoice import load_invoice
from skill_batch.board.pages.invoices import load_month
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.schema.host_contract import HostVariant
from tests.batches.tenant_management.billing_rows import (
    FIRST_OF_NOVEMBER,
    MONTH,
    customer,
    operate,
    run_billing,
)
from tests.board.conftest import Board
from tests.conftest import Database, Server, copied_database

WHAT = "宛名を「青葉商事」に訂正"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ObjectStore:
    """A store of its own, because the numbers are those of the other tests."""
    return ObjectStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def database(server: Server, templates: dict[HostVariant, str], store: ObjectStore) -> Iterator[Database]:
    """October of A, whose name was corrected, and of VOID and CREDIT, which were taken back while their letters were stopped."""
    with copied_database(server, templates[HostVariant.MULTI_TENANT], "board_corrected") as copy:
        with copy.connect() as host:
            customer(host, "A", tenant_name="青場商事")
            customer(host, "VOID")
            customer(host, "CREDIT")
        run_billing(copy, store=store)
        values = {"correction": WHAT, "recipient_name": "青葉商事", "note": "PO-118"}
        operate(copy, "correct", values=values, store=store, run_at=datetime(2026, 11, 2, 10, tzinfo=JAPAN))
        operate(copy, "stop_letter", "VOID", "CREDIT", reason="確認する")
        operate(copy, "void", "VOID", reason="二重請求", store=store)
        operate(copy, "credit", "CREDIT", reason="二重請求", store=store)
        yield copy


def test_the_page_shows_the_new_document_and_links_both(board: Board, ids: dict[str, str]) -> None:
    page = f"/invoices/{ids['A']}"
    text = board.get(page).text

    assert "<dt>請求先</dt><dd>青葉商事" in text
    assert "PO-118" in text
    assert WHAT in text
    for revision, name in ((1, "青場商事"), (2, "青葉商事")):
        assert f"revision={revision}" in text
        file = board.get(f"{page}/file?revision={revision}")
        assert name in PdfReader(BytesIO(file.content)).pages[0].extract_text()
    assert board.get(f"{page}/file").content == board.get(f"{page}/file?revision=2").content
    assert "INV-2026-10-001-r2.pdf" in board.get(f"{page}/file").headers["Content-Disposition"]
    assert board.get(f"{page}/file?revision=3").status_code == 404
    assert "revision=2" in board.get(f"{page}/sheets").text
    assert board.get(f"{page}/page/1.png?revision=1").status_code == 200


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
    assert {row["stop_reason"] for row in load_month(reader, MONTH).documents} == {None}
