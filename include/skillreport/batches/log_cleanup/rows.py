"""Deletes old rows in short transactions.

The statement that finds the old rows of a table runs once. For the batches' own tables it uses an index. A cursor that outlives its
transaction (WITH HOLD) keeps their keys in the server's temporary space, so no snapshot blocks vacuum. Each chunk is then found by its
primary key, the only index that the host has.

No class may contain rows that the law or an invoice requires: invoices with their documents, payments and approvals, and the usage, plans,
prices and amounts of their calculation. They are kept for ten years and longer (法人税法施行規則第59条・第26条の3; 消費税法施行令第50条).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from include.skillreport.batches.log_cleanup.settings import LogRowSettings
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.business_date import utc_bounds

_SQL = Statements(Path(__file__).parent)

# The parameters with the values of the key's columns, in the order of the columns.
_KEY_COLUMNS = ("ids", "ids2", "ids3", "ids4", "ids5")


@dataclass(frozen=True)
class RowClass:
    """A kind of old rows: its name for people, the setting for the retention, the steps (one per table) in order."""

    label: str
    setting: str
    tables: tuple[str, ...]
    is_host: bool = False


ROW_CLASSES = {
    "system_log": RowClass("SYS_SystemLog", "system_log", ("system_log",), is_host=True),
    "expired_token": RowClass("期限切れの SYS_TokenStore", "expired_token", ("expired_token",), is_host=True),
    # Delete the rows that depend on a run before the run, because the cascade would delete all of them in one transaction.
    "execution_log": RowClass(
        "バッチの実行ログ",
        "execution_log",
        (
            "sync_plan",
            "orphan_notice",
            "tenant_outcome",
            "task_metric",
            "reconciliation",
            "run_remark",
            "rows_scanned",
            "execution_log",
        ),
    ),
    "closed_incident": RowClass(
        "終わった異常", "closed_incident", ("closed_incident", "closed_platform_incident")
    ),
    "performance_metric": RowClass("性能の記録", "performance_metric", ("performance_metric",)),
    "settled_alert": RowClass("送り終えた運用アラート", "settled_alert", ("settled_alert",)),
    "login_day": RowClass("日ごとのログイン", "login_day", ("login_day",)),
    "statistics_group": RowClass(
        "月の途中の日の、分類・部署別の統計", "statistics_group", ("mid_month_group",)
    ),
    "statistics": RowClass("日次統計", "statistics", ("statistics_group", "statistics_day")),
    "usage_warning": RowClass("利用量の警告", "usage_warning", ("usage_warning",)),
    "inactivity_change": RowClass("休眠段階の変化", "inactivity_change", ("inactivity_change",)),
    "setting_change": RowClass("設定同期の変更履歴", "setting_change", ("setting_change",)),
    "directory_change": RowClass("外部同期の変更履歴", "directory_change", ("directory_change",)),
    "ended_suppression": RowClass("終わった送信停止アドレス", "ended_suppression", ("ended_suppression",)),
    "service_limit": RowClass("外部サービスの制限の記録", "service_limit", ("service_limit",)),
}


def cutoff(business_date: date, row_class: RowClass, settings: LogRowSettings) -> datetime:
    """Rows before this time are deleted. Rows of the retention days (Asia/Tokyo) before the business date stay.

    Naive (UTC) for the host's timestamps, aware for those of the batches.
    """
    days: int = getattr(settings, row_class.setting)
    start = utc_bounds(business_date - timedelta(days=days)).start
    return start if row_class.is_host else start.replace(tzinfo=UTC)


def count_old(platform: psycopg.Connection, row_class: RowClass, before: datetime) -> int:
    """The number of rows that would be deleted."""
    queries = [sql.SQL(_SQL[f"old_{table}"].rstrip().rstrip(";")) for table in row_class.tables]
    total = 0
    for query in queries:
        row = platform.execute(
            sql.SQL("SELECT count(*) FROM ({}) AS old").format(query), {"before": before}
        ).fetchone()
        assert row is not None
        total += int(row[0])
    return total


def delete_old(
    platform: psycopg.Connection, row_class: RowClass, before: datetime, chunk_rows: int
) -> Iterator[int]:
    """Delete the rows in chunks and commit each chunk; yields the number of rows of each.

    ``platform`` is in autocommit mode. A kill rolls back only the current chunk; the next run continues.
    """
    for table in row_class.tables:
        statement = _SQL[f"delete_{table}"]
        with platform.cursor(name=f"old_{table}", withhold=True) as cursor:
            _SQL.execute(cursor, f"old_{table}", before=before)
            while keys := cursor.fetchmany(chunk_rows):
                parameters = dict(zip(_KEY_COLUMNS, map(list, zip(*keys, strict=True)), strict=False))
                yield platform.execute(statement, {**parameters, "before": before}).rowcount
