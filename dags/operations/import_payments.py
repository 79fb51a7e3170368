"""
### 目的
銀行の振込のファイルを読み、名義と金額が確かな振込を入金として記録します。ほかの振込は、経理の担当者がボードの「入金消込」で確認します。
毎日 8:30（日本時間）に動きます。ファイルを置いたあと、すぐに手で Trigger してもかまいません。

### 処理の流れ
1. `open_run` — フォームの値を確認し、入金がありうるテナントを選び、実行ログを開始します。
2. `read_files` — 保存先の `bank-files/incoming/` のファイルを 1 つずつ読み、振込を保存し、未入金の請求書と照合します。読んだファイルは
   `bank-files/imported/` に移します。取り込めないファイルは残り、毎回通知します。
3. `record_payments` — テナントごとに、確かな振込（または確認した振込）を入金と手数料差額として記録し、銀行が取り消した入金を取り消します。
4. `close_run` — 会計ファイルと年齢表を書き直し（確定した月は除く）、結果を集約します。

### 入力
銀行のファイル（全銀の振込入金通知、銀行の CSV）、`batch.invoice`、`batch.payer`、設定 `billing.own_accounts` と
`billing.payment_formats`。設定 `billing.payment_source` が `operations` のときだけ動きます。

{operations}

### 出力
`batch.bank_file`、`batch.bank_transfer`、`batch.transfer_choice`、`batch.payer`、`batch.payment`、`batch.adjustment`、
`HIS_TenantBilling`、保存先の `bank-files/imported/` と `accounting/`、`batch.execution_log`。

### ヒント
* **同じファイルを 2 回置いたとき**: 振込は 1 回だけ数えます。期間が重なるファイルも同じです。
* **失敗したとき**: 次の予定の実行が続きをします。急ぐときは、新しく実行します。入金は二重になりません。
* **誤って確認したとき**: 請求書のページの「入金の取り消し」を実行します。その振込と名義は、次に確認するまで自動では入金になりません。
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import operation_dag
from include.skillreport.operations.import_payments.form import FORM

import_payments: DAG = operation_dag(FORM, file=__file__)
