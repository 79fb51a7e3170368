"""BATCH-004 from real statistics to real files: all parts have the same figures, and a second run gives the same bytes."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import openpyxl
import psycopg
import pypdf
import pytest
from openpyxl.workbook import Workbook

from include.skillreport.batches.monthly_report import batch as monthly_report
from include.skillreport.batches.monthly_report import create_batch
from include.skillreport.batches.monthly_report.document import render_pdf
from include.skillreport.batches.monthly_report.report import MonthlyReport, make_report
from include.skillreport.batches.monthly_report.wording import words
from include.skillreport.batches.monthly_report.workbook import Person, write_workbook
from include.skillreport.core.catalog import MONTHLY_REPORT
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.execution.object_store import ObjectStore, tenant_folder
from include.skillreport.core.execution.run_log import RunResult, close_execution
from include.skillreport.core.execution.shard_work import ShardReport
from include.skillreport.core.execution.temporary_files import temporary_folder
from local_stack.batch_runs import LOCAL, open_run, process_tenants, run_batch
from local_stack.local_run import KilledError
from tests.conftest import Database, wait_for_blocked_statement
from tests.waiting import LIMIT_SECONDS, wait_until
from tests.worlds import billing_rows, host_rows, statistics_rows
from tests.worlds.documents import pages_of
from tests.worlds.monthly_rows import LAST_DAY, MONTH, NO_RECORDS, book_of, cells, charts_of, employee, tenant

# openpyxl cannot show data bars.
pytestmark = pytest.mark.filterwarnings("ignore:.*xtension is not supported:UserWarning")

SHEETS = ["月次サマリー", "ユーザー統計", "機能利用状況", "KPI分析", "スキル分析", "定義"]
HOSTILE = '=HYPERLINK("https://evil.example","x")'


def run(database: Database, store: Path, *, codes: Sequence[str] = (), dry_run: bool = False) -> RunResult:
    with database.working() as (platform, connection):
        return run_batch(
            platform,
            connection,
            MONTHLY_REPORT,
            create_batch(LOCAL),
            MONTH,
            codes=codes,
            dry_run=dry_run,
            store=ObjectStore(store),
        )


def opened(database: Database, *codes: str) -> Run:
    """A run whose tenants are still to be worked on."""
    with database.connect("batch_platform") as platform:
        return open_run(platform, MONTHLY_REPORT, create_batch(LOCAL), MONTH, codes=codes)[0]


def work_on(database: Database, a_run: Run, store: ObjectStore, *tenant_ids: str) -> ShardReport:
    """A shard's try, as a worker does it."""
    with database.working() as (platform, connection):
        return process_tenants(connection, platform, create_batch(LOCAL), a_run, tenant_ids, store)


def closed(database: Database, a_run: Run) -> RunResult:
    with database.connect("batch_platform") as platform:
        return close_execution(platform, a_run)


class WatchedStore(ObjectStore):
    """Calls ``after_write`` with the key once a file is in place."""

    def __init__(self, root: Path, after_write: Callable[[str], object]) -> None:
        super().__init__(root)
        self._after_write = after_write

    def write(self, key: str, content: bytes) -> str:
        location = super().write(key, content)
        self._after_write(key)
        return location


def assert_recorded_as_it_lies(host: psycopg.Connection, store: Path) -> None:
    """Every file is recorded and known to the application, with its present content."""
    recorded = host.execute(
        """
        SELECT file.location, file.sha256, file.size_bytes, shown.file_size, shown.generation_status
        FROM batch.monthly_report_file AS file
        INNER JOIN "HIS_ReportGeneration" AS shown
            ON file.tenant_id = shown.tenant_id AND file.location = shown.file_path
        """
    ).fetchall()
    lying = [path for path in store.rglob("*") if path.is_file()]
    contents = {str(path): path.read_bytes() for path in lying}
    assert sorted(recorded) == sorted(
        (location, hashlib.sha256(content).hexdigest(), len(content), len(content), "COMPLETED")
        for location, content in contents.items()
    )


def setting(host: psycopg.Connection, tenant_id: str, name: str, value: str) -> None:
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id=f"{tenant_id} {name}",
        tenant_id=tenant_id,
        setting_key=f"batch.monthly_report.{name}",
        setting_value=value,
        updated_at=host_rows.UPDATED_AT,
    )


def files(store: Path) -> dict[str, Path]:
    """All that is in the store, by extension."""
    return {path.suffix: path for path in sorted(store.rglob("*")) if path.is_file()}


def row_of(book: Workbook, sheet: str, name: str) -> list[Any]:
    """The row that begins with the name."""
    return next(row for row in cells(book, sheet) if row[0] == name)


def letters(host: psycopg.Connection) -> list[tuple[str, str, str, str]]:
    return host.execute(
        "SELECT destination, subject, body, rich #>> '{}' FROM batch.outbox ORDER BY tenant_id, destination"
    ).fetchall()


