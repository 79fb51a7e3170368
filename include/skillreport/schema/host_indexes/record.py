"""``batch.host_index``: the indexes that were created or found, so that ``check`` detects a lost one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.schema.host_indexes.measurement import find_indexes, usable
from include.skillreport.schema.host_indexes.recommended import RECOMMENDED, HostIndex

_SQL = Statements(Path(__file__).parent)


def record_present(connection: psycopg.Connection, indexes: Iterable[HostIndex] = RECOMMENDED) -> None:
    """Record the recommended indexes that exist. As ``batch_owner``, in the caller's transaction. Lost ones stay recorded."""
    for index in indexes:
        present = usable(find_indexes(connection, index), index)
        if present:
            _SQL.execute(
                connection,
                "record",
                table_name=index.table,
                column_name=index.column,
                index_name=present.name,
            )


def forget(connection: psycopg.Connection, index: HostIndex) -> None:
    """Delete the record of an index that is no longer wanted. As ``batch_owner``."""
    _SQL.execute(connection, "forget", table_name=index.table, column_name=index.column)


def recorded(connection: psycopg.Connection) -> dict[tuple[str, str], str]:
    """The names of the recorded indexes, by table and column. The login is a member of ``batch_owner``."""
    return {(table, column): name for table, column, name in _SQL.execute(connection, "recorded")}
