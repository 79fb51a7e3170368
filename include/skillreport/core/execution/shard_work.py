"""The work of one shard. A failed tenant does not stop the others."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from include.skillreport.core.execution.blockers import LockedError, blockers_named
from include.skillreport.core.execution.digest import listed
from include.skillreport.core.execution.isolation import isolate
from include.skillreport.core.execution.rows_scanned import scans_counted
from include.skillreport.core.execution.shown import refused_tenants
from include.skillreport.core.lasting_connection import lasting

_SQL = Statements(Path(__file__).parent)


# Row-level security hides the number of visible tenants from the planner. It plans for few and loops, so the time grows with n² for n
# tenants. The limit also bounds what is repeated after a kill.
_TENANTS_TOGETHER = 250

# Locked tenants wait until this share of the time limit has passed since the shard began, and at least so many seconds.
_WAITING_SHARE, _LEAST_WAIT_SECONDS = 0.9, 5

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
    return isolate(unprepared, prepare_some).errors


def work_on_tenants(batch: TenantBatch, work: Work, platform: psycopg.Connection) -> ShardReport:
    """Process the shard's tenants together, 250 at a time. If that fails, find the broken tenants and process the others without them.

    ``platform`` acts as ``batch_platform`` and prepares tenants that are not prepared. One transaction writes a tenant's work and outcome.
    A dry run rolls the work back and keeps the outcome. Services are called before the transaction; files and messages follow after it.
    Until they are done the outcome is pending, so a lost worker is detected, and its retry goes on with the pending tenants. A tenant whose
    files fail counts as failed. Its work stays done for the retry.
    :raises psycopg.Error: the database failed for every tenant; committed work remains.
    """
    errors = prepare(batch, replace(work, connection=platform))
    if work.network:
        left = [each for each in work.tenant_ids if each not in errors]
        errors |= batch.fetch(replace(work, tenant_ids=left))
    shard = _TenantShard(batch, work, platform)
    shard.record_failures(errors)
    prepared = [each for each in work.tenant_ids if each not in errors]
    for start in range(0, len(prepared), _TENANTS_TOGETHER):
        shard.process(prepared[start : start + _TENANTS_TOGETHER])
    shard.send()
    shard.process_locked()
    shard.send()
    return shard.report


class _TenantShard:
    """The work on a shard, whose outcomes become final as early as they can."""

    def __init__(self, batch: TenantBatch, work: Work, platform: psycopg.Connection) -> None:
        self._batch, self._work, self._platform = batch, work, platform
        self._begun_at = time.monotonic()
        # The server's number of the session: a pooler gives its clients other ones.
        (self._pid,) = _SQL.row(work.connection, "session")
        self._locked: list[list[str]] = []
        self._writes_files = not work.run.dry_run and work.store is not None and batch.has(Batch.write_files)
        self._sends = not work.run.dry_run and work.network is not None and batch.has(Batch.send)
        # The results that wait for their messages, and the tenants whose outcome is final.
        self._unsent: list[UnitResult] = []
        self._final = set[str]()
        self.report = ShardReport()

    def process(self, tenant_ids: Sequence[str]) -> None:
        """Process these tenants, and write their files. Tenants whose rows another session holds wait until all others are done."""
        processed: list[Outcome] = []

        def process_some(some_ids: Sequence[str]) -> None:
            with blockers_named(self._platform, self._work.connection, self._pid, stops=True):
                processed.extend(self._process(some_ids))

        found = isolate(tenant_ids, process_some)
        self._locked += found.locked
        self._add(processed, found.errors)

    def process_locked(self) -> None:
        """Process the tenants whose rows were locked, for the rest of the time limit.

        :raises LockedError: a table is still locked, so the shard is tried again.
        """
        connection = self._work.connection
        for tenant_ids in self._locked:
            processed: list[Outcome] = []
            errors: dict[str, Exception] = {}
            try:
                with (
                    _rest_of_time(connection, self._begun_at),
                    blockers_named(self._platform, connection, self._pid, stops=False),
                ):
                    processed.extend(self._process(tenant_ids))
            except Exception as error:
                if len(tenant_ids) > 1 or not (isinstance(error, LockedError) or is_about_data(error)):
                    raise
                errors[tenant_ids[0]] = error
            self._add(processed, errors)

    def _add(self, processed: Sequence[Outcome], errors: dict[str, Exception]) -> None:
        """Add what was processed, write the files of these tenants, and record what is done."""
        results = [each for each in processed if isinstance(each, UnitResult)]
        self.report.add([each for each in processed if isinstance(each, UnitFailure)])
        written = results
        if self._writes_files:
            written, more = _write_files(self._batch, self._work, results)
            errors |= more
        self.record_failures(errors)
        if self._sends:
            self._unsent += written
            return
        if self._writes_files:
            self._record(self._work.connection, written)
        self.report.add(written)

    def send(self) -> None:
        """Send the messages of all processed tenants, so that a slow channel of one does not delay another."""
        unsent, self._unsent = self._unsent, []
        if not unsent:
            return
        # The results must survive if the connection is lost while messages are sent.
        with lasting(self._work.connection) as database:
            sent = self._batch.send(replace(self._work, record=self._record), unsent)
            left = [each for each in sent if each.unit_id not in self._final]
            database.run(lambda connection: self._record(connection, left))
        self.report.add(sent)

    def record_failures(self, errors: Mapping[str, Exception]) -> None:
        """Record the failures of these tenants."""
        failures = [failure_of(tenant_id, error) for tenant_id, error in sorted(errors.items())]
        self._record(self._work.connection, failures)
        self.report.add(failures)

    def _process(self, tenant_ids: Sequence[str]) -> Sequence[Outcome]:
        batch, work = self._batch, replace(self._work, tenant_ids=tenant_ids)
        with tenant_transaction(work.connection, tenant_ids) as transaction:
            refused = _refused(batch, work)
            left = [each for each in tenant_ids if each not in refused]
            outcomes = [*refused.values(), *(batch.process(replace(work, tenant_ids=left)) if left else ())]
            if work.run.dry_run:
                raise psycopg.Rollback(transaction)
            _record(work, outcomes, effects=batch.effects, are_pending=self._writes_files or self._sends)
        if work.run.dry_run:
            self._record(work.connection, outcomes)
        return outcomes

    def _record(self, connection: psycopg.Connection, outcomes: Sequence[Outcome]) -> None:
        """Record final outcomes in a transaction of their own."""
        if outcomes:
            tenant_ids = [outcome.unit_id for outcome in outcomes]
            with tenant_transaction(connection, tenant_ids):
                _record(replace(self._work, connection=connection), outcomes)
            self._final.update(tenant_ids)


@contextmanager
def _rest_of_time(connection: psycopg.Connection, begun_at: float) -> Iterator[None]:
    """The statements have what is left of the session's time limit, so that a failure is recorded before Airflow ends the task."""
    (limit,) = _SQL.row(connection, "time_limit")
    if limit:
        left = max(_LEAST_WAIT_SECONDS, _WAITING_SHARE * limit - (time.monotonic() - begun_at))
        connection.execute("SELECT set_config('statement_timeout', %s, false)", [f"{left * 1000:.0f}"])
    try:
        yield
    finally:
        if limit and not connection.closed:
            connection.execute("SELECT set_config('statement_timeout', %s, false)", [f"{limit * 1000:.0f}"])


