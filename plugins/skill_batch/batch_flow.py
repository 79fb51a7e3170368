"""The steps of a run as Airflow tasks, for the DAGs of batches, families and operations.

``core.run_plan`` defines their order, and ``batch_graph`` adds them to a DAG. The tasks call
``include.skillreport.core.execution.flow``. They import it when they run, so a DAG file imports Airflow and the registries, but no
driver and no batch.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException, AirflowTaskTimeout

import skill_batch.own_include  # noqa: F401  # raises if Python does not find include/skillreport
from skill_batch.assets import add_events, asset_of
from skill_batch.lookup import is_outage
from skill_batch.notifiers.failure_alert import (
    REQUEST_FAILED,
    RUN_FAILED,
    FailureAlert,
    attempt_of,
    reported_kind,
)
from skill_batch.placement import placement_of
from skill_batch.task_docs import task_doc
from include.skillreport.core.failure_kinds import NO_RESULT, kind_of
from include.skillreport.core.operation_catalog import APPROVALS
from include.skillreport.core.run_plan import (
    ANNOUNCE,
    CLOSE_RUN,
    OPEN_RUN,
    REQUEST_APPROVAL,
    Needs,
    Step,
    plan_of,
)
from include.skillreport.core.run_spec import BatchSpec, OperationSpec, Severity
from include.skillreport.core.worker_slots import CONCURRENCY

if TYPE_CHECKING:
    from airflow.sdk import Context

    from skill_batch.installation import AirflowInstallation
    from include.skillreport.core.errors import BatchError
    from include.skillreport.core.execution.batch import Batch, Run
    from include.skillreport.core.execution.flow import RunRequest
    from include.skillreport.core.execution.openings import TaskKey
    from include.skillreport.core.execution.run_log import MappedInstance
    from include.skillreport.core.execution.sharding import Shard
    from include.skillreport.core.run_spec import RunSpec

log = logging.getLogger(__name__)

BATCHES_PARAMETER = "batches"

_RUN_KEY = "run"

# The XCom of a failed instance: its shard, and the code and the reason of its error.
_ERROR_KEY = "error"

# Run types of the scheduler; all others are manual.
_SCHEDULED, _BACKFILL = "scheduled", "backfill"
_RUN_DATES = {"business_date": date, "run_date": date, "run_at": datetime}


class BatchFlow:
    """The tasks of one batch, in the current DAG or task group. A method without arguments adds the step with its name."""

    def __init__(self, spec: RunSpec) -> None:
        self.spec = spec

    def open_run(self) -> tuple[Any, Any]:
        """Check the form and the database, and open the run. Returns the run and the shards to map over."""

        @task(
            **task_arguments(self.spec, OPEN_RUN),
            # In a family DAG, the task runs after a skipped batch, but not after a failed one.
            trigger_rule=TriggerRule.NONE_FAILED,
            show_return_value_in_logs=False,  # up to a thousand shards
            on_failure_callback=failure_alert(self.spec),
        )
        def open_run() -> list[dict[str, Any]]:
            return self._open_run(get_current_context())

        shards = open_run()
        # Airflow maps only over return values, so the run is a separate XCom.
        return shards[_RUN_KEY], shards  # type: ignore[index]

    def own_step(self, step: Step, run: Any) -> Any:
        """Add a batch-specific step, which runs once per run."""

        @task(**task_arguments(self.spec, step), on_failure_callback=failure_alert(self.spec))
        def own_step(run: dict[str, Any]) -> None:
            from include.skillreport.core.execution.flow import run_step

            batch, installation = self._batch()
            run_step(self.spec, batch, _run_now(run), installation, task_key(get_current_context()))

        return own_step(run)

    def mapped_step(self, step: Step, run: Any, shards: Any) -> Any:
        """Add the step that is mapped over the shards. It has no failure callback: ``close_run`` reports failed instances."""

        @task(
            **task_arguments(self.spec, step),
            max_active_tis_per_dagrun=CONCURRENCY,
            map_index_template="{{ tenants_label }}",
        )
        def process(run: dict[str, Any] | None, shard: dict[str, Any] | None) -> dict[str, int]:
            return self._process(_run_now(run), shard, get_current_context())

        return process.partial(run=run).expand(shard=shards)

    def request_approval(self) -> Any:
        """Request the approval of the items that the mapped task holds. The task does not affect the run's result and does not wait for
        an answer.
        """

        @task(
            **task_arguments(self.spec, REQUEST_APPROVAL),
            trigger_rule=TriggerRule.ALL_DONE,  # a held invoice is a failed instance
            # Must differ from the key of the run's failure. Otherwise close_run could not send the list of the failed tenants.
            on_failure_callback=failure_alert(self.spec, REQUEST_FAILED),
        )
        def request_approval() -> dict[str, Any]:
            from skill_batch.approvals import request_approval

            context = get_current_context()
            return request_approval(self.spec, context, self._pull(context, key=_RUN_KEY))

        return request_approval()

    def close_run(self) -> Any:
        """Close the run and send alerts. Fails if a part of the run failed."""

        @task(
            **task_arguments(self.spec, CLOSE_RUN),
            trigger_rule=TriggerRule.ALL_DONE,
            on_failure_callback=failure_alert(self.spec),
        )
        def close_run() -> dict[str, Any]:
            return self._close_run(get_current_context())

        return close_run()

    def announce(self) -> Any:
        """Announce the results of a complete run to other teams' DAGs. Skipped if there are none.

        Not a teardown: Airflow finishes the teardowns of a run that a user marks as failed, and then reports success. Only this task
        has inlets or outlets, because Airflow fails a task whose inlets or outlets are inactive.
        """

        spec = self.spec
        assert isinstance(spec, BatchSpec), "only batches make assets"

        @task(
            **task_arguments(spec, ANNOUNCE),
            inlets=[asset_of(each) for each in spec.reads],
            outlets=[asset_of(each) for each in spec.makes],
            on_failure_callback=failure_alert(spec, severity=Severity.MEDIUM),
        )
        def announce() -> None:
            self._announce(spec, get_current_context())

        return announce()

    def _batch(self) -> tuple[Batch, AirflowInstallation]:
        from include.skillreport.core.execution.batch import create_batch

        installation = _installation()
        return create_batch(self.spec, installation), installation

    def _open_run(self, context: Context) -> list[dict[str, Any]]:
        from include.skillreport.core.execution.batch import NotDueError
        from include.skillreport.core.execution.flow import open_run
        from include.skillreport.core.execution.parameters import require_known

        chosen = context["params"].get(BATCHES_PARAMETER)
        if chosen is not None and self.spec.id not in chosen:
            raise AirflowSkipException(f"{self.spec.id} は選ばれていません")
        # open_run explains why tenants cannot be selected.
        require_known(context["dag_run"].conf or {}, {*context["dag"].params, "tenants"})
        batch, installation = self._batch()
        try:
            run, shards = open_run(self.spec, batch, self.run_request(context), installation)
        except NotDueError as error:
            raise AirflowSkipException(str(error)) from None
        dates = {name: getattr(run, name).isoformat() for name in _RUN_DATES}
        context["ti"].xcom_push(_RUN_KEY, {**asdict(run), **dates})
        return [asdict(shard) for shard in shards]

    def _process(self, run: Run, shard_xcom: dict[str, Any] | None, context: Context) -> dict[str, int]:
        from include.skillreport.core.execution.batch import create_batch
        from include.skillreport.core.execution.flow import fail_shard, process_shard
        from include.skillreport.core.execution.run_log import RecordsDeletedError
        from include.skillreport.core.execution.shard_work import UnitsFailedError
        from include.skillreport.core.execution.sharding import Shard

        if not shard_xcom or "number" not in shard_xcom:
            raise RecordsDeletedError
        shard: Shard = Shard(**shard_xcom)
        context["tenants_label"] = shard.label  # type: ignore[typeddict-unknown-key]
        installation = _installation()
        try:
            batch = create_batch(self.spec, installation)
            report = process_shard(self.spec, batch, run, shard, installation, task_key(context))
        except (Exception, AirflowTaskTimeout) as error:
            if not is_outage(error):  # In an outage, Airflow does not return the database connection either.
                _keep_error(context, shard, error)
                fail_shard(self.spec, run, shard, error, installation)
            raise
        if report.failures:
            raise UnitsFailedError(report.failures)
        return {
            "tenants": len(report.results),
            "records": sum(result.records for result in report.results),
        }

    def _close_run(self, context: Context) -> dict[str, Any]:
        from skill_batch.closing import alert_operators
        from include.skillreport.core.execution.flow import close_run

        ti = context["ti"]
        states, run_xcom, error = self._earlier_steps(context)
        batch, installation = self._batch()
        run = run_of(run_xcom)
        closed = close_run(
            self.spec,
            batch,
            run,
            installation,
            error=error,
            failed_instances=self._failed_instances(context, states),
            attempt=attempt_of(context),
            task=task_key(context),
        )
        if not run.dry_run:
            alert_operators(self.spec, closed.result, ti, attempt_of(context))
        if closed.failure:
            raise closed.failure
        result = closed.result
        return {
            "execution_id": result.execution_id,
            "total_tenants": result.total_tenants,
            "success_count": result.success_count,
            "records": result.records,
        }

    def _announce(self, spec: BatchSpec, context: Context) -> None:
        from include.skillreport.core.execution.announcement import announcement_of

        batch, installation = self._batch()
        run = run_of(self._pull(context, key=_RUN_KEY))
        announcement = announcement_of(spec, batch, run, installation)
        if announcement is None:
            raise AirflowSkipException(f"{spec.id} のこの実行には、ほかの DAG に告知するものがありません")
        add_events(spec, announcement, context)

    def _earlier_steps(self, context: Context) -> tuple[dict[str, Any], Any, Exception | None]:
        """The states of this flow's task instances, the run, and the first failed step's error before the mapped task.

        :raises AirflowSkipException: the run was skipped. :raises EarlierStepFailedError: ``open_run`` failed.
        """
        ti, plan = context["ti"], plan_of(self.spec)
        ids = {step: _task_id(context, step) for step in plan[: plan.index(CLOSE_RUN)]}
        states = ti.get_task_states(dag_id=ti.dag_id, task_ids=list(ids.values()), run_ids=[ti.run_id]).get(
            ti.run_id, {}
        )
        opening = ids[OPEN_RUN]
        if states.get(opening) == "skipped":
            raise AirflowSkipException(
                f"{self.spec.id} は実行されませんでした。理由は open_run のログにあります"
            )
        if states.get(opening) != "success":
            # If a step before open_run failed, open_run did not start.
            ended = ("success", "skipped")
            first = next(task_id for task_id in ids.values() if states.get(task_id) not in ended)
            if states.get(first) == "upstream_failed":
                raise self._earlier_batch_failed(context)
            raise _earlier_step_failed(context, first)
        unmapped = [ids[step] for step in ids if Needs.RUN in step.needs and not step.is_mapped]
        failed = next((task_id for task_id in unmapped if states.get(task_id) != "success"), None)
        error = _earlier_step_failed(context, failed) if failed else None
        return states, self._pull(context, key=_RUN_KEY), error

    def _earlier_batch_failed(self, context: Context) -> Exception:
        """The error of a batch that did not start because the batch before it in the family's DAG failed. That batch sends the alert."""
        from include.skillreport.core.execution.run_log import EarlierStepFailedError

        assert isinstance(self.spec, BatchSpec), "an operation waits for no batch"
        earlier = self.spec.after
        assert earlier, f"{self.spec.id} waits for no batch"
        kinds = (
            reported_kind(context["ti"], f"{earlier.slug}.{step.id}", attempt_of(context))
            for step in plan_of(earlier)
            if not step.is_mapped
        )
        return EarlierStepFailedError(f"{earlier.slug}.{CLOSE_RUN.id}", next(filter(None, kinds), NO_RESULT))

    def _failed_instances(self, context: Context, states: dict[str, Any]) -> list[MappedInstance]:
        from include.skillreport.core.execution.run_log import MappedInstance

        found = [
            (task_id, int(index))
            for name, state in states.items()
            for task_id, _, index in [name.rpartition("_")]
            if state == "failed" and task_id.rpartition(".")[2] == self.spec.mapped_task and index.isdigit()
        ]
        if not found:
            return []
        shards = self._pull(context) or []
        errors = _kept_errors(context, found[0][0])
        instances = []
        for task_id, index in found:
            shard = shards[index] if index < len(shards) else {}
            number = shard.get("number", -1)
            instances.append(
                MappedInstance(task_id, index, shard.get("label", ""), number, errors.get(number))
            )
        return instances

    def run_request(self, context: Context) -> RunRequest:
        """The run as the scheduler or a user requested it."""
        return _request(context)

    @staticmethod
    def _pull(context: Context, key: str = "return_value") -> Any:
        return context["ti"].xcom_pull(task_ids=_task_id(context, OPEN_RUN), key=key)


