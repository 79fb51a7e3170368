"""
### 目的
テナントごとに前月（日本時間）の月次レポートを Excel と PDF で作り、管理者に知らせます。数値はどちらも同じデータから作ります。

### 処理の流れ
1. `open_run` — パラメータとデータベース、保存先を確認し、実行ログを開始。稼働中のテナントを選びます。
2. `read_logs` — 社員とテナント設定を **1 回だけ** 読み、中間表に置きます。
3. `create_report` — テナントごとに、日ごとの統計から数値をまとめ、Excel と PDF を保存し、管理者への通知を登録します。
4. `close_run` — 結果を集約します。1 件でも失敗があれば赤くなり、通知が 1 通出ます。
5. `announce` — 全テナントの処理が終われば、月次レポートができたことを、待っているほかの DAG に告げます。実行の結果には影響しません。

### 入力
`batch.statistics_day`・`batch.statistics_group`（BATCH-003）、`MST_Tenant`、`MST_Employee`、`MST_UserAuth`、`MST_TenantSettings`、
`settings.yaml` の `monthly_report`（色、宛先、言語、年度の開始月）

### 出力
保存先の `reports/（テナント）/YYYY-MM/月次レポート_（テナントコード）_YYYY-MM`（`.xlsx`、`.pdf`）、`HIS_ReportGeneration`、
`batch.monthly_report`、`batch.monthly_report_file`、`batch.outbox`（管理者へのメール、09:00 に送信）

### ヒント
* **このバッチの理由**:
    * *PDF を作れません* — Excel は保存し、知らせてあります。消去すると PDF が加わり、メールは増えません。
    * *統計のない日があります（警告）* — 失敗ではなく、表紙に日付が出ます。埋めるなら、その日で BATCH-003 を実行してから、この DAG を
      業務日（前月の日付）とテナントコードを指定して Trigger。まだ送っていないメールは新しい数字に替わり、
      送ったメールは二度出ません。
    * *「記録なし」の数値* — 失敗ではありません。アプリケーションがその記録を書いていません。表紙に数値の名前が出ます。
* **確認だけ**: `dry_run` を指定して Trigger。主な数値が `create_report` のログに出ます。
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import batch_dag
from include.skillreport.core.catalog import MONTHLY_REPORT

batch_004_monthly_report: DAG = batch_dag(MONTHLY_REPORT, file=__file__)
