"""Deletes old rows in short transactions.

One statement finds a table's old rows. For the batches' own tables it uses an index. A cursor that outlives its transaction (WITH HOLD)
keeps their keys in the server's temporary space, so no snapshot blocks vacuum. Each chunk is then found by primary key, the host's only
index.

No class may contain rows that the law or an invoice requires: invoices with their documents, payments and approvals, and the usage, plans,
prices and amounts of their calculation. They are kept for ten years and longer (法人税法施行規則第59条・第26条の3; 消費税法施行令第50条).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import psycopg
from psycopg import sql

from include.skillreport.batches.log_cleanup.settings import LogRowSettings
from include.skillreport.core.execution.business_date import utc_bounds

_DELETE_BY_KEY = sql.SQL("DELETE FROM {table} AS old WHERE {old_keys} = any({arrays}) AND {condition}")
_DELETE_BY_KEYS = sql.SQL(
    """DELETE FROM {table} AS old USING unnest({arrays}) AS given ({keys})
    WHERE ({old_keys}) = ({given_keys}) AND {condition}"""
)

# Conditions on the row ``old``.
_BEFORE = sql.SQL("old.{} < %(before)s")
_BEFORE_DAY = sql.SQL("old.{} < (%(before)s::timestamptz AT TIME ZONE 'Asia/Tokyo')::date")
_STATISTICS_DAY = _BEFORE_DAY.format(sql.Identifier("statistics_date"))

_ENDED_RUN = sql.SQL("old.started_at < %(before)s AND old.status <> 'running'")

# With the array, the planner looks up the rows by run. With a join it may read the rows of all runs.
_OF_ENDED_RUN = sql.SQL(
    """old.execution_id = any(array(
        SELECT log.execution_id FROM batch.execution_log AS log
        WHERE log.started_at < %(before)s AND log.status <> 'running'
    ))"""
)

# Alerts that were delivered or given up.
_SETTLED = sql.SQL("old.due_at IS NULL AND coalesce(old.delivered_at, old.created_at) < %(before)s")

# The latest day with a login stays: BATCH-018-04 counts a tenant's inactivity from it.
_EARLIER_LOGIN = sql.SQL(
    """{} AND old.login_date < (
        SELECT max(newest.login_date) FROM batch.login_day AS newest
        WHERE newest.tenant_id = old.tenant_id AND newest.user_ids <> '{{}}'
    )"""
).format(_BEFORE_DAY.format(sql.Identifier("login_date")))

# A monthly report reads only the groups of the month's last day with statistics. The first condition matches an index.
_MID_MONTH = sql.SQL(
    """extract(DAY FROM old.statistics_date + 1) <> 1 AND {} AND old.statistics_date < (
        SELECT max(last_day.statistics_date) FROM batch.statistics_day AS last_day
        WHERE
            last_day.tenant_id = old.tenant_id
            AND last_day.statistics_date >= old.statistics_date
            AND last_day.statistics_date < (date_trunc('month', old.statistics_date::timestamp) + interval '1 month')::date
    )"""
).format(_STATISTICS_DAY)

# Unreported stages stay.
_REPORTED_STAGE = sql.SQL(
    "old.recorded_at < %(before)s AND (old.told_at IS NOT NULL OR old.reason <> 'inactivity')"
)

# The latest change of each setting stays, so that BATCH-018-05 does not reapply a value that an operator has undone.
_EARLIER_CHANGE = sql.SQL(
    """old.changed_at < %(before)s AND old.changed_at < (
        SELECT max(newest.changed_at) FROM batch.setting_change AS newest
        WHERE newest.tenant_id = old.tenant_id AND newest.setting_key = old.setting_key
    )"""
)


@dataclass(frozen=True)
class OldRows:
    """The old rows of a table or view of schema ``batch``, by their primary key.

    ``setting``: the name of the retention setting. ``old``: the column with their time, or the condition. ``may_change``: an old row may
    get newer before its deletion, which therefore checks the condition again.
    """

    setting: str
    table: str
    keys: tuple[str, ...]
    old: str | sql.Composable
    may_change: bool = False

    @property
    def condition(self) -> sql.Composable:
        """The condition with the parameter ``before``."""
        if isinstance(self.old, str):
            return _BEFORE.format(sql.Identifier(self.old))
        return self.old

    def find(self) -> sql.Composed:
        """The statement that gives the keys of the old rows."""
        return sql.SQL("SELECT {keys} FROM {table} AS old WHERE {condition}").format(
            keys=_qualified("old", self.keys),
            table=sql.Identifier("batch", self.table),
            condition=self.condition,
        )

    def delete(self, types: Sequence[str]) -> sql.Composed:
        """The statement that deletes a chunk. Each key is a parameter with the values of all rows, of the type in ``types``."""
        # A single key needs no join, which halves the time.
        template = _DELETE_BY_KEYS if len(self.keys) > 1 else _DELETE_BY_KEY
        return template.format(
            table=sql.Identifier("batch", self.table),
            keys=sql.SQL(", ").join(map(sql.Identifier, self.keys)),
            old_keys=_qualified("old", self.keys),
            given_keys=_qualified("given", self.keys),
            arrays=sql.SQL(", ").join(
                sql.SQL("{}::{}[]").format(sql.Placeholder(key), sql.Identifier(name))
                for key, name in zip(self.keys, types, strict=True)
            ),
            condition=self.condition if self.may_change else sql.SQL("true"),
        )


def _qualified(alias: str, keys: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(alias, key) for key in keys)


@dataclass(frozen=True)
class RowClass:
    """A kind of old rows: the setting for the retention, the displayed name, and the tables in order."""

    setting: str
    label: str
    tables: tuple[OldRows, ...]
    is_host: bool


_GROUP_KEYS = ("tenant_id", "statistics_date", "dimension", "group_key", "is_rest")
_WARNING_KEYS = ("tenant_id", "kind", "metric", "threshold_percent", "window_start")
_STAGE_KEYS = ("tenant_id", "changed_on", "from_stage", "to_stage")

# Dependent rows of a run come before the run, because the cascade would delete all of them in one transaction. A permanent suppression has
# no end. A sender uses the limits learnt within a week.
_OLD_ROWS = (
    OldRows("system_log", "all_system_log", ("id",), "created_at_utc", may_change=True),
    OldRows("expired_token", "all_token", ("id",), "expires_at_utc", may_change=True),
    OldRows(
        "execution_log", "sync_plan", ("tenant_id", "provider", "execution_id"), "planned_at", may_change=True
    ),
    OldRows("execution_log", "orphan_notice", ("execution_id",), "told_at", may_change=True),
    OldRows("execution_log", "tenant_outcome", ("execution_id", "tenant_id", "part"), _OF_ENDED_RUN),
    OldRows("execution_log", "task_metric", ("execution_id", "task_id", "map_index"), _OF_ENDED_RUN),
    OldRows("execution_log", "reconciliation", ("execution_id", "source", "placement"), _OF_ENDED_RUN),
    OldRows("execution_log", "run_remark", ("execution_id", "step"), _OF_ENDED_RUN),
    OldRows("execution_log", "rows_scanned", ("execution_id", "relation"), _OF_ENDED_RUN),
    OldRows(
        "execution_log",
        "task_opening",
        ("dag_id", "run_id", "task_id", "map_index"),
        "opened_at",
        may_change=True,
    ),
    OldRows("execution_log", "execution_log", ("execution_id",), _ENDED_RUN, may_change=True),
    OldRows(
        "closed_incident", "incident", ("tenant_id", "check_name", "opened_at"), "closed_at", may_change=True
    ),
    OldRows(
        "closed_incident", "platform_incident", ("check_name", "opened_at"), "closed_at", may_change=True
    ),
    OldRows("performance_metric", "performance_metric", ("execution_id",), "recorded_at", may_change=True),
    OldRows("settled_alert", "operator_alert", ("alert_key", "channel"), _SETTLED, may_change=True),
    OldRows("login_day", "login_day", ("tenant_id", "login_date"), _EARLIER_LOGIN),
    OldRows("statistics_group", "statistics_group", _GROUP_KEYS, _MID_MONTH),
    OldRows("statistics", "statistics_group", _GROUP_KEYS, _STATISTICS_DAY),
    OldRows("statistics", "statistics_day", ("tenant_id", "statistics_date"), _STATISTICS_DAY),
    OldRows("usage_warning", "usage_warning", _WARNING_KEYS, "raised_at"),
    OldRows("inactivity_change", "inactivity_change", _STAGE_KEYS, _REPORTED_STAGE),
    OldRows("setting_change", "setting_change", ("tenant_id", "setting_key", "changed_at"), _EARLIER_CHANGE),
    OldRows("directory_change", "directory_change", ("tenant_id", "change_id"), "changed_at"),
    OldRows(
        "ended_suppression",
        "suppressed_address",
        ("tenant_id", "address"),
        "suppressed_until",
        may_change=True,
    ),
    OldRows("service_limit", "service_limit", ("limit_key",), "learnt_at", may_change=True),
)

_LABELS = {
    "system_log": "SYS_SystemLog",
    "expired_token": "期限切れの SYS_TokenStore",
    "execution_log": "バッチの実行ログ",
    "closed_incident": "終わった異常",
    "performance_metric": "性能の記録",
    "settled_alert": "送り終えた運用アラート",
    "login_day": "日ごとのログイン",
    "statistics_group": "月の途中の日の、分類・部署別の統計",
    "statistics": "日次統計",
    "usage_warning": "利用量の警告",
    "inactivity_change": "休眠段階の変化",
    "setting_change": "設定同期の変更履歴",
    "directory_change": "外部同期の変更履歴",
    "ended_suppression": "終わった送信停止アドレス",
    "service_limit": "外部サービスの制限の記録",
}

_HOST_CLASSES = ("system_log", "expired_token")

ROW_CLASSES = {
    setting: RowClass(
        setting, label, tuple(old for old in _OLD_ROWS if old.setting == setting), setting in _HOST_CLASSES
    )
    for setting, label in _LABELS.items()
}


def cutoff(business_date: date, row_class: RowClass, settings: LogRowSettings) -> datetime:
    """Rows before this time are deleted. Rows of the retention days (Asia/Tokyo) before the business date stay.

    Naive (UTC) for the host's timestamps, aware for the batches'.
    """
    days: int = getattr(settings, row_class.setting)
    start = utc_bounds(business_date - timedelta(days=days)).start
    return start if row_class.is_host else start.replace(tzinfo=UTC)


def count_old(platform: psycopg.Connection, row_class: RowClass, before: datetime) -> int:
    """The number of rows that would be deleted."""
    total = 0
    for old in row_class.tables:
        query = sql.SQL("SELECT count(*) FROM ({}) AS found").format(old.find())
        row = platform.execute(query, {"before": before}).fetchone()
        assert row is not None
        total += int(row[0])
    return total


def delete_old(
    platform: psycopg.Connection,
    row_class: RowClass,
    before: datetime,
    chunk_rows: int,
    count: Callable[[int], object] = lambda _: None,
) -> Iterator[int]:
    """Delete the rows in chunks and commit each chunk. Yields their numbers of rows; ``count`` gets each in the chunk's transaction.

    ``platform`` is in autocommit mode. A kill rolls back only the current chunk; the next run continues.
    """
    for old in row_class.tables:
        with platform.cursor(name=f"old_{old.table}", withhold=True) as cursor:
            cursor.execute(old.find(), {"before": before})
            statement = old.delete(
                [platform.adapters.types[each.type_code].name for each in cursor.description or ()]
            )
            while keys := cursor.fetchmany(chunk_rows):
                values = dict(zip(old.keys, map(list, zip(*keys, strict=True)), strict=True))
                with platform.transaction():
                    rows = platform.execute(statement, {**values, "before": before}).rowcount
                    count(rows)
                yield rows
