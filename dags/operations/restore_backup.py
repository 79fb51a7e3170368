"""
### 目的
BATCH-001 データバックアップが取ったバックアップから、テナントまたはデータベース全体を復元します。
BATCH-002 が削除した行の書庫も、一覧と復元ができます。スケジュールはありません。

### 処理の流れ
1. `open_run` — フォームの値、接続、権限、鍵、pg_restore の版、バックアップの有無を確認し、誰が何をしたかを実行ログに残します。
2. `restore` — テナントごとに（全体の復元では 1 回だけ）復元します。
3. `close_run` — 結果を集約します。

### 入力
フォームの値、接続 `skill_batch_backup_db`、Variable `skill_batch_storage_url`、接続 `skill_batch_backup_mac`、
暗号化したものは接続 `skill_batch_backup_key`

{operations}

反映は、取得後に増えた行と列、ほかのテナントの行には触れません。先に比較で違いを確認してください。

### 出力
スキーマ `restored_…` または新しいデータベース、反映と削除済みの行の復元ではアプリケーションの表、`batch.execution_log`
（`triggered_by` に実行した人、`parameters` に理由）

### ヒント
* **途中で失敗したとき**: 途中まで復元したものは残りません。タスクが強制終了されたときは、名前が `batch_incomplete_` で始まる
  データベースが残ります。`restore` を消去（Clear）すると、それを消して最初からやり直します。
* **Airflow が動かないとき**: `docs/install/database.md` のコマンドで復元します。
* **バッチのページ**: DAG `batch_001_data_backup`
"""

from airflow.sdk import DAG

from skill_batch.dag_factory import operation_dag
from include.skillreport.operations.restore_backup.form import FORM

restore_backup: DAG = operation_dag(FORM, file=__file__)
