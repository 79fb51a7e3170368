"""The failure alert: its words, its limits, and that it never makes anything worse."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from skill_batch.notifiers.failure_alert import REPORTED_KEY, FailureAlert
from skill_batch.notifiers.run_links import NIGHT, help_url
from include.skillreport.core.catalog import (
    NOTIFICATION_RETRY,
    TENANT_USAGE,
)
from include.skillreport.core.errors import ParameterError, SettingsError
from include.skillreport.core.execution.run_log import (
    EarlierStepFailedError,
    FailedTenant,
    InstancesFailedError,
    MappedInstance,
    RunFailedError,
    RunResult,
)
from include.skillreport.core.execution.run_remarks import RunProblem
from include.skillreport.core.failure_kinds import kind_of
from include.skillreport.core.run_spec import RunSpec
from local_stack.stand_ins import Arrived, StandIns
from tests.airflow_installation import slack_connection

LOG_URL = "http://airflow.example/dags/batch_018_01_tenant_usage/runs/manual__1/tasks/close_run?try_number=1"


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIns]:
    """The operators' Slack, as connection skill_batch_alert_slack; there is no database."""
    monkeypatch.delenv("AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", raising=False)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow.example/")
    with StandIns() as stand_in:
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_SLACK", slack_connection(stand_in.slack_base_url))
        yield stand_in


# The XComs that the tasks of a test have pushed.
MARKS: list[tuple[str, Any]] = []


@pytest.fixture(autouse=True)
def no_marks() -> None:
    MARKS.clear()


def alert(spec: RunSpec = TENANT_USAGE) -> FailureAlert:
    return FailureAlert(spec.id, spec.name, "MEDIUM", spec.mapped_task, partial(kind_of, spec))


def context(error: BaseException, task_id: str = "close_run", try_number: int = 1) -> Any:
    """The context that Airflow passes to a failure callback."""
    return {
        "exception": error,
        "ti": SimpleNamespace(
            dag_id="batch_018_01_tenant_usage",
            run_id="manual__1",
            task_id=task_id,
            map_index=-1,
            try_number=try_number,
            log_url=LOG_URL,
            xcom_push=lambda key, value: MARKS.append((key, value)),
        ),
        "dag_run": SimpleNamespace(run_id="manual__1", clear_number=0),
    }


def failed_run(
    failed: list[FailedTenant], total: int, error: str | None = None, problems: tuple[RunProblem, ...] = ()
) -> RunFailedError:
    return RunFailedError(
        RunResult(
            execution_id="BATCH-018-01_20261031_0a1b2c3d",
            batch_id="BATCH-018-01",
            business_date=date(2026, 10, 31),
            status="partial",
            total_tenants=total,
            success_count=total - len(failed),
            error_count=len(failed),
            execution_seconds=Decimal(1),
            records=0,
            failed_tenants=failed,
            error=error,
            problems=problems,
        )
    )


def test_it_says_what_failed_for_whom_and_what_to_do(slack: StandIns) -> None:
    alert()(context(failed_run([FailedTenant("T002", "㈱髙橋", "bigint out of range", ["22003"])], 12)))

    (message,) = slack.messages
    lines = message.text.splitlines()
    assert lines[:6] == [
        "バッチ実行失敗: BATCH-018-01 テナント使用量集計バッチ（12 件中 1 件が失敗）",
        "エラー: 一部のテナントが失敗（ほかのテナントは完了） — 12 件中 1 件が失敗",
        "業務日: 2026-10-31",
        "重要度: MEDIUM",
        "失敗したテナント:",
        "• T002 ㈱髙橋: bigint out of range",
    ]
    assert lines[-6] == "実行ID: BATCH-018-01_20261031_0a1b2c3d"
    label = {"type": "text", "text": "エラー: ", "style": {"bold": True}}
    assert message.rich[1]["elements"][0]["elements"][0] == label
    assert message.rich[-1]["elements"][-1]["text"] == lines[-6]
    assert any(line.startswith("対処:") and "Clear" in line for line in lines)
    assert lines[-5:-1] == [
        "ボードで見る: http://airflow.example/skill-batch-board/runs/batch_018_01_tenant_usage/manual__1",
        "実行を開く: http://airflow.example/dags/batch_018_01_tenant_usage/runs/manual__1",
        "ログを開く: " + LOG_URL,
        f"手順を開く: {help_url(NIGHT) or 'http://airflow.example/dags/batch_018_01_tenant_usage'}",
    ]


def test_failures_outside_the_tenants_are_reported_too(slack: StandIns) -> None:
    failed = [FailedTenant("T002", "㈱髙橋", "bigint out of range", ["22003"])]
    alert()(context(failed_run(failed, 12)))
    alert()(context(failed_run(failed, 12, "OSError: No space left on device")))

    without, with_it = (message.text.splitlines() for message in slack.messages)
    assert not any(line.startswith("ほかのエラー") for line in without)
    assert "ほかのエラー: OSError: No space left on device" in with_it
    assert "• T002 ㈱髙橋: bigint out of range" in with_it


