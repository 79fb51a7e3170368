"""Airflow connections: look up one that must exist, and write it for libpq."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.conninfo import make_conninfo

from skill_batch.lookup import find_connection
from include.skillreport.core.errors import ConnectionMissingError

if TYPE_CHECKING:
    from airflow.sdk import Connection

_DEFAULT_PORT = 5432

# libpq's parameters with which a connection ends after two minutes without an answer. A network that drops packets closes no connection:
# without them a task waits until its time limit. PostgreSQL's machine answers the probes also during a long statement. Seconds, a number,
# and milliseconds.
SILENT_CONNECTION_ENDS = {
    "keepalives_idle": 60,
    "keepalives_interval": 10,
    "keepalives_count": 6,
    "tcp_user_timeout": 120_000,
}


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


def conninfo_of(connection: Connection, **defaults: Any) -> str:
    """The libpq string of a Postgres connection, with its extra, which replaces ``defaults`` and the times of a silent connection."""
    return make_conninfo(
        host=connection.host or "",
        port=connection.port or _DEFAULT_PORT,
        dbname=connection.schema or "",
        user=connection.login or "",
        password=connection.password or "",
        **{**SILENT_CONNECTION_ENDS, **defaults, **connection.extra_dejson},
    )
