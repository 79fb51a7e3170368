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

1 と 2 は常に全体を対象とし、テナントを指定するとスキップされます。

### 入力・出力
各バッチの DAG の説明を見てください。
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import family_dag
from include.skillreport.core.catalog import DATA_MANAGEMENT

batch_0xx_data_management: DAG = family_dag(DATA_MANAGEMENT, file=__file__)
