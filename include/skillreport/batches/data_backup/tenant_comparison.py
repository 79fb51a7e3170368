"""The comparison of one tenant's restored rows with the live rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql

from include.skillreport.batches.data_backup.files import Manifest
from include.skillreport.batches.data_backup.ownership import OwnedTable
from include.skillreport.batches.data_backup.tables import Table
from include.skillreport.batches.data_backup.tenant_export import (
    MERGED_SCHEMA,
    MergedTable,
    columns_of,
    count_of,
    primary_key,
    restored_name,
    row_of,
    same_key,
)
from include.skillreport.schema.deletion import HOST_SCHEMA

_LISTED_KEYS = 5

# Of the batches' own tables (``MERGED_SCHEMA``).
NEVER_MERGED = "バッチの記録のため、反映の対象外です"

# The host's tables whose rows are written once, with the time's column (UTC, without zone).
_LOG_TIMES = {"SYS_SystemLog": "created_at", "HIS_AuditLog": "created_at"}

# A row's time may be this much earlier than the end of its transaction.
_LONGEST_TRANSACTION = timedelta(days=1)


@dataclass(frozen=True)
class Conflict:
    """The comparison of a table's restored rows with the live rows: changed, missing and new rows, with some of their keys.

    ``columns`` are the names of differing columns; no report contains their values. ``added`` are columns added since the backup, which are
    neither compared nor changed.
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
        return text if self.schema == MERGED_SCHEMA else f"{text}。{NEVER_MERGED}"

    def merged_sentence(self, merged: MergedTable | None, *, kept: bool) -> str:
        """The merge's changes of the table, and the untouched rows with the reason. ``kept`` is false: the changes that it would make."""
        name = f"{self.schema}.{self.name}"
        if self.schema != MERGED_SCHEMA:
            counts = f"異なる {self.changed} 行、現在ない {self.missing} 行、取得後に増えた {self.new} 行"
            return f"{name}: {NEVER_MERGED}（{counts}）"
        updated, inserted = (merged.updated, merged.inserted) if merged else (0, 0)
        words = ("書き換えた", "戻した") if kept else ("書き換える", "戻す")
        text = f"{name}: {words[0]} {updated} 行、{words[1]} {inserted} 行"
        if self.new:
            text += f"。取得後に増えた {self.new} 行はそのままです"
        if self.added:
            text += f"。取得後にできた列 {'、'.join(self.added)} もそのままです"
        return text


# The restored rows joined with the live rows by primary key, and the tenant's live rows without restored rows, by `is_own` and `is_since`.
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

    ``tables`` come from ``find_owners``. In the application's logs, only rows written after ``snapshot_at`` (aware) count as new, so that
    an index on the time finds them and no other rows are read.
    """
    tenant_id = str(manifest.about["tenant_id"])
    restored = {(each.schema, each.name) for each in manifest.tables}
    conflicts = []
    for owned in tables:
        table = owned.table
        if (table.schema, table.name) in restored:
            conflicts.append(_compare_table(connection, schema, owned, tenant_id, snapshot_at))
            continue
        new = count_of(
            connection,
            sql.SQL("SELECT count(*) FROM {} AS live WHERE {} AND {}").format(
                table.identifier, _is_since(table, snapshot_at), owned.belongs("live", tenant_id)
            ),
        )
        conflicts.append(Conflict(table.schema, table.name, 0, 0, 0, new))
    return [each for each in conflicts if each.changed or each.missing or each.new or each.added]


def _compare_table(
    connection: psycopg.Connection, schema: str, owned: OwnedTable, tenant_id: str, snapshot_at: datetime
) -> Conflict:
    table = owned.table
    name = restored_name(table.schema, table.name)
    columns = columns_of(connection, schema, name)
    key = primary_key(connection, table, columns)
    query = _COMPARISON.format(
        key_restored=row_of("restored", key),
        key_live=row_of("live", key),
        differing=sql.SQL(", ").join(map(_name_if_it_differs, columns)),
        restored=sql.Identifier(schema, name),
        live=table.identifier,
        first=sql.Identifier(key[0]),
        is_own=owned.belongs("live", tenant_id),
        is_since=_is_since(table, snapshot_at),
        owner=owned.owner("live"),
        tenant=sql.Literal(tenant_id),
        same_key=same_key(key),
        listed=sql.Literal(_LISTED_KEYS),
    )
    row = connection.execute(query).fetchone()
    assert row is not None
    rows, changed, missing, new, keys, differing = row
    return Conflict(
        table.schema,
        table.name,
        rows,
        changed,
        missing,
        new,
        tuple(keys),
        tuple(each for each in columns_of(connection, table.schema, table.name) if each not in columns),
        tuple(each for each in columns if each in differing),
    )


def _is_since(table: Table, snapshot_at: datetime) -> sql.Composable:
    """The condition that the row ``live`` of a log may be from after the snapshot; true for other tables."""
    column = _LOG_TIMES.get(table.name) if table.schema == HOST_SCHEMA else None
    if column is None:
        return sql.SQL("true")
    since = (snapshot_at - _LONGEST_TRANSACTION).astimezone(UTC).replace(tzinfo=None)
    return sql.SQL("({column} >= {since} OR {column} IS null)").format(
        column=sql.Identifier("live", column), since=sql.Literal(since)
    )


def _name_if_it_differs(column: str) -> sql.Composed:
    return sql.SQL("CASE WHEN live.{0}::text IS DISTINCT FROM restored.{0}::text THEN {1} END").format(
        sql.Identifier(column), sql.Literal(column)
    )
