"""Starting the run that shows a request: what Airflow may say, and that nothing of it fails the batch."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse, OKResponse, TriggerDagRun

from skill_batch.approvals import start_run
from include.skillreport.approvals.requests import ApprovalRequest, RequestKind

REQUEST = ApprovalRequest(
    "BATCH-018-02_1_1",
    RequestKind.INVOICES,
    date(2026, 10, 1),
    "BATCH-018-02_1",
    "approve_invoices",
    "BATCH-018-02_1_1",
)
MISSING = ErrorResponse(
    error=ErrorType.API_SERVER_ERROR,
    detail={
        "status_code": 404,
        "message": "Server returned error",
        "detail": {
            "detail": {"reason": "not_found", "message": "Dag with dag_id: 'approve_invoices' not found"}
        },
    },
)


class Supervisor:
    """The supervisor of a task: it gives one answer."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[Any] = []

    def send(self, message: Any) -> Any:
        self.asked.append(message)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def started(monkeypatch: pytest.MonkeyPatch, answer: Any) -> tuple[str | None, list[Any]]:
    supervisor = Supervisor(answer)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    return start_run(REQUEST), supervisor.asked


@pytest.mark.parametrize(
    "answer", [OKResponse(ok=True), ErrorResponse(error=ErrorType.DAGRUN_ALREADY_EXISTS)]
)
def test_a_run_that_is_new_or_exists_already_is_started(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    problem, (message,) = started(monkeypatch, answer)
    assert problem is None
    assert isinstance(message, TriggerDagRun)
    assert (message.dag_id, message.run_id, message.conf) == (
        "approve_invoices",
        "BATCH-018-02_1_1",
        {"request": "BATCH-018-02_1_1"},
    )


@pytest.mark.parametrize("answer", [MISSING, AirflowRuntimeError(MISSING)])
def test_a_missing_dag_is_a_problem_in_airflows_words(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    problem, _ = started(monkeypatch, answer)
    assert problem == "Dag with dag_id: 'approve_invoices' not found"


def test_whatever_goes_wrong_is_a_problem_in_one_short_line(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, _ = started(monkeypatch, ConnectionError("no\nanswer " * 100))
    assert problem is not None
    assert "\n" not in problem
    assert len(problem) <= 300


def test_outside_a_task_nothing_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", None, raising=False)
    assert start_run(REQUEST) == "Airflow のタスクの外では、実行を始められません"
