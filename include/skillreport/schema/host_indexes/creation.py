"""The command ``indexes``: list missing indexes, and create them as the tables' owner without blocking the application's writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import errors, sql

from include.skillreport.core.database import Statements
from include.skillreport.core.errors import SchemaError, reason_of
from include.skillreport.schema.checks.lock_waits import lock_waits_named
from include.skillreport.schema.checks.privileges import OWNER, may_act_as
from include.skillreport.schema.checks.sessions import direct_connection
from include.skillreport.schema.host_indexes.listing import (
    HOST_INDEXES,
    HostIndex,
    IndexState,
    forget,
    has_record,
    index_of,
    index_states,
    record_present,
)

_SQL = Statements(Path(__file__).parent)

# An arbitrary number.
_CREATION_LOCK = 7_018_020
LOCK_SECONDS = 60.0


def missing_host_indexes(dsn: str) -> list[IndexState]:
    """The missing indexes, and the leftovers of interrupted creations. Changes nothing.

    :raises SchemaError: the login is not suitable, or the database has none of the tables.
    """
    with _session(dsn) as connection:
        return [state for state in _states(connection) if not state.present or state.is_leftover]


def list_indexes(dsn: str) -> str:
    """The same with what to do, in Japanese."""
    states = missing_host_indexes(dsn)
    if not states:
        return "足りない索引はありません。"
    missing = [state for state in states if not state.present]
    lines = [
        *(line for state in states for line in _lines(state)),
        "",
        "`prisma db push` は、schema.prisma にない索引を削除します。"
        "上の @@index の行を、その表の model に加えてください（項目名が列名と違うときは、項目名を書きます）。",
        f"足りない索引は {len(missing)} 件です。"
        "`python -m include.skillreport indexes --create` で作成できます（表への書き込みは止まりません）。",
    ]
    return "\n".join(lines)


def _lines(state: IndexState) -> list[str]:
    index = state.index
    rows = "行数不明" if state.rows is None else f"約 {state.rows:,} 行"
    return [
        f"{index.subject}（{rows}）: {'、'.join(index.readers)} が読みます。",
        *([f"  {index.removal}"] if state.is_leftover else []),
        f"  {index.statement};",
        f"  {index.prisma_line}",
    ]


def create_indexes(dsn: str, names: Sequence[str] = ()) -> Iterator[str]:
    """Create the missing indexes, or only the named ones. Yields a Japanese sentence about each new index.

    Existing indexes are not changed. If schema ``batch`` is deployed, ``batch.host_index`` is updated after each index.
    :raises SchemaError: the login is not suitable, a name is unknown, another session creates indexes, or an index cannot be created.
        The text says how to remove an unusable index that an interrupted creation has left.
    """
    chosen = [index_of(name) for name in names] or HOST_INDEXES
    with _session(dsn) as connection:
        if _SQL.row(connection, "begin_creation", lock=_CREATION_LOCK) != (True,):
            raise SchemaError("別の `indexes --create` が実行中です。終わってからやり直してください。")
        states = _states(connection, chosen)
        absent = {index.name for index in chosen if names} - {state.index.name for state in states}
        if absent:
            raise SchemaError(f"{'、'.join(sorted(absent))} の表か列が、このデータベースにありません。")
        leftovers = [state.index.removal for state in states if state.is_leftover]
        if leftovers:
            raise SchemaError("".join([*leftovers, "そのあとで、もう一度実行してください。"]))
        _record(connection)
        for state in states:
            if not state.present:
                _create(connection, dsn, state.index)
                # Record it now, because the next index may fail.
                _record(connection)
                yield f"{state.index.name} を作成しました。model に {state.index.prisma_line} を加えてください。"


def forget_indexes(dsn: str, names: Sequence[str]) -> None:
    """Delete the records of unneeded indexes, so that ``check`` does not report them as lost. The indexes stay."""
    indexes = [index_of(name) for name in names]
    with _session(dsn) as connection, connection.transaction():
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER)))
        for index in indexes:
            forget(connection, index)


def _states(connection: psycopg.Connection, indexes: Sequence[HostIndex] = HOST_INDEXES) -> list[IndexState]:
    """Keeps the order of ``indexes``. :raises SchemaError: the database has no application tables."""
    states = {state.index: state for state in index_states(connection)}
    if not states:
        raise SchemaError(
            f"データベース {connection.info.dbname} にアプリケーションの表がありません。接続先を確認してください。"
        )
    return [states[index] for index in indexes if index in states]


@contextmanager
def _session(dsn: str) -> Iterator[psycopg.Connection]:
    with direct_connection(dsn, lock_timeout=f"{1000 * LOCK_SECONDS:.0f}ms", autocommit=True) as connection:
        try:
            yield connection
        except errors.InsufficientPrivilege as error:
            raise SchemaError(
                f'ログイン "{connection.info.user}" の権限が足りません: {reason_of(error)}。'
                "ホストの表の所有者で実行してください。"
            ) from None


def _create(connection: psycopg.Connection, dsn: str, index: HostIndex) -> None:
    phase = f'表 "{index.table}" の索引 {index.name} の作成'
    try:
        with lock_waits_named(connection, dsn, phase, LOCK_SECONDS):
            connection.execute(index.statement)
    except errors.InsufficientPrivilege:
        raise
    except SchemaError as waited:
        raise SchemaError(f"{waited}{_remains(connection, index)}") from None
    except errors.Error as error:
        raise SchemaError(_explained(error, index) + _remains(connection, index)) from None


def _explained(error: errors.Error, index: HostIndex) -> str:
    match error:
        case errors.DuplicateTable():
            return (
                f"{index.name} という名前の索引か表がもうあります。別のセッションが作成中なら、終わるまで待ってください。"
                "別のものなら、名前を変えるか削除してから、やり直してください。"
            )
    return f"{index.name} を作成できませんでした: {reason_of(error)}。"


def _remains(connection: psycopg.Connection, index: HostIndex) -> str:
    try:
        return "".join(
            state.index.removal for state in index_states(connection, [index]) if state.is_leftover
        )
    except errors.Error:
        return "使えない索引が残っているかもしれません。`python -m include.skillreport indexes` で確認してください。"


def _record(connection: psycopg.Connection) -> None:
    """Without the schema or the membership, a later ``upgrade`` updates the table."""
    if not has_record(connection) or not may_act_as(connection, OWNER):
        return
    with connection.transaction():
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER)))
        record_present(connection)
