"""Create indexes on the application's tables, as the login that owns the tables and while the application writes to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import errors, sql

from include.skillreport.core.database import Statements
from include.skillreport.core.errors import SchemaError, reason_of
from include.skillreport.schema.checks.privileges import OWNER, may_act_as
from include.skillreport.schema.checks.sessions import direct_connection
from include.skillreport.schema.host_contract import check_host
from include.skillreport.schema.host_indexes.advice import Advice, Verdict, advise
from include.skillreport.schema.host_indexes.measurement import find_indexes
from include.skillreport.schema.host_indexes.recommended import MULTI_OPS, RECOMMENDED, HostIndex, Kind
from include.skillreport.schema.host_indexes.record import forget, record_present

_SQL = Statements(Path(__file__).parent)

# An arbitrary number, the same for all sessions that create indexes.
_CREATION_LOCK = 7_018_020
LOCK_TIMEOUT = "60s"


def measure_indexes(dsn: str) -> list[Advice]:
    """The advice for the database of ``dsn``. Changes nothing. :raises SchemaError: the host or the login is not suitable."""
    with _session(dsn) as connection:
        connection.execute("SET default_transaction_read_only = on")
        return advise(connection)


def create_indexes(dsn: str, names: Sequence[str] = ()) -> Iterator[str]:
    """Create the advised indexes, or those with the given names. Yields a Japanese sentence about each.

    An existing index is not changed. If an aborted creation has left an unusable index, it is dropped and created again. After each index,
    ``batch.host_index`` is updated if schema ``batch`` is deployed.
    :raises SchemaError: the host or the login is not suitable, a name is unknown, another session creates indexes, or an index cannot be
        created; the text names an unusable index that remains.
    """
    chosen = [index_of(name) for name in names] or list(RECOMMENDED)
    with _session(dsn) as connection:
        if _SQL.row(connection, "begin_creation", lock=_CREATION_LOCK) != (True,):
            raise SchemaError("別の `indexes --create` が実行中です。終わってからやり直してください。")
        all_advice = [each for each in advise(connection, chosen) if names or each.verdict is Verdict.ADVISED]
        _require_ownership(connection, all_advice)
        # A large table takes longer than the application's statement timeout.
        connection.execute("SET statement_timeout = 0")
        _record(connection)
        for advice in all_advice:
            sentence = _create(connection, advice)
            # Record it at once, because the next index may fail.
            _record(connection, [advice.index])
            yield sentence


def forget_indexes(dsn: str, names: Sequence[str]) -> None:
    """Delete the records of indexes that are no longer needed, so that ``check`` does not report them as lost. The indexes stay."""
    indexes = [index_of(name) for name in names]
    with _session(dsn) as connection, connection.transaction():
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER)))
        for index in indexes:
            forget(connection, index)


def index_of(name: str) -> HostIndex:
    """The recommended index of this name. :raises SchemaError: there is none; lists the names."""
    for index in RECOMMENDED:
        if index.name == name:
            return index
    known = "、".join(index.name for index in RECOMMENDED)
    raise SchemaError(f"索引 {name} は一覧にありません。次のどれかを指定してください: {known}。")


@contextmanager
def _session(dsn: str) -> Iterator[psycopg.Connection]:
    """A connection in autocommit mode to a host that has all tables."""
    with direct_connection(dsn, autocommit=True) as connection:
        connection.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
        check_host(connection)
        try:
            yield connection
        except errors.InsufficientPrivilege as error:
            raise SchemaError(
                f'ログイン "{connection.info.user}" の権限が足りません: {reason_of(error)}。'
                "ホストの表の所有者で実行してください。"
            ) from None


def _require_ownership(connection: psycopg.Connection, all_advice: Sequence[Advice]) -> None:
    foreign = sorted({each.index.table for each in all_advice if not each.table.is_owner})
    if foreign:
        tables = "、".join(f'"{table}"' for table in foreign)
        raise SchemaError(
            f'ログイン "{connection.info.user}" は表 {tables} の所有者ではないため、索引を作成できません。'
            "ホストの表の所有者で実行してください。"
        )


def _create(connection: psycopg.Connection, advice: Advice) -> str:
    index = advice.index
    if advice.present:
        return f"{index.name}: すでに {advice.present.name} があります。"
    if advice.verdict is Verdict.IN_PROGRESS:
        return f"{index.name}: 別のセッションが作成中です。"
    if advice.kind is None:
        return f'{index.name}: 表 "{index.table}" に行がないため、種類を決められません。作成しませんでした。'
    try:
        if advice.broken:
            _drop(connection, index)
        connection.execute(_statement(index, advice.kind))
    except errors.Error as error:
        raise SchemaError(_explained(error, index) + _clean_up(connection, index)) from None
    return f"{index.name}: {advice.kind.label} を作成しました。"


def _statement(index: HostIndex, kind: Kind) -> sql.Composed:
    operator_class = sql.SQL(" " + MULTI_OPS if kind is Kind.BRIN else "")
    return sql.SQL("CREATE INDEX CONCURRENTLY {name} ON {table} USING {method} ({column}{operators})").format(
        name=sql.Identifier(index.name),
        table=sql.Identifier("public", index.table),
        method=sql.SQL("brin" if kind is Kind.BRIN else "btree"),
        column=sql.Identifier(index.column),
        operators=operator_class,
    )


def _drop(connection: psycopg.Connection, index: HostIndex) -> None:
    name = sql.Identifier("public", index.name)
    connection.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(name))


def _clean_up(connection: psycopg.Connection, index: HostIndex) -> str:
    """Drop the unusable index that a failed creation has left. If that is not possible, returns the action; otherwise empty."""
    try:
        found = find_indexes(connection, index)
        if any(each.is_mine and not each.is_valid and not each.is_in_progress for each in found):
            _drop(connection, index)
    except errors.Error:
        # The cause of the failure may stop the cleanup too. After a lost connection it is unknown whether the index exists.
        return (
            f"使えない索引 {index.name} が残っているため（接続が切れたときは、残っている可能性があります）、"
            "表への書き込みのたびに手間がかかります。"
            f"原因がなくなってから `python -m include.skillreport indexes --create {index.name}` で作り直すか、"
            f'`DROP INDEX CONCURRENTLY public."{index.name}"` で削除してください。'
        )
    return ""


def _explained(error: errors.Error, index: HostIndex) -> str:
    match error:
        case errors.LockNotAvailable():
            return (
                f'表 "{index.table}" を使う長いトランザクションが {LOCK_TIMEOUT} 以内に終わらないため、{index.name} を'
                "作成できませんでした。終わってからやり直してください。"
            )
        case errors.DuplicateTable():
            return f"{index.name} という名前の別の索引か表があります。名前を変えるか削除してから、やり直してください。"
    return f"{index.name} を作成できませんでした: {reason_of(error)}。"


def _record(connection: psycopg.Connection, indexes: Sequence[HostIndex] = RECOMMENDED) -> None:
    """Update ``batch.host_index``. If the schema or the membership is missing, a later ``upgrade`` updates it."""
    if not _SQL.row(connection, "has_record")[0] or not may_act_as(connection, OWNER):
        return
    with connection.transaction():
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER)))
        record_present(connection, indexes)
