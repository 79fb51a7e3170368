"""
### 目的
データ管理バッチ（BATCH-001〜004）を、業務日を選んでまとめて手動実行します。停止明けの追い付きや、設定を変えた後の確認に使います。
定期実行は各バッチの DAG が行い、この DAG にスケジュールはありません。

### 処理の流れ
選んだバッチだけが動きます。ほかのバッチを必要とするものはそれを待ち、失敗したら止まります。残りは同時に動きます。
1. `data_backup` — BATCH-001 データバックアップ（復元は DAG `restore_backup` で）
2. `log_cleanup` — BATCH-002 ログクリーンアップ（選んだバックアップの後）
3. `statistics` — BATCH-003 統計データ更新
4. `monthly_report` — BATCH-004 レポート生成（業務日の月。まだ終わっていない月なら何もしません）

1 と 2 は常に全体を対象とし、テナントを指定すると実行されません。

### 入力・出力
各バッチの DAG の説明を見てください。

### 障害対応
* **朝まで待てるか**: 手動実行なので、実行した人が判断します。
* **どこを見るか**: 赤いグループの中の赤いタスク。
* **再実行**: 赤いタスクだけを下流ごと消去（Clear）。
"""

from airflow.sdk import chain

from skill_batch.batch_flow import BatchFlow
from skill_batch.dag_factory import batch_group, family_dag
from include.skillreport.batches import data_backup, log_cleanup, monthly_report, statistics
from include.skillreport.core.catalog import (
    DATA_BACKUP,
    DATA_MANAGEMENT,
    LOG_CLEANUP,
    MONTHLY_REPORT,
    STATISTICS,
)


@family_dag(
    DATA_MANAGEMENT,
    [
        DATA_BACKUP,
        LOG_CLEANUP,
        STATISTICS,
        MONTHLY_REPORT,
    ],
    doc_md=__doc__,
)
def batch_0xx_data_management() -> None:
    """The family's batches. The backup runs before the clean-up, and the statistics before the reports."""
    with batch_group(DATA_BACKUP) as backup_group:
        backup = BatchFlow(DATA_BACKUP, data_backup.create_batch)
        run, shards = backup.open_run()
        dump = backup.step(run, "dump", "ダンプ", lambda batch, work: batch.dump(work))
        check = backup.step(run, "check", "復元検証", lambda batch, work: batch.check(work))
        export_tenant = backup.mapped_task().partial(run=run).expand(shard=shards)
        chain(dump, check, export_tenant, backup.close_run())
    with batch_group(LOG_CLEANUP) as cleanup_group:
        cleanup = BatchFlow(LOG_CLEANUP, log_cleanup.create_batch)
        run, shards = cleanup.open_run()
        clean_up_logs = cleanup.mapped_task().partial(run=run).expand(shard=shards)
        chain(clean_up_logs, cleanup.close_run())
    with batch_group(STATISTICS) as statistics_group:
        statistics_flow = BatchFlow(STATISTICS, statistics.create_batch)
        run, shards = statistics_flow.open_run()
        read_logs = statistics_flow.read_logs(run)
        update_statistics = statistics_flow.mapped_task().partial(run=run).expand(shard=shards)
        chain(read_logs, update_statistics, statistics_flow.close_run())
    with batch_group(MONTHLY_REPORT) as report_group:
        report = BatchFlow(MONTHLY_REPORT, monthly_report.create_batch)
        run, shards = report.open_run()
        read_logs = report.read_logs(run)
        create_report = report.mapped_task().partial(run=run).expand(shard=shards)
        chain(read_logs, create_report, report.close_run())
    backup_group >> cleanup_group
    statistics_group >> report_group