UNPLACED = RunProblem("11 件をテナントに割り当てられません（HIS_AuditLog）", "ROWS_UNPLACED")
REFUSED = RunProblem("受信箱を読めません: ログインが拒否されました", "MAILBOX_UNREADABLE")


def actions_of(message: Arrived) -> list[str]:
    return [line for line in message.text.splitlines() if line.startswith("対処")]


def test_a_problem_of_the_whole_run_is_the_error_with_remedy(slack: StandIns) -> None:
    alert(NOTIFICATION_RETRY)(context(failed_run([], 7, problems=(UNPLACED, REFUSED))))

    (message,) = slack.messages
    lines = message.text.splitlines()
    assert f"エラー: {UNPLACED.text}。テナントの処理は 7 件中 7 件が成功しました" in lines
    assert f"ほかのエラー: {REFUSED.text}" in lines
    kinds = [kind_of(NOTIFICATION_RETRY, problem.code) for problem in (UNPLACED, REFUSED)]
    assert actions_of(message) == [f"対処（{kind.meaning}）: {kind.remedy()}" for kind in kinds]
    assert "失敗したテナント" not in message.text


def test_a_problem_of_the_whole_run_stands_beside_the_failed_tenants(slack: StandIns) -> None:
    failed = [FailedTenant("T002", "㈱髙橋", "bigint out of range", ["22003"])]
    alert()(context(failed_run(failed, 7, problems=(UNPLACED,))))

    (message,) = slack.messages
    lines = message.text.splitlines()
    assert "エラー: 一部のテナントが失敗（ほかのテナントは完了） — 7 件中 1 件が失敗" in lines
    assert f"ほかのエラー: {UNPLACED.text}" in lines
    first, second = actions_of(message)
    assert "失敗したテナントの aggregate_usage だけを下流ごと消去（Clear）" in first
    assert second.endswith(kind_of(TENANT_USAGE, UNPLACED.code).remedy())


def test_undelivered_messages_are_not_cleared_but_decided(slack: StandIns) -> None:
    failed = [FailedTenant("T002", "㈱髙橋", "送信できなかった通知 1 件", ["NOTIFICATIONS_FAILED"])]
    alert(NOTIFICATION_RETRY)(context(failed_run(failed, 7)))

    (message,) = slack.messages
    assert actions_of(message) == [f"対処: {kind_of(NOTIFICATION_RETRY, 'NOTIFICATIONS_FAILED').remedy()}"]
    assert "retry_notifications" not in message.text


def test_an_instance_that_failed_after_its_work_is_named_with_its_log(slack: StandIns) -> None:
    error = InstancesFailedError(
        [
            MappedInstance("family.aggregate_usage", 12, "T012"),
            MappedInstance("family.aggregate_usage", 3, "T003"),
        ]
    )
    alert()(context(error))

    (message,) = slack.messages
    lines = message.text.splitlines()
    assert any(
        line.startswith("エラー: family.aggregate_usage [T003]、family.aggregate_usage [T012] が失敗")
        for line in lines
    )
    (action,) = (line for line in lines if line.startswith("対処"))
    assert "family.aggregate_usage [T003]、family.aggregate_usage [T012] を下流ごと消去（Clear）" in action
    assert "close_run" not in action
    assert (
        "ログを開く: http://airflow.example/dags/batch_018_01_tenant_usage/runs/manual__1"
        "/tasks/family.aggregate_usage/mapped/3"
    ) in lines


def test_the_log_of_a_lost_first_step_is_that_of_the_step(slack: StandIns) -> None:
    """``close_run`` sends the alert, but its log says nothing about the step."""
    alert()(context(EarlierStepFailedError("family.open_run", None)))
    alert()(context(SettingsError("x"), task_id="open_run"))

    of_close, of_step = (message.text.splitlines() for message in slack.messages)
    assert (
        "ログを開く: http://airflow.example/dags/batch_018_01_tenant_usage/runs/manual__1/tasks/family.open_run"
    ) in of_close
    assert "ログを開く: " + LOG_URL in of_step


def test_ten_tenants_are_listed_and_the_rest_counted(slack: StandIns) -> None:
    failed = [FailedTenant(f"T{number:03}", "name", "reason") for number in range(250)]
    alert()(context(failed_run(failed, 10_000)))

    (message,) = slack.messages
    assert "T009" in message.text
    assert "T010" not in message.text
    assert "ほか 240 テナント" in message.text
    assert len(message.rich) <= 50


