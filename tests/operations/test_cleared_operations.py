"""A clear does not do a person's operation again: Airflow does not say who cleared it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg
import pytest

from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.operation_catalog import OPERATE_INVOICES
from local_stack.batch_runs import LocalInstallation
from tests.conftest import Database
from tests.worlds.billing_rows import MONTH, close_month, customer, entered_lines, run_billing
from tests.worlds.flow_run import FlowRun, kill, time_out

LINE = {"line_date": "2026-10-15", "line_text": "特別対応費", "line_price": "9000000", "tenants": ["A"]}
CLOSE, INSTANCE = "close_run", "operate_invoice[0]"


@pytest.fixture(autouse=True)
def tenant(host: psycopg.Connection) -> None:
    customer(host, "A")


def operated(database: Database, operation: str, **options: Any) -> FlowRun:
    """The operation of the accountant Suzuki."""
    form: dict[str, Any] = {"operation": operation, **LINE}
    if operation == "remove_line":
        del form["line_price"]
    return FlowRun(database, OPERATE_INVOICES, MONTH, parameters=form, person="suzuki", **options)


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
    assert entered_lines(host) == []

    if task == INSTANCE:
        run.clear()
    else:
        run.retry(task)

    assert not run.has_failed
    assert len(entered_lines(host)) == 1


def handed_over(database: Database, store: ObjectStore, **options: Any) -> FlowRun:
    """The hand-over of October by the accountant Suzuki. ``close_run`` does it."""
    form = {"operation": "hand_over", "accounting_month": "2026-10-01"}
    return FlowRun(
        database,
        OPERATE_INVOICES,
        MONTH,
        LocalInstallation(object_store=store),
        form,
        datetime(2026, 11, 1, 10, tzinfo=JAPAN),
        person="suzuki",
        **options,
    )


def months(host: psycopg.Connection) -> list[tuple[Any, ...]]:
    return host.execute("SELECT month FROM batch.accounting_month").fetchall()


def test_a_clear_of_close_run_does_not_hand_a_month_over(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "B", months=())
    run_billing(database, store=store)
    run = handed_over(database, store)
    assert run.has_failed  # the month of B is not invoiced
    close_month(host, "B")
    run_billing(database, codes=["B"], store=store)

    run.clear(CLOSE)

    assert run.kinds == ("operation_cleared",)
    assert run.kinds_on_the_board == ("operation_cleared",)
    assert months(host) == []
    assert not run.again().has_failed
    assert months(host) == [(MONTH,)]


def test_a_retry_of_a_killed_close_run_hands_the_month_over(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    run_billing(database, store=store)
    run = handed_over(database, store, before={CLOSE: kill})
    assert months(host) == []

    run.retry(CLOSE)

    assert not run.has_failed
    assert months(host) == [(MONTH,)]
