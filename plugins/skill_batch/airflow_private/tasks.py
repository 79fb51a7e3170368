"""Requests of tasks, callbacks and triggers to Airflow. DAG files import this module, so most imports are inside functions."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Literal

from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType

_ABSENT = (ErrorType.CONNECTION_NOT_FOUND, ErrorType.VARIABLE_NOT_FOUND)
_SERVER_ERROR = 500
_TOO_MANY_REQUESTS = 429


def can_ask_api_server() -> bool:
    """True if this process can call the API server: it is a task, a callback or a trigger."""
    from airflow.sdk.execution_time import task_runner

    return getattr(task_runner, "SUPERVISOR_COMMS", None) is not None


def is_connection_absent(conn_id: str) -> bool:
    """True if the API server has no such connection, or if this process cannot call it (see ``can_ask_api_server``).

    :raises AirflowRuntimeError: the request failed.
    """
    from airflow.sdk.execution_time.comms import GetConnection

    return _is_absent(GetConnection(conn_id=conn_id))


def is_variable_absent(name: str) -> bool:
    """As ``is_connection_absent``, for a Variable."""
    from airflow.sdk.execution_time.comms import GetVariable

    return _is_absent(GetVariable(key=name))


def secrets_managers() -> list[Any]:
    """The secrets backends of this process, except the API server."""
    from airflow.sdk.execution_time.secrets.execution_api import ExecutionAPISecretsBackend
    from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

    return [
        each for each in ensure_secrets_backend_loaded() if not isinstance(each, ExecutionAPISecretsBackend)
    ]


def is_outage_of_api_server(error: BaseException) -> bool:
    """True if the API server did not answer or failed, so that a retry may help."""
    if not isinstance(error, AirflowRuntimeError) or error.error.error is not ErrorType.API_SERVER_ERROR:
        return False
    status = (error.error.detail or {}).get("status_code")
    return status is None or status >= _SERVER_ERROR or status == _TOO_MANY_REQUESTS


def reason_of(error: Exception) -> str:
    """The API server's reason for rejecting a request; empty for other errors.

    The supervisor wraps that message in its own, which says only that there was an error.
    """
    if not isinstance(error, AirflowRuntimeError):
        return ""
    words, detail = error.error.error.value, error.error.detail
    while isinstance(detail, dict):
        words, detail = str(detail.get("message") or words), detail.get("detail")
    return words


def trigger_run(dag_id: str, run_id: str, conf: Mapping[str, Any]) -> None:
    """Start the run, unless it exists. :raises AirflowRuntimeError: the request failed."""
    from airflow.sdk.execution_time.comms import TriggerDagRun

    try:
        _send(TriggerDagRun(dag_id=dag_id, run_id=run_id, conf=dict(conf)))
    except AirflowRuntimeError as error:
        if error.error.error is not ErrorType.DAGRUN_ALREADY_EXISTS:
            raise


def last_run_before(dag_id: str, moment: datetime) -> datetime | None:
    """The logical date (aware) of the DAG's last run before ``moment``, or None. Only for tasks.

    :raises AirflowRuntimeError: the request failed.
    """
    from airflow.sdk.execution_time.comms import GetPreviousDagRun, PreviousDagRunResult

    answer = _send(GetPreviousDagRun(dag_id=dag_id, logical_date=moment))
    assert isinstance(answer, PreviousDagRunResult)
    return answer.dag_run.logical_date if answer.dag_run else None


def is_run_alive(dag_id: str, run_id: str) -> bool:
    """True if the run exists and has not ended. For callbacks and triggers; a task uses its ``ti``."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    alive = ["queued", "running"]
    return RuntimeTaskInstance.get_dr_count(dag_id=dag_id, run_ids=[run_id], states=alive) > 0


def task_states(dag_id: str, run_id: str) -> dict[str, Any]:
    """The states of a run's tasks by id; a mapped instance's id ends with its index. For callbacks and triggers."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(dag_id=dag_id, run_ids=[run_id])
    return dict(states.get(run_id, {}))


def time_limit(seconds: float, message: str) -> AbstractContextManager[Any]:
    """Raise ``AirflowTaskTimeout`` if the block takes longer. Only for the main thread."""
    from airflow.sdk.execution_time.timeout import timeout

    limit: AbstractContextManager[Any] = timeout(seconds, message)  # type: ignore[no-untyped-call]
    return limit


def send_metric(name: str, kind: Literal["counter", "timer"], value: float, tags: Mapping[str, str]) -> None:
    """Send a counter, or a timer in milliseconds, with Airflow's metrics."""
    from airflow.sdk.observability.stats import Stats

    if kind == "timer":
        Stats.timing(name, value, tags=dict(tags))
    else:
        Stats.incr(name, count=int(value), tags=dict(tags))


def _is_absent(request: object) -> bool:
    try:
        return not can_ask_api_server() or _send(request) is None
    except AirflowRuntimeError as error:
        if error.error.error in _ABSENT:
            return True
        raise


def _send(request: Any) -> Any:
    """The API server's answer. Raises all errors; the supervisor returns some of them."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse

    answer = task_runner.SUPERVISOR_COMMS.send(request)
    if isinstance(answer, ErrorResponse):
        raise AirflowRuntimeError(answer)
    return answer
