"""
### 目的
テナントの通知設定が使えるかを毎日確認します。**相手のチャネルには何も送りません**。

### 処理の流れ
1. `open_run` — パラメータとデータベースを確認し、実行ログを開始。稼働中のテナントを選びます。
2. `read_logs` — 社員表を **1 回だけ** 読み、退職した社員のメールアドレスを中間表へ置きます。
3. `check_settings` — テナントごとに、テンプレート・通知設定・宛先・重複・静穏時間を調べ、Slack（`auth.test`、チャンネル）、
   Teams（URL の形式、廃止されたコネクタ）、LINE WORKS（トークン、ボット）、メールサーバー（ログイン、送信元）に確認します。
   アプリケーションの `slack_webhook`・`teams_connector`・`TEAMS_WEBHOOK_URL` も対象です。
   `own_mail_server` を有効にしたテナントは、自身のメールサーバー（`smtp_server`）にも確認します。
4. `close_run` — 結果（確認したチャネル、問題の件数）を集約します。

### 入力
`SYS_IntegrationConfig`、`MST_NotificationTemplate`、`MST_NotificationSettings`、`MST_TenantSettings`、`MST_Employee`

### 出力
`batch.setting_finding`、`SYS_IntegrationConfig`（`health_status`、`last_health_check`）。新しく見つかった問題は、テナントの管理者へのメールとして
`batch.outbox` に入り、9 時に BATCH-019-01 が送ります。

### ヒント
* **赤くならないもの**: テナントの設定の問題（ログに出ます）と、テナント自身のメールサーバーの問題。そのテナントのメールだけが停止します。
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import batch_dag
from include.skillreport.core.catalog import NOTIFICATION_SETTINGS_CHECK

batch_019_05_notification_settings_check: DAG = batch_dag(NOTIFICATION_SETTINGS_CHECK, file=__file__)
