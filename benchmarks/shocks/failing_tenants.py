"""5,000 tenants fail in one run: what the operators and Airflow get must not grow with them."""

from __future__ import annotations

import json
import logging
import os
from datetime import date, datetime, time
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.board import signed_in
from benchmarks.measurement import connected, measure, own_stack
from benchmarks.scale_world import World
from benchmarks.shocks.world import SQL, Found, Place
from benchmarks.through_airflow import plant_stack
from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.execution.shard_work import UnitsFailedError
from local_stack.airflow_processes import API_SERVER, COMMANDS, SupervisedAirflow
from local_stack.batch_runs import LocalInstallation, request_of
from local_stack.local_run import LocalRun
from local_stack.stack import LocalStack

_MONTH = date(2026, 10, 1)
_RUN_AT = datetime.combine(date(2026, 11, 1), time(2), JAPAN)
_RUN_ID = "shock"
_PAGES = ("/", f"/batches/{TENANT_BILLING.id}", f"/runs/{TENANT_BILLING.dag_id}/{_RUN_ID}", "/tenants")
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


def bill(folder: Path, dsn: str, month: date) -> None:
    """Bill a month without a closed day, as the DAG's tasks do; write the bytes of what it leaves to ``folder``."""
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
    found = {"shard error": max(errors), "log": max(logs), **_messages(run.closed.result)}
    found["failed"] = run.closed.result.error_count
    Path(folder, "sizes.json").write_text(json.dumps(found))


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


def _board_bytes(stack: LocalStack) -> int:
    """The largest of the board's pages about the run."""
    stack.prepare_airflow()
    stack.airflow("dags", "reserialize")
    commands = {API_SERVER: COMMANDS[API_SERVER]}
    with (
        SupervisedAirflow(
            os.environ | stack.environment(), stack.directory, lambda _: None, commands=commands
        ),
        signed_in(f"http://127.0.0.1:{stack.ports.ui}") as client,
    ):
        return max(len(client.get(f"/skill-batch-board{page}").raise_for_status().content) for page in _PAGES)


def shock(place: Place) -> Found:
    """Each is below its bound, and all tenants have their outcome."""
    tenants = place.size(5_000, 200)
    found = Found(f"{tenants:,} failing tenants", "result 50 kB, alert 20 kB, page 500 kB")
    with own_stack("shock-stack-") as stack:
        dsn = stack.admin_dsn()
        plant_stack(stack, World(tenants, users=1, requests=1_000))
        measured = measure(partial(bill, place.folder), dsn, _MONTH)
        sizes = json.loads(Path(place.folder, "sizes.json").read_text())
        with psycopg.connect(dsn) as connection:
            (sizes["result"],) = SQL.column(connection, "result_bytes")
            (outcomes,) = SQL.column(connection, "failed_outcomes")
        sizes["board"] = _board_bytes(stack)
    found.seconds, found.peak_memory_bytes = measured.seconds, measured.peak_memory_bytes
    found.result = ", ".join(f"{name} {sizes[name] / 1000:.1f} kB" for name in _BOUNDS)
    found.require(outcomes == sizes["failed"] == tenants, f"{outcomes} tenants have an outcome")
    for name, bound in _BOUNDS.items():
        found.require(sizes[name] <= bound, f"{name} has more than {bound:,} bytes")
    return found
