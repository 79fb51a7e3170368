"""A database whose sessions have short limits, as an administrator sets them for the application."""

from __future__ import annotations

import psycopg
from psycopg import sql

from include.skillreport.core.database import SESSION_LIMITS


def limit_sessions(host: psycopg.Connection, role: str | None = None) -> list[str]:
    """Give each later session of this database, or of this role in it, all limits that the server knows; returns their names."""
    known = [
        limit
        for limit in SESSION_LIMITS
        if host.execute("SELECT current_setting(%s, true)", [limit]).fetchone() != (None,)
    ]
    database = sql.Identifier(host.info.dbname)
    whose = (
        sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(role), database)
        if role
        else sql.SQL("DATABASE {}").format(database)
    )
    for limit in known:
        # No statement of PostgreSQL sets it to a parameter.
        host.execute(sql.SQL("ALTER {} SET {} = '50ms'").format(whose, sql.Identifier(limit)))
    return known


def limits_of(connection: psycopg.Connection) -> dict[str, str | None]:
    """The limits of this session; None for one that the server does not know."""
    rows = connection.execute(
        "SELECT name, current_setting(name, true) FROM unnest(%s::text[]) AS name", [list(SESSION_LIMITS)]
    )
    return dict(rows.fetchall())
