"""
### 目的
データベース全体を毎日バックアップし、**復元して中身を比べたものだけ**をバックアップとして残します。復元は DAG `restore_backup` で行います。

### 処理の流れ
1. `open_run` — 接続、権限、鍵、pg_dump の版を確認し、実行ログを開始。全テナント（解約済みも）を対象にします。
2. `dump` — 1 つのスナップショットから全体をダンプし、書き終わった表から順に保存先へ送ります。表ごとの行数とハッシュも控えます。
   控え終わるまで、表の構造の変更（ALTER TABLE など）だけを待たせます。ダンプのあとで 30 秒より長く待つものがあれば、
   控えるのをやめて譲ります。
3. `check` — 保存したものを数ファイルずつ検証用データベースに復元し、全表の行数とハッシュを控えと比べます（設定
   `backup.compare_percent` が 100 未満なら、64 MB を超える表のハッシュは日替わりで比べます。行数は毎回、全表を比べます）。
4. `export_tenant` — 検証用データベース（同じスナップショット）から、テナントごとに表別の CSV を書き出します。
5. `close_run` — 日替わりの 1 テナントを復元して比べ、`manifest.json` を最後に書きます。その後で古いバックアップを整理します。
6. `announce` — 全テナントの処理が終われば、バックアップができたことを、待っているほかの DAG に告げます。実行の結果には影響しません。

`manifest.json` のないものはバックアップではありません。残す数は日次 7・週次 4・月次 3 で、最後に検証された 3 つは必ず残します。
復元したデータベースの `batch.backup` は古いため、次の `dump` が、保存先にあるバックアップを、検証コード
（MAC）が正しければ検証済みとして取り込みます。

### 入力
接続 `skill_batch_backup_db`（スーパーユーザー、または BYPASSRLS・CREATEDB・pg_read_all_data）の全表、Variable `skill_batch_storage_url`、
`skill_batch_postgres_bin`（pg_dump のフォルダー。空ならパッケージの場所と PATH。PostgreSQL 15 と 16 には同じ版が必要）、
検証コードの鍵の接続 `skill_batch_backup_mac`、暗号化するなら接続 `skill_batch_backup_key`（age の鍵）

### 必要な容量
* 一時フォルダー（`TMPDIR`）: 大きい順に `backup.jobs`（2 以上）表分の 1.5 倍（圧縮用を含む）+ 256 MB。
  バイナリーの列はダンプでは 2 倍、サーバーが圧縮している長い文字列は数倍になるため、そのような大きい表があれば余裕を見てください。
* ローカルの保存先: 前回のバックアップの 110 %（初回はデータベースと同じ大きさ）。
* データベースサーバー: 検証用データベースのために、データベースと同じ大きさ。

### 出力
`backups/BKP_YYYYMMDD_NNN/`（`dump/`、`tenants/`、`manifest.json`）、`batch.backup`、`SYS_BackupHistory`

### ヒント
* **別の実行がバックアップ中のとき**: 強制終了された実行は、次の `open_run` が失敗として閉じます（強制終了した
  `airflow dags test` は 4 時間後）。
* **戻す**: DAG `restore_backup` で、テナントを比べてから反映するか、全体を新しいデータベースに復元します。Airflow が動かないときは
  `docs/install/database.md` のコマンドで。
"""

from airflow.sdk import DAG, Param

from skill_batch.dag_factory import batch_dag
from include.skillreport.core.catalog import DATA_BACKUP

batch_001_data_backup: DAG = batch_dag(
    DATA_BACKUP,
    file=__file__,
    params={
        "accept_smaller": Param(
            False,
            type="boolean",
            title="小さいダンプを認める",
            description="大量に削除した後など、前回の半分より小さくても正しいと確認できたときだけ付けます。",
        ),
    },
)
