"""Look up connections that must exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skill_batch.lookup import find_connection
from include.skillreport.core.errors import ConnectionMissingError

if TYPE_CHECKING:
    from airflow.sdk import Connection


def required_connection(name: str, kind: str) -> Connection:
    """The connection. ``kind`` is the connection type that the operator selects in the form.

    :raises ConnectionMissingError: it is not defined. :raises AirflowUnavailableError: Airflow does not answer; a retry may help.
    """
    connection = find_connection(name)
    if connection is None:
        raise ConnectionMissingError(
            f"Airflow の接続 '{name}' が定義されていません。Connections で作成してください（種類 {kind}）。"
        )
    return connection
