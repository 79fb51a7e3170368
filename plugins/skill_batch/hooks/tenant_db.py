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

from skill_batch.connections import defaults_of, required_connection, unknown_value, valid_extra
from include.skillreport.core.database import set_up_session, tenant_transaction
from include.skillreport.core.errors import (
    BatchError,
    DatabaseUnavailableError,
    SchemaError,
    is_recoverable,
    reason_of,
)
from include.skillreport.core.lasting_connection import (
    StandbyError,
    connect_within,
    keep_address,
    refuse_standby,
)
from include.skillreport.schema.checks.privileges import not_a_member
from include.skillreport.schema.checks.sessions import find_lost_sessions, find_read_only_login

_STREAM_BATCH_ROWS = 1_000

# A failover takes longer than a task's retries, which follow after 2 and 4 seconds.
_FAILOVER_SECONDS = 60


class _BatchDbHook(PostgresHook):
    """A PostgreSQL hook whose connections act as a batch role, in UTC, with limits of their own.

    The connection's login must be that role or a member of it. Connections are in autocommit mode; open transactions explicitly.

    :param statement_timeout: a task passes its time limit, so that no statement and no idle transaction outlives the task. None: no limit.
    """

    role: ClassVar[str]

    def __init__(self, *args: Any, statement_timeout: timedelta | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.statement_timeout = statement_timeout

    @classmethod
    def get_connection(cls, conn_id: str) -> Connection:
        """``required_connection``. Values of its extra override ours. :raises ConnectionInvalidError: the extra is no JSON object."""
        connection = required_connection(conn_id, "Postgres")
        connection.extra = json.dumps({**defaults_of(connection), **valid_extra(connection)})
        return connection

    def get_conn(self) -> psycopg.Connection:
        """Connect and set the role. Waits a minute for a server that does not answer, or is not promoted yet.

        :raises ConnectionMissingError: Airflow has no such connection.
        :raises ConnectionInvalidError: its extra is invalid.
        :raises AirflowUnavailableError: Airflow does not answer; a retry may help.
        :raises DatabaseUnavailableError: PostgreSQL does not answer, is a standby, or rejects the login; a retry may help.
        :raises SchemaError: the login may not act as the role, or its transactions cannot write.
        """
        return connect_within(_FAILOVER_SECONDS, self._connected)

    def test_connection(self) -> tuple[bool, str]:  # type: ignore[override]
        """Connect once, without waiting. Airflow's connection form calls it."""
        try:
            self._connected().close()
        except BatchError as error:
            return False, reason_of(error)
        return True, "接続できました"

    def _connected(self) -> psycopg.Connection:
        connection = self._opened()
        try:
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _opened(self) -> psycopg.Connection:
        try:
            connection = super().get_conn()
        except psycopg.ProgrammingError as error:
            raise unknown_value(self.get_conn_id(), error) from None
        except psycopg.OperationalError as error:
            # A failed connection has no SQLSTATE, so a wrong password and a starting server cannot be distinguished.
            raise self._unavailable(error) from None
        # The provider uses psycopg 3, because requirements.txt installs it.
        assert isinstance(connection, psycopg.Connection)
        return connection

    def _set_up(self, connection: psycopg.Connection) -> None:
        connection.autocommit = True
        conn_id, login = self.get_conn_id(), connection.info.user
        try:
            refuse_standby(connection)
            for finding in find_read_only_login(connection):
                raise SchemaError(f"接続 '{conn_id}' の{finding.text}")
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(self.role)))
        except StandbyError as error:
            raise self._unavailable(error) from None
        except psycopg.Error as error:
            if is_recoverable(error):
                raise DatabaseUnavailableError(
                    f"PostgreSQL への接続（接続 '{conn_id}'）が、ロール {self.role} になる前に切れました（{reason_of(error)}）。"
                    "サーバーを確認してください。"
                ) from None
            raise SchemaError(f"接続 '{conn_id}' の{self._refusal(error, login)}") from None
        limit = int(self.statement_timeout.total_seconds() * 1000) if self.statement_timeout else 0
        # No transaction_timeout: PostgreSQL ignores a statement's limit that is not shorter, and a lost session would be retried.
        set_up_session(
            connection,
            statement_timeout=f"{limit}ms",
            idle_in_transaction_session_timeout=f"{limit}ms",
        )
        about, extra = self.connection, self.connection.extra_dejson
        keep_address(
            connection,
            host=about.host,
            hostaddr=extra.get("hostaddr"),
            port=extra.get("port", about.port),
        )

    def _unavailable(self, error: psycopg.Error) -> DatabaseUnavailableError:
        address = f"{self.connection.host}:{self.connection.port or 5432}"
        return DatabaseUnavailableError(
            f"PostgreSQL {address} に接続できません（接続 '{self.get_conn_id()}'）。"
            f"起動するか接続の設定を直してください（{reason_of(error)}）。"
        )

    def check_login(self) -> None:
        """Connect twice, and check the sessions.

        :raises SchemaError: a connection pooler changes the sessions, or an error of ``get_conn``.
        :raises DatabaseUnavailableError: see ``get_conn``.
        """
        with self.connect() as first, self.connect() as second:
            for finding in find_lost_sessions(first, second):
                raise SchemaError(f"接続 '{self.get_conn_id()}' の{finding.text}")

    def _refusal(self, error: psycopg.Error, login: str) -> str:
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
        """One connection with one transaction for ``tenant_ids``. Other tenants' rows are not visible."""
        with self.connect() as connection, tenant_transaction(connection, tenant_ids):
            yield connection

    def stream(
        self, query: LiteralString, parameters: Mapping[str, Any] | None = None, *, tenant_ids: Sequence[str]
    ) -> Iterator[tuple[Any, ...]]:
        """The rows of a query through a server-side cursor, so that memory does not grow with their number."""
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

    The role has privileges only after ``upgrade --with-deletion``.
    """

    conn_name_attr = "cleanup_db_conn_id"
    default_conn_name = "skill_batch_cleanup_db"
    conn_type = "skill_batch_cleanup_db"
    hook_name = "スキルレポート DB（削除）"
    role = "batch_cleanup"
