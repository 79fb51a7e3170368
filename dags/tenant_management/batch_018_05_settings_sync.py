"""
### 目的
テナントの設定（`MST_TenantSettings`）を、プランと契約のあるべき値と毎日照合し、不足とプラン変更の分だけを直します。人が決めた値は
上書きせず、知らせます。**セキュリティ・認証・パスワード・請求・支払いの設定は、決して書き込みません。**

### 処理の流れ
1. `open_run` — パラメータとデータベースを確認し、実行ログを開始。稼働中のテナントを選びます。
2. `sync_settings` — テナントごとに、あるべき値・前回適用した値・現在の値を比べ、直せるものを直し、残りを重要度つきで報告します。
3. `close_run` — 結果（不足・差異・修正・報告の件数）を集約し、新しい重大・高の問題をテナント別に運用担当者へ知らせます。

直すのは `plan_settings.yaml` にあるキーだけです。行がなければ追加し、前回適用した値のままならプランの新しい値にします。契約（`max_users`、
`max_storage_gb`）で決めた上限と、このバッチ以外が変えた値は上書きしません。0 以下の契約値は未契約とみなし、プランの値を使います。
`batch.*` の設定には触れません。

### 入力
`plan_settings.yaml`、`MST_Tenant`、`MST_TenantSettings`、`batch.applied_setting`（前回適用した値）

### 出力
`MST_TenantSettings`、`batch.applied_setting`、`batch.setting_change`（変更の履歴: 前後の値、理由、実行）、`batch.setting_plan`

### ヒント
* **人が見るべきこと**: `sync_settings` のログの警告と `batch.tenant_outcome` の `notes`。件数は `details` にあります。運用担当者への
  通知は問題ごとに 1 回で、直ってから再び起きればまた知らせます。届けられなかったものは次の実行が知らせます。
  `plan_settings.yaml` が見本（`sample: true`）の間は、プランとの差は知らせません。
* **確認だけ**: `dry_run` を指定して Trigger。`sync_settings` のログに予定が出ます。
* **取り消し**: DAG `undo_settings_sync` に実行ID（`BATCH-018-05_…`）を指定します。値は元のとおりに戻り、取り消した値は、あるべき値が
  変わるまで再び適用されません。その後に誰かが変えた設定は戻さず、報告します。
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import batch_dag
from include.skillreport.core.catalog import SETTINGS_SYNC

batch_018_05_settings_sync: DAG = batch_dag(SETTINGS_SYNC, file=__file__)
