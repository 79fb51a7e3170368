"""A batch: one required step, and optional steps that do nothing unless the batch overrides them.

The flow calls the steps. Every step may run more than once and must leave the same rows each time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
from psycopg import sql

from include.skillreport.core.errors import BatchError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.digest import Digest
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.sharding import Tenant, Unit
from include.skillreport.core.network import Network

if TYPE_CHECKING:
    from include.skillreport.core.execution.installation import Installation
    from include.skillreport.core.run_spec import RunSpec


@dataclass(frozen=True)
class Run:
    """The run of a step. Every row that the step writes contains ``execution_id``.

    ``business_date`` is the date that the run works on. ``run_date`` is the day of the run's logical date. A step that reads the logs, a
    shard and the closing of a run that work on a later day have that day. Both are in Asia/Tokyo. ``options`` are the batch's own
    parameters, checked (JSON values). A shard starts no more sends, and reads no more of a directory, after ``send_seconds``. ``part`` is
    the part of the tenants' work that a shard does, see ``Batch.parts``. ``run_at`` (aware) is the run's logical date. ``triggered_by`` is
    the user who triggered the run manually. ``attempt`` is the number of times that the run was cleared before the step began.
    ``deferral_reason``: the run of the schedule is the first one after a pause, so people confirm what they would receive; None: it is not.
    """

    execution_id: str
    business_date: date
    run_date: date
    dry_run: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    send_seconds: int = 600
    part: str = ""
    run_at: datetime | None = None
    triggered_by: str | None = None
    attempt: int = 0
    deferral_reason: str | None = None

    @property
    def person(self) -> str:
        """The person who enters data: the user who triggered the run, otherwise the run."""
        return self.triggered_by or self.execution_id

    @property
    def is_repeated(self) -> bool:
        """Whether a user triggered or cleared the run. Such a run reads the application's rows again, because they may have changed."""
        return self.triggered_by is not None or self.attempt > 0

    @property
    def as_of(self) -> datetime:
        """The end (Asia/Tokyo) of the period that the run reads: its logical date, or the end of an earlier business date."""
        day_end = datetime.combine(self.business_date + timedelta(days=1), time(), JAPAN)
        return min(self.run_at.astimezone(JAPAN), day_end) if self.run_at else day_end


@dataclass(frozen=True)
class UnitResult:
    """The result of one unit, which is a tenant in most batches.

    ``details`` are figures for the execution log (JSON values), ``records`` counts the rows or messages, ``notes`` are remarks for
    operators, and ``report`` goes into the task's log only.
    """

    unit_id: str
    details: dict[str, Any]
    records: int
    notes: tuple[str, ...] = ()
    report: tuple[str, ...] = ()


@dataclass(frozen=True)
class UnitFailure:
    """Why one unit failed, in one sentence. ``details`` and ``notes`` describe the work before the failure."""

    unit_id: str
    code: str
    message: str
    recoverable: bool
    details: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


Outcome: TypeAlias = UnitResult | UnitFailure


class NotDueError(BatchError):
    """A run has nothing to do: its month has not ended, the installation does not bill it, or tenants are named and the batch works on all.

    The run is skipped.
    """


class WiringError(BatchError):
    """A DAG has a task for a step that its batch does not have."""


@dataclass(frozen=True)
class RunRemark:
    """The remark of a step of the whole run, for the result of the run. ``details`` are figures (JSON values).

    ``problem`` is why the step could not do its work, in one sentence, and ``code`` selects its ``FailureKind``. ``may_pass``: the
    problem may end without an operator's action. ``in_each_run``: the problem is about what this run has made, so each run reports it.
    """

    details: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    code: str = ""
    may_pass: bool = False
    in_each_run: bool = False


