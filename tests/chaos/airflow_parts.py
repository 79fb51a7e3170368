"""Airflow's processes, each in a session of its own, so that one of them can be killed with all that it has started."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from local_stack.airflow_processes import API_SERVER, COMMANDS, DAG_PROCESSOR, SCHEDULER, AirflowProcesses
from local_stack.ports import free_port
from tests.airflow_installation import AirflowInstallation
from tests.chaos.demo_installation import DemoInstallation
from tests.dags.running_airflow import Api, wait_for_api

# What a trial changes: after a kill nothing should wait for minutes, and no run of the schedule's own may come in between.
SHORT_WAITS = {
    "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    # The DAG files do not change: parsing them again every 30 seconds would only take time from the trials.
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
}

# Only reached when Airflow does not come up.
_START_SECONDS = 120

# Only reached when a killed scheduler has lost the callback of a run.
_CALLBACK_SECONDS = 60

# The DAG processor's log line when it begins to execute the callback of a failed run.
_CALLED_BACK = "Executing on_failure dag callback"


@dataclass(frozen=True)
class RunningTask:
    """A task instance that runs. ``pid`` is its process, or None before it has told it."""

    task_id: str
    map_index: int
    hostname: str
    pid: int | None


@dataclass
class AirflowParts(AirflowProcesses):
    """The processes of a trial. ``callbacks`` are those of failed runs that the trial has waited for."""

    metadata_dsn: str
    port: int
    callbacks: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def workers(self) -> list[str]:
        """The parts that are workers of Celery."""
        return [part for part in self.processes if self.commands[part][0] == "celery"]

    def start(self, name: str) -> None:
        """Start the process; the API server answers afterwards."""
        super().start(name)
        if name == API_SERVER:
            wait_for_api(self.url, self.log(name))

    def revive(self) -> list[str]:
        """Start again what has ended without being killed by a trial; returns its names."""
        ended = [part for part, process in self.processes.items() if process.poll() is not None]
        for part in ended:
            self.kill(part)
            self.start(part)
        return ended

    def wait_until_ready(self) -> None:
        """Until the DAGs can be triggered and tasks can start."""
        deadline = time.monotonic() + _START_SECONDS
        query = "SELECT count(*) FROM job WHERE job_type = 'SchedulerJob' AND state = 'running'"
        while time.monotonic() < deadline:
            with psycopg.connect(self.metadata_dsn) as metadata:
                (schedulers,) = metadata.execute(query).fetchone() or (0,)
                (dags,) = metadata.execute("SELECT count(*) FROM serialized_dag").fetchone() or (0,)
            # 14 batches, 3 families, 6 operations.
            if schedulers and dags >= 23:
                return
            time.sleep(0.5)
        raise AssertionError("Airflow does not come up: " + self.log(SCHEDULER).read_text()[-3000:])

    def api(self, dag_id: str) -> Api:
        """The REST API, about this DAG."""
        api = wait_for_api(self.url, self.log(API_SERVER))
        api.dag_id = dag_id
        return api

    def running_tasks(self, metadata: psycopg.Connection) -> list[RunningTask]:
        """The task instances whose process has begun."""
        return [
            RunningTask(*row)
            for row in metadata.execute(
                "SELECT task_id, map_index, hostname, pid FROM task_instance WHERE state = 'running' ORDER BY 1, 2"
            )
        ]

    def await_callback(self) -> None:
        """Wait for the end of the callback of a run that has failed. It may send an alert, so a trial ends after it."""
        deadline = time.monotonic() + _CALLBACK_SECONDS
        while (count := self._callbacks_begun()) <= self.callbacks and time.monotonic() < deadline:
            time.sleep(0.1)
        self.callbacks = count
        # The DAG processor executes callbacks in child processes.
        processor = psutil.Process(self.processes[DAG_PROCESSOR].pid)
        while processor.children() and time.monotonic() < deadline:
            time.sleep(0.1)

    def _callbacks_begun(self) -> int:
        home = Path(self.environment["AIRFLOW_HOME"])
        # One folder a day; the link `latest` is another name of the last one.
        logs = home.glob("logs/dag_processor/[0-9]*/**/*.log")
        return sum(log.read_text(errors="replace").count(_CALLED_BACK) for log in logs)

    def forget_runs(self) -> None:
        """Delete all runs of all DAGs, with their tasks."""
        with psycopg.connect(self.metadata_dsn, autocommit=True) as metadata:
            metadata.execute("DELETE FROM dag_run")
            metadata.execute("DELETE FROM trigger")


def parts_of(
    installation: DemoInstallation,
    commands: Mapping[str, Sequence[str]] = COMMANDS,
    environments: Mapping[str, Mapping[str, str]] | None = None,
    **variables: str,
) -> AirflowParts:
    """An Airflow for this installation, on a free port; ``variables`` are further environment variables. Not started yet."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    addresses = {
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
    }
    environment = installation.environment(**addresses, **SHORT_WAITS, **variables)
    return AirflowParts(
        environment,
        installation.folder,
        installation.metadata_dsn,
        port,
        commands=commands,
        environments=environments or {},
    )


@contextmanager
def airflow_parts(parts: AirflowParts) -> Iterator[AirflowParts]:
    """All parts, ready, until the end of the block, where they are killed."""
    migrated = AirflowInstallation({**parts.environment}).run("db", "migrate")
    assert migrated.returncode == 0, migrated.stdout[-3000:]
    try:
        for part in parts.commands:
            parts.start(part)
        parts.wait_until_ready()
        yield parts
    finally:
        parts.kill_all()
