"""The page of one batch: charts, runs, the newest run and its slowest tasks, from real rows."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.types.json import Jsonb

from skill_batch.board.charts import Series, line_chart
from skill_batch.board.pages.batches import PAGE_RUNS, load_batch
from skill_batch.board.rendering import told
from include.skillreport.core.catalog import (
    DATA_BACKUP,
    LOG_CLEANUP,
    NOTIFICATION_RETRY,
    STATISTICS,
    TENANT_BILLING,
    TENANT_USAGE,
)
from include.skillreport.core.operation_catalog import (
    OPERATE_INVOICES,
    OPERATE_NOTIFICATIONS,
    RESTORE_BACKUP,
    RUN_SPECS,
)
from include.skillreport.core.version import VERSION
from tests.board.conftest import Board
from tests.conftest import Database
from tests.worlds.billing_rows import insert
from tests.worlds.board_messages import message
from tests.worlds.host_rows import share_codes, tenant
from tests.worlds.night_rows import outcome, run

pytestmark = pytest.mark.tenants("A", "B", "C", tenant_code="CODE-{}", tenant_name="会社 {}")


SCHEDULES = {
    TENANT_USAGE: "毎日 1:30",
    NOTIFICATION_RETRY: "毎時 30 分",
    LOG_CLEANUP: "毎週日曜 3:00",
    TENANT_BILLING: "毎月 1 日 2:00",
}


def _task(host: psycopg.Connection, execution_id: str, map_index: int, seconds: float) -> None:
    insert(
        host,
        "task_metric",
        execution_id=execution_id,
        task_id="aggregate_usage",
        map_index=map_index,
        wall_seconds=seconds,
        cpu_seconds=1,
        peak_memory_bytes=2**20,
    )


def test_pages_show_the_version_of_the_code_and_of_the_run(board: Board, host: psycopg.Connection) -> None:
    run(host, STATISTICS, run_id="r1", version="0.9.1")
    page = board.get(f"/runs/{STATISTICS.dag_id}/r1").text
    assert f"skill-report-batches {VERSION}" in page
    assert "0.9.1" in page


def test_the_runs_of_an_operation_say_who_did_what_and_why(board: Board, host: psycopg.Connection) -> None:
    form = Jsonb(
        {
            "operation": "discard",
            "reason": "<b>取引先の依頼</b> taro@example.jp",
            "addresses": ["taro@example.jp"],
        }
    )
    run(host, OPERATE_NOTIFICATIONS, run_id="r1", triggered_by="yakan", parameters=form)
    for path in (f"/batches/{OPERATE_NOTIFICATIONS.id}", f"/runs/{OPERATE_NOTIFICATIONS.dag_id}/r1"):
        page = board.get(path).text
        for text in ("選んだ通知の破棄", "yakan", "&lt;b&gt;取引先の依頼&lt;/b&gt; ***"):
            assert text in page, path
        assert "taro@example.jp" not in page


def test_a_paused_batch_promises_no_start(board: Board, host: psycopg.Connection) -> None:
    message(host, "waits", status="retry")
    paths = (f"/batches/{NOTIFICATION_RETRY.id}", "/messages")
    for is_paused in (True, False):
        board.api("PATCH", f"/dags/{NOTIFICATION_RETRY.dag_id}", json={"is_paused": is_paused})
        assert [">一時停止中</span>" in board.get(path).text for path in paths] == [is_paused] * 2


def test_every_batch_and_operation_has_a_page_and_nothing_else(board: Board) -> None:
    for spec in RUN_SPECS.values():
        page = board.get(f"/batches/{spec.id}")
        assert page.status_code == 200
        assert spec.name in page.text
        assert "まだ実行されていません" in page.text
    for wrong in ("BATCH-999", "batch-001", "'; --", "%2e%2e"):
        assert board.get(f"/batches/{wrong}").status_code in (400, 404), wrong
    operation = board.get(f"/batches/{OPERATE_INVOICES.id}").text
    assert "手動の操作（予定なし）" in operation
    assert "/skill-batch-board/batches/BATCH-018-02" in operation
    billing = board.get(f"/batches/{TENANT_BILLING.id}").text
    assert all(shown in billing for shown in ("毎月 1 日 2:00", "3:00:00", "CRITICAL", "朝まで待てるか"))
    # A dry run: only for who may trigger the DAG, and with tenants only if the batch has some.
    button = "/skill-batch-board/operations/batch_018_02_tenant_billing/dry_run"
    assert button in billing
    assert button not in board.as_role("viewer").get(f"/batches/{TENANT_BILLING.id}").text
    assert 'name="tenants"' in board.get("/operations/batch_018_02_tenant_billing/dry_run").text
    for spec in (DATA_BACKUP, LOG_CLEANUP):
        assert 'name="tenants"' not in board.get(f"/operations/{spec.dag_id}/dry_run").text


def test_runs_are_paged_and_charted_with_failures_and_usual_duration(
    board: Board, host: psycopg.Connection, database: Database
) -> None:
    for night in range(PAGE_RUNS + 1):
        run(host, TENANT_USAGE, hours_ago=24 * night + 30, minutes=10, succeeded=("A",))
    run(host, TENANT_USAGE, hours_ago=6, minutes=12, failed={"A": ("X", "だめ")}, run_id="bad")
    run(host, TENANT_USAGE, hours_ago=3, minutes=1, dry_run=True, succeeded=("A",))
    run(host, STATISTICS, hours_ago=2, minutes=99, succeeded=("A",), run_id="another-batch")
    with database.connect("batch_board") as reader:
        page = load_batch(reader, TENANT_USAGE, 1, datetime.now(UTC))
    seconds, records, memory, failed = page.charts
    assert len(seconds.points) == PAGE_RUNS + 2
    assert [value for _, value in seconds.points[-2:]] == [600, 720]
    assert seconds.limit == 600
    assert seconds.marked == {PAGE_RUNS + 1}
    assert [label.endswith("✕") for label, _ in seconds.points[-2:]] == [False, True]
    assert [value for _, value in records.points[-2:]] == [100, None]
    assert memory.points[-2][1] == 200
    assert [value for _, value in failed.points[-2:]] == [0, 1]
    first, second = board.get("/batches/BATCH-018-01").text, board.get("/batches/BATCH-018-01?page=2").text
    assert "28 件" in first
    assert "another-batch" not in first + second
    assert first.count("<td>20") == PAGE_RUNS
    assert second.count("<td>20") == 3
    assert "（ドライラン）" in first
    assert "page=2" in first
    assert "このページに実行はありません" in board.get("/batches/BATCH-018-01?page=99").text
    for wrong in ("0", "-1", "x", "99999999999999999999"):
        assert board.get(f"/batches/BATCH-018-01?page={wrong}").status_code == 400


def test_the_newest_run_has_its_failures_notes_slowest_tasks_and_readings(
    board: Board, host: psycopg.Connection
) -> None:
    evil = "<script>alert(1)</script>"
    run(host, TENANT_USAGE, hours_ago=30, failed={"C": ("OLD", "古い失敗")})
    execution_id = run(
        host, TENANT_USAGE, hours_ago=6, failed={"A": ("X", evil)}, run_id="newest", succeeded=()
    )
    for tenant_id, shard in (("B", 1), ("C", 2)):
        outcome(host, execution_id, tenant_id, "success", notes=["締め日が変わりました"], shard=shard)
    for index, seconds in ((-1, 500), (0, 5), (1, 90), (2, 7)):
        _task(host, execution_id, index, seconds)
    insert(
        host,
        "reconciliation",
        execution_id=execution_id,
        source="SYS_SystemLog",
        placement="person",
        is_event=True,
        row_count=12345,
    )
    run(host, TENANT_USAGE, hours_ago=1, minutes=None, pending=("A",))
    text = board.get("/batches/BATCH-018-01").text
    newest = text[text.index('id="newest"') : text.index('id="runs"')]
    for shown in (
        "/skill-batch-board/runs/batch_018_01_tenant_usage/newest",
        "成功 2",
        "失敗 1",
        f"<strong>2 件</strong> {told('締め日が変わりました')}",
        "12,345",
        "&lt;script&gt;",
    ):
        assert shown in newest, shown
    assert "古い失敗" not in newest
    assert "<script>alert" not in text
    # Instance 1 is the slowest, and worked on B. The step of the whole run (-1) is no tenant's.
    slowest = newest[newest.index("時間のかかったタスク") :]
    assert slowest.index("aggregate_usage[1]") < slowest.index("aggregate_usage[2]")
    assert "aggregate_usage[-1]" not in slowest
    assert slowest.index("CODE-B") < slowest.index("CODE-C") < slowest.index("CODE-A")


def test_a_run_says_how_many_tenants_with_notes_it_has(
    board: Board, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skill_batch.board.pages.run._MOST_NOTES", 1)
    execution_id = run(host, TENANT_USAGE, run_id="noted")
    for tenant_id in ("B", "C"):
        outcome(host, execution_id, tenant_id, "success", notes=["締め日が変わりました"])
    text = board.get("/runs/batch_018_01_tenant_usage/noted").text
    assert "確認が必要なテナント（2 件）" in text
    assert "2 件のうち 1 件を表示しています。" in text


def test_a_shard_names_its_tenants_unless_of_an_earlier_version(
    host: psycopg.Connection, database: Database
) -> None:
    execution_id = run(host, TENANT_USAGE)
    for tenant_id, shard in (("A", 0), ("B", 0), ("C", 1)):
        outcome(host, execution_id, tenant_id, "success", shard=shard)
    for index, seconds in ((0, 9), (1, 3), (2, 1)):
        _task(host, execution_id, index, seconds)
    with database.connect("batch_board") as reader:
        newest = load_batch(reader, TENANT_USAGE, 1, datetime.now(UTC)).newest
    assert newest is not None
    assert [[each["tenant_code"] for each in slow.tenants] for slow in newest.slowest] == [
        ["CODE-A", "CODE-B"],
        ["CODE-C"],
        [],
    ]


@pytest.mark.parametrize(("operation", "is_offered"), [("compare", True), ("merge", False)])
def test_a_comparison_with_a_backup_offers_to_merge_it(
    board: Board, host: psycopg.Connection, operation: str, is_offered: bool
) -> None:
    parameters = Jsonb({"operation": operation, "backup": "BKP_20261101_001"})
    execution_id = run(host, RESTORE_BACKUP, run_id="compared", parameters=parameters)
    outcome(host, execution_id, "A", "success", notes=["1 行", "異なる列: full_name"])
    page = board.get(f"/runs/{RESTORE_BACKUP.dag_id}/compared").text
    assert f"<li>{told('異なる列: full_name')}</li>" in page
    button = f"operations/{RESTORE_BACKUP.dag_id}/merge?tenants=CODE-A&amp;backup=BKP_20261101_001"
    assert (button in page) == is_offered
    query = {"tenants": ["CODE-A", "CODE-B"], "backup": "BKP_20261101_001"}
    dialog = board.get(f"/operations/{RESTORE_BACKUP.dag_id}/merge", params=query).text
    assert (f"<li>{told('異なる列: full_name')}</li>" in dialog) == is_offered
    assert dialog.count("このバックアップとの比較の記録がありません。") == (1 if is_offered else 2)


@pytest.mark.own_database
def test_a_merge_after_a_comparison_selects_only_the_tenant_that_was_compared(
    board: Board, host: psycopg.Connection
) -> None:
    share_codes(host)
    tenant(host, "twin", tenant_code="CODE-A")
    parameters = Jsonb({"operation": "compare", "backup": "BKP_20261101_001"})
    execution_id = run(host, RESTORE_BACKUP, run_id="compared", parameters=parameters)
    for part in ("rows", "files"):
        outcome(host, execution_id, "A", "success", part=part)
    path = f"/runs/{RESTORE_BACKUP.dag_id}/compared"
    assert f"{RESTORE_BACKUP.dag_id}/merge?tenants=A&amp;backup=" in board.get(path).text
    # The id is the code of two others, so that a form would choose those.
    for other in ("O1", "O2"):
        tenant(host, other, tenant_code="A")
    assert "/merge?" not in board.get(path).text


def test_operators_read_words_and_no_names_of_programs(board: Board, host: psycopg.Connection) -> None:
    run(
        host,
        RESTORE_BACKUP,
        run_id="r1",
        parameters=Jsonb({"operation": "compare"}),
        failed={"A": ("ListingError", "x")},
    )
    message(host, "goal")
    host.execute("UPDATE batch.outbox SET template_key = 'goal_due'")
    shown = {
        f"/runs/{RESTORE_BACKUP.dag_id}/r1": ("テナントの復元と比較", "1 件中 1 件が終了"),
        f"/batches/{RESTORE_BACKUP.id}": ("テナントの復元と比較",),
        "/messages": ("目標の期限",),
        "/messages/goal": ("目標の期限",),
        **{f"/batches/{spec.id}": (words,) for spec, words in SCHEDULES.items()},
    }
    for path, words in shown.items():
        text = board.get(path).text
        assert [each for each in words if each not in text] == [], path
        assert re.findall("<code>compare|goal_due|ListingError|[0-9]+ [0-9*]+ [*] [*]", text) == [], path


@pytest.mark.parametrize(
    ("most", "limit", "ticks"),
    [
        (83, None, ["0", "20", "40", "60", "80", "100"]),
        (83, 120.0, ["0", "50", "100", "150"]),
        (0.3, None, ["0", "0.10", "0.20", "0.30"]),
        (0, None, ["0", "1"]),
        (1_200_000, None, ["0", "500,000", "1,000,000", "1,500,000"]),
    ],
)
def test_the_axis_of_a_chart_has_round_values_above_all_points(
    most: float, limit: float | None, ticks: list[str]
) -> None:
    points = [(f"2026-11-{day:02} 02:00", most * day / 9) for day in range(1, 10)]
    chart = line_chart(Series("x", points, limit=limit))
    assert re.findall("<text[^>]*>([^<]+)</text>", chart) == ticks
    assert re.findall("<span>([^<]+)</span>", chart) == ["2026-11-01", "2026-11-05", "2026-11-09"]


def test_times_of_failures_say_how_long_ago(board: Board, host: psycopg.Connection) -> None:
    run(host, TENANT_USAGE, hours_ago=3.2, failed={"A": ("X", "x")}, run_id="r1")
    assert "（3 時間前）" in board.get("/").text
    assert "（3 時間前）" in board.get(f"/runs/{TENANT_USAGE.dag_id}/r1").text
