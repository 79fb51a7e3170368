"""The work of one shard. A failed tenant does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.core.database import Statements, tenant_transaction
from include.skillreport.core.errors import (
    BatchError,
    ParameterError,
    code_of,
    is_about_data,
    is_recoverable,
    reason_of,
)
from include.skillreport.core.execution.batch import (
    Batch,
    Outcome,
    TenantBatch,
    UnitBatch,
    UnitFailure,
    UnitResult,
    Work,
)
from include.skillreport.core.execution.digest import listed
from include.skillreport.core.execution.rows_scanned import scans_counted
from include.skillreport.core.execution.shown import refused_tenants
from include.skillreport.core.lasting_connection import lasting

_SQL = Statements(Path(__file__).parent)


# Row-level security hides the number of visible tenants from the planner. It plans for few and loops, so the time grows with n² for n
# tenants. The limit also bounds what is repeated after a kill.
_TENANTS_TOGETHER = 250

# A shard's error lists this many tenants and counts the rest.
_LISTED = 10


class UnitsFailedError(BatchError):
    """Some of a shard's tenants failed; names ten of them. Recoverable if any failure is."""

    def __init__(self, failures: Sequence[UnitFailure]) -> None:
        super().__init__("、".join(listed(failures, _sentence, "ほか {:,} 件", _LISTED)))
        self.recoverable = any(failure.recoverable for failure in failures)


@dataclass
class ShardReport:
    """The outcomes of one shard."""

    results: list[UnitResult] = field(default_factory=list)
    failures: list[UnitFailure] = field(default_factory=list)

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Add outcomes of either kind."""
        self.results.extend(outcome for outcome in outcomes if isinstance(outcome, UnitResult))
        self.failures.extend(outcome for outcome in outcomes if isinstance(outcome, UnitFailure))


def prepare(batch: Batch, work: Work) -> dict[str, Exception]:
    """Prepare the tenants without a staging row together; returns the errors caused by tenants' data, by tenant.

    The shard of such a tenant prepares it again, fails, and records the error.
    """

    def prepare_some(tenant_ids: Sequence[str]) -> None:
        with work.connection.transaction(), scans_counted(work.connection, work.run):
            batch.prepare(replace(work, tenant_ids=tenant_ids))

    unprepared = batch.unprepared(work)
    if unprepared:
        batch.await_others(work)
    return _isolate(unprepared, prepare_some)


def work_on_tenants(batch: TenantBatch, work: Work, platform: psycopg.Connection) -> ShardReport:
    """Process the shard's tenants together, 250 at a time. If that fails, find the broken tenants and process the others without them.

    ``platform`` acts as ``batch_platform`` and prepares tenants that are not prepared. One transaction writes a tenant's work and outcome.
    A dry run rolls the work back and keeps the outcome. Services are called before the transaction; files and messages follow after it.
    Until then the outcome is pending, so a lost worker is detected. A tenant whose files fail counts as failed. Its work stays done for the
    retry.
    :raises psycopg.Error: the database failed for every tenant; committed work remains.
    """
    run, tenant_ids = work.run, work.tenant_ids
    errors = prepare(batch, replace(work, connection=platform))
    if work.network:
        errors |= batch.fetch(replace(work, tenant_ids=[each for each in tenant_ids if each not in errors]))
    writes_files = not run.dry_run and work.store is not None and batch.has(Batch.write_files)
    sends = not run.dry_run and work.network is not None and batch.has(Batch.send)
    report = ShardReport()

    def process(some_ids: Sequence[str]) -> None:
        with tenant_transaction(work.connection, some_ids) as transaction:
            refused = _refused(batch, replace(work, tenant_ids=some_ids))
            left = [each for each in some_ids if each not in refused]
            outcomes = [*refused.values(), *(batch.process(replace(work, tenant_ids=left)) if left else ())]
            if run.dry_run:
                raise psycopg.Rollback(transaction)
            _record(work, outcomes, are_pending=writes_files or sends)
        if run.dry_run:
            with tenant_transaction(work.connection, some_ids):
                _record(work, outcomes)
        report.add(outcomes)

    prepared = [each for each in tenant_ids if each not in errors]
    for start in range(0, len(prepared), _TENANTS_TOGETHER):
        errors |= _isolate(prepared[start : start + _TENANTS_TOGETHER], process)
    if writes_files:
        errors |= _write_files(batch, work, report)
    failures = [failure_of(tenant_id, error) for tenant_id, error in sorted(errors.items())]
    sent: Sequence[Outcome] = report.results
    # The results must survive if the connection is lost while messages are sent.
    with lasting(work.connection) as database:
        if sends and report.results:
            sent = batch.send(work, report.results)
        changed = [*(sent if writes_files or sends else ()), *failures]
        if changed:
            database.run(lambda connection: _record_at_end(replace(work, connection=connection), changed))
    report.results = []
    report.add([*sent, *failures])
    return report


def work_on_units(batch: UnitBatch, work: Work) -> ShardReport:
    """Process the work's units (``tenant_ids``) one after the other. A failed unit does not stop the next.

    :raises psycopg.Error: the connection is lost, so outcomes cannot be recorded.
    """
    report = ShardReport()
    for unit_id in work.tenant_ids:
        try:
            refused = _refused(batch, replace(work, tenant_ids=[unit_id]))
            report.add([refused.get(unit_id) or batch.process_unit(work, unit_id)])
        except Exception as error:
            if work.connection.closed:
                raise
            report.add([failure_of(unit_id, error)])
    _record(work, [*report.results, *report.failures])
    return report


def failure_of(unit_id: str, error: Exception) -> UnitFailure:
    """The failure of a unit whose step raised this error."""
    return UnitFailure(unit_id, code_of(error), reason_of(error), is_recoverable(error))


def _refused(batch: Batch, work: Work) -> dict[str, UnitFailure]:
    sentences = refused_tenants(batch, work).items()
    return {tenant_id: failure_of(tenant_id, ParameterError(sentence)) for tenant_id, sentence in sentences}


def _sentence(failure: UnitFailure) -> str:
    return f"テナント {failure.unit_id}: {failure.message}"


def _write_files(batch: Batch, work: Work, report: ShardReport) -> dict[str, Exception]:
    """Removes a tenant from the report's results if its files fail."""
    errors: dict[str, Exception] = {}
    written = []
    for result in report.results:
        try:
            details = batch.write_files(work, result.unit_id)
            written.append(replace(result, details=result.details | (details or {})))
        except Exception as error:
            if isinstance(error, psycopg.Error) and not is_about_data(error):
                raise
            errors[result.unit_id] = error
    report.results = written
    return errors


