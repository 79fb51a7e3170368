"""
### 目的
退会したテナントの行の削除を、始めた人と依頼した人のほかの 1 人が Airflow の画面（Required Actions）で承認します。
DAG `offboard_tenant` が自動でこの DAG を実行します。スケジュールはありません。

### 処理の流れ
1. `list_held` — 承認を待っているテナントの、表ごとの行数とすることを一覧にします。なければここで終わります。
2. `ask` — 一覧を画面に出し、**答えがあるまで待ちます**（ワーカーは使いません）。
3. `record_answer` — 誰が、いつ、何と答えたかを `batch.approval_item` に残します。
4. `open_run` — 答えを確認し、実行ログを開始します（`triggered_by` は答えた人）。
5. `delete_tenant` — もう一度すべてを書き出して照合し、その利用者と行のキーを固定します。固定した行だけを削除します。
   承認の後に増えた行や、ほかのテナントのものになった行があれば、名前を示して止まります。
6. `close_run` — 結果を集約します。

| 答え | 何が起きるか |
|---|---|
| 承認する | 一覧のテナント（「テナントコード」に書けばそのテナントだけ）を削除します。**元に戻せません** |
| 保留のままにする | 何も変わりません |

### 入力
画面の答え、`batch.offboarding`、接続 `skill_batch_backup_db` と `skill_batch_cleanup_db`、Variable `skill_batch_storage_url`

### 出力
`batch.offboarding`、`batch.offboarding_table`、`batch.deleted_tenant`、保存先の `deleted_tenants/`、`batch.execution_log`

### ヒント
* **途中で止まったとき**: DAG `offboard_tenant` の「削除の承認の依頼」でもう一度承認を受けると、続きから削除します。消した行は戻りません。
* **増えた行で止まったとき**: DAG `offboard_tenant` の「削除の承認の依頼」でもう一度承認を受けると、続きから削除します。
* **確認が画面に出ない**: この DAG が一時停止中です。再開してください。
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import approval_dag
from skill_batch.forms import tenants_param
from include.skillreport.core.operation_catalog import APPROVE_OFFBOARDING

approve_offboarding: DAG = approval_dag(
    APPROVE_OFFBOARDING,
    file=__file__,
    params={
        "tenants": tenants_param("一覧にするテナントのコード（1行に1件）。空欄なら待っているすべて。"),
    },
)
