"""The result that an alert reads if close_run was killed is the one that close_run would have reported."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import psycopg
import pytest

from skill_batch.batch_flow import failure_alert
from skill_batch.notifiers.failure_alert import is_closing
from skill_batch.notifiers.recorded_result import RecordedResult, recorded_result
from include.skillreport.core.catalog import TENANT_USAGE
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.execution.run_log import (
    RunResult,
    close_execution,
    mark_reopened,
    open_execution,
)
from include.skillreport.core.execution.shard_log import fail_shard
from include.skillreport.core.execution.sharding import Shard
from tests.conftest import Database
from tests.worlds import host_rows

TENANTS = ("T001", "T002", "T003")
KILLED = "close_run: 強制終了"


@pytest.fixture
def platform(shared_database: Database) -> Iterator[psycopg.Connection]:
    with shared_database.connect() as host:
        for tenant_id in TENANTS:
            host_rows.tenant(host, tenant_id)
    with shared_database.connect("batch_platform") as connection:
        yield connection


def opened(platform: psycopg.Connection) -> Run:
    shards = {Shard(number, tenant_id): [tenant_id] for number, tenant_id in enumerate(TENANTS)}
    day = date(2026, 10, 31)
    return open_execution(
        platform,
        TENANT_USAGE,
        dag_id="dag",
        run_id="run",
        business_date=day,
        run_date=day,
        dry_run=False,
        parameters={},
        shards=shards,
    )


def succeed(platform: psycopg.Connection, *tenant_ids: str) -> None:
    platform.execute(
        "UPDATE batch.tenant_outcome SET status = 'success' WHERE tenant_id = ANY(%s)", [list(tenant_ids)]
    )


def recorded(platform: psycopg.Connection) -> RecordedResult:
    result = recorded_result(platform, "dag", "run", TENANT_USAGE.id, KILLED)
    assert result is not None
    return result


def listed(result: RecordedResult | RunResult) -> tuple[object, ...]:
    """What the alert shows of the result, without the error of close_run and the words about a killed task."""
    alert = failure_alert(TENANT_USAGE).of_result(None, result, ())
    lines = tuple(line for line in alert.lines if not line.startswith("ほかのエラー"))
    return (
        lines,
        [tenant.partition(": タスクが結果を残さずに止まりました")[0] for tenant in alert.tenants],
        alert.actions,
    )


def test_the_list_is_the_same_before_and_after_close_run(
    platform: psycopg.Connection,
) -> None:
    run = opened(platform)
    succeed(platform, "T001")
    fail_shard(platform, run, 1, ValueError("理由"))

    before = recorded(platform)
    closed = close_execution(platform, run)
    after = recorded(platform)

    # T003 was killed, so it has no outcome.
    assert [tenant.code for tenant in before.failed_tenants] == ["T002", "T003"]
    assert listed(before) == listed(closed) == listed(after)
    assert before.error == KILLED


def test_a_run_whose_tenants_have_all_failed_has_failed(platform: psycopg.Connection) -> None:
    run = opened(platform)

    assert recorded(platform).status == "failed" == close_execution(platform, run).status


def test_a_run_without_failed_tenants_has_the_reason_of_its_closed_row(platform: psycopg.Connection) -> None:
    run = opened(platform)
    succeed(platform, *TENANTS)
    assert (recorded(platform).status, recorded(platform).recorded_reason) == ("completed", None)

    close_execution(platform, run, SettingsError("保管先がいっぱいです"))

    assert (recorded(platform).status, recorded(platform).recorded_reason) == (
        "partial",
        "保管先がいっぱいです",
    )

    # A cleared run has another reason, which is not known yet.
    mark_reopened(platform, run)
    assert recorded(platform).recorded_reason is None


def test_without_a_row_or_a_database_there_is_no_result(platform: psycopg.Connection) -> None:
    assert recorded_result(platform, "dag", "run", TENANT_USAGE.id, KILLED) is None
    assert recorded_result(None, "dag", "run", TENANT_USAGE.id, KILLED) is None
    opened(platform)
    platform.close()
    assert recorded_result(platform, "dag", "run", TENANT_USAGE.id, KILLED) is None


@pytest.mark.parametrize(
    ("failed_tasks", "expected"),
    [
        (["close_run"], True),
        (["tenant_usage.aggregate_usage_3", "tenant_usage.close_run"], True),
        (["request_approval", "close_run"], True),
        (["read_logs", "close_run"], False),
        (["open_run", "close_run"], False),
        (["aggregate_usage_3"], False),
        ([], False),
    ],
)
def test_the_outcomes_are_listed_only_if_nothing_before_the_shards_has_failed(
    failed_tasks: list[str], expected: bool
) -> None:
    assert is_closing(failed_tasks, "aggregate_usage") is expected
