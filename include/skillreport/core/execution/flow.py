"""The flow of one run: open it, prepare its tenants, process its shards, close it.

Airflow's tasks, the demo, the tests and the benchmarks call it with an ``Installation`` for the database, the files and the time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import partial
from typing import Any

import psycopg

from include.skillreport.core.errors import SettingsError, reason_of
from include.skillreport.core.execution import run_log, shard_log
from include.skillreport.core.execution.batch import (
    Batch,
    Request,
    Run,
    RunRemark,
    TenantBatch,
    UnitBatch,
    WiringError,
    Work,
)
from include.skillreport.core.execution.business_date import JAPAN, business_date_of, period_of
from include.skillreport.core.execution.cleared_operations import (
    require_own_act,
    require_some,
    require_uncleared,
    require_unclosed,
    scope_of,
)
from include.skillreport.core.execution.digest import Digest
from include.skillreport.core.execution.installation import Installation
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.openings import Opened, TaskKey, record_opening
from include.skillreport.core.execution.parameters import RunParameters, parse_parameters, require_applicable
from include.skillreport.core.execution.people import keep_known_keys
from include.skillreport.core.execution.resource_usage import ResourceUsage
from include.skillreport.core.execution.resumption import decide_deferral
from include.skillreport.core.execution.run_log import (
    EarlierStepFailedError,
    MappedInstance,
    RunFailedError,
    RunResult,
)
from include.skillreport.core.execution.run_remarks import record_digest, record_remark
from include.skillreport.core.execution.settings import ExecutionSettings, IdentitySettings
from include.skillreport.core.execution.shard_work import ShardReport, prepare, work_on_tenants, work_on_units
from include.skillreport.core.execution.sharding import Shard, Unit, shard_tenants
from include.skillreport.core.execution.shown import options_with_shown
from include.skillreport.core.execution.temporary_files import delete_left_folders
from include.skillreport.core.execution.tenant_selection import (
    TenantSelection,
    select_found_tenants,
    select_tenants,
)
from include.skillreport.core.network import Network
from include.skillreport.core.run_plan import CLOSE_RUN, OPEN_RUN, READ_LOGS
from include.skillreport.core.run_spec import RunSpec
from include.skillreport.core.version import VERSION
from include.skillreport.core.worker_slots import CONCURRENCY

log = logging.getLogger(__name__)

# All shards together may send for this share of the time limit, each for at least this many seconds.
_SENDING_SHARE = 0.8
_LEAST_SEND_SECONDS = 60

# Of callers that close a run once.
CLOSING = TaskKey(CLOSE_RUN.id)


@dataclass(frozen=True)
class RunRequest:
    """A run as the scheduler describes it.

    ``run_at`` (aware) is its logical date, or the time of its trigger. ``attempt`` counts the clears of the run. ``one_of_many``: the run
    contains several batches (a family DAG). ``ticked_at`` (aware) is the scheduled time; None for a manual run. ``is_backfill``: Airflow
    runs this time later. ``task`` is the try of ``open_run``.
    """

    dag_id: str
    run_id: str
    run_at: datetime
    parameters: Mapping[str, Any]
    attempt: int = 0
    triggered_by: str | None = None
    one_of_many: bool = False
    ticked_at: datetime | None = None
    is_backfill: bool = False
    task: TaskKey = field(default_factory=lambda: TaskKey(OPEN_RUN.id))


@dataclass(frozen=True)
class ClosedRun:
    """The result of a run. ``error`` is a failure outside the tenants' work."""

    result: RunResult
    error: Exception | None

    @property
    def failure(self) -> Exception | None:
        """The reason why the run failed; None if everything succeeded."""
        if isinstance(self.error, EarlierStepFailedError) or (self.error and not self.result.failed_tenants):
            return self.error
        return None if self.result.status == "completed" else RunFailedError(self.result)


