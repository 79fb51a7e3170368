"""BATCH-003: a day's statistics per tenant, and its skills by category and department without small groups."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from include.activity.signals import collect_signals, keep_logins, use_up_signals
from include.database import read_sql
from include.execution.business_date import utc_bounds
from include.execution.tenant_work import Run, TenantBatch, TenantResult
from include.small_groups import SMALLEST_GROUP

_HERE = Path(__file__).parent

# A certificate that ends within so many days is expiring.
EXPIRING_DAYS = 90

_DETAILS = (
    "users_total",
    "users_active",
    "users_new",
    "logins",
    "api_calls",
    "api_errors",
    "employees",
    "skill_records",
    "revision",
)


class StatisticsBatch(TenantBatch):
    """The steps of BATCH-003; see ``TenantBatch`` for what each must hold to."""

    staging_table = "statistics_signal"

    def prepare(self, platform: psycopg.Connection, run: Run, tenant_ids: Sequence[str]) -> None:
        """Read every host table once and leave one ``batch.statistics_signal`` row per tenant; small groups get no further than this.

        Users, logins and API calls are counted by BATCH-018-01's statement, so that both say the same.
        """
        collect_signals(platform, run, tenant_ids)
        # What the statement has put together so far has no statistics: the planner takes thousands of rows for a few, and would loop
        # over them for each of thousands of others. And compiling so long a statement takes longer than running it.
        for parameter in ("enable_nestloop", "jit"):
            platform.execute("SELECT set_config(%s, 'off', true)", [parameter])
        bounds = utc_bounds(run.business_date)
        platform.execute(
            read_sql(_HERE, "collect_signals"),
            {
                "execution_id": run.execution_id,
                "business_date": run.business_date,
                "expiring_until": run.business_date + timedelta(days=EXPIRING_DAYS),
                "day_start": bounds.start,
                "day_end": bounds.end,
                "smallest_group": SMALLEST_GROUP,
                "tenant_ids": list(tenant_ids),
            },
        )

    def process(
        self,
        connection: psycopg.Connection,
        run: Run,
        tenant_ids: Sequence[str],  # noqa: ARG002 - the transaction's context says it
    ) -> list[TenantResult]:
        """Keep the tenants' day and its groups, and who logged in."""
        day = {"execution_id": run.execution_id, "business_date": run.business_date}
        keep_logins(connection, run)
        connection.execute(read_sql(_HERE, "keep_day"), day)
        connection.execute(read_sql(_HERE, "forget_groups"), day)
        connection.execute(read_sql(_HERE, "keep_groups"), day)
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(read_sql(_HERE, "load_day"), day).fetchall()
        use_up_signals(connection, run)
        connection.execute(read_sql(_HERE, "use_up_signals"), day)
        return [_result(row) for row in rows]

    def discard(self, platform: psycopg.Connection, run: Run) -> None:
        """Delete the staging rows of both statements."""
        use_up_signals(platform, run)
        super().discard(platform, run)


def _result(row: dict[str, Any]) -> TenantResult:
    coverage = row["coverage_rate"]
    details = {name: row[name] for name in _DETAILS} | {
        "coverageRate": None if coverage is None else f"{coverage:.1f}"
    }
    return TenantResult(row["tenant_id"], details, records=row["skill_records"] + row["api_calls"])
