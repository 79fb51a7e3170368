"""書類の検索: each criterion alone and all together, pages, and the CSV file (電子帳簿保存法)."""

from __future__ import annotations

import csv
from decimal import Decimal
from io import StringIO

import psycopg
import pytest

from skill_batch.board.pages.documents import Criteria, find_documents
from include.skillreport.billing.accounting.document_index import INDEX_COLUMNS, index_key
from include.skillreport.core.execution.object_store import ObjectStore
from tests.board.conftest import Board
from tests.worlds.billing_rows import FIRST_OF_NOVEMBER, MONTH, files

# Numbered documents: September's three, October's 12 invoices and two credit notes.
ALL = 3 + 12 + 2


def found(reader: psycopg.Connection, **criteria: object) -> set[str]:
    """The tenants of the found documents."""
    page = find_documents(reader, Criteria(**criteria))  # type: ignore[arg-type]
    assert page.total == len(page.documents)
    return {row["tenant_id"] for row in page.documents}


def test_each_criterion_is_searched_alone_and_together(reader: psycopg.Connection) -> None:
    assert find_documents(reader, Criteria()).total == ALL
    assert found(reader, last_day=MONTH) == {"A", "B", "C"}
    assert "A" not in found(reader, first_day=FIRST_OF_NOVEMBER)
    assert found(reader, least=Decimal(11_001)) == {"C", "USD"}
    assert found(reader, least=Decimal(11_001), largest=Decimal(16_500)) == {"C"}
    assert found(reader, largest=Decimal(-1)) == {"CREDIT", "PART"}
    assert found(reader, counterparty="art") == {"PARTLY", "PART"}
    assert found(reader, number="CRN-2026-10-") == {"CREDIT", "PART"}
    assert found(reader, kind="credit") == {"CREDIT", "PART"}
    together = {
        "first_day": FIRST_OF_NOVEMBER,
        "last_day": FIRST_OF_NOVEMBER,
        "least": Decimal(-2_000),
        "largest": Decimal(0),
        "counterparty": "PART",
        "number": "CRN",
        "kind": "credit",
    }
    assert found(reader, **together) == {"PART"}


def test_wildcards_are_searched_as_they_are(reader: psycopg.Connection) -> None:
    assert found(reader, counterparty="=1+1 100%_") == {"FORMULA"}
    for text in ("%", "_", "\\", "P%D"):
        assert found(reader, counterparty=text) == ({"FORMULA"} if text in "%_" else set())
        assert found(reader, number=text) == set()


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("㈱髙﨑ＡＢＣ", "株式会社高崎abc"),
        ("（有）齋藤ｶﾞﾗｽ", "有限会社斎藤ガラス"),
        ("𠮷野", "吉野"),
        ("青葉", "青葉"),
    ],
)
def test_names_are_found_as_people_type_them(reader: psycopg.Connection, name: str, folded: str) -> None:
    assert reader.execute("SELECT batch.folded(%s)", [name]).fetchone() == (folded,)


def test_void_documents_stay_with_their_amounts(board: Board) -> None:
    text = board.get("/documents?counterparty=VOID").text
    assert "取消済み" in text
    assert "11,000 JPY" in text


def test_values_that_mean_nothing_are_refused(board: Board) -> None:
    assert (
        board.get("/documents?date_from=&date_to=&amount_from=&amount_to=1,000,000&kind=").status_code == 200
    )
    for query in (
        "date_from=yesterday",
        "amount_from=NaN",
        "amount_to=1e9",
        "kind=letter",
        "page=0",
        "page=201",
        "date_from=2026-11-02&date_to=2026-11-01",
        "amount_from=1&amount_to=-1",
    ):
        assert board.get(f"/documents?{query}").status_code == 400, query


def test_a_refused_value_is_named_as_its_field(board: Board) -> None:
    text = board.get("/documents?amount_from=x&date_to=y").text
    assert "円の金額（から）" in text
    assert "日付（まで）" in text
    assert "amount_from" not in text
    assert "日付の範囲が逆です" in board.get("/documents?date_from=2026-11-02&date_to=2026-11-01").text


def test_full_width_numbers_are_searched_like_ascii_ones(board: Board) -> None:
    text = board.get("/documents?amount_from=１１，００１&amount_to=１６，５００").text
    assert "見つかった書類" in text
    assert "1 件" in text
    assert "CRN-2026-10-" in board.get("/documents?number=ＣＲＮ－２０２６－１０").text
    assert "CRN-2026-10-" in board.get("/documents?amount_to=−1").text


def test_the_list_has_pages(reader: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skill_batch.board.pages.documents._PAGE", 10)
    first = find_documents(reader, Criteria())
    assert first.next_page is not None
    second = find_documents(reader, first.next_page)
    assert second.next_page is None
    numbers = [row["number"] for page in (first, second) for row in page.documents]
    assert len(set(numbers)) == ALL


def test_the_file_has_the_rows_of_the_months_index_without_formulas(board: Board, store: ObjectStore) -> None:
    answer = board.as_role("viewer").get("/documents.csv?date_from=2026-11-01")
    assert answer.headers["content-disposition"].startswith('attachment; filename="documents-')
    header, *rows = csv.reader(StringIO(answer.content.decode("utf-8-sig")))
    assert tuple(header) == INDEX_COLUMNS
    index = files(store)[index_key(MONTH)].decode("utf-8-sig")
    assert sorted(rows) == sorted(list(csv.reader(StringIO(index)))[1:])
    assert any(cell.startswith("'=1+1") for row in rows for cell in row)
    assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row)


def test_a_search_with_too_many_documents_has_no_file(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skill_batch.board.pages.documents.MOST", 5)
    text = board.get("/documents").text
    assert "documents.csv" not in text
    assert "5 件より多い" in text
    answer = board.get("/documents.csv")
    assert answer.status_code == 400
    assert "条件を絞ってください" in answer.text
    assert board.get("/documents.csv?kind=credit").status_code == 200