def _task_id(context: Context, step: Step) -> str:
    group, dot, _ = context["ti"].task_id.rpartition(".")
    return f"{group}{dot}{step.id}"


def task_arguments(spec: RunSpec, step: Step) -> dict[str, Any]:
    """The task arguments of a step, from its plan and the project's settings."""
    return {
        "task_id": step.id,
        "task_display_name": step.title,
        "doc_md": task_doc(spec, step.id),
        **placement_of(spec, step.id),
    }


def failure_alert(
    spec: RunSpec, event: str = RUN_FAILED, *, severity: Severity | None = None
) -> FailureAlert:
    """A new alert for each task, because rendering changes a notifier. ``severity`` defaults to the run's."""
    return FailureAlert(
        spec.id,
        spec.name,
        (severity or spec.run_severity).name,
        spec.mapped_task,
        partial(kind_of, spec),
        is_operation=isinstance(spec, OperationSpec),
        is_approval=spec in APPROVALS.values(),
        event=event,
    )


def run_of(xcom: dict[str, Any] | None) -> Run:
    """The run from the XCom of ``open_run``. :raises RecordsDeletedError: Airflow no longer has it (``airflow db clean``)."""
    from include.skillreport.core.execution.batch import Run
    from include.skillreport.core.execution.run_log import RecordsDeletedError

    if not xcom:
        raise RecordsDeletedError
    dates = {name: kind.fromisoformat(xcom[name]) for name, kind in _RUN_DATES.items() if name in xcom}
    return Run(**{**xcom, **dates})


