"""
### 目的
送信が終わって 90 日（テナント別に変更可、`retention_days`）を過ぎた通知ログを、テナントごとに圧縮して保存してから削除します。
保存した書庫は 2 年（730 日、`archive_days`）を過ぎると削除します。停止中、終了、削除済みのテナントの通知ログと書庫も対象です。

### 処理の流れ
1. `open_run` — パラメータとデータベースを確認し、実行ログを開始。状態が不明なものを除く全テナントを選びます。
2. `read_logs` — `HIS_NotificationLog` を **1 回だけ** 読み、対象の ID を中間表に置きます。
3. `archive_notifications` — テナントごとに書庫（JSON Lines、gzip）と目録を書き、**読み戻して確かめてから** 1,000 行ずつ削除し、
   保存期間を過ぎた書庫を削除します。
4. `close_run` — 結果（保存した通知と送信箱の件数）を集約し、中間表を空にします。

### 入力
`HIS_NotificationLog`（送信済み・失敗・取消など、もう動かない行）、`batch.outbox`（送信箱）、`MST_TenantSettings`

### 出力
保存先の `notification_log/テナント/業務日/`（`*.jsonl.gz` と `*.manifest.json`）、`HIS_NotificationLog` と `batch.outbox`（削除）

### ヒント
* **削除されない行**: PENDING・SENDING・RETRY の行、送信箱で送信が終わっていない通知、重複防止にまだ必要な送信箱の行、処理中に
  変更された行（次の回に処理）。確認できていない行も削除しません。
* **探すとき**: 目録（`*.manifest.json`）にテナント・期間・行数・sha256 があります。目録に載っていないファイルは、途中で止まった
  実行の残りで、消して構いません。書庫には宛先や本文（個人情報）が入ります。
* **確認だけ**: `dry_run` を指定して Trigger。件数だけが実行ログに残り、保存も削除もしません。
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import batch_dag
from include.skillreport.core.catalog import NOTIFICATION_LOG_CLEANUP

batch_019_04_notification_log_cleanup: DAG = batch_dag(NOTIFICATION_LOG_CLEANUP, file=__file__)
