"""One tenant's rows: exported as CSV, restored beside the live ones, compared with them, and merged over them when told."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import psycopg
from psycopg import sql

from include.data_management.data_backup.files import (
    BackupDamagedError,
    CopyStream,
    Manifest,
    Packer,
    StoredFile,
    differences,
)
from include.data_management.data_backup.server import (
    BackupError,
    Table,
    list_tables,
    table_contents,
)
from include.execution.object_store import tenant_folder

# What a merge may write: the host application's rows. Ours (invoices, the outbox) must not go back in time.
MERGED_SCHEMA = "public"

_BLOCK_BYTES = 1 << 20
_LISTED_KEYS = 5


def manifest_path(tenant_id: str) -> str:
    """Where a tenant's own manifest lies in a backup."""
    return f"tenants/{tenant_folder(tenant_id)}/manifest.json"


def restored_schema(tenant_id: str) -> str:
    """The schema beside the live one that takes the tenant's restored rows."""
    readable = re.sub("[^a-z0-9_]", "_", tenant_id.lower())[:30]
    return f"restored_{readable}_{hashlib.sha256(tenant_id.encode()).hexdigest()[:8]}"


def export_tenant(snapshot: psycopg.Connection, packer: Packer, tenant_id: str) -> StoredFile:
    """Write a compressed CSV per table that has rows of the tenant, and then its manifest; returns that one's entry.

    ``snapshot`` is connected to the restored database, which nobody changes.
    """
    tables = [table for table in list_tables(snapshot) if table.has_tenant]
    contents = table_contents(snapshot, tables, tenant_id)
    files = []
    for content in contents:
        table = Table(content.schema, content.name, has_tenant=True)
        query = sql.SQL("COPY (SELECT * FROM {} WHERE tenant_id = {}) TO STDOUT (FORMAT csv, HEADER)").format(
            table.identifier, sql.Literal(tenant_id)
        )
        with snapshot.cursor().copy(query) as copy:
            source = cast("io.BufferedIOBase", CopyStream(copy.read))
            path = f"tenants/{tenant_folder(tenant_id)}/{content.schema}.{content.name}.csv"
            files.append(packer.pack(source, path, content.rows))  # type: ignore[arg-type]
    about = {"tenant_id": tenant_id, "rows": sum(content.rows for content in contents)}
    return packer.write_manifest(Manifest(about, files, contents), manifest_path(tenant_id))


def restore_tenant(connection: psycopg.Connection, packer: Packer, manifest: Manifest) -> str:
    """Restore a tenant's rows into a schema of their own, in the transaction that is open; returns the schema's name.

    Tables are made like the live ones, so that both compare; columns that the export does not know stay empty.
    :raises BackupDamagedError: a file is not what the manifest says, or what it held is not what the snapshot held.
    :raises BackupError: the live database has another shape by now.
    """
    tenant_id = str(manifest.about["tenant_id"])
    schema = restored_schema(tenant_id)
    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    restored = []
    for file, content in zip(manifest.files, manifest.tables, strict=True):
        target = sql.Identifier(schema, _restored_name(content.schema, content.name))
        try:
            connection.execute(
                # A generated column is an ordinary one here: it takes what the snapshot held.
                sql.SQL("CREATE TABLE {} (LIKE {})").format(
                    target, sql.Identifier(content.schema, content.name)
                )
            )
        except psycopg.errors.UndefinedTable:
            raise BackupError(
                f"表 {content.schema}.{content.name} は今のデータベースにありません。"
                "データベース全体を別名で復元し、そこから取り出してください。"
            ) from None
        with packer.unpacked(file) as source:
            reader = io.BufferedReader(cast("io.RawIOBase", source))
            header = reader.readline()
            columns = next(csv.reader([header.decode().rstrip("\n")]))
            _require_columns(connection, content.schema, content.name, columns)
            copy_in = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
                target, sql.SQL(", ").join(map(sql.Identifier, columns))
            )
            with connection.cursor().copy(copy_in) as copy:
                shutil.copyfileobj(reader, copy, _BLOCK_BYTES)
        table = Table(schema, _restored_name(content.schema, content.name), has_tenant=True)
        (found,) = table_contents(connection, [table])
        if found.rows != content.rows:
            raise BackupDamagedError(
                f"{file.path} は {content.rows} 行のはずが {found.rows} 行です。別のバックアップを使ってください。"
            )
        foreign = connection.execute(
            sql.SQL("SELECT count(*) FROM {} WHERE tenant_id IS DISTINCT FROM %s").format(table.identifier),
            [tenant_id],
        ).fetchone()
        if foreign != (0,):
            raise BackupDamagedError(
                f"{file.path} に他のテナントの行があります。別のバックアップを使ってください。"
            )
        restored.append((content, found))
    return schema


