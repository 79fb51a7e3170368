"""
### 目的
BATCH-001 データバックアップが取ったバックアップから、テナントまたはデータベース全体を復元します。スケジュールはありません。

### 処理の流れ
1. `open_run` — フォームの値、接続、権限、鍵、pg_restore の版、バックアップの有無を確認し、誰が何をしたかを実行ログに残します。
2. `restore` — テナントごとに（全体の復元では 1 回だけ）復元します。
3. `close_run` — 結果を集約します。

### 入力
フォームの値、接続 `batch_backup_db`、Variable `batch_storage_url`、暗号化したものは接続 `batch_backup_key`

| 操作 | 使う欄 | 何が変わるか |
|---|---|---|
| テナントの復元と比較 | テナントコード、バックアップID | 別スキーマに復元します。現在の行との違いが `restore` のログに出ます |
| テナントの復元と反映 | テナントコード、バックアップID | 復元した行を現在の表に反映します（1 テナント 1 トランザクション） |
| 新しいデータベースへの全体の復元 | 復元先データベース、バックアップID | 新しいデータベースを作ります（スーパーユーザーが必要） |

反映は、取得後に増えた行と列、ほかのテナントの行には触れません。先に比較で違いを確認してください。

### 出力
スキーマ `restored_…` または新しいデータベース、`batch.execution_log`（`triggered_by` に実行した人）

### ヒント
* **途中で失敗したとき**: 途中まで復元したものは残りません。
* **Airflow が動かないとき**: `docs/batches/batch-001.md` のコマンドで復元します。
* **バッチのページ**: DAG `batch_001_data_backup`
"""

from airflow.sdk import Param, chain

from skill_batch.batch_flow import BatchFlow
from skill_batch.dag_factory import operation_dag, operation_param, tenants_param
from include.skillreport.core.catalog import RESTORE_BACKUP
from include.skillreport.operations import backup_restore
from include.skillreport.operations.forms import RESTORE


@operation_dag(
    RESTORE_BACKUP,
    doc_md=__doc__,
    params={
        "operation": operation_param(RESTORE_BACKUP, RESTORE),
        "backup": Param(
            "",
            type=["null", "string"],
            title="バックアップID",
            description="復元するバックアップ（BKP_YYYYMMDD_NNN）。空欄なら最新の検証済みのもの。",
        ),
        "tenants": tenants_param(
            "復元するテナントのコード（1行に1件）。必須です。", section="テナントの復元"
        ),
        "target": Param(
            "",
            type=["null", "string"],
            title="復元先データベース",
            description="新しいデータベースの名前。必須です。既にある名前は使えません。",
            section="全体の復元",
        ),
    },
)
def restore_backup() -> None:
    """Check the form and the backup, then restore each named tenant, or the whole database once."""
    flow = BatchFlow(RESTORE_BACKUP, backup_restore)
    run, shards = flow.open_run()
    restore = flow.mapped_task().partial(run=run).expand(shard=shards)
    chain(restore, flow.close_run())
