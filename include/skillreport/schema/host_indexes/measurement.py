"""Measure a table of the application for its index: size, growth, changes, and the order of its rows in its pages.

Reads statistics of ANALYZE, and a sample of at most 16 block ranges (16 MB) per column. Changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from include.skillreport.core.database import Statements
from include.skillreport.schema.host_indexes.recommended import HostIndex

_SQL = Statements(Path(__file__).parent)

RANGE_PAGES = 128
"""The pages of a block range, for which BRIN keeps one summary: PostgreSQL's default."""

_SAMPLED_RANGES = 16
_WAITING = "PENDING"


@dataclass(frozen=True)
class FoundIndex:
    """An index of the application's table that begins with the column.

    ``is_mine``: it has the name that this command gives. ``is_in_progress``: a session is creating it.
    """

    name: str
    method: str
    operator_class: str
    is_valid: bool
    columns: int
    is_mine: bool
    is_in_progress: bool


@dataclass(frozen=True)
class TableState:
    """A table's size and changes. ``rows`` is an estimate, None before the first ANALYZE.

    ``inserted``, ``updated`` and ``deleted`` are rows since the server's statistics began.
    """

    rows: int | None
    pages: int
    size_bytes: int
    inserted: int
    updated: int
    deleted: int
    is_owner: bool

    @property
    def updated_share(self) -> float:
        """Updates per inserted row. The statistics may be younger than the rows."""
        return self.updated / max(self.inserted, self.rows or 0, 1)

    @property
    def ranges(self) -> int:
        """The number of block ranges."""
        return -(-self.pages // RANGE_PAGES)


@dataclass(frozen=True)
class ColumnState:
    """The distribution of a column's values in the table; shares are of the table's rows.

    ``correlation`` is PostgreSQL's (-1 to 1). ``ranges_with_a_day`` is the share of the block ranges that contain rows of a given day, 0 to
    1. The correlation is less useful. It is low after a clean-up, when new rows have filled the first pages, although each block range
    still contains rows of one or two days.
    """

    correlation: float | None
    null_share: float
    waiting_share: float
    rows_per_day: int | None
    ranges_with_a_day: float | None


def find_indexes(connection: psycopg.Connection, index: HostIndex) -> list[FoundIndex]:
    """The indexes that begin with the column, usable ones first. Reads only the catalogue."""
    rows = _SQL.rows(
        connection, "indexes_of", relation=_regclass(index), column_name=index.column, index_name=index.name
    )
    return [FoundIndex(**row) for row in rows]


def usable(found: Sequence[FoundIndex], index: HostIndex) -> FoundIndex | None:
    """The index that can be used, whatever its name: it is valid and of a possible kind."""
    return next(
        (each for each in found if each.is_valid and (each.method == "btree" or not index.btree_only)), None
    )


def measure_table(connection: psycopg.Connection, table: str) -> TableState:
    """The table's state. Reads only the catalogue and the server's statistics."""
    (row,) = _SQL.rows(connection, "table_state", relation=quoted(table))
    return TableState(**row)


def measure_column(connection: psycopg.Connection, index: HostIndex, table: TableState) -> ColumnState:
    """The column's state. :raises psycopg.errors.InsufficientPrivilege: the login may not read the table."""
    cursor = connection.cursor(row_factory=dict_row)
    names = {"table_name": index.table, "column_name": index.column}
    known = _SQL.execute(cursor, "column_state", **names, word=_WAITING).fetchone()
    if known is None:
        known = {"correlation": None, "null_share": 0.0, "waiting_share": 0.0}
    has_times = any(reader.days for reader in index.readers)
    growth = _SQL.execute(cursor, "growth", **names).fetchone() if has_times else None
    return ColumnState(
        **known,
        rows_per_day=_rows_per_day(table.rows, growth),
        ranges_with_a_day=None if index.btree_only else _ranges_with_a_day(connection, index, table),
    )


def quoted(table: str) -> str:
    """The table as PostgreSQL's ``regclass`` reads it."""
    return f'public."{table}"'


def _regclass(index: HostIndex) -> str:
    return quoted(index.table)


def _rows_per_day(rows: int | None, growth: dict[str, Decimal] | None) -> int | None:
    if rows is None or growth is None:
        return None
    return round(rows * float(growth["share"]) / float(growth["days"]))


def _ranges_with_a_day(connection: psycopg.Connection, index: HostIndex, table: TableState) -> float | None:
    """The mean over the days (UTC) of a sample of block ranges; None if they hold no row."""
    statement = sql.SQL(
        "SELECT DISTINCT date_trunc('day', {column}) FROM {table}"
        " WHERE ctid >= %s::tid AND ctid < %s::tid AND isfinite({column})"
    ).format(column=sql.Identifier(index.column), table=sql.Identifier("public", index.table))
    count = min(table.ranges, _SAMPLED_RANGES)
    ranges_by_day: Counter[object] = Counter()
    filled = 0
    for number in range(count):
        first = number * table.ranges // count * RANGE_PAGES
        days = connection.execute(statement, [f"({first},0)", f"({first + RANGE_PAGES},0)"]).fetchall()
        ranges_by_day.update(day for (day,) in days)
        filled += bool(days)
    return sum(ranges_by_day.values()) / len(ranges_by_day) / filled if filled else None