def verify_restored(connection: psycopg.Connection, schema: str, manifest: Manifest) -> None:
    """Compare restored tables with the manifest, hash by hash; right after a backup, when the tables have the same shape.

    :raises BackupDamagedError: names the tables that differ.
    """
    tables = [
        Table(schema, _restored_name(each.schema, each.name), has_tenant=True) for each in manifest.tables
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
class Conflict:
    """How a table's restored rows compare with the live ones: rows that differ, are gone, and are new since; some of their keys."""

    schema: str
    name: str
    rows: int
    changed: int
    missing: int
    new: int
    keys: tuple[str, ...]

    def sentence(self) -> str:
        """One line for the report."""
        text = (
            f"{self.schema}.{self.name}: 復元 {self.rows} 行、現在と異なる {self.changed} 行、"
            f"現在ない {self.missing} 行、取得後に増えた {self.new} 行"
        )
        return f"{text}（例: {'、'.join(self.keys)}）" if self.keys else text


def compare(connection: psycopg.Connection, schema: str, manifest: Manifest) -> list[Conflict]:
    """The restored rows beside the tenant's live ones, by primary key, table by table; also tables of which the backup has no row."""
    tenant_id = str(manifest.about["tenant_id"])
    restored = {(each.schema, each.name) for each in manifest.tables}
    conflicts = []
    for table in list_tables(connection):
        if not table.has_tenant:
            continue
        if (table.schema, table.name) not in restored:
            new = _count(
                connection,
                sql.SQL("SELECT count(*) FROM {} WHERE tenant_id = %s").format(table.identifier),
                tenant_id,
            )
            if new:
                conflicts.append(Conflict(table.schema, table.name, 0, 0, 0, new, ()))
            continue
        key = _primary_key(connection, table)
        same_key = _same_key(key)
        query = sql.SQL(
            """
            WITH pair AS MATERIALIZED (
                SELECT
                    coalesce(({key_restored})::text, ({key_live})::text) AS row_key,
                    restored.tenant_id IS NOT null AS is_restored,
                    live.tenant_id IS NOT null AS is_live,
                    live::text IS DISTINCT FROM restored::text AS differs
                FROM {restored} AS restored
                FULL JOIN (SELECT * FROM {live} WHERE tenant_id = {tenant_id}) AS live ON {same_key}
            )
            SELECT
                count(*) FILTER (WHERE is_restored),
                count(*) FILTER (WHERE is_restored AND is_live AND differs),
                count(*) FILTER (WHERE NOT is_live),
                count(*) FILTER (WHERE NOT is_restored),
                array(SELECT row_key FROM pair WHERE differs ORDER BY row_key LIMIT {listed})
            FROM pair
            """
        ).format(
            key_restored=_row_of("restored", key),
            key_live=_row_of("live", key),
            restored=sql.Identifier(schema, _restored_name(table.schema, table.name)),
            live=table.identifier,
            tenant_id=sql.Literal(tenant_id),
            same_key=same_key,
            listed=sql.Literal(_LISTED_KEYS),
        )
        row = connection.execute(query).fetchone()
        assert row is not None
        rows, changed, missing, new, keys = row
        conflict = Conflict(table.schema, table.name, rows, changed, missing, new, tuple(keys))
        if conflict.changed or conflict.missing or conflict.new:
            conflicts.append(conflict)
    return conflicts


def merge(connection: psycopg.Connection, schema: str, manifest: Manifest) -> int:
    """Put the restored rows of the host's tables in place of the live ones, in the transaction that is open; returns rows written.

    Rows that are new since the backup stay. A key that belongs to another tenant by now stops everything.
    :raises BackupError: names the table and the key.
    """
    tenant_id = str(manifest.about["tenant_id"])
    written = 0
    for content in manifest.tables:
        if content.schema != MERGED_SCHEMA:
            continue
        table = Table(content.schema, content.name, has_tenant=True)
        key = _primary_key(connection, table)
        columns = _columns(connection, content.schema, content.name, are_written=True)
        source = sql.Identifier(schema, _restored_name(content.schema, content.name))
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        same_key = _same_key(key)
        taken = connection.execute(
            sql.SQL(
                "SELECT ({key})::text FROM {source} AS restored INNER JOIN {live} AS live ON {same_key} "
                "WHERE live.tenant_id IS DISTINCT FROM {tenant_id} LIMIT 1"
            ).format(
                key=_row_of("restored", key),
                source=source,
                live=table.identifier,
                same_key=same_key,
                tenant_id=sql.Literal(tenant_id),
            )
        ).fetchone()
        if taken:
            raise BackupError(
                f"{content.schema}.{content.name} のキー {taken[0]} は今ほかのテナントのものです。何も反映していません。"
            )
        others = [name for name in columns if name not in key]
        update = sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in others
        )
        statement = sql.SQL(
            "INSERT INTO {live} AS live ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM {source} ON CONFLICT ({key}) DO "
        ).format(
            live=table.identifier,
            names=names,
            source=source,
            key=sql.SQL(", ").join(map(sql.Identifier, key)),
        )
        statement += (
            sql.SQL(
                "UPDATE SET {update} WHERE live.tenant_id = {tenant_id} AND live::text IS DISTINCT FROM excluded::text"
            ).format(update=update, tenant_id=sql.Literal(tenant_id))
            if others
            else sql.SQL("NOTHING")
        )
        try:
            written += connection.execute(statement).rowcount
        except psycopg.errors.IntegrityError as error:
            raise BackupError(
                f"{content.schema}.{content.name} に反映できません（{error.diag.constraint_name}）。何も反映していません。"
                "報告にある行を見直してください。"
            ) from None
    return written