@dataclass(frozen=True)
class Work:
    """The inputs of a step: its run, its tenants, its database connection, and where files and messages go.

    ``connection`` is in autocommit mode. It acts as ``batch_tenant`` in the steps of a shard, and as ``batch_platform`` in the steps of the
    whole run and in those of a ``UnitBatch``.
    """

    run: Run
    connection: psycopg.Connection
    tenant_ids: Sequence[str] = ()
    store: ObjectStore | None = None
    network: Network | None = None
    installation: Installation | None = None

    @property
    def files(self) -> ObjectStore:
        """The object store of a step that writes files. :raises LookupError: the run writes no files (a dry run)."""
        if self.store is None:
            raise LookupError("this run has no object store")
        return self.store

    @property
    def services(self) -> Network:
        """The network of a step that sends messages or calls services. :raises LookupError: the run does neither."""
        if self.network is None:
            raise LookupError("this run has no network")
        return self.network

    @property
    def environment(self) -> Installation:
        """The environment of a step of the whole run, which opens what else it needs. :raises LookupError: a shard has none."""
        if self.installation is None:
            raise LookupError("this step has no installation")
        return self.installation


@dataclass(frozen=True)
class Request:
    """The input of a run, from a user or the schedule, before the run is opened.

    ``values`` are the form's values, ``codes`` the tenant codes among them (none: all tenants), and ``tenants`` the tenants with these
    codes. ``platform`` acts as ``batch_platform``. ``run_date`` is that of the run. ``open_store`` opens the object store.
    ``is_scheduled``: the schedule has started the run, not a person.
    """

    values: Mapping[str, Any]
    codes: Sequence[str]
    business_date: date
    platform: psycopg.Connection
    tenants: Sequence[Unit] = ()
    run_date: date | None = None
    open_store: Callable[[], ObjectStore | None] = lambda: None
    is_scheduled: bool = False

    @property
    def files(self) -> ObjectStore:
        """The object store. :raises LookupError: there is none."""
        store = self.open_store()
        if store is None:
            raise LookupError("this run has no object store")
        return store

    @property
    def tenant_ids(self) -> list[str]:
        """The ids of ``tenants``."""
        return [tenant.id for tenant in self.tenants]


class Batch:
    """The steps of a batch. A batch overrides those that it needs; all others do nothing.

    Steps before the run is opened get a ``Request``, and the others a ``Work``. A step of a ``Request`` raises ParameterError if a value of
    the form cannot be used.
    """

    def options(self, request: Request) -> dict[str, Any]:
        """Check the request; returns the batch's own parameters as JSON values."""
        return {}

    def changed(self, work: Work, *, again: bool = False) -> Mapping[str, str]:
        """Why this run must not begin: something is no longer what the person was shown. One sentence, or none.

        ``again``: the work begins, in the tenants' transaction. Then there is a sentence for each tenant, by its id.
        """
        return {}

    def needs_nobody(self, request: Request) -> bool:
        """Whether the run has no tenants: only its ``finish`` has an effect."""
        return False

    def found_tenants(self, request: Request) -> Collection[str] | None:
        """The ids of the run's tenants, whatever their status, from another source such as a file. None: the tenants of the form."""
        return None

    def further_tenants(self, request: Request) -> Collection[str]:
        """The ids of tenants that are no longer active and that the run works on too."""
        return ()

    def vanished_tenants(self, request: Request) -> Sequence[Tenant]:
        """The tenants that the application has deleted from its table, with their last code and name. They count as active."""
        return ()

    def parts(self, request: Request) -> Mapping[str, Sequence[str]]:
        """The parts of tenants' work that succeed or fail independently, by tenant id.

        Each part has a mapped instance and an outcome. A tenant without an entry has one part, ``""``.
        """
        return {}

    def prepare(self, work: Work) -> None:
        """Read the host's large tables once for these tenants, into staging rows in schema ``batch``, as ``batch_platform``."""

    def unprepared(self, work: Work) -> Sequence[str]:
        """The tenants without staging rows, in order: not prepared, failed to prepare, or processed by an earlier attempt."""
        return ()

    def fetch(self, work: Work) -> Mapping[str, Exception]:
        """Write the answers of external services into staging rows, also in a dry run; returns the error of each tenant that failed.

        Each write is its own transaction. After a kill the next attempt continues from there.
        """
        return {}

    def reads_files(self, run: Run) -> bool:
        """Whether ``process``, or a step of the batch's own, reads files of the object store in this run, also in a dry run."""
        return False

    def write_files(self, work: Work, tenant_id: str) -> dict[str, Any] | None:
        """Write the tenant's files after its work is committed; returns more details of the outcome. A later attempt writes them again."""
        return None

    def send(self, work: Work, results: Sequence[UnitResult]) -> Sequence[Outcome]:
        """Send messages after the shard's work is committed; returns the results with the outcomes of the messages.

        ``work.store`` contains the files of letters. It is None if the installation has no store.

        Each step is its own transaction. A message is claimed before it is sent. After a kill it is unknown whether the message arrived, so
        it is not sent again.
        """
        return results

    def finish(self, work: Work) -> None:
        """Write the files that span tenants, after all tenants, even if some failed."""

    def service_remarks(self, platform: psycopg.Connection) -> Mapping[str, RunRemark]:
        """Remarks about services that refuse every message, by a name of the event; an event is reported as in ``run_remarks``."""
        return {}

    def digest(self, work: Work) -> Digest:
        """The findings for the operators after a run, also after a failed one.

        The transaction commits when the digest is sent, so rows are marked as reported only if the operators receive them.
        """
        return Digest()

    def discard(self, work: Work) -> None:
        """Delete the rows that only the run's own steps needed, when the run closes."""

    def announces(self, run: Run) -> bool:
        """Whether a complete run has made what the registry says that the batch makes."""
        return True

    def has(self, step: Callable[..., Any]) -> bool:
        """Whether it overrides this step of ``Batch``."""
        return getattr(type(self), step.__name__) is not step

    def require(self, *steps: Callable[..., Any]) -> None:
        """:raises WiringError: it does not override these steps of ``Batch``."""
        missing = "、".join(step.__name__ for step in steps if not self.has(step))
        if missing:
            raise self._lacks(missing)

    def own_step(self, name: str) -> Callable[[Work], RunRemark | None]:
        """Its method ``name``, a step that other batches do not have. :raises WiringError: it has no such method."""
        step: Callable[[Work], RunRemark | None] | None = getattr(self, name, None)
        if step is None:
            raise self._lacks(name)
        return step

    def _lacks(self, steps: str) -> WiringError:
        return WiringError(
            f"{type(self).__name__} には処理 {steps} がありません。登録簿（catalog.py）の steps からこのタスクを除くか、"
            "処理を加えてください。"
        )


