"""Lists and restores archives of rows that BATCH-002 deleted because the application had marked them as deleted."""

from __future__ import annotations

import json
from typing import Any

import psycopg
from psycopg import sql

from include.skillreport.batches.data_backup.deleted_tenants import hold_off_deletion
from include.skillreport.batches.data_backup.files import BackupDamagedError
from include.skillreport.batches.data_backup.mac import MacKeys
from include.skillreport.batches.data_backup.ownership import OwnedTable, find_owners
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

# The rows stay text, because Python would round their numbers. A row without a tenant may return, because its employee may be missing, too.
_INSERT = sql.SQL(
    """WITH inserted AS (
        INSERT INTO {table} ({columns})
        SELECT {columns} FROM jsonb_populate_recordset(null::{table}, convert_from(%(rows)s, 'UTF8')::jsonb)
        ON CONFLICT DO NOTHING
        RETURNING *
    )
    SELECT count(*), min(inserted.id) FILTER (WHERE {owner} <> %(tenant_id)s) FROM inserted"""
)


def describe_archives(store: ObjectStore, tenant_id: str) -> list[str]:
    """A line for each archive of the tenant, oldest first."""
    folder = folder_of(tenant_id)
    return [_line(store, folder, name) for name in archive_names(store, folder)]


def restore_rows(
    connection: psycopg.Connection,
    store: ObjectStore,
    keys: MacKeys,
    tenant_id: str,
    archive: str,
    *,
    kept: bool,
) -> tuple[str, int, int]:
    """Insert an archive's missing rows, in one transaction. Returns the table and the numbers of inserted and existing rows.

    A row exists if another row has its key, or a unique value of it. If ``kept`` is false, the transaction rolls back (a dry run).
    :raises BackupDamagedError: the archive is damaged.
    :raises BackupError: the tenant is or was deleted (see ``hold_off_deletion``), a row does not fit into the present table, or belongs to
        another tenant (docs/develop/people.md), for example because its employee has moved.
    """
    table, inserted = "", 0
    try:
        with connection.transaction() as transaction:
            hold_off_deletion(connection, store, keys, tenant_id)
            manifest, files = _whole_archive(store, tenant_id, archive)
            table = str(manifest["table"])
            owned = _owned_table(connection, table)
            for lines in archived_chunks(store, files, CHUNK_ROWS):
                inserted += _insert(connection, owned, lines, tenant_id)
            if not kept:
                raise psycopg.Rollback(transaction)
    except psycopg.errors.IntegrityError as error:
        raise BackupError(
            f"{table} に戻せない行があります（{error.diag.constraint_name or error.diag.column_name}）。何も復元していません。"
        ) from None
    return table, inserted, int(manifest["rows"]) - inserted


def _whole_archive(
    store: ObjectStore, tenant_id: str, archive: str
) -> tuple[dict[str, Any], list[ArchivedFile]]:
    """The archive's manifest and files, after reading them to the end. :raises BackupDamagedError: the archive is damaged."""
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
    return manifest, files


def _check(manifest: dict[str, Any], files: list[ArchivedFile], tenant_id: str) -> None:
    """Check the manifest. :raises ValueError: it is no archive of this tenant."""
    if manifest["tenant_id"] != tenant_id or manifest["rows"] != sum(file.rows for file in files):
        raise ValueError(f"目録のテナントは {manifest['tenant_id']}、行数は {manifest['rows']} です")
    if manifest["table"] not in {table.name for table in tables_with_marked_rows()}:
        raise ValueError(f"目録の表は {manifest['table']} です")


def _owned_table(connection: psycopg.Connection, name: str) -> OwnedTable:
    """The table, with the present people's keys in the transaction. :raises BackupError: it does not exist, or its rows have no owner."""
    for owned in find_owners(connection):
        if (owned.table.schema, owned.table.name) == (HOST_SCHEMA, name):
            return owned
    raise BackupError(
        f"表 {name} は今のデータベースにないか、テナントの行の表ではありません。何も復元していません。"
    )


def _insert(connection: psycopg.Connection, owned: OwnedTable, lines: list[bytes], tenant_id: str) -> int:
    """Insert the missing rows. Returns their number. Columns newer than the archive get their defaults.

    :raises BackupError: the table has lost a column, or an inserted row belongs to another tenant.
    """
    table = owned.table.name
    archived = {column for line in lines for column in json.loads(line)}
    # An archive contains generated columns, too, which PostgreSQL calculates again.
    if gone := archived.difference(columns_of(connection, HOST_SCHEMA, table)):
        raise BackupError(
            f"表 {table} の列 {'、'.join(sorted(gone))} は今のデータベースにありません。何も復元していません。"
        )
    written = columns_of(connection, HOST_SCHEMA, table, are_written=True)
    statement = _INSERT.format(
        table=owned.table.identifier,
        columns=sql.SQL(", ").join(sql.Identifier(column) for column in written if column in archived),
        owner=owned.owner("inserted"),
    )
    rows = b"[" + b",".join(lines) + b"]"
    counted = connection.execute(statement, {"rows": rows, "tenant_id": tenant_id}).fetchone()
    assert counted is not None
    inserted, taken = counted
    if taken is not None:
        raise BackupError(f"{table} の行 {taken} は今ほかのテナントのものです。何も復元していません。")
    return int(inserted)


def _line(store: ObjectStore, folder: str, name: str) -> str:
    try:
        manifest, files = read_manifest(store, folder, name)
    except ArchiveError as error:
        return f"{name}: {reason_of(error)}"
    changed = f"{min(file.finished_from for file in files)} から {max(file.finished_to for file in files)}"
    return f"{name}: {manifest['table']} {manifest['rows']:,} 行（最後の変更は {changed} UTC）"
