"""BATCH-003: a day's statistics per tenant, and its skills by category and department without small groups."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from include.skillreport.activity.hours import await_day
from include.skillreport.activity.signals import collect_signals, discard_signals, keep_logins
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.batch import StagingBatch, UnitResult, Work
from include.skillreport.core.execution.business_date import utc_bounds
from include.skillreport.core.small_groups import SMALLEST_GROUP

_SQL = Statements(Path(__file__).parent)

# A certificate that ends within this many days is expiring.
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


class StatisticsBatch(StagingBatch):
    """The steps of BATCH-003; see ``include.skillreport.core.execution.batch``."""

    states = frozenset(_DETAILS)

    staging_table = "statistics_signal"

    def await_others(self, work: Work) -> None:
        """Wait for the hourly batch, which starts at the same time and counts the day's last hour."""
        await_day(work.connection, utc_bounds(work.run.business_date))

    def prepare(self, work: Work) -> None:
        """Read every host table once and write one ``batch.statistics_signal`` row per tenant, with small groups merged or omitted.

        BATCH-018-01's statement counts users, logins and API calls, so that both batches have equal figures.
        """
        collect_signals(work.connection, work.run, work.tenant_ids)
        bounds = utc_bounds(work.run.business_date)
        _SQL.execute(
            work.connection,
            "collect_signals",
            execution_id=work.run.execution_id,
            business_date=work.run.business_date,
            expiring_until=work.run.business_date + timedelta(days=EXPIRING_DAYS),
            day_start=bounds.start,
            day_end=bounds.end,
            smallest_group=SMALLEST_GROUP,
            tenant_ids=list(work.tenant_ids),
        )

    def process(self, work: Work) -> list[UnitResult]:
        """Save the tenants' day and its groups, and the users who logged in."""
        day = {"execution_id": work.run.execution_id, "business_date": work.run.business_date}
        keep_logins(work.connection, work.run)
        _SQL.execute(work.connection, "save_day", **day)
        _SQL.execute(work.connection, "delete_groups", **day)
        _SQL.execute(work.connection, "save_groups", **day)
        rows = _SQL.rows(work.connection, "load_day", **day)
        self.discard(work)
        return [_result(row) for row in rows]

    def discard(self, work: Work) -> None:
        """Delete the staging rows of both statements."""
        discard_signals(work.connection, work.run)
        super().discard(work)


def _result(row: dict[str, Any]) -> UnitResult:
    coverage = row["coverage_rate"]
    details = {name: row[name] for name in _DETAILS} | {
        "coverageRate": None if coverage is None else f"{coverage:.1f}"
    }
    return UnitResult(row["tenant_id"], details, records=row["skill_records"] + (row["api_calls"] or 0))
