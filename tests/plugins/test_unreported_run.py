"""The alert about a failed run of which no task has sent one: it is sent once, for each batch, and never makes anything worse."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from airflow.configuration import conf
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from skill_batch.batch_flow import failure_alert
from skill_batch.notifiers import alert_outbox
from skill_batch.notifiers.alert import Alert
from skill_batch.notifiers.alert_outbox import send_alert
from skill_batch.notifiers.channels import load_channels
from skill_batch.notifiers.failure_alert import REPORTED_KEY, failure_key
from skill_batch.notifiers.unreported_run import UnreportedRunAlert
from include.skillreport.core.catalog import (
    INACTIVE_TENANTS,
    SETTINGS_SYNC,
    TENANT_BILLING,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from include.skillreport.core.errors import DatabaseUnavailableError
from include.skillreport.core.execution.run_log import EarlierStepFailedError
from include.skillreport.core.operation_catalog import APPROVE_INVOICES
from local_stack.stand_ins import StandIns
from tests.airflow_installation import slack_connection
from tests.conftest import Database
from tests.worlds.alerts import read_only

DAG_ID, RUN_ID = "a_dag", "manual__1"
UNREACHABLE = "postgresql://nobody:secret@127.0.0.1:1/nothing"


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch, shared_database: Database) -> Iterator[StandIns]:
    """The operators' Slack, and the table of alerts."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", shared_database.airflow_connection("batch_platform")
    )
    with StandIns() as stand_ins:
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_SLACK", slack_connection(stand_ins.slack_base_url))
        yield stand_ins


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The states of the run's task instances, as Airflow gives them to a callback."""
    states: dict[str, str] = {}
    monkeypatch.setattr(
        RuntimeTaskInstance, "get_task_states", staticmethod(lambda **_: {RUN_ID: dict(states)})
    )
    return states


def dag() -> DAG:
    """A DAG with the tasks that send alerts."""
    with DAG(DAG_ID, schedule=None) as dag:
        for task_id in ("open_run", "request_approval", "close_run"):
            EmptyOperator(task_id=task_id)
    return dag


def context(
    task_id: str | None = "close_run",
    *,
    marked: tuple[str, ...] = (),
    marked_in: int = 0,
    attempt: int = 0,
    reason: str = "task_failure",
    **run: Any,
) -> Any:
    """The context that Airflow passes to the callback of a DAG; without a ``task_id`` the minimum that it passes."""

    def xcom_pull(task_ids: str, key: str) -> dict[str, Any] | None:
        assert key == REPORTED_KEY
        return {"kind": "bug", "attempt": marked_in} if task_ids in marked else None

    least: dict[str, Any] = {
        "dag": dag(),
        "run_id": RUN_ID,
        "reason": reason,
    }
    if task_id is None:
        return least
    return least | {
        "ti": SimpleNamespace(
            dag_id=DAG_ID,
            run_id=RUN_ID,
            task_id=task_id,
            log_url="http://airflow.example/log",
            xcom_pull=xcom_pull,
        ),
        "dag_run": SimpleNamespace(run_id=RUN_ID, clear_number=attempt, **run),
    }


def usage() -> UnreportedRunAlert:
    return UnreportedRunAlert({"": failure_alert(TENANT_USAGE)})


def family() -> UnreportedRunAlert:
    return UnreportedRunAlert({"sync": failure_alert(SETTINGS_SYNC), "usage": failure_alert(TENANT_USAGE)})


def told_by_task(attempt: int = 0, batch_id: str = TENANT_USAGE.id) -> None:
    key = failure_key(DAG_ID, RUN_ID, batch_id, attempt)
    assert send_alert(Alert(title="from the task", lines=()), key, load_channels())


def test_it_names_the_failed_tasks_and_what_to_do_once(slack: StandIns, states: dict[str, str]) -> None:
    states |= {"open_run": "success", "aggregate_usage_0": "failed", "close_run": "failed"}

    for _ in range(2):
        usage()(context())

    (message,) = slack.messages
    lines = message.text.splitlines()
    assert lines[0] == f"バッチ実行失敗: BATCH-018-01 {TENANT_USAGE.name}"
    assert {"重要度: HIGH", f"実行ID: {RUN_ID}"} <= {*lines}
    assert (
        "エラー: 実行が失敗し、どのタスクも理由を通知していません。"
        "タスクのプロセスが停止した（強制終了、メモリ不足、Airflow の API サーバーの停止など）か、または画面で失敗にされたと考えられます。"
        in lines
    )
    assert "失敗したタスク: aggregate_usage_0、close_run" in lines
    assert any("close_run を下流ごと消去（Clear）" in line for line in lines)
    assert "ログを開く: http://airflow.example/log" in lines


