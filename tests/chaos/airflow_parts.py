"""Airflow's processes, each in a session of its own, so that one of them can be killed with all that it has started."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg

from local_stack.ports import free_port
from tests.chaos.demo_installation import DemoInstallation
from tests.dags.running_airflow import Api, wait_for_api

API_SERVER, SCHEDULER, DAG_PROCESSOR, TRIGGERER = "api-server", "scheduler", "dag-processor", "triggerer"

# As `make up` starts them.
LOCAL_PARTS: dict[str, Sequence[str]] = {
    API_SERVER: ("api-server",),
    SCHEDULER: ("scheduler", "--skip-serve-logs"),
    DAG_PROCESSOR: ("dag-processor",),
    TRIGGERER: ("triggerer", "--skip-serve-logs"),
}

# What a trial changes: after a kill nothing should wait for minutes, and no run of the schedule's own may come in between.
SHORT_WAITS = {
    "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
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
class AirflowParts:
    """The processes by name. ``commands`` are their command lines, ``environments`` what a part sees beyond ``environment``."""

    environment: dict[str, str] = field(repr=False)
    folder: Path
    metadata_dsn: str
    port: int
    commands: Mapping[str, Sequence[str]] = field(default_factory=lambda: LOCAL_PARTS)
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    # The callbacks of failed runs that a trial has waited for.
    callbacks: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log(self, part: str) -> Path:
        """What the part has printed."""
        return self.folder / f"{part}.log"

    @property
    def workers(self) -> list[str]:
        """The parts that are workers of Celery."""
        return [part for part in self.processes if self.commands[part][0] == "celery"]

    def run(self, *arguments: str) -> None:
        """``airflow ...``, to its end."""
        done = subprocess.run(
            ["airflow", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:]

    def start(self, part: str) -> None:
        """Start the part; the API server answers afterwards."""
        with self.log(part).open("ab") as output:
            self.processes[part] = subprocess.Popen(
                ["airflow", *self.commands[part]],
                env={**self.environment, **self.environments.get(part, {})},
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        if part == API_SERVER:
            wait_for_api(self.url, self.log(part))

    def kill(self, part: str) -> None:
        """``kill -9`` the part with all that it has started, as a lost container."""
        kill_tree(self.processes.pop(part))

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

    def end(self) -> None:
        """Kill all parts."""
        for part in list(self.processes):
            self.kill(part)


def parts_of(
    installation: DemoInstallation,
    commands: Mapping[str, Sequence[str]] = LOCAL_PARTS,
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
        environment, installation.folder, installation.metadata_dsn, port, commands, environments or {}
    )


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """``kill -9`` a process, its session's processes and all descendants."""
    members: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        members = psutil.Process(process.pid).children(recursive=True)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for member in members:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
    psutil.wait_procs(members, timeout=10)


@contextmanager
def airflow_parts(parts: AirflowParts) -> Iterator[AirflowParts]:
    """All parts, ready, until the end of the block, where they are killed."""
    parts.run("db", "migrate")
    try:
        for part in parts.commands:
            parts.start(part)
        parts.wait_until_ready()
        yield parts
    finally:
        parts.end()
