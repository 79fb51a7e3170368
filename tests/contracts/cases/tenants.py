"""Batches that judge tenants by what the application has written, and the undo of the settings' synchronisation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta

from include.skillreport.core.catalog import INACTIVE_TENANTS, SETTINGS_SYNC, TENANT_MONITORING, TENANT_USAGE
from include.skillreport.core.operation_catalog import UNDO_SETTINGS_SYNC
from tests.contracts.case import PERSON, B, Case, Form, World, refusing
from tests.worlds import host_rows, logins, settings_rows, traffic
from tests.worlds.traffic import HOUR, TEN

DAY = date(2026, 10, 31)

# The values of a form for a batch.
NAMED = {"tenants": ["A", "B"]}


def usage(world: World) -> Form:
    """Each tenant uses almost all of its space."""
    for tenant_id in "ABC":
        host_rows.tenant(world.host, tenant_id, max_storage_gb=1, admin_email=f"admin@{tenant_id}.example.jp")
        person = host_rows.user(world.host, tenant_id, f"user of {tenant_id}")
        host_rows.request(world.host, person, datetime(2026, 10, 31, 3))
        host_rows.report(world.host, tenant_id, datetime(2026, 10, 31, 3), file_size=1_048_576_000)
    return NAMED


def silent_for_60_days(world: World) -> Form:
    for tenant_id in "ABC":
        logins.tenant(world.host, tenant_id, 60)
    return NAMED


def on_a_plan(world: World) -> Form:
    for tenant_id in "ABC":
        settings_rows.tenant(world.host, tenant_id)
        settings_rows.setting(world.host, "limits.max_users", "7", tenant_id)
    return NAMED


def moved_to_another_plan(world: World) -> Form:
    """All three tenants got more in one run."""
    on_a_plan(world)
    settings_rows.run(world.database)
    for tenant_id in "ABC":
        settings_rows.move(world.host, "STANDARD", tenant_id)
    moved = settings_rows.run(world.database, settings_rows.DAY + timedelta(days=1))
    return {"operation": "undo", "execution": moved.execution_id, "reason": "誤った一覧", **NAMED}


def with_many_errors(world: World) -> Form:
    """Each tenant had errors in the last two hours, and the first was seen."""
    for tenant_id in "ABC":
        traffic.tenant(world.host, tenant_id)
        traffic.traffic(world.host, TEN - HOUR, 20, 20, tenant_id=tenant_id)
    traffic.check(world.database, TEN - HOUR)
    for tenant_id in "ABC":
        traffic.traffic(world.host, TEN, 20, 20, tenant_id=tenant_id)
    return NAMED


def break_settings(world: World) -> Callable[[], object]:
    """A setting of tenant B overflows."""
    healthy = host_rows.break_settings_of(world.host, B)

    def repair() -> None:
        world.host.execute(healthy.encode())
        world.host.execute('DELETE FROM "MST_TenantSettings" WHERE tenant_id = %s', [B])

    return repair


CASES = (
    Case(
        TENANT_USAGE,
        "",
        DAY,
        usage,
        frozenset({"batch.outbox", "batch.usage_day", "batch.usage_warning", "public.SYS_TenantUsage"}),
        break_tenant=break_settings,
    ),
    Case(
        INACTIVE_TENANTS,
        "",
        logins.DAY,
        silent_for_60_days,
        frozenset({"batch.inactivity_change", "batch.outbox", "batch.tenant_inactivity"}),
        break_tenant=break_settings,
    ),
    Case(
        SETTINGS_SYNC,
        "",
        settings_rows.DAY,
        on_a_plan,
        frozenset(
            {
                "batch.applied_setting",
                "batch.setting_change",
                "batch.setting_plan",
                "public.MST_TenantSettings",
            }
        ),
        create_batch=lambda world: settings_rows.create_batch,  # noqa: ARG005
        break_tenant=refusing("public.MST_TenantSettings"),
    ),
    Case(
        UNDO_SETTINGS_SYNC,
        "undo",
        settings_rows.DAY,
        moved_to_another_plan,
        frozenset({"batch.applied_setting", "batch.setting_change", "public.MST_TenantSettings"}),
        person=PERSON,
        break_tenant=refusing("public.MST_TenantSettings"),
    ),
    Case(
        TENANT_MONITORING,
        "",
        TEN.date(),
        with_many_errors,
        frozenset({"batch.hourly_measure", "batch.incident", "batch.monitored_tenant"}),
        at=TEN + timedelta(seconds=3),
        break_tenant=break_settings,
    ),
)
