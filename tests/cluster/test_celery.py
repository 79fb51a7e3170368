"""CeleryExecutor with Redis and two workers that share no folder: all batches run, and a killed worker loses nothing.

The workers have their own AIRFLOW_HOME and their own temporary folder. Files are in S3. `make test-celery` runs it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from cryptography.fernet import Fernet

from include.skillreport.core.catalog import (
    BATCHES,
    TENANT_USAGE,
)
from local_stack.airflow_processes import COMMANDS
from local_stack.demo.runs import DEMO_RUNS
from local_stack.notifications import make_due_on_demo_date
from local_stack.ports import free_port
from tests.chaos.airflow_parts import airflow_parts, parts_of
from tests.chaos.demo_installation import FRESH, demo_installation
from tests.chaos.end_state import differences
from tests.chaos.kills import WORKER, Kill, Moment
from tests.chaos.scenarios import Scenario
from tests.chaos.trial import Trials
from tests.cluster.worker_name import VARIABLE
from tests.needs import need
from tests.s3_server import BUCKET, S3Server

WORKERS = ("worker-1", "worker-2")
_REDIS = shutil.which("redis-server")

pytestmark = [
    pytest.mark.long,
    pytest.mark.exclusive,
    pytest.mark.timeout(3_600),
]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """The URL of a Redis of the test's own, which keeps nothing on disk."""
    need(_REDIS, "make test-celery: install Debian's package redis-server")
    need(find_spec("celery"), "make test-celery: install the package apache-airflow-providers-celery")
    assert _REDIS
    port = free_port()
    command = [_REDIS, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with (tmp_path / "redis.log").open("wb") as log:
        process = subprocess.Popen([*command, "--dir", str(tmp_path)], stdout=log, stderr=subprocess.STDOUT)
    yield f"redis://127.0.0.1:{port}/0"
    process.kill()
    process.wait()


@pytest.fixture
def folder() -> Iterator[Path]:
    """For both database servers, in memory."""
    path = Path(f"/dev/shm/skill-report-celery-{os.getpid()}")  # noqa: S108  # the process's own
    path.mkdir()
    path.chmod(0o755)  # root starts the servers as another user
    yield path
    shutil.rmtree(path, ignore_errors=True)


@dataclass
class ClusterTrials(Trials):
    """Trials whose files are in S3."""

    s3: S3Server = field(kw_only=True)

    def begin(self) -> None:
        """Empty the bucket."""
        for key in self.s3.names():
            self.s3.client.delete_object(Bucket=BUCKET, Key=key)

    def finish(self) -> None:
        """Show the bucket's files where those of the local installation are."""
        for key in self.s3.names("storage/"):
            target = self.installation.stack.directory / key
            target.parent.mkdir(parents=True, exist_ok=True)
            self.s3.client.download_file(BUCKET, key, str(target))


@pytest.fixture
def trials(folder: Path, redis: str, s3: S3Server) -> Iterator[ClusterTrials]:
    """The demo with Celery, the two workers and S3."""
    workers = {
        name: ("celery", "worker", "--celery-hostname", name, "--concurrency", "2", "--skip-serve-logs")
        for name in WORKERS
    }
    environments = {
        name: {
            VARIABLE: name,
            "AIRFLOW_HOME": str(folder / name / "home"),
            "TMPDIR": str(folder / name / "temporary"),
        }
        for name in WORKERS
    }
    for name in WORKERS:
        (folder / name / "temporary").mkdir(parents=True)
    s3_connection = s3.airflow_connection
    with demo_installation(folder) as installation:
        parts = parts_of(
            installation,
            {**COMMANDS, **workers},
            environments,
            AIRFLOW__CORE__EXECUTOR="CeleryExecutor",
            AIRFLOW__CORE__PARALLELISM="8",
            # Each home would make up one of its own.
            AIRFLOW__CORE__FERNET_KEY=Fernet.generate_key().decode(),
            AIRFLOW__CORE__HOSTNAME_CALLABLE="tests.cluster.worker_name.worker_name",
            AIRFLOW__CELERY__BROKER_URL=redis,
            # A task that a killed worker had received and not begun is queued again after this time (by default 600).
            AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT="15",
            AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL="5",
            AIRFLOW_CONN_SKILL_BATCH_FILES=s3_connection,
            AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL=f"s3://skill_batch_files@{BUCKET}/storage",
        )
        with airflow_parts(parts):
            yield ClusterTrials(installation, parts, s3=s3)


def test_two_workers_run_all_batches_and_lose_nothing_when_one_is_killed(trials: ClusterTrials) -> None:
    _all_batches_end_as_in_the_demo_and_both_workers_have_run_tasks(trials)
    _a_killed_worker_loses_nothing(trials)


def _all_batches_end_as_in_the_demo_and_both_workers_have_run_tasks(trials: ClusterTrials) -> None:
    with trials.installation.restored(FRESH):
        runs = [run for run in DEMO_RUNS if run.spec in BATCHES]
        ended = {}
        for run in runs:
            moment = run.date if "T" in run.date else f"{run.date}T00:00:00Z"
            done = trials.run_here(Scenario(f"{run.spec.id}-{run.date}", run.spec, moment))
            ended[run.spec.id, run.date] = done.state
            with trials.installation.connect() as connection:
                make_due_on_demo_date(connection)
        assert ended == {(run.spec.id, run.date): "failed" if run.must_fail else "success" for run in runs}
    hosts = _tasks_by_host(trials)
    assert set(hosts) == set(WORKERS)
    # Each has done its share: neither was only a spare.
    assert min(hosts.values()) > 0.2 * sum(hosts.values()), hosts
    assert _temporary_files(trials) == []


def _a_killed_worker_loses_nothing(trials: ClusterTrials) -> None:
    scenario = Scenario(TENANT_USAGE.id, TENANT_USAGE)
    undisturbed = trials.run(scenario)
    assert undisturbed.run.state == "success"
    moment = Moment(TENANT_USAGE.mapped_task, 3, is_connected=True, seconds=0)

    killed = trials.run(scenario, Kill(WORKER, moment, away_seconds=5), undisturbed.run)

    assert killed.hit.startswith("worker-"), killed.hit
    assert killed.run.state == "success"
    assert differences(undisturbed.end_state, killed.end_state, more_failures=killed.run.failures) == []
    assert _temporary_files(trials) == []


def _temporary_files(trials: ClusterTrials) -> list[str]:
    """What the workers have left in their temporary folders. The end state shows only that of Airflow's other processes."""
    return [
        str(path.relative_to(trials.installation.folder))
        for name in WORKERS
        for path in sorted((trials.installation.folder / name / "temporary").rglob("*"))
        if path.is_file()
    ]


def _tasks_by_host(trials: ClusterTrials) -> dict[str, int]:
    with psycopg.connect(trials.airflow.metadata_dsn) as metadata:
        return dict(
            metadata.execute(
                "SELECT hostname, count(*) FROM task_instance WHERE hostname <> '' GROUP BY 1"
            ).fetchall()
        )
