"""Print the results of a run as tables in a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import psycopg

from include.catalog import (
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
from include.database import Statements

_SQL = Statements(Path(__file__).parent)


def statistics_report(connection: psycopg.Connection) -> str:
    """The last run of BATCH-003 and the statistics of its day."""
    return _report(
        connection,
        STATISTICS,
        [
            (
                "1 日の統計（batch.statistics_day）",
                "statistics",
                (
                    "テナント",
                    "登録者",
                    "利用者",
                    "ログイン",
                    "API",
                    "エラー率",
                    "社員",
                    "スキル",
                    "平均レベル",
                    "充足率",
                    "目標達成",
                    "部署（5 人以上）",
                ),
            )
        ],
    )


def monthly_report(connection: psycopg.Connection) -> str:
    """The last run of BATCH-004 and its files."""
    return _report(
        connection,
        MONTHLY_REPORT,
        [
            (
                "月次レポート（batch.monthly_report_file）",
                "report_files",
                ("テナント", "欠けた日", "KB", "保存先"),
            )
        ],
    )


def usage_report(connection: psycopg.Connection) -> str:
    """The last run of BATCH-018-01 and its rows."""
    return _report(
        connection,
        TENANT_USAGE,
        [
            (
                "使用量",
                "usage",
                (
                    "テナント",
                    "名称",
                    "状態",
                    "利用者",
                    "登録者",
                    "ログイン",
                    "API",
                    "エラー",
                    "応答ms",
                    "同時",
                    "時刻",
                    "容量MB",
                    "帳票",
                    "版",
                ),
            ),
            (
                "今月の警告（batch.usage_warning）",
                "warnings",
                ("テナント", "業務日", "種別", "指標", "しきい値", "実績", "通知先"),
            ),
            ("対象外のテナント", "left_out", ("テナント", "名称", "状態")),
        ],
    )


def billing_report(connection: psycopg.Connection) -> str:
    """The last run of BATCH-018-02 and the month's invoices."""
    return _report(
        connection,
        TENANT_BILLING,
        [
            (
                "請求書（batch.invoice）",
                "invoices",
                (
                    "テナント",
                    "名称",
                    "プラン",
                    "請求書番号",
                    "明細",
                    "小計",
                    "消費税",
                    "合計",
                    "通貨",
                    "支払期限",
                ),
            )
        ],
    )


def inactivity_report(connection: psycopg.Connection) -> str:
    """The last run of BATCH-018-04 and the tenants' stages."""
    return _report(
        connection,
        INACTIVE_TENANTS,
        [
            (
                "非アクティブテナント（batch.tenant_inactivity）",
                "inactivity",
                ("テナント", "段階", "日数", "最終利用"),
            )
        ],
    )


def settings_sync_report(connection: psycopg.Connection) -> str:
    """The last run of BATCH-018-05: the planned changes (the list of plans is a sample), and the digest."""
    return _report(
        connection,
        SETTINGS_SYNC,
        [
            (
                "設定の同期（見本の一覧のため、予定だけ）",
                "settings_sync",
                ("テナント", "プラン", "予定", "報告", "重大", "高"),
            ),
            ("運用者の Slack に届いた知らせ", "digest", ("本文",)),
        ],
    )


def monitoring_report(connection: psycopg.Connection) -> str:
    """The last run of BATCH-018-03: the breaches, the open incidents, and the digest."""
    return _report(
        connection,
        TENANT_MONITORING,
        [
            ("この 1 時間の異常", "breaches", ("テナント", "項目", "API", "エラー")),
            (
                "続いている異常（batch.incident）",
                "incidents",
                ("テナント", "重大度", "開始", "通知", "計算"),
            ),
            ("運用者の Slack に届いた知らせ", "digest", ("本文",)),
        ],
    )


def settings_report(connection: psycopg.Connection) -> str:
    """The last run of BATCH-019-05 and its findings."""
    return _report(
        connection,
        NOTIFICATION_SETTINGS_CHECK,
        [("問題のある通知設定（batch.setting_finding）", "findings", ("テナント", "設定", "問題"))],
    )


def external_sync_report(connection: psycopg.Connection) -> str:
    """The last run of BATCH-019-03: the links, the accounts that need a decision, and the channel changes."""
    return _report(
        connection,
        EXTERNAL_SYNC,
        [
            (
                "連携（batch.account_link）",
                "links",
                ("テナント", "サービス", "有効", "社員番号で", "メールで"),
            ),
            ("連携しなかったアカウント", "unsettled", ("テナント", "サービス", "理由")),
            (
                "チャンネルと通知設定の変更（batch.directory_change）",
                "channel_changes",
                ("テナント", "サービス", "対象", "変更"),
            ),
            ("失敗したテナント", "failures", ("テナント", "理由")),
        ],
    )


