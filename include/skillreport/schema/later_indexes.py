"""The indexes of ``later_indexes.sql`` on tables of schema ``batch``, built outside of a transaction without blocking writes.

A session acts as ``batch_owner`` and is in autocommit mode.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

FILE = Path(__file__).with_name("later_indexes.sql")

_INDEX = re.compile(r"^(CREATE (?:UNIQUE )?INDEX CONCURRENTLY (\w+) ON batch\.[^;]+);", re.MULTILINE)


@dataclass(frozen=True)
class LaterIndex:
    """An index of a later version than the baseline's."""

    name: str
    statement: str


def missing_indexes(connection: psycopg.Connection) -> list[LaterIndex]:
    """The indexes that are missing, or unusable because their creation was interrupted. Reads only the catalogue."""
    valid = connection.execute(
        """
        SELECT relation.relname
        FROM pg_index AS description
        INNER JOIN pg_class AS relation ON description.indexrelid = relation.oid
        WHERE relation.relnamespace = to_regnamespace('batch') AND description.indisvalid
        """
    ).fetchall()
    wanted = [
        LaterIndex(name, statement) for statement, name in _INDEX.findall(FILE.read_text(encoding="utf-8"))
    ]
    return [index for index in wanted if (index.name,) not in valid]


def build_index(connection: psycopg.Connection, index: LaterIndex) -> None:
    """Build a missing index. Removes what an interrupted creation has left. Waits for the transactions that use the table."""
    connection.execute(
        sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier("batch", index.name))
    )
    connection.execute(index.statement.encode())
