"""Demo data for backups and the log clean-up: a login for backups, old log files, and old rows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from include.skillreport.core.database import Statements
from include.skillreport.core.execution.business_date import JAPAN

_SQL = Statements(Path(__file__).parent)

# The Sunday on which the demo cleans up.
_SUNDAY = datetime(2026, 11, 1, 12, tzinfo=JAPAN)

# Files below the root, and their age in days on that Sunday.
_LOG_FILES = {
    "app/web-1/app.log": 0,
    "app/web-1/app-2026-10-20.log": 12,
    "app/web-1/app-2026-09-20.log": 42,
    "access/access.log-20261018": 14,
    "debug/debug.log.1": 5,
    "error/error-2026-07-01.log": 123,
    "security/auth.log.1": 20,
    "app/core.dump": 90,
    "tmp/session.log": 90,
}


def create_backup_login(connection: psycopg.Connection, login: Mapping[str, Any]) -> None:
    """Create the login of BATCH-001. It may read and restore all rows and create databases, and is no superuser."""
    name, database = sql.Identifier(login["login"]), sql.Identifier(connection.info.dbname)
    if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [login["login"]]).fetchone():
        connection.execute(sql.SQL("CREATE ROLE {}").format(name))
    connection.execute(
        sql.SQL("ALTER ROLE {} LOGIN BYPASSRLS CREATEDB PASSWORD {}").format(
            name, sql.Literal(login["password"])
        )
    )
    connection.execute(sql.SQL("GRANT pg_read_all_data, pg_write_all_data TO {}").format(name))
    connection.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, name))


def plant_log_files(root: Path) -> None:
    """Create log files of several ages, one in an unknown folder, and a link to a file outside the root."""
    for name, days in _LOG_FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}: demo\n" * 2_000)
        written = (_SUNDAY - timedelta(days=days)).timestamp()
        os.utime(path, (written, written))
    link = root / "error" / "outside.log"
    link.parent.mkdir(exist_ok=True)
    if not link.is_symlink():
        link.symlink_to("/etc/hostname")


def plant_old_rows(connection: psycopg.Connection) -> None:
    """Insert requests that are half a year old, and expired tokens."""
    _SQL.execute(connection, "old_rows")
