"""The board's connections: a small pool that reads the views ``batch.board_*`` and stores users' entries for a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from psycopg import errors, sql
from psycopg_pool import ConnectionPool, PoolTimeout

from skill_batch.connections import conninfo_of
from include.skillreport.core.database import set_up_session
from include.skillreport.core.errors import ConnectionInvalidError, reason_of
from include.skillreport.schema.deploy import BOARD
from include.skillreport.schema.deployment_check import missing_part
from include.skillreport.schema.revisions import find_other_revision

CONNECTION = "skill_batch_board_db"

# The connections of one API server process. A page uses one while it reads.
MOST_CONNECTIONS = 4
# A page's maximum wait for a connection, and a statement's maximum time.
_WAIT_SECONDS = 3.0
_STATEMENT_MILLISECONDS = 5_000
_IDLE_SECONDS = 60.0
# The maximum time of a page's statements together, as a multiple of one statement's time (PostgreSQL 17 and later).
_PAGE_FACTOR = 2
# The reason of an outage is cached this long.
_DIAGNOSIS_SECONDS = 5.0
CONNECT_SECONDS = 3

_READING = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_WRITING = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE"

_NO_SCHEMA = (
    errors.InvalidSchemaName,
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.UndefinedFunction,
)


class BoardUnavailableError(Exception):
    """The board cannot read its database. The message tells the operator the problem and the fix."""


@dataclass(frozen=True)
class _Login:
    """The connection's libpq values, to detect changes by an operator."""

    conninfo: str


class BoardDatabase:
    """The pool of this process. The first page creates it. A change of the Airflow connection recreates it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: ConnectionPool[psycopg.Connection[Any]] | None = None
        self._login: _Login | None = None
        self._diagnosis: tuple[float, str] | None = None

    @contextmanager
    def read(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection in a read-only transaction, so that a page's statements see the same rows.

        :raises BoardUnavailableError: the database cannot be read.
        """
        with self._transaction(_READING) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection in a transaction that may write. The role may only insert into ``batch.entered_values``.

        :raises BoardUnavailableError: the database cannot be written.
        """
        with self._transaction(_WRITING) as connection:
            yield connection

    @contextmanager
    def _transaction(self, isolation: LiteralString) -> Iterator[psycopg.Connection[Any]]:
        pool, login = self._ready_pool()
        try:
            with pool.connection(timeout=_WAIT_SECONDS) as connection, connection.transaction():
                connection.execute(isolation)
                _refuse_other_schema(connection)
                yield connection
        except PoolTimeout:
            raise self._why_no_connection(login) from None
        except psycopg.Error as error:
            raise _explained(error) from error

    def _why_no_connection(self, login: _Login) -> BoardUnavailableError:
        """Connect once more, because the pool does not report the reason. The answer is cached for some seconds."""
        with self._lock:
            if self._diagnosis is None or time.monotonic() - self._diagnosis[0] > _DIAGNOSIS_SECONDS:
                self._diagnosis = (time.monotonic(), _diagnosis(login))
            return BoardUnavailableError(self._diagnosis[1])

    def close(self) -> None:
        """Close the pool."""
        with self._lock:
            if self._pool is not None:
                self._pool.close()
            self._pool, self._login, self._diagnosis = None, None, None

    def _ready_pool(self) -> tuple[ConnectionPool[psycopg.Connection[Any]], _Login]:
        login = _login()
        with self._lock:
            if self._pool is None or login != self._login:
                if self._pool is not None:
                    self._pool.close()
                self._pool = ConnectionPool(
                    login.conninfo,
                    kwargs={"autocommit": True},
                    configure=_configure,
                    min_size=0,
                    max_size=MOST_CONNECTIONS,
                    max_idle=_IDLE_SECONDS,
                    reconnect_timeout=_WAIT_SECONDS,
                    check=ConnectionPool.check_connection,
                    open=True,
                    name="skill-batch-board",
                )
                self._login, self._diagnosis = login, None
            return self._pool, login


def _configure(connection: psycopg.Connection[Any]) -> None:
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(BOARD)))
    set_up_session(
        connection,
        statement_timeout=f"{_STATEMENT_MILLISECONDS}ms",
        transaction_timeout=f"{_PAGE_FACTOR * _STATEMENT_MILLISECONDS}ms",
    )


def _refuse_other_schema(connection: psycopg.Connection[Any]) -> None:
    """Check the schema. :raises BoardUnavailableError: schema ``batch`` or its views are missing, or have another revision than this
    code.
    """
    if connection.execute("SELECT to_regclass('batch.board_deployment')").fetchone() == (None,):
        # Views without a revision belong to other code.
        problem = missing_part(connection) or find_other_revision("不明")
    else:
        # The view of a schema from before version 1.0.0 has no column oldest_code.
        deployed = connection.execute(
            "SELECT revision, to_jsonb(board_deployment) ->> 'oldest_code' FROM batch.board_deployment"
        ).fetchone()
        problem = find_other_revision(*(deployed or (None,)))
    if problem:
        raise BoardUnavailableError(problem.text)


def _login() -> _Login:
    # skill_batch.lookup needs a task's supervisor, which the API server does not have.
    try:
        connection = BaseHook.get_connection(CONNECTION)
    except AirflowNotFoundException:
        raise BoardUnavailableError(
            f"Airflow の接続 '{CONNECTION}' が定義されていません。Connections で作成してください（種類 Postgres、ログイン {BOARD}）。"
        ) from None
    try:
        return _Login(conninfo_of(connection, connect_timeout=CONNECT_SECONDS))
    except ConnectionInvalidError as error:
        raise BoardUnavailableError(str(error)) from None


def _diagnosis(login: _Login) -> str:
    try:
        with psycopg.connect(login.conninfo, autocommit=True) as connection:
            _configure(connection)
    except psycopg.Error as error:
        return str(_explained(error))
    return "データベースへの接続がすべて使われています。しばらくしてから開き直してください。"


def _explained(error: psycopg.Error) -> BoardUnavailableError:
    reason = reason_of(error)
    match error:
        case _ if isinstance(error, _NO_SCHEMA):
            advice = "スキーマ batch のビューがこのコードのものではありません。`python -m include.skillreport upgrade` を実行してください"
        case errors.InsufficientPrivilege():
            advice = f"接続 '{CONNECTION}' のログインに権限がありません。ロール {BOARD} を与えてください（GRANT {BOARD} TO ログイン）"
        case errors.InvalidParameterValue() | errors.UndefinedObject():
            advice = (
                f"ロール {BOARD} がありません。`python -m include.skillreport upgrade` を実行してください"
            )
        case errors.QueryCanceled() | errors.TransactionTimeout():
            advice = f"{_STATEMENT_MILLISECONDS // 1000} 秒以内に読めませんでした。データベースの負荷を確認してください"
        case errors.OperationalError() | errors.InterfaceError():
            advice = f"データベースに接続できません。サーバーと接続 '{CONNECTION}' を確認してください"
        case _:
            advice = "データベースの文が失敗しました。API サーバーのログを確認してください"
    return BoardUnavailableError(f"{advice}（{reason}）。")
