"""The flow of one run of a batch, shared by its own DAG and by its family's DAG.

::

    open_run ──► prepare ──► process (one mapped instance per tenant, or per shard of tenants) ──► close_run

A batch whose tenants need something else first gives another step in place of ``prepare``. A batch that is not per tenant has units of
its own in the tenants' place (``PlatformBatch``), each an instance and an outcome, and nothing to prepare.

Each task imports what it needs when it runs: parsing a DAG file costs nothing but Airflow.
"""

from __future__ import annotations

import hashlib
import logging
import math
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow.sdk import TriggerRule, chain, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException, AirflowTaskTimeout

from skill_batch.lookup import is_outage
from skill_batch.metrics import record_metrics
from skill_batch.notifiers.alert import Alert
from skill_batch.notifiers.deadline_alert import slow_alert
from skill_batch.notifiers.delivery import deliver, deliver_waiting, load_channels
from skill_batch.notifiers.failure_alert import REPORTED_KEY, FailureAlert, attempt_of
from skill_batch.performance import ORDINARY_ACTIONS, load_history, slowness

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import psycopg
    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol as RuntimeTaskInstance

    from include.catalog import BatchSpec
    from include.execution.digest import Digest
    from include.execution.object_store import ObjectStore
    from include.execution.run_log import RunResult, TenantSelection
    from include.execution.tenant_work import Batch, Run, ShardReport
    from include.messaging.message import Network
    from skill_batch.performance import Slowness

log = logging.getLogger(__name__)

# At most this many mapped instances of a run at a time (batch list, section 5.2, "concurrency").
CONCURRENCY = 5

# How much of a batch's time limit sending may take, and what a shard gets at least.
_SENDING_SHARE = 0.8
_LEAST_SEND_SECONDS = 60

# The parameter of a family DAG that holds the ids of the batches to run.
BATCHES_PARAMETER = "batches"

_RUN_KEY = "run"
_RUN_DATES = {"business_date": date, "run_date": date, "run_at": datetime}


# Builds the tasks between open_run and process, in their order, from the registry's entry, the run and its shards; gives their outputs.
FirstSteps: TypeAlias = "Callable[[BatchSpec, Any, Any], list[Any]]"


def read_logs(spec: BatchSpec, run: Any, shards: Any) -> list[Any]:
    """The first step of a batch that reads the host's large tables once for all tenants."""

    @task(task_id="prepare", task_display_name="ログ読込", on_failure_callback=failure_alert(spec))
    def prepare(run: dict[str, Any], shards: list[dict[str, Any]]) -> None:
        _prepare(spec, run, shards, get_current_context())

    return [prepare(run, shards)]


def failure_alert(spec: BatchSpec) -> FailureAlert:
    """An alert of its own for each task: a notifier renders its texts in place."""
    return FailureAlert(spec.id, spec.name, spec.run_severity.name)


def tenant_flow(spec: BatchSpec, first_steps: FirstSteps | None = read_logs) -> None:
    """Add the batch's tasks to the DAG, or to the task group, that is being built. Without first steps, the units follow at once."""

    @task(
        task_id="open_run",
        task_display_name="開始",
        # In a family's DAG: a batch before this one that was not chosen is skipped, and only one that failed stops this one.
        trigger_rule=TriggerRule.NONE_FAILED,
        show_return_value_in_logs=False,  # every tenant's id
        on_failure_callback=failure_alert(spec),
    )
    def open_run() -> list[dict[str, Any]]:
        return _open_run(spec, get_current_context())

    @task(
        task_id="process",
        task_display_name="テナント処理",
        max_active_tis_per_dagrun=CONCURRENCY,
        map_index_template="{{ tenants_label }}",
    )
    def process(run: dict[str, Any], shard: dict[str, Any]) -> dict[str, int]:
        return _process(spec, run, shard, get_current_context())

    @task(
        task_id="close_run",
        task_display_name="終了・結果",
        trigger_rule=TriggerRule.ALL_DONE,
        on_failure_callback=failure_alert(spec),
    )
    def close_run(first_step_ids: list[str]) -> dict[str, Any]:
        return _close_run(spec, first_step_ids, get_current_context())

    # Airflow maps over a task's return value only; the run travels beside it, under a key of its own.
    shards = open_run()
    run = shards[_RUN_KEY]  # type: ignore[index]
    processed = process.partial(run=run).expand(shard=shards)
    steps = first_steps(spec, run, shards) if first_steps else []
    chain(*steps, processed, close_run([step.operator.task_id for step in steps]))