def test_a_run_that_a_task_has_reported_is_not_reported_again(
    slack: StandIns, states: dict[str, str]
) -> None:
    states["close_run"] = "failed"
    told_by_task()

    usage()(context())
    assert [message.text.splitlines()[0] for message in slack.messages] == ["from the task"]

    # The next attempt of the run has a separate alert.
    usage()(context(attempt=1))
    assert len(slack.messages) == 2


def test_each_batch_of_a_family_is_reported_by_itself(slack: StandIns, states: dict[str, str]) -> None:
    states |= {"usage.close_run": "failed", "sync.open_run": "failed", "other.close_run": "success"}
    told_by_task(batch_id=SETTINGS_SYNC.id)

    UnreportedRunAlert(
        {
            "usage": failure_alert(TENANT_USAGE),
            "sync": failure_alert(SETTINGS_SYNC),
            "other": failure_alert(APPROVE_INVOICES),
        }
    )(context("sync.open_run"))

    _, message = slack.messages
    assert "バッチ実行失敗: BATCH-018-01" in message.text
    assert "失敗したタスク: usage.close_run\n" in message.text
    assert "usage.close_run を下流ごと消去（Clear）" in message.text


def test_a_cleared_failure_is_not_reported_for_another_batch(slack: StandIns, states: dict[str, str]) -> None:
    states |= {"sync.close_run": "success", "usage.close_run": "queued"}
    told_by_task()

    family()(context("usage.close_run"))
    family()(context(None))

    assert [message.text.splitlines()[0] for message in slack.messages] == ["from the task"]


def test_a_cleared_failure_without_an_alert_is_reported_for_its_batch(
    slack: StandIns, states: dict[str, str]
) -> None:
    states |= {"sync.close_run": "success", "usage.close_run": "queued"}

    family()(context("usage.close_run"))

    (message,) = slack.messages
    assert "バッチ実行失敗: BATCH-018-01" in message.text
    assert "失敗したタスク: usage.close_run\n" in message.text


def test_a_deadlock_is_reported_for_the_batch_of_the_blocking_task(
    slack: StandIns, states: dict[str, str]
) -> None:
    assert states == {}
    family()(context("usage.close_run", reason="all_tasks_deadlocked"))
    (message,) = slack.messages
    assert "バッチ実行失敗: BATCH-018-01" in message.text
    assert "失敗したタスク: 不明" in message.text


def test_the_readable_table_outranks_a_mark_of_the_attempt_before(
    slack: StandIns, states: dict[str, str]
) -> None:
    states["close_run"] = "failed"
    told_by_task(attempt=0)

    usage()(context(marked=("close_run",), attempt=1))

    assert len(slack.messages) == 2


def test_a_run_without_a_failed_task_is_reported_with_the_least_context(
    slack: StandIns, states: dict[str, str]
) -> None:
    assert states == {}
    usage()(context(None))
    (message,) = slack.messages
    assert "失敗したタスク: 不明" in message.text


def test_a_dry_run_of_a_known_user_is_reported_to_this_user(slack: StandIns, states: dict[str, str]) -> None:
    states["close_run"] = "failed"
    usage()(context(conf={"dry_run": True}, triggering_user_name="hanako"))
    (message,) = slack.messages
    assert "実行した人: hanako" in message.text
    assert "重要度: MEDIUM" in message.text


