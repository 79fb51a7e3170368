"""The hooks for the skill report database: for the tenants of a transaction, across tenants, and for deletions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ClassVar, LiteralString

import psycopg
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import Connection
from psycopg import sql

from skill_batch.connections import (
    SILENT_CONNECTION_ENDS,
    required_connection,
    unknown_value,
    valid_extra,
)
from include.skillreport.core.database import set_up_session, tenant_transaction
from include.skillreport.core.errors import DatabaseUnavailableError, SchemaError, is_recoverable, reason_of
from include.skillreport.schema.checks.privileges import not_a_member
from include.skillreport.schema.checks.sessions import find_lost_sessions, find_read_only_login

_STREAM_BATCH_ROWS = 1_000


class _BatchDbHook(PostgresHook):
    """A PostgreSQL hook whose connections act as one of the batch roles, in UTC, with a statement timeout.

    The connection's login must be that role or a member of it. Connections are in autocommit mode; open transactions explicitly.

    :param statement_timeout: a task passes its time limit, so that no statement continues after the task.
    """

    role: ClassVar[str]

    def __init__(self, *args: Any, statement_timeout: timedelta | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.statement_timeout = statement_timeout

    @classmethod
    def get_connection(cls, conn_id: str) -> Connection:
        """Call ``required_connection``; values of its extra come before our own. :raises ConnectionInvalidError: it is no JSON object."""
        connection = required_connection(conn_id, "Postgres")
        connection.extra = json.dumps({**SILENT_CONNECTION_ENDS, **valid_extra(connection)})
        return connection

    def get_conn(self) -> psycopg.Connection:
        """Connect and set the role.

        :raises ConnectionMissingError: Airflow has no such connection.
        :raises ConnectionInvalidError: its extra cannot be used.
        :raises AirflowUnavailableError: Airflow does not answer; a retry may help.
        :raises DatabaseUnavailableError: PostgreSQL does not answer, or refuses the login; a retry may help.
        :raises SchemaError: the login may not act as the role.
        """
        conn_id = self.get_conn_id()
        try:
            connection = super().get_conn()
        except psycopg.ProgrammingError as error:
            raise unknown_value(conn_id, error) from None
        except psycopg.OperationalError as error:
            # A failed connection has no SQLSTATE, so a wrong password and a starting server cannot be distinguished.
            raise DatabaseUnavailableError(
                f"PostgreSQL {self.connection.host}:{self.connection.port or 5432} に接続できません（接続 '{conn_id}'）。"
                f"起動するか接続の設定を直してください（{reason_of(error)}）。"
            ) from None
        # The provider uses psycopg 3, because requirements.txt installs it.
        assert isinstance(connection, psycopg.Connection)
        connection.autocommit = True
        login = connection.info.user
        try:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(self.role)))
        except psycopg.Error as error:
            connection.close()
            if is_recoverable(error):
                raise DatabaseUnavailableError(
                    f"PostgreSQL への接続（接続 '{conn_id}'）が、ロール {self.role} になる前に切れました（{reason_of(error)}）。"
                    "サーバーを確認してください。"
                ) from None
            raise SchemaError(f"接続 '{conn_id}' の{self._refusal(error, login)}") from None
        limit = int(self.statement_timeout.total_seconds() * 1000) if self.statement_timeout else 0
        set_up_session(connection, statement_timeout=f"{limit}ms")
        return connection

    def check_login(self) -> None:
        """Connect twice, and check the sessions.

        :raises SchemaError: a connection pooler changes them, they cannot write, or an error of ``get_conn``.
        :raises DatabaseUnavailableError: see ``get_conn``.
        """
        with self.connect() as first, self.connect() as second:
            for finding in find_lost_sessions(first, second) + find_read_only_login(first):
                raise SchemaError(f"接続 '{self.get_conn_id()}' の{finding.text}")

    def _refusal(self, error: psycopg.Error, login: str) -> str:
        """Why the login may not act as the role, and what to do."""
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            return not_a_member(login, self.role).text
        return (
            f'ログイン "{login}" はロール {self.role} になれません: {reason_of(error)}。'
            f'`python -m include.skillreport upgrade` のあと、`GRANT {self.role} TO "{login}"` を実行してください。'
        )

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection]:
        """A connection that is closed at the end of the block."""
        connection = self.get_conn()
        try:
            yield connection
        finally:
            connection.close()


class TenantDbHook(_BatchDbHook):
    """Works as ``batch_tenant``: row-level security shows only the rows of the transaction's tenants."""

    conn_name_attr = "tenant_db_conn_id"
    default_conn_name = "skill_batch_tenant_db"
    conn_type = "skill_batch_tenant_db"
    hook_name = "スキルレポート DB（テナント処理）"
    role = "batch_tenant"

    @contextmanager
    def transaction(self, tenant_ids: Sequence[str]) -> Iterator[psycopg.Connection]:
        """One connection with one transaction in the context of ``tenant_ids``; without the context no row is visible."""
        with self.connect() as connection, tenant_transaction(connection, tenant_ids):
            yield connection

    def stream(
        self, query: LiteralString, parameters: Mapping[str, Any] | None = None, *, tenant_ids: Sequence[str]
    ) -> Iterator[tuple[Any, ...]]:
        """The rows of a query through a server-side cursor, so that memory does not grow with the number of rows."""
        with self.transaction(tenant_ids) as connection, connection.cursor(name="stream") as cursor:
            cursor.itersize = _STREAM_BATCH_ROWS
            cursor.execute(query, parameters)
            yield from cursor


class PlatformDbHook(_BatchDbHook):
    """Works as ``batch_platform``, for the steps across tenants: open, prepare and close a run."""

    conn_name_attr = "platform_db_conn_id"
    default_conn_name = "skill_batch_platform_db"
    conn_type = "skill_batch_platform_db"
    hook_name = "スキルレポート DB（全体処理）"
    role = "batch_platform"


class CleanupDbHook(_BatchDbHook):
    """Works as ``batch_cleanup``, which deletes the application's rows of the transaction's tenants, through views.

    The role has its privileges only after ``upgrade --with-deletion``.
    """

    conn_name_attr = "cleanup_db_conn_id"
    default_conn_name = "skill_batch_cleanup_db"
    conn_type = "skill_batch_cleanup_db"
    hook_name = "スキルレポート DB（削除）"
    role = "batch_cleanup"