def open_run(
    spec: RunSpec,
    batch: Batch,
    request: RunRequest,
    installation: Installation,
    sharding: ExecutionSettings | None = None,
) -> tuple[Run, list[Shard]]:
    """Check the parameters and the database, close orphaned log rows, write this run's log row, and divide its tenants into shards.

    :raises ParameterError: a parameter cannot be used. :raises NotDueError: there is nothing to do. :raises OperationClearedError: the run
    is a cleared user's operation.
    """
    now = installation.now()
    # Otherwise every shard would fail with the same reason.
    installation.check_logins(with_tenants=not isinstance(batch, UnitBatch))
    with installation.platform(spec.time_limit) as platform:
        installation.check_deployment(platform)
        opened = record_opening(platform, request.dag_id, request.run_id, request.attempt, request.task)
        parameters, business_date = _checked(spec, request, now)
        # Fails before the run's rows are written if the store or the mail server is missing.
        _resources(batch, installation, dry_run=parameters.dry_run)
        sharding = sharding or ExecutionSettings.load()
        run_log.require_deletions_repeated(platform, spec)
        require_own_act(platform, spec, request, opened, dry_run=parameters.dry_run)
        deferral = None if parameters.dry_run else decide_deferral(platform, spec, request, now)
        keep_known_keys(platform, IdentitySettings.load())
        asked = _asked(request, parameters.tenants, business_date, platform, installation)
        selection = _select(batch, asked)
        asked = replace(asked, tenants=selection.tenants)
        options = options_with_shown(batch, asked, request.run_at.astimezone(JAPAN).date())
        shards = _shards(platform, spec, request, selection.tenants, batch.parts(asked), sharding)
        _close_orphans(platform, spec, request, installation)
        run = run_log.open_execution(
            platform,
            spec,
            dag_id=request.dag_id,
            run_id=request.run_id,
            business_date=business_date,
            run_date=request.run_at.astimezone(JAPAN).date(),
            dry_run=parameters.dry_run,
            parameters=request.parameters,
            shards=shards,
            options=options,
            run_at=request.run_at,
            attempt=request.attempt,
            triggered_by=request.triggered_by,
        )
    _log_remarks(selection)
    log.info(
        "%s opened for %s with %d tenants%s by version %s",
        run.execution_id,
        business_date,
        len(selection.tenants),
        " (dry run)" if run.dry_run else "",
        VERSION,
    )
    return replace(run, send_seconds=_send_seconds(spec, len(shards)), deferral_reason=deferral), list(shards)


def run_step(spec: RunSpec, batch: Batch, run: Run, installation: Installation, task: TaskKey) -> None:
    """Run the task's step for the entire run as ``batch_platform``, and record its note, time and memory.

    :raises WiringError: the batch has no such step.
    """
    usage = ResourceUsage()
    if task.step == READ_LOGS.id:
        batch.require(Batch.prepare, Batch.unprepared)
        step: Callable[[Work], RunRemark | None] = partial(_read_logs, batch)
    else:
        step = batch.own_step(task.step)
    needs_store = (batch.has(Batch.finish) and not run.dry_run) or batch.reads_files(run)
    store = installation.store() if needs_store else None
    with installation.platform(spec.time_limit) as platform:
        require_uncleared(spec, run, shard_log.record_opening_of(platform, run, task))
        remark = step(Work(run, platform, store=store, installation=installation))
        if remark is not None:
            log.info("%s", remark.details)
            record_remark(platform, run, task.task_id, remark, installation.now())
        run_log.record_task_metric(platform, run, task.task_id, task.map_index, usage.stop())


