"""
### 目的
BATCH-018-02 テナント課金計算が保留にした請求書を、経理の担当者が Airflow の画面（Required Actions）で確認し、承認します。バッチが自動で
この DAG を実行します。スケジュールはありません。

### 処理の流れ
1. `list_held` — 保留中の請求書を一覧にします（テナント、名前、月、保留中の金額と前月の金額、理由）。なければここで終わります。
2. `ask` — 一覧を画面に出し、**答えがあるまで待ちます**（期限はなく、ワーカーも使いません）。確認は同時に 16 件まで出せます。
3. `record_answer` — 誰が、いつ、何と答えたかを `batch.approval_item` に残します。
4. `open_run` — 答えを確認し、実行ログを開始します（`triggered_by` は答えた人）。
5. `approve_invoice` — 承認したテナントの請求書を確定し、書類を保存し、請求先への通知を登録します。
6. `close_run` — 書類の索引と会計ファイルを書き、結果を集約します。

| 答え | 何が起きるか |
|---|---|
| 承認する | 一覧のすべて（「テナントコード」に書けばそのテナントだけ）を、一覧の金額で確定します |
| 保留のままにする | 何も変わりません。答えは残ります |

### 入力
画面の答え（承認か保留、テナントコード、理由・メモ）と `batch.invoice` の下書き。手で Trigger すると、その月（業務日）の保留中の請求書を
一覧にし、同じ請求書の前の確認を無効にします。

### 出力
`batch.approval_request` と `batch.approval_item`（確認と答え）、`batch.invoice`（`approved_by` に答えた人）、`HIS_TenantBilling`、保存先の
`invoices/YYYY-MM/` と `accounting/YYYY-MM/`、`batch.execution_log`。

### ヒント
* **承認依頼を出し直したとき**: 画面の一覧は前のままです。承認の前に、必ず今の請求書と比べ直します。
* **確認が画面に出ない**: この DAG が一時停止中です。再開してください。
* **誰が答えられるか**: Required Actions の編集権限がある利用者（FAB なら User 以上）。Viewer は見るだけです。
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import approval_dag
from skill_batch.forms import tenants_param
from include.skillreport.core.operation_catalog import APPROVE_INVOICES

approve_invoices: DAG = approval_dag(
    APPROVE_INVOICES,
    file=__file__,
    params={
        "tenants": tenants_param("一覧にするテナントのコード（1行に1件）。空欄なら保留中のすべて。"),
    },
)
