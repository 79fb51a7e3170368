"""Run the statements of SQL files, and set a transaction's tenant context."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row, scalar_row

from include.skillreport.core.entered import INVISIBLE

Row = TypeVar("Row")

_BLOCK = re.compile(r"^-- name:[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

# The server, the database or the login may have other defaults.
SESSION_SETTINGS = {"timezone": "UTC", "datestyle": "ISO", "client_encoding": "UTF8"}

# All limits of the server that end a statement or a session. An administrator sets them for the application, on a role or a database.
SESSION_LIMITS = (
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
)

# Separates a shard's tenants in the setting batch.tenant_id. See batch.name_tenants() and batch.current_tenants().
_TENANT_SEPARATOR = "\x1f"


class Statements:
    """Runs the blocks of the files in ``directory/sql``. A block uses psycopg's named parameters."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __getitem__(self, name: str) -> LiteralString:
        """The comments and the statement of a block. The type is literal because the files are part of the code.

        :raises LookupError: no file has the block.
        """
        blocks = sql_blocks(self._directory)
        if name not in blocks:
            raise LookupError(f"no file in {self._directory / 'sql'} has the block {name!r}")
        return blocks[name]

    def execute(
        self, on: psycopg.Connection[Row] | psycopg.Cursor[Row], name: str, /, **parameters: object
    ) -> psycopg.Cursor[Row]:
        """Run a block on a connection or on a cursor."""
        return on.execute(self[name], parameters or None)

    def rows(
        self, connection: psycopg.Connection[Any], name: str, /, **parameters: object
    ) -> list[dict[str, Any]]:
        """All rows of a block, each as a dict."""
        return self.execute(connection.cursor(row_factory=dict_row), name, **parameters).fetchall()

    def row(
        self, on: psycopg.Connection[Row] | psycopg.Cursor[Row], name: str, /, **parameters: object
    ) -> Row:
        """The first row of a block that always returns a row."""
        row = self.execute(on, name, **parameters).fetchone()
        assert row is not None
        return row

    def column(self, connection: psycopg.Connection[Any], name: str, /, **parameters: object) -> list[Any]:
        """The values of a block with a single column."""
        return self.execute(connection.cursor(row_factory=scalar_row), name, **parameters).fetchall()


@cache
def sql_blocks(directory: Path) -> Mapping[str, LiteralString]:
    """All blocks of ``directory/sql`` by name. A line ``-- name: load_accounts`` begins a block. A block ends with a semicolon.

    :raises ValueError: a file breaks this rule, or two blocks have the same name.
    """
    blocks: dict[str, LiteralString] = {}
    for file in sorted((directory / "sql").glob("*.sql")):
        preamble, *parts = _BLOCK.split(file.read_text(encoding="utf-8"))
        if preamble.strip():
            raise ValueError(f"{file}: text before the first block: {preamble.strip().splitlines()[0]}")
        for name, text in zip(parts[::2], map(str.strip, parts[1::2]), strict=True):
            if not name.isidentifier():
                raise ValueError(f"{file}: {name!r} is no name of a block")
            if name in blocks:
                raise ValueError(f"{file}: the folder already has a block {name!r}")
            if not text.endswith(";"):
                raise ValueError(f"{file}: the block {name!r} does not end with a semicolon")
            blocks[name] = text
    return blocks


def read_conninfo(conninfo: str) -> dict[str, Any]:
    """The parts of a connection string.

    :raises psycopg.ProgrammingError: libpq cannot parse it. The message omits the string, because it contains the password.
    """
    try:
        return dict(conninfo_to_dict(conninfo))
    except psycopg.ProgrammingError:
        raise psycopg.ProgrammingError(
            "接続文字列を読めません。postgresql://ユーザー:パスワード@ホスト:5432/データベース の形で、引用符なしで指定し、"
            "パスワードの % は %25、@ は %40 と書きます"
        ) from None