def _open_run(spec: BatchSpec, context: Context) -> list[dict[str, Any]]:
    """Check parameters and database, close orphaned log rows, write this run's, and hand out the shards of tenants."""
    from include.catalog import WorksOn
    from include.execution import run_log
    from include.execution.business_date import JAPAN, business_date_of, is_past, period_of, require_past
    from include.execution.parameters import parse_parameters, require_known
    from include.execution.sharding import shard_tenants
    from include.migrations.deployment_check import check_deployment
    from include.settings import load_settings
    from skill_batch.hooks.tenant_db import PlatformDbHook

    chosen = context["params"].get(BATCHES_PARAMETER)
    if chosen is not None and spec.id not in chosen:
        raise AirflowSkipException(f"{spec.id} は選ばれていません")

    require_known(context["dag_run"].conf or {}, context["dag"].params)
    parameters = parse_parameters(context["params"])
    business_date, last_day = period_of(
        parameters.business_date or business_date_of(_run_instant(context), spec.works_on), spec.works_on
    )
    now = datetime.now(UTC)
    if chosen is not None and spec.works_on is WorksOn.PREVIOUS_MONTH and not is_past(last_day, now):
        # A family is caught up day by day; its monthly batches have their turn when the month is over.
        raise AirflowSkipException(f"{business_date:%Y-%m} はまだ終わっていないため、{spec.id} は対象外です")
    require_past(last_day, spec.works_on, now)
    batch = _implementation(spec)
    # Whether the places for files and the mail server are named shows before anything is written.
    _store_of(batch, parameters.dry_run)
    _network_of(batch, parameters.dry_run)
    settings = load_settings()
    dag_run = context["dag_run"]

    with PlatformDbHook(statement_timeout=spec.time_limit).connect() as platform:
        check_deployment(platform)
        selection = _select(platform, batch, parameters.tenants, business_date)
        options = batch.options(context["params"], selection.tenants, all_tenants=not parameters.tenants)
        batch.verify(platform, options, selection.tenants)
        parts = batch.parts(platform, selection.tenants)
        for execution in run_log.running_executions(platform, spec.id):
            reason = run_log.orphan_reason(
                execution,
                reopened_by=(dag_run.dag_id, dag_run.run_id),
                is_alive=_is_alive,
                now=now,
                time_limit=spec.time_limit,
            )
            if reason:
                log.warning("Execution %s is orphaned: %s", execution.execution_id, reason)
                run_log.close_orphan(platform, execution.execution_id, reason)
        run = run_log.open_execution(
            platform,
            spec,
            dag_id=dag_run.dag_id,
            run_id=dag_run.run_id,
            business_date=business_date,
            run_date=_run_instant(context).astimezone(JAPAN).date(),
            dry_run=parameters.dry_run,
            parameters=context["params"],
            tenants=selection.tenants,
            options=options,
            parts=parts,
            run_at=_run_instant(context),
            attempt=attempt_of(context),
        )
    shards = shard_tenants(selection.tenants, settings.execution, parts)
    run = replace(run, send_seconds=_send_seconds(spec, len(shards)))
    for tenant, status in selection.left_out:
        log.warning("Tenant %s (%r) is left out: %s", tenant.code, tenant.id, status)
    log.info(
        "%s opened for %s with %d tenants%s",
        run.execution_id,
        business_date,
        len(selection.tenants),
        " (dry run)" if run.dry_run else "",
    )
    context["ti"].xcom_push(
        _RUN_KEY,
        {**asdict(run), **{name: getattr(run, name).isoformat() for name in _RUN_DATES}},
    )
    return [asdict(shard) for shard in shards]


