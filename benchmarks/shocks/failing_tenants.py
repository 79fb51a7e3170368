"""BATCH-018-01 never ran, so all 5,000 tenants fail in billing: what the operators and Airflow get must not grow with them.

After the days are closed, each is billed once.
"""

from __future__ import annotations

import logging
from datetime import date, datetime, time
from functools import partial

import psycopg

from benchmarks.measurement import connected, measure, own_stack, run_once
from benchmarks.place import Found, Place
from benchmarks.scale_world import World
from benchmarks.shocks.world import SQL, SQL_OF_BENCHMARKS
from benchmarks.through_airflow import board_of, plant_stack
from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.execution.shard_work import UnitsFailedError
from local_stack.batch_runs import LocalInstallation, request_of
from local_stack.local_run import LocalRun

_MONTH = date(2026, 10, 1)
_RUN_AT = datetime.combine(date(2026, 11, 1), time(2), JAPAN)
_RUN_ID = "shock"
_PAGES = ("/", f"/batches/{TENANT_BILLING.id}", f"/runs/{TENANT_BILLING.dag_id}/{_RUN_ID}", "/tenants")
_LONGEST_REASON = 500
# The most bytes of each.
_BOUNDS = {
    "result": 50_000,
    "alert": 20_000,
    "HTTP": 20_000,
    "Teams": 28_000,
    "shard error": 5_000,
    "log": 20_000,
    "board": 500_000,
}


class _LogSize(logging.Handler):
    """The bytes of the lines that a task logs."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.bytes = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.bytes += len(record.getMessage().encode()) + 1


def bill(dsn: str, month: date) -> dict[str, int]:
    """Bill a month without a closed day, as the DAG's tasks do; returns the bytes of what it leaves, and the number of failures."""
    logger = logging.getLogger("include")
    logger.setLevel(logging.INFO)
    errors, logs = [], []
    with connected(dsn) as (platform, connection):
        request = request_of(TENANT_BILLING, month, run_at=_RUN_AT, run_id=_RUN_ID)
        run = LocalRun(TENANT_BILLING, request, LocalInstallation(platform, connection, moment=_RUN_AT))
        for task in run.tasks():
            logger.addHandler(size := _LogSize())
            try:
                run.do(task)
            except UnitsFailedError as error:
                errors.append(len(str(error).encode()))
                size.bytes += errors[-1]
            logger.removeHandler(size)
            logs.append(size.bytes)
    assert run.closed is not None
    sizes = {"shard error": max(errors), "log": max(logs), "failed": run.closed.result.error_count}
    return sizes | _messages(run.closed.result)


def _messages(result: RunResult) -> dict[str, int]:
    """The bytes of the alert and of its bodies over HTTP."""
    # The plug-ins set up Airflow when they are imported.
    from skill_batch.batch_flow import failure_alert
    from skill_batch.notifiers.http_bodies import json_body, teams_body

    alert = failure_alert(TENANT_BILLING).of_result(None, result, ())
    return {
        "alert": len(alert.as_text().encode()),
        "HTTP": len(json_body(alert, "shock")),
        "Teams": len(teams_body(alert)),
    }


def _bill_closed_days(dsn: str) -> tuple[int, int]:
    """Close the days and bill twice; returns the number of invoices, and of the tenants that have one."""
    with psycopg.connect(dsn) as connection:
        SQL_OF_BENCHMARKS.execute(connection, "billing_month")
    for _ in range(2):
        measure(partial(run_once, TENANT_BILLING), dsn, _MONTH)
    with psycopg.connect(dsn) as connection:
        billed = [
            tenant for tenant, *_ in SQL_OF_BENCHMARKS.execute(connection, "issued_invoices").fetchall()
        ]
    return len(billed), len(set(billed))


def measurement(place: Place) -> Found:
    """Each is below its bound, and all tenants have their outcome."""
    tenants = place.size(5_000, 200)
    found = Found(f"{tenants:,} failing tenants", "result 50 kB, alert 20 kB, page 500 kB")
    with own_stack("shock-stack-") as stack:
        dsn = stack.admin_dsn()
        plant_stack(stack, World(tenants, users=1, requests=1_000))
        measured = measure(bill, dsn, _MONTH)
        sizes = measured.value
        with psycopg.connect(dsn) as connection:
            (sizes["result"],) = SQL.column(connection, "result_bytes")
            ((code, outcomes, reason),) = SQL.execute(connection, "failures_by_code").fetchall()
            unbilled = not SQL_OF_BENCHMARKS.execute(connection, "issued_invoices").fetchall()
        with board_of(stack) as client:
            pages = [client.get(f"/skill-batch-board{page}").raise_for_status() for page in _PAGES]
        # The largest of the board's pages about the run.
        sizes["board"] = max(len(page.content) for page in pages)
        billed = _bill_closed_days(dsn)
    found.seconds, found.peak_memory_bytes = measured.seconds, measured.peak_memory_bytes
    found.result = ", ".join(f"{name} {sizes[name] / 1000:.1f} kB" for name in _BOUNDS)
    found.require(outcomes == sizes["failed"] == tenants, f"{outcomes} tenants have an outcome")
    found.require(code == "USAGE_NOT_CLOSED" and "2026-10-01" in reason, f"{code}: {reason}"[:200])
    found.require(len(reason) <= _LONGEST_REASON, "a reason is too long")
    found.require(unbilled, "an invoice without a closed day")
    found.require(billed == (tenants, tenants), f"then {billed[0]} invoices of {billed[1]} tenants")
    for name, bound in _BOUNDS.items():
        found.require(sizes[name] <= bound, f"{name} has more than {bound:,} bytes")
    return found
