"""
### 目的
人の利用（ログインと編集）が途絶えたテナントを毎日見つけ、段階ごとに 1 回だけ知らせます。**停止も削除もしません**。

### 処理の流れ
1. `open_run` — パラメータとデータベースを確認し、実行ログを開始。稼働中のテナントを選びます。
2. `read_logs` — 前回の判定より後の操作から、テナント別の最終利用日を中間表に置きます。毎時の BATCH-018-03 が
   読み終えていれば、その 1 時間ごとの集計を使います。人が起動した実行は、ログを最初から読み直します。
3. `detect_inactivity` — テナントごとに業務日までの日数を数え、段階（30 日で注意、60 日で警告、90 日で重大）とその変化を記録します。
4. `request_approval` — 停止後の最初の予定の実行なら、テナントへの知らせを送らずに止め、DAG `approve_resumption` を実行し、画面
   （Required Actions）に「再開の承認」を出します。答えは待ちません。
5. `close_run` — 結果（段階ごとのテナント数、新規）を集約し、まだ知らせていない段階を運用担当者にまとめて知らせます。
6. `announce` — 全テナントの処理が終われば、判定が終わったことを、待っているほかの DAG に告げます。実行の結果には影響しません。

人の利用は、アカウントのある利用者の操作・更新と、成功したログインです。API の呼び出しだけ、バッチや `system` の更新、失敗したログインは
数えません。一度も利用のないテナントは契約開始日か作成日から数えます。試用（TRIAL）は対象外です（`batch.inactivity.include_trial`）。

### 入力
`MST_Tenant`、`MST_UserAuth`、`MST_TenantSettings`（`batch.inactivity.<名前>`）、`HIS_AuditLog`、`TRN_*`、`batch.login_day`

### 出力
`batch.tenant_inactivity`（現在の段階）、`batch.inactivity_change`（変化の履歴）。警告と重大は、テナントの連絡先へのメールとして
`batch.outbox` に入り、9 時に BATCH-019-01 が送ります。利用が戻れば段階は消え、次に途絶えたときはまた知らせます。

### ヒント
* **変化の理由**: `batch.inactivity_change`。設定の誤りは `batch.tenant_outcome` の `notes` にあります。
* **届かなかった知らせ**: 運用担当者に届けられなかった段階（`batch.inactivity_change` の `told_at` が空）は、次の実行が知らせます。
* **過去日の実行**: 新しい日付の判定は変わりません。その日の結果が実行ログに残るだけです。
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import batch_dag
from include.skillreport.core.catalog import INACTIVE_TENANTS

batch_018_04_inactive_tenants: DAG = batch_dag(INACTIVE_TENANTS, file=__file__)
