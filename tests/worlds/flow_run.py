"""A run of a batch with the functions that Airflow's tasks call. It can be cleared, and it alerts with the real notifier."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any

import psycopg
from airflow.sdk.exceptions import AirflowTaskTimeout

from skill_batch.batch_flow import failure_alert
from skill_batch.board.pages.run import load_executions
from skill_batch.notifiers.alert import Alert
from include.skillreport.core.execution.batch import Batch, Run
from include.skillreport.core.execution.run_log import EarlierStepFailedError
from include.skillreport.core.execution.settings import ExecutionSettings
from include.skillreport.core.failure_kinds import FAILED
from include.skillreport.core.run_spec import RunSpec
from local_stack.batch_runs import LocalInstallation, request_of
from local_stack.local_run import KilledError, LocalRun, name_of
from tests.conftest import Database

_numbers = count(1)


@dataclass
class FlowRun:
    """One run. ``parameters`` are the values of its form. ``before`` has what happens, once, before a task; ``kill`` kills the task.

    ``alerts`` has the alerts of the failed attempts, the newest last. ``later`` is the time since the run's logical date.
    ``person`` has triggered the run.
    """

    database: Database
    spec: RunSpec
    day: date
    installation: LocalInstallation = field(default_factory=LocalInstallation)
    parameters: dict[str, Any] = field(default_factory=dict)
    run_at: datetime | None = None
    before: dict[str, Callable[[], object]] = field(default_factory=dict)
    later: timedelta = timedelta(0)
    person: str | None = None
    create_batch: Callable[[], Batch] | None = None
    run_id: str = ""
    sharding: ExecutionSettings | None = None
    alerts: list[Alert] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.run_id = self.run_id or f"advice {next(_numbers)}"
        request = request_of(
            self.spec,
            self.day,
            parameters=self.parameters,
            run_at=self.run_at,
            run_id=self.run_id,
            triggered_by=self.person,
        )
        self._local = LocalRun(
            *(self.spec, request, self.installation, self.create_batch, self.sharding),
            alert=self._alert,
            failures=(Exception, AirflowTaskTimeout),
        )
        self._do(self._local.execute)

    @property
    def run(self) -> Run:
        """The run, as a task has it."""
        return self._local.run

    @property
    def tasks(self) -> list[str]:
        """The names of its task instances, in order."""
        return [name_of(task) for task in self._local.tasks()]

    def batch(self) -> Batch:
        """Its batch, as a task makes it."""
        return (self.create_batch or self._local._batch)()

    def has(self, method: Any) -> bool:
        """Whether its batch does the step ``Batch.…``."""
        return self.batch().has(method)

    @property
    def failed(self) -> Collection[str]:
        """The names of the task instances that have failed."""
        return self._local.failed.keys()

    @property
    def has_failed(self) -> bool:
        """Whether the run is red."""
        return bool(self.failed)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of failure in the newest alert."""
        return self.alerts[-1].kinds

    @property
    def kinds_on_the_board(self) -> tuple[str, ...]:
        """The kinds of failure on the run's page, as its row has them. A run that was not opened has none."""
        with self.database.connect() as connection:
            pages = load_executions(connection, self.spec.dag_id, self.run_id, datetime.now(UTC))
        return tuple(kind.name for kind in pages[0].kinds) if pages else ()

    def again(self, **parameters: Any) -> FlowRun:
        """A new run with the same form but for these values."""
        return replace(self, parameters=self.parameters | parameters, run_id="", alerts=[])

    def move(
        self, database: Database, installation: LocalInstallation, create_batch: Callable[[], Batch] | None
    ) -> None:
        """Go on with a copy of the database and of the store."""
        self.database, self.installation = database, installation
        self.create_batch = self._local.create_batch = create_batch

    def clear(self, task: str = FAILED) -> None:
        """Clear the task, or all that has failed, with downstream."""
        self._do(lambda: self._local.clear(task))

    def clear_alone(self, task: str) -> None:
        """Clear the task with downstream, but leave the run's number of clears as it is."""
        self._do(lambda: self._local.clear(task, with_run=False))

    def delete(self, task: str) -> None:
        """Delete the task's instance with downstream, and queue the run again."""
        self._do(lambda: self._local.delete(task))

    def retry(self, task: str) -> None:
        """Run the task again with downstream, as Airflow does by itself after a kill."""
        self._do(lambda: self._local.retry(task))

    def _do(self, work: Callable[[], None]) -> None:
        moment = self._local.request.run_at + self.later
        self._local.installation = replace(self.installation, connect=self._connect, moment=moment)
        self._local.before = self.before
        work()

    def _alert(self, task: str, error: BaseException) -> None:
        """As the task's callback does."""
        if isinstance(error, EarlierStepFailedError) and error.is_reported:
            return
        ti = SimpleNamespace(
            dag_id=self.spec.dag_id,
            run_id=self.run_id,
            task_id=task,
            log_url="http://airflow.example/log",
            xcom_pull=lambda **_: None,
        )
        context: Any = {"ti": ti, "exception": error, "dag_run": SimpleNamespace(conf={})}
        alert = failure_alert(self.spec).compose(context, getattr(error, "result", None))
        self.alerts.append(alert)

    @contextmanager
    def _connect(self, role: str, _: timedelta) -> Iterator[psycopg.Connection]:
        with self.database.connect(role) as connection:
            if role == "batch_tenant":
                connection.execute("SET lock_timeout = '200ms'")
            yield connection


def kill() -> None:
    """Kill the task."""
    raise KilledError


def time_out() -> None:
    """End the task at its time limit, as Airflow does."""
    raise AirflowTaskTimeout