def _select(
    platform: psycopg.Connection, batch: Batch, codes: Sequence[str], business_date: date
) -> TenantSelection:
    """The tenants of the run, or the units of a batch that is not per tenant."""
    from include.execution.run_log import TenantSelection, select_tenants
    from include.execution.tenant_work import PlatformBatch

    if isinstance(batch, PlatformBatch):
        return TenantSelection(batch.select(codes), [])
    return select_tenants(platform, codes, batch.further_tenants(platform, business_date))


def _prepare(
    spec: BatchSpec, run_xcom: dict[str, Any], shards: list[dict[str, Any]], context: Context
) -> None:
    """Read the host's large tables once for all tenants of the run."""
    from include.errors import reason_of
    from include.execution import run_log, tenant_work
    from include.execution.resource_usage import ResourceUsage
    from skill_batch.hooks.tenant_db import PlatformDbHook

    run, usage = run_of(run_xcom), ResourceUsage()
    tenant_ids = [tenant_id for shard in shards for tenant_id in shard["tenant_ids"]]
    with PlatformDbHook(statement_timeout=spec.time_limit).connect() as platform:
        for tenant_id, error in tenant_work.prepare(platform, _implementation(spec), run, tenant_ids).items():
            log.warning("Tenant %s cannot be prepared: %s", tenant_id, reason_of(error))
        run_log.record_task_metric(platform, run, *_task_key(context), usage.stop())


def run_step(
    spec: BatchSpec,
    run_xcom: dict[str, Any],
    context: Context,
    step: Callable[[Batch, psycopg.Connection, Run, ObjectStore | None], None],
) -> None:
    """Do a step of a batch's own for the whole run, and keep what it used."""
    from include.execution import run_log
    from include.execution.resource_usage import ResourceUsage
    from skill_batch.hooks.tenant_db import PlatformDbHook

    run, usage = run_of(run_xcom), ResourceUsage()
    batch = _implementation(spec)
    with PlatformDbHook(statement_timeout=spec.time_limit).connect() as platform:
        step(batch, platform, run, _store_of(batch, run.dry_run))
        run_log.record_task_metric(platform, run, *_task_key(context), usage.stop())


def _process(
    spec: BatchSpec, run_xcom: dict[str, Any], shard: dict[str, Any], context: Context
) -> dict[str, int]:
    """Do one shard's tenants; the instance fails if any of them failed, so that an operator can clear exactly this one."""
    from include.execution import tenant_work
    from include.execution.business_date import JAPAN

    context["tenants_label"] = shard["label"]  # type: ignore[typeddict-unknown-key]
    run = run_of(run_xcom)
    # An instance that is cleared later does its work later, and what it dates says so.
    today = datetime.now(UTC).astimezone(JAPAN).date()
    run = replace(run, part=shard["part"], run_date=max(run.run_date, today))
    try:
        report = _work_on_shard(spec, run, shard["tenant_ids"], context)
    except (Exception, AirflowTaskTimeout) as error:
        if not is_outage(error):  # then Airflow cannot be asked for the database either
            _keep_reason(spec, run, shard["tenant_ids"], error)
        raise
    for result in report.results:
        for note in result.notes:
            log.warning("Tenant %s: %s", result.tenant_id, note)
        for line in result.report:
            log.info("%s", line)
    if report.failures:
        raise tenant_work.TenantsFailedError(report.failures)
    return {"tenants": len(report.results), "records": sum(result.records for result in report.results)}


def _work_on_shard(spec: BatchSpec, run: Run, tenant_ids: list[str], context: Context) -> ShardReport:
    from include.execution import run_log, tenant_work
    from include.execution.resource_usage import ResourceUsage
    from skill_batch.hooks.tenant_db import PlatformDbHook, TenantDbHook

    usage = ResourceUsage()
    with (
        PlatformDbHook(statement_timeout=spec.time_limit).connect() as platform,
        TenantDbHook(statement_timeout=spec.time_limit).connect() as connection,
    ):
        run_log.begin_shard(platform, run, tenant_ids)
        batch = _implementation(spec)
        store = _store_of(batch, run.dry_run)
        if isinstance(batch, tenant_work.PlatformBatch):
            report = tenant_work.work_on_units(platform, batch, run, tenant_ids, store)
        else:
            assert isinstance(batch, tenant_work.TenantBatch), "a batch is one or the other"
            report = tenant_work.process_shard(
                connection,
                platform,
                batch,
                run,
                tenant_ids,
                store,
                _network_of(batch, run.dry_run),
            )
        run_log.record_task_metric(platform, run, *_task_key(context), usage.stop())
    return report


