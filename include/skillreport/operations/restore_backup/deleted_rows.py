"""Lists and restores archives of rows that BATCH-002 deleted because the application had marked them as deleted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
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
from include.skillreport.core.database import Statements
from include.skillreport.core.errors import reason_of
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.proof import UnprovedError
from include.skillreport.core.execution.row_archive import (
    ArchivedFile,
    ArchiveError,
    archive_names,
    archived_chunks,
    read_manifest,
)
from include.skillreport.schema.deletion import HOST_SCHEMA

_SQL = Statements(Path(__file__).parent)

# The rows stay text, because Python would round their numbers.
_INSERT = sql.SQL(
    """WITH archived AS (
        SELECT given.*, {given_owner} AS archived_owner
        FROM jsonb_populate_recordset(null::{table}, convert_from(%(rows)s, 'UTF8')::jsonb) AS given
    ), inserted AS (
        INSERT INTO {table} ({columns})
        SELECT {values} FROM archived WHERE archived_owner IS NOT null
        ON CONFLICT DO NOTHING
        RETURNING *
    )
    SELECT
        (SELECT count(*) FROM inserted),
        (SELECT count(*) FROM archived WHERE archived_owner IS null),
        (SELECT min(inserted.id) FROM inserted WHERE {owner} IS DISTINCT FROM %(tenant_id)s)"""
)

_MARK = "is_deleted"


@dataclass(frozen=True)
class RestoredRows:
    """The numbers of an archive's rows: ``inserted``, ``existing`` (another row has the key, or a unique value of it), and ``ownerless``,
    whose person no longer exists.
    """

    table: str
    inserted: int
    existing: int
    ownerless: int


def describe_archives(platform: psycopg.Connection, store: ObjectStore, tenant_id: str) -> list[str]:
    """A line for each archive of the tenant, oldest first."""
    folder, recorded = folder_of(tenant_id), _recorded(platform, tenant_id)
    return [_line(store, folder, name, recorded.get(name)) for name in archive_names(store, folder)]


def restore_rows(
    connection: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    keys: MacKeys,
    tenant_id: str,
    archive: str,
    *,
    kept: bool,
) -> RestoredRows:
    """Insert an archive's missing rows of present people, marked as deleted, in one transaction.

    ``connection`` is the backup's login. ``platform`` knows the archives. If ``kept`` is false, the transaction rolls back (a dry run).
    :raises BackupDamagedError: the archive is damaged, or the database does not know it.
    :raises BackupError: the tenant is or was deleted (see ``hold_off_deletion``), a row does not fit into the present table, or belongs to
        another tenant (docs/develop/people.md), for example because its employee has moved.
    """
    table, inserted, ownerless = "", 0, 0
    try:
        with connection.transaction() as transaction:
            hold_off_deletion(connection, store, keys, tenant_id)
            sha256 = _recorded(platform, tenant_id).get(archive)
            manifest, files = _whole_archive(store, tenant_id, archive, sha256)
            table = str(manifest["table"])
            owned = _owned_table(connection, table)
            for lines in archived_chunks(store, files, CHUNK_ROWS):
                counts = _insert(connection, owned, lines, tenant_id)
                inserted, ownerless = inserted + counts[0], ownerless + counts[1]
            if not kept:
                raise psycopg.Rollback(transaction)
    except psycopg.errors.IntegrityError as error:
        raise BackupError(
            f"{table} に戻せない行があります（{error.diag.constraint_name or error.diag.column_name}）。何も復元していません。"
        ) from None
    return RestoredRows(table, inserted, int(manifest["rows"]) - inserted - ownerless, ownerless)


def _recorded(platform: psycopg.Connection, tenant_id: str) -> dict[str, str]:
    """The hashes of the manifests by the archives' names."""
    return dict(_SQL.execute(platform, "recorded_archives", tenant_id=tenant_id).fetchall())


def _whole_archive(
    store: ObjectStore, tenant_id: str, archive: str, sha256: str | None
) -> tuple[dict[str, Any], list[ArchivedFile]]:
    """The archive's manifest and files, after reading them to the end. :raises BackupDamagedError: the archive is damaged."""
    folder = folder_of(tenant_id)
    try:
        manifest, files = read_manifest(store, folder, archive, sha256)
        for _ in archived_chunks(store, files, CHUNK_ROWS):
            pass
    except (UnprovedError, ArchiveError, ValueError) as error:
        reason = error.fault if isinstance(error, UnprovedError) else reason_of(error)
        raise BackupDamagedError(
            f"書庫 {store.location(folder)}/{archive} は読めないか、壊れています（{reason}）。何も復元していません。"
        ) from None
    return manifest, files


def _owned_table(connection: psycopg.Connection, name: str) -> OwnedTable:
    """The table, with the present people's keys in the transaction. :raises BackupError: it does not exist, or its rows have no owner."""
    for owned in find_owners(connection):
        if (owned.table.schema, owned.table.name) == (HOST_SCHEMA, name):
            return owned
    raise BackupError(
        f"表 {name} は今のデータベースにないか、テナントの行の表ではありません。何も復元していません。"
    )


def _insert(
    connection: psycopg.Connection, owned: OwnedTable, lines: list[bytes], tenant_id: str
) -> tuple[int, int]:
    """Insert the missing rows, marked as deleted. Returns their number, and the number of rows of people who no longer exist.

    Columns newer than the archive get their defaults.

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
    columns = [column for column in written if column in archived or column == _MARK]
    statement = _INSERT.format(
        table=owned.table.identifier,
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        values=sql.SQL(", ").join(
            sql.SQL("true") if column == _MARK else sql.Identifier(column) for column in columns
        ),
        given_owner=owned.owner("given"),
        owner=owned.owner("inserted"),
    )
    rows = b"[" + b",".join(lines) + b"]"
    counted = connection.execute(statement, {"rows": rows, "tenant_id": tenant_id}).fetchone()
    assert counted is not None
    inserted, ownerless, taken = counted
    if taken is not None:
        raise BackupError(f"{table} の行 {taken} は今ほかのテナントのものです。何も復元していません。")
    return int(inserted), int(ownerless)


def _line(store: ObjectStore, folder: str, name: str, sha256: str | None) -> str:
    try:
        manifest, files = read_manifest(store, folder, name, sha256)
    except UnprovedError as error:
        return f"{name}: 復元できません（{error.fault}）"
    except OSError as error:
        return f"{name}: 復元できません（{reason_of(error)}）"
    changed = f"{min(file.finished_from for file in files)} から {max(file.finished_to for file in files)}"
    return f"{name}: {manifest['table']} {manifest['rows']:,} 行（最後の変更は {changed} UTC）"
