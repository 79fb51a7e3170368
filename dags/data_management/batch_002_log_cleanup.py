"""
### 目的
古いログファイルを圧縮・保管・削除し、古い行を小さな単位で削除します。`HIS_AuditLog` は追記専用のため、削除しません。

### 処理の流れ
1. `open_run` — 設定を確認し、実行ログを開始。
2. `clean_up_logs` — 種別ごとに 1 インスタンス。`files <種別>` は 7 日を過ぎたファイルを gzip にし、保存期間
   （app 30 日、access 7、error 90、batch 30、debug 3、audit 365、security 180）を過ぎたものを削除します。
   error・audit・security は削除の前にオブジェクトストレージへ保管し、読み返して確かめます。
   `rows <種別>` は古い行を 1,000 行ずつ、1 回ごとに確定しながら削除します。
   `marked <表>` は、設定 `log_cleanup.marked_rows` が有効なときだけあります。アプリケーションが削除済みの印を付けた `TRN_*` の行
   （通知を除く）を、テナントごとに保管し、読み返して確かめてから削除します。
3. `close_run` — 種別ごとのファイル数、行数、空いたバイト数を集約し、運用の Slack に送ります。

リンクの先、使用中のファイル、種別や名前の分からないものには**触れず**、`notes` と Slack に「要確認」として出します。

### 入力
Variable `skill_batch_log_roots`（ログのフォルダー。その下の `app`、`access` などが種別）、`SYS_SystemLog`（180 日）、
`SYS_TokenStore`（期限の 1 日後）、`batch.execution_log` とそれに付く記録、`batch.sync_plan`（90 日）、
`batch.performance_metric`（400 日）、`batch.incident`（終わってから 400 日）、`batch.operator_alert`（送り終えてから 90 日）、
`batch.login_day`（800 日。テナントごとに最後のログイン日は残します）、`batch.statistics_day`（1,200 日）、
`batch.statistics_group`（月の最後の日は 1,200 日、ほかの日は 100 日）、`batch.usage_warning`（400 日）、
`batch.inactivity_change`（1,100 日）、`batch.setting_change`（1,100 日。設定ごとに最後の変更は残します）、
`batch.directory_change`（800 日）、`batch.suppressed_address`（停止が終わってから 400 日）、`batch.service_limit`（30 日）

日数は `settings.yaml` の `log_cleanup.row_days` で変えられます。請求書、書類、入金、承認と、請求額のもとになった利用量・
プラン・金額（`batch.usage_day`、`batch.plan_change`、`batch.metered_amount` など）は、**どの設定でも削除しません**。

### 出力
`log_archive/<種別>/<年月>/`（保管したログ、gzip）、`deleted_rows/<テナント>/<業務日>/`（削除した行、gzip）、実行ログの件数

### ヒント
* **ディスクが残り少ないとき**: 手動で実行してください。何が消えるかはドライランで先に一覧できます。
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import batch_dag
from include.skillreport.core.catalog import LOG_CLEANUP

batch_002_log_cleanup: DAG = batch_dag(LOG_CLEANUP, file=__file__)
