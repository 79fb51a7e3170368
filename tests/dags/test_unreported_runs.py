"""A failed run of which no task could send an alert is reported by Airflow's callback of the DAG, and an ordinary failure only once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from urllib.parse import unquote

import psutil
import psycopg
import pytest

from local_stack.stand_ins import StandIns
from tests.conftest import Database, wait_for_blocked_statement
from tests.dags.running_airflow import (
    CONF,
    NO_SCHEDULE,
    TRIES,
    USAGE,
    Api,
    StartAirflow,
    end_waiting_statements,
    kill_tasks_of,
)
from tests.waiting import wait_until
from tests.worlds import host_rows

pytestmark = [pytest.mark.long, pytest.mark.exclusive]

# The DAG processor's log line for each callback of a DAG.
CALLED_BACK = "Executing on_failure dag callback"


@pytest.fixture
def api(start_airflow: StartAirflow, database: Database) -> Iterator[Api]:
    """A whole Airflow, and one tenant."""
    with database.connect() as host:
        host_rows.tenant(host, "T001")
        host_rows.report(host, "T001", datetime(2026, 10, 31, 3, 0))
    with start_airflow(NO_SCHEDULE) as api:
        api = replace(api, dag_id=USAGE)
        api.unpause()
        yield api


@contextmanager
def blocked_last_task(api: Api, database: Database, *, status: str) -> Iterator[str]:
    """A run whose last task waits for a lock on the run's row, which no other task needs; gives the run's id.

    ``status``: that of the row when it is locked. close_run waits for a running one, announce for a completed one.
    """
    run_id = api.trigger(**CONF)
    with psycopg.connect(database.dsn) as blocker:

        def locked() -> bool:
            row = "SELECT FROM batch.execution_log WHERE run_id = %s AND status = %s FOR NO KEY UPDATE"
            return blocker.execute(row, [run_id, status]).rowcount > 0

        wait_until(locked, f"the run's row is {status}")
        yield run_id


def kill_last_task(
    api: Api, database: Database, kill: Callable[[Database], None], *, status: str = "running"
) -> str:
    """Kill close_run at each of its tries, or announce with ``status="completed"``; returns the id of the failed run."""
    with blocked_last_task(api, database, status=status) as run_id:
        for _ in range(TRIES):
            wait_for_blocked_statement(database)
            kill(database)
            end_waiting_statements(database)
        assert api.wait(run_id) == "failed"
    return run_id


def callbacks(api: Api) -> int:
    """How many callbacks of DAGs were executed."""
    return api.logged().count(CALLED_BACK)


def tenants_and_advice(alert: list[str]) -> list[str]:
    """The lines of an alert from the heading of its tenants to the advice."""
    (end,) = (place for place, line in enumerate(alert) if line.startswith("対処:"))
    return alert[alert.index("失敗したテナント:") : end + 1]


def kill_workers_of(database: Database) -> None:
    """``kill -9`` the tasks and their supervisors, as a lost machine."""
    with database.connect() as connection:
        ports = {
            port
            for (port,) in connection.execute(
                "SELECT client_port FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        }
    tasks = {
        psutil.Process(connection.pid)
        for connection in psutil.net_connections("tcp")
        if connection.laddr and connection.laddr.port in ports and connection.pid not in (None, os.getpid())
    }
    tasks = {task for task in tasks if not task.name().startswith("postgres")}
    assert tasks
    for process in {task.parent() for task in tasks} | tasks:
        with suppress(psutil.NoSuchProcess):
            assert process
            process.send_signal(signal.SIGKILL)


def test_the_run_of_a_killed_close_run_is_reported_once(
    api: Api, database: Database, slack: StandIns
) -> None:
    run_id = kill_last_task(api, database, kill_tasks_of)
    wait_until(lambda: len(slack.messages) > 0, "the alert arrives")

    (message,) = slack.messages
    assert "バッチ実行失敗: BATCH-018-01" in message.text
    assert f"実行ID: {run_id}" in message.text
    assert "エラー: 実行が失敗し、どのタスクも理由を通知していません。" in message.text
    assert "失敗したタスク: close_run" in message.text
    assert "記録: 1 件すべて成功。" in message.text
    assert "close_run を下流ごと消去（Clear）" in message.text
    with database.connect() as host:
        assert host.execute("SELECT alert_key FROM batch.operator_alert").fetchall() == [
            (f"failure:{USAGE}:{run_id}:BATCH-018-01:0",)
        ]

    # As the alert advises: after the clear, the run is closed.
    api.clear_task(run_id, "close_run")
    assert api.wait(run_id) == "success"

    # A failure that a task reports is not reported again.
    with database.connect() as host:
        host_rows.break_settings_of(host, "T001")
    before = callbacks(api)
    assert api.wait(api.trigger(**CONF)) == "failed"
    wait_until(lambda: callbacks(api) > before, "the callback of the DAG is executed")
    assert len(slack.messages) == 2

    # The alert about a killed close_run has the tenants and the advice that close_run itself reports.
    kill_last_task(api, database, kill_tasks_of)
    wait_until(lambda: len(slack.messages) > 2, "the alert arrives")
    by_task, by_dag = (message.text.splitlines() for message in slack.messages[1:])
    assert tenants_and_advice(by_dag) == tenants_and_advice(by_task)
    assert "エラー: 全テナントが失敗 — 1 件中 1 件が失敗" in by_dag
    assert any(line.startswith("ほかのエラー: close_run: タスクのプロセスが停止した") for line in by_dag)


def test_the_run_of_a_killed_announce_is_reported_and_cleared(
    api: Api, database: Database, slack: StandIns
) -> None:
    def recorded() -> tuple[str, bool] | None:
        with database.connect() as host:
            rows = host.execute("SELECT status, announced_at IS NOT NULL FROM batch.execution_log")
            return rows.fetchone()

    run_id = kill_last_task(api, database, kill_tasks_of, status="completed")
    wait_until(lambda: len(slack.messages) > 0, "the alert arrives")

    (message,) = slack.messages
    assert "失敗したタスク: announce" in message.text
    assert "announce を下流ごと消去（Clear）" in message.text
    assert recorded() == ("completed", False)

    api.clear_task(run_id, "announce")
    assert api.wait(run_id) == "success"
    assert recorded() == ("completed", True)


def test_a_lost_worker_is_reported_once_by_the_callbacks(
    api: Api, database: Database, slack: StandIns
) -> None:
    with database.connect() as host:
        host_rows.break_settings_of(host, "T001")
    before = callbacks(api)
    run_id = kill_last_task(api, database, kill_workers_of)
    wait_until(lambda: callbacks(api) > before, "the callback of the DAG is executed")
    wait_until(lambda: len(slack.messages) > 0, "the alert arrives")
    (message,) = slack.messages
    assert f"/runs/{run_id}" in unquote(message.text)
    heading, tenant, advice = tenants_and_advice(message.text.splitlines())
    assert heading == "失敗したテナント:"
    assert tenant.startswith("• T001")
    assert "失敗したテナントの" in advice