def process_shard(
    spec: RunSpec, batch: Batch, run: Run, shard: Shard, installation: Installation, task: TaskKey
) -> ShardReport:
    """Process one shard's tenants, and record their outcomes."""
    usage = ResourceUsage()
    delete_left_folders()  # on this worker, which may run no other task that would
    run = replace(_run_today(run, installation), part=shard.part)
    store, network = _resources(batch, installation, dry_run=run.dry_run)
    if store is None and batch.reads_files(run):
        store = installation.store()
    with installation.platform(spec.time_limit) as platform:
        scope = scope_of(spec, run, shard_log.record_opening_of(platform, run, task))
        tenant_ids = shard_log.begin_shard(platform, run, shard.number, scope)
        require_some(spec, run, scope, tenant_ids)
        work = Work(run, platform, tenant_ids, store, network)
        if isinstance(batch, UnitBatch):
            report = work_on_units(batch, work)
        elif isinstance(batch, TenantBatch):
            with installation.tenants(spec.time_limit) as connection:
                report = work_on_tenants(batch, replace(work, connection=connection), platform)
        else:
            raise WiringError(f"{type(batch).__name__} は TenantBatch か UnitBatch を継承してください。")
        run_log.record_task_metric(platform, run, task.task_id, task.map_index, usage.stop())
    for result in report.results:
        for note in result.notes:
            log.warning("Tenant %s: %s", result.unit_id, note)
        for line in result.report:
            log.info("%s", line)
    return report


def fail_shard(
    spec: RunSpec, run: Run, shard: Shard, error: BaseException, installation: Installation
) -> None:
    """Record why the shard's task failed, for the alert of ``close_run``."""
    try:
        with installation.platform(spec.time_limit) as platform:
            shard_log.fail_shard(platform, run, shard.number, error)
    except Exception as another:
        log.warning("The reason could not be recorded: %s", another)


def close_run(
    spec: RunSpec,
    batch: Batch,
    run: Run,
    installation: Installation,
    *,
    error: Exception | None = None,
    failed_instances: Sequence[MappedInstance] = (),
    attempt: int = 0,
    task: TaskKey = CLOSING,
) -> ClosedRun:
    """Close the execution log with the tenants' outcomes, and report the batch's digest.

    ``error`` is the failure of an earlier step. ``failed_instances`` are the mapped instances that failed in Airflow. An instance may have
    failed after it recorded its outcomes. If it could not reach the database, an earlier attempt's outcomes remain.
    """
    run = replace(_run_today(run, installation), attempt=attempt)
    with installation.platform(spec.time_limit) as platform:
        opened = shard_log.record_opening_of(platform, run, task)
        run_log.mark_reopened(platform, run)
        for instance in failed_instances:
            if instance.error:  # the database may have been away when it failed
                shard_log.fail_shard(platform, run, instance.shard, instance.error)
        work = Work(run, platform)
        error = error or _finish(spec, batch, work, installation, opened)
        if not run.dry_run:
            for event, remark in batch.service_remarks(platform).items():
                record_remark(platform, run, event, remark, installation.now())
        result = run_log.close_execution(platform, run, error, attempt=attempt)
        if failed_instances and result.status == "completed":
            error = run_log.InstancesFailedError(failed_instances)
            result = run_log.close_execution(platform, run, error, attempt=attempt)
        batch.discard(work)
        log.info("%s", result.sentence())
        if not run.dry_run:
            # If sending fails, the transaction rolls back and the next run reports the same rows.
            with platform.transaction() as transaction:
                digest = batch.digest(work)
                if not _report(digest, result, installation):
                    raise psycopg.Rollback(transaction)
            if digest.lines:
                record_digest(platform, run, digest.lines)
    return ClosedRun(result, error)


def _checked(spec: RunSpec, request: RunRequest, now: datetime) -> tuple[RunParameters, date]:
    parameters = parse_parameters(request.parameters)
    business_date, last_day = period_of(
        parameters.business_date or business_date_of(request.run_at, spec.works_on), spec.works_on
    )
    require_applicable(parameters, spec, last_day, now, one_of_many=request.one_of_many)
    return parameters, business_date


def _read_logs(batch: Batch, work: Work) -> None:
    run = _run_today(work.run, work.environment)
    tenant_ids = run_log.tenants_of_run(work.connection, run)
    for tenant_id, error in prepare(batch, replace(work, run=run, tenant_ids=tenant_ids)).items():
        log.warning("Tenant %s cannot be prepared: %s", tenant_id, reason_of(error))


def _asked(
    request: RunRequest,
    codes: Sequence[str],
    business_date: date,
    platform: psycopg.Connection,
    installation: Installation,
) -> Request:
    return Request(
        request.parameters,
        codes,
        business_date,
        platform,
        run_date=request.run_at.astimezone(JAPAN).date(),
        open_store=installation.store,
        is_scheduled=request.ticked_at is not None,
    )


