"""会計ファイル: the files of closed months as they were recorded, and of open months as they are now."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg.types.json import Jsonb

from skill_batch.board import archived_files
from skill_batch.board.access import Rights
from include.skillreport.core.execution.business_date import JAPAN
from tests.board.conftest import Board

CONTENT = "番号,金額\nINV-2026-10-001,11000\n".encode("utf-8-sig")
NAME = "journal-2026-10.csv"
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


def test_a_file_of_an_open_month_is_read_as_it_is_now(
    board: Board, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    month = datetime.now(JAPAN).date().replace(day=1)
    name = f"journal-{month:%Y-%m}-未確定.csv"
    provisional = file.parents[1] / f"{month:%Y-%m}" / name
    provisional.parent.mkdir(exist_ok=True)
    provisional.write_bytes(CONTENT)
    provisional.with_name("other.csv").write_bytes(b"secret")
    address = f"/accounting/{month}/{quote(name)}"
    assert address in board.get("/accounting").text
    provisional.write_bytes(CONTENT * 2)
    assert board.get(address).content == CONTENT * 2
    assert board.get(f"/accounting/{month}/other.csv").status_code == 404
    monkeypatch.setenv("AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL", "s3://")
    broken = board.get("/accounting").text
    assert "skill_batch_storage_url" in broken
    assert ADDRESS in broken


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