def _run_now(xcom: dict[str, Any] | None) -> Run:
    """The run with its current number of clears. A cleared task reads the application's rows again."""
    return replace(run_of(xcom), attempt=attempt_of(get_current_context()))


def _installation() -> AirflowInstallation:
    from skill_batch.installation import AirflowInstallation

    return AirflowInstallation()


def _request(context: Context) -> RunRequest:
    from include.skillreport.core.execution.flow import RunRequest

    dag_run = context["dag_run"]
    return RunRequest(
        dag_id=dag_run.dag_id,
        run_id=dag_run.run_id,
        # A manual run may have no logical date.
        run_at=dag_run.logical_date or dag_run.run_after,
        parameters=context["params"],
        attempt=attempt_of(context),
        triggered_by=dag_run.triggering_user_name,
        one_of_many=BATCHES_PARAMETER in context["params"],
        ticked_at=dag_run.logical_date if dag_run.run_type in (_SCHEDULED, _BACKFILL) else None,
        is_backfill=dag_run.run_type == _BACKFILL,
        task=task_key(context),
    )


def _earlier_step_failed(context: Context, step: str) -> Exception:
    from include.skillreport.core.execution.run_log import EarlierStepFailedError

    return EarlierStepFailedError(step, reported_kind(context["ti"], step, attempt_of(context)))


