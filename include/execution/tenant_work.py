"""A batch's work on tenants, so that one tenant's failure never touches another's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from include.database import read_sql, tenant_transaction
from include.errors import BatchError, ParameterError, code_of, is_about_data, is_recoverable, reason_of
from include.execution.business_date import JAPAN
from include.execution.digest import Digest
from include.execution.installation import Installation
from include.execution.object_store import ObjectStore
from include.execution.sharding import Tenant
from include.messaging.message import Network

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Run:
    """The run that the work belongs to; every row it leaves carries ``execution_id``.

    ``business_date`` is what it works on, ``run_date`` the day on which it is done (a step that is cleared later is done later), both in
    Asia/Tokyo; ``options`` are the batch's own parameters, checked (JSON values). ``send_seconds`` is each shard's share of the
    batch's time limit: after it no more sends begin. ``part`` is the part of the tenants' work that a shard does, see
    ``TenantBatch.parts``. ``run_at`` (aware) is the run's own moment, its logical date, whenever it is done.
    """

    execution_id: str
    business_date: date
    run_date: date
    dry_run: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    send_seconds: int = 600
    part: str = ""
    run_at: datetime | None = None

    @property
    def as_of(self) -> datetime:
        """The moment (Asia/Tokyo) up to which the run looks: its own, or the end of an earlier business date."""
        day_end = datetime.combine(self.business_date + timedelta(days=1), time(), JAPAN)
        return min(self.run_at.astimezone(JAPAN), day_end) if self.run_at else day_end


@dataclass(frozen=True)
class TenantResult:
    """What came out for one tenant: figures for the execution log (JSON values), records read or written, remarks.

    ``report`` is for the task's log only.
    """

    tenant_id: str
    details: dict[str, Any]
    records: int
    notes: tuple[str, ...] = ()
    report: tuple[str, ...] = ()


@dataclass(frozen=True)
class TenantFailure:
    """Why one tenant failed, in one sentence; ``details`` and ``notes`` are those of what was done all the same."""

    tenant_id: str
    code: str
    message: str
    recoverable: bool
    details: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class TenantsFailedError(BatchError):
    """Some of a shard's tenants failed; another try helps if it helps one of them."""

    def __init__(self, failures: Sequence[TenantFailure]) -> None:
        super().__init__(
            "、".join(f"テナント {failure.tenant_id}: {failure.message}" for failure in failures)
        )
        self.recoverable = any(failure.recoverable for failure in failures)


@dataclass
class ShardReport:
    """The outcome of one shard."""

    results: list[TenantResult] = field(default_factory=list)
    failures: list[TenantFailure] = field(default_factory=list)


