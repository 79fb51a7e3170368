"""The content of PostgreSQL's catalogue about a database, as one comparable value, and the rows in schema ``batch``."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
from psycopg import sql

Snapshot = dict[str, list[tuple[Any, ...]]]

_QUERIES: dict[str, LiteralString] = {
    "schemas": """
        SELECT nspname, nspowner::regrole::text, nspacl::text
        FROM pg_namespace
        WHERE nspname !~ '^pg_'
        ORDER BY nspname
    """,
    "relations": """
        SELECT
            oid::regclass::text, relkind, relpersistence, relowner::regrole::text,
            coalesce(relacl, acldefault('r', relowner))::text, -- what no privilege was ever granted on has none written
            relrowsecurity, relforcerowsecurity, reloptions, pg_get_viewdef(oid)
        FROM pg_class
        WHERE relnamespace::regnamespace::text IN ('batch', 'public')
        ORDER BY 1
    """,
    "columns": """
        SELECT
            relation.oid::regclass::text, attnum, attname, format_type(atttypid, atttypmod), attnotnull,
            nullif(attacl::text, '{}'), pg_get_expr(adbin, adrelid)
        FROM pg_class AS relation
        INNER JOIN pg_attribute ON attrelid = relation.oid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relnamespace::regnamespace::text IN ('batch', 'public') AND attnum > 0
        ORDER BY 1, 2
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint
        WHERE connamespace::regnamespace::text IN ('batch', 'public')
        ORDER BY 1, 2
    """,
    "indexes": """
        SELECT schemaname, indexname, indexdef FROM pg_indexes
        WHERE schemaname IN ('batch', 'public')
        ORDER BY 1, 2
    """,
    "policies": "SELECT * FROM pg_policies ORDER BY schemaname, tablename, policyname",
    "functions": """
        SELECT oid::regprocedure::text, pg_get_functiondef(oid), proowner::regrole::text, proacl::text
        FROM pg_proc
        WHERE pronamespace::regnamespace::text IN ('batch', 'public')
        ORDER BY 1
    """,
    "roles": """
        SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls
        FROM pg_roles
        ORDER BY rolname
    """,
    "memberships": """
        SELECT roleid::regrole::text, member::regrole::text, grantor::regrole::text, admin_option
        FROM pg_auth_members
        ORDER BY 1, 2, 3
    """,
}


def snapshot(connection: psycopg.Connection) -> Snapshot:
    """Schemas ``batch`` and ``public`` with owners and privileges, and the server's roles."""
    return {name: connection.execute(query).fetchall() for name, query in _QUERIES.items()}


def relations(connection: psycopg.Connection, kinds: str) -> list[str]:
    """The relations of schema ``batch``; ``kinds`` as in ``pg_class.relkind``."""
    rows = connection.execute(
        """
        SELECT relname FROM pg_class
        WHERE relnamespace = 'batch'::regnamespace AND relkind = ANY (string_to_array(%s, NULL)::"char"[])
        ORDER BY relname
        """,
        [kinds],
    )
    return [name for (name,) in rows]


def rows_of(connection: psycopg.Connection, relation: str) -> list[Any]:
    """All rows that the connection may see of a relation of schema ``batch``, in a stable order."""
    query = sql.SQL("SELECT to_jsonb(seen) FROM {} AS seen ORDER BY to_jsonb(seen)::text")
    return [row for (row,) in connection.execute(query.format(sql.Identifier("batch", relation)))]
