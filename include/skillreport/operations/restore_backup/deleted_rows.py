"""Lists and restores the archives of the rows that BATCH-002 has deleted because the application had marked them as deleted."""

from __future__ import annotations

import json
from typing import Any

import psycopg
from psycopg import sql

from include.skillreport.batches.data_backup.files import BackupDamagedError
from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.batches.data_backup.tenant_export import columns_of
from include.skillreport.batches.log_cleanup.marked import CHUNK_ROWS, folder_of
from include.skillreport.core.errors import reason_of
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.row_archive import (
    ArchivedFile,
    ArchiveError,
    archive_names,
    archived_chunks,
    read_manifest,
)
from include.skillreport.schema.deletion import HOST_SCHEMA, tables_with_marked_rows

# The rows stay text: Python would round their numbers.
_INSERT = sql.SQL(
    """INSERT INTO {table} ({columns})
    SELECT {columns} FROM jsonb_populate_recordset(null::{table}, convert_from(%(rows)s, 'UTF8')::jsonb)
    ON CONFLICT DO NOTHING"""
)


def describe_archives(store: ObjectStore, tenant_id: str) -> list[str]:
    """A line for each archive of the tenant, the oldest first."""
    folder = folder_of(tenant_id)
    return [_line(store, folder, name) for name in archive_names(store, folder)]


def restore_rows(
    connection: psycopg.Connection, store: ObjectStore, tenant_id: str, archive: str, *, kept: bool
) -> tuple[str, int, int]:
    """Insert the rows of an archive that are missing now, in one transaction; returns the table, the inserted rows and those that exist.

    A row exists if a row has its key, or a value of it that must be unique. If ``kept`` is false, the transaction rolls back (a dry run).
    :raises BackupDamagedError: the archive is damaged. :raises BackupError: a row does not fit into the present table.
    """
    folder = folder_of(tenant_id)
    try:
        manifest, files = read_manifest(store, folder, archive)
        _check(manifest, files, tenant_id)
        for _ in archived_chunks(store, files, CHUNK_ROWS):
            pass
    except (ArchiveError, ValueError, KeyError, TypeError) as error:
        raise BackupDamagedError(
            f"書庫 {store.location(folder)}/{archive} は読めないか、壊れています（{reason_of(error)}）。何も復元していません。"
        ) from None
    table = str(manifest["table"])
    inserted = 0
    try:
        with connection.transaction() as transaction:
            for lines in archived_chunks(store, files, CHUNK_ROWS):
                inserted += _insert(connection, table, lines)
            if not kept:
                raise psycopg.Rollback(transaction)
    except psycopg.errors.IntegrityError as error:
        raise BackupError(
            f"{table} に戻せない行があります（{error.diag.constraint_name or error.diag.column_name}）。何も復元していません。"
        ) from None
    return table, inserted, int(manifest["rows"]) - inserted


def _check(manifest: dict[str, Any], files: list[ArchivedFile], tenant_id: str) -> None:
    """:raises ValueError: it is no archive of this tenant."""
    if manifest["tenant_id"] != tenant_id or manifest["rows"] != sum(file.rows for file in files):
        raise ValueError(f"目録のテナントは {manifest['tenant_id']}、行数は {manifest['rows']} です")
    if manifest["table"] not in {table.name for table in tables_with_marked_rows()}:
        raise ValueError(f"目録の表は {manifest['table']} です")


def _insert(connection: psycopg.Connection, table: str, lines: list[bytes]) -> int:
    """Insert these rows; returns the number of those that were missing. Columns that are newer than the archive get their defaults."""
    name = sql.Identifier(HOST_SCHEMA, table)
    archived = {column for line in lines for column in json.loads(line)}
    live = columns_of(connection, HOST_SCHEMA, table, are_written=True)
    if gone := archived.difference(live):
        raise BackupError(
            f"表 {table} の列 {'、'.join(sorted(gone))} は今のデータベースにありません。何も復元していません。"
        )
    statement = _INSERT.format(
        table=name,
        columns=sql.SQL(", ").join(sql.Identifier(column) for column in live if column in archived),
    )
    return connection.execute(statement, {"rows": b"[" + b",".join(lines) + b"]"}).rowcount


def _line(store: ObjectStore, folder: str, name: str) -> str:
    try:
        manifest, files = read_manifest(store, folder, name)
    except ArchiveError as error:
        return f"{name}: {reason_of(error)}"
    changed = f"{min(file.finished_from for file in files)} から {max(file.finished_to for file in files)}"
    return f"{name}: {manifest['table']} {manifest['rows']:,} 行（最後の変更は {changed} UTC）"
