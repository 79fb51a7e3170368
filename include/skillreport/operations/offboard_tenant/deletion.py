"""Delete and blank the frozen rows, chunk by chunk, each in a short transaction. After a kill the next attempt continues.

``batch_cleanup`` changes the application's rows, through views that check their owner again. ``batch_platform`` deletes the batches' own
rows. The backup's login looks for rows that the views do not show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from include.skillreport.batches.data_backup.server import DatabaseServer
from include.skillreport.core.database import Statements, tenant_transaction
from include.skillreport.core.execution.people import keep_people
from include.skillreport.operations.offboard_tenant.export import live_snapshot
from include.skillreport.operations.offboard_tenant.freezing import (
    CHUNK_ROWS,
    appeared,
    full_name,
    host_tables,
)
from include.skillreport.operations.offboard_tenant.ledger import Offboarding, OffboardingError
from include.skillreport.schema.deletion import ListedTable, Rule, blanking, deletion_list
from include.skillreport.schema.host_contract import host_columns
from include.skillreport.schema.leaving import primary_keys, view_of

_SQL = Statements(Path(__file__).parent)


class DeletionStoppedError(OffboardingError):
    """A row appeared, or got another owner, since the approval. Another approval continues."""

    code = "OFFBOARDING_STOPPED"


@dataclass(frozen=True)
class TenantDeletion:
    """The deletion of one tenant. ``cleanup`` acts as ``batch_cleanup`` and ``platform`` as ``batch_platform``, both in autocommit mode."""

    server: DatabaseServer
    platform: psycopg.Connection
    cleanup: psycopg.Connection
    offboarding: Offboarding
    person: str
    now: datetime

    def run(self) -> None:
        """Delete and blank the rows. :raises DeletionStoppedError: with the table and the rows."""
        self.require_nothing_new()
        begun = _SQL.execute(self.platform, "begin_deletion", **self._named, now=self.now).fetchone()
        if begun is None:
            raise OffboardingError("この退会は取りやめられたか、もう削除が終わっています。")
        for table in self._host_tables:
            self._work_off(table)
        self.require_nothing_new()
        with self.platform.transaction():
            keep_people(self.platform)
        _SQL.execute(
            self.platform,
            "discard_messages",
            tenant_id=self.offboarding.tenant_id,
            person=self.person,
            now=self.now,
        )
        for table in deletion_list():
            if not table.is_host and table.rule is not Rule.KEEP:
                self._delete_own(table)

    def require_nothing_new(self) -> None:
        """Check for new rows. :raises DeletionStoppedError: the application contains unapproved rows of the tenant."""
        with live_snapshot(self.server) as snapshot:
            for table in host_tables(snapshot):
                if found := appeared(snapshot, table, self._keys[table.name], self.offboarding):
                    raise DeletionStoppedError(
                        f"承認の後に、表 {table.name} に行が増えたか、このテナントのものになりました（{'、'.join(found)} など）。{_AGAIN}"
                    )

    @property
    def _named(self) -> dict[str, Any]:
        return {"offboarding_id": self.offboarding.offboarding_id}

    @cached_property
    def _keys(self) -> Mapping[str, Sequence[str]]:
        return primary_keys(self.platform)

    @cached_property
    def _columns(self) -> Mapping[str, Mapping[str, str]]:
        return host_columns(self.platform)

    @cached_property
    def _host_tables(self) -> list[ListedTable]:
        with live_snapshot(self.server) as snapshot:
            return host_tables(snapshot)

    def _work_off(self, table: ListedTable) -> None:
        named = {**self._named, "table_name": full_name(table)}
        for number in _SQL.column(self.platform, "undone_chunks", **named):
            keys, rows = _SQL.row(self.platform, "chunk", **named, chunk=number)
            with tenant_transaction(self.cleanup, [self.offboarding.tenant_id]):
                changed = self.cleanup.execute(self._statement(table), [Jsonb(keys)]).rowcount
            if changed < rows:
                self._require_gone(table, keys, changed if table.rule is Rule.BLANK else 0)
            _SQL.execute(self.platform, "close_chunk", **named, chunk=number, now=self.now)

    def _statement(self, table: ListedTable) -> sql.Composed:
        view = sql.Identifier("batch", view_of(table))
        if table.rule is Rule.DELETE:
            change = sql.SQL("DELETE FROM {view} AS leaving").format(view=view)
        else:
            change = sql.SQL("UPDATE {view} AS leaving SET {values}").format(
                view=view, values=blanking(table, self._columns[table.name])
            )
        return change + self._in_chunk("leaving", table, view)

    def _in_chunk(self, alias: str, table: ListedTable, relation: sql.Identifier) -> sql.Composed:
        """The condition that the row is in the chunk (the parameter), by primary key."""
        key = self._keys[table.name]
        # With an array the planner uses the index, regardless of its estimates.
        condition = (
            " WHERE {own} = ANY(ARRAY(SELECT {frozen} FROM jsonb_populate_recordset(null::{relation}, %s) AS frozen))"
            if len(key) == 1
            else " WHERE ({own}) IN (SELECT {frozen} FROM jsonb_populate_recordset(null::{relation}, %s) AS frozen)"
        )
        return sql.SQL(condition).format(
            own=sql.SQL(", ").join(sql.Identifier(alias, name) for name in key),
            frozen=sql.SQL(", ").join(sql.Identifier("frozen", name) for name in key),
            relation=relation,
        )

    def _require_gone(self, table: ListedTable, keys: list[dict[str, Any]], changed: int) -> None:
        """Check the rows that the view does not show. An earlier attempt or the application may have deleted them.

        :raises DeletionStoppedError: rows exist, and belong to other tenants.
        """
        relation = sql.Identifier(table.schema, table.name)
        with self.server.connect() as live:
            left = live.execute(
                sql.SQL("SELECT count(*) FROM {} AS own").format(relation)
                + self._in_chunk("own", table, relation),
                [Jsonb(keys)],
            ).fetchone()
        assert left is not None
        if left[0] > changed:
            raise DeletionStoppedError(
                f"承認の後に、表 {table.name} の {left[0] - changed} 行がほかのテナントのものになりました。{_AGAIN}"
            )

    def _delete_own(self, table: ListedTable) -> None:
        """Delete or blank the batches' own rows of the tenant, including rows written since the export."""
        columns = _columns_of(self.platform, table)
        if not columns:
            return
        relation = sql.Identifier(table.schema, table.name)
        wanted: sql.Composable = _is_own(table, columns)
        if table.rule is Rule.DELETE:
            change = sql.SQL("DELETE FROM {}").format(relation)
        else:
            values = blanking(table, columns)
            change = sql.SQL("UPDATE {} SET {}").format(relation, values)
            wanted += sql.SQL(" AND ({})").format(_differs(table, columns))
        # Another transaction may move a row, so the outer condition repeats the inner one, and only an empty round ends the loop.
        statement = change + sql.SQL(
            " WHERE ctid = ANY(ARRAY(SELECT ctid FROM {relation} WHERE {wanted} LIMIT {most})) AND {wanted}"
        ).format(relation=relation, wanted=wanted, most=CHUNK_ROWS)
        done = CHUNK_ROWS
        while done:
            with self.platform.transaction():
                done = self.platform.execute(statement, {"tenant_id": self.offboarding.tenant_id}).rowcount
                if done:
                    _SQL.execute(
                        self.platform,
                        "count_done",
                        **self._named,
                        table_name=full_name(table),
                        place=deletion_list().index(table),
                        rule=table.rule,
                        rows=done,
                    )


