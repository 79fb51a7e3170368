"""
### 目的
請求書が料金表のほかに使うもの（請求先、プラン、割引、最低利用料金、注文番号、振込名義、為替レート）を、経理の担当者が登録し、直し、終わらせます。
誰が、いつ、なぜ変えたかが残ります。スケジュールはありません。

### 処理の流れ
1. `open_run` — フォームの値を確認し、実行ログを開始します。
2. `change_contracts` — 入力した値か、ファイルのすべての行を、1 つのトランザクションで登録します。宛名か振込名義を変えるか、新しい送付先を
   加えるときは登録せず、ほかの人の承認を待ちます。
3. `compare_invoices` — テナントごとに、確定した請求書が今の契約なら変わるかを計算し、変わるものと次の操作を備考に書きます。
   請求書は変えません。外れた送付先に、変わったことをメールで知らせます。
4. `request_approval` — 承認が必要な変更があれば、DAG `approve_contracts` の承認依頼（Required Actions）を出します。
5. `close_run` — 結果を集約します。

### 入力
{operations}

請求先と振込名義は個人の情報です。ボードのテナントのページの「契約」から入力します。
値は Airflow に残りません（`conf` には控えの番号だけがあります）。

### 出力
`batch.billing_profile`、`batch.plan_change`、`batch.discount`、`batch.commitment`、`batch.order_number`、`batch.payer`、`batch.exchange_rate`、
`batch.contract_change`、`HIS_NotificationLog`（外れた送付先への知らせ）、保存先の `contracts/exported/`、`batch.execution_log`。

### ヒント
* **ファイルの取込み**: 「ファイルへの書き出し」の CSV と同じ列で、保存先の `contracts/incoming/` に置きます。
* **やり直すとき**: 新しく実行します。消去しても、人の操作はやり直せません。
* **誤って登録したとき**: 同じ操作を正しい値でもう一度行います。登録そのものの取り消しは「契約の終了」です。
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import operation_dag
from include.skillreport.operations.operate_contracts.form import FORM

operate_contracts: DAG = operation_dag(FORM, file=__file__)
