"""Rows of any size for the benchmarks, created inside the database: tenants, people, and days of logs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from benchmarks.measurement import vacuum
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.business_date import utc_bounds
from include.skillreport.schema.deploy import upgrade
from include.skillreport.schema.host_contract import HostVariant
from local_stack.host_fixture import create_host_schema
from local_stack.postgres_server import EmbeddedPostgres

_SQL = Statements(Path(__file__).parent)

LAST_DAY = date(2026, 10, 31)


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
            _plant_day(connection, LAST_DAY - timedelta(days=number), about)


def _plant_day(connection: psycopg.Connection, day: date, about: Mapping[str, object]) -> None:
    _SQL.execute(connection, "scale_day", **about, day_start=utc_bounds(day).start)
