"""
### 目的
送信に失敗した通知を、間隔を空けて再送します。最終的に送れなかった通知と、届いたか分からない通知を 1 回だけ報告します。

### 処理の流れ
1. `open_run` — パラメータとデータベースを確認し、実行ログを開始。稼働中のテナントと、通知か報告が残っている終了済みのテナントを選びます。
2. `read_mailbox` — 不達・苦情・配信停止のメールを受信箱（接続 `skill_batch_mailbox`、省略できます）から読みます。
3. `retry_notifications` — ワーカーが途中で止まった通知は、メールなら再送し、ほかのチャネルなら保留にします。期限の来た通知を再送します。
4. `request_approval` — 停止後の最初の予定の実行なら、通知を送らずに止め、DAG `approve_resumption` を実行し、画面（Required Actions）に
   「再開の承認」を出します。答えは待ちません。
5. `close_run` — 結果を集約します。最終失敗のあるテナントがあれば赤くなり、件数と理由の通知が 1 通出ます。

### 入力
`batch.outbox`、`SYS_IntegrationConfig`、接続 `skill_batch_mailbox` の受信箱

### 出力
`batch.outbox`、`HIS_NotificationLog`（送信結果）、`batch.channel_circuit`、`batch.suppressed_address`

### ヒント
* **受信箱を読めないとき**: 再送は続きます。設定やログインの誤りはすぐに、応答がないときは 3 時間続いたら、その後は 1 日 1 回、実行が
  partial になります。
* **届いたか分からない通知**: 相手に確認してから、再送・破棄・送信済みのどれかに決めてください。
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import batch_dag
from include.skillreport.core.catalog import NOTIFICATION_RETRY

batch_019_02_notification_retry: DAG = batch_dag(NOTIFICATION_RETRY, file=__file__)
