"""Check a connection's sessions: a pooler must keep them, and they must be able to write."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import errors
from psycopg.conninfo import make_conninfo

from include.skillreport.core.database import SESSION_LIMITS, Statements, read_conninfo, set_up_session
from include.skillreport.schema.checks.findings import Finding, FindingSeverity, error, refuse, remark
from include.skillreport.schema.checks.server import find_server_problems

_SQL = Statements(Path(__file__).parent)

# The port of such a pooler at several providers (Supabase).
_POOLER_PORT = "6543"

# PostgreSQL accepts any setting with a prefix in the startup packet. PgBouncer rejects unknown settings or ignores the options.
_PROBE = "batch.probe"
_REFUSED_PROBE = "unsupported startup parameter"
# PgBouncer's timeout while it waits for a free session.
_FULL_POOL = "query_wait_timeout"

# Other clients may take a session between two statements, so one round may miss a change.
_ROUNDS = 3

_DIRECT_HOST = "プーラーを通さない直接のホスト（Neon ではホスト名から -pooler を除いたもの、ポート 5432）"
# What a limit does to a session.
_LIMITED = {
    "statement_timeout": "これより長い文が止まります（SQLSTATE 57014）",
    "lock_timeout": "これより長くロックを待つ文が止まります（SQLSTATE 55P03）",
    "idle_in_transaction_session_timeout": "トランザクションの中でこれより長く文を待つ接続が切れます（SQLSTATE 25P03）",
    "idle_session_timeout": "トランザクションの外でこれより長く文を待つ接続が切れます（SQLSTATE 57P05）",
    "transaction_timeout": "これより長いトランザクションの接続が切れます（SQLSTATE 25P04）",
}

_NEEDS_DIRECT_HOST = f"DDL、pg_dump、スナップショットのために、{_DIRECT_HOST}を指定してください。"
_NEEDS_SESSION = (
    "ロールと設定がほかの接続のものと入れ替わるため、プーラーをセッションモードにするか、"
    f"{_DIRECT_HOST}を指定してください。"
)


@contextmanager
def direct_connection(
    dsn: str, *, lock_timeout: str, autocommit: bool = False
) -> Iterator[psycopg.Connection]:
    """A connection for DDL, whose statements wait ``lock_timeout`` for a lock and have no other limit.

    :raises SchemaError: a pooler answers, or the server is not suitable.
    """
    refuse(find_pooler_name(dsn))
    connection, findings = connect(dsn, autocommit=autocommit, lock_timeout=lock_timeout)
    with connection:
        refuse([*findings, *find_server_problems(connection)])
        yield connection


def connect(
    dsn: str, *, autocommit: bool = False, lock_timeout: str = "0"
) -> tuple[psycopg.Connection, list[Finding]]:
    """A connection with ``lock_timeout`` and no other limit, and a finding if a pooler answers.

    :raises psycopg.Error: there is no connection.
    """
    findings = find_pooler_name(dsn)
    probing = f"{read_conninfo(dsn).get('options') or ''} -c {_PROBE}=on".strip()
    try:
        with psycopg.connect(make_conninfo(dsn, options=probing), autocommit=True) as probed:
            is_direct = _probe_of(probed) == "on" and _keeps_sessions(dsn)
    except psycopg.OperationalError as refusal:
        if _REFUSED_PROBE not in str(refusal):
            raise
        is_direct = False
    connection = psycopg.connect(dsn, autocommit=True)
    # The application's limits would stop the check of a large table, a long migration and the creation of an index.
    set_up_session(connection, lock_timeout=lock_timeout)
    connection.autocommit = autocommit
    if not is_direct and all(finding.severity is not FindingSeverity.ERROR for finding in findings):
        host = connection.info.host
        problem = f'ホスト "{host}" では接続プーラー（PgBouncer など）が応答しています。'
        findings.append(error("pooler", problem, _NEEDS_DIRECT_HOST, host))
    return connection, findings


def find_lost_sessions(first: psycopg.Connection, second: psycopg.Connection) -> list[Finding]:
    """A finding if a pooler in transaction mode answers. Both connections have the same login, in autocommit mode.

    ``SET ROLE``, the time zone, session locks, cursors WITH HOLD and prepared statements belong to a session.
    """
    if keeps_sessions(first, second):
        return []
    host = first.info.host
    problem = (
        f'ログイン "{first.info.user}" の接続プーラー（ホスト "{host}"）は、'
        "トランザクションごとに別のセッションを使います（トランザクションモード）。"
    )
    return [error("pooler", problem, _NEEDS_SESSION, host)]


def keeps_sessions(first: psycopg.Connection, second: psycopg.Connection) -> bool:
    """True if ``first`` keeps its session setting while ``second`` is in a transaction.

    A pooler in transaction mode gives a statement the session returned last, or the longest idle one. In the first case, the transaction of
    ``second`` occupies it. In the second case, each statement gets another session.
    :raises psycopg.errors.ProtocolViolation: the pool has no session for ``second``.
    """
    for _ in range(_ROUNDS):
        value = secrets.token_hex(8)
        first.execute("SELECT set_config(%s, %s, false)", [_PROBE, value], prepare=False)
        if _probe_of(first) != value:
            return False
        try:
            with second.transaction():
                if _probe_of(first) != value:
                    return False
        except errors.ProtocolViolation as refusal:
            # PgBouncer uses one SQLSTATE for everything. A full pool says nothing about its mode.
            if _FULL_POOL in str(refusal):
                raise
            return False  # a pooler in statement mode rejects transactions
    return True


def find_read_only_login(connection: psycopg.Connection) -> list[Finding]:
    """A finding if this login's transactions are read-only by default."""
    if connection.execute("SHOW default_transaction_read_only").fetchone() != ("on",):
        return []
    login, database = connection.info.user, connection.info.dbname
    return [
        error(
            "login-read-only",
            f'ログイン "{login}" のトランザクションは読み取り専用です（default_transaction_read_only が on）。',
            f'管理者が `ALTER ROLE "{login}" IN DATABASE "{database}" SET default_transaction_read_only = off` を実行してください。',
            login,
        )
    ]


