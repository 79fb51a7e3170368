"""The night as bars and the 90 days of each batch, what was resolved, and what waits for a person."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from skill_batch.board.airflow_api import AirflowApi
from skill_batch.board.night import Night, load_night
from include.skillreport.core.catalog import (
    NOTIFICATION_RETRY,
    TENANT_BILLING,
    TENANT_USAGE,
)
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.run_spec import BatchSpec
from tests.board.conftest import Board
from tests.conftest import Database
from tests.worlds.night_rows import run

pytestmark = pytest.mark.tenants("A", "B", tenant_code="CODE-{}", tenant_name="会社 {}")

FAILED = {"A": ("NO_PRICE", "プラン GOLD の価格がありません。料金表に追加してください。")}


@pytest.fixture
def reader(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect("batch_board") as connection:
        yield connection


def at(hour: float, *, days_ago: int = 0) -> datetime:
    """A time of the night of 2026-11-20 (Asia/Tokyo), or of an earlier one."""
    return datetime(2026, 11, 20, tzinfo=JAPAN) + timedelta(hours=hour, days=-days_ago)


def started(host: psycopg.Connection, spec: BatchSpec, moment: datetime, **values: Any) -> str:
    return run(host, spec, hours_ago=(datetime.now(UTC) - moment) / timedelta(hours=1), **values)


def night(reader: psycopg.Connection, spec: BatchSpec, now: datetime) -> Night:
    return load_night(reader, [spec], {}, {}, [], now)


def test_starts_without_a_run_are_missed_or_still_due(
    host: psycopg.Connection, reader: psycopg.Connection
) -> None:
    started(host, NOTIFICATION_RETRY, at(2.5), succeeded=("A",))
    started(host, NOTIFICATION_RETRY, at(4.5), failed=FAILED, succeeded=("B",))
    # For one tenant, by hand: no substitute of the scheduled run.
    started(host, NOTIFICATION_RETRY, at(5.5), succeeded=("A",), parameters=Jsonb({"tenants": ["CODE-A"]}))
    (found,) = night(reader, NOTIFICATION_RETRY, at(7)).batches
    assert sorted((bar.starts_at.astimezone(JAPAN).strftime("%H:%M"), bar.state) for bar in found.bars) == [
        ("02:30", "completed"),
        ("03:30", "missed"),
        ("04:30", "partial"),
        ("05:30", "completed"),
        ("05:30", "missed"),
        ("06:30", "missed"),
        ("07:30", "due"),
        ("08:30", "due"),
        ("09:30", "due"),
    ]
    first = min(found.bars, key=lambda bar: bar.left)
    assert first.left == pytest.approx(100 * 1.5 / 9, abs=0.01)
    assert first.width == pytest.approx(100 * 10 / (9 * 60), abs=0.01)


def test_a_batch_that_never_ran_has_missed_nothing(reader: psycopg.Connection) -> None:
    (found,) = night(reader, TENANT_USAGE, at(8)).batches
    assert found.bars == []
    assert found.good_percent is None


@pytest.mark.parametrize(("now", "first"), [(at(0.5), at(1, days_ago=1)), (at(1), at(1)), (at(23), at(1))])
def test_the_night_is_the_newest_that_has_begun(
    reader: psycopg.Connection, now: datetime, first: datetime
) -> None:
    assert night(reader, TENANT_USAGE, now).begins_at == first


def test_a_batch_without_a_start_tonight_has_no_bar_and_no_limit(
    host: psycopg.Connection, reader: psycopg.Connection
) -> None:
    started(host, TENANT_BILLING, at(2, days_ago=19), succeeded=("A",))
    (found,) = night(reader, TENANT_BILLING, at(8)).batches
    assert (found.bars, found.limits) == ([], [])


def test_a_day_has_its_worst_run_and_no_dry_run(host: psycopg.Connection, reader: psycopg.Connection) -> None:
    started(host, TENANT_USAGE, at(1.5), succeeded=("A",))
    started(host, TENANT_USAGE, at(1.5, days_ago=1), failed=FAILED, succeeded=("B",), run_id="partial")
    started(host, TENANT_USAGE, at(6, days_ago=1), succeeded=("A",))
    started(host, TENANT_USAGE, at(1.5, days_ago=2), failed=FAILED, dry_run=True)
    # 0:30 in Japan is the day before in UTC.
    started(host, TENANT_USAGE, at(0.5, days_ago=4), failed=FAILED, run_id="failed")
    (found,) = night(reader, TENANT_USAGE, at(8)).batches
    days = [day.row and (day.on.day, day.row["status"], day.row["run_id"]) for day in found.days[-6:]]
    assert [day and day[:2] for day in days] == [
        None,
        (16, "failed"),
        None,
        None,
        (19, "partial"),
        (20, "completed"),
    ]
    assert [day[2] for day in days if day and day[1] != "completed"] == ["failed", "partial"]
    assert f"{found.good_percent:.1f}" == "33.3"


def alert_about(host: psycopg.Connection, spec: BatchSpec, run_id: str) -> None:
    host.execute(
        "INSERT INTO batch.operator_alert (alert_key, channel, severity, message) VALUES (%s, 'slack', 'HIGH', '{}')",
        [f"failure:{spec.dag_id}:{run_id}:{spec.id}:0"],
    )


def test_a_resolved_failure_stays_as_a_line_for_a_day(board: Board, host: psycopg.Connection) -> None:
    run(host, TENANT_USAGE, hours_ago=5, failed=FAILED, run_id="again")
    alert_about(host, TENANT_USAGE, "again")
    assert "解消" not in board.get("/").text
    run(host, TENANT_USAGE, hours_ago=1, succeeded=("A",), triggered_by="yamada")
    # Its task was cleared, so the run itself has succeeded.
    run(host, TENANT_BILLING, hours_ago=3, succeeded=("A",), run_id="cleared")
    alert_about(host, TENANT_BILLING, "cleared")
    text = board.get("/").text
    cards = re.findall(r"<article.*?</article>", text, re.DOTALL)
    assert [each for each in cards if "件が失敗" in each] == []
    assert "に yamada の実行で解消" in text
    assert text.count('<p class="gone">') == 2


def test_held_directories_and_deletions_count_as_decisions(board: Board, host: psycopg.Connection) -> None:
    assert "<b>0</b><span>承認・判断を待つもの" in board.get("/").text
    for provider, status in (("slack", "held"), ("teams", "held"), ("email", "applied")):
        host.execute(
            """
            INSERT INTO batch.sync_plan (
                tenant_id, provider, execution_id, status, plan_hash, world_hash, entries, problems, counts
            )
            VALUES ('A', %s, 'E', %s, 'p', 'w', '[]', '[]', '{}')
            """,
            [provider, status],
        )
    text = board.get("/").text
    assert "保留中の名簿連携 2 件" in text
    assert "<b>2</b><span>承認・判断を待つもの" in text


@pytest.mark.parametrize(
    ("is_paused", "has_scheduler", "reason"),
    [
        (True, True, "一時停止中のため開始していないバッチ（1）"),
        (False, False, "スケジューラーが止まっています"),
        (False, True, "Airflow が実行を作っていません"),
    ],
)
def test_a_missed_start_says_the_true_reason(
    board: Board,
    host: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_paused: bool,
    has_scheduler: bool,
    reason: str,
) -> None:
    # The test's API server has no scheduler beside it, and its DAGs are not paused.
    monkeypatch.setattr(AirflowApi, "has_scheduler", lambda _: has_scheduler)
    board.api("PATCH", f"/dags/{TENANT_USAGE.dag_id}", json={"is_paused": is_paused})
    run(host, TENANT_USAGE, hours_ago=72, succeeded=("A",))
    text = board.get("/").text
    (card,) = [
        each for each in text.split("<article")[1:] if "開始していな" in each or "に開始していません" in each
    ]
    assert reason in card
    # Somebody has paused it, so it is no failure.
    assert ("<b>0</b><span>失敗したバッチ" in text) is is_paused
    board.api("PATCH", f"/dags/{TENANT_USAGE.dag_id}", json={"is_paused": False})
