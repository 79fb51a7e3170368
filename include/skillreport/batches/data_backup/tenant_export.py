"""One tenant's rows: exported as CSV, restored into a separate schema, compared with the live rows, and optionally merged over them."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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
from include.skillreport.batches.data_backup.server import Table, table_contents
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.object_store import tenant_folder
from include.skillreport.schema.deletion import HOST_SCHEMA

# A merge may write only the host application's rows. The batches' own rows (invoices, the outbox) must not return to an earlier state.
MERGED_SCHEMA = HOST_SCHEMA

_SQL = Statements(Path(__file__).parent)

_BLOCK_BYTES = 1 << 20
_LISTED_KEYS = 5

# The host's tables whose rows are written once, with the column of the time (UTC, without zone).
_LOG_TIMES = {"SYS_SystemLog": "created_at", "HIS_AuditLog": "created_at"}

# A row's time may be this much earlier than the end of its transaction.
_LONGEST_TRANSACTION = timedelta(days=1)


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
    """Write a compressed CSV for each table with rows of the tenant, then the manifest; returns the manifest's entry.

    ``snapshot`` is connected to the restored database, which does not change and has the keys of ``index_owners``. ``tables`` are its
    ``owned_tables``.
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

    A table has the columns of the export with the types of the live table, so that both can be compared.
    :raises BackupDamagedError: a file differs from the manifest, or its rows differ from the snapshot.
    :raises BackupError: the columns of the live database have changed.
    """
    tenant_id = str(manifest.about["tenant_id"])
    schema = restored_schema(tenant_id)
    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    # The rows of the other tables may name any tenant.
    by_column = {
        (owned.table.schema, owned.table.name)
        for owned in owned_tables(connection)
        if owned.person_column is None and owned.table.has_tenant
    }
    live = {(owner, name): names for owner, name, names in _SQL.execute(connection, "all_columns")}
    for file, content in zip(manifest.files, manifest.tables, strict=True):
        target = sql.Identifier(schema, _restored_name(content.schema, content.name))
        with packer.unpacked(file) as source:
            reader = io.BufferedReader(cast("io.RawIOBase", source))
            header = reader.readline()
            columns = next(csv.reader([header.decode().rstrip("\n")]))
            _require_columns(live.get((content.schema, content.name), ()), content, columns)
            connection.execute(
                # A generated column becomes an ordinary column here, with the value of the snapshot.
                sql.SQL("CREATE TABLE {} AS SELECT {} FROM {} WITH NO DATA").format(
                    target, _names(columns), sql.Identifier(content.schema, content.name)
                )
            )
            copy_in = sql.SQL("COPY {} FROM STDIN (FORMAT csv)").format(target)
            cursor = connection.cursor()
            with cursor.copy(copy_in) as copy:
                shutil.copyfileobj(reader, copy, _BLOCK_BYTES)
        table = Table(schema, _restored_name(content.schema, content.name), has_tenant=True)
        # The comparison and the merge look up single live rows; without statistics PostgreSQL would read the whole live table.
        connection.execute(sql.SQL("ANALYZE {}").format(table.identifier))
        if cursor.rowcount != content.rows:
            raise BackupDamagedError(
                f"{file.path} は {content.rows} 行のはずが {cursor.rowcount} 行です。別のバックアップを使ってください。"
            )
        if (content.schema, content.name) in by_column and _count(
            connection,
            sql.SQL("SELECT count(*) FROM {} WHERE tenant_id IS DISTINCT FROM %s").format(table.identifier),
            tenant_id,
        ):
            raise BackupDamagedError(
                f"{file.path} に他のテナントの行があります。別のバックアップを使ってください。"
            )
    return schema


def verify_restored(connection: psycopg.Connection, schema: str, manifest: Manifest) -> None:
    """Compare restored tables with the manifest by hash. Call it right after a backup, while the tables have the same columns.

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
    """The comparison of a table's restored rows with the live rows: rows that differ, were deleted, or are new, with some of their keys.

    ``columns`` are the names of the columns that differ in any row; their values are in no report. ``added`` are columns that were added
    since the backup. They are neither compared nor changed.
    """

    schema: str
    name: str
    rows: int
    changed: int
    missing: int
    new: int
    keys: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    def sentence(self) -> str:
        """One line for the report."""
        text = (
            f"{self.schema}.{self.name}: 復元 {self.rows} 行、現在と異なる {self.changed} 行、"
            f"現在ない {self.missing} 行、取得後に増えた {self.new} 行"
        )
        if self.keys:
            text += f"（例: {'、'.join(self.keys)}）"
        if self.columns:
            text += f"。異なる列: {'、'.join(self.columns)}"
        if self.added:
            text += f"。取得後にできた列 {'、'.join(self.added)} は比べず、反映しても変えません"
        return text


