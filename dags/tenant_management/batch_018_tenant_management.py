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

### 障害対応
* **朝まで待てるか**: 手動実行なので、実行した人が判断します。
* **どこを見るか**: 赤いグループの中の、テナントごとのタスク。インスタンス名がテナントコードです。
* **再実行**: 失敗したインスタンスだけを下流ごと消去（Clear）。
"""

from airflow.sdk import chain

from skill_batch.batch_flow import BatchFlow
from skill_batch.batches.tenant_billing import allow_incomplete, wait_for_closed_usage
from skill_batch.batches.tenant_monitoring import watch_runs
from skill_batch.dag_factory import batch_group, family_dag
from include.skillreport.batches import (
    inactive_tenants,
    settings_sync,
    tenant_billing,
    tenant_monitoring,
    tenant_usage,
)
from include.skillreport.core.catalog import (
    INACTIVE_TENANTS,
    SETTINGS_SYNC,
    TENANT_BILLING,
    TENANT_MANAGEMENT,
    TENANT_MONITORING,
    TENANT_USAGE,
)


@family_dag(
    TENANT_MANAGEMENT,
    [
        TENANT_USAGE,
        INACTIVE_TENANTS,
        SETTINGS_SYNC,
        TENANT_MONITORING,
        TENANT_BILLING,
    ],
    doc_md=__doc__,
    params={"allow_incomplete": allow_incomplete()},
)
def batch_018_tenant_management() -> None:
    """The family's batches in dependency order."""
    with batch_group(TENANT_USAGE) as usage_group:
        usage = BatchFlow(TENANT_USAGE, tenant_usage.create_batch)
        run, shards = usage.open_run()
        read_logs = usage.read_logs(run)
        aggregate_usage = usage.mapped_task().partial(run=run).expand(shard=shards)
        chain(read_logs, aggregate_usage, usage.close_run())
    with batch_group(INACTIVE_TENANTS) as inactive_group:
        inactivity = BatchFlow(INACTIVE_TENANTS, inactive_tenants.create_batch)
        run, shards = inactivity.open_run()
        read_logs = inactivity.read_logs(run)
        detect_inactivity = inactivity.mapped_task().partial(run=run).expand(shard=shards)
        chain(read_logs, detect_inactivity, inactivity.close_run())
    with batch_group(SETTINGS_SYNC):
        sync = BatchFlow(SETTINGS_SYNC, settings_sync.create_batch)
        run, shards = sync.open_run()
        sync_settings = sync.mapped_task().partial(run=run).expand(shard=shards)
        chain(sync_settings, sync.close_run())
    with batch_group(TENANT_MONITORING):
        monitoring = BatchFlow(TENANT_MONITORING, tenant_monitoring.create_batch)
        run, shards = monitoring.open_run()
        watched = watch_runs(run)
        read_logs = monitoring.read_logs(run)
        check_tenant = monitoring.mapped_task().partial(run=run).expand(shard=shards)
        chain(watched, read_logs, check_tenant, monitoring.close_run())
    with batch_group(TENANT_BILLING) as billing_group:
        billing = BatchFlow(TENANT_BILLING, tenant_billing.create_batch)
        run, shards = billing.open_run()
        wait_for_usage = wait_for_closed_usage(run)
        bill_tenant = billing.mapped_task().partial(run=run).expand(shard=shards)
        chain(wait_for_usage, bill_tenant, billing.request_approval(), billing.close_run())
    usage_group >> [inactive_group, billing_group]