def _isolate(tenant_ids: Sequence[str], step: Callable[[Sequence[str]], None]) -> dict[str, Exception]:
    """Call ``step`` on all tenants. After an error that one tenant's data can cause, call it on each half, down to single tenants.

    One broken tenant among n costs about 2·log2(n) calls instead of n. Other errors are raised.
    """
    if not tenant_ids:
        return {}
    try:
        step(tenant_ids)
    except Exception as error:
        if not is_about_data(error):
            raise
        if len(tenant_ids) == 1:
            return {tenant_ids[0]: error}
        middle = len(tenant_ids) // 2
        return _isolate(tenant_ids[:middle], step) | _isolate(tenant_ids[middle:], step)
    return {}


def _record_at_end(work: Work, outcomes: Sequence[Outcome]) -> None:
    with tenant_transaction(work.connection, [outcome.unit_id for outcome in outcomes]):
        _record(work, outcomes)


def _record(work: Work, outcomes: Sequence[Outcome], *, are_pending: bool = False) -> None:
    _SQL.execute(
        work.connection,
        "record_outcomes",
        execution_id=work.run.execution_id,
        part=work.run.part,
        outcomes=Jsonb([_outcome_row(outcome, is_pending=are_pending) for outcome in outcomes]),
    )


def _outcome_row(outcome: Outcome, *, is_pending: bool) -> dict[str, Any]:
    row = {"tenant_id": outcome.unit_id, "details": outcome.details, "notes": outcome.notes}
    if isinstance(outcome, UnitResult):
        return {**row, "status": "pending" if is_pending else "success", "records": outcome.records}
    return {
        **row,
        "status": "failed",
        "records": 0,
        "error_code": outcome.code,
        "error_message": outcome.message,
    }
