"""A value that Airflow does not define differs from a request that it did not answer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ConnectionResult, ErrorResponse, VariableResult

from skill_batch.hooks.tenant_db import PlatformDbHook
from skill_batch.installation import AirflowInstallation
from skill_batch.lookup import AirflowUnavailableError, find_connection, find_variable, is_outage
from skill_batch.network import mail_server, network
from skill_batch.notifiers.channels import load_channels
from skill_batch.object_storage import object_store
from include.skillreport.core.errors import (
    ConnectionInvalidError,
    ConnectionMissingError,
    SettingsError,
    is_about_data,
    is_recoverable,
)

ABSENT = ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND, detail={"conn_id": "x"})
NO_VARIABLE = ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND, detail={"key": "x"})


def outage(status_code: int | None = None) -> AirflowRuntimeError:
    """The supervisor's answer if the API server is not available, or fails."""
    detail = {"status_code": status_code, "message": "[Errno 111] Connection refused"}
    return AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail))


@dataclass
class Supervisor:
    """Answers a task's requests one after the other, the last answer again and again."""

    answers: list[Any] = field(default_factory=list)

    def send(self, _request: object) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    """A task's supervisor; no connection or Variable comes from the environment."""
    for name in (
        "SKILL_BATCH_TENANT_DB",
        "SKILL_BATCH_PLATFORM_DB",
        "SKILL_BATCH_SMTP",
        "SKILL_BATCH_ALERT_SLACK",
        "SKILL_BATCH_ALERT_EMAIL",
    ):
        monkeypatch.delenv(f"AIRFLOW_CONN_{name}", raising=False)
    supervisor = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    return supervisor


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda: PlatformDbHook().get_conn(), id="database"),
        pytest.param(mail_server, id="mail server"),
        pytest.param(lambda: AirflowInstallation().secret("skill_batch_backup_key"), id="secret"),
        pytest.param(lambda: AirflowInstallation().keys("skill_batch_backup_mac"), id="keys"),
        pytest.param(lambda: AirflowInstallation().database("skill_batch_backup_db"), id="backup"),
        pytest.param(lambda: AirflowInstallation().variable("skill_batch_log_roots"), id="variable"),
        pytest.param(lambda: network(with_mail=False), id="network"),
        pytest.param(object_store, id="store"),
    ],
)
@pytest.mark.parametrize(
    "answer", [outage(), outage(500), outage(503), OSError("broken pipe")], ids=["away", "500", "503", "lost"]
)
def test_an_unanswered_request_to_airflow_is_recoverable(
    supervisor: Supervisor, ask: Any, answer: Exception
) -> None:
    supervisor.answers = [answer]
    with pytest.raises(
        AirflowUnavailableError, match=r"問い合わせられませんでした.*定義がないという意味ではありません"
    ) as caught:
        ask()
    assert is_recoverable(caught.value)
    assert not is_about_data(caught.value)


def test_an_undefined_connection_or_variable_is_missing(supervisor: Supervisor) -> None:
    supervisor.answers = [ABSENT]
    assert find_connection("skill_batch_smtp") is None
    with pytest.raises(ConnectionMissingError, match="'skill_batch_platform_db' が定義されていません"):
        PlatformDbHook().get_conn()
    # As the supervisor of a real task sends it.
    supervisor.answers = [AirflowRuntimeError(NO_VARIABLE)]
    assert find_variable("skill_batch_storage_url") is None
    with pytest.raises(SettingsError, match="'skill_batch_storage_url'"):
        object_store()


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        (None, []),
        ({"password": "new"}, ["new"]),
        ({"password": "new", "extra": {"earlier": ["old", "older"]}}, ["new", "old", "older"]),
        ({"extra": {"earlier": ["old"]}}, ConnectionMissingError),
        ({"password": "new", "extra": {"earlier": "old"}}, ConnectionInvalidError),
    ],
)
def test_a_connection_has_its_present_key_and_the_earlier_ones(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, value: dict[str, Any] | None, keys: Any
) -> None:
    supervisor.answers = [ABSENT]
    if value is not None:
        monkeypatch.setenv(
            "AIRFLOW_CONN_SKILL_BATCH_BACKUP_MAC", json.dumps({"conn_type": "generic", **value})
        )
    if isinstance(keys, list):
        assert AirflowInstallation().keys("skill_batch_backup_mac") == keys
    else:
        with pytest.raises(keys):
            AirflowInstallation().keys("skill_batch_backup_mac")


def test_a_server_that_is_back_at_the_second_question_answers_it(supervisor: Supervisor) -> None:
    nothing = dict.fromkeys(("schema", "login", "password", "port", "extra"))
    connection = ConnectionResult.model_validate(
        {"conn_id": "skill_batch_smtp", "conn_type": "smtp", "host": "mail.example.jp", **nothing}
    )
    supervisor.answers = [outage(), connection]
    found = find_connection("skill_batch_smtp")
    assert found is not None
    assert found.host == "mail.example.jp"
    supervisor.answers = [outage(), VariableResult(key="skill_batch_log_roots", value="/logs")]
    assert find_variable("skill_batch_log_roots") == "/logs"


def test_outside_a_task_there_is_no_api_server_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", None, raising=False)
    assert find_connection("skill_batch_smtp") is None
    assert find_variable("skill_batch_storage_url") is None


def test_a_secrets_manager_that_fails_is_no_absence(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor.answers = [ABSENT]
    # The environment's backend, with a value that it cannot read.
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_SMTP", "{not json")
    with pytest.raises(
        AirflowUnavailableError, match=r"接続 'skill_batch_smtp'.*EnvironmentVariablesBackend"
    ):
        find_connection("skill_batch_smtp")


def test_an_alert_is_sent_without_channels_that_could_not_be_read(
    supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor.answers = [outage()]
    channels = load_channels()
    assert (channels.slack, channels.email, channels.database) == (None, None, None)
    assert "接続 'skill_batch_alert_slack'を問い合わせられませんでした" in caplog.text


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (outage(), True),
        (outage(500), True),
        (outage(429), True),
        (outage(422), False),
        (AirflowRuntimeError(ABSENT), False),
        (AirflowUnavailableError("away"), True),
        (ValueError("defect"), False),
    ],
)
def test_only_a_server_that_failed_or_did_not_answer_is_an_outage(error: Exception, expected: bool) -> None:
    assert is_outage(error) is expected
