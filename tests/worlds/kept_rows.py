"""Plant the rows with which the tests of a module begin once in a process, and copy them for its other tests.

To bill a month takes ten times as long as to copy what it has written.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Generic, TypeVar

import psycopg
from psycopg import sql

from include.skillreport.core.execution.object_store import ObjectStore
from tests.conftest import Database
from tests.worlds.shared_database import TABLES

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class _Kept(Generic[ResultT]):
    """What planting returned, all rows of the database in the format of COPY, by schema and table, and the files of the store.

    ``numbered`` is the statement that puts the sequences back.
    """

    result: ResultT
    rows: Mapping[tuple[str, str], bytes]
    numbered: str
    files: TemporaryDirectory[str] | None


# Instead of the folder of the test's store, which is another one in each test.
_STORE = b"/the/store/of/the/test"

_kept: dict[object, _Kept[object]] = {}


def planted_once(
    key: object, database: Database, plant: Callable[[], ResultT], store: ObjectStore | None = None
) -> ResultT:
    """The result of ``plant``, whose rows and files are in the database and in the store afterwards; both are empty before.

    ``key``: what else the rows depend on, for example the module and the fixture's parameter.
    """
    with database.connect() as connection:
        kept = _kept.get(key)
        if kept is None:
            # Rows of another fixture would become part of the copy.
            assert not _rows(connection, store), "all rows are planted here"
            _kept[key] = kept = _Kept(plant(), _rows(connection, store), _numbered(connection), _files(store))
            return kept.result  # type: ignore[return-value]  # it is that of plant
        _put_back(connection, kept.rows, store)
        connection.execute(kept.numbered.encode())
    if kept.files:
        assert store is not None
        shutil.copytree(kept.files.name, _root(store), dirs_exist_ok=True)
    return kept.result  # type: ignore[return-value]  # of the same key


def _rows(connection: psycopg.Connection, store: ObjectStore | None) -> dict[tuple[str, str], bytes]:
    tables = connection.execute(TABLES + " AND pg_relation_size(oid) > 0").fetchall()
    found = {table: _copied(connection, table) for table in tables}
    return {table: rows.replace(_name(store), _STORE) for table, rows in found.items() if rows}


def _copied(connection: psycopg.Connection, table: tuple[str, str]) -> bytes:
    with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(*table))) as copy:
        return b"".join(map(bytes, copy))


def _put_back(
    connection: psycopg.Connection, rows: Mapping[tuple[str, str], bytes], store: ObjectStore | None
) -> None:
    with connection.transaction(), connection.cursor() as cursor:
        # The triggers have done their work, and the order of the tables does not matter.
        cursor.execute("SET LOCAL session_replication_role = replica")
        for table, content in rows.items():
            with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(*table))) as copy:
                copy.write(content.replace(_STORE, _name(store)))


def _numbered(connection: psycopg.Connection) -> str:
    query = """
        SELECT 'SELECT ' || string_agg(
            format('setval(%L, %s, %L)', format('%I.%I', schemaname, sequencename), coalesce(last_value, 1), last_value IS NOT NULL), ', ')
        FROM pg_sequences
    """
    (statement,) = connection.execute(query).fetchone() or ("SELECT",)
    return str(statement)


def _files(store: ObjectStore | None) -> TemporaryDirectory[str] | None:
    if store is None or not _root(store).exists():
        return None
    kept = TemporaryDirectory(prefix="kept-files-")
    shutil.copytree(_root(store), kept.name, dirs_exist_ok=True)
    return kept


def _name(store: ObjectStore | None) -> bytes:
    """The store's folder as rows name it."""
    return str(_root(store)).encode() if store else _STORE


def _root(store: ObjectStore) -> Path:
    return Path(store.location("root")).parent
