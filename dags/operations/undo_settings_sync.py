"""
### 目的
BATCH-018-05 テナント設定同期の 1 回の実行が変えた設定を、元の値に戻します。スケジュールはありません。

### 処理の流れ
1. `open_run` — フォームの値と変更の記録を確認し、誰が何をしたかを実行ログに残します。
2. `undo_changes` — テナントごとに、その実行の変更を元に戻します。その後に誰かが変えた設定は戻さず、報告します。
3. `close_run` — 結果を集約します。

### 入力
フォームの値、`batch.setting_change`

### 出力
`MST_TenantSettings`、`batch.applied_setting`、`batch.setting_change`、`batch.execution_log`
（`triggered_by` に実行した人、`parameters` に理由）。取り消した値は、あるべき値が変わるまで再び適用されません。

### ヒント
* **確認だけ**: `dry_run` を付けると、`undo_changes` のログに予定が出ます。
* **バッチのページ**: DAG `batch_018_05_settings_sync`
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import operation_dag
from include.skillreport.operations.undo_settings_sync.form import FORM

undo_settings_sync: DAG = operation_dag(FORM, file=__file__)