class Batch(ABC):  # noqa: B024 - a batch is a TenantBatch or a PlatformBatch
    """What all batches have. Every step may run again, and must then leave the same rows."""

    # Whether ``deliver`` and ``finish`` have something to do, and so need the object store; whether ``send`` has; whether ``fetch`` has.
    writes_files = False
    sends_messages = False
    asks_services = False

    # The table of schema batch that ``prepare`` fills with a row per tenant of the run, and ``process`` uses up.
    staging_table: str | None = None

    def install(self, installation: Installation) -> None:  # noqa: B027
        """Keep what tells where this installation has its things; nothing is asked before a step needs it."""

    def options(
        self,
        parameters: Mapping[str, Any],  # noqa: ARG002
        tenants: Sequence[Tenant],  # noqa: ARG002
        *,
        all_tenants: bool,  # noqa: ARG002
    ) -> dict[str, Any]:
        """The batch's own parameters for the run of these tenants (all, or those that were named), as JSON values.

        :raises ParameterError: one cannot be used.
        """
        return {}

    def verify(  # noqa: B027
        self, platform: psycopg.Connection, options: Mapping[str, Any], tenants: Sequence[Tenant]
    ) -> None:
        """Look whether what the options name is there, before the run is opened. :raises ParameterError: it is not."""

    def further_tenants(self, platform: psycopg.Connection, business_date: date) -> Collection[str]:  # noqa: ARG002
        """Ids of tenants that are not active any more and that the batch works on all the same."""
        return ()

    def parts(
        self,
        platform: psycopg.Connection,  # noqa: ARG002
        tenants: Sequence[Tenant],  # noqa: ARG002
    ) -> Mapping[str, Sequence[str]]:
        """The parts of each tenant's work, by tenant id, where one must not fail with another.

        Each has a mapped instance and an outcome of its own.
        A tenant that is not there is worked on as a whole, which is the part ``""``.
        """
        return {}

    def prepare(self, platform: psycopg.Connection, run: Run, tenant_ids: Sequence[str]) -> None:  # noqa: B027
        """Read the host's large tables once for these tenants, into staging rows of the run."""

    def unprepared(self, platform: psycopg.Connection, run: Run, tenant_ids: Sequence[str]) -> Sequence[str]:
        """Which of these tenants have no staging row (never prepared, failed then, or used up by an earlier try), in order."""
        if self.staging_table is None:
            return ()
        rows = platform.execute(
            sql.SQL(
                """
                SELECT listed.tenant_id
                FROM unnest(%(tenant_ids)s::text[]) AS listed (tenant_id)
                WHERE NOT EXISTS (
                    SELECT FROM {staging} AS staged
                    WHERE staged.execution_id = %(execution_id)s AND staged.tenant_id = listed.tenant_id
                )
                ORDER BY listed.tenant_id
                """
            ).format(staging=sql.Identifier("batch", self.staging_table)),
            {"execution_id": run.execution_id, "tenant_ids": list(tenant_ids)},
        )
        return [tenant_id for (tenant_id,) in rows]

    def fetch(
        self,
        connection: psycopg.Connection,  # noqa: ARG002
        run: Run,  # noqa: ARG002
        tenant_ids: Sequence[str],  # noqa: ARG002
        network: Network,  # noqa: ARG002
    ) -> Mapping[str, Exception]:
        """Read from outside services what ``process`` works on, into staging rows, also in a dry run; returns who failed, by tenant.

        Each step is a transaction of its own, and another try goes on where a killed one was.
        """
        return {}

    def deliver(self, connection: psycopg.Connection, run: Run, tenant_id: str, store: ObjectStore) -> None:  # noqa: B027
        """Write the tenant's files, once its work is committed; what was written before a kill is written again."""

    def send(
        self,
        connection: psycopg.Connection,  # noqa: ARG002
        run: Run,  # noqa: ARG002
        results: Sequence[TenantResult],
        network: Network,  # noqa: ARG002
    ) -> Sequence[TenantResult | TenantFailure]:
        """Reach people, once the shard's work is committed; returns the results with what became of the messages.

        Each step is a transaction of its own, and a message is claimed before it is sent: a kill leaves it in doubt, never sent twice.
        """
        return results

    def finish(self, platform: psycopg.Connection, run: Run, store: ObjectStore) -> None:  # noqa: B027
        """Write the files that span tenants, after all of them, whether or not all succeeded."""

    def digest(self, platform: psycopg.Connection, run: Run) -> Digest:  # noqa: ARG002
        """What the operators read after a run whether or not it failed.

        What it writes is committed when the words are on their way, so that what it marks as told is.
        """
        return Digest()

    def discard(self, platform: psycopg.Connection, run: Run) -> None:
        """Delete the staging rows that no tenant's step has used up."""
        if self.staging_table is not None:
            platform.execute(
                sql.SQL("DELETE FROM {} WHERE execution_id = %s").format(
                    sql.Identifier("batch", self.staging_table)
                ),
                [run.execution_id],
            )


class TenantBatch(Batch):
    """A batch that works on tenants."""

    @abstractmethod
    def process(
        self, connection: psycopg.Connection, run: Run, tenant_ids: Sequence[str]
    ) -> Sequence[TenantResult | TenantFailure]:
        """Do the work of these tenants together, inside the transaction whose context they are, and use up their staging rows.

        A failure that is returned keeps what was written; one that is raised undoes it, and is looked for tenant by tenant.
        """


class PlatformBatch(Batch):
    """A batch that is not per tenant: it works on units of its own, each with a mapped instance and an outcome, as a tenant has."""

    @abstractmethod
    def units(self) -> Sequence[Tenant]:
        """The units, in order: ids, the labels that the UI shows, names for people."""

    @abstractmethod
    def work(
        self, platform: psycopg.Connection, run: Run, unit_id: str, store: ObjectStore | None
    ) -> TenantResult | TenantFailure:
        """Do one unit in as many transactions as it takes; without a store (a dry run) say what would be done, and write nothing."""

    def select(self, codes: Sequence[str]) -> list[Tenant]:
        """The units of a run. :raises ParameterError: tenants were asked for."""
        if codes:
            raise ParameterError(
                "このバッチはテナント別ではありません。パラメータ tenants を空にしてください。"
            )
        return list(self.units())


def prepare(
    platform: psycopg.Connection, batch: Batch, run: Run, tenant_ids: Sequence[str]
) -> dict[str, Exception]:
    """Prepare the tenants that are not prepared yet in one pass, and leave out those whose rows break it; returns why, by tenant.

    Whoever is left out is prepared again on its own when its turn comes, and fails there, under its own name.
    """

    def work(part: Sequence[str]) -> None:
        with platform.transaction():
            batch.prepare(platform, run, part)

    return _isolate(batch.unprepared(platform, run, tenant_ids), work)


