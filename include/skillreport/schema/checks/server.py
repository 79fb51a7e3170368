"""Check the server and its client programs."""

from __future__ import annotations

import psycopg

from include.skillreport.core.postgres_programs import UnsuitableProgramsError, find_programs
from include.skillreport.schema.checks.findings import Finding, error, remark

# The oldest tested PostgreSQL version.
MINIMUM_VERSION = 15


def find_server_problems(connection: psycopg.Connection) -> list[Finding]:
    """Findings if the server is too old for the schema, or the database cannot store every text."""
    findings = []
    version = connection.info.server_version // 10_000
    if version < MINIMUM_VERSION:
        findings.append(
            error(
                "server-version",
                f"サーバーは PostgreSQL {version} です。",
                f"PostgreSQL {MINIMUM_VERSION} 以上にしてください。",
                str(version),
            )
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        findings.append(
            error(
                "server-encoding",
                f'データベース "{connection.info.dbname}" の文字コードは {encoding} です。',
                "文字コードが UTF8 のデータベースに移してください（`CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`）。",
                str(encoding),
            )
        )
    return findings


def find_dump_problems(connection: psycopg.Connection, bin_dir: str = "") -> list[Finding]:
    """A finding if this machine has no programs to back up the server. Only the workers of BATCH-001 need them."""
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
