"""Another team's DAG: counts the active users of a day when the batches have closed it."""

from datetime import date

from airflow.sdk import Asset, PartitionedAssetTimetable, dag, get_current_context, task

USAGE_DAY = Asset.ref(name="skill_report_usage_day")


@dag(schedule=PartitionedAssetTimetable(assets=USAGE_DAY))
def usage_follower() -> None:
    @task
    def count_users() -> dict[str, int]:
        from skill_batch.hooks.billing import BillingHook
        from skill_batch.hooks.tenant_db import TenantDbHook

        context = get_current_context()
        if not context["partition_key"]:
            raise ValueError("Trigger this DAG with a partition key: the day, for example 2026-10-01")
        day = date.fromisoformat(context["partition_key"])
        # A run that a person triggers has no event, and an event that a person makes in Airflow has no extra.
        events = context["triggering_asset_events"][USAGE_DAY]
        is_repeated = any(event.extra.get("repeated") for event in events)
        print(day, "was closed again" if is_repeated else "is closed")
        tenant_ids = [tenant.id for tenant in BillingHook().billable_tenants(day)]
        with TenantDbHook().transaction(tenant_ids) as connection:
            rows = connection.execute(
                "SELECT tenant_id, active_users FROM batch.usage_day WHERE usage_date = %s", [day]
            )
            return dict(rows.fetchall())

    count_users()


usage_follower()
