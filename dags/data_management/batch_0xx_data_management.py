"""
### 目的
データ管理バッチ（BATCH-001〜004）を、業務日を選んでまとめて手動実行します。停止明けの追い付きや、設定を変えた後の確認に使います。
定期実行は各バッチの DAG が行い、この DAG にスケジュールはありません。

### 処理の流れ
選んだバッチだけが、依存の順に動きます。失敗したバッチを必要とする後続だけが止まります。
1. `data_backup` — BATCH-001 データバックアップ（復元はこのバッチ自身の DAG で）
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

# (Airflow only parses files in which the words "airflow" and "dag" occur.)
from include.catalog import DATA_BACKUP, DATA_MANAGEMENT, LOG_CLEANUP, MONTHLY_REPORT, STATISTICS
from skill_batch.backup import dump_and_check
from skill_batch.dag_factory import batch_group, family_dag
from skill_batch.tenant_flow import tenant_flow


@family_dag(DATA_MANAGEMENT, [DATA_BACKUP, LOG_CLEANUP, STATISTICS, MONTHLY_REPORT], doc_md=__doc__)
def batch_0xx_data_management() -> None:
    """The family's batches: what is cleaned up has been backed up, and what is reported has been counted."""
    with batch_group(DATA_BACKUP) as backup:
        tenant_flow(DATA_BACKUP, first_steps=dump_and_check)
    with batch_group(LOG_CLEANUP) as cleanup:
        tenant_flow(LOG_CLEANUP, first_steps=None)
    with batch_group(STATISTICS) as statistics:
        tenant_flow(STATISTICS)
    with batch_group(MONTHLY_REPORT) as report:
        tenant_flow(MONTHLY_REPORT)
    backup >> cleanup
    statistics >> report
