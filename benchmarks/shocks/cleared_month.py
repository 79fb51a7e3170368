"""Last month's runs are cleared after this month's are done: usage, statistics, billing and the monthly reports."""

from __future__ import annotations

from datetime import date, timedelta
from time import perf_counter

import psycopg

from benchmarks.scale_world import LAST_DAY, World
from benchmarks.shocks.night import Night, fingerprint, run_night
from benchmarks.shocks.world import SQL, Found, Place, Services, give_workspaces
from include.skillreport.core.catalog import MONTHLY_REPORT, STATISTICS, TENANT_BILLING, TENANT_USAGE
from local_stack.stand_ins import StandIns

_LAST_MONTH, _THIS_MONTH = date(2026, 9, 30), LAST_DAY
_RUNS = (TENANT_USAGE, STATISTICS, TENANT_BILLING, MONTHLY_REPORT)


def _run_month(night: Night, last_day: date, found: Found, *, is_cleared: bool = False) -> None:
    for spec in _RUNS:
        result, _ = run_night(
            night, spec.id, clears=0, day=last_day, run_id=f"scheduled {last_day}", attempt=int(is_cleared)
        )
        found.require(result.status == "completed", result.sentence()[:200])


def shock(place: Place) -> Found:
    """No row of either month changes, and nothing is billed twice."""
    tenants = place.size(200, 12)
    found = Found(f"{tenants} tenants, 4 runs of a month", "no row changes, 1 invoice a month")
    start = perf_counter()
    with StandIns() as stand_ins:
        # The logs reach back to the last day of the last month.
        dsn = place.plant("cleared", World(tenants, users=5, days=32, requests=20 * tenants))
        give_workspaces(dsn, stand_ins.slack_base_url)
        with psycopg.connect(dsn) as connection:
            SQL.execute(connection, "closed_days", first=_LAST_MONTH.replace(day=1), last=_LAST_MONTH)
            SQL.execute(
                connection, "closed_days", first=_THIS_MONTH.replace(day=1), last=_THIS_MONTH - timedelta(1)
            )
        night = Night(dsn, Services.of(stand_ins), place.folder)
        for last_day in (_LAST_MONTH, _THIS_MONTH):
            _run_month(night, last_day, found)
        before = fingerprint(dsn)
        _run_month(night, _LAST_MONTH, found, is_cleared=True)
        after = fingerprint(dsn)
    with psycopg.connect(dsn) as connection:
        invoices, months = SQL.row(connection, "invoices_of_months")
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    found.seconds = perf_counter() - start
    found.result = f"{invoices} invoices of {months} months, changed tables: {', '.join(changed) or 'none'}"
    found.require(invoices == months == 2 * tenants, "a month is billed twice or not at all")
    found.require(not changed, f"{changed} changed")
    return found
