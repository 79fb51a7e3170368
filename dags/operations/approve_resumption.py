"""
### 目的
停止や障害のあとに動いた BATCH-019-01、BATCH-019-02、BATCH-018-04 の通知を送るかどうかを、運用者が Airflow の画面
（Required Actions）で決めます。バッチが自動でこの DAG を実行します。スケジュールはありません。

### 処理の流れ
1. `list_held` — 待っている通知の数を、種類と経過時間ごとの表にします。なければここで終わります。
2. `ask` — 表を画面に出し、**答えがあるまで待ちます**（期限はなく、ワーカーも使いません）。
3. `record_answer` — 誰が、いつ答えたかを `batch.approval_item` に残します。
4. `open_run` — 答えを確認し、実行ログを開始します（`triggered_by` は答えた人）。
5. `apply_answer` — 通知を送信待ちに戻すか、破棄します。送るのは、次の BATCH-019-02（毎時 30 分）です。
6. `close_run` — 結果を集約します。

| 答え | 何が起きるか |
|---|---|
| すべて送る | 待っている通知をすべて送ります |
| 新しいものだけ送る（ほかは破棄） | 予定からの時間が「時間」（既定 24）より短いものを送り、ほかを破棄します |
| すべて破棄する | 待っている通知を送りません |

### 入力
画面の答え（3 つのどれか、時間、理由・メモ）と `batch.outbox`。手で Trigger すると、今待っている通知を表にし、前の確認を無効にします。

### 出力
`batch.approval_request` と `batch.approval_item`（確認と答え）、`batch.outbox`、`batch.execution_log`。
アプリの `HIS_NotificationLog` には、次の BATCH-019-02 が書きます。

### ヒント
* **答える前に増えた通知**: 表は承認依頼を出した時の数です。答えるまでの次の実行の通知も加わり、同じ答えになります。
* **待たないもの**: 請求書など契約の通知、人が再送を決めた通知、手で実行したバッチの通知。
* **確認が画面に出ない**: この DAG が一時停止中です。再開してください。
* **誰が答えられるか**: Required Actions の編集権限がある利用者（FAB なら User 以上）。Viewer は見るだけです。
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import approval_dag
from include.skillreport.core.operation_catalog import APPROVE_RESUMPTION

approve_resumption: DAG = approval_dag(APPROVE_RESUMPTION, file=__file__)