@pytest.mark.parametrize(
    ("marked", "alerts"),
    [
        pytest.param(("close_run",), 0, id="reported"),
        pytest.param((), 1, id="killed"),
        pytest.param(("request_approval",), 1, id="only the request has reported itself"),
    ],
)
def test_without_the_table_the_marks_of_the_tasks_decide(
    slack: StandIns,
    states: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    marked: tuple[str, ...],
    alerts: int,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", UNREACHABLE)
    states |= {"aggregate_usage_0": "failed", "request_approval": "failed", "close_run": "failed"}
    usage()(context(marked=marked))
    assert len(slack.messages) == alerts


def test_without_the_table_an_earlier_attempts_mark_does_not_silence(
    slack: StandIns, states: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", UNREACHABLE)
    states["close_run"] = "failed"
    usage()(context(marked=("close_run",), marked_in=0, attempt=1))
    assert len(slack.messages) == 1


@contextmanager
def unreachable(_: Database) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as outage:
        outage.setenv("AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", UNREACHABLE)
        yield


@pytest.mark.parametrize("outage", [unreachable, read_only])
@pytest.mark.parametrize("lasts", [False, True])
def test_an_alert_sent_without_the_table_is_not_repeated(
    slack: StandIns,
    states: dict[str, str],
    shared_database: Database,
    outage: Callable[[Database], AbstractContextManager[None]],
    lasts: bool,
) -> None:
    """``lasts``: until the callback of the DAG has run."""
    states |= {"open_run": "failed", "close_run": "failed"}
    marks: dict[str, dict[str, Any]] = {}
    opening = context("open_run") | {"exception": DatabaseUnavailableError("接続できません")}
    opening["ti"].xcom_push = marks.__setitem__

    def close() -> None:
        error = EarlierStepFailedError("open_run", marks[REPORTED_KEY]["kind"])
        failure_alert(TENANT_USAGE)(context() | {"exception": error})
        usage()(context(marked=("open_run",)))

    with outage(shared_database):
        failure_alert(TENANT_USAGE)(opening)
        if lasts:
            close()
    # The database is back.
    close()

    assert len(slack.messages) == 1
    with psycopg.connect(shared_database.dsn) as connection:
        stored = connection.execute(
            "SELECT due_at, delivered_at IS NOT NULL, message -> 'kinds' FROM batch.operator_alert"
        )
        assert stored.fetchall() == [(None, True, [marks[REPORTED_KEY]["kind"]])]


def test_the_callback_stores_an_alert_sent_without_the_table(
    slack: StandIns, states: dict[str, str], shared_database: Database
) -> None:
    """So the hourly check does not send it again."""
    states["close_run"] = "failed"
    usage()(context(marked=("close_run",)))

    assert slack.messages == []
    with psycopg.connect(shared_database.dsn) as connection:
        stored = connection.execute("SELECT alert_key, delivered_at IS NOT NULL FROM batch.operator_alert")
        assert stored.fetchall() == [(failure_key(DAG_ID, RUN_ID, TENANT_USAGE.id, 0), True)]


def test_without_table_and_marks_it_is_silent(
    slack: StandIns,
    states: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", UNREACHABLE)
    states["close_run"] = "failed"
    failed = context()
    del failed["ti"].xcom_pull

    usage()(failed)

    assert slack.messages == []
    logged = capsys.readouterr().out
    assert "失敗したタスク: close_run" in logged
    assert "is not sent, because it may have been sent before" in logged


def test_a_database_that_is_down_is_tried_once_for_all_batches(
    slack: StandIns, states: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [TENANT_USAGE, SETTINGS_SYNC, TENANT_BILLING, TENANT_MONITORING, INACTIVE_TENANTS]
    states |= {f"{spec.slug}.close_run": "failed" for spec in specs}
    monkeypatch.setattr(alert_outbox, "_CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", silent_database(server))

        UnreportedRunAlert({spec.slug: failure_alert(spec) for spec in specs})(context())

        assert len(slack.messages) == len(specs)
        server.setblocking(False)
        server.accept()[0].close()
        with pytest.raises(BlockingIOError):
            server.accept()


def test_it_ends_before_airflow_kills_its_process(
    slack: StandIns,
    states: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    states["close_run"] = "failed"
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as clock:
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", silent_database(server))
        seconds_left = clock.submit(end_time_at_a_connection, server)
        usage()(context())

    assert 0 < seconds_left.result() < conf.getint("dag_processor", "dag_file_processor_timeout")
    assert slack.messages == []
    assert "The alert about the failed run could not be sent" in capsys.readouterr().out


def end_time_at_a_connection(server: socket.socket) -> float:
    """Let the time of the main thread end while it waits for the server; returns the seconds that it still had."""
    server.settimeout(60)
    with server.accept()[0]:
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        main_thread = threading.main_thread().ident
        assert main_thread is not None
        signal.pthread_kill(main_thread, signal.SIGALRM)
    return left


def silent_database(server: socket.socket) -> str:
    """The connection to a database that never answers."""
    address = {"host": "127.0.0.1", "port": server.getsockname()[1], "extra": {"sslmode": "disable"}}
    return json.dumps({"conn_type": "postgres", **address})


def test_where_airflow_does_not_answer_the_last_failed_task_is_reported(
    slack: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> Any:
        raise AttributeError("SUPERVISOR_COMMS")

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(refuse))
    usage()(context("open_run"))
    (message,) = slack.messages
    assert "失敗したタスク: open_run\n" in message.text


def test_if_slack_is_down_the_alert_waits(
    slack: StandIns, states: dict[str, str], monkeypatch: pytest.MonkeyPatch, shared_database: Database
) -> None:
    states["close_run"] = "failed"
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_SLACK", slack_connection("http://127.0.0.1:1/"))
    usage()(context())
    assert slack.messages == []
    with psycopg.connect(shared_database.dsn) as connection:
        waiting = connection.execute("SELECT due_at IS NOT NULL, attempts FROM batch.operator_alert")
        assert waiting.fetchall() == [(True, 1)]


def test_it_never_raises(monkeypatch: pytest.MonkeyPatch, states: dict[str, str]) -> None:
    states["close_run"] = "failed"
    for conn_id in ("SKILL_BATCH_ALERT_SLACK", "SKILL_BATCH_PLATFORM_DB"):
        monkeypatch.delenv(f"AIRFLOW_CONN_{conn_id}", raising=False)
    usage()(context())
    failed = context()
    failed["dag"] = None
    usage().notify(failed)