def test_workbook_pdf_and_letter_show_the_same_figures_and_any_name(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path
) -> None:
    tenant(host, "../../etc", tenant_code="TKH/1 髙", tenant_name="髙橋﨑ホールディングス")
    for code, name in (("000001", HOSTILE), ("000002", "髙橋﨑 𠮷子"), ("000010", "<b>@channel</b>")):
        host_rows.insert(
            host,
            "MST_Employee",
            id=f"e{code}",
            employee_code=code,
            full_name=name,
            department_id="D1",
            tenant_id="../../etc",
            updated_at=host_rows.UPDATED_AT,
        )
    host_rows.insert(
        host,
        "MST_UserAuth",
        user_id="u1",
        login_id="u1",
        employee_id="000002",
        tenant_id="../../etc",
        last_login_at=datetime(2026, 10, 31, 14, 59),
        updated_at=host_rows.UPDATED_AT,
    )
    missing = date(2026, 10, 7)
    common = {"employees": 63, "rated_records": 100, "skill_records": 120, "coverage_target": 200}
    common |= {"rated_people": 60, "required_people": 60}
    statistics_rows.days(
        host,
        "../../etc",
        date(2026, 9, 1),
        date(2026, 9, 30),
        common
        | {"logins": 40, "api_calls": 100, "users_active": 4, "users_total": 10, "level_sum": 250}
        | {"coverage_met": 150},
    )
    statistics_rows.days(
        host,
        "../../etc",
        MONTH,
        LAST_DAY,
        common
        | {"logins": 41, "api_calls": 1_234, "api_errors": 60, "users_active": 5, "users_new": 1}
        | {"users_total": 12, "level_sum": 287, "coverage_met": 160}
        | {"goals_completed": 1, "goals_in_progress": 2, "certificates_expiring": 3},
        without=[missing],
    )
    statistics_rows.group(host, "../../etc", LAST_DAY, "category", "プログラミング", 20)
    statistics_rows.group(host, "../../etc", LAST_DAY, "department", HOSTILE, 6)
    statistics_rows.group(host, "../../etc", LAST_DAY, "department", None, 7)

    assert run(shared_database, tmp_path).status == "completed"

    # Under a folder of the id's own, and with a name that leads nowhere else.
    written = files(tmp_path)
    assert len(written) == 2
    for path in written.values():
        assert path.parent.parent.name.startswith("______etc-")
        assert path.name == f"月次レポート_TKH_1_髙_2026-10{path.suffix}"

    book, document = book_of(written[".xlsx"]), pages_of(written[".pdf"])
    assert book.sheetnames == SHEETS
    ((address, subject, body, rich),) = letters(host)
    assert (address, subject) == ("admin@9.example.jp", "【月次レポート】2026年10月のレポートができました")
    # 30 days have data. current, previous, difference, growth, fiscal year (since April; data since September)
    for name, shown, row in (
        ("ログイン数", "1,230", [1_230, 1_200, "+30", "+2.5 %", 2_430, "累計"]),
        ("API 呼び出し数", "37,020", [37_020, 3_000, "+34,020", "+1,134.0 %", 40_020, "累計"]),
        ("API エラー率", "4.9 %", [4.9, 0, "+4.9 pt", "—", 4.5, "通算"]),
        ("平均アクティブユーザー数（1 日）", "5.0", [5, 4, "+1.0", "+25.0 %", 4.5, "平均"]),
        ("必要スキル充足率", "80.0 %", [80, 75, "+5.0 pt", "—", 77.5, "平均"]),
        ("平均スキルレベル", "2.87", [2.87, 2.5, "+0.37", "—", 2.69, "平均"]),
        ("目標達成率", "33.3 %", [33.3, "—", "—", "—", 33.3, "平均"]),
        ("90 日以内に期限の資格", "3", [3, 0, "+3", "—", 1.5, "平均"]),
    ):
        assert row_of(book, "月次サマリー", name)[1:7] == row, name
        front = re.sub(r"\s+", " ", document[0])
        assert f"{name} {shown} " in front, name
        if name in body:
            assert f"{name}: {shown}（増減 {row[2]}）" in body
            assert shown in rich
    assert body.count("増減") == 10
    assert "髙橋﨑ホールディングス" in document[0]
    assert "髙橋﨑ホールディングス 管理者様" in body

    # The missing day is named first, and is no zero.
    notice = "データのない日が 1 日あります: 2026年10月7日"
    assert notice in document[0].replace("\n", "")
    assert any(str(row[0]).startswith(notice) for row in cells(book, "月次サマリー")[:8])
    assert notice in body
    assert row_of(book, "ユーザー統計", datetime(2026, 10, 7))[1:5] == [None] * 4  # type: ignore[arg-type]
    assert row_of(book, "機能利用状況", datetime(2026, 10, 8))[1:4] == [1_234, 60, 4.9]  # type: ignore[arg-type]

    # People: texts, whatever they look like.
    people = {row[0]: row for row in cells(book, "ユーザー統計") if str(row[0]).startswith("0000")}
    assert list(people) == ["000001", "000002", "000010"]
    assert people["000001"][1] == HOSTILE
    assert people["000002"][1:5] == ["髙橋﨑 𠮷子", "D1", "あり", datetime(2026, 10, 31)]
    assert [row[0] for row in cells(book, "スキル分析") if row[1] in (6, 7)] == [
        HOSTILE,
        "その他（小さなグループの合計）",
    ]
    every = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert {cell.data_type for cell in every} <= {"s", "n", "d"}
    assert not any(cell.hyperlink for cell in every)

    # All printed text fits, every chart has a title and named axes, and the PDF contains its fonts.
    for sheet in book.worksheets:
        # One page wide (the default, which the file omits), and as long as necessary.
        assert sheet.page_setup.paperSize == 9
        assert sheet.sheet_properties.pageSetUpPr is not None
        assert sheet.sheet_properties.pageSetUpPr.fitToPage
        assert sheet.page_setup.fitToWidth in (None, 1)
        assert sheet.print_area
        for chart in charts_of(sheet):
            assert chart.title is not None
            assert chart.x_axis.title is not None
            assert chart.y_axis.title is not None
    assert [len(charts_of(sheet)) for sheet in book.worksheets] == [1, 2, 2, 2, 4, 0]
    fonts: set[str] = set()
    for page in pypdf.PdfReader(written[".pdf"]).pages:
        assert [round(float(side)) for side in page.mediabox[2:]] == [595, 842]
        for font in page["/Resources"]["/Font"].values():  # type: ignore[index]
            (inner,) = font.get_object()["/DescendantFonts"]
            descriptor = inner.get_object()["/FontDescriptor"].get_object()
            assert "/FontFile3" in descriptor
            fonts.add(descriptor["/FontName"].split("+")[1])
    assert all(name.startswith("NotoSansCJKjp") for name in fonts)

    # The application's history can show both rows.
    linked = host.execute(
        """
        SELECT output_format, generation_status, file_path, file_size, report_title
        FROM "HIS_ReportGeneration" WHERE tenant_id = '../../etc' ORDER BY output_format
        """
    ).fetchall()
    assert linked == [
        (name, "COMPLETED", str(path), path.stat().st_size, "月次レポート 2026年10月")
        for name, path in (("excel", written[".xlsx"]), ("pdf", written[".pdf"]))
    ]
    described = host.execute(
        """
        SELECT tenant_id, requested_by, parameters, report_category, is_deleted
        FROM "HIS_ReportGeneration" ORDER BY output_format
        """
    ).fetchall()
    assert [
        (tenant_id, requested_by, json.loads(parameters), *rest)
        for tenant_id, requested_by, parameters, *rest in described
    ] == [("../../etc", "BATCH-004", {"month": "2026-10"}, "MONTHLY", False)] * 2
    for name, sha256 in host.execute("SELECT format, sha256 FROM batch.monthly_report_file"):
        path = written[{"excel": ".xlsx", "pdf": ".pdf"}[name]]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    for staging in ("report_signal", "report_person"):
        assert host.execute(f"SELECT count(*) FROM batch.{staging}").fetchone() == (0,)

    # A second run: the same bytes, the same rows, no second letter.
    before = {path: path.read_bytes() for path in written.values()}
    run(shared_database, tmp_path)
    assert {path: path.read_bytes() for path in files(tmp_path).values()} == before
    assert len(letters(host)) == 1
    assert host.execute("SELECT revision FROM batch.monthly_report").fetchall() == [(1,)]
    assert host.execute("""SELECT count(*) FROM "HIS_ReportGeneration" """).fetchone() == (2,)


