"""The alerts about time, called as the triggerer does: silent about runs that ended in time or failed, patient with cleared ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from skill_batch.notifiers import deadline_alert
from skill_batch.notifiers.deadline_alert import LateRunAlert, SlowRunAlert
from skill_batch.notifiers.run_links import NIGHT, help_url
from local_stack.stand_ins import StandIns
from tests.airflow_installation import email_connection, slack_connection
from tests.conftest import Database
from tests.virtual_time import START, VirtualTime

DAG_ID, RUN_ID = "batch_018_01_tenant_usage", "scheduled__2026-11-25T16:30:00+00:00"
LIMIT_SECONDS = 3_600


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch, shared_database: Database) -> Iterator[StandIns]:
    monkeypatch.setenv(
        "AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", shared_database.airflow_connection("batch_platform")
    )
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow.example/batch")
    with StandIns() as stand_ins:
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_SLACK", slack_connection(stand_ins.slack_base_url))
        yield stand_ins


@pytest.fixture(autouse=True)
def time(monkeypatch: pytest.MonkeyPatch) -> VirtualTime:
    """The triggerer's clock."""
    virtual = VirtualTime()
    virtual.replace_clock(monkeypatch, deadline_alert)
    return virtual


def context(queued_ago: float, allowed: float, **run: Any) -> Any:
    """The context that Airflow passes to the callback of a run that was queued this many seconds ago."""
    queued_at = START - timedelta(seconds=queued_ago)
    return {
        "dag_run": {
            "dag_id": DAG_ID,
            "dag_run_id": RUN_ID,
            "state": "running",
            "queued_at": queued_at.isoformat(),
            "start_date": queued_at.isoformat(),
            "run_after": queued_at.isoformat(),
            "end_date": None,
            **run,
        },
        "deadline": {"id": "1", "deadline_time": queued_at + timedelta(seconds=allowed)},
    }


def late(about: Any) -> None:
    notifier = LateRunAlert("BATCH-018-01", "テナント使用量集計バッチ", "HIGH", LIMIT_SECONDS, context=about)
    asyncio.run(_awaited(notifier))


def late_operation(about: Any) -> None:
    notifier = LateRunAlert(
        "operate_invoices", "請求書の操作", "CRITICAL", LIMIT_SECONDS, context=about, is_operation=True
    )
    asyncio.run(_awaited(notifier))


def slow(about: Any) -> None:
    asyncio.run(_awaited(SlowRunAlert("BATCH-018-01", "テナント使用量集計バッチ", context=about)))


async def _awaited(notifier: Any) -> None:
    assert await notifier is None


def test_a_late_run_is_reported_once_with_times_actions_and_links(services: StandIns) -> None:
    for _ in range(2):
        late(context(LIMIT_SECONDS + 5, LIMIT_SECONDS))
    (message,) = services.messages
    lines = message.text.splitlines()
    assert lines[:2] == [
        "バッチ制限時間超過: BATCH-018-01 テナント使用量集計バッチ",
        "経過時間: 1時間00分05秒（制限時間 1時間00分00秒）",
    ]
    assert any(line.startswith("対処:") for line in lines)
    run = "scheduled__2026-11-25T16%3A30%3A00%2B00%3A00"
    assert lines[-4:-1] == [
        f"ボードで見る: http://airflow.example/batch/skill-batch-board/runs/{DAG_ID}/{run}",
        f"実行を開く: http://airflow.example/batch/dags/{DAG_ID}/runs/{run}",
        f"手順を開く: {help_url(NIGHT) or f'http://airflow.example/batch/dags/{DAG_ID}'}",
    ]


