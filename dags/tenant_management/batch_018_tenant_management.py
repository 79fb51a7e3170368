"""
### 目的
テナント管理バッチ（BATCH-018）を、業務日とテナントを選んでまとめて手動実行します。停止明けの追い付き、新しいテナントの取り込み、
1 テナントだけのやり直しに使います。定期実行は各バッチの DAG が行い、この DAG にスケジュールはありません。

### 処理の流れ
選んだバッチだけが動きます。ほかのバッチを必要とするものはそれを待ち、失敗したら止まります。残りは同時に動きます。
1. `tenant_usage` — BATCH-018-01 テナント使用量集計
2. `inactive_tenants` — BATCH-018-04 非アクティブテナント検知
3. `settings_sync` — BATCH-018-05 テナント設定同期（取り消しは DAG `undo_settings_sync` で）
4. `tenant_monitoring` — BATCH-018-03 テナント状態監視（過ぎた業務日は測るだけで、知らせません）
5. `tenant_billing` — BATCH-018-02 テナント課金計算（業務日の月。まだ終わっていない月なら何もしません。
   承認・取消・返還・再発行は DAG `operate_invoices` で）

### 入力・出力
各バッチの DAG の説明を見てください。
"""

from airflow.sdk import DAG

from skill_batch.batches.tenant_billing import allow_incomplete
from skill_batch.dag_factory import family_dag
from include.skillreport.core.catalog import TENANT_MANAGEMENT

batch_018_tenant_management: DAG = family_dag(
    TENANT_MANAGEMENT, file=__file__, params={"allow_incomplete": allow_incomplete()}
)
