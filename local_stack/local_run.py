"""A run without Airflow: it walks its plan, for demo data, tests and benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from include.skillreport.core.execution import flow
from include.skillreport.core.execution.batch import Batch, Run, create_batch
from include.skillreport.core.execution.flow import ClosedRun, RunRequest
from include.skillreport.core.execution.installation import Installation
from include.skillreport.core.execution.openings import TaskKey
from include.skillreport.core.execution.run_log import EarlierStepFailedError
from include.skillreport.core.execution.settings import ExecutionSettings
from include.skillreport.core.execution.shard_work import UnitsFailedError
from include.skillreport.core.execution.sharding import Shard
from include.skillreport.core.failure_kinds import FAILED, kind_of
from include.skillreport.core.run_plan import CLOSE_RUN, OPEN_RUN, plan_of
from include.skillreport.core.run_spec import RunSpec


class KilledError(BaseException):
    """The process of a task is gone, and records nothing."""


@dataclass
class LocalRun:
    """One run. As in Airflow, each task makes its own batch: from the registry, or by ``create_batch``.

    ``fakes`` do the steps that need Airflow, by the ids of the steps; without a fake nothing happens. ``before`` has what happens, once,
    before a task; it may raise KilledError. ``alert`` gets the name of a task that failed for good and its error. The name of the mapped
    step's instance is ``aggregate_usage[0]``. ``failures`` are the classes of errors that a task records, as in Airflow. ``attempt`` is the
    number of times that the run was cleared. ``tries`` has the last try of each task instance, numbered as in Airflow.
    """

    spec: RunSpec
    request: RunRequest
    installation: Installation
    create_batch: Callable[[], Batch] | None = None
    sharding: ExecutionSettings | None = None
    fakes: Mapping[str, Callable[[LocalRun], object]] = field(default_factory=dict)
    before: dict[str, Callable[[], object]] = field(default_factory=dict)
    alert: Callable[[str, BaseException], object] = lambda name, error: None  # noqa: ARG005
    failures: tuple[type[BaseException], ...] = (Exception,)
    attempt: int = 0
    shards: list[Shard] = field(default_factory=list)
    closed: ClosedRun | None = None
    failed: dict[str, BaseException] = field(default_factory=dict)
    tries: dict[str, TaskKey] = field(default_factory=dict)
    _opened: Run | None = None

    @property
    def run(self) -> Run:
        """The open run, as a task reads it now."""
        assert self._opened is not None, "the run is not open"
        return replace(self._opened, attempt=self.attempt)

    def tasks(self) -> Iterator[TaskKey]:
        """The task instances in the order of the plan. The iterator knows the shards when the run is open."""
        for step in plan_of(self.spec):
            if step.is_mapped:
                yield from (TaskKey(step.id, index) for index in range(len(self.shards)))
            else:
                yield TaskKey(step.id)

    def do(self, task: TaskKey) -> None:
        """Do one task, as Airflow's task does. :raises UnitsFailedError: units of the shard failed."""
        step = next(step for step in plan_of(self.spec) if step.id == task.step)
        task = self._next_try(task)
        if step.is_mapped:
            self._process(task)
        elif step.is_own:
            flow.run_step(self.spec, self._batch(), self.run, self.installation, task)
        elif step == OPEN_RUN:
            request = replace(self.request, attempt=self.attempt, task=task)
            self._opened, self.shards = flow.open_run(
                self.spec, self._batch(), request, self.installation, self.sharding
            )
        elif step == CLOSE_RUN:
            self._close(task)
        elif step.id in self.fakes:
            self.fakes[step.id](self)

    def execute(self, names: Collection[str] = ()) -> None:
        """Do these tasks, or all. After a failed step, the tasks behind it do not run, but for ``close_run``; a failure of an instance
        stops none of them. ``failed`` has the failures.
        """
        for name in list(names or self.failed):
            self.failed.pop(name, None)
        for task in self.tasks():
            name = name_of(task)
            is_blocked = any(not _is_instance(each) for each in self.failed)
            if (not names or name in names) and (task.step == CLOSE_RUN.id or not is_blocked):
                self._try(task, name)
            if OPEN_RUN.id in self.failed:
                return

    def clear(self, name: str = FAILED, *, with_run: bool = True) -> None:
        """Clear the task, or all that has failed, with downstream. Without its run, the run's number of clears stays."""
        self.attempt += with_run
        for cleared in self._with_downstream(name):
            if last := self.tries.get(cleared):
                self.tries[cleared] = replace(last, max_tries=last.try_number + last.retries)
        self.retry(name)

    def delete(self, name: str = FAILED) -> None:
        """Delete the task instance, or all that have failed, with downstream, and queue the run again."""
        for deleted in self._with_downstream(name):
            self.tries.pop(deleted, None)
        self.retry(name)

    def retry(self, name: str = FAILED) -> None:
        """Do the task, or all that has failed, again with downstream, as Airflow does by itself after a kill."""
        names = self._with_downstream(name)
        self.execute(() if OPEN_RUN.id in names else names)

    def _with_downstream(self, name: str) -> list[str]:
        names = [name_of(task) for task in self.tasks()]
        chosen = [each for each in names if (each in self.failed if name == FAILED else each == name)]
        if not _is_instance(chosen[0]):
            return names[names.index(chosen[0]) :]
        after = max(names.index(each) for each in names if _is_instance(each)) + 1
        return [*filter(_is_instance, chosen), *names[after:]]

    def _next_try(self, task: TaskKey) -> TaskKey:
        last = self.tries.get(name_of(task))
        self.tries[name_of(task)] = task = replace(last, try_number=last.try_number + 1) if last else task
        return task

    def _try(self, task: TaskKey, name: str) -> None:
        try:
            self.before.pop(name, lambda: None)()
            self.do(task)
            if task.step == CLOSE_RUN.id and self.closed and self.closed.failure:
                raise self.closed.failure
        except KilledError as error:
            self.failed[name] = error
        except self.failures as error:
            self.failed[name] = error
            if not _is_instance(name):  # `close_run` reports the instances
                self.alert(name, error)

    def _batch(self) -> Batch:
        return self.create_batch() if self.create_batch else create_batch(self.spec, self.installation)

    def _process(self, task: TaskKey) -> None:
        shard = self.shards[task.map_index]
        try:
            report = flow.process_shard(self.spec, self._batch(), self.run, shard, self.installation, task)
        except self.failures as error:
            flow.fail_shard(self.spec, self.run, shard, error, self.installation)
            raise
        if report.failures:
            raise UnitsFailedError(report.failures)

    def _close(self, task: TaskKey) -> None:
        step = next((name for name in self.failed if not _is_instance(name) and name != CLOSE_RUN.id), None)
        error = EarlierStepFailedError(step, kind_of(self.spec, self.failed[step]).name) if step else None
        self.closed = flow.close_run(
            self.spec,
            self._batch(),
            self.run,
            self.installation,
            error=error,
            attempt=self.attempt,
            task=task,
        )


def name_of(task: TaskKey) -> str:
    """The name of a task instance: ``open_run``, ``aggregate_usage[0]``."""
    return task.task_id if task.map_index < 0 else f"{task.task_id}[{task.map_index}]"


def _is_instance(name: str) -> bool:
    return name.endswith("]")