def _keep_reason(spec: BatchSpec, run: Run, tenant_ids: list[str], error: BaseException) -> None:
    """Write down why the shard's task failed as a whole, for the alert of ``close_run``."""
    from include.execution import run_log
    from skill_batch.hooks.tenant_db import PlatformDbHook

    try:
        with PlatformDbHook(statement_timeout=spec.time_limit).connect() as platform:
            run_log.fail_shard(platform, run, tenant_ids, error)
    except Exception as another:
        log.warning("The reason could not be written down: %s", another)


def _close_run(spec: BatchSpec, first_step_ids: list[str], context: Context) -> dict[str, Any]:
    """Close the execution log with what became of the tenants; fail, and alert, unless all of them succeeded."""
    import psycopg

    from include.errors import reason_of
    from include.execution import run_log
    from skill_batch.hooks.tenant_db import PlatformDbHook

    ti = context["ti"]
    process_id = f"{ti.task_id.removesuffix('close_run')}process"
    opening_id = f"{ti.task_id.removesuffix('close_run')}open_run"
    states = ti.get_task_states(
        dag_id=ti.dag_id,
        task_ids=[opening_id, *first_step_ids, process_id],
        run_ids=[ti.run_id],
    ).get(ti.run_id, {})
    if states.get(opening_id) == "skipped":
        raise AirflowSkipException(f"{spec.id} は実行されませんでした。理由は open_run のログにあります")
    if states.get(opening_id) != "success":
        raise _earlier_step_failed(ti, opening_id)
    run = run_of(ti.xcom_pull(task_ids=opening_id, key=_RUN_KEY))
    batch = _implementation(spec)
    error: Exception | None = None
    # The first of them: those after it were not even begun.
    unsuccessful = next((step for step in first_step_ids if states.get(step) != "success"), None)
    if unsuccessful:
        error = _earlier_step_failed(ti, unsuccessful)
    with PlatformDbHook(statement_timeout=spec.time_limit).connect() as platform:
        run_log.mark_reopened(platform, run)
        if error is None:
            error = _finish(batch, platform, run)
        result = run_log.close_execution(
            platform, run, reason_of(error) if error else None, attempt=attempt_of(context)
        )
        lost = [name for name, state in states.items() if name.startswith(process_id) and state == "failed"]
        if lost and result.status == "completed":
            # An instance that could not even reach the database has left the outcomes of an earlier try.
            error = run_log.InstancesFailedError(lost)
            result = run_log.close_execution(platform, run, reason_of(error), attempt=attempt_of(context))
        batch.discard(platform, run)
        slow = _slowness(platform, spec, run, result, ti.run_id)
        log.info("%s", result.sentence())
        if not run.dry_run:
            # What the digest marks as told is told, or else told by the next run.
            with platform.transaction() as transaction:
                if not _tell_digest(batch.digest(platform, run), result, ti):
                    raise psycopg.Rollback(transaction)
    if not run.dry_run:
        _tell_operators(spec, result, slow, ti)
        record_metrics(result)
    if isinstance(error, run_log.EarlierStepFailedError) or (error and not result.failed_tenants):
        raise error
    if result.status != "completed":
        raise run_log.RunFailedError(result)
    return {
        "execution_id": result.execution_id,
        "total_tenants": result.total_tenants,
        "success_count": result.success_count,
        "records": result.records,
    }


def _earlier_step_failed(ti: RuntimeTaskInstance, step: str) -> Exception:
    from include.execution.run_log import EarlierStepFailedError

    return EarlierStepFailedError(step, is_reported=bool(ti.xcom_pull(task_ids=step, key=REPORTED_KEY)))


def _slowness(
    platform: psycopg.Connection, spec: BatchSpec, run: Run, result: RunResult, run_id: str
) -> Slowness | None:
    """How slow the run was, if it did what the earlier ones did: completed, wrote, and did the batch's own work."""
    is_own_work = run.options.get("action") in (None, *ORDINARY_ACTIONS)
    if run.dry_run or not is_own_work or result.status != "completed":
        return None
    return slowness(result.execution_seconds, load_history(platform, spec.id, run_id))


