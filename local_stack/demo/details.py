"""What a run has produced: its tables, for the details, and a few words, for the summary."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from include.skillreport.core.catalog import (
    DATA_BACKUP,
    EXTERNAL_SYNC,
    INACTIVE_TENANTS,
    LOG_CLEANUP,
    MONTHLY_REPORT,
    NOTIFICATION_LOG_CLEANUP,
    NOTIFICATION_RETRY,
    NOTIFICATION_SETTINGS_CHECK,
    RESTORE_BACKUP,
    SCHEDULED_NOTIFICATIONS,
    SETTINGS_SYNC,
    STATISTICS,
    TENANT_BILLING,
    TENANT_MONITORING,
    TENANT_USAGE,
    RunSpec,
)
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parent)

_MEGABYTE = 1_000_000

Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True)
class Table:
    """A table of the details. ``query`` is the block in ``sql/``."""

    title: str
    query: str
    header: Sequence[str]


@dataclass(frozen=True)
class Details:
    """The tables of a batch. ``words`` summarises the result of a run in a few words; its argument has the rows by query."""

    tables: Sequence[Table]
    words: Callable[[Mapping[str, Rows]], str]


@dataclass(frozen=True)
class RunResult:
    """A run as the execution log has it, and the rows of its tables by query."""

    spec: RunSpec
    execution_id: str
    status: str
    business_date: date
    total: int
    succeeded: int
    failed: int
    records: int
    seconds: float
    peak_memory_mb: int
    rows: Mapping[str, Rows]

    @property
    def words(self) -> str:
        """The result of the run in a few words."""
        return DETAILS[self.spec].words(self.rows)

    @property
    def unit(self) -> str:
        """What the batch counts."""
        return "テナント" if self.spec.per_tenant else "件"

    def text(self) -> str:
        """The run and its tables, for a terminal."""
        parts = [
            f"{self.spec.id} {self.spec.name}  業務日 {self.business_date}  実行ID {self.execution_id}",
            f"結果 {self.status}: {self.total} {self.unit}中 成功 {self.succeeded} / 失敗 {self.failed}、"
            f"{self.records} 行、{self.seconds} 秒、最大メモリ {self.peak_memory_mb} MB",
        ]
        for table in DETAILS[self.spec].tables:
            parts += [table.title, text_table(table.header, self.rows[table.query])]
        return "\n\n".join(parts)


def read_result(
    connection: psycopg.Connection[Any], spec: RunSpec, *, since: datetime | None = None
) -> RunResult | None:
    """The last run of a batch, or None: it has not run. A run that started before ``since`` (the database's clock) does not count."""
    cursor = connection.cursor(row_factory=dict_row)
    run = _SQL.execute(cursor, "run", batch_id=spec.id, since=since).fetchone()
    if run is None:
        return None
    key = {"execution_id": run["execution_id"], "date": run["business_date"]}
    rows = {
        table.query: _SQL.execute(connection, table.query, **key).fetchall() for table in DETAILS[spec].tables
    }
    return RunResult(spec=spec, rows=rows, **run)


def _backup_words(rows: Mapping[str, Rows]) -> str:
    verified = [total for _, status, _, _, total, _ in rows["backup"] if status == "verified"]
    return (
        f"{verified[-1] / _MEGABYTE:.1f} MB、復元して照合済み" if verified else "照合できたものはありません"
    )


def _billing_words(rows: Mapping[str, Rows]) -> str:
    yen = [
        int(total.replace(",", ""))
        for *_, total, currency, _ in rows["invoices"]
        if total and currency == "JPY"
    ]
    count = sum(total is not None for *_, total, _, _ in rows["invoices"])
    return f"請求書 {count} 通（円は計 {sum(yen):,} 円）"


def _report_words(rows: Mapping[str, Rows]) -> str:
    kinds = Counter(Path(location).suffix for *_, location in rows["report_files"])
    return f"Excel {kinds['.xlsx']}、PDF {kinds['.pdf']}"


def _links_words(rows: Mapping[str, Rows]) -> str:
    return f"連携 {_total(rows['links'], 2)} 人、使えないトークン {len(rows['failures'])}"


def _messages_words(rows: Mapping[str, Rows]) -> str:
    count = Counter[bool]()
    for _, _, status, messages, _ in rows["messages"]:
        count[status == "sent"] += messages
    return f"送信 {count[True]} 通、未送信 {count[False]} 通"


def _cleanup_words(rows: Mapping[str, Rows]) -> str:
    deleted, compressed, archived, deleted_rows = (_total(rows["cleaned"], at) for at in (1, 2, 3, 5))
    return f"ファイル {deleted + compressed + archived}、古い行 {deleted_rows:,}"


def _total(rows: Rows, column: int) -> int:
    return sum(row[column] or 0 for row in rows)


DETAILS: Mapping[RunSpec, Details] = {
    DATA_BACKUP: Details(
        [
            Table(
                "バックアップ（復元して比べたものが verified）",
                "backup",
                ("ID", "状態", "テナント", "ダンプ（バイト）", "合計（バイト）", "目録の SHA-256"),
            )
        ],
        _backup_words,
    ),
    LOG_CLEANUP: Details(
        [
            Table(
                "片付けたもの",
                "cleaned",
                ("種別", "削除", "圧縮", "保管", "解放（バイト）", "行の削除", "要確認"),
            ),
            Table("触れなかったもの", "untouched", ("理由",)),
        ],
        _cleanup_words,
    ),
    STATISTICS: Details(
        [
            Table(
                "1 日の統計（batch.statistics_day）",
                "statistics",
                (
                    *("テナント", "登録者", "利用者", "ログイン", "API", "エラー率", "社員", "スキル"),
                    *("平均レベル", "充足率", "目標達成", "部署（5 人以上）"),
                ),
            )
        ],
        lambda rows: f"1 日の統計 {len(rows['statistics'])} テナント分",
    ),
    MONTHLY_REPORT: Details(
        [
            Table(
                "月次レポート（batch.monthly_report_file）",
                "report_files",
                ("テナント", "欠けた日", "KB", "保存先"),
            )
        ],
        _report_words,
    ),
    TENANT_USAGE: Details(
        [
            Table(
                "使用量",
                "usage",
                (
                    *("テナント", "名称", "状態", "利用者", "登録者", "ログイン", "API", "エラー"),
                    *("応答ms", "同時", "時刻", "容量MB", "帳票", "版"),
                ),
            ),
            Table(
                "今月の警告（batch.usage_warning）",
                "warnings",
                ("テナント", "業務日", "種別", "指標", "しきい値", "実績", "通知先"),
            ),
            Table("対象外のテナント", "left_out", ("テナント", "名称", "状態")),
        ],
        lambda rows: f"使用量 {len(rows['usage'])} テナント、警告 {len(rows['warnings'])} 件",
    ),
    TENANT_BILLING: Details(
        [
            Table(
                "請求書（batch.invoice）",
                "invoices",
                (
                    *("テナント", "名称", "プラン", "請求書番号", "明細"),
                    *("小計", "消費税", "合計", "通貨", "支払期限"),
                ),
            )
        ],
        _billing_words,
    ),
    TENANT_MONITORING: Details(
        [
            Table("この 1 時間の異常", "breaches", ("テナント", "項目", "API", "エラー")),
            Table(
                "続いている異常（batch.incident）",
                "incidents",
                ("テナント", "重大度", "開始", "通知", "計算"),
            ),
            Table("運用者の Slack に届いた知らせ", "digest", ("本文",)),
        ],
        lambda rows: f"異常 {len(rows['breaches'])} テナント、続くもの {len(rows['incidents'])} 件",
    ),
    INACTIVE_TENANTS: Details(
        [
            Table(
                "非アクティブテナント（batch.tenant_inactivity）",
                "inactivity",
                ("テナント", "段階", "日数", "最終利用"),
            )
        ],
        lambda rows: f"使われていないテナント {len(rows['inactivity'])}",
    ),
    # The list of plans is a sample, so the batch only plans.
    SETTINGS_SYNC: Details(
        [
            Table(
                "設定の同期（見本の一覧のため、予定だけ）",
                "settings_sync",
                ("テナント", "プラン", "予定", "報告", "重大", "高"),
            ),
            Table("運用者の Slack に届いた知らせ", "digest", ("本文",)),
        ],
        lambda rows: (
            f"変更の予定 {_total(rows['settings_sync'], 2)} 件、重大な問題 {_total(rows['settings_sync'], 4)} 件"
        ),
    ),
    SCHEDULED_NOTIFICATIONS: Details(
        [
            Table("通知（batch.outbox）", "messages", ("テナント", "チャネル", "状態", "件数", "理由")),
            Table(
                "請求書のメールに添付した PDF（batch.letter_file）",
                "letter_files",
                ("テナント", "ファイル", "渡し方", "KB", "宛先", "状態"),
            ),
        ],
        _messages_words,
    ),
    NOTIFICATION_RETRY: Details(
        [
            Table("運用者への報告（失敗したテナント）", "failures", ("テナント", "理由")),
            Table(
                "停止したチャネル（batch.channel_circuit）",
                "closed_channels",
                ("テナント", "チャネル", "理由"),
            ),
        ],
        lambda rows: f"止まっているチャネル {len(rows['closed_channels'])}",
    ),
    EXTERNAL_SYNC: Details(
        [
            Table(
                "連携（batch.account_link）",
                "links",
                ("テナント", "サービス", "有効", "社員番号で", "メールで"),
            ),
            Table("連携しなかったアカウント", "unsettled", ("テナント", "サービス", "理由")),
            Table(
                "チャンネルと通知設定の変更（batch.directory_change）",
                "channel_changes",
                ("テナント", "サービス", "対象", "変更"),
            ),
            Table("失敗したテナント", "failures", ("テナント", "理由")),
        ],
        _links_words,
    ),
    NOTIFICATION_LOG_CLEANUP: Details(
        [Table("保管して削除した行", "archived", ("テナント", "通知ログ", "送信箱"))],
        lambda rows: f"保管して削除した通知ログ {_total(rows['archived'], 1):,} 行",
    ),
    NOTIFICATION_SETTINGS_CHECK: Details(
        [Table("問題のある通知設定（batch.setting_finding）", "findings", ("テナント", "設定", "問題"))],
        lambda rows: f"問題のある設定 {len(rows['findings'])} 件",
    ),
    RESTORE_BACKUP: Details(
        [
            Table(
                "別スキーマに復元したテナント（取得後の変化が違いになります）",
                "restored",
                ("テナント", "復元した行", "現在と異なる", "現在ない", "取得後に増えた", "反映"),
            )
        ],
        lambda rows: f"TKH-HD の {_total(rows['restored'], 1):,} 行を復元して比較",
    ),
}


def text_table(header: Sequence[str], rows: Rows) -> str:
    """A table for a terminal, indented by two columns. Columns of integers are aligned to the right."""
    if not rows:
        return "  （なし）"
    cells = [list(header), *(["–" if value is None else str(value) for value in row] for row in rows)]
    widths = [max(width_of(row[column]) for row in cells) for column in range(len(header))]
    numeric = [all(isinstance(row[column], int | None) for row in rows) for column in range(len(header))]
    lines = ["  " + "  ".join(map(padded, row, widths, numeric)).rstrip() for row in cells]
    return "\n".join([lines[0], "  " + "  ".join("-" * width for width in widths), *lines[1:]])


def padded(text: str, width: int, to_the_right: bool = False) -> str:
    """The text with spaces up to a width."""
    spaces = " " * (width - width_of(text))
    return spaces + text if to_the_right else text + spaces


def width_of(text: str) -> int:
    """The width in a terminal; East Asian wide characters need two columns."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