# The restored rows joined with the live rows by key, and the tenant's live rows without restored rows. The first part finds live rows by
# the primary key, the second part by the conditions of `is_own` and `is_since`.
_COMPARISON = sql.SQL(
    """
    WITH pair AS MATERIALIZED (
        SELECT
            ({key_restored})::text AS row_key,
            live.{first} IS NOT null AS is_live,
            CASE WHEN live.{first} IS NOT null THEN array_remove(ARRAY[{differing}], null) ELSE '{{}}' END AS differing
        FROM {restored} AS restored
        -- Nobody's now, for example because the employee was deleted: still the tenant's.
        LEFT JOIN {live} AS live ON {same_key} AND coalesce({owner} = {tenant}, true)
    ),

    added AS MATERIALIZED (
        SELECT ({key_live})::text AS row_key
        FROM {live} AS live
        WHERE {is_since} AND {is_own} AND NOT EXISTS (SELECT FROM {restored} AS restored WHERE {same_key})
    )

    SELECT
        count(*),
        count(*) FILTER (WHERE differing <> '{{}}'),
        count(*) FILTER (WHERE NOT is_live),
        (SELECT count(*) FROM added),
        array(
            SELECT row_key FROM pair WHERE NOT is_live OR differing <> '{{}}'
            UNION ALL
            SELECT row_key FROM added
            ORDER BY row_key LIMIT {listed}
        ),
        array(SELECT DISTINCT unnest(differing) FROM pair)
    FROM pair
    """
)


def compare(
    connection: psycopg.Connection,
    schema: str,
    manifest: Manifest,
    tables: Sequence[OwnedTable],
    snapshot_at: datetime,
) -> list[Conflict]:
    """Compare the restored rows with the tenant's live rows, by primary key, in each table, including tables without backup rows.

    ``tables`` come from ``find_owners``. For the application's logs, rows count as new only if they were written after ``snapshot_at``
    (aware). An index on the time finds them, and no other rows of the log are read.
    """
    tenant_id = str(manifest.about["tenant_id"])
    restored = {(each.schema, each.name) for each in manifest.tables}
    conflicts = []
    for owned in tables:
        table = owned.table
        if (table.schema, table.name) not in restored:
            new = _count(
                connection,
                sql.SQL("SELECT count(*) FROM {} AS live WHERE {} AND {}").format(
                    table.identifier, _is_since(table, snapshot_at), owned.belongs("live", tenant_id)
                ),
            )
            if new:
                conflicts.append(Conflict(table.schema, table.name, 0, 0, 0, new))
            continue
        restored_name = _restored_name(table.schema, table.name)
        columns = columns_of(connection, schema, restored_name)
        key = _primary_key(connection, table, columns)
        same_key = _same_key(key)
        query = _COMPARISON.format(
            key_restored=_row_of("restored", key),
            key_live=_row_of("live", key),
            differing=sql.SQL(", ").join(map(_name_if_it_differs, columns)),
            restored=sql.Identifier(schema, restored_name),
            live=table.identifier,
            first=sql.Identifier(key[0]),
            is_own=owned.belongs("live", tenant_id),
            is_since=_is_since(table, snapshot_at),
            owner=owned.owner("live"),
            tenant=sql.Literal(tenant_id),
            same_key=same_key,
            listed=sql.Literal(_LISTED_KEYS),
        )
        row = connection.execute(query).fetchone()
        assert row is not None
        rows, changed, missing, new, keys, differing = row
        added = [name for name in columns_of(connection, table.schema, table.name) if name not in columns]
        if changed or missing or new or added:
            conflicts.append(
                Conflict(
                    table.schema,
                    table.name,
                    rows,
                    changed,
                    missing,
                    new,
                    tuple(keys),
                    tuple(added),
                    tuple(name for name in columns if name in differing),
                )
            )
    return conflicts