def process_shard(
    connection: psycopg.Connection,
    platform: psycopg.Connection,
    batch: TenantBatch,
    run: Run,
    tenant_ids: Sequence[str],
    store: ObjectStore | None = None,
    network: Network | None = None,
) -> ShardReport:
    """Do the shard's tenants together; when that fails, find the broken ones and do the others without them.

    Work and outcome of a tenant are written by one transaction. With ``dry_run`` the work is rolled back and only the outcome stays.
    Services are asked before. Files are written and messages sent afterwards, into ``store`` and through ``network``; until then a
    tenant's outcome is pending, so that a worker lost in between shows. A tenant whose files fail has failed, and its next try finds
    its work done.
    :raises psycopg.Error: the database failed for everybody; what was committed before stands.
    """
    errors = prepare(platform, batch, run, tenant_ids)
    if network is not None and batch.asks_services:
        ready = [tenant_id for tenant_id in tenant_ids if tenant_id not in errors]
        errors |= batch.fetch(connection, run, ready, network)
    report = ShardReport()
    sends = network is not None and batch.sends_messages
    goes_on = not run.dry_run and (store is not None or sends)

    def work(part: Sequence[str]) -> None:
        with tenant_transaction(connection, part) as transaction:
            results = batch.process(connection, run, part)
            if run.dry_run:
                raise psycopg.Rollback(transaction)
            _record(connection, run, results, unfinished=goes_on)
        if run.dry_run:
            with tenant_transaction(connection, part):
                _record(connection, run, results)
        report.results.extend(result for result in results if isinstance(result, TenantResult))
        report.failures.extend(result for result in results if isinstance(result, TenantFailure))

    errors |= _isolate([tenant_id for tenant_id in tenant_ids if tenant_id not in errors], work)
    if store is not None and not run.dry_run:
        errors |= _deliver(connection, batch, run, report, store)
    failures = [_failure_of(tenant_id, error) for tenant_id, error in sorted(errors.items())]
    if network is not None and sends and not run.dry_run and report.results:
        outcomes = batch.send(connection, run, report.results, network)
        report.results = [outcome for outcome in outcomes if isinstance(outcome, TenantResult)]
        failures += [outcome for outcome in outcomes if isinstance(outcome, TenantFailure)]
    last = [*(report.results if goes_on else ()), *failures]
    if last:
        with tenant_transaction(connection, [outcome.tenant_id for outcome in last]):
            _record(connection, run, last)
    report.failures.extend(failures)
    return report


def work_on_units(
    platform: psycopg.Connection,
    batch: PlatformBatch,
    run: Run,
    unit_ids: Sequence[str],
    store: ObjectStore | None,
) -> ShardReport:
    """Do one unit after the other; one that fails does not keep the next from its turn.

    :raises psycopg.Error: the connection is lost, so that nothing can be recorded.
    """
    report = ShardReport()
    for unit_id in unit_ids:
        try:
            outcome = batch.work(platform, run, unit_id, store)
        except Exception as error:
            if platform.closed:
                raise
            outcome = _failure_of(unit_id, error)
        if isinstance(outcome, TenantFailure):
            report.failures.append(outcome)
        else:
            report.results.append(outcome)
    _record(platform, run, [*report.results, *report.failures])
    return report


def _deliver(
    connection: psycopg.Connection, batch: TenantBatch, run: Run, report: ShardReport, store: ObjectStore
) -> dict[str, Exception]:
    """Write the files of the tenants that succeeded; those whose files fail are taken out of the report's results."""
    errors: dict[str, Exception] = {}
    for result in report.results:
        try:
            batch.deliver(connection, run, result.tenant_id, store)
        except Exception as error:
            if isinstance(error, psycopg.Error) and not is_about_data(error):
                raise
            errors[result.tenant_id] = error
    report.results = [result for result in report.results if result.tenant_id not in errors]
    return errors


def _isolate(tenant_ids: Sequence[str], work: Callable[[Sequence[str]], None]) -> dict[str, Exception]:
    """Call ``work`` on all tenants, on an error that one tenant's data can cause on each half, and so on down to single tenants.

    One broken tenant among n costs about 2·log2(n) calls instead of n. Other errors are raised.
    """
    if not tenant_ids:
        return {}
    try:
        work(tenant_ids)
    except Exception as error:
        if not is_about_data(error):
            raise
        if len(tenant_ids) == 1:
            return {tenant_ids[0]: error}
        middle = len(tenant_ids) // 2
        return _isolate(tenant_ids[:middle], work) | _isolate(tenant_ids[middle:], work)
    return {}


def _record(
    connection: psycopg.Connection,
    run: Run,
    outcomes: Sequence[TenantResult | TenantFailure],
    *,
    unfinished: bool = False,
) -> None:
    connection.execute(
        read_sql(_HERE, "record_outcomes"),
        {
            "execution_id": run.execution_id,
            "part": run.part,
            "outcomes": Jsonb([_outcome_row(outcome, unfinished=unfinished) for outcome in outcomes]),
        },
    )


def _outcome_row(outcome: TenantResult | TenantFailure, *, unfinished: bool) -> dict[str, Any]:
    if isinstance(outcome, TenantResult):
        return {
            "tenant_id": outcome.tenant_id,
            "status": "pending" if unfinished else "success",
            "details": outcome.details,
            "notes": outcome.notes,
            "records": outcome.records,
        }
    return {
        "tenant_id": outcome.tenant_id,
        "status": "failed",
        "details": outcome.details,
        "notes": outcome.notes,
        "records": 0,
        "error_code": outcome.code,
        "error_message": outcome.message,
    }


def _failure_of(tenant_id: str, error: Exception) -> TenantFailure:
    return TenantFailure(tenant_id, code_of(error), reason_of(error), is_recoverable(error))
