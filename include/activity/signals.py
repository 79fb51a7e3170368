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
from include.execution.people import keep_people
from include.execution.reconciliation import (
    ASSESSMENTS,
    AUDIT,
    FILES,
    NOTIFICATIONS,
    REPORTS,
    REQUESTS,
    begin_tallies,
    find_sources,
    record_silences,
)

_SQL = Statements(Path(__file__).parent)

# The logs of which a day without any row is worth a remark.
_LOGS = (REQUESTS, AUDIT)


def collect_signals(platform: psycopg.Connection, run: Run, tenant_ids: Sequence[str]) -> None:
    """Read each host log table once and write one ``batch.usage_signal`` row per tenant, in the caller's transaction.

    Also writes ``batch.reconciliation``. A figure whose source has never had a row is null.
    """
    bounds = utc_bounds(run.business_date)
    sources = find_sources(platform)
    begin_tallies(platform, run.execution_id)
    keep_people(platform)
    _SQL.execute(
        platform,
        "collect_signals",
        execution_id=run.execution_id,
        business_date=run.business_date,
        day_start=bounds.start,
        day_end=bounds.end,
        tenant_ids=list(tenant_ids),
        has_requests=REQUESTS in sources,
        has_files=any(each in sources for each in FILES),
        has_reports=REPORTS in sources,
        has_assessments=ASSESSMENTS in sources,
        has_notifications=NOTIFICATIONS in sources,
    )
    _record_silences(platform, run, sources)


def _record_silences(platform: psycopg.Connection, run: Run, sources: frozenset[str]) -> None:
    expected = (*_LOGS, REPORTS, *FILES, ASSESSMENTS, NOTIFICATIONS)
    seen = {
        source for (source,) in _SQL.execute(platform, "sources_of_the_day", execution_id=run.execution_id)
    }
    silent = [source for source in _LOGS if source in sources and source not in seen]
    last_days = (
        _SQL.execute(
            platform, "last_rows", sources=silent, day_end=utc_bounds(run.business_date).end
        ).fetchall()
        if silent
        else []
    )
    record_silences(
        platform,
        run.execution_id,
        [each for each in expected if each not in sources],
        {source: day for source, day in last_days if source in silent},
    )


def keep_logins(connection: psycopg.Connection, run: Run) -> None:
    """Keep who logged in, before the application overwrites it. A later run for this day counts these users too."""
    _SQL.execute(connection, "keep_logins", execution_id=run.execution_id, business_date=run.business_date)


def discard_signals(connection: psycopg.Connection, run: Run) -> None:
    """Delete the run's rows: those of the transaction's tenants, or as ``batch_platform`` all of them."""
    _SQL.execute(connection, "discard_signals", execution_id=run.execution_id)
