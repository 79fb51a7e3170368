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
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import family_dag
from include.skillreport.core.catalog import NOTIFICATION

batch_019_notification: DAG = family_dag(NOTIFICATION, file=__file__)
