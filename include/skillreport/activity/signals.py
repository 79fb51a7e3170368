"""The users' activity of a day, by tenant. BATCH-018-01 closes the day with it, and BATCH-003 writes statistics from it.

Each run has its own rows in ``batch.usage_signal``. Days are Asia/Tokyo.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import psycopg

from include.skillreport.activity.hours import are_read
from include.skillreport.core.database import Statements
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.execution.business_date import utc_bounds
from include.skillreport.core.execution.people import keep_people
from include.skillreport.core.execution.reconciliation import (
    ASSESSMENTS,
    AUDIT,
    FILES,
    NOTIFICATIONS,
    REPORTS,
    REQUESTS,
    begin_tallies,
    find_sources,
    last_days,
    record_silences,
    remember_days,
)

_SQL = Statements(Path(__file__).parent)

# If one of these logs has no row for a day, the run gets a note.
_LOGS = (REQUESTS, AUDIT)


def collect_signals(platform: psycopg.Connection, run: Run, tenant_ids: Sequence[str]) -> None:
    """Read each host log table at most once and write one ``batch.usage_signal`` row per tenant, in the caller's transaction.

    If the hourly batch has counted the day, the logs are not read, unless a user triggered or cleared the run. Edits of TRN_* rows always
    come from the counted hours if they exist, because the application keeps only the last edit of a row. Also writes
    ``batch.reconciliation``. A figure whose source has never had a row is null.

    :raises ParameterError: the day was closed with API calls, but the request log has no rows of it any more. The closed day does not
    change.
    """
    bounds = utc_bounds(run.business_date)
    keep_people(platform)
    sources = find_sources(platform)
    begin_tallies(platform, run.execution_id)
    is_counted = are_read(platform, bounds, again_after=bounds.end)
    _SQL.execute(
        platform,
        "collect_signals",
        execution_id=run.execution_id,
        business_date=run.business_date,
        day_start=bounds.start,
        day_end=bounds.end,
        tenant_ids=list(tenant_ids),
        reads_logs=run.is_repeated or not is_counted,
        reads_edits=not is_counted,
        has_requests=REQUESTS in sources,
        has_files=any(each in sources for each in FILES),
        has_reports=REPORTS in sources,
        has_assessments=ASSESSMENTS in sources,
        has_notifications=NOTIFICATIONS in sources,
    )
    if REQUESTS in _record_silences(platform, run, sources):
        _require_no_calls(platform, run, tenant_ids)


def remember_logs(platform: psycopg.Connection, run: Run, day: date) -> frozenset[str]:
    """Record the day (Asia/Tokyo) of the rows that the run has read from the logs. Returns the logs from which it has read rows."""
    seen = _SQL.column(platform, "sources_of_the_day", execution_id=run.execution_id)
    remember_days(platform, [source for source in _LOGS if source in seen], day)
    return frozenset(seen)


def _require_no_calls(platform: psycopg.Connection, run: Run, tenant_ids: Sequence[str]) -> None:
    """Reject a closed day whose rows BATCH-002 has deleted from the request log. A recount would give 0."""
    (calls,) = _SQL.row(
        platform, "closed_calls", business_date=run.business_date, tenant_ids=list(tenant_ids)
    )
    if calls:
        raise ParameterError(
            f"業務日付 {run.business_date} は数え直せません。{REQUESTS} にこの日の行がもうありませんが、"
            f"締め済みの使用量には API 呼び出しが {calls} 件あります。締め済みの値はそのまま残ります。"
        )


def _record_silences(platform: psycopg.Connection, run: Run, sources: frozenset[str]) -> list[str]:
    """Returns the logs that have rows, but none of the day."""
    expected = (*_LOGS, REPORTS, *FILES, ASSESSMENTS, NOTIFICATIONS)
    seen = remember_logs(platform, run, run.business_date)
    silent = [source for source in _LOGS if source in sources and source not in seen]
    record_silences(
        platform,
        run.execution_id,
        [each for each in expected if each not in sources],
        dict.fromkeys(silent) | _last_days(platform, run.business_date, silent),
    )
    return silent


def _last_days(platform: psycopg.Connection, day: date, silent: Sequence[str]) -> dict[str, date]:
    known = last_days(platform, silent, day)
    # If no run until this day has found a row of a log, the entire log is read.
    unknown = [source for source in silent if source not in known]
    if unknown:
        rows = _SQL.execute(platform, "last_rows", sources=unknown, day_end=utc_bounds(day).end)
        for source, last_day in rows.fetchall():
            if last_day is not None:
                remember_days(platform, [source], last_day)
                known[source] = last_day
    return known


def keep_logins(connection: psycopg.Connection, run: Run) -> None:
    """Save the users who logged in, before the application overwrites it. A later run for this day counts these users too."""
    _SQL.execute(connection, "keep_logins", execution_id=run.execution_id, business_date=run.business_date)


def discard_signals(connection: psycopg.Connection, run: Run) -> None:
    """Delete the run's rows: those of the transaction's tenants, or as ``batch_platform`` all of them."""
    _SQL.execute(connection, "discard_signals", execution_id=run.execution_id)
