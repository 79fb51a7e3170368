"""SQL files and the tenant context: the two things that every access to the database goes through."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import LiteralString

import psycopg

# Joins the tenants of a shard in the setting batch.tenant_id; see batch.current_tenants().
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

_TENANT_SEPARATOR = "\x1f"


@cache
def read_sql(directory: Path, name: str) -> LiteralString:
    """The statement in ``directory/sql/name.sql``, with psycopg's named parameters.

    The files are part of the code, so that what they hold counts as literal.
    """
    text: LiteralString = (directory / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    return text


def count_of(connection: psycopg.Connection, query: LiteralString, parameters: Sequence[object] = ()) -> int:
    """The one number of a query that always gives one row."""
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return int(row[0])


def is_tenant_id(tenant_id: str) -> bool:
    """Whether a transaction's context can hold this id: it is not empty and has neither the separator (U+001F) nor NUL in it."""
    return bool(tenant_id) and not {_TENANT_SEPARATOR, "\0"}.intersection(tenant_id)


@contextmanager
def tenant_transaction(
    connection: psycopg.Connection, tenant_ids: Sequence[str]
) -> Iterator[psycopg.Transaction]:
    """One transaction in which row-level security shows the rows of ``tenant_ids`` and of nobody else.

    The context ends with the transaction. :raises ValueError: something is no tenant id.
    """
    for tenant_id in tenant_ids:
        if not is_tenant_id(tenant_id):
            raise ValueError(f"{tenant_id!r} cannot be a tenant id")
    with connection.transaction() as transaction:
        connection.execute(
            "SELECT set_config('batch.tenant_id', %s, true)", [_TENANT_SEPARATOR.join(tenant_ids)]
        )
        yield transaction


@contextmanager
def tenant_turn(connection: psycopg.Connection, lock: int, tenant_id: str) -> Iterator[None]:
    """Whoever works on the tenant under the same ``lock`` waits for each other, across transactions.

    A lost connection gives the turn back. ``lock`` is a number of the caller's own.
    """
    key = [lock, tenant_id]
    connection.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", key)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", key)


def storable(text: str) -> str:
    """The text without what PostgreSQL cannot hold: NUL, and halves of surrogate pairs."""
    return _UNSTORABLE.sub("", text)
