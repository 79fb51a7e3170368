"""
### 目的
テナント管理バッチ（BATCH-018）を、業務日とテナントを選んでまとめて手動実行します。停止明けの追い付き、新しいテナントの取り込み、
1 テナントだけのやり直しに使います。定期実行は各バッチの DAG が行い、この DAG にスケジュールはありません。

### 処理の流れ
選んだバッチだけが、依存の順に動きます。失敗したバッチを必要とする後続だけが止まります。
1. `tenant_usage` — BATCH-018-01 テナント使用量集計
2. `inactive_tenants` — BATCH-018-04 非アクティブテナント検知
3. `settings_sync` — BATCH-018-05 テナント設定同期（取り消しはこのバッチ自身の DAG で）
4. `tenant_monitoring` — BATCH-018-03 テナント状態監視（過ぎた業務日は測るだけで、知らせません）
5. `tenant_billing` — BATCH-018-02 テナント課金計算（業務日の月。まだ終わっていない月なら何もしません。
   取消・返還・承認・再発行はこのバッチ自身の DAG で）

### 入力・出力
各バッチの DAG の説明を見てください。

### 障害対応
* **朝まで待てるか**: 手動実行なので、実行した人が判断します。
* **どこを見るか**: 赤いグループの中の `process`。インスタンス名がテナントコードです。
* **再実行**: 失敗した `process` のインスタンスだけを下流ごと消去（Clear）。
"""

# (Airflow only parses files in which the words "airflow" and "dag" occur.)
from include.catalog import (
    INACTIVE_TENANTS,
    SETTINGS_SYNC,
    TENANT_BILLING,
    TENANT_MANAGEMENT,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from skill_batch.billing_params import incomplete_param
from skill_batch.dag_factory import batch_group, family_dag
from skill_batch.run_watch import watch_runs_and_read_logs
from skill_batch.sensors.closed_usage import wait_for_closed_usage
from skill_batch.tenant_flow import tenant_flow


@family_dag(
    TENANT_MANAGEMENT,
    [TENANT_USAGE, INACTIVE_TENANTS, SETTINGS_SYNC, TENANT_MONITORING, TENANT_BILLING],
    doc_md=__doc__,
    params=incomplete_param(),
)
def batch_018_tenant_management() -> None:
    """The family's batches in dependency order."""
    with batch_group(TENANT_USAGE) as usage:
        tenant_flow(TENANT_USAGE)
    with batch_group(TENANT_BILLING) as billing:
        tenant_flow(TENANT_BILLING, first_steps=wait_for_closed_usage)
    with batch_group(INACTIVE_TENANTS) as inactive:
        tenant_flow(INACTIVE_TENANTS)
    with batch_group(SETTINGS_SYNC):
        tenant_flow(SETTINGS_SYNC)
    with batch_group(TENANT_MONITORING):
        tenant_flow(TENANT_MONITORING, first_steps=watch_runs_and_read_logs)
    usage >> [inactive, billing]
