"""Upload of a file of payments on 入金消込: where it goes, who may do it, and that an import reads it at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from skill_batch.board.pages import uploads
from include.skillreport.billing import bank_inbox
from include.skillreport.billing.receivables.payment_file import PAYMENT_COLUMNS
from include.skillreport.core.execution.object_store import ObjectStore
from tests.board.conftest import Board
from tests.worlds.own_settings import change_billing

BANK_FILE = "日付,金額,名義\r\n2026-11-27,500,ｼﾗﾅｲ\r\n".encode("cp932")
OWN_FILE = f"{','.join(PAYMENT_COLUMNS)}\r\nINV-1,2026-11-27,1,JPY,振込,F\r\n".encode("utf-8-sig")


@pytest.fixture(autouse=True)
def uploading(store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An installation that records payments here and takes uploads."""
    url = f"file://{store.location('x').removesuffix('/x')}"
    monkeypatch.setenv("AIRFLOW_VAR_SKILL_BATCH_UPLOAD_URL", url)
    change_billing(monkeypatch, tmp_path, payment_source="operations")
    yield
    for folder in (bank_inbox.INCOMING, "payments"):
        store.delete(folder)


def send(board: Board, name: str, content: bytes, site: str = "same-origin") -> httpx.Response:
    """Upload the file as the form does."""
    headers = {"HX-Request": "true", "Sec-Fetch-Site": site}
    return board.request("POST", "/uploads", files={"file": (name, content)}, headers=headers)


def names(store: ObjectStore) -> list[str]:
    """The files in both folders."""
    return [*store.names(bank_inbox.INCOMING), *store.names("payments")]


@pytest.mark.parametrize(
    ("content", "name", "key", "dialog"),
    [
        (
            BANK_FILE,
            "振込 11月.csv",
            "bank-files/incoming/振込_11月-*.csv",
            "import_payments",
        ),
        (OWN_FILE, "p.csv", "payments/p-*.csv", "operate_invoices/import_payments?payment_file=p-"),
        (
            b"\x00" * 200,
            "../../etc/passwd",
            "bank-files/incoming/passwd-*",
            "import_payments",
        ),
        (BANK_FILE, ".hidden", "bank-files/incoming/hidden-*", "import_payments"),
    ],
)
def test_a_file_goes_where_its_operation_reads_it(
    board: Board, store: ObjectStore, content: bytes, name: str, key: str, dialog: str
) -> None:
    answer = send(board, name, content)
    assert (answer.status_code, dialog in answer.text) == (200, True), answer.text
    (placed,) = names(store)
    folder, _, pattern = key.rpartition("/")
    assert Path(placed).match(pattern)
    assert store.read(f"{folder}/{placed}") == content
    # The same file again is the same file; another one of the same name does not replace it.
    send(board, name, content)
    send(board, name, content + b"\r\n")
    assert len(names(store)) == 2


def test_the_import_starts_with_the_file_or_its_paused_dag_is_shown(board: Board, store: ObjectStore) -> None:
    dag = "/dags/import_payments"
    board.api("PATCH", dag, json={"is_paused": True})
    dialog = send(board, "b.csv", BANK_FILE).text
    (name,) = names(store)
    assert f"import_payments/import?uploaded={name}" in dialog
    opened = board.get("/operations/import_payments/import", params={"uploaded": name}).text
    assert f"ファイル <bdi>{name}</bdi> は保存済みです。" in opened
    assert "DAG を再開すると読みます" in opened
    assert "DAG を再開すると読みます" in board.get("/transfers").text
    board.api("PATCH", dag, json={"is_paused": False})
    waiting = board.get("/transfers").text
    assert "まだ取り込んでいないファイルが 1 件あります。" in waiting
    assert "毎日 8:30" in waiting
    assert "実行の様子" in send(board, "b.csv", BANK_FILE).text
    (run,) = board.api("GET", f"{dag}/dagRuns?order_by=-run_after&limit=1").json()["dag_runs"]
    assert run["conf"] == {"operation": "import", "uploaded": [name]}
    board.api("DELETE", f"{dag}/dagRuns/{run['dag_run_id']}")


def test_the_audit_log_has_person_and_file(board: Board, store: ObjectStore) -> None:
    send(board.as_role("user"), "b.csv", BANK_FILE)
    logs = board.api("GET", "/eventLogs?event=skill_batch_upload&order_by=-event_log_id&limit=1").json()
    (log,) = logs["event_logs"]
    assert json.loads(log["extra"])["file"] == f"bank-files/incoming/{names(store)[0]}"
    assert log["owner"] == "user"


def test_a_large_empty_or_unfinished_file_is_refused(
    board: Board, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert send(board, "empty.csv", b"").status_code == 422
    assert board.post("/uploads", {"file": "text"}).status_code == 422
    unfinished = send(board, "b.csv.crdownload", BANK_FILE)
    assert (unfinished.status_code, "ダウンロードが終わっていません" in unfinished.text) == (409, True)
    monkeypatch.setattr(uploads, "_LIMITS", replace(uploads._LIMITS, bytes=10_000))
    assert send(board, "large.csv", b"1" * 20_000).status_code == 413
    assert names(store) == []


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), (None, 401), ("user", 200)])
def test_only_those_who_may_import_upload(
    board: Board, store: ObjectStore, role: str | None, status: int
) -> None:
    assert send(board.as_role(role), "b.csv", BANK_FILE).status_code == status
    assert len(names(store)) == (status == 200)


def test_another_site_cannot_upload(board: Board, store: ObjectStore) -> None:
    assert send(board, "b.csv", BANK_FILE, "cross-site").status_code == 403
    assert names(store) == []


def test_without_the_variable_there_is_no_form_and_no_upload(
    board: Board, store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    form = 'type="file"'
    page = board.get("/transfers").text
    assert form in page
    assert "operations/operate_invoices/import_payments" in page
    monkeypatch.setenv("AIRFLOW_VAR_SKILL_BATCH_UPLOAD_URL", f"file://{tmp_path}/elsewhere")
    elsewhere = send(board, "b.csv", BANK_FILE)
    assert (elsewhere.status_code, "同じ場所にしてください" in elsewhere.text) == (409, True)
    monkeypatch.delenv("AIRFLOW_VAR_SKILL_BATCH_UPLOAD_URL")
    assert form not in board.get("/transfers").text
    without = send(board, "b.csv", BANK_FILE)
    assert (without.status_code, "skill_batch_upload_url" in without.text) == (409, True)
    assert names(store) == []
