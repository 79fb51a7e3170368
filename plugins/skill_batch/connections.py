"""Look up required Airflow connections, and convert them for libpq."""

from __future__ import annotations

import os
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

# libpq parameters that end a connection after two minutes without an answer (seconds, a number, milliseconds). A network that drops
# packets closes no connection, so a task would wait until its time limit. PostgreSQL's machine answers the probes during long statements,
# too.
SILENT_CONNECTION_ENDS = {
    "keepalives_idle": 60,
    "keepalives_interval": 10,
    "keepalives_count": 6,
    "tcp_user_timeout": 120_000,
}

# Of several hosts, libpq uses the primary and gives up a dead host in time. See ``refuse_standby`` for a single host.
_OF_SEVERAL_HOSTS = {"target_session_attrs": "primary", "connect_timeout": CONNECT_SECONDS}


def defaults_of(connection: Connection) -> dict[str, Any]:
    """libpq's default parameters of a connection. Its extra overrides them."""
    several = _OF_SEVERAL_HOSTS if "," in (connection.host or "") else {}
    return SILENT_CONNECTION_ENDS | several | _named_run()


def _named_run() -> dict[str, str]:
    """The application's name: in a task, the DAG and its run, which Airflow puts into the environment. PostgreSQL keeps 63 bytes."""
    about = [os.environ.get(f"AIRFLOW_CTX_{name}", "") for name in ("DAG_ID", "DAG_RUN_ID")]
    return {"application_name": " ".join(about)} if all(about) else {}


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
    """The libpq string of a Postgres connection. Its extra overrides ``defaults`` and the timeouts of a silent connection.

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
        **valid_extra(connection),  # also different ports
    }
    try:
        return make_conninfo("", **values)
    except psycopg.ProgrammingError as error:
        raise unknown_value(connection.conn_id, error) from None


def valid_extra(connection: Connection) -> dict[str, Any]:
    """The extra of a batch's connection. :raises ConnectionInvalidError: it is no JSON object."""
    try:
        return extra_of(connection)
    except ExtraError as error:
        raise ConnectionInvalidError(str(error)) from None


def unknown_value(conn_id: str, error: psycopg.ProgrammingError) -> ConnectionInvalidError:
    """The error for a value in the extra that libpq does not know."""
    return ConnectionInvalidError(
        f"Airflow の接続 '{conn_id}' の Extra に、libpq が知らない項目があります（{reason_of(error)}）。"
    )
