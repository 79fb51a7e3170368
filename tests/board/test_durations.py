"""所要時間: the batches of a period by duration, and the way to the slowest tasks and tenants of a run."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from skill_batch.board.pages.durations import DaySpan, load_durations
from include.skillreport.core.catalog import (
    DATA_BACKUP,
    TENANT_BILLING,
    TENANT_USAGE,
)
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.operation_catalog import OPERATE_INVOICES
from tests.board.conftest import Board
from tests.conftest import Database
from tests.worlds.billing_rows import insert
from tests.worlds.night_rows import outcome, run

pytestmark = pytest.mark.tenants("A", "B", tenant_code="CODE-{}")

TODAY = datetime.now(UTC).astimezone(JAPAN).date()
WEEK = DaySpan(TODAY - timedelta(days=6), TODAY)


@pytest.fixture
def nights(host: psycopg.Connection) -> None:
    """A fast batch, a slow one that was faster before, and what does not count."""
    for day in range(1, 4):
        run(host, TENANT_USAGE, hours_ago=24 * day, minutes=5, succeeded=("A", "B"))
    run(host, DATA_BACKUP, hours_ago=30, minutes=40, succeeded=("A",), run_id="fast")
    run(
        host,
        DATA_BACKUP,
        hours_ago=50,
        minutes=80,
        failed={"A": ("X", "だめ")},
        succeeded=("B",),
        run_id="slow",
    )
    run(host, DATA_BACKUP, hours_ago=24 * 10, minutes=20, succeeded=("A",))
    run(host, OPERATE_INVOICES, hours_ago=26, minutes=1, succeeded=("A",))
    run(host, TENANT_BILLING, hours_ago=20, minutes=500, dry_run=True, succeeded=("A",))
    run(host, TENANT_BILLING, hours_ago=19, minutes=None, pending=("A",))


def batches(text: str) -> list[str]:
    return re.findall(r'<th><a href="/skill-batch-board/batches/([^"]+)"', text)


@pytest.mark.usefixtures("nights")
def test_a_period_is_ranked_with_durations_rows_and_failures(database: Database) -> None:
    with database.connect("batch_board") as reader:
        rows = load_durations(
            reader, WEEK, "total", ["BATCH-002", "BATCH-018-01", "BATCH-018-02", DATA_BACKUP.id]
        )

    backup, usage = rows
    assert (backup["batch_id"], usage["batch_id"]) == (DATA_BACKUP.id, TENANT_USAGE.id)
    assert (backup["runs"], backup["seconds"], backup["longest_run_id"]) == (2, 120 * 60, "slow")
    assert (backup["failed_runs"], backup["failed_tenants"]) == (1, 1)
    # The week before: twenty minutes.
    assert (backup["average_seconds"], backup["earlier_seconds"]) == (60 * 60, 20 * 60)
    assert (usage["runs"], usage["records"], usage["earlier_seconds"]) == (3, 300, None)


@pytest.mark.usefixtures("nights")
def test_the_page_sorts_takes_a_period_and_leads_to_the_slowest_run(board: Board) -> None:
    text = board.get("/durations").text
    assert batches(text)[:2] == [DATA_BACKUP.id, TENANT_USAGE.id]
    assert f"/skill-batch-board/runs/{DATA_BACKUP.dag_id}/slow" in text
    assert "3.0" in text
    assert OPERATE_INVOICES.id in batches(text)
    assert batches(board.get("/durations?sort=runs").text)[0] == TENANT_USAGE.id
    assert batches(board.get("/durations?sort=failures").text)[0] == DATA_BACKUP.id
    old = TODAY - timedelta(days=400)
    assert batches(board.get(f"/durations?date_from={old}&date_to={old}").text) == []
    assert board.get(f"/durations?date_from={TODAY}&date_to={old}").status_code == 400
    assert board.get("/durations?date_from=x").status_code == 400
    assert batches(board.get(f"/durations?date_from={date.min}&date_to={date.max}").text)[0] == DATA_BACKUP.id
    assert board.get("/durations?sort=x").status_code == 400


def test_a_runs_page_names_its_slowest_tasks_and_their_tenants(
    board: Board, host: psycopg.Connection
) -> None:
    execution_id = run(host, TENANT_USAGE, run_id="slow")
    for tenant_id, shard in (("A", 0), ("B", 1)):
        outcome(host, execution_id, tenant_id, "success", shard=shard)
    for task_id, index, seconds in (
        ("aggregate_usage", 0, 3),
        ("aggregate_usage", 1, 90),
        ("open_run", -1, 20),
    ):
        insert(
            host,
            "task_metric",
            execution_id=execution_id,
            task_id=task_id,
            map_index=index,
            wall_seconds=seconds,
            cpu_seconds=1,
            peak_memory_bytes=1,
        )
    text = board.get(f"/runs/{TENANT_USAGE.dag_id}/slow").text
    slowest = text[text.index("時間のかかったタスク") :]
    found = [
        slowest.index(each)
        for each in ("aggregate_usage[1]", "CODE-B", "open_run<", "aggregate_usage[0]", "CODE-A")
    ]
    assert found == sorted(found)


def test_who_may_not_read_a_batch_does_not_see_its_durations(
    database: Database, host: psycopg.Connection
) -> None:
    run(host, TENANT_USAGE, succeeded=("A",))
    with database.connect("batch_board") as reader:
        assert load_durations(reader, WEEK, "total", [TENANT_BILLING.id]) == []