def work_on_units(batch: UnitBatch, work: Work) -> ShardReport:
    """Process the work's units (``tenant_ids``) one after the other. A failed unit does not stop the next.

    :raises psycopg.Error: the connection is lost, so outcomes cannot be recorded.
    """
    report = ShardReport()
    for unit_id in work.tenant_ids:
        try:
            refused = _refused(batch, replace(work, tenant_ids=[unit_id]))
            outcome = refused.get(unit_id) or batch.process_unit(work, unit_id)
        except Exception as error:
            if work.connection.closed:
                raise
            outcome = failure_of(unit_id, error)
        _record(work, [outcome])
        report.add([outcome])
    return report


def failure_of(unit_id: str, error: Exception) -> UnitFailure:
    """The failure of a unit whose step raised this error."""
    return UnitFailure(unit_id, code_of(error), reason_of(error), is_recoverable(error))


def _refused(batch: Batch, work: Work) -> dict[str, UnitFailure]:
    sentences = refused_tenants(batch, work).items()
    return {tenant_id: failure_of(tenant_id, ParameterError(sentence)) for tenant_id, sentence in sentences}


def _sentence(failure: UnitFailure) -> str:
    return f"テナント {failure.unit_id}: {failure.message}"


def _write_files(
    batch: Batch, work: Work, results: Sequence[UnitResult]
) -> tuple[list[UnitResult], dict[str, Exception]]:
    """The results whose files are written, and the errors of the others, by tenant."""
    errors: dict[str, Exception] = {}
    written = []
    for result in results:
        try:
            details = batch.write_files(work, result.unit_id)
            written.append(replace(result, details=result.details | (details or {})))
        except Exception as error:
            if isinstance(error, psycopg.Error) and not is_about_data(error):
                raise
            errors[result.unit_id] = error
    return written, errors


def _record(
    work: Work,
    outcomes: Sequence[Outcome],
    *,
    effects: Collection[str] = (),
    are_pending: bool = False,
) -> None:
    """Record outcomes in the transaction of their work. ``effects`` are the figures that this transaction adds to earlier ones."""
    rows = []
    for outcome in outcomes:
        added = {name: outcome.details[name] for name in effects if name in outcome.details}
        rows.append(_outcome_row(outcome, is_pending=are_pending) | {"effects": added})
    _SQL.execute(
        work.connection,
        "record_outcomes",
        execution_id=work.run.execution_id,
        part=work.run.part,
        outcomes=Jsonb(rows),
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
