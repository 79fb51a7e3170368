"""Check the server, the connection to it, and the tools for it."""

from __future__ import annotations

import re

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from include.migrations.checks.findings import Finding, error, remark
from include.postgres_programs import UnsuitableProgramsError, find_programs

# The oldest PostgreSQL that the tests use.
MINIMUM_VERSION = 15

# Several providers (Supabase) use this port for such a pooler.
_POOLER_PORT = "6543"

# PostgreSQL accepts any setting with a prefix in the startup packet. PgBouncer refuses an unknown one, or ignores the options.
_PROBE = "batch.probe"
_REFUSED_PROBE = "unsupported startup parameter"

_DIRECT_HOST = (
    "DDL、pg_dump、スナップショット、SET ROLE には専用のセッションが必要です。"
    "プーラーを通さない直接のホスト（Neon ではホスト名から -pooler を除いたもの、ポート 5432）を指定してください。"
)


def connect(dsn: str) -> tuple[psycopg.Connection, list[Finding]]:
    """A read-only connection, and the findings about it. :raises psycopg.Error: there is no connection."""
    parts = conninfo_to_dict(dsn)
    probing = f"{parts.get('options') or ''} -c {_PROBE}=on".strip()
    findings = find_pooler_name(dsn)
    try:
        connection = psycopg.connect(make_conninfo(dsn, options=probing))
        is_direct = connection.execute(f"SELECT current_setting('{_PROBE}', true)").fetchone() == ("on",)
        connection.rollback()
    except psycopg.OperationalError as refusal:
        if _REFUSED_PROBE not in str(refusal):
            raise
        connection, is_direct = psycopg.connect(dsn), False
    connection.read_only = True
    if is_direct and not findings and changes_sessions(dsn):
        host = str(parts.get("host") or "")
        findings.append(
            error(
                "pooler",
                f'ホスト "{host}" の接続プーラーは、文ごとに別のセッションを使います（トランザクションモード）。',
                _DIRECT_HOST,
                host,
            )
        )
    if not is_direct and not any(finding.code == "pooler" for finding in findings):
        host = str(parts.get("host") or "")
        findings.append(
            error(
                "pooler",
                f'ホスト "{host}" では接続プーラー（PgBouncer など）が応答しています。',
                _DIRECT_HOST,
                host,
            )
        )
    return connection, findings


def changes_sessions(dsn: str) -> bool:
    """Whether a pooler gives two statements of one connection to different sessions. It may pass startup options on.

    ``SET ROLE``, the time zone, session locks, cursors WITH HOLD and prepared statements belong to a session. The check needs two
    connections, because a pooler may reuse the same session if no other client uses it.
    """
    with psycopg.connect(dsn, autocommit=True) as first, psycopg.connect(dsn, autocommit=True) as second:
        sessions = {first.execute("SELECT pg_backend_pid()").fetchone() for _ in range(2)}
        with second.transaction():
            second.execute("SELECT 1")
            sessions.add(first.execute("SELECT pg_backend_pid()").fetchone())
    return len(sessions) > 1


def find_pooler_name(dsn: str) -> list[Finding]:
    """Whether the connection string looks like one to a connection pooler."""
    parts = conninfo_to_dict(dsn)
    host = str(parts.get("host") or "")
    if re.match(r"[^.]+-pooler\.", host):
        return [error("pooler", f'ホスト "{host}" は接続プーラーです。', _DIRECT_HOST, host)]
    if str(parts.get("port") or "") == _POOLER_PORT:
        return [
            remark(
                "pooler-port", f"ポート {_POOLER_PORT} は多くの場合、接続プーラーです。", _DIRECT_HOST, host
            )
        ]
    return []


def find_old_server(connection: psycopg.Connection) -> list[Finding]:
    """Whether the server is too old for the schema."""
    version = connection.info.server_version // 10_000
    if version >= MINIMUM_VERSION:
        return []
    return [
        error(
            "server-version",
            f"サーバーは PostgreSQL {version} です。",
            f"PostgreSQL {MINIMUM_VERSION} 以上にしてください。",
            str(version),
        )
    ]


def find_dump_problems(connection: psycopg.Connection, bin_dir: str = "") -> list[Finding]:
    """Whether this machine has programs that can back up the server. Only the workers of BATCH-001 need them."""
    server = connection.info.server_version // 10_000
    try:
        find_programs(bin_dir, server)
    except UnsuitableProgramsError as unsuitable:
        about = (unsuitable.problem, unsuitable.remedy, "pg_dump")
        if not unsuitable.installed:
            return [remark("pg-dump-missing", *about)]
        if max(unsuitable.installed) < server:
            return [remark("pg-dump-old", *about)]
        return [remark("pg-dump-version", *about)]
    return []
