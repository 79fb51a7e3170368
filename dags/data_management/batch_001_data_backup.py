"""
### 目的
データベース全体を毎日バックアップし、**復元して中身を比べたものだけ**をバックアップとして残します。復元もこの DAG の「操作」で行います。

### 処理の流れ
1. `open_run` — 接続、権限、鍵、pg_dump の版を確認し、実行ログを開始。全テナント（解約済みも）を対象にします。
2. `dump` — 1 つのスナップショットから全体をダンプし、表ごとの行数とハッシュを控えて保存先に書きます。
3. `check` — 保存したものを検証用データベースに復元し、全表の行数とハッシュを控えと比べます。
4. `process` — 検証用データベース（同じスナップショット）から、テナントごとに表別の CSV を書き出します。
5. `close_run` — 日替わりの 1 テナントを復元して比べ、`manifest.json` を最後に書きます。その後で古いバックアップを整理します。

`manifest.json` のないものはバックアップではありません。残す数は日次 7・週次 4・月次 3 で、最後に検証された 3 つは必ず残します。
復元したデータベースの `batch.backup` は古いため、次の `dump` が保存先にあるバックアップを検証済みとして取り込みます。

### 入力
接続 `batch_backup_db`（スーパーユーザー、または BYPASSRLS・CREATEDB・pg_read_all_data）の全表、Variable `batch_storage_url`、
`batch_postgres_bin`（pg_dump のフォルダー。空なら PATH）、暗号化するなら接続 `batch_backup_key`（age の鍵）

### 出力
`backups/BKP_YYYYMMDD_NNN/`（`dump/`、`tenants/`、`manifest.json`）、`batch.backup`、`SYS_BackupHistory`

### 障害対応
* **朝まで待てるか**: 前日のバックアップは残っています。2 日続けて失敗したら、待たずに対応してください。
* **どこを見るか**: 赤いタスクのログの最後の 1 行に、足りないもの（容量、権限、版、鍵、壊れたファイル）が出ます。
* **再実行**: `dump` から下流ごと消去（Clear）。`process` の 1 テナントだけの失敗なら、そのインスタンスを下流ごと消去。
* **「別の実行がバックアップ中です」**: その実行が終わってから `dump` を下流ごと消去。強制終了された実行は、次の `open_run` が
  失敗として閉じます（強制終了した `airflow dags test` は 4 時間後）。
* **ダンプが小さすぎる**: データが消えていないか先に確認。正しければ「小さいダンプを認める」を付けて手動実行。
* **1 テナントを戻す**: 操作「別スキーマに復元して比べる」とテナントを指定。`process` のログで違いを確認し、よければ「反映する」。
  反映は 1 トランザクションで、他のテナントと、取得後に増えた行・列には触れません。
* **全体を戻す**: 操作「新しいデータベースに復元する」。Airflow が動かないときは README のコマンドで。
"""

# (Airflow only parses files in which the words "airflow" and "dag" occur.)
from include.catalog import DATA_BACKUP
from skill_batch.backup import backup_params, dump_and_check
from skill_batch.dag_factory import batch_dag
from skill_batch.tenant_flow import tenant_flow


@batch_dag(DATA_BACKUP, doc_md=__doc__, params=backup_params())
def batch_001_data_backup() -> None:
    """open_run ► dump ► check ► process × tenant ► close_run."""
    tenant_flow(DATA_BACKUP, first_steps=dump_and_check)
