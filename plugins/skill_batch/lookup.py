"""Look up Airflow connections and Variables, and distinguish a missing one from an outage.

If the API server or a secrets manager does not answer, the SDK logs this at DEBUG. It then reports the connection as not found, or returns
the default of the Variable. This module therefore requests a missing connection or Variable again.

The triggerer imports this module, on some platforms without ``include``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from airflow.sdk import BaseHook, Variable
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError, ErrorType

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Connection
    from airflow.sdk.bases.secrets_backend import BaseSecretsBackend
    from airflow.sdk.execution_time.comms import GetConnection, GetVariable

_T = TypeVar("_T")

_ABSENT = (ErrorType.CONNECTION_NOT_FOUND, ErrorType.VARIABLE_NOT_FOUND)
_SERVER_ERROR = 500
_TOO_MANY_REQUESTS = 429


class AirflowUnavailableError(ConnectionError):
    """Airflow, or its secrets manager, does not answer. Recoverable, as each ``ConnectionError``."""


def find_connection(conn_id: str) -> Connection | None:
    """The connection, or None if it is not defined.

    :raises AirflowUnavailableError: Airflow, or a secrets manager, does not answer.
    """
    from airflow.sdk.execution_time.comms import GetConnection

    def ask() -> Connection | None:
        try:
            return BaseHook.get_connection(conn_id)
        except AirflowNotFoundException:
            return None

    return ask() or _ask_again(
        ask,
        lambda backend: backend.get_connection(conn_id=conn_id),
        GetConnection(conn_id=conn_id),
        f"接続 '{conn_id}'",
    )


def find_variable(name: str) -> str | None:
    """The value of the Variable, or None if it is not defined.

    :raises AirflowUnavailableError: Airflow, or a secrets manager, does not answer.
    """
    from airflow.sdk.execution_time.comms import GetVariable

    def ask() -> str | None:
        value: str | None = Variable.get(name, default=None)
        return value

    value = ask()
    if value is not None:
        return value
    return _ask_again(
        ask, lambda backend: backend.get_variable(key=name), GetVariable(key=name), f"Variable '{name}'"
    )


def is_outage(error: BaseException) -> bool:
    """Whether the error means that the API server did not answer or failed, so that a retry may help."""
    if isinstance(error, AirflowUnavailableError):
        return True
    if not isinstance(error, AirflowRuntimeError) or error.error.error is not ErrorType.API_SERVER_ERROR:
        return False
    status = (error.error.detail or {}).get("status_code")
    return status is None or status >= _SERVER_ERROR or status == _TOO_MANY_REQUESTS


def _ask_again(
    ask: Callable[[], _T | None],
    ask_backend: Callable[[BaseSecretsBackend], object],
    request: GetConnection | GetVariable,
    what: str,
) -> _T | None:
    """Request it from the secrets managers and the API server one by one, because these calls raise their errors."""
    from airflow.sdk.execution_time.secrets.execution_api import ExecutionAPISecretsBackend
    from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

    is_absent = True
    for backend in ensure_secrets_backend_loaded():
        if isinstance(backend, ExecutionAPISecretsBackend):
            continue
        try:
            is_absent = is_absent and ask_backend(backend) is None
        except Exception as error:
            raise _unavailable(what, f"{type(backend).__name__}: {type(error).__name__}") from error
    if is_absent and _is_absent(request, what):
        return None
    # A backend has it, but did not answer the first request.
    answer = ask()
    if answer is None:
        raise _unavailable(what, "the answers differ")
    return answer


def _is_absent(request: GetConnection | GetVariable, what: str) -> bool:
    """Whether the API server reports it as not found. True outside a task, where there is no API server to ask."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse

    supervisor = getattr(task_runner, "SUPERVISOR_COMMS", None)
    if supervisor is None:
        return True
    try:
        answer = supervisor.send(request)
    except AirflowRuntimeError as error:
        answer = error.error
    except Exception as error:
        raise _unavailable(what, type(error).__name__) from error
    if not isinstance(answer, ErrorResponse):
        return answer is None
    if answer.error in _ABSENT:
        return True
    raise _unavailable(what, str((answer.detail or {}).get("message") or answer.error.value))


def _unavailable(what: str, reason: str) -> AirflowUnavailableError:
    return AirflowUnavailableError(
        f"Airflow に{what}を問い合わせられませんでした（{reason}）。API サーバーとそのデータベースを確認してください。"
        "定義がないという意味ではありません。"
    )
