"""
### 目的
宛名、送付先、振込名義の変更を、入力した人のほかにもう 1 人が Airflow の画面（Required Actions）で承認します。
DAG `operate_contracts` が自動でこの DAG を実行します。スケジュールはありません。

### 処理の流れ
1. `list_held` — 承認を待っている変更を一覧にします（テナント、変える項目、入力した人）。なければここで終わります。
2. `ask` — 一覧を画面に出し、**答えがあるまで待ちます**（ワーカーは使いません）。新しい値は個人の情報なので、一覧にはありません。ボードの
   「請求」の「契約の変更」で確かめてください。
3. `record_answer` — 誰が、いつ、何と答えたかを `batch.approval_item` に残します。
4. `open_run` — 答えを確認し、実行ログを開始します（`triggered_by` は答えた人）。
5. `apply_changes` — 承認した変更を登録します。入力した本人の承認（設定 billing.second_person が none のときの
   「1 人での確認」を除く）と、入力した後に登録が変わったものは、登録しません。
6. `compare_invoices` — 確定した請求書が今の契約なら変わるかを備考に書き、外れた送付先に知らせます。
7. `close_run` — 結果を集約します。

| 答え | 何が起きるか |
|---|---|
| 承認する | 一覧のすべて（「テナントコード」に書けばそのテナントだけ）を登録します |
| 保留のままにする | 何も変わりません。30 日たつと期限が切れ、入力した値は消えます |

### 入力
画面の答え（承認か保留、テナントコード、理由・メモ）と `batch.contract_change`。手で Trigger すると、今待っている変更を一覧にします。

### 出力
`batch.approval_request`、`batch.approval_item`、`batch.billing_profile`、`batch.payer`、`batch.contract_change`、`HIS_NotificationLog`、
`batch.execution_log`。

### ヒント
* **取り下げるとき**: DAG `operate_contracts` の「承認待ちの変更の取り下げ」を使います。
* **確認が画面に出ない**: この DAG が一時停止中です。再開してください。
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import approval_dag
from skill_batch.forms import tenants_param
from include.skillreport.core.operation_catalog import APPROVE_CONTRACTS

approve_contracts: DAG = approval_dag(
    APPROVE_CONTRACTS,
    file=__file__,
    params={
        "tenants": tenants_param("一覧にするテナントのコード（1行に1件）。空欄なら待っているすべて。"),
    },
)