def set_up_session(connection: psycopg.Connection[Any], **further: str) -> None:
    """Set ``SESSION_SETTINGS`` and ``further`` settings of the session, outside a transaction. Limits not in ``further`` are removed.

    After connecting, because a server rejects a connection with an option that it does not know (``transaction_timeout`` before
    PostgreSQL 17). Here such a setting is ignored.
    """
    settings = SESSION_SETTINGS | dict.fromkeys(SESSION_LIMITS, "0") | further
    connection.execute(
        "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS setting (name, value)"
        " WHERE current_setting(name, true) IS NOT NULL",
        [list(settings), list(settings.values())],
    )


def session_of(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """The values of ``SESSION_SETTINGS``, and of the limits that the server knows."""
    rows = connection.execute(
        "SELECT name, current_setting(name, true) FROM unnest(%s::text[]) AS name"
        " WHERE current_setting(name, true) IS NOT NULL",
        [[*SESSION_SETTINGS, *SESSION_LIMITS]],
    )
    return dict(rows.fetchall())


def count_of(connection: psycopg.Connection, query: LiteralString, parameters: Sequence[object] = ()) -> int:
    """The number that a query returns in its only row."""
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return int(row[0])


def plan_for_scans(connection: psycopg.Connection) -> None:
    """Set up the transaction for a long statement that reads entire tables of the host once.

    With less ``work_mem``, PostgreSQL sorts a large log on disk. Only hash joins stay enabled, because intermediate results have no
    statistics and the planner expects few rows (``batch.all_person_key``). All sorts are disabled: PostgreSQL 18 otherwise prefers an
    incremental sort of a nested loop to a sort of a hash join. JIT compilation takes longer than it saves.
    """
    settings = {
        "work_mem": "256MB",
        "enable_nestloop": "off",
        "enable_mergejoin": "off",
        "enable_sort": "off",
        "enable_incremental_sort": "off",
        "jit": "off",
    }
    for name, value in settings.items():
        connection.execute("SELECT set_config(%s, %s, true)", [name, value])


def is_tenant_id(tenant_id: str) -> bool:
    """True if a transaction's context can hold this id: it is not empty and contains neither the separator (U+001F) nor NUL."""
    return bool(tenant_id) and not {_TENANT_SEPARATOR, "\0"}.intersection(tenant_id)


@contextmanager
def tenant_transaction(
    connection: psycopg.Connection, tenant_ids: Sequence[str]
) -> Iterator[psycopg.Transaction]:
    """A transaction in which row-level security shows only the rows of ``tenant_ids``.

    :raises ValueError: a value cannot be a tenant id.
    :raises psycopg.errors.InsufficientPrivilege: the session acts neither as ``batch_tenant`` nor as ``batch_cleanup``. In a pipeline a
    later statement raises it.
    """
    for tenant_id in tenant_ids:
        if not is_tenant_id(tenant_id):
            raise ValueError(f"{tenant_id!r} cannot be a tenant id")
    with connection.transaction() as transaction:
        connection.execute("SELECT batch.name_tenants(%s)", [_TENANT_SEPARATOR.join(tenant_ids)])
        yield transaction


@contextmanager
def tenant_turn(connection: psycopg.Connection, lock: int, tenant_id: str) -> Iterator[None]:
    """Hold a session lock on the tenant across transactions. PostgreSQL releases it if the connection is lost.

    ``lock`` identifies the caller's kind of work.
    """
    key = [lock, tenant_id]
    connection.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", key)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", key)


def storable(text: str) -> str:
    """The text without characters that PostgreSQL cannot store: NUL and surrogates."""
    return _UNSTORABLE.sub("", text)


def has_control_characters(text: str) -> bool:
    """True if the text contains control characters (for example NUL or a line break), surrogates or ``INVISIBLE`` characters."""
    return any(
        unicodedata.category(character) in ("Cc", "Cs") or character in INVISIBLE for character in text
    )
