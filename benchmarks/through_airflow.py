"""Runs of our DAGs through real Airflow (LocalExecutor), with Airflow's metadata and the application's data in a separate server.

The server uses the port of the local stack, so `make up` must not run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.measurement import own_stack, vacuum
from benchmarks.scale_world import World, plant_host
from include.skillreport.core.database import Statements
from include.skillreport.core.settings import SETTINGS_VARIABLE
from include.skillreport.schema.deploy import upgrade
from local_stack.airflow_processes import SupervisedAirflow
from local_stack.airflow_settings import BACKUP_CONNECTION
from local_stack.data_management import create_backup_login
from local_stack.stack import AIRFLOW_METADATA, DEMO_SETTINGS, LocalStack

RUN_ID = "measured"

_SQL = Statements(Path(__file__).parent)


@dataclass(frozen=True)
class RunningAirflow:
    """Airflow's processes run. ``metadata`` is a connection to Airflow's database, in autocommit mode."""

    stack: LocalStack
    metadata: psycopg.Connection

    def unpause(self, dag_id: str, limit_seconds: float) -> None:
        """Unpause the DAG, and wait until the run that Airflow starts for the last moment of the schedule has ended.

        :raises SystemExit: it has not ended within the limit.
        """
        self._wait("scale_dag_is_known", dag_id, limit_seconds)
        self.stack.airflow("dags", "unpause", dag_id)
        self._wait("scale_dag_is_idle", dag_id, limit_seconds)

    def run(self, dag_id: str, options: Sequence[str], limit_seconds: float) -> None:
        """Trigger the unpaused DAG with these options of ``airflow dags trigger``, and wait until the run has ended, however it ends.

        :raises SystemExit: it has not ended within the limit.
        """
        self.stack.airflow("dags", "trigger", dag_id, "--run-id", RUN_ID, *options)
        self._wait("scale_run_has_ended", dag_id, limit_seconds)

    def _wait(self, statement: str, dag_id: str, limit_seconds: float) -> None:
        deadline = time.monotonic() + limit_seconds
        while not _SQL.column(self.metadata, statement, dag_id=dag_id):
            if time.monotonic() > deadline:
                raise SystemExit(f"{dag_id}: waited in vain for {statement}")
            time.sleep(1)


def plant_stack(stack: LocalStack, world: World) -> None:
    """Fill the stack's empty database with these data and schema ``batch``."""
    plant_host(stack.admin_dsn(), world)
    upgrade(stack.admin_dsn(), passwords=stack.settings.passwords)
    vacuum(stack.admin_dsn())


@contextmanager
def running_airflow(world: World, settings: Path = DEMO_SETTINGS) -> Iterator[RunningAirflow]:
    """Airflow over these data, with this file of settings."""
    with own_stack("airflow-benchmark-") as stack:
        plant_stack(stack, world)
        with stack.database() as connection:
            create_backup_login(connection, stack.settings.connections[BACKUP_CONNECTION])
        stack.prepare_airflow()
        environment = os.environ | stack.environment() | {SETTINGS_VARIABLE: str(settings)}
        with (
            SupervisedAirflow(environment, stack.directory, print),
            psycopg.connect(stack.server.admin_dsn(AIRFLOW_METADATA), autocommit=True) as metadata,
        ):
            yield RunningAirflow(stack, metadata)
