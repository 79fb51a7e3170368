"""A run of ``import_payments`` in a separate process, which may be killed at any statement."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.context import ForkServerContext
from pathlib import Path

import psycopg

from include.skillreport.core.execution import flow
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.openings import TaskKey
from include.skillreport.core.execution.sharding import Shard
from include.skillreport.core.operation_catalog import IMPORT_PAYMENTS
from include.skillreport.core.settings import SETTINGS_VARIABLE
from include.skillreport.operations.import_payments import create_batch
from local_stack.batch_runs import LOCAL, LocalInstallation
from tests.conftest import Database
from tests.messaging.statement_proxy import StatementProxy
from tests.waiting import wait_until

# The connections' name in pg_stat_activity.
APPLICATION = "killed import"

_CONTEXT = ForkServerContext()
# A worker is a fork of a process that has imported all this.
_CONTEXT.set_forkserver_preload(["pytest", __name__])


@dataclass(frozen=True)
class Kill:
    """The number of the statement, and whether it is executed before the worker is killed. 0: never."""

    statement: int = 0
    is_after: bool = False


@dataclass(frozen=True)
class Worked:
    """The result of a worker."""

    statements: int
    was_killed: bool


def work(database: Database, folder: Path, run: Run, tenants: int, kill: Kill) -> Worked:
    """Do the steps of an opened run of so many tenants in a worker, with the store in ``folder``, and kill it unless it ends before."""
    proxy = StatementProxy(database.dsn, stop_at=kill.statement, after=kill.is_after)
    with proxy.listening(APPLICATION) as dsn:
        arguments = (dsn, os.environ[SETTINGS_VARIABLE], folder, run, tenants)
        worker = _CONTEXT.Process(target=_process, args=arguments, daemon=True)
        worker.start()
        wait_until(
            lambda: proxy.stopped.is_set() or not worker.is_alive(), f"the worker ends or comes to {kill}"
        )
        if proxy.stopped.is_set():
            worker.kill()
        worker.join()
        assert worker.exitcode in (0, -signal.SIGKILL), f"the worker failed: {worker.exitcode}"
    with database.connect() as connection:
        wait_until(
            lambda: (
                not connection.execute(
                    "SELECT FROM pg_stat_activity WHERE application_name = %s", [APPLICATION]
                ).fetchall()
            ),
            "PostgreSQL ends the worker's sessions",
        )
    return Worked(proxy.statements, worker.exitcode != 0)


def _process(dsn: str, settings: str, folder: Path, run: Run, tenants: int) -> None:
    os.environ[SETTINGS_VARIABLE] = settings
    with (
        psycopg.connect(dsn, autocommit=True) as platform,
        psycopg.connect(dsn, autocommit=True) as connection,
    ):
        platform.execute("SET ROLE batch_platform")
        connection.execute("SET ROLE batch_tenant")
        steps(platform, connection, folder, run, tenants)


def steps(
    platform: psycopg.Connection, connection: psycopg.Connection, folder: Path, run: Run, tenants: int
) -> None:
    """The tasks of an opened run, one after the other."""
    batch = create_batch(LOCAL)
    moment = datetime(run.run_date.year, run.run_date.month, run.run_date.day, 8, 30, tzinfo=JAPAN)
    installation = LocalInstallation(platform, connection, ObjectStore(folder), moment=moment)
    flow.run_step(IMPORT_PAYMENTS, batch, run, installation, TaskKey("read_files"))
    for number in range(tenants):
        key = TaskKey(IMPORT_PAYMENTS.mapped_task, number)
        flow.process_shard(IMPORT_PAYMENTS, batch, run, Shard(number, ""), installation, key)
    assert flow.close_run(IMPORT_PAYMENTS, batch, run, installation).failure is None
