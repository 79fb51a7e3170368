"""
### 目的
BATCH-019-03 外部システム連携が適用を保留した名簿（アカウントかチャンネルが多く消えたもの）を、運用者が Airflow の画面（Required Actions）で
確認し、承認します。バッチが自動でこの DAG を実行します。スケジュールはありません。

### 処理の流れ
1. `list_held` — 保留中の名簿を一覧にします（テナント、名前、サービス、連携の数、解除する連携の数、理由）。なければここで終わります。
2. `ask` — 一覧を画面に出し、**答えがあるまで待ちます**（期限はなく、ワーカーも使いません）。確認は同時に 16 件まで出せます。
3. `record_answer` — 誰が、いつ、何と答えたかを `batch.approval_item` に残します。
4. `open_run` — 答えを確認し、実行ログを開始します（`triggered_by` は答えた人）。
5. `apply_changes` — 承認したテナントの名簿をもう一度読み、保留の理由が一覧と同じなら、連携の解除と通知設定の無効化を含めて適用します。
6. `close_run` — 結果を集約します。

| 答え | 何が起きるか |
|---|---|
| 承認する | 一覧のすべて（「テナントコード」に書けばそのテナントだけ）を適用します |
| 保留のままにする | 何も変わりません。答えは残ります |

連携の解除と通知設定の無効化は、アカウントかチャンネルが 2 日連続で存在しないときだけです。消えたその日に承認すると失敗するので、翌日以降に
答えてください。

### 入力
画面の答え（承認か保留、テナントコード、理由・メモ）、`batch.sync_plan`、各サービスの名簿とチャンネル。手で Trigger すると、保留中の
名簿を一覧にし、同じ名簿の前の確認を無効にします。

### 出力
`batch.approval_request` と `batch.approval_item`（確認と答え）、BATCH-019-03 と同じ表、`batch.execution_log`。

### ヒント
* **承認依頼を出し直したとき**: 画面の一覧は前のままです。承認の前に、必ず今の名簿と比べ直します。
* **確認が画面に出ない**: この DAG が一時停止中です。再開してください。
* **誰が答えられるか**: Required Actions の編集権限がある利用者（FAB なら User 以上）。Viewer は見るだけです。
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import approval_dag
from skill_batch.forms import tenants_param
from include.skillreport.core.operation_catalog import APPROVE_DIRECTORY_CHANGES

approve_directory_changes: DAG = approval_dag(
    APPROVE_DIRECTORY_CHANGES,
    file=__file__,
    params={
        "tenants": tenants_param("一覧にするテナントのコード（1行に1件）。空欄なら保留中のすべて。"),
    },
)
