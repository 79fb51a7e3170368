"""A batch: one required step, and optional steps that do nothing unless the batch overrides them.

The flow calls the steps. A step may run more than once and must leave the same rows each time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from include.skillreport.core.database import Statements
from include.skillreport.core.errors import BatchError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.digest import Digest
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.sharding import Tenant, Unit
from include.skillreport.core.network import Network

if TYPE_CHECKING:
    from include.skillreport.core.execution.installation import Installation
    from include.skillreport.core.run_spec import RunSpec


_SQL = Statements(Path(__file__).parent)


@dataclass(frozen=True)
class Run:
    """The run of a step. Every row that the step writes contains ``execution_id``.

    ``business_date`` is the date that the run works on. ``run_date`` is the day of the logical date, or the current day in steps that work
    later (reading logs, shards, closing). Both are in Asia/Tokyo. ``options`` are the batch's own checked parameters (JSON values). After
    ``send_seconds`` a shard starts no more sends or directory reads. ``part`` is the shard's part of the tenants' work, see
    ``Batch.parts``. ``run_at`` (aware) is the logical date. ``triggered_by`` is the user of a manual run. ``attempt`` counts the clears
    before the step. ``deferral_reason``: this is the first scheduled run after a pause, so its messages wait for approval.
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
        """The user recorded for entered data: the user who triggered the run, otherwise the run."""
        return self.triggered_by or self.execution_id

    @property
    def is_repeated(self) -> bool:
        """True if a user triggered or cleared the run. It reads the application's rows again, because they may have changed."""
        return self.triggered_by is not None or self.attempt > 0

    @property
    def as_of(self) -> datetime:
        """The end (Asia/Tokyo) of the period that the run reads: the logical date, or the end of an earlier business date."""
        day_end = datetime.combine(self.business_date + timedelta(days=1), time(), JAPAN)
        return min(self.run_at.astimezone(JAPAN), day_end) if self.run_at else day_end


@dataclass(frozen=True)
class UnitResult:
    """The result of one unit, which is a tenant in most batches.

    ``details`` are figures for the execution log (JSON values), ``records`` counts rows or messages, ``notes`` are for operators, and
    ``report`` appears only in the task's log.
    """

    unit_id: str
    details: dict[str, Any]
    records: int
    notes: tuple[str, ...] = ()
    report: tuple[str, ...] = ()


@dataclass(frozen=True)
class UnitFailure:
    """The failure of one unit, in one sentence. ``details`` and ``notes`` describe the work before it."""

    unit_id: str
    code: str
    message: str
    recoverable: bool
    details: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


Outcome: TypeAlias = UnitResult | UnitFailure


class NotDueError(BatchError):
    """The run is skipped: its month has not ended or is not billed, or tenants are named for a batch that works on all tenants."""


class WiringError(BatchError):
    """A DAG has a task for a step that its batch lacks."""


@dataclass(frozen=True)
class RunRemark:
    """A note about a step of the entire run, for the result of the run. ``details`` are figures (JSON values).

    ``problem`` says in one sentence why the step failed, and ``code`` selects its ``FailureKind``. ``may_pass``: the problem may end
    without an operator's action. ``in_each_run``: the problem is about this run's results, so each run reports it. ``effects`` are the
    figures that the attempts of the step add up (``Batch``).
    """

    details: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    code: str = ""
    may_pass: bool = False
    in_each_run: bool = False
    effects: Collection[str] = ()


@dataclass(frozen=True)
class Work:
    """The inputs of a step: its run, tenants and database connection, and the targets of files and messages.

    ``connection`` is in autocommit mode. It acts as ``batch_tenant`` in the steps of a shard, and as ``batch_platform`` in steps of the
    entire run and of a ``UnitBatch``. ``record`` makes outcomes final, in a transaction of its own, before the shard ends: after a kill, a
    retry does not work on these tenants again.
    """

    run: Run
    connection: psycopg.Connection
    tenant_ids: Sequence[str] = ()
    store: ObjectStore | None = None
    network: Network | None = None
    installation: Installation | None = None
    record: Callable[[psycopg.Connection, Sequence[Outcome]], object] = lambda *_: None

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
        """The environment of a step of the entire run. :raises LookupError: a shard has none."""
        if self.installation is None:
            raise LookupError("this step has no installation")
        return self.installation


