"""
### 目的
テナントの状態を毎時確認し、異常が続くものを運用者へ知らせます。**知らせるだけで、テナントには何もしません。**

### 処理の流れ
1. `open_run` — パラメータとデータベースを確認し、実行ログを開始。稼働中のテナントを選びます。
2. `watch_runs` — 全バッチの実行を見回ります。Airflow の実行が終わっているのに「実行中」のままの行を失敗にし、制限時間を超えた実行と、
   予定の時刻に始まらなかったバッチを知らせます。
3. `read_logs` — ホストのログ各表を **1 回だけ** 読み、前回から後の 1 時間ごとの値とテナントの現況を中間表に置きます（初回は 4 週間分）。
4. `check_tenant` — テナントごとに直前の 1 時間を判定し、異常の開始と終了を記録します。
5. `close_run` — 全体障害かどうかを判定し、新しい知らせを 1 通にまとめて運用者の Slack へ送ります。

判定するのは、エラー率、平均応答時間、API 呼び出し数、ログイン失敗、失敗中のバッチ、滞留中の通知、保存容量、今月の API 呼び出し、
契約終了です。固定のしきい値と、同じ曜日・時間帯の過去 4 週間との差（修正z、祝日は日曜扱い）を使います。しきい値は
設定 `monitoring` にあり、テナントごとに `batch.monitoring.<名前>` で変えられます。
呼び出しのない時間や測れなかった時間は判定しません。

直近 3 回の判定のうち 2 回が異常なら開始、3 回続けて正常なら終了です。開始・悪化・終了を 1 回ずつ、続いているものは毎日 9 時に知らせます。
同じ異常が 30 % を超えるテナント（5 以上）で起きると全体障害とし、その間テナント別には知らせません。

### 入力
`MST_Tenant`、`MST_TenantSettings`、`MST_UserAuth`、`SYS_SystemLog`、`HIS_AuditLog`、`TRN_*`、`HIS_ReportGeneration`、`HIS_NotificationLog`、
`batch.outbox`、`batch.usage_day`、`batch.execution_log`

### 出力
`batch.hourly_measure`（1 時間ごとの値、5 週間）、`batch.monitored_tenant`、`batch.incident`（テナントの異常）、`batch.platform_check` と
`batch.platform_incident`（全体障害）、`batch.orphan_notice`（孤立した実行の知らせ）

### ヒント
* **知らせの内容**: `close_run` のログ。今の異常は `SELECT * FROM batch.incident WHERE closed_at IS NULL`。
* **止まっていた時間**: 次の回が測り、後からは判定も通知もしません。過去の業務日を指定すると、その日の最後の 1 時間の結果が実行ログに
  残るだけです。
* **知らせが届かないとき**: `batch.operator_alert` に残り、後の実行が送ります。
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import batch_dag
from include.skillreport.core.catalog import TENANT_MONITORING

batch_018_03_tenant_monitoring: DAG = batch_dag(TENANT_MONITORING, file=__file__)
