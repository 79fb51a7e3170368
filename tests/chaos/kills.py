"""What a trial kills, at which moment, and what an operator does about it at once."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from local_stack.airflow_processes import API_SERVER, SCHEDULER, TRIGGERER
from local_stack.postgres_server import EmbeddedPostgres
from local_stack.stack import SKILL_REPORT
from tests.chaos.airflow_parts import AirflowParts, RunningTask
from tests.chaos.demo_installation import DemoInstallation

NOTHING, TASK, WORKER, BACKEND, POSTGRES = "nothing", "task", "worker", "backend", "postgres"

KILLED = (NOTHING, TASK, WORKER, SCHEDULER, TRIGGERER, API_SERVER, POSTGRES, BACKEND)

# How long the API server is away, and the triggerer; PostgreSQL is away for a random time up to the last one.
API_SERVER_SECONDS, TRIGGERER_SECONDS, POSTGRES_SECONDS = 20, 3, 8

# A task that is to be killed has not begun after this time: the run has ended before, or never gets there.
_PATIENCE_SECONDS = 180
_POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Moment:
    """While ``task_id`` (and which of its mapped instances) runs: ``seconds`` after its start, or after its first connection."""

    task_id: str
    map_index: int
    is_connected: bool
    seconds: float

    def __str__(self) -> str:
        place = self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"
        return f"{place} {'connected' if self.is_connected else 'started'} +{self.seconds:.2f} s"


@dataclass(frozen=True)
class Kill:
    """``what`` is one of ``KILLED``. ``away_seconds``: until it is started again."""

    what: str
    moment: Moment
    away_seconds: float

    def __str__(self) -> str:
        return f"{self.what} at {self.moment}"


def plan_kill(what: str, tasks: Mapping[tuple[str, int], float], chance: random.Random) -> Kill:
    """A random moment in a run with these task instances, which take so many seconds.

    Each task is equally likely, however many instances it has. A skipped task took no time and is not killed.
    """
    tasks = {instance: seconds for instance, seconds in tasks.items() if seconds}
    away = {API_SERVER: API_SERVER_SECONDS, TRIGGERER: TRIGGERER_SECONDS}.get(what, 0.0)
    if what == POSTGRES:
        away = POSTGRES_SECONDS * chance.random()
    task_id = chance.choice(sorted({name for name, _ in tasks}))
    map_index = chance.choice(sorted(index for name, index in tasks if name == task_id))
    is_connected = chance.random() < 0.7
    # Most of a task's time passes before its first connection; most of its work is done soon after it.
    part = chance.random()
    seconds = tasks[task_id, map_index] * (part**2 / 2 if is_connected else part)
    return Kill(what, Moment(task_id, map_index, is_connected, seconds), away)


@dataclass
class Killer:
    """Kills in this installation. ``ended`` says whether the run has ended."""

    installation: DemoInstallation
    airflow: AirflowParts
    ended: Callable[[], bool]

    def kill(self, kill: Kill) -> str:
        """Wait for the moment, kill, and start again what was killed; returns what was hit."""
        if kill.what == NOTHING:
            return ""
        with psycopg.connect(self.airflow.metadata_dsn, autocommit=True) as metadata:
            task = self._await_moment(kill.moment, metadata)
        if task is None:
            return "missed: the run ended before"
        return self._strike_task(kill, task) if kill.what in (TASK, WORKER) else self._strike(kill)

    def _strike_task(self, kill: Kill, task: RunningTask) -> str:
        if kill.what == WORKER and task.hostname in self.airflow.workers:
            self.airflow.kill(task.hostname)
            time.sleep(kill.away_seconds)
            self.airflow.start(task.hostname)
            return f"{task.hostname} away for {kill.away_seconds:.0f} s"
        return kill_task(task, with_worker=kill.what == WORKER)

    def _strike(self, kill: Kill) -> str:
        if kill.what == BACKEND:
            return self._kill_backend()
        if kill.what == POSTGRES:
            kill_server(self.installation.database)
            time.sleep(kill.away_seconds)
            self.installation.database.start()
            return f"PostgreSQL away for {kill.away_seconds:.1f} s"
        self.airflow.kill(kill.what)
        time.sleep(kill.away_seconds)
        self.airflow.start(kill.what)
        return f"{kill.what} away for {kill.away_seconds:.0f} s"

    def _await_moment(self, moment: Moment, metadata: psycopg.Connection) -> RunningTask | None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        task = None
        while task is None:
            if time.monotonic() > deadline or self.ended():
                return None
            running = self.airflow.running_tasks(metadata)
            task = next(
                (
                    each
                    for each in running
                    if each.pid and (each.task_id, each.map_index) == (moment.task_id, moment.map_index)
                ),
                None,
            )
            time.sleep(_POLL_SECONDS)
        assert task.pid
        if moment.is_connected:
            while psutil.pid_exists(task.pid) and not _is_connected(
                task.pid, self.installation.database.port
            ):
                time.sleep(_POLL_SECONDS)
        time.sleep(moment.seconds)
        return task

    def _kill_backend(self) -> str:
        """``pg_terminate_backend`` for one session of the batches, the newest."""
        query = """
            SELECT pid, usename, left(query, 60), pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = %s AND usename LIKE 'batch%%' AND pid <> pg_backend_pid() ORDER BY backend_start DESC LIMIT 1
        """
        with self.installation.connect() as admin:
            while not self.ended():
                found = admin.execute(query, [SKILL_REPORT]).fetchone()
                if found:
                    return f"session of {found[1]}: {' '.join(found[2].split())}"
                time.sleep(_POLL_SECONDS)
        return "missed: no session"


def kill_task(task: RunningTask, *, with_worker: bool) -> str:
    """``kill -9`` the task's process; with its worker, that one first, and all its processes."""
    assert task.pid
    try:
        process = psutil.Process(task.pid)
        worker = process.parent()
        members = [worker, *worker.children(recursive=True)] if with_worker and worker else [process]
    except psutil.NoSuchProcess:
        return "missed: the task has ended"
    for member in members:
        with suppress(ProcessLookupError):
            os.kill(member.pid, signal.SIGKILL)
    return f"{len(members)} processes"


def kill_server(server: EmbeddedPostgres) -> None:
    """``kill -9`` all processes of a PostgreSQL server."""
    pid = int(Path(server.directory / "data" / "postmaster.pid").read_text().split("\n")[0])
    postmaster = psutil.Process(pid)
    members = [postmaster, *postmaster.children(recursive=True)]
    for member in members:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(members, timeout=10)


def _is_connected(pid: int, port: int) -> bool:
    try:
        return any(
            connection.raddr and connection.raddr.port == port
            for connection in psutil.Process(pid).net_connections("tcp")
        )
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return True
