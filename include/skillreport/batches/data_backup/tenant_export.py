"""One tenant's rows: exported as CSV, restored into a separate schema, and optionally merged over the live rows."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import psycopg
from psycopg import sql

from include.skillreport.batches.data_backup.files import (
    BackupDamagedError,
    CopyStream,
    Manifest,
    Packer,
    StoredFile,
    TableContent,
    differences,
)
from include.skillreport.batches.data_backup.ownership import (
    OwnedTable,
    owned_tables,
    tenant_contents,
)
from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.batches.data_backup.tables import Table, table_contents
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.object_store import tenant_folder
from include.skillreport.schema.deletion import HOST_SCHEMA

# A merge writes only the host application's rows. The batches' rows (invoices, the outbox) must not return to an earlier state.
MERGED_SCHEMA = HOST_SCHEMA

_SQL = Statements(Path(__file__).parent)

_BLOCK_BYTES = 1 << 20


def manifest_path(tenant_id: str) -> str:
    """The path of a tenant's manifest in a backup."""
    return f"tenants/{tenant_folder(tenant_id)}/manifest.json"


def restored_schema(tenant_id: str) -> str:
    """The schema for the tenant's restored rows, separate from the live schema."""
    readable = re.sub("[^a-z0-9_]", "_", tenant_id.lower())[:30]
    return f"restored_{readable}_{hashlib.sha256(tenant_id.encode()).hexdigest()[:8]}"


def export_tenant(
    snapshot: psycopg.Connection, tables: Sequence[OwnedTable], packer: Packer, tenant_id: str
) -> StoredFile:
    """Write a compressed CSV for each table with rows of the tenant, then the manifest. Returns the manifest's entry.

    ``snapshot`` is connected to the restored database, prepared by ``index_owners``. ``tables`` are its ``owned_tables``.
    """
    files, contents = [], []
    for owned, content in tenant_contents(snapshot, tables, tenant_id):
        query = sql.SQL(
            "COPY (SELECT content.* FROM {} AS content WHERE {}) TO STDOUT (FORMAT csv, HEADER)"
        ).format(owned.table.identifier, owned.found_by_index("content", tenant_id))
        with snapshot.cursor().copy(query) as copy:
            source = cast("io.BufferedIOBase", CopyStream(copy.read))
            path = f"tenants/{tenant_folder(tenant_id)}/{content.schema}.{content.name}.csv"
            files.append(packer.pack(source, path, content.rows))  # type: ignore[arg-type]
        contents.append(content)
    about = {"tenant_id": tenant_id, "rows": sum(content.rows for content in contents)}
    return packer.write_manifest(Manifest(about, files, contents), manifest_path(tenant_id))


def restore_tenant(connection: psycopg.Connection, packer: Packer, manifest: Manifest) -> str:
    """Restore a tenant's rows into a separate schema, in the open transaction. Returns the schema's name.

    A table has the export's columns with the live table's types, so that both can be compared.
    :raises BackupDamagedError: a file differs from the manifest, or contains other tenants' rows.
    :raises BackupError: the live database lacks a table or column.
    """
    tenant_id = str(manifest.about["tenant_id"])
    schema = restored_schema(tenant_id)
    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    # Rows of other tables may contain any tenant.
    by_column = {
        (owned.table.schema, owned.table.name)
        for owned in owned_tables(connection)
        if owned.person_column is None and owned.table.has_tenant
    }
    live = {(owner, name): names for owner, name, names in _SQL.execute(connection, "all_columns")}
    for file, content in zip(manifest.files, manifest.tables, strict=True):
        target = sql.Identifier(schema, restored_name(content.schema, content.name))
        with packer.unpacked(file) as source:
            reader = io.BufferedReader(cast("io.RawIOBase", source))
            header = reader.readline()
            columns = next(csv.reader([header.decode().rstrip("\n")]))
            _require_columns(live.get((content.schema, content.name), ()), content, columns)
            connection.execute(
                # A generated column becomes an ordinary one, with the snapshot's value.
                sql.SQL("CREATE TABLE {} AS SELECT {} FROM {} WITH NO DATA").format(
                    target, _names(columns), sql.Identifier(content.schema, content.name)
                )
            )
            copy_in = sql.SQL("COPY {} FROM STDIN (FORMAT csv)").format(target)
            cursor = connection.cursor()
            with cursor.copy(copy_in) as copy:
                shutil.copyfileobj(reader, copy, _BLOCK_BYTES)
        table = Table(schema, restored_name(content.schema, content.name), has_tenant=True)
        # The comparison and the merge look up single live rows. Without statistics PostgreSQL would read the entire live table.
        connection.execute(sql.SQL("ANALYZE {}").format(table.identifier))
        if cursor.rowcount != content.rows:
            raise BackupDamagedError(
                f"{file.path} は {content.rows} 行のはずが {cursor.rowcount} 行です。別のバックアップを使ってください。"
            )
        if (content.schema, content.name) in by_column and count_of(
            connection,
            sql.SQL("SELECT count(*) FROM {} WHERE tenant_id IS DISTINCT FROM %s").format(table.identifier),
            tenant_id,
        ):
            raise BackupDamagedError(
                f"{file.path} に他のテナントの行があります。別のバックアップを使ってください。"
            )
    return schema


