"""A run of a batch with the functions that Airflow's tasks call. It can be cleared, and it alerts with the real notifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import Any

from airflow.sdk.exceptions import AirflowTaskTimeout

from skill_batch.batch_flow import failure_alert
from skill_batch.board.pages.run import load_executions
from skill_batch.notifiers.alert import Alert
from include.skillreport.core.execution import flow
from include.skillreport.core.execution.batch import Batch, Run
from include.skillreport.core.execution.business_date import JAPAN, period_of
from include.skillreport.core.execution.flow import RunRequest, TaskKey
from include.skillreport.core.execution.run_log import EarlierStepFailedError
from include.skillreport.core.execution.sharding import Shard
from include.skillreport.core.failure_kinds import FAILED, kind_of
from include.skillreport.core.run_spec import RunSpec
from local_stack.batch_runs import LocalInstallation
from tests.conftest import Database

OPEN, CLOSE = "open_run", "close_run"

_numbers = count(1)


@dataclass
class FlowRun:
    """One run. ``parameters`` are the values of its form. ``before`` has what happens, once, before a task; ``kill`` kills the task.

    ``alerts`` has the alerts of the failed attempts, the newest last. ``later`` is the time since the run's logical date.
    ``person`` has triggered the run.
    """

    database: Database
    spec: RunSpec
    create_batch: Callable[[], Batch]
    day: date
    installation: LocalInstallation = field(default_factory=LocalInstallation)
    parameters: dict[str, Any] = field(default_factory=dict)
    run_at: datetime | None = None
    before: dict[str, Callable[[], None]] = field(default_factory=dict)
    later: timedelta = timedelta(0)
    person: str | None = None
    alerts: list[Alert] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.run_id = f"advice {next(_numbers)}"
        self._attempt = 0
        self._run: Run | None = None
        self._shards: list[Shard] = []
        self._failed: dict[str, BaseException] = {}
        self._execute([OPEN])

    @property
    def has_failed(self) -> bool:
        """Whether the run is red."""
        return bool(self._failed)

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
        return replace(self, parameters=self.parameters | parameters, alerts=[])

    def clear(self, task: str = FAILED) -> None:
        """Clear the task, or all that has failed, with downstream."""
        self._attempt += 1
        self.retry(task)

    def retry(self, task: str) -> None:
        """Run the task, or all that has failed, again with downstream, as Airflow does by itself after a kill."""
        order = [*self._order(), CLOSE]
        cleared = [name for name in order if (name in self._failed if task == FAILED else name == task)]
        instances = self._instances()
        if cleared[0] not in instances:
            cleared = order[order.index(cleared[0]) :]
        self._execute(cleared)

    def _execute(self, tasks: Sequence[str]) -> None:
        """Run these tasks in order. After a failed step, the tasks behind it do not run, but for ``close_run``."""
        for name in tasks:
            self._failed.pop(name, None)
        with self._connected() as installation:
            if OPEN in tasks:
                if not self._tried(OPEN, lambda: self._open(installation)):
                    return
                tasks = self._order()
            for name in self._order()[1:]:
                if name in tasks and self._failed.keys() <= {*self._instances(), CLOSE}:
                    self._tried(name, partial(self._work, name, installation))
                    self._record_failure(name, installation)
            self._tried(CLOSE, lambda: self._close(installation))

    def _order(self) -> list[str]:
        steps = [step for step in getattr(self.spec, "steps", ()) if step in self._steps()]
        return [OPEN, *steps, *self._instances()]

    def _instances(self) -> list[str]:
        return [f"{self.spec.mapped_task}[{shard.number}]" for shard in self._shards]

    def _tried(self, task: str, work: Callable[[], None]) -> bool:
        try:
            self.before.pop(task, lambda: None)()
            work()
        except KilledError as error:
            self._failed[task] = error
        except (Exception, AirflowTaskTimeout) as error:
            self._failed[task] = error
            if task not in self._instances():
                self._alert(task, error)
        return task not in self._failed

    def _open(self, installation: LocalInstallation) -> None:
        form = {"business_date": self.day.isoformat(), "tenants": [], "dry_run": False} | self.parameters
        request = RunRequest(self.spec.dag_id, self.run_id, self._begin, form, attempt=self._attempt)
        request = replace(request, triggered_by=self.person)
        self._run, self._shards = flow.open_run(self.spec, self.create_batch(), request, installation)

    @property
    def _begin(self) -> datetime:
        """The run's logical date, in Asia/Tokyo: ``run_at``, or midnight after its period."""
        day_after = period_of(self.day, self.spec.works_on)[1] + timedelta(days=1)
        return self.run_at or datetime.combine(day_after, time(), JAPAN)

    def _steps(self) -> dict[str, Callable[[Batch, LocalInstallation], None]]:
        about = self.spec

        def step(name: str) -> Callable[[Any, LocalInstallation], None]:
            return lambda batch, installation: flow.run_step(
                about, batch, self.run, lambda work: getattr(batch, name)(work), installation, TaskKey(name)
            )

        return {
            "read_logs": lambda batch, installation: flow.prepare_run(
                about, batch, self.run, installation, TaskKey("read_logs")
            ),
            "read_mailbox": lambda batch, installation: flow.receive_mail(
                about, batch, self.run, installation, TaskKey("read_mailbox")
            ),
            "dump": step("dump"),
            "check": step("check"),
            "read_files": step("read_files"),
            "apply_changes": step("apply_changes"),
        }

    @property
    def run(self) -> Run:
        assert self._run is not None
        return replace(self._run, attempt=self._attempt)

    def _work(self, task: str, installation: LocalInstallation) -> None:
        if task in self._steps():
            self._steps()[task](self.create_batch(), installation)
            return
        shard = self._shards[self._instances().index(task)]
        key = TaskKey(self.spec.mapped_task, shard.number)
        report = flow.process_shard(self.spec, self.create_batch(), self.run, shard, installation, key)
        if report.failures:
            raise TenantsFailedError

    def _record_failure(self, task: str, installation: LocalInstallation) -> None:
        error = self._failed.get(task)
        if task in self._instances() and error and not isinstance(error, KilledError):
            shard = self._shards[self._instances().index(task)]
            flow.fail_shard(self.spec, self.run, shard, error, installation)

    def _close(self, installation: LocalInstallation) -> None:
        step = next((name for name in self._failed if name not in (*self._instances(), CLOSE)), None)
        error = EarlierStepFailedError(step, kind_of(self.spec, self._failed[step]).name) if step else None
        closed = flow.close_run(
            self.spec, self.create_batch(), self.run, installation, error=error, attempt=self._attempt
        )
        if closed.failure:
            raise closed.failure

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
    def _connected(self) -> Iterator[LocalInstallation]:
        with (
            self.database.connect("batch_platform") as platform,
            self.database.connect("batch_tenant") as tenants,
        ):
            tenants.execute("SET lock_timeout = '200ms'")
            yield replace(
                self.installation,
                platform_connection=platform,
                tenant_connection=tenants,
                moment=self._begin + self.later,
            )


def kill() -> None:
    """Kill the task."""
    raise KilledError


def time_out() -> None:
    """End the task at its time limit, as Airflow does."""
    raise AirflowTaskTimeout


class KilledError(Exception):
    """The process of the task is gone, and has recorded nothing."""


class TenantsFailedError(Exception):
    """Tenants of the shard failed."""