def find_session_limits(connection: psycopg.Connection, logins: Sequence[str]) -> list[Finding]:
    """A remark for each limit of these logins and of their members. The empty login stands for the whole database.

    The batches' sessions do not have these limits (``set_up_session``).
    """
    return [
        remark(
            "session-limit",
            f"{'ロール' if is_of_role else 'データベース'} {subject} に {limit} = {value} があります。バッチの接続には効きません。",
            f"手で実行する pg_dump や SQL では、{_LIMITED[limit]}。不要なら、`ALTER {altered} RESET {limit}` で外せます。",
            subject,
        )
        for is_of_role, subject, altered, limit, value in _SQL.execute(
            connection, "session_limits", logins=list(logins), limits=list(SESSION_LIMITS)
        )
    ]


def find_pooler_name(dsn: str) -> list[Finding]:
    """A finding if the connection string looks like a connection pooler's."""
    parts = read_conninfo(dsn)
    host = str(parts.get("host") or "")
    if re.match(r"[^.]+-pooler\.", host):
        return [error("pooler", f'ホスト "{host}" は接続プーラーです。', _NEEDS_DIRECT_HOST, host)]
    if str(parts.get("port") or "") == _POOLER_PORT:
        problem = f"ポート {_POOLER_PORT} は多くの場合、接続プーラーです。"
        return [remark("pooler-port", problem, _NEEDS_DIRECT_HOST, host)]
    return []


def _keeps_sessions(dsn: str) -> bool:
    """The probe alone is not enough, because a pooler may forward startup options."""
    with psycopg.connect(dsn, autocommit=True) as first, psycopg.connect(dsn, autocommit=True) as second:
        return keeps_sessions(first, second)


def _probe_of(connection: psycopg.Connection) -> str | None:
    row = connection.execute("SELECT current_setting(%s, true)", [_PROBE], prepare=False).fetchone()
    assert row is not None
    value: str | None = row[0]
    return value