def test_a_tenants_name_cannot_become_a_mention_or_a_link(slack: StandIns) -> None:
    alert()(context(failed_run([FailedTenant("T1", "<!channel> & <http://evil|click>", "x" * 5_000)], 2)))

    (message,) = slack.messages
    parts = [block["elements"][0]["elements"] for block in message.rich if block["type"] == "rich_text"]
    assert {element["type"] for elements in parts for element in elements} == {"text"}
    (tenant,) = (element["text"] for elements in parts for element in elements if "• T1" in element["text"])
    assert "• T1 <!channel> & <http://evil|click>: " in tenant
    assert "&lt;!channel&gt; &amp; &lt;http://evil|click&gt;" in message.text
    assert "x" * 201 not in str(parts)


def test_an_error_before_the_tenants_is_reported_with_its_own_text(slack: StandIns) -> None:
    alert()(context(SettingsError("settings.yaml が読めません。"), task_id="open_run"))

    (message,) = slack.messages
    assert "エラー: settings.yaml が読めません。" in message.text
    assert "open_run を下流ごと消去（Clear）" in message.text


def test_parameters_are_mended_by_a_new_run_and_not_by_a_clear(slack: StandIns) -> None:
    alert()(context(ParameterError("テナントコード 'X' は存在しません。"), task_id="open_run"))

    (message,) = slack.messages
    assert "エラー: テナントコード 'X' は存在しません。" in message.text
    assert "対処: 値を直して新しく実行（Trigger）してください。" in message.text


def test_a_killed_task_is_reported_as_killed(slack: StandIns) -> None:
    alert()({**context(ValueError()), "exception": None})

    (message,) = slack.messages
    assert "エラー: タスクのプロセスが応答しなくなりました" in message.text
    assert "メモリ不足、または Airflow の API サーバーの停止" in message.text
    assert (
        "対処: Airflow の API サーバーが動いているかと、ワーカーとタスクのログを確認してから、"
        in message.text
    )
    # The DAG processor, which calls back for it, does not answer a push.
    assert MARKS == []


def test_a_task_is_marked_when_its_failure_is_reported(slack: StandIns) -> None:
    alert()(context(SettingsError("settings.yaml が読めません。"), task_id="open_run"))
    assert len(slack.messages) == 1
    assert MARKS == [(REPORTED_KEY, {"kind": "installation", "attempt": 0})]


def test_a_task_whose_alert_is_lost_is_not_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    for conn_id in ("SKILL_BATCH_ALERT_SLACK", "SKILL_BATCH_PLATFORM_DB"):
        monkeypatch.delenv(f"AIRFLOW_CONN_{conn_id}", raising=False)
    alert()(context(SettingsError("settings.yaml が読めません。"), task_id="open_run"))
    assert MARKS == []


def test_a_mark_that_cannot_be_pushed_changes_nothing(slack: StandIns) -> None:
    failed = context(SettingsError("settings.yaml が読めません。"), task_id="open_run")
    del failed["ti"].xcom_push
    alert()(failed)
    assert len(slack.messages) == 1


def test_an_earlier_steps_failure_has_already_alerted(slack: StandIns) -> None:
    alert()(context(EarlierStepFailedError("open_run", "installation")))
    assert slack.messages == []


def test_an_earlier_step_that_was_killed_could_not_alert(slack: StandIns) -> None:
    alert()(context(EarlierStepFailedError("read_logs", None)))

    (message,) = slack.messages
    assert (
        "エラー: 前段の read_logs が、理由を通知せずに終わりました（強制終了、メモリ不足、Airflow の API サーバーの停止など）"
        in message.text
    )
    assert "read_logs を下流ごと消去（Clear）" in message.text


def test_an_api_server_that_is_away_is_named_as_such(slack: StandIns) -> None:
    detail = {"status_code": None, "message": "Connection refused"}
    error = AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail))
    alert()(context(error))

    (message,) = slack.messages
    assert "エラー: Airflow の API サーバーに問い合わせられませんでした" in message.text
    assert "Connection refused" in message.text


@pytest.mark.parametrize("failure", ["channel_not_found", 503])
def test_slacks_refusal_is_logged_and_changes_nothing(
    slack: StandIns,
    failure: str | int,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    slack.fail_next("slack", failure)
    alert()(context(failed_run([FailedTenant("T1", "name", "reason")], 2)))
    assert slack.messages == []
    (error,) = (record for record in caplog.records if record.name == "skill_batch.notifiers.alert_outbox")
    assert error.levelname == "ERROR"
    assert error.getMessage().startswith(
        "The alert 'バッチ実行失敗: BATCH-018-01 テナント使用量集計バッチ（2 件中 1 件が失敗）' could not be delivered by slack"
        " and will not be tried again"
    )
    assert "T1 name: reason" in capsys.readouterr().out


def test_without_the_connection_the_alert_is_still_in_the_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_SLACK", raising=False)
    alert()(context(failed_run([FailedTenant("T1", "name", "reason")], 2)))
    log = capsys.readouterr().out
    assert "バッチ実行失敗: BATCH-018-01" in log