@dataclass(frozen=True)
class Request:
    """The input of a run, from a user or the schedule, before the run is opened.

    ``values`` are the form's values, ``codes`` the tenant codes in it (none: all tenants), and ``tenants`` the tenants with these codes.
    ``platform`` acts as ``batch_platform``. ``is_scheduled``: the schedule started the run, not a user.
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
    """The steps of a batch. A batch overrides the steps that it needs.

    Steps before the run is opened receive a ``Request``, all others a ``Work``. A step with a ``Request`` raises ParameterError if a value
    of the form cannot be used.

    Each numeric figure of an outcome's ``details`` is an effect or a state. An effect is what committed work has done and does not do
    again (sent, deleted): the attempts of a run add up. ``effects`` are counted with the outcomes of ``process``, ``counted`` by the step
    itself (``count_effects``). ``states``: what the last attempt has found or left (users, open incidents).
    """

    effects: ClassVar[frozenset[str]] = frozenset()
    counted: ClassVar[frozenset[str]] = frozenset()
    states: ClassVar[frozenset[str]] = frozenset()

    def options(self, request: Request) -> dict[str, Any]:
        """Check the request; returns the batch's own parameters as JSON values."""
        return {}

    def changed(self, work: Work, *, again: bool = False) -> Mapping[str, str]:
        """The reason not to start the run, if items differ from what the user was shown: one sentence or none.

        ``again``: the check at the start of the work, in the tenants' transaction. It returns a sentence per tenant id.
        """
        return {}

    def needs_nobody(self, request: Request) -> bool:
        """True if the run has no tenants and only ``finish`` has an effect."""
        return False

    def found_tenants(self, request: Request) -> Collection[str] | None:
        """The ids of the run's tenants, regardless of status, from another source such as a file. None: the form's tenants."""
        return None

    def further_tenants(self, request: Request) -> Collection[str]:
        """The ids of inactive tenants that the run also works on."""
        return ()

    def vanished_tenants(self, request: Request) -> Sequence[Tenant]:
        """Tenants that were deleted from the application's table, with their last code and name. They count as active."""
        return ()

    def parts(self, request: Request) -> Mapping[str, Sequence[str]]:
        """The independent parts of tenants' work, by tenant id.

        Each part has its own mapped instance and outcome. A tenant without an entry has one part, ``""``.
        """
        return {}

    def await_others(self, work: Work) -> None:
        """Wait for other runs whose rows ``prepare`` reads, as ``batch_platform`` outside of a transaction."""

    def prepare(self, work: Work) -> None:
        """Read the host's large tables once for these tenants, into staging rows in schema ``batch``, as ``batch_platform``."""

    def unprepared(self, work: Work) -> Sequence[str]:
        """The tenants without staging rows, in order: not prepared, failed, or processed by an earlier attempt."""
        return ()

    def fetch(self, work: Work) -> Mapping[str, Exception]:
        """Write the answers of external services into staging rows, also in a dry run; returns the errors by tenant.

        Each write has its own transaction. After a kill, the next attempt continues there.
        """
        return {}

    def reads_files(self, run: Run) -> bool:
        """True if ``process`` or an own step reads files of the object store in this run, also in a dry run."""
        return False

    def write_files(self, work: Work, tenant_id: str) -> dict[str, Any] | None:
        """Write the tenant's files after its work is committed; returns further details of the outcome. A retry writes them again."""
        return None

    def send(self, work: Work, results: Sequence[UnitResult]) -> Sequence[Outcome]:
        """Send messages after the shard's work is committed; returns the results with the messages' outcomes.

        ``work.store`` contains the attached files; None if the installation has no store. Each step has its own transaction. A message is
        claimed before it is sent. After a kill it is unknown if the message arrived, so it is not sent again.
        """
        return results

    def finish(self, work: Work) -> None:
        """Write the files that span tenants. Runs after all tenants, even if some failed."""

    def service_remarks(self, platform: psycopg.Connection) -> Mapping[str, RunRemark]:
        """Notes about services that reject every message, by event name. ``run_remarks`` decides when an event is reported."""
        return {}

    def digest(self, work: Work) -> Digest:
        """The findings for operators after a run, also after a failed run.

        The transaction commits when the digest is sent, so only received rows are marked as reported.
        """
        return Digest()

    def discard(self, work: Work) -> None:
        """Delete the rows that only the run's own steps needed, when the run closes."""

    def announces(self, run: Run) -> bool:
        """True if a complete run has produced the batch's assets."""
        return True

    def has(self, step: Callable[..., Any]) -> bool:
        """True if the batch overrides this step."""
        return getattr(type(self), step.__name__) is not step

    def require(self, *steps: Callable[..., Any]) -> None:
        """Check that the batch overrides these steps. :raises WiringError: it does not."""
        missing = "、".join(step.__name__ for step in steps if not self.has(step))
        if missing:
            raise self._lacks(missing)

    def own_step(self, name: str) -> Callable[[Work], RunRemark | None]:
        """The method ``name``, a step that other batches lack. :raises WiringError: there is no such method."""
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
        """Process these tenants together, in the transaction that has them as its context.

        Return a failure to keep the written rows. Raise an error to roll them back; the flow then finds the tenant that caused it.
        """


class UnitBatch(Batch, ABC):
    """A batch that works on units other than tenants. Each unit has a mapped instance and an outcome."""

    @abstractmethod
    def units(self, request: Request) -> Sequence[Unit]:
        """The units of a run, in order. :raises ParameterError: the form names an unknown unit."""

    @abstractmethod
    def process_unit(self, work: Work, unit_id: str) -> Outcome:
        """Process one unit, in one or more transactions."""


class StagingBatch(TenantBatch):
    """A batch with a staging table of one row per tenant. ``process`` deletes the row in its transaction; a retry writes it again."""

    staging_table: str

    @abstractmethod
    def prepare(self, work: Work) -> None:
        """Write the tenants' staging rows, as ``batch_platform``."""

    def unprepared(self, work: Work) -> Sequence[str]:
        """The tenants without a row in the staging table, in order."""
        # The table name is a constant of the class.
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
        """Delete the run's staging rows of the transaction's tenants, or all of them as ``batch_platform``."""
        work.connection.execute(
            sql.SQL("DELETE FROM {} WHERE execution_id = %s").format(
                sql.Identifier("batch", self.staging_table)
            ),
            [work.run.execution_id],
        )


def count_effects(connection: psycopg.Connection, run: Run, unit_id: str, **effects: int) -> None:
    """Count what the connection's transaction does for a unit (``Batch.counted``), so that a kill after its commit loses nothing."""
    about = {"execution_id": run.execution_id, "tenant_id": unit_id, "part": run.part}
    if not run.dry_run and any(effects.values()):
        _SQL.execute(connection, "add_effects", **about, effects=Jsonb(effects))


def create_batch(spec: RunSpec, installation: Installation) -> Batch:
    """Create the batch or operation of a registry entry with its package's ``create_batch``."""
    batch: Batch = import_module(spec.package).create_batch(installation)
    return batch
