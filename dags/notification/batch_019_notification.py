"""
### 目的
通知・連携バッチ（BATCH-019）を、業務日とテナントを選んでまとめて手動実行します。停止明けの追い付き、1 テナントだけのやり直しに使います。
定期実行は各バッチの DAG が行い、この DAG にスケジュールはありません。

### 処理の流れ
選んだバッチだけが動きます。ほかのバッチを必要とするものはそれを待ち、失敗したら止まります。残りは同時に動きます。
1. `notification_settings_check` — BATCH-019-05 通知設定検証
2. `scheduled_notifications` — BATCH-019-01 定期通知送信
3. `notification_retry` — BATCH-019-02 通知失敗リトライ（期限の来た通知の再送。一覧や破棄などは DAG `operate_notifications` で）
4. `external_sync` — BATCH-019-03 外部システム連携
5. `notification_log_cleanup` — BATCH-019-04 通知ログクリーンアップ

### 入力・出力
各バッチの DAG の説明を見てください。

### 障害対応
* **朝まで待てるか**: 手動実行なので、実行した人が判断します。
* **どこを見るか**: 赤いグループの中の、テナントごとのタスク。インスタンス名がテナントコードです。
* **再実行**: 失敗したインスタンスだけを下流ごと消去（Clear）。
"""

from airflow.sdk import chain

from skill_batch.batch_flow import BatchFlow
from skill_batch.dag_factory import batch_group, family_dag
from include.skillreport.batches import (
    external_sync,
    notification_log_cleanup,
    notification_retry,
    notification_settings_check,
    scheduled_notifications,
)
from include.skillreport.core.catalog import (
    EXTERNAL_SYNC,
    NOTIFICATION,
    NOTIFICATION_LOG_CLEANUP,
    NOTIFICATION_RETRY,
    NOTIFICATION_SETTINGS_CHECK,
    SCHEDULED_NOTIFICATIONS,
)


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
    """The family's batches. The retries run after the scheduled notifications; the other batches are independent."""
    with batch_group(NOTIFICATION_SETTINGS_CHECK):
        settings_check = BatchFlow(NOTIFICATION_SETTINGS_CHECK, notification_settings_check.create_batch)
        run, shards = settings_check.open_run()
        read_logs = settings_check.read_logs(run)
        check_settings = settings_check.mapped_task().partial(run=run).expand(shard=shards)
        chain(read_logs, check_settings, settings_check.close_run())
    with batch_group(SCHEDULED_NOTIFICATIONS) as scheduled_group:
        scheduled = BatchFlow(SCHEDULED_NOTIFICATIONS, scheduled_notifications.create_batch)
        run, shards = scheduled.open_run()
        read_logs = scheduled.read_logs(run)
        send_notifications = scheduled.mapped_task().partial(run=run).expand(shard=shards)
        chain(read_logs, send_notifications, scheduled.close_run())
    with batch_group(NOTIFICATION_RETRY) as retry_group:
        retry = BatchFlow(NOTIFICATION_RETRY, notification_retry.create_batch)
        run, shards = retry.open_run()
        read_mailbox = retry.read_mailbox(run)
        retry_notifications = retry.mapped_task().partial(run=run).expand(shard=shards)
        chain(read_mailbox, retry_notifications, retry.close_run())
    with batch_group(EXTERNAL_SYNC):
        directories = BatchFlow(EXTERNAL_SYNC, external_sync.create_batch)
        run, shards = directories.open_run()
        sync_directory = directories.mapped_task().partial(run=run).expand(shard=shards)
        chain(sync_directory, directories.request_approval(), directories.close_run())
    with batch_group(NOTIFICATION_LOG_CLEANUP):
        log_cleanup_flow = BatchFlow(NOTIFICATION_LOG_CLEANUP, notification_log_cleanup.create_batch)
        run, shards = log_cleanup_flow.open_run()
        read_logs = log_cleanup_flow.read_logs(run)
        archive_notifications = log_cleanup_flow.mapped_task().partial(run=run).expand(shard=shards)
        chain(read_logs, archive_notifications, log_cleanup_flow.close_run())
    scheduled_group >> retry_group