_AGAIN = "削除を止めました。内容を確かめ、「削除の承認の依頼」（テナントコードかテナント ID）でもう一度承認を受けると、続きから削除します。"


def _is_own(table: ListedTable, columns: Sequence[str]) -> sql.Composable:
    if table.person_column is None:
        return sql.SQL("tenant_id = %(tenant_id)s")
    assert table.person_column in columns, "our tables name people by person_key"
    # A row with an unknown key belongs to its stated tenant.
    stated = sql.SQL(" OR stated_tenant_id = %(tenant_id)s" if "stated_tenant_id" in columns else "")
    return sql.SQL(
        "(person_key IN (SELECT frozen.person_key FROM batch.frozen_person AS frozen WHERE frozen.tenant_id = %(tenant_id)s){stated})"
        # A key that belongs to another tenant stays.
        " AND NOT EXISTS (SELECT FROM batch.person_key AS person"
        " WHERE person.person_key = {own}.person_key AND person.tenant_id IS DISTINCT FROM %(tenant_id)s)"
    ).format(stated=stated, own=sql.Identifier(table.schema, table.name))


def _differs(table: ListedTable, columns: Sequence[str]) -> sql.Composed:
    """The condition that a column to blank has another value. Otherwise the rows would be blanked forever."""
    return sql.SQL(" OR ").join(
        sql.SQL("{0} IS DISTINCT FROM CASE WHEN {0} IS null THEN {0} ELSE {1} END").format(
            sql.Identifier(name), sql.Literal(value)
        )
        for name, value in table.blanks.items()
        if name in columns
    )


def _columns_of(platform: psycopg.Connection, table: ListedTable) -> list[str]:
    """The columns of one of the batches' own tables."""
    rows = platform.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
        [f"{table.schema}.{table.name}"],
    )
    return [name for (name,) in rows]
