"""Airflow connections: look up one that must exist, and write it for libpq."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import make_conninfo

from skill_batch.extras import ExtraError, extra_of
from skill_batch.lookup import find_connection
from include.skillreport.core.errors import ConnectionInvalidError, ConnectionMissingError, reason_of
from include.skillreport.core.lasting_connection import CONNECT_SECONDS

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

# Of several hosts libpq takes the primary, and a dead one takes no longer than the others. See ``refuse_standby`` for a single host.
_OF_SEVERAL_HOSTS = {"target_session_attrs": "primary", "connect_timeout": CONNECT_SECONDS}


def defaults_of(connection: Connection) -> dict[str, Any]:
    """libpq's parameters of a connection, which its extra replaces."""
    return SILENT_CONNECTION_ENDS | (_OF_SEVERAL_HOSTS if "," in (connection.host or "") else {})


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
    """The libpq string of a Postgres connection, with its extra, which replaces ``defaults`` and the times of a silent connection.

    :raises ConnectionInvalidError: libpq does not know a value of the extra, or the extra is no JSON object.
    """
    values = {
        "host": connection.host or "",
        "port": connection.port or _DEFAULT_PORT,
        "dbname": connection.schema or "",
        "user": connection.login or "",
        "password": connection.password or "",
        **defaults_of(connection),
        **defaults,
        **valid_extra(connection),  # also ports that differ
    }
    try:
        return make_conninfo("", **values)
    except psycopg.ProgrammingError as error:
        raise unknown_value(connection.conn_id, error) from None


def valid_extra(connection: Connection) -> dict[str, Any]:
    """The extra of a connection of a batch. :raises ConnectionInvalidError: it is no JSON object."""
    try:
        return extra_of(connection)
    except ExtraError as error:
        raise ConnectionInvalidError(str(error)) from None


def unknown_value(conn_id: str, error: psycopg.ProgrammingError) -> ConnectionInvalidError:
    """The error for an extra with a value that libpq does not know."""
    return ConnectionInvalidError(
        f"Airflow の接続 '{conn_id}' の Extra に、libpq が知らない項目があります（{reason_of(error)}）。"
    )
