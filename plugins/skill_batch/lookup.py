"""Looks up Airflow connections and Variables, and distinguishes missing values from outages.

If the API server or a secrets manager does not answer, the SDK reports the connection as not found, or returns the Variable's default.
This module therefore requests missing values again.

The triggerer imports this module, sometimes without ``include``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseHook, Variable
from airflow.sdk.exceptions import AirflowNotFoundException

from skill_batch.airflow_private.tasks import (
    is_connection_absent,
    is_outage_of_api_server,
    is_variable_absent,
    reason_of,
    secrets_managers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Connection

_T = TypeVar("_T")


class AirflowUnavailableError(ConnectionError):
    """Airflow, or its secrets manager, does not answer. Recoverable, like every ``ConnectionError``."""


def find_connection(conn_id: str) -> Connection | None:
    """The connection, or None if it is not defined.

    :raises AirflowUnavailableError: Airflow, or a secrets manager, does not answer.
    """

    def ask() -> Connection | None:
        try:
            return BaseHook.get_connection(conn_id)
        except AirflowNotFoundException:
            return None

    return ask() or _ask_again(
        ask,
        lambda backend: backend.get_connection(conn_id=conn_id),
        lambda: is_connection_absent(conn_id),
        f"接続 '{conn_id}'",
    )


def find_variable(name: str) -> str | None:
    """The value of the Variable, or None if it is not defined.

    :raises AirflowUnavailableError: Airflow, or a secrets manager, does not answer.
    """

    def ask() -> str | None:
        value: str | None = Variable.get(name, default=None)
        return value

    value = ask()
    if value is not None:
        return value
    return _ask_again(
        ask,
        lambda backend: backend.get_variable(key=name),
        lambda: is_variable_absent(name),
        f"Variable '{name}'",
    )


def is_outage(error: BaseException) -> bool:
    """True if the API server did not answer or failed, so that a retry may help."""
    return isinstance(error, AirflowUnavailableError) or is_outage_of_api_server(error)


def _ask_again(
    ask: Callable[[], _T | None],
    ask_backend: Callable[[Any], object],
    ask_api_server: Callable[[], bool],
    what: str,
) -> _T | None:
    """Request a value from the secrets managers and the API server one by one, because these calls raise their errors."""
    is_absent = True
    for backend in secrets_managers():
        try:
            is_absent = is_absent and ask_backend(backend) is None
        except Exception as error:
            raise _unavailable(what, f"{type(backend).__name__}: {type(error).__name__}") from error
    try:
        if is_absent and ask_api_server():
            return None
    except Exception as error:
        raise _unavailable(what, reason_of(error) or type(error).__name__) from error
    # A backend has the value, but did not answer the first request.
    answer = ask()
    if answer is None:
        raise _unavailable(what, "the answers differ")
    return answer


def _unavailable(what: str, reason: str) -> AirflowUnavailableError:
    return AirflowUnavailableError(
        f"Airflow に{what}を問い合わせられませんでした（{reason}）。API サーバーとそのデータベースを確認してください。"
        "定義がないという意味ではありません。"
    )
