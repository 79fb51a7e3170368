"""
### 目的
BATCH-018-02 テナント課金計算が作った請求書を、経理の担当者がテナントを指定して操作します。スケジュールはありません。

### 処理の流れ
1. `open_run` — フォームの値を確認し、誰が何をしたかを実行ログに残します。
2. `operate_invoice` — テナントごとに、その月の請求書を 1 件操作します。
3. `close_run` — 会計ファイルと書類の索引を書き直し（確定した月は除く）、結果を集約します。

### 入力
フォームの値。請求書は対象月とテナントコードで選びます。

{operations}

訂正の内容は個人の情報です。ボードの請求書のページから入力します。値は Airflow に残りません（`conf` には控えの番号だけがあります）。
訂正の通知は、ほかの人（設定 billing.second_person が none なら、金額を入力した本人）が「送付する」を使うまで送りません。

### 出力
`batch.invoice`、`batch.payment`、`batch.reminder_stop`、`batch.letter_decision`、`HIS_TenantBilling`、
保存先の `invoices/YYYY-MM/` と `accounting/YYYY-MM/`、
`batch.execution_log`（`triggered_by` に実行した人）。
料金表か発行者が見本（`sample: true`）の間は何も確定しません。

### ヒント
* **やり直すとき**: 新しく実行します。消去しても、人の操作はやり直せません。
* **バッチのページ**: DAG `batch_018_02_tenant_billing`
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import operation_dag
from include.skillreport.operations.operate_invoices.form import FORM

operate_invoices: DAG = operation_dag(FORM, file=__file__)