def verify_restored(connection: psycopg.Connection, schema: str, manifest: Manifest) -> None:
    """Compare restored tables with the manifest by hash. Call it right after a backup, while the columns are the same.

    :raises BackupDamagedError: with the tables that differ.
    """
    tables = [
        Table(schema, restored_name(each.schema, each.name), has_tenant=True) for each in manifest.tables
    ]
    found = [
        type(expected)(expected.schema, expected.name, content.rows, content.content_hash)
        for expected, content in zip(manifest.tables, table_contents(connection, tables), strict=True)
    ]
    wrong = differences(manifest.tables, found)
    if wrong:
        raise BackupDamagedError(
            f"テナント {manifest.about['tenant_id']} の復元結果が取得時と一致しません: {'、'.join(wrong)}"
        )


@dataclass(frozen=True)
class MergedTable:
    """The numbers of rows of a host's table that a merge overwrote and inserted."""

    name: str
    updated: int
    inserted: int


def merge(
    connection: psycopg.Connection, schema: str, manifest: Manifest, tables: Sequence[OwnedTable]
) -> list[MergedTable]:
    """Replace live rows of the host's tables with the restored rows, in the open transaction. Returns the written rows per table.

    Rows newer than the backup stay. Columns newer than the backup keep their values, or get their defaults in reinserted rows.
    :raises BackupError: a restored key belongs to another tenant, or a constraint fails; with the table.
    """
    tenant_id = str(manifest.about["tenant_id"])
    by_name = {owned.table.name: owned for owned in tables if owned.table.schema == MERGED_SCHEMA}
    restored = [table.name for table in manifest.tables if table.schema == MERGED_SCHEMA]
    return [_merge_table(connection, schema, tenant_id, by_name[name]) for name in restored]


def _merge_table(
    connection: psycopg.Connection, schema: str, tenant_id: str, owned: OwnedTable
) -> MergedTable:
    table, name = owned.table, owned.table.name
    restored_columns = columns_of(connection, schema, name)
    key = primary_key(connection, table, restored_columns)
    live_columns = columns_of(connection, MERGED_SCHEMA, name, are_written=True)
    columns = [column for column in live_columns if column in restored_columns]
    others = [column for column in columns if column not in key]
    parts = {
        "live": table.identifier,
        "source": sql.Identifier(schema, name),
        "same_key": same_key(key),
        # A row without a tenant may be overwritten, because the same merge may restore its employee.
        "is_taken": sql.SQL("{} <> {}").format(owned.owner("live"), sql.Literal(tenant_id)),
        "key": row_of("restored", key),
        "names": _names(columns),
        "of_live": row_of("live", columns),
        "of_restored": row_of("restored", columns),
        "changes": sql.SQL(", ").join(
            sql.SQL("{0} = restored.{0}").format(sql.Identifier(column)) for column in others
        ),
    }
    taken = connection.execute(
        sql.SQL(
            "SELECT ({key})::text FROM {source} AS restored INNER JOIN {live} AS live ON {same_key} "
            "WHERE {is_taken} LIMIT 1"
        ).format(**parts)
    ).fetchone()
    if taken:
        raise BackupError(
            f"{MERGED_SCHEMA}.{name} のキー {taken[0]} は今ほかのテナントのものです。何も反映していません。"
        )
    # No upsert, because it requires a value for each NOT NULL column without a default, even in existing rows.
    update = sql.SQL(
        "UPDATE {live} AS live SET {changes} FROM {source} AS restored "
        "WHERE {same_key} AND ({of_live})::text IS DISTINCT FROM ({of_restored})::text"
    ).format(**parts)
    insert = sql.SQL(
        "INSERT INTO {live} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM {source} AS restored "
        "WHERE NOT EXISTS (SELECT FROM {live} AS live WHERE {same_key})"
    ).format(**parts)
    try:
        updated = connection.execute(update).rowcount if others else 0
        return MergedTable(name, updated, connection.execute(insert).rowcount)
    except psycopg.errors.IntegrityError as error:
        raise BackupError(
            f"{MERGED_SCHEMA}.{name} に反映できません"
            f"（{error.diag.constraint_name or error.diag.column_name}）。何も反映していません。"
            "報告にある行を見直してください。"
        ) from None


