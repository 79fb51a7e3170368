"""A clear does not do a person's operation again: Airflow does not say who cleared it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from include.skillreport.core.operation_catalog import OPERATE_INVOICES
from include.skillreport.operations.operate_invoices import create_batch
from local_stack.batch_runs import LOCAL
from tests.batches.tenant_management.billing_rows import MONTH, customer
from tests.conftest import Database
from tests.failures.flow_run import FlowRun, kill, time_out
from tests.operations.test_extra_lines import entered

LINE = {"line_date": "2026-10-15", "line_text": "特別対応費", "line_price": "9000000", "tenants": ["A"]}
INSTANCE = "operate_invoice[0]"


@pytest.fixture(autouse=True)
def tenant(host: psycopg.Connection) -> None:
    customer(host, "A")


def operated(database: Database, operation: str, **options: Any) -> FlowRun:
    """The operation of the accountant Suzuki."""
    form: dict[str, Any] = {"operation": operation, **LINE}
    if operation == "remove_line":
        del form["line_price"]
    batch = lambda: create_batch(LOCAL)  # noqa: E731
    return FlowRun(database, OPERATE_INVOICES, batch, MONTH, parameters=form, person="suzuki", **options)


@pytest.mark.parametrize("task", ["open_run", INSTANCE])
def test_a_clear_does_not_enter_a_withdrawn_line_again(
    database: Database, host: psycopg.Connection, task: str
) -> None:
    run = operated(database, "extra_line")
    assert not run.has_failed
    assert not operated(database, "remove_line").has_failed
    before = host.execute("SELECT * FROM batch.extra_charge").fetchall()

    run.clear(task)

    assert run.has_failed
    assert host.execute("SELECT * FROM batch.extra_charge").fetchall() == before
    if task == "open_run":
        assert run.kinds == ("operation_cleared",)


@pytest.mark.parametrize("task", ["open_run", INSTANCE])
def test_a_failed_operation_is_started_again_and_not_cleared(
    database: Database, host: psycopg.Connection, task: str
) -> None:
    operated(database, "extra_line")
    run = operated(database, "extra_line")
    assert run.has_failed  # the same line twice
    operated(database, "remove_line")
    before = host.execute("SELECT * FROM batch.extra_charge").fetchall()

    run.clear(task)

    assert run.has_failed
    assert host.execute("SELECT * FROM batch.extra_charge").fetchall() == before
    assert not run.again().has_failed


@pytest.mark.parametrize(("task", "interrupt"), [("open_run", kill), (INSTANCE, kill), (INSTANCE, time_out)])
def test_an_interrupted_instance_may_end_its_work(
    database: Database, host: psycopg.Connection, task: str, interrupt: Callable[[], None]
) -> None:
    run = operated(database, "extra_line", before={task: interrupt})
    assert entered(host) == []

    if task == INSTANCE:
        run.clear()
    else:
        run.retry(task)

    assert not run.has_failed
    assert len(entered(host)) == 1
