"""
### 目的
BATCH-019-02 通知失敗リトライが送れなかった通知と、停止したチャネルを、運用担当者が操作します。スケジュールはありません。

### 処理の流れ
1. `open_run` — フォームの値を確認し、誰が何をしたかを実行ログに残します。
2. `operate_messages` — テナントごとに操作します。再送と再開では、続けて送信します。
3. `close_run` — 結果を集約します。

### 入力
フォームの値。通知はメッセージID（「一覧」に出ます）で選びます。テナントコードが空欄なら、稼働中の全テナントと、
決めることが残っているほかのテナントが対象です。

{operations}

### 出力
`batch.outbox`、`batch.message_stop`、`batch.channel_circuit`、`batch.suppressed_address`、`HIS_NotificationLog`、
`batch.execution_log`（`triggered_by` に実行した人、`parameters` に理由）

### ヒント
* **バッチのページ**: DAG `batch_019_02_notification_retry`
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import operation_dag
from include.skillreport.operations.operate_notifications.form import FORM

operate_notifications: DAG = operation_dag(FORM, file=__file__)
