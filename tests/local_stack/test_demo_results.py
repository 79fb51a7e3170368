"""What the demo shows: the summary in a terminal, and the page, from real rows and real files."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from pypdf import PdfWriter

from include.skillreport.batches import statistics, tenant_usage
from include.skillreport.core.catalog import (
    STATISTICS,
    TENANT_USAGE,
)
from local_stack.batch_runs import LOCAL, run_batch
from local_stack.demo.details import RecordedOutcome, RecordedRun, read_result, width_of
from local_stack.demo.page import find_mail, standalone_board, write_page
from local_stack.demo.runs import DEMO_RUNS, runs_of
from local_stack.demo.summary import EndedRun, progress_line, step_line, summary
from local_stack.stand_ins import Arrived
from local_stack.stand_ins.recorder import MessageLog
from tests.conftest import Database
from tests.worlds import host_rows

HOSTILE = "</td><script>alert('x')</script>\"&㈱"
MOST_COLUMNS, MOST_LINES = 100, 40

BOARD = """<!DOCTYPE html><html><head><link rel="stylesheet" href="/skill-batch-board/static/board.css">
<script src="/skill-batch-board/static/board.js"></script></head>
<body><a href="/skill-batch-board/runs/x">BATCH-003</a> 昨夜</body></html>"""


@pytest.fixture
def results(database: Database) -> dict[str, RecordedRun]:
    """Two batches that have run for a tenant with a hostile name."""
    with database.connect() as host:
        host_rows.tenant(host, "T1", tenant_name=HOSTILE)
    with database.working() as (platform, connection):
        day = date(2026, 10, 31)
        run_batch(platform, connection, STATISTICS, statistics.create_batch(LOCAL), day)
        run_batch(platform, connection, TENANT_USAGE, tenant_usage.create_batch(LOCAL), day)
    with database.connect() as host:
        found = [read_result(host, spec) for spec in (STATISTICS, TENANT_USAGE)]
    return {result.spec.id: result for result in found if result}


@pytest.fixture
def ended(results: dict[str, RecordedRun]) -> list[EndedRun]:
    (run,) = runs_of(TENANT_USAGE)
    return [EndedRun(run, 0, 3.21, results[TENANT_USAGE.id])]


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """A folder as the demo leaves it, with the files of one run."""
    for name in (
        "demo/BATCH-018-01.txt",
        "storage/accounting/2026-11/journal #1.csv",
        "storage/backups/B/manifest.json",
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("demo")
    for name in ("invoices/2026-10/INV-1.pdf", "reports/T1/2026-10/月次レポート.pdf"):
        file = tmp_path / "storage" / name
        file.parent.mkdir(parents=True)
        document = PdfWriter()
        document.add_blank_page(595, 842)
        document.write(file)
    (tmp_path / "demo" / "board.html").write_text(BOARD)
    recorder = MessageLog(tmp_path / "arrived.jsonl")
    recorder.add(alert(f"• T1 {HOSTILE}: 失敗"))
    recorder.add(mail("contact@t1.example", "INV-1.pdf"))
    return tmp_path


def alert(text: str) -> Arrived:
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": "バッチ実行失敗: BATCH-019-03"}},
        {
            "type": "rich_text",
            "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": text}]}],
        },
        {"type": "context", "elements": [{"type": "mrkdwn", "text": "<http://localhost:8080/x|実行を開く>"}]},
    ]
    return Arrived("slack", "#batch-alerts", "バッチ実行失敗: BATCH-019-03", rich=blocks)


def mail(destination: str, attachment: str) -> Arrived:
    headers = {"From": "=?utf-8?b?44K544Kt44Or?= <a@b.example>", "To": destination, "Authorization": "x"}
    html = f'<p title="{HOSTILE}">本文</p><script>alert(1)</script>'
    files = [{"name": attachment, "bytes": 2048}]
    return Arrived("email", destination, "本文", subject="請求書", rich=html, headers=headers, files=files)


def shown(installation: Path, ended: list[EndedRun]) -> str:
    folder = installation / "demo"
    page = write_page(
        folder, installation / "storage", installation / "arrived.jsonl", folder / "board.html", ended
    )
    assert page == folder / "index.html"
    return page.read_text(encoding="utf-8")


def test_the_summary_of_all_runs_fits_on_a_screen(results: dict[str, RecordedRun]) -> None:
    widest = replace(
        results[TENANT_USAGE.id],
        status="partial",
        total=9_999,
        succeeded=9_999,
        failed=9_999,
        records=999_999_999,
        outcomes=[RecordedOutcome("T1", None, "", None, "壊れています" * 20, ())] * 4,
    )
    ended = [EndedRun(run, int(run.must_fail), 123.45, widest) for run in DEMO_RUNS]

    lines = summary(ended).splitlines()
    lines += [progress_line(each) for each in ended] + [step_line("データベースの起動", 12.3)]

    assert len(summary(ended).splitlines()) <= MOST_LINES - 10  # what to open comes below
    assert [line for line in lines if width_of(line) > MOST_COLUMNS] == []


def test_the_summary_tells_expected_failures_from_others(results: dict[str, RecordedRun]) -> None:
    on_purpose = next(run for run in DEMO_RUNS if run.must_fail)
    (usage,) = runs_of(TENANT_USAGE)
    result = results[TENANT_USAGE.id]

    errors = [
        RecordedOutcome(unit, None, "", None, f"{unit} のトークンが使えません", ())
        for unit in ("T1", "T2", "T3")
    ]
    partial = replace(result, status="partial", outcomes=errors)
    expected, unexpected = EndedRun(on_purpose, 1, 1.0, partial), EndedRun(usage, 1, 1.0, partial)

    assert (expected.mark, expected.outcome) == ("!", "想定の失敗")
    assert "T1（ほか 2 テナント）: T1 のトークンが使えません" in summary([expected])
    assert (unexpected.mark, unexpected.outcome, unexpected.ended_well) == ("✗", "失敗", False)
    assert not EndedRun(on_purpose, 1, 1.0, replace(result, status="failed")).ended_well
    # A run that was never opened has not ended well, whatever its exit code.
    assert not EndedRun(usage, 0, 1.0, None).ended_well


def test_a_run_of_an_earlier_demo_is_no_result(results: dict[str, RecordedRun], database: Database) -> None:
    """Otherwise a run that must fail, but fails before it opens, would count as an expected failure."""
    with database.connect() as host:
        (now,) = host.execute("SELECT clock_timestamp()").fetchone() or ()
        assert read_result(host, TENANT_USAGE) == results[TENANT_USAGE.id]
        assert read_result(host, TENANT_USAGE, since=now) is None


def test_the_details_of_a_run_are_a_text(results: dict[str, RecordedRun]) -> None:
    text = results[TENANT_USAGE.id].text()

    assert text.startswith("BATCH-018-01 テナント使用量集計バッチ  業務日 2026-10-31")
    assert HOSTILE in text
    # As the batch has recorded it.
    assert "registered_users" in text
    assert "errors" not in text  # 0 everywhere


def test_the_page_escapes_what_others_have_written(installation: Path, ended: list[EndedRun]) -> None:
    page = shown(installation, ended)

    assert "<script" not in page
    assert "&lt;script&gt;alert" in page
    assert "スキル &lt;a@b.example&gt;" in page
    assert "Authorization" not in page
    assert len(re.findall(r"<iframe[^>]* sandbox srcdoc=", page)) == page.count("<iframe") == 2


def test_the_pages_links_lead_to_files(installation: Path, ended: list[EndedRun]) -> None:
    page = shown(installation, ended)

    targets = [unquote(each) for each in re.findall(r'<a href="([^"#][^"]*)"', page)]
    assert {Path(each).name for each in targets} >= {
        *(
            "BATCH-018-01.txt",
            "INV-1.pdf",
            "月次レポート.pdf",
            "journal #1.csv",
            "manifest.json",
            "arrived.jsonl",
        )
    }
    assert [each for each in targets if not (installation / "demo" / each).exists()] == []


def test_the_page_needs_no_network(installation: Path, ended: list[EndedRun]) -> None:
    page = shown(installation, ended)

    assert re.findall(r"https?://", page) == []
    assert page.count('src="data:image/png;base64,') == 2
    assert "default-src 'none'" in page


def test_the_page_leaves_out_what_the_demo_has_not_made(tmp_path: Path) -> None:
    board = tmp_path / "board.html"
    board.write_text(BOARD)

    page = write_page(tmp_path, tmp_path / "storage", tmp_path / "arrived.jsonl", board, []).read_text()

    assert "昨夜のボード" in page
    assert not re.search('id="(invoice|report|alert|mail)"', page)


def test_the_board_stands_alone() -> None:
    board = standalone_board(BOARD)

    assert "昨夜" in board
    assert not re.search(r"<script|<link|href=", board)
    assert "--raised" in board  # its own style


def test_the_mail_is_the_one_with_the_invoice() -> None:
    found = find_mail([mail("a@a.example", "INV-2.pdf"), mail("b@b.example", "INV-1.pdf")], "INV-1")

    assert found
    assert found.headers["From"] == "スキル <a@b.example>"
    assert found.attachments == ["INV-1.pdf（2 KB）"]
    assert find_mail([], "") is None