def _select(batch: Batch, asked: Request) -> TenantSelection:
    if isinstance(batch, UnitBatch):
        return TenantSelection(list(batch.units(asked)), [])
    if batch.needs_nobody(asked):
        return TenantSelection([], [])
    found, vanished = batch.found_tenants(asked), batch.vanished_tenants(asked)
    if found is not None:
        return select_found_tenants(asked.platform, found, vanished)
    return select_tenants(asked.platform, asked.codes, batch.further_tenants(asked), vanished)


def _shards(
    platform: psycopg.Connection,
    spec: RunSpec,
    request: RunRequest,
    tenants: Sequence[Unit],
    parts: Mapping[str, Sequence[str]],
    settings: ExecutionSettings,
) -> dict[Shard, list[str]]:
    # A few tenants get one shard each, regardless of their work.
    is_large = parts or len(tenants) > settings.max_mapped_tenants
    past = (
        run_log.past_runs(platform, spec, request.dag_id, request.run_id, len(tenants)) if is_large else None
    )
    return shard_tenants(tenants, settings, parts, past)


def _log_remarks(selection: TenantSelection) -> None:
    for tenant, status in selection.left_out:
        log.warning("Tenant %s (%r) is left out: %s", tenant.code, tenant.id, status)
    for tenant, status, tenant_status in selection.differing:
        log.warning(
            "Tenant %s (%r) has status %s and tenant_status %s: the status decides",
            tenant.code,
            tenant.id,
            status,
            tenant_status,
        )


def _close_orphans(
    platform: psycopg.Connection, spec: RunSpec, request: RunRequest, installation: Installation
) -> None:
    for execution in run_log.running_executions(platform, spec.id):
        reason = run_log.orphan_reason(
            execution,
            reopened_by=(request.dag_id, request.run_id),
            is_alive=installation.is_alive,
            time_limit=spec.time_limit,
        )
        if reason:
            log.warning("Execution %s is orphaned: %s", execution.execution_id, reason)
            run_log.close_orphan(platform, execution.execution_id, run_log.CLOSED_AS_ORPHAN + reason)


def _resources(
    batch: Batch, installation: Installation, *, dry_run: bool
) -> tuple[ObjectStore | None, Network | None]:
    writes = (batch.has(Batch.write_files) or batch.has(Batch.finish)) and not dry_run
    sends = batch.has(Batch.send) and not dry_run
    store = None
    if writes:
        store = installation.store()
    elif sends:
        # Only messages with a file need the store. Without a store these wait, and all others are sent.
        with suppress(SettingsError):
            store = installation.store()
    return store, installation.network(with_mail=sends) if sends or batch.has(Batch.fetch) else None


def _run_today(run: Run, installation: Installation) -> Run:
    # A task cleared on a later day works on that day, and so does a backfill.
    today = installation.now().astimezone(JAPAN).date()
    return replace(run, run_date=max(run.run_date, today))


def _finish(
    spec: RunSpec, batch: Batch, work: Work, installation: Installation, opened: Opened
) -> Exception | None:
    """Write the files that span tenants; returns the error instead of raising it, so that the run is closed."""
    if work.run.dry_run or not batch.has(Batch.finish):
        return None
    try:
        require_unclosed(work.connection, spec, work.run, opened)
        store = installation.store()
        if store is not None:
            batch.finish(replace(work, store=store))
    except Exception as error:
        return error
    return None


def _report(digest: Digest, result: RunResult, installation: Installation) -> bool:
    for line in digest.lines:
        log.info("%s", line)
    return installation.report(digest, result) if digest.lines else True


def _send_seconds(spec: RunSpec, shards: int) -> int:
    """A shard's share of the time limit, so that long queues do not delay other shards. The next run sends the rest."""
    waves = math.ceil(shards / CONCURRENCY)
    share: float = spec.time_limit.total_seconds() * _SENDING_SHARE / max(1, waves)
    return max(_LEAST_SEND_SECONDS, int(share))
