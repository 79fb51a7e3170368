"""
### 目的
契約が終わったテナントを、書き出し、待機、ほかの人の承認を経て削除します。スケジュールはありません。
使うには、管理者が `python -m include.skillreport upgrade --with-deletion` を実行します。

### 処理の流れ
1. `open_run` — フォームの値、権限、接続、表の一覧（deletion.yaml）を確認し、誰が何をしたかを実行ログに残します。
2. `offboard` — 選んだ段階を 1 つのテナントに行います。
3. `request_approval` — 「削除の承認の依頼」と「退会の記録の取り消し」なら、DAG `approve_offboarding` の
   承認依頼（Required Actions）を出します。
4. `close_run` — 結果を集約します。

### 入力
フォームの値、接続 `skill_batch_backup_db`、`skill_batch_cleanup_db`、`skill_batch_backup_mac`、
Variable `skill_batch_storage_url`、設定 `offboarding.wait_days`

{operations}

### 出力
`batch.offboarding`、`batch.offboarding_table`、保存先の `offboarding/`、`batch.execution_log`（`triggered_by` に実行した人）

### ヒント
* **途中で失敗したとき**: 同じ段階を新しく実行します。消去しても、人の操作はやり直せません。
* **取りやめるとき**: 削除が始まるまでは、いつでも「退会の取りやめ」で取りやめられます。
* **記録が誤りのとき**: 「退会の記録の取り消し」は、ほかの人が DAG `approve_offboarding` で承認すると効きます。
* **進み具合**: ボードのテナントのページにあります。
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import operation_dag
from include.skillreport.operations.offboard_tenant.form import FORM

offboard_tenant: DAG = operation_dag(FORM, file=__file__)
