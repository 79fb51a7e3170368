"""Rows of any size, created inside the database: the application's tenants, people and days of logs, and years of the batches' own rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from include.skillreport.batches.log_cleanup.settings import LogCleanupSettings
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.business_date import JAPAN, utc_bounds
from include.skillreport.schema.deploy import upgrade
from include.skillreport.schema.host_contract import HostVariant
from local_stack.host_fixture import create_host_schema
from local_stack.postgres_server import EmbeddedPostgres

_SQL = Statements(Path(__file__).parent)

LAST_DAY = date(2026, 10, 31)
TODAY = date(2026, 11, 1)
"""The business date of the clean-up (Asia/Tokyo), the day after the last one with rows."""

_MIDNIGHT = datetime.combine(TODAY, datetime.min.time(), JAPAN)

# The clean-up runs every week, so a table holds rows for up to this many days more than its retention.
_WEEK = 7


@dataclass(frozen=True)
class World:
    """The size of the data. The last day (Asia/Tokyo) is ``LAST_DAY``; ``requests`` is the number of request log rows per day.

    The audit log has a fifth of them. With ``skew``, half of the requests are those of the first tenant.
    """

    tenants: int
    users: int = 20
    days: int = 1
    requests: int = 100_000
    skew: bool = False

    @property
    def people(self) -> int:
        """Employees with an account."""
        return self.tenants * self.users


def plant(server: EmbeddedPostgres, name: str, world: World) -> str:
    """Create a database with these data and schema ``batch``; returns the connection string of its owner."""
    with psycopg.connect(server.admin_dsn(), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    dsn = server.admin_dsn(name)
    plant_host(dsn, world)
    upgrade(dsn)
    vacuum(dsn)
    return dsn


def plant_host(dsn: str, world: World) -> None:
    """Create the application's tables and rows in an empty database."""
    about = {
        "tenants": world.tenants,
        "users": world.users,
        "people": world.people,
        "requests": world.requests,
        "skew": world.skew,
        "last_day": utc_bounds(LAST_DAY).start,
    }
    # The blocks have several statements, so the client fills in the parameters.
    with psycopg.connect(dsn, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        create_host_schema(connection, HostVariant.MULTI_TENANT)
        for block in ("scale_tenants", "scale_people", "scale_possessions"):
            _SQL.execute(connection, block, **about)
        for number in reversed(range(world.days)):
            day = LAST_DAY - timedelta(days=number)
            _SQL.execute(connection, "scale_day", **about, day_start=utc_bounds(day).start)


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


def vacuum(dsn: str) -> None:
    """Collect the planner's statistics, as autovacuum does in production."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
