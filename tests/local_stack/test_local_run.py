"""A run without Airflow, with real rows: it walks the plan, and fails as a run of Airflow does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from include.skillreport.core.catalog import TENANT_BILLING
from local_stack.batch_runs import LocalInstallation, request_of
from local_stack.local_run import KilledError, LocalRun, name_of
from tests.conftest import Database
from tests.worlds.billing_rows import MONTH, customer

STEPS = ["open_run", "wait_for_usage", "bill_tenant[0]", "request_approval", "close_run", "announce"]


@pytest.fixture
def run(database: Database, host: psycopg.Connection) -> LocalRun:
    """A run of BATCH-018-02 for one tenant, with a connection for each step."""
    customer(host, "A")

    @contextmanager
    def connect(role: str, _: timedelta) -> Iterator[psycopg.Connection]:
        with database.connect(role) as connection:
            yield connection

    request = request_of(TENANT_BILLING, MONTH)
    return LocalRun(TENANT_BILLING, request, LocalInstallation(connect=connect, moment=request.run_at))


def test_a_local_run_does_each_step_of_the_plan_in_order(run: LocalRun) -> None:
    done: list[str] = []
    run.before = {name: lambda name=name: done.append(name) for name in STEPS}  # type: ignore[misc]
    run.fakes = {"announce": lambda each: done.append(each.run.execution_id)}

    run.execute()

    assert [name_of(task) for task in run.tasks()] == STEPS
    assert done == [*STEPS, run.run.execution_id]
    assert run.closed is not None
    assert (run.closed.result.status, run.failed) == ("completed", {})


def _refuse(_: object) -> None:
    raise TimeoutError("the usage is late")


def _kill() -> None:
    raise KilledError


@pytest.mark.parametrize(
    ("broken", "alerts", "status"),
    [
        ({"fakes": {"wait_for_usage": _refuse}}, ["wait_for_usage", "close_run"], "failed"),
        ({"before": {"bill_tenant[0]": _kill}}, ["close_run"], "failed"),
        ({"before": {"close_run": _kill}}, [], None),
    ],
    ids=["a step fails", "an instance is killed", "close_run is killed"],
)
def test_a_local_run_that_fails_is_closed_and_its_clear_ends_it(
    run: LocalRun, broken: dict[str, Any], alerts: list[str], status: str | None
) -> None:
    alerted: list[str] = []
    run.alert = lambda name, _: alerted.append(name)
    for name, value in broken.items():
        setattr(run, name, value)

    run.execute()

    assert (alerted, run.closed and run.closed.result.status) == (alerts, status)

    run.fakes = {}
    run.clear()

    assert run.closed is not None
    assert (run.closed.result.status, run.failed) == ("completed", {})
