"""会計ファイル: the files of closed months as they were recorded, and of open months as they are now."""

from __future__ import annotations

import hashlib
import re
from datetime import date, datetime
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg.types.json import Jsonb

from skill_batch.board import archived_files
from skill_batch.board.access import Rights
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from tests.board.conftest import Board
from tests.conftest import Database
from tests.worlds.accounting_rows import hand_over
from tests.worlds.billing_rows import MONTH, customer, operate, run_billing

CONTENT = "番号,金額\nINV-2026-10-001,11000\n".encode("utf-8-sig")
NAME = "journal-2026-10.csv"
SEPTEMBER = date(2026, 9, 1)
ADDRESS = f"/accounting/2026-10-01/{NAME}"


@pytest.fixture(autouse=True)
def file(host: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of October 2026 in the store, with its record."""
    archived_files.forget()
    monkeypatch.setenv("AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL", f"file://{tmp_path}")
    key = f"accounting/2026-10/{NAME}"
    path = tmp_path / key
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    recorded = {
        "key": key,
        "location": str(path),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "bytes": len(CONTENT),
        "rows": 1,
        "yen": 11000,
    }
    host.execute(
        "INSERT INTO batch.accounting_month (month, handed_over_by, execution_id, files) VALUES ('2026-10-01', '経理', 'E', %s)",
        [Jsonb([recorded])],
    )
    return path


def test_a_file_is_downloaded_as_it_was_recorded(board: Board) -> None:
    page = board.get("/accounting").text
    assert f'href="/skill-batch-board{ADDRESS}"' in page
    assert "経理" in page
    answer = board.get(ADDRESS)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert quote(NAME) in answer.headers["Content-Disposition"]


def test_a_file_of_an_open_month_is_downloaded_as_it_was_recorded(
    board: Board, host: psycopg.Connection, file: Path
) -> None:
    month = datetime.now(JAPAN).date().replace(day=1)
    name = f"journal-{month:%Y-%m}-未確定.csv"
    key = f"accounting/{month:%Y-%m}/{name}"
    provisional = file.parents[2] / key
    provisional.parent.mkdir(exist_ok=True)
    provisional.write_bytes(CONTENT)
    provisional.with_name("other-未確定.csv").write_bytes(b"secret")
    host.execute(
        "INSERT INTO batch.provisional_file (key, month, sha256, bytes) VALUES (%s, %s, %s, %s)",
        [key, month, hashlib.sha256(CONTENT).hexdigest(), len(CONTENT)],
    )
    address = f"/accounting/{month}/{quote(name)}"
    assert address in board.get("/accounting").text
    assert board.get(address).content == CONTENT
    assert board.get(f"/accounting/{month}/{quote('other-未確定.csv')}").status_code == 404
    archived_files.forget()
    provisional.write_bytes(CONTENT * 2)
    assert "内容が記録と違います" in board.get(address).text


def test_a_changed_or_missing_file_is_refused(board: Board, file: Path) -> None:
    file.write_bytes(CONTENT.replace(b"11000", b"99000"))
    refused = board.get(ADDRESS)
    assert refused.status_code == 409
    assert "内容が記録と違います" in refused.text
    file.unlink()
    assert "保存先にありません" in board.get(ADDRESS).text


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("/accounting/2026-10-01/other.csv", 404),
        ("/accounting/2026-09-01/journal-2026-10.csv", 404),
        ("/accounting/2026-10-01/..%2F..%2Fsecret", 404),
        ("/accounting/october/journal-2026-10.csv", 400),
    ],
)
def test_only_recorded_files_are_read(board: Board, address: str, code: int) -> None:
    assert board.get(address).status_code == code


def test_files_need_the_right_to_the_documents(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rights, "may_read", lambda *_: False)
    assert board.get(ADDRESS).status_code == 403


@pytest.fixture
def closed_september(database: Database, host: psycopg.Connection, tmp_path: Path) -> ObjectStore:
    """A's and B's September and October are billed, and September is closed. September's journal was corrected by a credit note."""
    store = ObjectStore(tmp_path)
    host.execute("DELETE FROM batch.accounting_month")
    for tenant_id in ("A", "B"):
        customer(host, tenant_id, months=(SEPTEMBER, MONTH))
    run_billing(database, SEPTEMBER, store=store)
    run_billing(database, store=store)
    with database.connect("batch_platform") as platform:
        hand_over(platform, store, SEPTEMBER)
    return store


@pytest.mark.usefixtures("closed_september")
def test_the_dialog_shows_what_a_month_will_finalise(board: Board) -> None:
    button = re.search(
        r'hx-get="([^"]*hand_over\?accounting_month=2026-10-01)"', board.get("/accounting").text
    )
    assert button
    path = "/operations/operate_invoices/hand_over"
    asked = board.get(path).text
    assert "やり直せません" in asked
    assert '<input type="month" name="accounting_month" value="" required' in asked
    shown = _text(board.get(path, params={"accounting_month": "2026-10-01"}).text)
    assert "2026-10 会計月: 未確定 → 確定" in shown
    assert "請求 2 件 22,000 JPY" in shown
    assert "売掛金の合計 22,000 JPY" in shown
    assert "取引先にメールは送りません。" in shown
    for month, problem in (("2026-09", "が確定済みです"), ("2027-03", "はまだ終わっていないため")):
        answer = board.post(f"{path}/changes", {"accounting_month": month})
        assert problem in _text(answer.text)
    started = board.post(path, {"accounting_month": "2026-10"})
    assert started.status_code == 200, started.text
    newest = board.api("GET", "/dags/operate_invoices/dagRuns", params={"order_by": "-run_after"})
    assert newest.json()["dag_runs"][0]["conf"]["accounting_month"] == "2026-10-01"


def test_the_dialog_does_not_show_a_list_that_was_changed(
    board: Board, closed_september: ObjectStore
) -> None:
    key = "accounting/2026-10/accounting-2026-10-未確定.csv"
    closed_september.write(key, closed_september.read(key).decode("utf-8-sig").encode("cp932"))
    path = "/operations/operate_invoices/hand_over"
    shown = _text(board.get(path, params={"accounting_month": "2026-10-01"}).text)
    assert "2026-10 会計月: 未確定 → 確定" in shown
    assert "内容が記録と違います" in shown
    assert "請求 2 件" not in shown


def test_the_result_lists_the_files_of_the_month(
    board: Board, database: Database, host: psycopg.Connection, closed_september: ObjectStore
) -> None:
    operate(
        database, "hand_over", values={"accounting_month": "2026-10-01"}, codes=(), store=closed_september
    )
    ((dag_id, run_id),) = host.execute(
        "SELECT dag_id, run_id FROM batch.execution_log WHERE batch_id = 'OPERATE-INVOICES'"
    ).fetchall()
    page = board.get(f"/runs/{dag_id}/{run_id}").text
    assert f'href="/skill-batch-board{ADDRESS}"' in page
    shown = _text(page)
    assert "journal-2026-10.csv 4 行、売掛金の合計 22,000 JPY" in shown
    assert "会計データを確定しました。" in shown
    # The closed month names the run.
    assert "/executions/" in board.get("/accounting").text


def _text(page: str) -> str:
    return " ".join(re.sub("<[^>]+>", " ", re.sub("</?bdi>", "", page)).split())
