"""
### 目的
期限の来た通知（アプリケーションの予約通知、資格の期限・目標の期限のお知らせ、支払期限を過ぎた請求書の督促）を、テナントごとに
1 回だけ送ります。督促は、設定 `billing.payment_source` が `operations` か `host` のときだけです。

### 処理の流れ
1. `open_run` — パラメータとデータベースを確認し、実行ログを開始。稼働中のテナントと、請求の通知か督促がある終了済みのテナントを選びます。
2. `read_logs` — 予約通知・資格・目標の各表を **1 回だけ** 読み、テナント別に中間表へ置きます。
3. `send_notifications` — テナントごとに送信箱（`batch.outbox`）へ登録し、メール・Slack・Teams・LINE WORKS で送信します。
4. `request_approval` — 停止後の最初の予定の実行なら、通知を送らずに止め、DAG `approve_resumption` を実行し、画面（Required Actions）に
   「再開の承認」を出します。答えは待ちません。
5. `close_run` — 結果（送信・失敗・再送待ち・不明の件数）を集約します。

### 入力
`HIS_NotificationLog`（PENDING）、`TRN_PDU`、`MST_Certification`、`TRN_GoalProgress`、`MST_Employee`、`MST_NotificationTemplate`、
`MST_NotificationSettings`（`goal_deadline_reminder` など。目標のお知らせを送るかどうかと、そのチャネル）、`SYS_IntegrationConfig`、
`batch.invoice`、`batch.reminder_stop`

### 出力
`batch.outbox`、`batch.overdue_reminder`、`HIS_NotificationLog`（送信結果）、`batch.channel_circuit`（停止したチャネル）

### ヒント
* **送れなかった通知**: DAG `operate_notifications` の操作「一覧」に出ます。
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import batch_dag
from include.skillreport.core.catalog import SCHEDULED_NOTIFICATIONS

batch_019_01_scheduled_notifications: DAG = batch_dag(SCHEDULED_NOTIFICATIONS, file=__file__)
