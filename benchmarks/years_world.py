"""Years of the batches' own rows, created inside the database, in addition to the tenants of ``benchmarks.scale_world``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path

import psycopg

from include.skillreport.batches.log_cleanup.settings import LogCleanupSettings
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.business_date import JAPAN

_SQL = Statements(Path(__file__).parent)

TODAY = date(2026, 11, 1)
"""The business date of the clean-up (Asia/Tokyo), the day after the last one with rows."""

_MIDNIGHT = datetime.combine(TODAY, datetime.min.time(), JAPAN)

# The clean-up runs every week, so a table holds rows for up to this many days more than its retention.
_WEEK = 7


@dataclass(frozen=True)
class Years:
    """The number of days with rows: of runs and messages, of hours, and the maximum of each table that keeps years."""

    tenants: int
    log_days: int
    hour_days: int
    year_days: int


def years_of(tenants: int, years: int) -> Years:
    """The rows after this many years with the default retention, just before the weekly clean-up."""
    return Years(tenants, LogCleanupSettings.load().row_days.execution_log + _WEEK, 35, years * 365)


def month_of(tenants: int) -> Years:
    """The rows of one month."""
    return Years(tenants, 30, 30, 30)


def plant_years(dsn: str, world: Years, *, until: datetime = _MIDNIGHT) -> None:
    """Insert the rows before this hour. ``MST_Tenant`` has the tenants already."""
    kept = LogCleanupSettings.load().row_days
    about = asdict(world) | {
        "until": until,
        "login_days": kept.login_day + _WEEK,
        "statistics_days": kept.statistics + _WEEK,
        "group_days": kept.statistics_group + _WEEK,
        "change_days": kept.setting_change + _WEEK,
        "directory_days": kept.directory_change + _WEEK,
        "warning_days": kept.usage_warning + _WEEK,
    }
    blocks = ("years_runs", "years_measures", "years_days", "years_messages", "years_histories")
    # The blocks have several statements, so the client fills in the parameters.
    with psycopg.connect(dsn, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute("SET timezone = 'Asia/Tokyo'")
        for block in blocks:
            _SQL.execute(connection, block, **about)
        connection.execute("VACUUM ANALYZE")
