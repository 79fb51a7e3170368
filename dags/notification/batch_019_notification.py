"""
### 目的
通知・連携バッチ（BATCH-019）を、業務日とテナントを選んでまとめて手動実行します。停止明けの追い付き、1 テナントだけのやり直しに使います。
定期実行は各バッチの DAG が行い、この DAG にスケジュールはありません。

### 処理の流れ
選んだバッチだけが、依存の順に動きます。失敗したバッチを必要とする後続だけが止まります。
1. `notification_settings_check` — BATCH-019-05 通知設定検証
2. `scheduled_notifications` — BATCH-019-01 定期通知送信
3. `notification_retry` — BATCH-019-02 通知失敗リトライ（期限の来た通知の再送。一覧や破棄などの操作はこのバッチ自身の DAG で）
4. `external_sync` — BATCH-019-03 外部システム連携
5. `notification_log_cleanup` — BATCH-019-04 通知ログクリーンアップ

### 入力・出力
各バッチの DAG の説明を見てください。

### 障害対応
* **朝まで待てるか**: 手動実行なので、実行した人が判断します。
* **どこを見るか**: 赤いグループの中の `process`。インスタンス名がテナントコードです。
* **再実行**: 失敗した `process` のインスタンスだけを下流ごと消去（Clear）。
"""

# (Airflow only parses files in which the words "airflow" and "dag" occur.)
from include.catalog import (
    EXTERNAL_SYNC,
    NOTIFICATION,
    NOTIFICATION_LOG_CLEANUP,
    NOTIFICATION_RETRY,
    NOTIFICATION_SETTINGS_CHECK,
    SCHEDULED_NOTIFICATIONS,
)
from skill_batch.dag_factory import batch_group, family_dag
from skill_batch.tenant_flow import tenant_flow


@family_dag(
    NOTIFICATION,
    [
        NOTIFICATION_SETTINGS_CHECK,
        SCHEDULED_NOTIFICATIONS,
        NOTIFICATION_RETRY,
        EXTERNAL_SYNC,
        NOTIFICATION_LOG_CLEANUP,
    ],
    doc_md=__doc__,
)
def batch_019_notification() -> None:
    """The family's batches: what was sent is tried again afterwards; the others need nothing of each other."""
    with batch_group(NOTIFICATION_SETTINGS_CHECK):
        tenant_flow(NOTIFICATION_SETTINGS_CHECK)
    with batch_group(SCHEDULED_NOTIFICATIONS) as scheduled:
        tenant_flow(SCHEDULED_NOTIFICATIONS)
    with batch_group(NOTIFICATION_RETRY) as retry:
        tenant_flow(NOTIFICATION_RETRY)
    with batch_group(EXTERNAL_SYNC):
        tenant_flow(EXTERNAL_SYNC)
    with batch_group(NOTIFICATION_LOG_CLEANUP):
        tenant_flow(NOTIFICATION_LOG_CLEANUP)
    scheduled >> retry
