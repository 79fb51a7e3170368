"""What people did on a day, counted once for all who ask: BATCH-018-01 closes the day with it, BATCH-003 makes statistics of it.

The rows of ``batch.usage_signal`` are a run's own. Days are Asia/Tokyo.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psycopg

from include.database import read_sql
from include.execution.business_date import utc_bounds
from include.execution.tenant_work import Run

_HERE = Path(__file__).parent

# Sorting a large log on disk costs more than this much of the server's memory, once per run.
_COLLECT_WORK_MEM = "256MB"


def collect_signals(platform: psycopg.Connection, run: Run, tenant_ids: Sequence[str]) -> None:
    """Inside the caller's transaction: read every host log table once and leave one ``batch.usage_signal`` row per tenant."""
    bounds = utc_bounds(run.business_date)
    platform.execute("SELECT set_config('work_mem', %s, true)", [_COLLECT_WORK_MEM])
    platform.execute(
        read_sql(_HERE, "collect_signals"),
        {
            "execution_id": run.execution_id,
            "business_date": run.business_date,
            "day_start": bounds.start,
            "day_end": bounds.end,
            "tenant_ids": list(tenant_ids),
        },
    )


def keep_logins(connection: psycopg.Connection, run: Run) -> None:
    """Remember who logged in, before the application overwrites it: whoever counts the day later counts them too."""
    connection.execute(
        read_sql(_HERE, "keep_logins"),
        {"execution_id": run.execution_id, "business_date": run.business_date},
    )


def use_up_signals(connection: psycopg.Connection, run: Run) -> None:
    """Delete the rows of the transaction's tenants, of all of the run's as ``batch_platform``."""
    connection.execute(read_sql(_HERE, "use_up_signals"), {"execution_id": run.execution_id})