def _keep_error(context: Context, shard: Shard, error: BaseException) -> None:
    """Push the error for ``close_run``: without a database, the instance cannot record it."""
    from include.skillreport.core.errors import code_of, reason_of

    kept = {"shard": shard.number, "code": code_of(error), "reason": reason_of(error)}
    try:
        context["ti"].xcom_push(_ERROR_KEY, kept)
    except Exception as another:
        log.warning("The error could not be kept for close_run: %s", another)


def _kept_errors(context: Context, task_id: str) -> dict[int, BatchError]:
    """The last error of each instance of the mapped task, by the number of its shard. Airflow deletes it when the next attempt starts."""
    from include.skillreport.core.errors import BatchError

    pulled = context["ti"].xcom_pull(task_ids=task_id, key=_ERROR_KEY)
    errors = {}
    for kept in filter(None, pulled if isinstance(pulled, list) else [pulled]):
        errors[kept["shard"]] = error = BatchError(kept["reason"])
        error.code = kept["code"]
    return errors


def task_key(context: Context) -> TaskKey:
    """The current try of the task instance."""
    from include.skillreport.core.execution.openings import TaskKey

    ti = context["ti"]
    return TaskKey(
        ti.task_id,
        -1 if ti.map_index is None else ti.map_index,
        ti.try_number,
        ti.max_tries,
        context["task"].retries or 0,
    )
