"""テナント: search with signs, and the page of one tenant from real rows. Nothing of another tenant is on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from skill_batch.board.pages.tenant import USAGE_DAYS, load_tenant
from skill_batch.board.pages.tenants import Search, load_tenants
from include.skillreport.core.catalog import (
    DATA_BACKUP,
    EXTERNAL_SYNC,
    TENANT_BILLING,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from include.skillreport.core.execution.business_date import JAPAN
from tests.board.conftest import Board
from tests.conftest import Database
from tests.worlds.billing_rows import insert
from tests.worlds.board_messages import close_channel, message
from tests.worlds.host_rows import share_codes, tenant
from tests.worlds.night_rows import outcome, run
from tests.worlds.tenant_rows import everything_of

pytestmark = pytest.mark.tenants("A", "B", tenant_code="CODE-{}", tenant_name="会社 {}")

NOW = datetime.now(UTC)
TODAY = NOW.astimezone(JAPAN).date()
FOREIGN = "FOREIGN-MARKER"


@pytest.fixture
def reader(database: Database) -> Iterator[psycopg.Connection]:
    """The same database with the rights of the board."""
    with database.connect("batch_board") as connection:
        yield connection


def test_the_search_finds_parts_of_codes_ids_and_names(board: Board, host: psycopg.Connection) -> None:
    tenant(host, "id-100%", tenant_code="X1", tenant_name="カブシキガイシャ")
    for number in range(55):
        tenant(host, f"many-{number:02}", tenant_code=f"M{number:02}", tenant_name="多数の会社")
    for text, code in (("code-a", "CODE-A"), ("ID-100%", "X1"), ("シキガ", "X1")):
        page = board.get("/tenants", params={"q": text}).text
        assert f">{code}</bdi></a>" in page
        assert ">CODE-B</bdi></a>" not in page
    # A wildcard of LIKE is a character.
    assert "当てはまるテナントはありません" in board.get("/tenants", params={"q": "CODE_A"}).text
    page = board.get("/tenants", params={"q": "多数"}).text
    assert "55 件" in page
    assert ">M50</bdi></a>" not in page
    following = re.search(r'href="/skill-batch-board(/tenants\?[^"]*page=2)"', page)
    assert following is not None
    second = board.get(following[1].replace("&amp;", "&")).text
    assert [f">M{number:02}</bdi></a>" in second for number in (49, 50, 54)] == [False, True, True]
    assert "page=1" in second
    assert "page=3" not in second
    assert "58 件" in board.get("/tenants").text
    assert "当てはまるテナントはありません" in board.get("/tenants", params={"page": 3}).text
    assert board.get("/tenants", params={"page": 0}).status_code == 400
    assert board.get("/tenants", params={"q": "x" * 201}).status_code == 400


def test_the_search_takes_letters_of_any_width_and_case(board: Board, host: psycopg.Connection) -> None:
    tenant(host, "wide", tenant_code="ＡＢ-１２", tenant_name="カブシキガイシャ　やまだ")
    for text in ("ab-12", "ＡＢ", "b-１", "ｶﾌﾞｼｷ", "シキガ", "やまだ", "ガイシャ や"):
        page = board.get("/tenants", params={"q": text}).text
        assert ">ＡＢ-１２</bdi></a>" in page, text
        assert ">CODE-A</bdi></a>" not in page, text


def test_the_list_is_filtered_by_problem_and_sorted(
    board: Board, host: psycopg.Connection, reader: psycopg.Connection
) -> None:
    for tenant_id in ("C", "D", "E"):
        tenant(host, tenant_id, tenant_code=f"CODE-{tenant_id}", tenant_name=f"会社 {tenant_id}")
    run(host, TENANT_BILLING, failed={"D": ("X", "だめ")}, succeeded=("A", "B"), pending=("E",))
    _incident(host, "C", "warning")
    _incident(host, "B", "critical")
    host.execute(
        "INSERT INTO batch.message_stop (tenant_id, still_sent, reason, entered_by) VALUES ('A', '{}', '移行中', 'sato')"
    )

    def shown(**values: Any) -> list[str]:
        return [
            row["tenant_id"] for row in load_tenants(reader, Search(**values), lambda _: True, TODAY).tenants
        ]

    assert shown() == ["D", "E", "B", "C", "A"]
    assert shown(sort="code") == ["A", "B", "C", "D", "E"]
    assert shown(problem="failed") == ["D", "E"]
    assert shown(problem="incident") == ["B", "C"]
    assert shown(problem="stopped") == ["A"]
    assert shown(problem="message") == []
    assert shown(problem="any", text="code-b") == ["B"]
    page = board.get("/tenants", params={"problem": "failed", "sort": "name"}).text
    assert ">CODE-D</bdi></a>" in page
    assert ">CODE-A</bdi></a>" not in page
    assert board.get("/tenants", params={"problem": "x"}).status_code == 400


def _incident(host: psycopg.Connection, tenant_id: str, severity: str) -> None:
    insert(
        host,
        "incident",
        tenant_id=tenant_id,
        check_name="error_rate",
        opened_at=NOW,
        severity=severity,
        evidence="5 %",
        breached_at=NOW,
        opened_by="e",
    )


def test_the_search_shows_signs_of_the_newest_run_that_had_the_tenant(
    board: Board, host: psycopg.Connection, reader: psycopg.Connection
) -> None:
    run(host, TENANT_USAGE, hours_ago=30, failed={"A": ("X", "昨日の失敗")}, succeeded=("B",))
    run(host, TENANT_USAGE, hours_ago=20, failed={"B": ("X", "だめ")}, succeeded=("A",))
    run(host, TENANT_BILLING, hours_ago=10, failed={"A": ("X", "だめ")}, run_id="bad")
    run(host, TENANT_BILLING, hours_ago=9, succeeded=("B",))
    run(host, DATA_BACKUP, hours_ago=8, failed={"A": ("X", "だめ")}, dry_run=True)
    everything_of(host, "A", "mark")
    host.execute("UPDATE batch.outbox SET status = 'dead', finished_at = now()")
    found = load_tenants(reader, Search(sort="code"), lambda _: True, TODAY)
    (of_a, of_b) = found.tenants
    assert [failure["batch_id"] for failure in of_a["failed"]] == ["BATCH-018-02"]
    assert [failure["batch_id"] for failure in of_b["failed"]] == ["BATCH-018-01"]
    assert (of_a["critical"], of_a["warning"], of_a["undelivered"]) == (1, 0, 1)
    assert (of_b["critical"], of_b["undelivered"]) == (0, 0)
    hidden = load_tenants(reader, Search(sort="code"), lambda dag_id: dag_id == TENANT_USAGE.dag_id, TODAY)
    assert [row["has_signs"] for row in hidden.tenants] == [False, True]
    page = board.get("/tenants").text
    assert "/skill-batch-board/runs/batch_018_02_tenant_billing/bad" in page
    assert "/skill-batch-board/messages?tenant_id=A" in page


def test_a_failure_shows_until_a_newer_run_has_the_tenant(
    host: psycopg.Connection, reader: psycopg.Connection
) -> None:
    run(host, TENANT_BILLING, hours_ago=30, failed={"A": ("X", "だめ")})
    for hours_ago in range(10, 20):
        run(host, TENANT_BILLING, hours_ago=hours_ago, succeeded=("B",))
    (of_a, _) = load_tenants(reader, Search(), lambda _: True, TODAY).tenants
    assert [failure["batch_id"] for failure in of_a["failed"]] == ["BATCH-018-02"]
    run(host, TENANT_BILLING, hours_ago=9, succeeded=("A",))
    (of_a, _) = load_tenants(reader, Search(), lambda _: True, TODAY).tenants
    assert not of_a["has_signs"]


def test_a_tenants_page_has_every_section_and_nothing_of_another_tenant(
    board: Board, host: psycopg.Connection
) -> None:
    everything_of(host, "A", "own-marker")
    everything_of(host, "B", FOREIGN)
    run(
        host,
        TENANT_BILLING,
        failed={"A": ("NO_PRICE", "価格がありません"), "B": ("X", FOREIGN)},
        run_id="bad",
    )
    execution_id = run(host, DATA_BACKUP, succeeded=("A", "B"))
    _verified_backup(host, "backup-1", execution_id)
    text = board.get("/tenants/A").text
    for shown in (
        "会社 A",
        "価格がありません",
        "NO_PRICE",
        "/skill-batch-board/runs/batch_018_02_tenant_billing/bad",
        "保留の理由 own-marker",
        "/skill-batch-board/invoices/inv-own-marker",
        "11,000 JPY",
        "停止 own-marker",
        "error_rate own-marker",
        "継続中",
        "template-own-marker",
        "o***@customer.example",
        "2026-10",
        "大量の解除 own-marker",
        "deactivate: 12",
        "slack own-marker",
        "limits.own-marker",
        "このテナントの書き出しを含みます",
        "9.0 GiB",
    ):
        assert shown in text, shown
    for run_of in ("e", "own-marker"):
        assert f'href="/skill-batch-board/executions/{run_of}"' in text
    assert text.index("error_rate own-marker") < text.index("response_time own-marker")
    for secret in (FOREIGN, "CODE-B", "会社 B", "本文の秘密", "人の秘密", "値の秘密", "own-marker@customer"):
        assert secret not in text, secret


def test_sections_of_batches_that_the_reader_may_not_see_are_not_read(
    host: psycopg.Connection, reader: psycopg.Connection
) -> None:
    everything_of(host, "A", "mark")
    run(host, TENANT_BILLING, failed={"A": ("X", "だめ")})
    run(host, TENANT_USAGE, succeeded=("A",))
    page = load_tenant(reader, "A", lambda dag_id: dag_id == TENANT_USAGE.dag_id, NOW)
    assert page is not None
    assert set(page.sections) == {"tenant_usage_warnings"}
    assert [each.spec for each in page.outcomes] == [TENANT_USAGE]
    page = load_tenant(reader, "A", lambda dag_id: dag_id == TENANT_BILLING.dag_id, NOW)
    assert page is not None
    assert page.charts == ()


def test_the_usage_charts_have_gaps_and_the_limits_of_contract_and_plan(
    host: psycopg.Connection, reader: psycopg.Connection
) -> None:
    host.execute(
        """UPDATE "MST_Tenant" SET max_users = 50, subscription_plan = 'basic' WHERE tenant_id = 'A'"""
    )
    for days, api_calls in ((3, 100), (2, None), (1, 50)):
        insert(
            host,
            "usage_day",
            tenant_id="A",
            usage_date=date(2026, 6, 20) - timedelta(days=days),
            registered_users=9,
            active_users=7,
            total_logins=3,
            api_calls=api_calls,
            storage_bytes=2**30,
            reports_generated=None,
            skill_assessments=0,
            notifications_sent=0,
            closed_by="e",
        )
    page = load_tenant(reader, "A", lambda _: True, datetime(2026, 6, 20, 3, tzinfo=UTC))
    assert page is not None
    users, storage, calls, reports = page.charts
    assert len(users.points) == USAGE_DAYS
    assert users.points[-1] == ("2026-06-19", 7)
    assert users.limit == 50
    assert storage.limit == 10
    assert calls.limit == 100_000
    assert [value for _, value in calls.points[-4:]] == [None, 100, None, 150]
    assert [value for _, value in reports.points[-2:]] == [None, None]


def test_a_backup_says_only_what_its_run_recorded(board: Board, host: psycopg.Connection) -> None:
    assert "検証済みのバックアップはありません" in board.get("/tenants/A").text
    execution_id = run(host, DATA_BACKUP, succeeded=("B",))
    _verified_backup(host, "backup-1", execution_id)
    assert "このテナントを対象にしていません" in board.get("/tenants/A").text
    outcome(host, execution_id, "A", "failed", error_code="X", error_message="ディスクがいっぱいです")
    assert "このテナントの書き出しはありません" in board.get("/tenants/A").text
    host.execute("UPDATE batch.backup SET execution_id = NULL")
    assert "書き出しの有無は分かりません" in board.get("/tenants/A").text


def test_a_tenant_that_a_filter_leaves_out_is_not_called_deleted(
    board: Board, host: psycopg.Connection
) -> None:
    tenant(host, "T")
    everything_of(host, "T", "mark")
    for page in ("/tenants?q=T&problem=stopped", "/tenants?q=T&page=9"):
        assert "もうないテナント" not in board.get(page).text


def test_a_tenant_that_is_not_active_has_the_buttons_that_work(
    board: Board, host: psycopg.Connection
) -> None:
    tenant(host, "S", status="SUSPENDED")
    page = board.get("/tenants/S").text
    assert "/operations/operate_notifications/stop" in page
    assert "/dry_run" not in page
    host.execute(
        "INSERT INTO batch.message_stop (tenant_id, still_sent, reason, entered_by) VALUES ('S', '{}', '移行', 'sato')"
    )
    assert "/operations/operate_notifications/resume" in board.get("/tenants/S").text


def test_deleted_and_vanished_tenants_still_have_a_page(board: Board, host: psycopg.Connection) -> None:
    everything_of(host, "A", "mark")
    host.execute("""UPDATE "MST_Tenant" SET is_deleted = true WHERE tenant_id = 'A'""")
    assert "アプリで削除されたテナントです" in board.get("/tenants/A").text
    everything_of(host, "gone", "vanished-mark")
    page = board.get("/tenants/gone").text
    assert "アプリにはもうないテナントです" in page
    assert "vanished-mark" in page
    assert "ドライラン" not in page
    assert 'href="/skill-batch-board/tenants/gone"' in board.get("/tenants", params={"q": "gone"}).text


def test_a_tenant_that_only_an_outcome_knows_has_a_page(board: Board, host: psycopg.Connection) -> None:
    run(host, EXTERNAL_SYNC, failed={"old": ("X", "最後の失敗")})
    assert "最後の失敗" in board.get("/tenants/old").text


def test_a_tenant_whose_id_has_slashes_has_its_pages(board: Board, host: psycopg.Connection) -> None:
    tenant(host, "東京/本店/1", tenant_code="SLASH", tenant_name="会社 /")
    (address,) = set(
        re.findall(r'href="/skill-batch-board(/tenants/[^"]+)"', board.get("/tenants?q=SLASH").text)
    )
    page = board.get(address)
    assert (page.status_code, "会社 /" in page.text) == (200, True)
    contract = board.get(f"{address}/contract")
    assert (contract.status_code, "会社 /" in contract.text) == (200, True)
    assert board.get("/tenants/東京/本店").status_code == 404


def test_an_unknown_tenant_is_404(board: Board, host: psycopg.Connection) -> None:
    insert(
        host,
        "backup",
        backup_id="b",
        business_date=TODAY,
        status="running",
        location="x",
    )
    assert board.get("/tenants/nobody").status_code == 404
    assert board.get("/tenants/%27%3B--").status_code == 404


def test_only_who_may_start_a_dag_gets_its_button(board: Board, host: psycopg.Connection) -> None:
    run(host, TENANT_MONITORING, succeeded=("A",))
    insert(host, "reminder_stop", stop_id="s", tenant_id="A", reason="交渉中", entered_by="sato")
    buttons = (
        "/skill-batch-board/operations/restore_backup/compare?tenants=CODE-A",
        "/skill-batch-board/operations/operate_invoices/stop_reminders?tenants=CODE-A&amp;every_month=on",
        "/skill-batch-board/operations/operate_invoices/allow_reminders?tenants=CODE-A&amp;every_month=on",
        "/skill-batch-board/operations/batch_018_03_tenant_monitoring/dry_run?tenants=CODE-A",
        # A batch that has not worked on the tenant yet.
        "/skill-batch-board/operations/batch_004_monthly_report/dry_run?tenants=CODE-A",
    )
    allowed, viewed = (
        board.as_role("user").get("/tenants/A").text,
        board.as_role("viewer").get("/tenants/A").text,
    )
    for button in buttons:
        assert button in allowed
        assert button not in viewed
    assert "交渉中" in viewed


@pytest.mark.own_database
def test_a_button_names_the_id_if_several_tenants_share_the_code(
    board: Board, host: psycopg.Connection
) -> None:
    share_codes(host)
    tenant(host, "twin", tenant_code="CODE-A", tenant_name="双子")
    assert "/compare?tenants=twin" in board.get("/tenants/twin").text
    # The id is the code of two others, so that a form would choose those.
    for other in ("O1", "O2"):
        tenant(host, other, tenant_code="twin", tenant_name=other)
    assert "同じコードのテナントがある" in board.get("/tenants/twin").text


def test_names_and_errors_on_a_tenants_page_are_text(board: Board, host: psycopg.Connection) -> None:
    evil = "<script>alert(1)</script>"
    tenant(host, "X", tenant_code='"><b>', tenant_name=evil)
    everything_of(host, "X", evil)
    run(host, TENANT_BILLING, failed={"X": (evil, evil)}, run_id='"><i>')
    for page in (board.get("/tenants/X").text, board.get("/tenants", params={"q": evil}).text):
        assert "<script>alert" not in page
        assert '"><b>' not in page
        assert '"><i>' not in page


def _verified_backup(host: psycopg.Connection, backup_id: str, execution_id: str) -> None:
    insert(
        host,
        "backup",
        backup_id=backup_id,
        execution_id=execution_id,
        business_date=TODAY,
        status="verified",
        location="x",
        dump_bytes=1,
        total_bytes=1,
        manifest_sha256="x",
        verified_at=NOW,
    )


def leaving(host: psycopg.Connection, stage: str, **values: Any) -> None:
    """The only attempt of A."""
    host.execute("DELETE FROM batch.offboarding")
    row = {
        "offboarding_id": "O1",
        "tenant_id": "A",
        "tenant_code": "CODE-A",
        "tenant_name": "会社 A",
        "stage": stage,
        "open_items": "{}",
        "reason": "契約終了",
        "begun_by": "退会 太郎",
        "begun_at": NOW,
    }
    if stage not in ("begun", "cancelled"):
        row |= {"exported_by": "書出 次郎", "exported_at": NOW, "waits_until": TODAY + timedelta(days=3)}
    insert(host, "offboarding", **row | values)


def buttons(page: str) -> list[str]:
    """The operations of the section."""
    section = page[page.index('aria-labelledby="leaving"') :]
    return re.findall(r"/operations/offboard_tenant/(\w+)", section[: section.index("</section>")])


@pytest.fixture
def may_delete(host: psycopg.Connection) -> Iterator[None]:
    """The installation may delete rows of the application."""
    was = host.execute("SELECT with_deletion FROM batch.deployment").fetchone()
    host.execute("UPDATE batch.deployment SET with_deletion = true")
    yield
    host.execute("UPDATE batch.deployment SET with_deletion = %s", was)


@pytest.mark.usefixtures("may_delete")
def test_nobody_begins_where_nothing_may_be_deleted(board: Board, host: psycopg.Connection) -> None:
    host.execute("UPDATE \"MST_Tenant\" SET status = 'DELETED' WHERE tenant_id = 'A'")
    page = board.get("/tenants/A").text
    assert buttons(page) == ["begin"]
    assert "アプリで削除済みでも、行は残っています" in page
    host.execute("UPDATE batch.deployment SET with_deletion = false")
    page = board.get("/tenants/A").text
    assert buttons(page) == []
    assert "権限は、データベースの管理者が付けます" in page
    assert "python -m" not in page


@pytest.mark.usefixtures("may_delete")
def test_the_page_says_how_far_a_tenant_has_left(board: Board, host: psycopg.Connection) -> None:
    assert 'aria-labelledby="leaving"' not in board.get("/tenants/A").text
    host.execute("UPDATE \"MST_Tenant\" SET status = 'INACTIVE' WHERE tenant_id = 'A'")
    assert buttons(board.get("/tenants/A").text) == ["begin"]
    assert 'aria-labelledby="leaving"' not in board.as_role("viewer").get("/tenants/A").text
    frozen = {
        "asked_by": "依頼 三郎",
        "asked_at": NOW,
        "asked_in": "e",
        "approved_by": "承認 花子",
        "approved_at": NOW,
    } | {
        "frozen_at": NOW,
        "deleting_since": NOW,
    }
    for stage, values, words, operations in (
        ("begun", {}, "お客様の公開鍵をもらい、書き出します。", ["export", "cancel"]),
        ("exported", {}, "ファイルをお客様に渡し、", ["export", "cancel"]),
        ("exported", {"waits_until": TODAY}, "待機が終わりました。", ["export", "ask", "cancel"]),
        ("asked", {"asked_in": "e"}, "「要対応項目」で答えます。", ["ask", "cancel"]),
        ("frozen", frozen, "削除が終わるのを待ちます。", []),
        ("frozen", frozen | {"problem": "行が増えました"}, "行が増えました", ["ask"]),
        ("deleted", frozen | {"deleted_at": NOW}, "承認 花子", ["supplement"]),
        ("cancelled", {"cancelled_by": "x", "cancelled_at": NOW}, "取りやめ", ["begin"]),
    ):
        leaving(host, stage, **values)
        page = board.get("/tenants/A").text
        assert words in page, stage
        assert "退会 太郎" in page
        assert buttons(page) == operations, stage
    assert 'aria-labelledby="leaving"' not in board.get("/tenants/B").text


def test_the_beginning_says_what_is_open_of_the_tenant(board: Board, host: psycopg.Connection) -> None:
    message(host, "waits", status="pending")
    dialog = board.get("/operations/offboard_tenant/begin", params={"tenants": "CODE-A"}).text
    boxes = {
        name: re.sub("<[^>]+>", "", rest.split("<small")[0])
        for name, rest in re.findall(r'type="checkbox" name="(\w+)"[^>]*>(.*)', dialog)
    }
    assert "このテナントに 1 件" in boxes["waiting_messages"]
    assert "このテナントにはありません" in boxes["open_invoices"]
    assert "このテナント" not in boxes["dry_run"]


def test_a_strip_says_what_is_wrong_and_failed_batches_come_first(
    board: Board, host: psycopg.Connection
) -> None:
    run(host, TENANT_USAGE, succeeded=("A",))
    assert 'class="strip"' not in board.get("/tenants/A").text
    run(host, EXTERNAL_SYNC, failed={"A": ("CREDENTIALS_REFUSED", "トークンが使えません。")}, run_id="failed")
    close_channel(host, "A", "slack", "トークンが正しくありません")
    text = board.get("/tenants/A").text
    strip = text[text.index('class="strip"') : text.index('aria-labelledby="outcomes"')]
    wanted = (
        "外部システム連携バッチ が失敗",
        "トークンが使えません。",
        "Slack を停止中",
        "/failed/clear",
        "operate_notifications/reopen",
    )
    assert [each for each in wanted if each not in strip] == []
    shown, folded = text[text.index('aria-labelledby="outcomes"') :].split("失敗のないバッチ", 1)
    assert EXTERNAL_SYNC.id in shown
    assert TENANT_USAGE.id in folded
    # A reader without the rights has no button.
    viewer = board.as_role("viewer").get("/tenants/A").text
    assert "トークンが使えません。" in viewer
    assert "/failed/clear" not in viewer


def test_the_plan_is_the_contracts_of_today(board: Board, host: psycopg.Connection) -> None:
    insert(
        host,
        "plan_change",
        tenant_id="A",
        effective_from=TODAY - timedelta(days=3),
        plan="ENTERPRISE",
        recorded_by="suzuki",
    )
    insert(
        host,
        "plan_change",
        tenant_id="A",
        effective_from=TODAY + timedelta(days=3),
        plan="STANDARD",
        recorded_by="suzuki",
    )
    head = board.get("/tenants/A").text.partition("<h1>")[2].partition("</h1>")[0]
    assert "ENTERPRISE" in head
    assert "STANDARD" not in head
    (row,) = re.findall(
        r"<tr>.*?</tr>", board.get("/tenants?q=CODE-A").text.partition("<tbody>")[2], re.DOTALL
    )
    assert "<bdi>ENTERPRISE</bdi>" in row


def test_the_usage_leads_to_the_money(board: Board, host: psycopg.Connection) -> None:
    everything_of(host, "A", "marker")
    month = TODAY.replace(day=1)
    days = {"start": month, "end": (month + timedelta(days=31)).replace(day=1) - timedelta(days=1)}
    host.execute("UPDATE batch.invoice SET period_start = %(start)s, period_end = %(end)s", days)
    usage = board.get("/tenants/A").text.split('aria-labelledby="usage"')[1].split("</section>")[0]
    for address in ("invoices/inv-marker", "invoices/inv-marker#calculation"):
        assert f'href="/skill-batch-board/{address}"' in usage
    # Nothing about money without the right of invoices.
    page = load_tenant(host, "A", lambda dag_id: dag_id == TENANT_USAGE.dag_id, NOW)
    assert page is not None
    assert page.billed_usage == []


def test_finished_rows_are_folded(board: Board, host: psycopg.Connection) -> None:
    for number in range(3):
        message(host, f"sent {number}", "sent")
    message(host, "lost")
    section = board.get("/tenants/A").text.split('aria-labelledby="messages"')[1].split("</section>")[0]
    shown, folded = section.split("<summary>済んだ通知 3 件</summary>")
    assert [shown.count("/messages/"), folded.count("/messages/sent")] == [1, 3]
    assert '<span class="badge bad">' in shown