@pytest.mark.parametrize("change", ["last_login_at = '2026-11-05 03:00'", "is_deleted = true"])
def test_a_login_before_the_month_is_shown_after_a_later_one(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path, change: str
) -> None:
    tenant(host)
    statistics_rows.days(host, "T1", MONTH, LAST_DAY, {"logins": 1})
    noon = datetime(2026, 9, 25, 3)
    seen = [
        host_rows.user(host, "T1", name, last_login_at=noon)
        for name in ("september_25", "october_31", "september_24")
    ]
    for login_date, people in {(9, 24): seen, (9, 25): seen[:2], (10, 31): seen[1:2], (11, 1): seen}.items():
        billing_rows.insert(
            host,
            "login_day",
            tenant_id="T1",
            login_date=date(2026, *login_date),
            user_ids=[f"emp_{user_id}" for user_id in people],
        )
    host.execute(f'UPDATE "MST_UserAuth" SET {change}'.encode())

    run(shared_database, tmp_path)

    users = cells(book_of(files(tmp_path)[".xlsx"]), "ユーザー統計")
    shown = sorted(row[4] for row in users if isinstance(row[4], datetime))
    assert shown == [datetime(2026, 9, 24), datetime(2026, 9, 25), datetime(2026, 10, 31)]


def test_logins_at_a_former_tenant_stay_out_of_the_workbook(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path
) -> None:
    """Two people have moved from B to A. At B, one last logged in during the month, the other before."""
    for tenant_id in ("A", "B"):
        tenant(host, tenant_id)
    after = datetime(2026, 11, 5, 3)
    moved = [host_rows.user(host, "A", name, last_login_at=after) for name in ("october", "september")]
    # B's days before the month are read only for a person whose login is hidden.
    host_rows.user(host, "B", "stays", last_login_at=after)
    for tenant_id, login_date, people in (
        ("A", date(2026, 8, 31), moved),
        ("B", date(2026, 9, 10), moved[1:]),
        ("B", date(2026, 10, 10), moved[:1]),
    ):
        billing_rows.insert(
            host,
            "login_day",
            tenant_id=tenant_id,
            login_date=login_date,
            user_ids=[f"emp_{user_id}" for user_id in people],
        )

    run(shared_database, tmp_path)

    (workbook,) = tmp_path.rglob("*_A_*.xlsx")
    users = cells(book_of(workbook), "ユーザー統計")
    shown = [row[4] for row in users if isinstance(row[4], datetime)]
    assert shown == [datetime(2026, 8, 31)] * 2


def test_people_who_have_left_are_not_in_the_workbook(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path
) -> None:
    tenant(host)
    for name in ("佐藤", "鈴木"):
        employee(host, "T1", name)
    host.execute("""UPDATE "MST_Employee" SET employment_status = 'RETIRED' WHERE full_name = '鈴木'""")

    run(shared_database, tmp_path)

    names = {row[1] for row in cells(book_of(files(tmp_path)[".xlsx"]), "ユーザー統計")}
    assert names & {"佐藤", "鈴木"} == {"佐藤"}


