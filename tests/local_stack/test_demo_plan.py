"""The plan of the demo: every batch is in it, and no run starts before what it needs."""

from __future__ import annotations

import pytest

from include.skillreport.core.catalog import (
    BATCHES,
    DATA_BACKUP,
    EXTERNAL_SYNC,
    MONTHLY_REPORT,
    NOTIFICATION_RETRY,
    SCHEDULED_NOTIFICATIONS,
    STATISTICS,
    TENANT_BILLING,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from include.skillreport.core.operation_catalog import RESTORE_BACKUP
from include.skillreport.core.run_spec import RunSpec
from local_stack.demo.runs import DEMO_RUNS, DemoRun, ready_runs, runs_of


def test_every_batch_is_in_the_plan() -> None:
    assert {run.spec for run in DEMO_RUNS} == {*BATCHES, RESTORE_BACKUP}


def test_one_run_starts_as_the_real_command() -> None:
    assert len([run for run in DEMO_RUNS if run.by_command]) == 1


def test_files_of_runs_have_different_names() -> None:
    assert len({run.name for run in DEMO_RUNS}) == len(DEMO_RUNS)


def test_two_runs_must_fail() -> None:
    assert [run.spec for run in DEMO_RUNS if run.must_fail] == [EXTERNAL_SYNC, NOTIFICATION_RETRY]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (DATA_BACKUP, RESTORE_BACKUP),
        (TENANT_USAGE, TENANT_BILLING),
        (STATISTICS, TENANT_BILLING),
        (STATISTICS, MONTHLY_REPORT),
        (TENANT_BILLING, SCHEDULED_NOTIFICATIONS),
        (SCHEDULED_NOTIFICATIONS, NOTIFICATION_RETRY),
        (EXTERNAL_SYNC, TENANT_MONITORING),
        (SCHEDULED_NOTIFICATIONS, TENANT_MONITORING),
        (TENANT_MONITORING, NOTIFICATION_RETRY),
    ],
)
def test_a_batch_waits_for_the_results_that_it_needs(first: RunSpec, then: RunSpec) -> None:
    everything_else = {run for run in DEMO_RUNS if run.spec not in (first, then)}
    waiting = [run for run in DEMO_RUNS if run.spec in (first, then)]

    assert {run.spec for run in ready_runs(waiting, everything_else)} == {first}


def test_the_runs_of_a_batch_start_one_after_the_other() -> None:
    nine, ten = runs_of(TENANT_MONITORING)

    others = set(DEMO_RUNS) - {nine, ten}
    assert ready_runs([nine, ten], others) == [nine]
    assert ready_runs([ten], others) == []
    assert ready_runs([ten], {nine, *others}) == [ten]


def test_every_run_becomes_ready() -> None:
    ended: list[DemoRun] = []
    while ready := ready_runs([run for run in DEMO_RUNS if run not in ended], set(ended)):
        ended.append(ready[-1])
    assert set(ended) == set(DEMO_RUNS)


def test_a_run_ends_well_as_the_demo_data_make_it() -> None:
    (sync,), (retry,), (usage,) = map(runs_of, (EXTERNAL_SYNC, NOTIFICATION_RETRY, TENANT_USAGE))

    assert [sync.ended_well(0), sync.ended_well(1)] == [False, True]
    assert [retry.ended_well(0), retry.ended_well(1)] == [True, True]
    assert [usage.ended_well(0), usage.ended_well(1)] == [True, False]