class TenantBatch(Batch, ABC):
    """A batch that works on tenants."""

    @abstractmethod
    def process(self, work: Work) -> Sequence[Outcome]:
        """Do the work of these tenants together, in the transaction that has them as its context.

        Return a failure to keep the written rows. Raise an error to roll them back; the flow then searches for the tenant that
        caused it.
        """


class UnitBatch(Batch, ABC):
    """A batch that works on units other than tenants. Like a tenant, each unit has a mapped instance and an outcome."""

    @abstractmethod
    def units(self, request: Request) -> Sequence[Unit]:
        """The units of a run, in order. :raises ParameterError: the form names an unknown unit."""

    @abstractmethod
    def process_unit(self, work: Work, unit_id: str) -> Outcome:
        """Do the work of one unit, in one or more transactions."""


class StagingBatch(TenantBatch):
    """Has a staging table with one row per tenant. ``process`` deletes the row in its transaction; a later attempt writes it again."""

    staging_table: str

    @abstractmethod
    def prepare(self, work: Work) -> None:
        """Write the tenants' staging rows, as ``batch_platform``."""

    def unprepared(self, work: Work) -> Sequence[str]:
        """The tenants without a row in the staging table, in order."""
        # The table's name is a constant of the batch's class.
        rows = work.connection.execute(
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
            {"execution_id": work.run.execution_id, "tenant_ids": list(work.tenant_ids)},
        )
        return [tenant_id for (tenant_id,) in rows]

    def discard(self, work: Work) -> None:
        """Delete the run's staging rows: those of the transaction's tenants, or as ``batch_platform`` all of them."""
        work.connection.execute(
            sql.SQL("DELETE FROM {} WHERE execution_id = %s").format(
                sql.Identifier("batch", self.staging_table)
            ),
            [work.run.execution_id],
        )


def create_batch(spec: RunSpec, installation: Installation) -> Batch:
    """The batch or operation of a registry entry, by the function ``create_batch`` of its package."""
    batch: Batch = import_module(spec.package).create_batch(installation)
    return batch
