"""The users' activity of a day, by tenant. BATCH-018-01 closes the day with it, and BATCH-003 writes statistics from it.

Each run has its own rows in ``batch.usage_signal``. Days are Asia/Tokyo.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psycopg

from include.database import Statements
from include.execution.batch import Run
from include.execution.business_date import utc_bounds

_SQL = Statements(Path(__file__).parent)

# Once per run. With less memory PostgreSQL sorts a large log on disk, which is slow.
_COLLECT_WORK_MEM = "256MB"


def collect_signals(platform: psycopg.Connection, run: Run, tenant_ids: Sequence[str]) -> None:
    """Read each host log table once and write one ``batch.usage_signal`` row per tenant, in the caller's transaction."""
    bounds = utc_bounds(run.business_date)
    platform.execute("SELECT set_config('work_mem', %s, true)", [_COLLECT_WORK_MEM])
    _SQL.execute(
        platform,
        "collect_signals",
        execution_id=run.execution_id,
        business_date=run.business_date,
        day_start=bounds.start,
        day_end=bounds.end,
        tenant_ids=list(tenant_ids),
    )


def keep_logins(connection: psycopg.Connection, run: Run) -> None:
    """Keep who logged in, before the application overwrites it. A later run for this day counts these users too."""
    _SQL.execute(connection, "keep_logins", execution_id=run.execution_id, business_date=run.business_date)


def discard_signals(connection: psycopg.Connection, run: Run) -> None:
    """Delete the run's rows: those of the transaction's tenants, or as ``batch_platform`` all of them."""
    _SQL.execute(connection, "discard_signals", execution_id=run.execution_id)
