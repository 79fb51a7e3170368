"""No statement of a usual hour, day or week reads a whole growing table of the batches."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from skill_batch.board.pages.overview import load_overview
from benchmarks.scale_world import TODAY, Years, plant_years
from include.skillreport.activity import hours
from include.skillreport.batches import (
    inactive_tenants,
    log_cleanup,
    notification_retry,
    statistics,
    tenant_monitoring,
    tenant_usage,
)
from include.skillreport.core.catalog import (
    BATCHES,
    FAMILIES,
    INACTIVE_TENANTS,
    LOG_CLEANUP,
    NOTIFICATION_RETRY,
    STATISTICS,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from include.skillreport.core.database import Statements, sql_blocks
from include.skillreport.core.execution import run_log, shard_log
from include.skillreport.core.execution.batch import Batch, Run, Work
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.operation_catalog import OPERATIONS
from include.skillreport.core.run_spec import BatchSpec
from include.skillreport.messaging import outbox
from include.skillreport.messaging.retry import Status
from include.skillreport.schema.host_contract import HostVariant
from local_stack.batch_runs import LOCAL, LocalInstallation, run_batch
from tests.conftest import Database, Server, copied_database
from tests.needs import need
from tests.schema.statement_plans import INCLUDE, Statement, explain, index_names, reads
from tests.worlds.outbox_rows import claim_due

_SQL = Statements(Path(__file__).parents[2] / "benchmarks")

GROWING = frozenset(
    (
        "activity_hour",
        "directory_change",
        "hourly_measure",
        "incident",
        "login_day",
        "outbox",
        "setting_change",
        "statistics_day",
        "statistics_group",
        "tenant_outcome",
        "usage_day",
        "usage_warning",
    )
)
"""Tables whose rows are as many as tenants times hours or days."""

LAST_DAY = TODAY - timedelta(days=1)

# More than 100 tenants, so that a shard has several.
WORLD = Years(tenants=120, log_days=20, hour_days=20, year_days=250)
MIDNIGHT = datetime.combine(TODAY, datetime.min.time(), JAPAN)

Found = dict[str, set[str]]
"""The tables that a statement has read as a whole, by the beginning of its text."""


@pytest.fixture(scope="module")
def years(server: Server, templates: dict[HostVariant, str]) -> Iterator[Database]:
    with copied_database(server, templates[HostVariant.MULTI_TENANT], "own_plans") as database:
        with psycopg.connect(
            database.dsn, autocommit=True, cursor_factory=psycopg.ClientCursor
        ) as connection:
            _SQL.execute(connection, "scale_tenants", tenants=WORLD.tenants)
        plant_years(database.dsn, WORLD)
        with database.connect() as connection:
            # Tenants failed yesterday and ten days ago: each hour looks whether a later run has succeeded.
            for batch_id, day in (("BATCH-003", LAST_DAY), ("BATCH-018-01", LAST_DAY - timedelta(days=10))):
                connection.execute(
                    "UPDATE batch.execution_log SET status = 'partial', error_count = 99"
                    " WHERE batch_id = %s AND business_date = %s",
                    [batch_id, day],
                )
                connection.execute(
                    "UPDATE batch.tenant_outcome SET status = 'failed', error_message = 'x'"
                    " WHERE tenant_id BETWEEN 'tenant-000001' AND 'tenant-000099' AND execution_id ="
                    " (SELECT execution_id FROM batch.execution_log WHERE batch_id = %s AND business_date = %s)",
                    [batch_id, day],
                )
        yield database


class Plans:
    """The tables that the statements of a connection have read as a whole. ``statements`` counts all that used a growing table."""

    def __init__(self, database: Database, role: str) -> None:
        self.whole: Found = {}
        self.statements = 0
        self.connection = database.connect()
        # A partial index holds only the rows that a statement asks for, such as the unfinished ones.
        partial = self.connection.execute(
            "SELECT indexrelid::regclass::text FROM pg_index WHERE indpred IS NOT NULL"
        ).fetchall()
        self._partial = {name.removeprefix("batch.") for (name,) in partial}
        try:
            self.connection.execute("LOAD 'auto_explain'")
        except psycopg.Error as error:
            need(None, f"this server has no auto_explain: {error}")
        for name, value in {
            "auto_explain.log_min_duration": "0",
            "auto_explain.log_level": "notice",
            "auto_explain.log_format": "json",
        }.items():
            self.connection.execute("SELECT set_config(%s, %s, false)", [name, value])
        self.connection.add_notice_handler(self._note)
        self.connection.execute(f"SET ROLE {role}".encode())

    def _note(self, notice: psycopg.errors.Diagnostic) -> None:
        found = re.match(r"duration: .*? plan:\n(.*)", notice.message_primary or "", re.DOTALL)
        if found is None:
            return
        explained = json.loads(found[1])
        read = dict(_reads(explained["Plan"], self._partial))
        self.statements += bool(GROWING & read.keys())
        whole = {table for table, is_whole in read.items() if is_whole} & GROWING
        if whole:
            self.whole.setdefault(explained["Query Text"][:200], set()).update(whole)


def _reads(plan: dict[str, Any], partial: set[str]) -> Iterator[tuple[str, bool]]:
    """Tables and whether they are read as a whole. If a table is read twice, one whole read is enough."""
    found: dict[str, bool] = {}
    for table, is_whole in reads(_without(plan, partial)):
        found[table] = found.get(table, False) or is_whole
    yield from found.items()


def _without(plan: dict[str, Any], partial: set[str]) -> dict[str, Any]:
    """The plan, with a condition for each scan of a partial index."""
    children = [_without(child, partial) for child in plan.get("Plans", ())]
    condition = {"Index Cond": "partial"} if plan.get("Index Name") in partial else {}
    return {**plan, **condition, "Plans": children}


@contextmanager
def plans(database: Database, *roles: str) -> Iterator[list[Plans]]:
    """Connections with these roles. No statement on them may read a growing table as a whole, and some must read one."""
    watched = [Plans(database, role) for role in roles]
    try:
        yield watched
        assert sum(each.statements for each in watched) > 0
        assert {text: tables for each in watched for text, tables in each.whole.items()} == {}
    finally:
        for each in watched:
            each.connection.close()


@pytest.mark.slow("needs many rows")
@pytest.mark.parametrize(
    ("spec", "batch", "run_at"),
    [
        (TENANT_MONITORING, tenant_monitoring.create_batch(LOCAL), MIDNIGHT),
        (TENANT_MONITORING, tenant_monitoring.create_batch(LOCAL), MIDNIGHT + timedelta(hours=1)),
        (TENANT_USAGE, tenant_usage.create_batch(LOCAL), MIDNIGHT + timedelta(hours=1)),
        (INACTIVE_TENANTS, inactive_tenants.create_batch(LOCAL), MIDNIGHT + timedelta(hours=4)),
        (STATISTICS, statistics.create_batch(LOCAL), MIDNIGHT + timedelta(hours=1)),
        (NOTIFICATION_RETRY, notification_retry.create_batch(LOCAL), MIDNIGHT + timedelta(minutes=30)),
    ],
    ids=lambda value: value.id if isinstance(value, BatchSpec) else "",
)
def test_a_run_looks_its_rows_up(
    years: Database, spec: BatchSpec, batch: Batch, run_at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    # BATCH-003 would wait two minutes for the hourly pass that runs beside it: here none does.
    monkeypatch.setattr(hours, "_PATIENCE", timedelta(0))
    with plans(years, "batch_platform", "batch_tenant") as (platform, tenants):
        result = run_batch(platform.connection, tenants.connection, spec, batch, LAST_DAY, run_at=run_at)
        assert result.total_tenants == WORLD.tenants
        run = Run(result.execution_id, LAST_DAY, LAST_DAY, options={"all_tenants": True}, run_at=run_at)
        digest = getattr(batch, "digest", None)
        if digest:
            digest(Work(run, platform.connection))
        shard_log.fail_shard(platform.connection, run, 0, ValueError())
        run_log.close_execution(platform.connection, run)


def test_the_groups_of_a_new_day_are_looked_up_by_tenant(
    server: Server, templates: dict[HostVariant, str]
) -> None:
    statement = Statement({"execution_id": "e", "business_date": TODAY}, role="batch_tenant")
    text = sql_blocks(INCLUDE / "batches" / "statistics")["delete_groups"]
    with copied_database(server, templates[HostVariant.MULTI_TENANT], "new_day") as database:
        with database.connect() as owner:
            # The planner knows each of these dates, and expects no row of a new one.
            owner.execute(
                "INSERT INTO batch.statistics_group"
                " SELECT 't' || tenant, %s::date - day, 'category', 'c', false, null, 5, 5, 5, 5, 0, 0, 0, 0"
                " FROM generate_series(1, 1500) AS tenant, generate_series(1, 33) AS day",
                [TODAY],
            )
            owner.execute("ANALYZE batch.statistics_group")
        with database.connect(statement.role) as connection:
            assert "statistics_group_pkey" in index_names(explain(connection, text, statement))


@pytest.mark.slow("needs many rows")
def test_the_weekly_clean_up_finds_old_rows_by_an_index(years: Database) -> None:
    cleanup = log_cleanup.create_batch(LocalInstallation())
    with plans(years, "batch_platform") as (platform,):
        # A week's rows are old: those of the first days.
        run = Run("clean-up", TODAY + timedelta(days=90 - WORLD.log_days + 2), TODAY)
        outcomes = [
            cleanup.process_unit(Work(run, platform.connection), f"rows/{name}")
            for name in log_cleanup.rows.ROW_CLASSES
        ]
        assert LOG_CLEANUP in BATCHES
        assert sum(outcome.details["rowsDeleted"] for outcome in outcomes) > WORLD.tenants


@pytest.mark.slow("needs many rows")
def test_messages_are_claimed_by_an_index(years: Database) -> None:
    with plans(years, "batch_tenant") as (tenants,):
        now, statuses = datetime(2026, 12, 1, tzinfo=UTC), [Status.PENDING, Status.RETRY]
        lanes = outbox.due_lanes(tenants.connection, ["tenant-000001", "tenant-000002"], statuses, now)
        assert len(lanes) == 2
        assert outbox.has_due(tenants.connection, lanes[0], statuses, started_at=now, now=now)
        claimed = claim_due(
            tenants.connection, lanes[0], statuses, count=3, owner="test", due_before=now, now=now
        )
        assert len(claimed) == 3


@pytest.mark.slow("needs many rows")
def test_the_boards_overview_reads_single_runs(years: Database) -> None:
    stopped = {
        "dag_id": BATCHES[0].dag_id,
        "dag_run_id": "scheduled__stopped",
        "run_after": MIDNIGHT.isoformat(),
        "triggering_user_name": None,
        "conf": None,
    }
    with plans(years, "batch_board") as (board,):
        overview = load_overview(
            board.connection,
            BATCHES,
            OPERATIONS,
            {family.dag_id for family in FAMILIES},
            [stopped],
            MIDNIGHT.astimezone(UTC),
        )
        assert any(batch.newest for batch in overview.night.batches)
        assert sum(day.row is not None for batch in overview.night.batches for day in batch.days) > len(
            BATCHES
        )