def scheduled_report(connection: psycopg.Connection) -> str:
    """The last run of BATCH-019-01 and the messages by status."""
    return _report(
        connection,
        SCHEDULED_NOTIFICATIONS,
        [
            ("通知（batch.outbox）", "messages", ("テナント", "チャネル", "状態", "件数", "理由")),
            (
                "請求書のメールに添付した PDF（batch.letter_file）",
                "letter_files",
                ("テナント", "ファイル", "渡し方", "KB", "宛先", "状態"),
            ),
        ],
    )


def retry_report(connection: psycopg.Connection) -> str:
    """The last run of BATCH-019-02 and its report to the operators."""
    return _report(
        connection,
        NOTIFICATION_RETRY,
        [
            ("運用者への報告（失敗したテナント）", "failures", ("テナント", "理由")),
            (
                "停止したチャネル（batch.channel_circuit）",
                "closed_channels",
                ("テナント", "チャネル", "理由"),
            ),
        ],
    )


def backup_report(connection: psycopg.Connection) -> str:
    """The last run of BATCH-001 and the existing backups."""
    return _report(
        connection,
        DATA_BACKUP,
        [
            (
                "バックアップ（復元して比べたものが verified）",
                "backup",
                ("ID", "状態", "テナント", "ダンプ（バイト）", "合計（バイト）", "目録の SHA-256"),
            )
        ],
    )


def restore_report(connection: psycopg.Connection) -> str:
    """The tenant that was restored next to its live rows, and the differences."""
    return _report(
        connection,
        RESTORE_BACKUP,
        [
            (
                "別スキーマに復元したテナント（取得後の変化が違いになります）",
                "restored",
                ("テナント", "復元した行", "現在と異なる", "現在ない", "取得後に増えた", "反映"),
            )
        ],
    )


def cleanup_report(connection: psycopg.Connection) -> str:
    """The last run of BATCH-002 by class, and the folders and files that it did not touch."""
    heads = ("種別", "削除", "圧縮", "保管", "解放（バイト）", "行の削除", "要確認")
    return _report(
        connection,
        LOG_CLEANUP,
        [("片付けたもの", "cleaned", heads), ("触れなかったもの", "untouched", ("理由",))],
    )


def log_cleanup_report(connection: psycopg.Connection) -> str:
    """The last run of BATCH-019-04 and the numbers of archived rows."""
    return _report(
        connection,
        NOTIFICATION_LOG_CLEANUP,
        [("保管して削除した行", "archived", ("テナント", "通知ログ", "送信箱"))],
    )


def _report(
    connection: psycopg.Connection, spec: RunSpec, tables: Sequence[tuple[str, str, Sequence[str]]]
) -> str:
    """The last run of a batch, and its ``tables``: title, name of the query, column heads."""
    run = _SQL.execute(connection, "run", batch_id=spec.id).fetchone()
    if run is None:
        return f"{spec.id} はまだ実行されていません。"
    execution_id, status, business_date, total, success, errors, records, seconds, memory = run
    key = {"execution_id": execution_id, "date": business_date}
    parts = [
        f"{spec.id} {spec.name}  業務日 {business_date}  実行ID {execution_id}",
        f"結果 {status}: {total} {'テナント' if spec.per_tenant else '件'}中 成功 {success} / 失敗 {errors}、"
        f"{records} 行、{seconds} 秒、最大メモリ {memory} MB",
    ]
    for title, query, header in tables:
        parts += [title, _table(header, _SQL.execute(connection, query, **key).fetchall())]
    return "\n\n".join(parts)


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    if not rows:
        return "  （なし）"
    cells = [list(header), *(["–" if value is None else str(value) for value in row] for row in rows)]
    widths = [max(_width(row[column]) for row in cells) for column in range(len(header))]
    numeric = [all(isinstance(row[column], int | None) for row in rows) for column in range(len(header))]
    lines = [
        "  "
        + "  ".join(
            " " * (width - _width(cell)) + cell if right else cell + " " * (width - _width(cell))
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "  " + "  ".join("-" * width for width in widths), *lines[1:]])


def _width(text: str) -> int:
    """The width in a terminal; East Asian wide characters need two columns."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