@pytest.mark.parametrize("call", [late, late_operation, slow])
def test_the_person_who_triggered_a_dry_run_is_mailed(
    services: StandIns, monkeypatch: pytest.MonkeyPatch, call: Callable[[Any], None]
) -> None:
    people = {"taro": "taro@example.jp"}
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_EMAIL", email_connection(services, people=people))
    run = {"triggering_user_name": "taro", "conf": {"dry_run": True}}
    call(context(LIMIT_SECONDS + 5, LIMIT_SECONDS / 2, **run))
    (message,) = services.messages
    assert (message.channel, message.destination) == ("email", "taro@example.jp")
    assert message.subject.startswith("[MEDIUM] ")
    assert "重要度: MEDIUM\n実行した人: taro（ドライラン）\n" in message.text


def test_a_late_operation_alerts_the_person_and_a_run_the_operators(services: StandIns) -> None:
    run = {"triggering_user_name": "taro", "conf": {"dry_run": False}}
    late_operation(context(LIMIT_SECONDS + 5, LIMIT_SECONDS, **run))
    late(context(LIMIT_SECONDS + 5, LIMIT_SECONDS, **run, dag_run_id="another"))
    operation, batch = (message.text for message in services.messages)
    assert "重要度: MEDIUM\n実行した人: taro（操作）\n" in operation
    assert "重要度: HIGH\n" in batch
    assert "taro" not in batch


def test_a_run_that_failed_or_ended_in_time_is_not_reported(services: StandIns) -> None:
    late(context(LIMIT_SECONDS + 5, LIMIT_SECONDS, state="failed"))
    in_time = (START - timedelta(seconds=60)).isoformat()
    late(context(LIMIT_SECONDS + 5, LIMIT_SECONDS, state="success", end_date=in_time))
    assert services.messages == []


def test_a_run_that_ended_too_late_is_reported(services: StandIns) -> None:
    late(context(LIMIT_SECONDS + 5, LIMIT_SECONDS, state="success", end_date=START.isoformat()))
    assert len(services.messages) == 1


@pytest.mark.parametrize("still_runs", [True, False])
def test_a_cleared_run_has_its_time_again(
    services: StandIns, time: VirtualTime, monkeypatch: pytest.MonkeyPatch, still_runs: bool
) -> None:
    def count(*, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        assert (dag_id, run_ids, states) == (DAG_ID, [RUN_ID], ["queued", "running"])
        return int(still_runs)

    # There is no triggerer around it, which would ask Airflow.
    monkeypatch.setattr(RuntimeTaskInstance, "get_dr_count", count)
    about = context(LIMIT_SECONDS + 5, LIMIT_SECONDS)
    about["dag_run"]["queued_at"] = (START - timedelta(seconds=LIMIT_SECONDS - 1)).isoformat()
    late(about)
    # The second that it has left, and one more.
    assert time.pauses == [2]
    assert [message.text.splitlines()[0] for message in services.messages] == (
        ["バッチ制限時間超過: BATCH-018-01 テナント使用量集計バッチ"] if still_runs else []
    )


def test_a_run_that_waits_for_another_one_is_not_slow(services: StandIns) -> None:
    slow(context(120, 90, state="queued", start_date=None))
    assert services.messages == []


def test_a_slow_run_is_reported_with_the_execution_logs_average(
    services: StandIns, shared_database: Database
) -> None:
    with shared_database.connect("batch_platform") as platform:
        platform.execute(
            """
            INSERT INTO batch.performance_metric (
                execution_id, batch_id, run_id, business_date, execution_seconds, cpu_seconds, peak_memory_bytes, records_processed,
                is_comparable
            )
            SELECT 'e' || n, 'BATCH-018-01', 'r' || n, '2026-11-01', 60, 1, 1, 1, true FROM generate_series(1, 5) AS n
            """
        )
    slow(context(120, 90))
    (message,) = services.messages
    assert message.text.startswith("バッチ性能低下: BATCH-018-01")
    assert "平均: 1分00秒（直近 5 回の成功した実行）、比率: 2.00 倍（アラートは 1.5 倍超）" in message.text


def test_without_the_execution_log_the_deadline_itself_gives_the_average(
    services: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB")
    slow(context(120, 90))
    (message,) = services.messages
    assert "平均: 1分00秒、比率: 2.00 倍" in message.text