def test_a_tenant_without_people_or_statistics_gets_a_readable_report(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path
) -> None:
    tenant(host, "EMPTY", locale="en-US")
    statistics_rows.days(host, "EMPTY", MONTH, LAST_DAY)
    tenant(host, "NO-DATA", admin_email=None, contact_email=None)
    setting(host, "NO-DATA", "colour", "red")
    tenant(host, "DRY")

    assert run(shared_database, tmp_path / "dry", codes=["DRY"], dry_run=True).status == "completed"
    assert not (tmp_path / "dry").exists()
    assert letters(host) == []
    assert run(shared_database, tmp_path, codes=["EMPTY", "NO-DATA"]).status == "completed"

    english = next(path for path in tmp_path.rglob("*EMPTY*.pdf"))
    front = pages_of(english)[0].replace("\n", " ")
    assert "No employees and no accounts are registered." in front
    assert "Monthly Report" in front
    assert "None" not in front
    book = book_of(english.with_suffix(".xlsx"))
    assert book.sheetnames == ["Summary", "Users", "Usage", "KPIs", "Skills", "Definitions"]
    assert row_of(book, "Summary", "API error rate")[1:3] == ["—", "—"]
    assert row_of(book, "Summary", "Logins")[1:3] == [0, 0]
    assert any(row[0] == "No employees are registered." for row in cells(book, "Users"))

    nothing = next(path for path in tmp_path.rglob("*NO-DATA*.pdf"))
    assert "この月の統計データがありません。" in pages_of(nothing)[0].replace("\n", "")
    # An invalid colour gives a remark.
    notes = host.execute(
        "SELECT array_to_string(notes, ' ') FROM batch.tenant_outcome WHERE tenant_id = 'NO-DATA'"
    ).fetchone()
    assert notes is not None
    assert "batch.monthly_report.colour" in notes[0]
    assert "統計のない日が 31 日あります" in notes[0]
    assert "宛先がないため、レポートを誰にも知らせません" in notes[0]
    assert "batch.monthly_report.recipients に宛先を登録し" in notes[0]
    assert [address for address, *_ in letters(host)] == ["admin@5.example.jp"]

    setting(host, "NO-DATA", "recipients", "board@example.jp, ceo@example.jp")
    run(shared_database, tmp_path, codes=["NO-DATA"])
    assert [address for address, *_ in letters(host)] == [
        "admin@5.example.jp",
        "board@example.jp",
        "ceo@example.jp",
    ]
    told = host.execute(
        """
        SELECT array_to_string(notes, ' ') FROM batch.tenant_outcome
        WHERE tenant_id = 'NO-DATA' ORDER BY recorded_at DESC LIMIT 1
        """
    ).fetchone()
    assert told is not None
    assert "宛先" not in told[0]