def _restored_name(schema: str, name: str) -> str:
    """The host's tables keep their names; those of another schema are told apart."""
    return name if schema == MERGED_SCHEMA else f"{schema}.{name}"


def _columns(
    connection: psycopg.Connection, schema: str, name: str, *, are_written: bool = False
) -> list[str]:
    """The table's columns, or (``are_written``) those that an INSERT may give: a generated one makes itself."""
    rows = connection.execute(
        """
        SELECT attname FROM pg_attribute
        WHERE attrelid = (quote_ident(%s) || '.' || quote_ident(%s))::regclass AND attnum > 0 AND NOT attisdropped
            AND NOT (%s AND attgenerated <> '')
        ORDER BY attnum
        """,
        [schema, name, are_written],
    )
    return [column for (column,) in rows]


def _require_columns(connection: psycopg.Connection, schema: str, name: str, columns: Sequence[str]) -> None:
    gone = [column for column in columns if column not in _columns(connection, schema, name)]
    if gone:
        raise BackupError(
            f"表 {schema}.{name} の列 {'、'.join(gone)} は今のデータベースにありません。"
            "データベース全体を別名で復元し、そこから取り出してください。"
        )


def _primary_key(connection: psycopg.Connection, table: Table) -> list[str]:
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
    if not rows:
        raise BackupError(f"表 {table.schema}.{table.name} に主キーがないため、現在の行と比べられません。")
    return [column for (column,) in rows]


def _same_key(key: Sequence[str]) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("live.{0} = restored.{0}").format(sql.Identifier(name)) for name in key
    )


def _row_of(alias: str, key: Sequence[str]) -> sql.Composed:
    names = [sql.Identifier(alias, name) for name in key]
    return (
        sql.SQL("{}").format(names[0])
        if len(names) == 1
        else sql.SQL("ROW({})").format(sql.SQL(", ").join(names))
    )


def _count(connection: psycopg.Connection, query: sql.Composed, *parameters: object) -> int:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return int(row[0])