def merge(
    connection: psycopg.Connection, schema: str, manifest: Manifest, tables: Sequence[OwnedTable]
) -> int:
    """Replace live rows of the host's tables with the restored rows, in the open transaction. Returns the number of rows written.

    Rows that are newer than the backup stay. Columns that are newer than the backup keep their values. In rows that are inserted again,
    they get their defaults.
    :raises BackupError: a restored key now belongs to another tenant, or a constraint fails; it names the table.
    """
    tenant_id = str(manifest.about["tenant_id"])
    by_name = {owned.table.name: owned for owned in tables if owned.table.schema == MERGED_SCHEMA}
    restored = [table.name for table in manifest.tables if table.schema == MERGED_SCHEMA]
    return sum(_merge_table(connection, schema, tenant_id, by_name[name]) for name in restored)


def _merge_table(connection: psycopg.Connection, schema: str, tenant_id: str, owned: OwnedTable) -> int:
    table, name = owned.table, owned.table.name
    restored_columns = columns_of(connection, schema, name)
    key = _primary_key(connection, table, restored_columns)
    live_columns = columns_of(connection, MERGED_SCHEMA, name, are_written=True)
    columns = [column for column in live_columns if column in restored_columns]
    others = [column for column in columns if column not in key]
    parts = {
        "live": table.identifier,
        "source": sql.Identifier(schema, name),
        "same_key": _same_key(key),
        # A row without a tenant may be overwritten: its deleted employee may be restored in the same merge.
        "is_taken": sql.SQL("{} <> {}").format(owned.owner("live"), sql.Literal(tenant_id)),
        "key": _row_of("restored", key),
        "names": _names(columns),
        "of_live": _row_of("live", columns),
        "of_restored": _row_of("restored", columns),
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
    # Not an upsert: it requires a value for each NOT NULL column without a default, even in rows that exist.
    update = sql.SQL(
        "UPDATE {live} AS live SET {changes} FROM {source} AS restored "
        "WHERE {same_key} AND ({of_live})::text IS DISTINCT FROM ({of_restored})::text"
    ).format(**parts)
    insert = sql.SQL(
        "INSERT INTO {live} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM {source} AS restored "
        "WHERE NOT EXISTS (SELECT FROM {live} AS live WHERE {same_key})"
    ).format(**parts)
    try:
        return sum(
            connection.execute(statement).rowcount for statement in ([update, insert] if others else [insert])
        )
    except psycopg.errors.IntegrityError as error:
        raise BackupError(
            f"{MERGED_SCHEMA}.{name} に反映できません"
            f"（{error.diag.constraint_name or error.diag.column_name}）。何も反映していません。"
            "報告にある行を見直してください。"
        ) from None


def _is_since(table: Table, snapshot_at: datetime) -> sql.Composable:
    """The condition that the row ``live`` of a log may have been written after the snapshot; true for every other table."""
    column = _LOG_TIMES.get(table.name) if table.schema == HOST_SCHEMA else None
    if column is None:
        return sql.SQL("true")
    since = (snapshot_at - _LONGEST_TRANSACTION).astimezone(UTC).replace(tzinfo=None)
    return sql.SQL("({column} >= {since} OR {column} IS null)").format(
        column=sql.Identifier("live", column), since=sql.Literal(since)
    )


def _restored_name(schema: str, name: str) -> str:
    """The restored table's name: the host's tables keep their names; tables of another schema get a prefix."""
    return name if schema == MERGED_SCHEMA else f"{schema}.{name}"


def columns_of(
    connection: psycopg.Connection, schema: str, name: str, *, are_written: bool = False
) -> list[str]:
    """The table's columns, or with ``are_written`` only the columns that an INSERT can set (no generated columns).

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


def _primary_key(connection: psycopg.Connection, table: Table, restored: Sequence[str]) -> list[str]:
    """The live table's primary key; the restored columns must include it."""
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


def _name_if_it_differs(column: str) -> sql.Composed:
    return sql.SQL("CASE WHEN live.{0}::text IS DISTINCT FROM restored.{0}::text THEN {1} END").format(
        sql.Identifier(column), sql.Literal(column)
    )


def _count(connection: psycopg.Connection, query: sql.Composed, *parameters: object) -> int:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return int(row[0])