def test_without_a_pdf_the_workbook_is_delivered_and_the_tenant_has_failed(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant(host, "T1")
    tenant(host, "T2")
    statistics_rows.days(host, "T1", MONTH, LAST_DAY, {"users_total": 1})

    def broken(report: Any) -> bytes:
        if report.tenant_code == "T1":
            raise ValueError("no paper")
        return b"%PDF"

    with monkeypatch.context() as patched:
        patched.setattr(monthly_report, "render_pdf", broken)
        result = run(shared_database, tmp_path)

    assert (result.status, [failed.code for failed in result.failed_tenants]) == ("partial", ["T1"])
    assert result.failed_tenants[0].reason.startswith("PDF を作れませんでした（no paper）。Excel は保存し")
    shown = """SELECT output_format FROM "HIS_ReportGeneration" WHERE tenant_id = 'T1' ORDER BY 1"""
    assert host.execute(shown).fetchall() == [("excel",)]
    assert "月次レポート（Excel）ができました" in letters(host)[0][2]
    assert len(letters(host)) == 2

    # Without the error, the PDF is added to the workbook, and no second letter is sent.
    assert run(shared_database, tmp_path, codes=["T1"]).status == "completed"
    assert host.execute(shown).fetchall() == [("excel",), ("pdf",)]
    assert len(letters(host)) == 2
    assert "月次レポート（Excel、PDF）ができました" in letters(host)[0][2]


def logins_of_letter_and_workbook(host: psycopg.Connection, store: Path) -> tuple[str, int]:
    """The figures in the only letter (text and HTML alike) and in the workbook."""
    ((_, _, body, rich),) = letters(host)
    said = re.search(r"ログイン数: ([\d,]+)", body)
    assert said is not None
    assert f"ログイン数: {said[1]}" in rich
    return said[1], row_of(book_of(files(store)[".xlsx"]), "月次サマリー", "ログイン数")[1]


def test_a_letter_that_waits_gets_the_figures_of_the_repeated_report(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path
) -> None:
    tenant(host, "T1")
    missing = date(2026, 10, 7)
    statistics_rows.days(host, "T1", MONTH, LAST_DAY, {"users_total": 1, "logins": 2}, without=[missing])
    run(shared_database, tmp_path)
    assert logins_of_letter_and_workbook(host, tmp_path) == ("60", 60)
    assert "データのない日" in letters(host)[0][2]

    # The day is filled.
    statistics_rows.days(host, "T1", missing, missing, {"users_total": 1, "logins": 1_000})
    run(shared_database, tmp_path)
    assert logins_of_letter_and_workbook(host, tmp_path) == ("1,060", 1_060)
    assert "データのない日" not in letters(host)[0][2]

    # Former recipients get no letter. The letters of other months and subjects stay.
    host.execute(
        """
        INSERT INTO batch.outbox
            (message_id, tenant_id, dedupe_key, channel, destination, subject, body, due_at, next_attempt_at, created_by)
        SELECT message_id || 'x', tenant_id, replace(dedupe_key, '2026-10', '2026-09'), channel, 'september', subject,
            body, due_at, next_attempt_at, created_by
        FROM batch.outbox
        """
    )
    setting(host, "T1", "recipients", "board@example.jp")
    run(shared_database, tmp_path)
    assert [address for address, *_ in letters(host)] == ["board@example.jp", "september"]


def test_a_wrong_recipient_is_named_in_part_only(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path
) -> None:
    tenant(host, "T1")
    statistics_rows.days(host, "T1", MONTH, LAST_DAY, {"users_total": 1, "logins": 2})
    setting(host, "T1", "recipients", "kanri@example.jp;hr@example.jp")
    run(shared_database, tmp_path)
    ((note,),) = [
        notes
        for (notes,) in host.execute(
            "SELECT notes FROM batch.tenant_outcome WHERE tenant_id = 'T1'"
        ).fetchall()
    ]
    assert "コンマで区切ります" in note
    assert "'k***@example.jp;h***@example.jp'" in note


def test_a_trailing_comma_leaves_the_list_of_recipients(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path
) -> None:
    tenant(host, "T1")
    statistics_rows.days(host, "T1", MONTH, LAST_DAY, {"users_total": 1, "logins": 2})
    setting(host, "T1", "recipients", "board@example.jp, ")
    run(shared_database, tmp_path)
    assert [address for address, *_ in letters(host)] == ["board@example.jp"]


def make_again(database: Database, host: psycopg.Connection, folder: Path, became: str) -> None:
    """The report is made with other figures, after its letter has become this (the SET of an UPDATE)."""
    tenant(host, "T1")
    statistics_rows.days(host, "T1", MONTH, LAST_DAY, {"users_total": 1, "logins": 2})
    run(database, folder)
    host.execute(f"UPDATE batch.outbox SET {became}")
    host.execute("UPDATE batch.statistics_day SET logins = 3")
    run(database, folder)


@pytest.mark.parametrize(
    "became",
    [
        "status = 'sent', finished_at = now()",
        "status = 'sending', lease_owner = 'x', lease_until = now()",
        "status = 'retry', attempts = 1, error_code = 'timeout'",
        "status = 'retry', attempts = 1, error_code = 'sender_lost'",
        "status = 'retry', attempts = 2, error_code = 'smtp_4'",  # the first attempt is not known
        "status = 'pending', decided_by = 'an operator'",  # after it had been in doubt
    ],
)
def test_a_letter_that_may_have_been_sent_is_not_sent_again(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path, became: str
) -> None:
    make_again(shared_database, host, tmp_path, became)
    assert logins_of_letter_and_workbook(host, tmp_path) == ("62", 93)


def test_a_letter_that_a_server_has_refused_is_replaced(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path
) -> None:
    make_again(shared_database, host, tmp_path, "status = 'retry', attempts = 1, error_code = 'smtp_4'")
    assert logins_of_letter_and_workbook(host, tmp_path) == ("93", 93)


def test_a_report_deleted_in_the_application_stays_deleted_when_made_again(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path
) -> None:
    def rows() -> dict[str, tuple[bool, int]]:
        """Of each format: whether a user has deleted the row, and the size of the file."""
        found = host.execute('SELECT output_format, is_deleted, file_size FROM "HIS_ReportGeneration"')
        return {name: (is_deleted, size) for name, is_deleted, size in found}

    tenant(host, "T1")
    statistics_rows.days(host, "T1", MONTH, LAST_DAY, {"users_total": 1, "logins": 2})
    run(shared_database, tmp_path)
    before = rows()
    host.execute("""UPDATE "HIS_ReportGeneration" SET is_deleted = true WHERE output_format = 'excel'""")
    host.execute("UPDATE batch.statistics_day SET logins = 1234567")

    run(shared_database, tmp_path)

    after, written = rows(), files(tmp_path)
    assert after == {
        "excel": (True, written[".xlsx"].stat().st_size),
        "pdf": (False, written[".pdf"].stat().st_size),
    }
    # Only a row with other values is updated.
    assert after["excel"][1] != before["excel"][1]


def test_missing_days_of_the_previous_month_are_named_in_every_document(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path
) -> None:
    tenant(host, "T1")
    statistics_rows.days(host, "T1", date(2026, 4, 1), date(2026, 9, 2), {"users_total": 1, "logins": 10})
    statistics_rows.days(host, "T1", MONTH, LAST_DAY, {"users_total": 1, "logins": 10})
    run(shared_database, tmp_path)

    notice = "前月にデータのない日が 28 日あります: 2026年9月3日"
    book, front = book_of(files(tmp_path)[".xlsx"]), pages_of(files(tmp_path)[".pdf"])[0]
    ((_, _, body, _),) = letters(host)
    assert notice in front.replace("\n", "")
    assert any(str(row[0]).startswith(notice) for row in cells(book, "月次サマリー")[:8])
    assert notice in body
    assert row_of(book, "月次サマリー", "ログイン数")[1:5] == [310, 20, "+290", "—"]
    assert "ログイン数 310 20 +290 — " in re.sub(r"\s+", " ", front)


def test_levels_of_fewer_than_five_people_are_hidden_in_every_document(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path
) -> None:
    tenant(host, "T1")
    levels = {
        "users_total": 9,
        "level_sum": 137,
        "rated_records": 30,
        "coverage_met": 61,
        "coverage_target": 80,
    }
    levels |= {"rated_people": 4, "required_people": 4}
    statistics_rows.days(host, "T1", date(2026, 9, 1), date(2026, 9, 30), levels)
    statistics_rows.days(host, "T1", MONTH, LAST_DAY, levels)
    run(shared_database, tmp_path)

    book, document = book_of(files(tmp_path)[".xlsx"]), pages_of(files(tmp_path)[".pdf"])
    ((_, _, body, rich),) = letters(host)
    hidden = "5名未満のため非表示"
    for name in ("平均スキルレベル", "必要スキル充足率"):
        assert row_of(book, "月次サマリー", name)[1:6] == [hidden, hidden, "—", "—", hidden]
        assert row_of(book, "スキル分析", name)[1] == hidden
        assert f"{name} {hidden} {hidden} — — {hidden} " in re.sub(r"\s+", " ", document[0])
        for text in (body, rich):
            assert f"{name}: {hidden}（増減 —）" in text
    months = [
        row for row in cells(book, "KPI分析") if row[0] in (datetime(2026, 9, 1), datetime(2026, 10, 1))
    ]
    assert [row[7:9] for row in months] == [[None, None]] * 2
    assert any(hidden in str(row[0]) for row in cells(book, "KPI分析"))
    # 4.57 and 76.3 %, were they shown.
    everything = "".join(str(cell.value) for sheet in book for row in sheet.iter_rows() for cell in row)
    everything += "".join(document) + body + rich
    assert not re.search(r"4\.5[67]|76\.[23]", everything)

    host.execute("UPDATE batch.statistics_day SET rated_people = 5, required_people = 5")
    run(shared_database, tmp_path)
    book = book_of(files(tmp_path)[".xlsx"])
    assert row_of(book, "月次サマリー", "平均スキルレベル")[1:6] == [4.57, 4.57, "±0", "—", 4.57]
    assert row_of(book, "月次サマリー", "必要スキル充足率")[1] == 76.3


@pytest.mark.parametrize(
    ("locale", "no_record", "usage", "summary"),
    [("ja-JP", "記録なし", "機能利用状況", "月次サマリー"), ("en-US", "No record", "Usage", "Summary")],
)
def test_figures_without_a_record_are_absent_from_workbook_pdf_and_letter(
    shared_database: Database,
    host: psycopg.Connection,
    tmp_path: Path,
    locale: str,
    no_record: str,
    usage: str,
    summary: str,
) -> None:
    tenant(host, "T1", locale=locale)
    absent = {**NO_RECORDS, "users_total": 9, "logins": 3, "unplaced_events": 2, "unplaced_accounts": 4}
    statistics_rows.days(host, "T1", MONTH, LAST_DAY, absent)
    result = run(shared_database, tmp_path)

    book, document = book_of(files(tmp_path)[".xlsx"]), pages_of(files(tmp_path)[".pdf"])
    ((_, _, body, _),) = letters(host)
    text = words("ja" if locale == "ja-JP" else "en")
    front = re.sub(r"\s+", "", document[0])
    said = [str(row[0]) for row in cells(book, summary)[:10]]
    for key in ("api_calls", "api_errors", "error_rate", "reports_generated", "skill_assessments", "storage"):
        name = text["figures"][key]
        assert row_of(book, summary, name)[1:3] == [no_record, no_record]
        assert f"{name}{no_record}{no_record}".replace(" ", "") in front
        assert any(name in notice for notice in said)
    assert f"{text['figures']['api_calls']}: {no_record}\n" in body
    for notice in ("62", "4"):
        rows = text["unplaced_events" if notice == "62" else "unplaced_accounts"].format(count=notice)
        assert any(rows in each for each in said)
        assert rows.replace(" ", "") in front
        assert rows in body

    # Neither chart nor 0: the table of the days has dashes, and the charts of the months have no such series.
    assert [len(charts_of(sheet)) for sheet in book.worksheets] == [1, 2, 0, 2, 2, 0]
    days_of_month = [row for row in cells(book, usage) if isinstance(row[0], datetime)]
    assert [row[1:7] for row in days_of_month] == [["—"] * 6] * 31
    titles = [text["charts"][key] for key in ("api", "error_rate")]
    assert [row[0] for row in cells(book, usage) if row[0] and no_record in str(row[0])] == [
        f"{title}: {no_record}" for title in titles
    ]
    assert [
        f"{title}{no_record}".replace(" ", "") in re.sub(r"\s+", "", document[1]) for title in titles
    ] == [
        True,
        True,
    ]
    (details,) = host.execute(
        "SELECT details -> 'apiCalls' FROM batch.tenant_outcome WHERE execution_id = %s",
        [result.execution_id],
    ).fetchall()
    assert details == (None,)

    before = {path: path.read_bytes() for path in files(tmp_path).values()}
    run(shared_database, tmp_path)
    assert {path: path.read_bytes() for path in files(tmp_path).values()} == before


def test_days_without_a_record_are_gaps_among_the_others(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path
) -> None:
    tenant(host, "T1")
    statistics_rows.days(host, "T1", MONTH, date(2026, 10, 12), {**NO_RECORDS, "users_total": 9})
    statistics_rows.days(
        host, "T1", date(2026, 10, 13), LAST_DAY, {"users_total": 9, "api_calls": 100, "api_errors": 5}
    )
    run(shared_database, tmp_path)

    book, document = book_of(files(tmp_path)[".xlsx"]), pages_of(files(tmp_path)[".pdf"])
    assert row_of(book, "月次サマリー", "API 呼び出し数")[1:3] == [1_900, 1_900]
    assert row_of(book, "機能利用状況", datetime(2026, 10, 12))[1:7] == [None] * 6  # type: ignore[arg-type]
    assert row_of(book, "機能利用状況", datetime(2026, 10, 13))[1:4] == [100, 5, 5]  # type: ignore[arg-type]
    assert len(charts_of(book["機能利用状況"])) == 2
    assert "API 呼び出し数（12 日）" in re.sub(r"\s+", " ", document[0])
    assert re.sub(r"\s+", "", document[1]).count("記録なし") == 24  # 12 days of two charts


def test_a_tenant_s_colour_and_fiscal_year_arrive_in_both_files(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path
) -> None:
    tenant(host, "T1")
    setting(host, "T1", "colour", "#006644")
    setting(host, "T1", "fiscal_start_month", "7")
    statistics_rows.days(host, "T1", date(2026, 4, 1), LAST_DAY, {"users_total": 1, "logins": 1})
    assert run(shared_database, tmp_path).status == "completed"

    book = book_of(files(tmp_path)[".xlsx"])
    for sheet in book.worksheets:
        assert sheet["A1"].fill.fgColor.rgb == "FF006644"
        assert sheet.sheet_properties.tabColor is not None
        assert sheet.sheet_properties.tabColor.rgb == "FF006644"
    document = pypdf.PdfReader(files(tmp_path)[".pdf"])
    page = document.pages[0].get_contents()
    assert page is not None
    # The band on top is filled with 0, 0x66 / 255, 0x44 / 255.
    assert re.search(rb"\b0 0\.4 0\.2666\d* scn", page.get_data()[:300])

    # July to October.
    assert row_of(book, "月次サマリー", "ログイン数")[5] == 123
    months = [row[0] for row in cells(book, "KPI分析") if isinstance(row[0], datetime)]
    assert months == [datetime(2026, number, 1) for number in (7, 8, 9, 10)]
    text = pages_of(files(tmp_path)[".pdf"])
    assert "2026年7月" in text[2]
    assert "2026年6月" not in text[2]


def _make_files(report: MonthlyReport) -> tuple[bytes, bytes]:
    stream = BytesIO()
    with temporary_folder() as folder:
        write_workbook(report, [Person("0001", "佐藤", None, True, MONTH)], stream, folder)
    return stream.getvalue(), render_pdf(report)


def _make_files_after(moment: float, report: MonthlyReport, results: Any) -> None:
    """In a separate process, after the clock has advanced: entries of a ZIP file have times of two seconds each."""
    wait_until(lambda: time.time() // 2 > moment // 2, "the clock goes on")
    results.put(_make_files(report))


@pytest.mark.slow("prints many documents")
def test_the_bytes_do_not_depend_on_clock_and_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    report = make_report(
        [], [], tenant_code="T1", tenant_name="T1", month=MONTH, language="ja", colour="#000000"
    )
    with monkeypatch.context() as tokyo:
        tokyo.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        workbook, document = _make_files(report)
    time.tzset()
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    processes = multiprocessing.get_context("spawn")
    results = processes.Queue()
    process = processes.Process(target=_make_files_after, args=(time.time(), report, results))
    process.start()
    assert results.get(timeout=LIMIT_SECONDS) == (workbook, document)
    process.join()

    # Both are dated on the day after the month.
    properties = openpyxl.load_workbook(BytesIO(workbook)).properties
    assert (properties.created, properties.modified) == (datetime(2026, 11, 1), datetime(2026, 11, 1))
    metadata = pypdf.PdfReader(BytesIO(document)).metadata
    assert metadata is not None
    assert metadata.creation_date == metadata.modification_date == datetime(2026, 11, 1, tzinfo=UTC)


def test_a_pdf_of_older_figures_is_not_linked_beside_a_new_workbook(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant(host, "T1")
    statistics_rows.days(host, "T1", MONTH, LAST_DAY, {"users_total": 1, "logins": 2})
    run(shared_database, tmp_path)
    host.execute("UPDATE batch.statistics_day SET logins = 3")

    def broken(_: Any) -> bytes:
        raise ValueError("no paper")

    with monkeypatch.context() as patched:
        patched.setattr(monthly_report, "render_pdf", broken)
        assert run(shared_database, tmp_path).status == "failed"
    linked = """
        SELECT output_format FROM "HIS_ReportGeneration"
        WHERE generation_status = 'COMPLETED' ORDER BY output_format
    """
    assert host.execute(linked).fetchall() == [("excel",)]
    assert row_of(book_of(files(tmp_path)[".xlsx"]), "月次サマリー", "ログイン数")[1] == 93

    # After that both say the changed figures, under the same rows, and the letter is not sent again.
    assert run(shared_database, tmp_path).status == "completed"
    assert "ログイン数 93 " in re.sub(r"\s+", " ", pages_of(files(tmp_path)[".pdf"])[0])
    assert host.execute(linked).fetchall() == [("excel",), ("pdf",)]
    assert host.execute("SELECT revision FROM batch.monthly_report").fetchall() == [(2,)]
    assert len(letters(host)) == 1
    assert_recorded_as_it_lies(host, tmp_path)


def test_an_outcome_is_no_success_before_its_files_are_written(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path
) -> None:
    tenant(host)
    statistics_rows.days(host, "T1", MONTH, LAST_DAY)
    a_run = opened(shared_database)

    def die(_: str) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        work_on(shared_database, a_run, WatchedStore(tmp_path, die), "T1")

    assert closed(shared_database, a_run).status == "failed"


def test_the_next_run_deletes_what_a_killed_writer_has_left(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path
) -> None:
    tenant(host, "T1")
    employee(host, "T1", "佐藤")
    statistics_rows.days(host, "T1", MONTH, LAST_DAY, {"users_total": 1})
    folder = tmp_path / "reports" / tenant_folder("T1")
    last_month, now_written = folder / "2026-09/.月次.xlsx.1f.part", folder / "2026-10/.月次.xlsx.2e.part"
    for unfinished in (last_month, now_written):
        unfinished.parent.mkdir(parents=True)
        unfinished.touch()
    os.utime(last_month, (0, 0))

    assert run(shared_database, tmp_path).status == "completed"

    assert not last_month.exists()
    assert now_written.exists()


def test_runs_and_tries_at_once_take_turns_and_leave_one_whole_report(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path
) -> None:
    tenant(host, "T1")
    employee(host, "T1", "佐藤")
    statistics_rows.days(host, "T1", MONTH, LAST_DAY, {"users_total": 1})
    first, second = opened(shared_database), opened(shared_database)
    plain = ObjectStore(tmp_path)

    with ThreadPoolExecutor(2) as pool:
        others: list[Any] = []

        # Between the first run's workbook and its row: the same run's next try, whose worker was believed dead, and another run of
        # the month, which finds one person more.
        def others_come(key: str) -> None:
            if key.endswith(".xlsx") and not others:
                employee(host, "T1", "鈴木")
                others.append(pool.submit(work_on, shared_database, first, plain, "T1"))
                wait_for_blocked_statement(shared_database)
                others.append(pool.submit(work_on, shared_database, second, plain, "T1"))

        report = work_on(shared_database, first, WatchedStore(tmp_path, others_come), "T1")
        assert report.failures == []
        retry, other = (each.result() for each in others)

    # The first run has deleted the people. Instead of an empty list, its next attempt fails with this reason and is retried.
    assert [(failure.unit_id, failure.recoverable) for failure in retry.failures] == [("T1", True)]
    assert other.failures == []
    assert_recorded_as_it_lies(host, tmp_path)
    assert work_on(shared_database, first, plain, "T1").failures == []
    assert [closed(shared_database, each).status for each in (first, second)] == ["completed"] * 2
    people = {row[1] for row in cells(book_of(files(tmp_path)[".xlsx"]), "ユーザー統計")}
    assert {"佐藤", "鈴木"} <= people
    assert len(letters(host)) == 1
    assert sorted(files(tmp_path)) == [".pdf", ".xlsx"]
    assert_recorded_as_it_lies(host, tmp_path)


def test_a_tenants_files_hold_nothing_of_another_tenant(
    shared_database: Database, host: psycopg.Connection, tmp_path: Path
) -> None:
    """Alike in everything that could lead from one to the other: the codes of people, the folders' readable parts."""
    root = tmp_path / "store"
    ids = ("../../etc", "__/__/etc", "T1")
    names = ("<img src=x>=1+1", "@channel & Co.", '=HYPERLINK("x")')
    for number, (tenant_id, name) in enumerate(zip(ids, names, strict=True)):
        secret = f"秘密{number}"
        tenant(
            host,
            tenant_id,
            tenant_code=f"code{number}",
            tenant_name=name,
            admin_email=f"{number}@a.example.jp",
        )
        host_rows.insert(
            host,
            "MST_Department",
            department_code=f"D{number}",
            department_name=f"{secret}部",
            tenant_id=tenant_id,
            updated_at=host_rows.UPDATED_AT,
        )
        host_rows.insert(
            host,
            "MST_Employee",
            id=f"e{number}",
            employee_code=f"000{number}",
            full_name=f"{secret}さん",
            department_id=f"D{number}",
            tenant_id=tenant_id,
            updated_at=host_rows.UPDATED_AT,
        )
        statistics_rows.days(host, tenant_id, MONTH, LAST_DAY, {"users_total": 1, "logins": 10**number})
        statistics_rows.group(host, tenant_id, LAST_DAY, "department", f"{secret}課", 6)

    assert run(shared_database, root).status == "completed"

    assert [path for path in tmp_path.iterdir() if path != root] == []
    folders = sorted((root / "reports").iterdir())
    assert len(folders) == 3
    written = letters(host)
    for number, name in enumerate(names):
        (workbook,) = root.rglob(f"*code{number}*.xlsx")
        (pdf,) = root.rglob(f"*code{number}*.pdf")
        assert workbook.parent == pdf.parent
        assert workbook.parent.parent in folders
        book = book_of(workbook)
        every = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
        (letter,) = [letter for letter in written if letter[0] == f"{number}@a.example.jp"]
        everything = "".join(str(cell.value) for cell in every) + "".join(pages_of(pdf)) + "".join(letter)
        assert {cell.data_type for cell in every} <= {"s", "n", "d"}
        assert set(re.findall(r"秘密\d", everything)) == {f"秘密{number}"}
        assert f"{name}　2026年10月" in {cell.value for cell in every}
        assert name in re.sub(r"\s+", " ", pages_of(pdf)[0])
        assert f"{31 * 10**number:,}" in letter[2]
        # In the mail's HTML a name is text.
        assert "<img" not in letter[3]