def _tell_digest(digest: Digest, result: RunResult, ti: RuntimeTaskInstance) -> bool:
    """Send the batch's own words; the log has them in any case. Returns whether they are on their way."""
    for line in digest.lines:
        log.info("%s", line)
    if not digest.lines:
        return True
    title, *rest = digest.lines
    # Closed again with the same words (an instance was cleared), they are not said again.
    words = hashlib.sha256("\n".join(digest.lines).encode()).hexdigest()[:16]
    alert = Alert(
        title, tuple(rest), links=_links(ti), severity="CRITICAL" if digest.is_critical else "MEDIUM"
    )
    return deliver(alert, f"digest:{result.execution_id}:{words}", load_channels())


def _tell_operators(
    spec: BatchSpec, result: RunResult, slow: Slowness | None, ti: RuntimeTaskInstance
) -> None:
    """Send the performance alert, and what earlier runs could not deliver. A failure is told by the task's callback."""
    channels = load_channels()
    if slow:
        alert = slow_alert(spec.id, spec.name, result.execution_id, slow, _links(ti), has_ended=True)
        log.warning("%s", alert.as_text())
        # The key of the alert that may have been sent while the run was still going.
        deliver(alert, f"slow:{ti.dag_id}:{ti.run_id}", channels)
    deliver_waiting(channels)


def _links(ti: RuntimeTaskInstance) -> tuple[tuple[str, str], ...]:
    return (("実行を開く", ti.log_url.split("/tasks/")[0]),)


def _finish(batch: Batch, platform: psycopg.Connection, run: Run) -> Exception | None:
    """Write the files that span tenants; returns what prevented it, so that the run is closed in any case."""
    try:
        store = _store_of(batch, run.dry_run)
        if store:
            batch.finish(platform, run, store)
    except Exception as error:
        return error
    return None


def _send_seconds(spec: BatchSpec, shards: int) -> int:
    """A shard's share of the time limit, so that a few long queues leave all others their turn; the rest waits for the next run."""
    waves = math.ceil(shards / CONCURRENCY)
    share: float = spec.time_limit.total_seconds() * _SENDING_SHARE / max(1, waves)
    return max(_LEAST_SEND_SECONDS, int(share))


def _store_of(batch: Batch, dry_run: bool) -> ObjectStore | None:
    """The object store, for a batch that writes files, in a run that writes."""
    from skill_batch.object_storage import object_store

    return object_store() if batch.writes_files and not dry_run else None


def _network_of(batch: Batch, dry_run: bool) -> Network | None:
    """What messages go through, for a batch that sends, in a run that does, and services are asked through, in any run."""
    from skill_batch.network import network

    sends = batch.sends_messages and not dry_run
    return network(with_mail=sends) if sends or batch.asks_services else None


def _run_instant(context: Context) -> datetime:
    """The run's own date; a run triggered without a logical date (API, form) has only ``run_after``."""
    dag_run = context["dag_run"]
    return dag_run.logical_date or dag_run.run_after


def _is_alive(dag_id: str, run_id: str) -> bool:
    """Whether Airflow still has this run, and not ended."""
    ti = get_current_context()["ti"]
    return ti.get_dr_count(dag_id=dag_id, run_ids=[run_id], states=["queued", "running"]) > 0


def run_of(xcom: dict[str, Any]) -> Run:
    """The run, from what ``open_run`` has put into XCom."""
    from include.execution.tenant_work import Run

    dates = {name: kind.fromisoformat(xcom[name]) for name, kind in _RUN_DATES.items() if name in xcom}
    return Run(**{**xcom, **dates})


def _implementation(spec: BatchSpec) -> Batch:
    from skill_batch.installation import AirflowInstallation

    batch: Batch = import_module(spec.module).create_batch()
    batch.install(AirflowInstallation())
    return batch


def _task_key(context: Context) -> tuple[str, int]:
    ti = context["ti"]
    return ti.task_id, -1 if ti.map_index is None else ti.map_index
