"""The archived files of documents: rendered, downloaded, checked, and with a store that hangs."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from skill_batch.board import archived_files, store_access
from skill_batch.board.archived_files import count_sheets, draw_sheet
from skill_batch.board.store_access import ArchivedFileError
from include.skillreport.core.execution.object_store import ObjectStore
from tests.board.billing.conftest import number_of
from tests.board.conftest import Board
from tests.s3_server import BUCKET, s3_server


def test_the_archived_pdf_is_drawn_page_by_page(
    board: Board, host: psycopg.Connection, ids: dict[str, str]
) -> None:
    viewer, path = board.as_role("viewer"), f"/invoices/{ids['PAID']}"
    assert f"{path}/page/1.png" in viewer.get(f"{path}/sheets").text
    image = viewer.get(f"{path}/page/1.png")
    assert image.headers["content-type"] == "image/png"
    assert image.content.startswith(b"\x89PNG")
    # A4 at 110 dpi.
    assert int.from_bytes(image.content[16:20]) in range(905, 915)
    for sheet in (0, 2, -1, 10**20):
        assert viewer.get(f"{path}/page/{sheet}.png").status_code == 404
    number = number_of(host, ids["PAID"])
    pdf, json = viewer.get(f"{path}/file"), board.get(f"{path}/file?format=json")
    assert pdf.content.startswith(b"%PDF")
    assert pdf.headers["content-disposition"] == f'attachment; filename="{number}.pdf"'
    assert json.json()["number"] == number
    assert viewer.get(f"{path}/file?format=exe").status_code == 400
    for nothing in (ids["B"], "no-such-invoice", "../x"):
        assert viewer.get(f"/invoices/{nothing}/file").status_code == 404
        assert viewer.get(f"/invoices/{nothing}/page/1.png").status_code == 404
    assert viewer.get("/invoices/no-such-invoice").status_code == 404


def test_the_api_server_finds_the_store_by_airflows_variable(
    board: Board, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = os.environ["AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL"]
    monkeypatch.delenv("AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL")
    path = f"/invoices/{ids['PAID']}"
    assert "ファイルの保存先がありません" in board.get(f"{path}/sheets").text
    board.api("POST", "/variables", json={"key": "skill_batch_storage_url", "value": url})
    try:
        assert board.get(f"{path}/file").content.startswith(b"%PDF")
    finally:
        board.api("DELETE", "/variables/skill_batch_storage_url")


def test_sheets_are_drawn_for_several_readers_at_once(board: Board, ids: dict[str, str]) -> None:
    path = f"/invoices/{ids['PAID']}/page/1.png"
    with ThreadPoolExecutor(4) as readers:
        images = {answer.content for answer in readers.map(board.get, [path] * 4)}
    assert len(images) == 1


def test_an_altered_missing_or_unreachable_file_is_not_shown(
    board: Board,
    host: psycopg.Connection,
    ids: dict[str, str],
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = f"/invoices/{ids['PARTLY']}"
    file = Path(store.location(f"invoices/2026-10/{number_of(host, ids['PARTLY'])}.pdf"))
    content = file.read_bytes()
    try:
        file.write_bytes(content.replace(b"%PDF", b"%PDX"))
        _assert_refused(board, path, "SHA-256 が一致しません")
        file.unlink()
        _assert_refused(board, path, "保存先にありません")
    finally:
        file.write_bytes(content)
    with monkeypatch.context() as patch:
        patch.setattr(archived_files, "MOST_BYTES", 100)
        _assert_refused(board, path, "大きすぎる")
    monkeypatch.setenv("AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL", "s3://")
    _assert_refused(board, path, "ファイルの保存先がありません")


def _assert_refused(board: Board, path: str, reason: str) -> None:
    fragment = board.get(f"{path}/sheets")
    assert reason in fragment.text
    assert "<img" not in fragment.text
    for part in ("file", "page/1.png"):
        answer = board.get(f"{path}/{part}")
        assert answer.status_code == 409
        assert reason in answer.text


def test_only_those_who_operate_on_invoices_get_the_json(board: Board, ids: dict[str, str]) -> None:
    path, viewer = f"/invoices/{ids['PAID']}", board.as_role("viewer")
    assert "format=json" not in viewer.get(path).text
    assert "format=pdf" in viewer.get(path).text
    assert viewer.get(f"{path}/file?format=json").status_code == 403
    assert "format=json" in board.as_role("user").get(path).text
    assert board.as_role("user").get(f"{path}/file?format=json").status_code == 200


@pytest.mark.slow("waits for slow or throttling services")
def test_a_store_that_hangs_is_given_up_and_not_asked_by_everybody(
    board: Board,
    ids: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_access, "WORK_SECONDS", 0.05)
    monkeypatch.setattr(store_access, "WAIT_SECONDS", 0.05)
    path = f"/invoices/{ids['PARTLY']}"
    with _hanging(monkeypatch):
        for reason in ("応答しません", "応答しません", "混み合っています"):
            answer = board.get(f"{path}/file")
            assert (answer.status_code, reason in answer.text) == (503, True), answer.text
        assert "混み合っています" in board.get(f"{path}/sheets").text
    monkeypatch.undo()


def test_the_sheets_of_a_document_are_drawn_from_one_download(
    board: Board,
    host: psycopg.Connection,
    ids: dict[str, str],
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = f"/invoices/{ids['PART']}"
    file = _pdf(store, number_of(host, ids["PART"]))
    content = file.read_bytes()
    try:
        assert "<img" in board.get(f"{path}/sheets").text
        file.unlink()
        assert board.get(f"{path}/page/1.png").status_code == 200
        assert board.get(f"/invoices/{ids['PARTLY']}/page/1.png").status_code == 200
        assert board.get(f"{path}/page/1.png").status_code == 409
        file.write_bytes(content)
        monkeypatch.setattr(archived_files, "KEPT_SECONDS", 0)
        assert board.get(f"{path}/page/1.png").status_code == 200
        file.unlink()
        assert board.get(f"{path}/page/1.png").status_code == 409
    finally:
        file.write_bytes(content)


def test_a_damaged_pdf_is_an_error_of_the_file(
    store: ObjectStore, host: psycopg.Connection, ids: dict[str, str]
) -> None:
    pdf = _pdf(store, number_of(host, ids["PAID"])).read_bytes()
    with pytest.raises(ArchivedFileError, match="PDF として開けません"):
        count_sheets(b"%PDF-1.7 nothing")
    # The tree of pages names an object that is no page.
    damaged = re.sub(rb"/Type\s*/Page(?!s)", b"/Type /Nope", pdf).replace(b"/MediaBox", b"/MediaBux")
    broken = re.sub(rb"/Kids\s*\[[^]]*\]", b"/Kids [99999 0 R]", damaged)
    assert count_sheets(broken) == 1
    with pytest.raises(ArchivedFileError, match="PDF として開けません"):
        draw_sheet(broken, 1)


def _pdf(store: ObjectStore, number: str) -> Path:
    return Path(store.location(f"invoices/2026-10/{number}.pdf"))


@contextmanager
def _hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The store is a bucket whose server does not answer until the end of the block."""
    answers = threading.Event()

    def wait(environ: object) -> bool:  # noqa: ARG001  # as ``S3Server.refuses``
        return answers.wait()

    with s3_server() as server:
        server.refuses = wait
        monkeypatch.setenv("AIRFLOW_CONN_BUCKET", server.airflow_connection)
        monkeypatch.setenv("AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL", f"s3://bucket@{BUCKET}/batch")
        try:
            yield
        finally:
            answers.set()
            # Until no reader is left.
            for _ in range(store_access.MOST_AT_ONCE):
                store_access._TURNS.acquire()
            store_access._TURNS.release(store_access.MOST_AT_ONCE)
