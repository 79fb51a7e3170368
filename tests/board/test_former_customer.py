"""The documents of a deleted tenant on the board: found by its former code and name, downloaded, and paid."""

from __future__ import annotations

import html
import re
from pathlib import Path

import psycopg
import pytest

from tests.board.conftest import Board
from tests.conftest import Database
from tests.worlds.former_customer import (
    CODE,
    CREDIT_NOTE,
    DOMAIN,
    NAME,
    OPEN,
    PAID,
    FormerCustomer,
    deleted,
)

__all__ = ["deleted"]


@pytest.fixture
def database(deleted: FormerCustomer) -> Database:
    """The tests only read it."""
    return deleted.leaving.database


@pytest.fixture(autouse=True)
def storage(deleted: FormerCustomer, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL", f"file://{deleted.leaving.root}")
    return deleted.leaving.root


@pytest.fixture
def ids(host: psycopg.Connection) -> dict[str, str]:
    """The ids of all documents by number."""
    return dict(host.execute("SELECT number, invoice_id FROM batch.invoice").fetchall())


@pytest.mark.slow("deletes a tenant with its backups")
def test_documents_are_found_by_the_former_code_and_name(board: Board) -> None:
    for text in (CODE, "アクメ"):
        page = board.get("/tenants", params={"q": text}).text
        assert f">{CODE}</bdi></a>" in page, text
        assert NAME in page
    page = board.get("/invoices", params={"month": "2026-06"}).text
    assert f">{CODE}<" in page
    assert OPEN in page
    page = board.get("/documents", params={"counterparty": NAME[:6]}).text
    for number in (PAID, OPEN, CREDIT_NOTE):
        assert number in page
    assert CODE in page
    page = board.get("/receivables", params={"counterparty": NAME}).text
    assert OPEN in page
    assert CODE in page


def test_the_pages_of_the_tenant_and_its_invoices_stay(board: Board, ids: dict[str, str]) -> None:
    page = board.get("/tenants/T").text
    assert NAME in page
    assert CODE in page
    for number in (PAID, OPEN, CREDIT_NOTE):
        answer = board.get(f"/invoices/{ids[number]}")
        assert answer.status_code == 200
        assert NAME in answer.text
        assert CODE in answer.text
        file = board.get(f"/invoices/{ids[number]}/file")
        assert file.content.startswith(b"%PDF")
        assert number in file.headers["content-disposition"]
    assert DOMAIN not in html.unescape(page)


def test_the_page_of_an_open_invoice_offers_what_is_possible(board: Board, ids: dict[str, str]) -> None:
    page = html.unescape(board.get(f"/invoices/{ids[OPEN]}").text)
    offered = re.findall(r'hx-get="/skill-batch-board(/operations/operate_invoices/(\w+)[^"]*)"', page)
    operations = {name: path for path, name in offered}
    assert {"record_payment", "write_off", "credit"} <= operations.keys()
    # Nothing is priced, and no letter is sent.
    assert not operations.keys() & {"explain", "reissue", "bill_again", "send_letter"}
    assert f"tenants={CODE}" in operations["record_payment"]
    form = board.get(operations["record_payment"])
    assert form.status_code == 200
    assert CODE in form.text
