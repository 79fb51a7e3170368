"""
### 目的
テナントごとに前日（日本時間）の使用量を集計し、課金が受け付ける「締め済みの日」にします。

### 処理の流れ
1. `open_run` — パラメータとデータベースを確認し、実行ログを開始。稼働中のテナントと、その日に契約が続いていたテナントを選びます。
2. `read_logs` — テナント別の集計を中間表に置きます。毎時の BATCH-018-03 がその日を読み終えていれば、その 1 時間ごとの集計を
   使い、ログは読みません。読み終えていない日と、人が起動した実行では、ログの各表を **1 回だけ** 読みます。
3. `aggregate_usage` — テナントごと（100 超なら仕事量の近い組に分けて）に使用量を書き込み、日を締め、警告を記録します。
4. `close_run` — 結果を集約し、実行ログと性能指標を記録。1 件でも失敗があれば赤くなり、通知が 1 通出ます。
5. `announce` — 全テナントの処理が終われば、日が締まったことを、待っているほかの DAG に告げます。実行の結果には影響しません。

### 入力
`MST_Tenant`、`MST_UserAuth`、`MST_TenantSettings`、`SYS_SystemLog`、`HIS_AuditLog`、`HIS_ReportGeneration`、
`HIS_NotificationLog`、`TRN_*`

### 出力
`SYS_TenantUsage`（画面用、MB 単位）、`batch.usage_day`（締め済みの日、課金用）、`batch.usage_warning`（容量・API の
80 % / 95 %、平常の 200 % 超）、`batch.login_day`

### ヒント
* **過去日の再集計**: Trigger で業務日とテナントコードを指定します。人が起動した実行は、アプリのログを読み直します。
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import batch_dag
from include.skillreport.core.catalog import TENANT_USAGE

batch_018_01_tenant_usage: DAG = batch_dag(TENANT_USAGE, file=__file__)
