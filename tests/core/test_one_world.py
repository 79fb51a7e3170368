"""One world, written as the application writes it and in three cleaner ways: which spelling a row uses changes no figure."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, LiteralString

import pytest
from psycopg import sql

from include.skillreport.batches import inactive_tenants, statistics, tenant_monitoring, tenant_usage
from include.skillreport.batches.data_backup.ownership import find_owners, tenant_contents
from include.skillreport.core.catalog import (
    INACTIVE_TENANTS,
    STATISTICS,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from include.skillreport.core.execution.batch import Batch
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.run_spec import BatchSpec
from include.skillreport.schema.host_contract import HostVariant
from local_stack.batch_runs import LOCAL, run_batch
from local_stack.generator import DataShape, Spelling, load_demo_data
from tests.conftest import Database, Server, copied_database

LAST_DAY = date(2026, 10, 31)
SPELLINGS: tuple[Spelling, ...] = ("mixed", "user_id", "code", "employee_id")

# The batches' rows about people, by tenant; without the writer and the time.
FIGURES: dict[LiteralString, LiteralString] = {
    "usage_day": "closed_by, closed_at",
    "statistics_day": "recorded_by, recorded_at",
    "statistics_group": "group_name",
    "login_day": "login_date",
    "tenant_inactivity": "entered_by",
    "hourly_measure": "hour_at",
}


def shape(spelling: Spelling, variant: HostVariant) -> DataShape:
    return DataShape(
        tenants=1 if variant is HostVariant.BASE else 4,
        users_per_tenant=12,
        first_day=LAST_DAY - timedelta(days=2),
        days=3,
        requests_per_day=400,
        spelling=spelling,
        odd_tenants=False,
    )


def run_everything(database: Database) -> None:
    """The batches that count people, for the last day."""
    batches: list[tuple[BatchSpec, Batch]] = [
        (TENANT_USAGE, tenant_usage.create_batch(LOCAL)),
        (STATISTICS, statistics.create_batch(LOCAL)),
        (INACTIVE_TENANTS, inactive_tenants.create_batch(LOCAL)),
        (TENANT_MONITORING, tenant_monitoring.create_batch(LOCAL)),
    ]
    with database.working() as (platform, connection):
        for spec, batch in batches:
            evening = datetime(2026, 10, 31, 18, tzinfo=JAPAN) if spec is TENANT_MONITORING else None
            result = run_batch(platform, connection, spec, batch, LAST_DAY, run_at=evening)
            assert result.status == "completed", result.sentence()


def figures(database: Database) -> dict[str, list[Any]]:
    """All rows of FIGURES, as JSON without the columns that name a run."""
    with database.connect() as connection:
        return {
            table: connection.execute(
                sql.SQL(
                    "SELECT to_jsonb(kept) - string_to_array({}, ', ') FROM batch.{} AS kept ORDER BY to_jsonb(kept)::text"
                ).format(sql.Literal(ignored), sql.Identifier(table))
            ).fetchall()
            for table, ignored in FIGURES.items()
        }


def exports(database: Database) -> dict[str, dict[str, int]]:
    """How many rows of the host's tables each tenant's export would hold."""
    with database.connect() as connection, connection.transaction():
        tables = [owned for owned in find_owners(connection) if owned.table.schema == "public"]
        tenants = connection.execute('SELECT tenant_id FROM "MST_Tenant"').fetchall()
        return {
            tenant_id: {
                content.name: content.rows for _, content in tenant_contents(connection, tables, tenant_id)
            }
            for (tenant_id,) in tenants
        }


@pytest.mark.slow("needs many rows")
@pytest.mark.parametrize("variant", HostVariant)
def test_which_spelling_a_row_uses_changes_no_figure(
    server: Server, templates: dict[HostVariant, str], variant: HostVariant
) -> None:
    found: dict[str, dict[str, list[Any]]] = {}
    exported = {}
    for spelling in SPELLINGS:
        with copied_database(server, templates[variant], f"world {spelling}") as database:
            with database.connect() as host:
                load_demo_data(host, shape(spelling, variant), variant)
            exported[spelling] = exports(database)
            run_everything(database)
            found[spelling] = figures(database)

    reference = found["employee_id"]
    assert all(reference.values())
    for spelling in SPELLINGS:
        assert exported[spelling] == exported["employee_id"], spelling
        for table, rows in reference.items():
            assert found[spelling][table] == rows, (spelling, table)
