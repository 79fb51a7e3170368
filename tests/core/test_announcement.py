"""What a closed run announces: nothing unless it is complete, and whether it is repeated."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest

from include.skillreport.core.catalog import (
    BATCHES,
    TENANT_BILLING,
    TENANT_USAGE,
)
from include.skillreport.core.execution import flow
from include.skillreport.core.execution.announcement import Announcement, announcement_of
from include.skillreport.core.execution.batch import Run, TenantBatch, UnitFailure, UnitResult, Work
from include.skillreport.core.execution.flow import RunRequest
from include.skillreport.core.execution.openings import TaskKey
from include.skillreport.core.execution.sharding import Shard
from include.skillreport.core.version import VERSION
from local_stack.batch_runs import LocalInstallation
from tests.worlds import host_rows

NIGHT = datetime(2026, 11, 1, 1, 30, tzinfo=UTC)


class Plain(TenantBatch):
    """Succeeds for every tenant, but for those in ``failing``."""

    failing: tuple[str, ...] = ()

    def process(self, work: Work) -> list[UnitResult | UnitFailure]:
        return [
            UnitFailure(tenant_id, "X", "壊れています", recoverable=False)
            if tenant_id in self.failing
            else UnitResult(tenant_id, {}, 3)
            for tenant_id in work.tenant_ids
        ]


class Silent(Plain):
    """Has made nothing for others."""

    def announces(self, run: Run) -> bool:
        return run.dry_run


@pytest.fixture
def installation(
    host: psycopg.Connection, platform: psycopg.Connection, connection: psycopg.Connection
) -> LocalInstallation:
    """With two tenants, T1 and T2."""
    for tenant_id in ("T1", "T2"):
        host_rows.tenant(host, tenant_id)
    return LocalInstallation(platform, connection, moment=NIGHT)


def opened(
    installation: LocalInstallation, batch: Plain, run_id: str = "r", **parameters: Any
) -> tuple[Run, list[Shard]]:
    request = RunRequest(TENANT_USAGE.dag_id, run_id, NIGHT, parameters)
    return flow.open_run(TENANT_USAGE, batch, request, installation)


def closed(installation: LocalInstallation, batch: Plain, run: Run, shards: list[Shard]) -> None:
    """Process the shards, or those that were cleared, and close the run."""
    for shard in shards:
        flow.process_shard(TENANT_USAGE, batch, run, shard, installation, TaskKey("process", shard.number))
    flow.close_run(TENANT_USAGE, batch, run, installation)


def complete(installation: LocalInstallation, run_id: str = "r", **parameters: Any) -> Run:
    """A run that is closed with all its tenants."""
    run, shards = opened(installation, Plain(), run_id, **parameters)
    closed(installation, Plain(), run, shards)
    return run


def announced(installation: LocalInstallation, run: Run, batch: Plain | None = None) -> Announcement | None:
    return announcement_of(TENANT_USAGE, batch or Plain(), run, installation)


def is_repeated(installation: LocalInstallation, run: Run) -> bool:
    announcement = announced(installation, run)
    assert announcement is not None
    return bool(announcement.facts["repeated"])


def test_a_complete_run_is_announced_with_its_day_and_counts(installation: LocalInstallation) -> None:
    run = complete(installation)

    assert announced(installation, run) == Announcement(
        "2026-10-31",
        {
            "repeated": False,
            "tenants": 2,
            "records": 6,
            "execution_id": run.execution_id,
            "version": VERSION,
        },
    )


def test_a_monthly_batch_announces_the_month() -> None:
    day = date(2026, 10, 1)
    assert TENANT_BILLING.partition_key(day) == "2026-10"
    assert {spec.partition_key(day) for spec in BATCHES} == {"2026-10", "2026-10-01"}


@pytest.mark.parametrize("parameters", [{"dry_run": True}, {"tenants": ["T1"]}, {"tenants": ["T1", "T2"]}])
def test_dry_runs_and_runs_for_named_tenants_are_not_announced(
    installation: LocalInstallation, parameters: dict[str, Any]
) -> None:
    assert announced(installation, complete(installation, **parameters)) is None


def test_neither_an_open_run_nor_an_incomplete_one_is_announced(installation: LocalInstallation) -> None:
    batch = Plain()
    run, shards = opened(installation, batch)
    assert announced(installation, run) is None

    batch.failing = ("T2",)
    closed(installation, batch, run, shards)
    assert announced(installation, run) is None


def test_a_batch_that_has_made_nothing_for_others_is_silent(installation: LocalInstallation) -> None:
    assert announced(installation, complete(installation), Silent()) is None


def test_a_run_complete_after_a_clear_is_announced_as_new(
    installation: LocalInstallation,
) -> None:
    batch = Plain()
    batch.failing = ("T2",)
    run, shards = opened(installation, batch)
    closed(installation, batch, run, shards)

    batch.failing = ()
    flow.process_shard(TENANT_USAGE, batch, run, shards[1], installation, TaskKey("process", 1))
    # A cleared tenant is worked on: the row still has the earlier result.
    assert announced(installation, run) is None
    flow.close_run(TENANT_USAGE, batch, run, installation)
    # The process that announced was killed before Airflow knew, and the next one announces the same closing.
    assert [is_repeated(installation, run) for _ in range(2)] == [False, False]

    closed(installation, batch, run, shards[1:])
    assert [is_repeated(installation, run) for _ in range(2)] == [True, True]


def test_another_run_of_the_day_is_repeated(
    installation: LocalInstallation,
) -> None:
    unannounced = complete(installation, "one")
    first = complete(installation, "two")
    assert is_repeated(installation, first) is False

    assert is_repeated(installation, complete(installation, "three")) is True
    # It was complete before the second run was announced.
    assert is_repeated(installation, unannounced) is False
    other_day = complete(installation, "four", business_date="2026-10-30")
    assert is_repeated(installation, other_day) is False


def test_a_run_whose_records_were_deleted_is_not_announced(
    host: psycopg.Connection, installation: LocalInstallation
) -> None:
    run = complete(installation)
    host.execute("DELETE FROM batch.tenant_outcome; DELETE FROM batch.execution_log")

    assert announced(installation, run) is None
