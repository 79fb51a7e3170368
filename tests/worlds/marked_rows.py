"""Rows that the application has marked as deleted, and runs of BATCH-002 that delete them, on Sunday, 22 November 2026."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from itertools import count
from typing import Any

import psycopg
import pytest
from psycopg import sql

from include.skillreport.batches.log_cleanup.batch import MARKED, LogCleanupBatch
from include.skillreport.batches.log_cleanup.settings import LogCleanupSettings, MarkedRowSettings
from include.skillreport.core.catalog import LOG_CLEANUP
from include.skillreport.core.execution.batch import Outcome, Work
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.schema.deploy import CLEANUP, PLATFORM
from include.skillreport.schema.host_contract import HostVariant
from local_stack.batch_runs import LocalInstallation, open_run
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.shared_database import delete_rows, shareable_copy

SUNDAY = date(2026, 11, 22)

OLD = datetime(2026, 7, 1, 3, 4, 5, 678_000)

SKILLS = "TRN_SkillRecord"
_ids = count(1)


@pytest.fixture(scope="module")
def with_deletion(deletable_templates: dict[HostVariant, Database]) -> Iterator[Database]:
    """An installation with deletion, for all tests of the file."""
    template = deletable_templates[HostVariant.MULTI_TENANT]
    with shareable_copy(template.server, template.name) as copy:
        yield copy


@pytest.fixture
def deletable(with_deletion: Database) -> Iterator[Database]:
    """An installation with deletion and a closed September, tenants A and B with a person each."""
    with with_deletion.connect() as host:
        for tenant_id in "AB":
            host_rows.tenant(host, tenant_id)
            host_rows.user(host, tenant_id, f"{tenant_id.lower()}1")
        close_month(host, date(2026, 9, 1))
    yield with_deletion
    delete_rows(with_deletion)


@pytest.fixture
def rows(deletable: Database) -> Iterator[psycopg.Connection]:
    """A superuser, to plant rows with and to read results from."""
    with deletable.connect() as connection:
        yield connection


def close_month(host: psycopg.Connection, month: date) -> None:
    host.execute(
        "INSERT INTO batch.accounting_month (month, handed_over_by, execution_id, files) VALUES (%s, 'x', 'x', '[]')",
        [month],
    )


def planted(
    host: psycopg.Connection,
    person: str = "a1",
    at: datetime | None = OLD,
    table: str = SKILLS,
    row_id: str = "",
    **values: Any,
) -> str:
    """A row that the application has marked as deleted at this time (UTC); returns its id."""
    row_id = row_id or f"row_{next(_ids):05}"
    keys = {
        SKILLS: {"skill_item_id": row_id},
        "TRN_SkillEvidence": {"evidence_id": row_id},
        "TRN_GoalProgress": {"goal_id": row_id},
        "TRN_PDU": {"pdu_id": row_id},
        "TRN_ProjectRecord": {"project_record_id": row_id},
        "TRN_TrainingHistory": {"training_history_id": row_id},
    }
    values = {
        "employee_id": person,
        "tenant_id": "default",
        "is_deleted": True,
        "created_by": person,
        "updated_by": person,
        "updated_at": at,
        **keys.get(table, {}),
        **values,
    }
    host_rows.insert(host, table, id=row_id, **values)
    return row_id


def ids(host: psycopg.Connection, table: str = SKILLS) -> set[str]:
    return {row for (row,) in host.execute(sql.SQL("SELECT id FROM {}").format(sql.Identifier(table)))}


def switched_on(
    platform: psycopg.Connection, cleanup: psycopg.Connection, store: ObjectStore
) -> LogCleanupBatch:
    settings = LogCleanupSettings.load().model_copy(
        update={"marked_rows": MarkedRowSettings(enabled=True, days=90, archive_days=365)}
    )
    installation = LocalInstallation(platform, object_store=store, cleanup_connection=cleanup)
    return LogCleanupBatch(settings, installation)


def clean(
    database: Database,
    store: ObjectStore,
    *,
    dry_run: bool = False,
    day: date = SUNDAY,
) -> dict[str, Outcome]:
    """One run of the units of marked rows."""
    with database.connect(PLATFORM) as platform, database.connect(CLEANUP) as cleanup:
        batch = switched_on(platform, cleanup, store)
        run, unit_ids = open_run(platform, LOG_CLEANUP, batch, day, dry_run=dry_run)
        outcomes: dict[str, Outcome] = {}
        for unit_id in unit_ids:
            if unit_id.startswith(MARKED):
                outcomes[unit_id] = batch.process_unit(Work(run, platform), unit_id)
    return outcomes


def many(host: psycopg.Connection, number: int) -> set[str]:
    """Old marked rows of A."""
    host.execute(
        """
        INSERT INTO "TRN_SkillRecord" (
            id, employee_id, skill_item_id, tenant_id, is_deleted, created_by, updated_by, updated_at
        )
        SELECT 'n' || number, 'a1', 'n' || number, 'default', true, 'a1', 'a1', '2026-07-01' FROM generate_series(1, %s) AS number
        """,
        [number],
    )
    return ids(host)
