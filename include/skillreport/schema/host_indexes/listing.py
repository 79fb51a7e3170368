"""The indexes of ``indexes.sql``, their state in a database, and ``batch.host_index``, by which ``check`` detects lost indexes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.core.errors import SchemaError

_SQL = Statements(Path(__file__).parent)

_INDEX = re.compile(
    r"""(?P<reason>(?:^--.*\n)+)
    (?P<statement>CREATE\ INDEX\ CONCURRENTLY\ "(?P<name>\w+)"\ ON\ public\."(?P<table>\w+)"
    \s+USING\ (?P<method>\w+)\ \((?P<column>\w+)[^)]*\));""",
    re.MULTILINE | re.VERBOSE,
)


@dataclass(frozen=True)
class HostIndex:
    """An index on one column of an application table. ``readers``: the ids of batches that read it."""

    name: str
    table: str
    column: str
    method: str
    statement: LiteralString
    readers: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str]:
        """Table and column."""
        return self.table, self.column

    @property
    def subject(self) -> str:
        """Table and column, for messages."""
        return f'"{self.table}"."{self.column}"'

    @property
    def prisma_line(self) -> str:
        """The line for the model in the Prisma schema."""
        if self.method == "brin":
            return f"@@index([{self.column}(ops: TimestampMinMaxMultiOps)], type: Brin)"
        return f"@@index([{self.column}])"

    @property
    def removal(self) -> str:
        """How to remove the leftover of an interrupted creation."""
        return (
            f"作成が途中で止まった、使えない索引 {self.name} が残っています。表への書き込みのたびに手間がかかるので、"
            f'`DROP INDEX CONCURRENTLY public."{self.name}"` で削除してください。'
        )


@dataclass(frozen=True)
class IndexState:
    """A wanted index in a database. ``rows``: the table's estimated rows, None before the first ANALYZE.

    ``present``: the name of a valid index that serves. ``is_leftover``: an interrupted creation has left an unusable index.
    """

    index: HostIndex
    rows: int | None
    present: str | None
    is_leftover: bool

    def as_record(self) -> dict[str, object]:
        """For programs: the index, its state, and the statement that creates it."""
        index = self.index
        return {
            "index": index.name,
            "table": index.table,
            "column": index.column,
            "rows": self.rows,
            "present": self.present,
            "unusable": self.is_leftover,
            "read_by": list(index.readers),
            "statement": index.statement,
        }


def _load() -> tuple[HostIndex, ...]:
    text = Path(__file__).with_name("indexes.sql").read_text(encoding="utf-8")
    return tuple(
        HostIndex(
            name=found["name"],
            table=found["table"],
            column=found["column"],
            method=found["method"],
            # The type is literal because the file is part of the code.
            statement=" ".join(found["statement"].split()),
            readers=tuple(re.findall(r"BATCH-[\d-]+\d", found["reason"])),
        )
        for found in _INDEX.finditer(text)
    )


HOST_INDEXES = _load()
"""Every wanted index, in the order of the file."""


def index_of(name: str) -> HostIndex:
    """The wanted index of this name. :raises SchemaError: there is none; lists the names."""
    for index in HOST_INDEXES:
        if index.name == name:
            return index
    known = "、".join(index.name for index in HOST_INDEXES)
    raise SchemaError(f"索引 {name} は一覧にありません。次のどれかを指定してください: {known}。")


def index_states(
    connection: psycopg.Connection, indexes: Sequence[HostIndex] = HOST_INDEXES
) -> list[IndexState]:
    """The states of indexes whose table and column exist. Reads only the catalogue."""
    by_name = {index.name: index for index in indexes}
    rows = _SQL.rows(
        connection,
        "index_states",
        names=list(by_name),
        tables=[index.table for index in indexes],
        columns=[index.column for index in indexes],
        methods=[index.method for index in indexes],
    )
    return [IndexState(by_name[row["name"]], row["rows"], row["present"], row["is_leftover"]) for row in rows]


def has_record(connection: psycopg.Connection) -> bool:
    """True if schema ``batch`` has ``batch.host_index``."""
    return bool(_SQL.row(connection, "has_record")[0])


def record_present(connection: psycopg.Connection) -> None:
    """Record the wanted indexes that exist, as ``batch_owner`` in the caller's transaction. Lost indexes stay recorded."""
    for state in index_states(connection):
        if state.present:
            table, column = state.index.key
            _SQL.execute(connection, "record", table_name=table, column_name=column, index_name=state.present)


def forget(connection: psycopg.Connection, index: HostIndex) -> None:
    """Delete the record of an unwanted index, as ``batch_owner``."""
    _SQL.execute(connection, "forget", table_name=index.table, column_name=index.column)


def recorded(connection: psycopg.Connection) -> dict[tuple[str, str], str]:
    """The recorded index names, by table and column. The login is a member of ``batch_owner``."""
    return {(table, column): name for table, column, name in _SQL.execute(connection, "recorded")}
