"""Batches that work tenant by tenant on what the application has written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime

from include.skillreport.core.catalog import TENANT_USAGE
from tests import host_rows
from tests.contracts.case import B, Case, Form, World

DAY = date(2026, 10, 31)


def usage(world: World) -> Form:
    for tenant_id in "ABC":
        host_rows.tenant(world.host, tenant_id)
        person = host_rows.user(world.host, tenant_id, f"user of {tenant_id}")
        host_rows.request(world.host, person, datetime(2026, 10, 31, 3))
    return {"tenants": ["A", "B"]}


def break_settings(world: World) -> Callable[[], object]:
    """A setting of tenant B overflows."""
    healthy = host_rows.break_settings_of(world.host, B)

    def mend() -> None:
        world.host.execute(healthy.encode())
        world.host.execute('DELETE FROM "MST_TenantSettings" WHERE tenant_id = %s', [B])

    return mend


CASES = (
    Case(
        TENANT_USAGE,
        "",
        DAY,
        usage,
        frozenset({"batch.usage_day", "public.SYS_TenantUsage"}),
        break_tenant=break_settings,
    ),
)