def restored_name(schema: str, name: str) -> str:
    """The restored table's name: the host's tables keep their names; others get their schema as a prefix."""
    return name if schema == MERGED_SCHEMA else f"{schema}.{name}"


def columns_of(
    connection: psycopg.Connection, schema: str, name: str, *, are_written: bool = False
) -> list[str]:
    """The table's columns, with ``are_written`` without generated columns, which an INSERT cannot set.

    Empty if there is no such table.
    """
    rows = connection.execute(
        """
        SELECT attname FROM pg_attribute
        WHERE attrelid = to_regclass(quote_ident(%s) || '.' || quote_ident(%s)) AND attnum > 0 AND NOT attisdropped
            AND NOT (%s AND attgenerated <> '')
        ORDER BY attnum
        """,
        [schema, name, are_written],
    )
    return [column for (column,) in rows]


def _require_columns(live: Sequence[str], table: TableContent, columns: Sequence[str]) -> None:
    if not live:
        raise BackupError(
            f"表 {table.schema}.{table.name} は今のデータベースにありません。"
            "データベース全体を別名で復元し、そこから取り出してください。"
        )
    gone = [column for column in columns if column not in live]
    if gone:
        raise BackupError(
            f"表 {table.schema}.{table.name} の列 {'、'.join(gone)} は今のデータベースにありません。"
            "データベース全体を別名で復元し、そこから取り出してください。"
        )


def primary_key(connection: psycopg.Connection, table: Table, restored: Sequence[str]) -> list[str]:
    """The live table's primary key. :raises BackupError: there is none, or the restored columns do not include it."""
    rows = connection.execute(
        """
        SELECT attname FROM pg_index
        CROSS JOIN LATERAL unnest(indkey) WITH ORDINALITY AS part (attnum, position)
        INNER JOIN pg_attribute ON attrelid = indrelid AND pg_attribute.attnum = part.attnum
        WHERE indrelid = (quote_ident(%s) || '.' || quote_ident(%s))::regclass AND indisprimary
        ORDER BY position
        """,
        [table.schema, table.name],
    ).fetchall()
    key = [column for (column,) in rows]
    if not key or not set(key) <= set(restored):
        raise BackupError(
            f"表 {table.schema}.{table.name} の今の主キー（{'、'.join(key) or 'なし'}）では、現在の行と比べられません。"
            "データベース全体を別名で復元し、そこから取り出してください。"
        )
    return key


def _names(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def same_key(key: Sequence[str]) -> sql.Composed:
    """The condition that the rows ``live`` and ``restored`` have the same key."""
    return sql.SQL(" AND ").join(
        sql.SQL("live.{0} = restored.{0}").format(sql.Identifier(name)) for name in key
    )


def row_of(alias: str, key: Sequence[str]) -> sql.Composed:
    """These columns as one value of a statement."""
    names = [sql.Identifier(alias, name) for name in key]
    return (
        sql.SQL("{}").format(names[0])
        if len(names) == 1
        else sql.SQL("ROW({})").format(sql.SQL(", ").join(names))
    )


def count_of(connection: psycopg.Connection, query: sql.Composed, *parameters: object) -> int:
    """The number that the query counts."""
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return int(row[0])
