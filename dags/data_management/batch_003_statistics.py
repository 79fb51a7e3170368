"""
### 目的
テナントごとに前日（日本時間）の統計（利用者、スキル、目標、資格、研修、API）を 1 日 1 行にまとめます。月次レポート（BATCH-004）の
もとになります。

### 処理の流れ
1. `open_run` — パラメータとデータベースを確認し、実行ログを開始。稼働中のテナントを選びます。
2. `read_logs` — ホストの各表を **1 回だけ** 読み（利用者の操作は、毎時の BATCH-018-03 が読んだ集計があれば
   それを使い）、テナント別の集計を中間表に置きます。5 人未満のグループはここで「その他」にまとめます。
3. `update_statistics` — テナントごと（100 超なら仕事量の近い組に分けて）に、その日の統計を書き込みます。
4. `close_run` — 結果を集約し、実行ログと性能指標を記録。1 件でも失敗があれば赤くなり、通知が 1 通出ます。
5. `announce` — 全テナントの処理が終われば、統計ができたことを、待っているほかの DAG に告げます。実行の結果には影響しません。

### 入力
`MST_UserAuth`、`MST_Employee`、`MST_Department`、`MST_EmployeeJobType`、`MST_JobTypeSkill`、`MST_Skill*`、`SYS_SystemLog`、
`HIS_*`、`TRN_*`

### 出力
`batch.statistics_day`（1 日の統計）、`batch.statistics_group`（カテゴリ・部署別のスキル分布）、`batch.login_day`

### ヒント
* **過去日の再集計**: Trigger で業務日とテナントコードを指定します。利用者・ログイン・API はその日のもの、スキル・目標・資格は
  アプリケーションに履歴がないため **実行時点の状態** で書き直されます。
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import batch_dag
from include.skillreport.core.catalog import STATISTICS

batch_003_statistics: DAG = batch_dag(STATISTICS, file=__file__)
