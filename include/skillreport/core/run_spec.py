"""What the registry says about a batch, an operation and a family."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum, IntEnum
from typing import ClassVar

from include.skillreport.core.assets import AssetSpec


class Severity(IntEnum):
    """How urgent a batch is (batch list, section 6.2). It decides the priority for a worker. Alerts about a run are at least HIGH. The
    values are ordered.
    """

    MEDIUM = 1
    HIGH = 2
    CRITICAL = 3


class WorksOn(Enum):
    """The default business date, relative to the date of the run."""

    YESTERDAY = "yesterday"
    PREVIOUS_MONTH = "previous month"
    RUN_DATE = "run date"


@dataclass(frozen=True, kw_only=True)
class BatchFamily:
    """A family of batches: a folder under ``dags/``, a tag, and a DAG for manual runs of several of its batches."""

    slug: str
    name: str
    dag_id: str


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """A batch or an operation.

    ``time_limit`` is the limit of a whole run. ``retries`` is the number of attempts after the first one (the customer's "attempts: 3"
    means one attempt and two retries). ``mapped_task`` is the id of the task that Airflow maps over the tenants, and
    ``mapped_task_name`` its name in the UI. ``per_tenant`` is false for a batch that works on other units than tenants. ``takes_tenants``
    is false if every run works on all, so that no tenants can be named. ``can_wait`` tells operators whether a failure can wait until the
    morning. ``cron`` is the schedule; empty: people start each run. ``steps`` are the ids of its own tasks before the mapped task, in
    order; ``run_plan`` has the whole order. ``read_name`` is the name of the step ``read_logs`` in the UI, by what it reads; its id is the
    same everywhere, because a clear of an open run needs it. ``confirms_resumption``: after a pause, a run of the schedule defers what
    people would receive until somebody confirms it. ``backfills``: Airflow may run missed days later (``airflow backfill``).
    """

    id: str
    slug: str
    name: str
    mapped_task: str
    mapped_task_name: str
    time_limit: timedelta
    works_on: WorksOn
    severity: Severity = Severity.MEDIUM
    per_tenant: bool = True
    takes_tenants: bool = True
    retries: int = 2
    can_wait: str = "待てます。次の実行が続きをします。"
    cron: str = ""
    steps: tuple[str, ...] = ()
    read_name: str = "ログ読込"
    confirms_resumption: bool = False
    backfills: bool = False
    _folder: ClassVar[str]

    @property
    def run_severity(self) -> Severity:
        """How urgent a failed or late run is. At least HIGH, because each failed run sends an alert (batch list, section 5.3)."""
        return max(self.severity, Severity.HIGH)

    @property
    def dag_id(self) -> str:
        """The id of the DAG that runs only this batch or operation."""
        return self.slug

    @property
    def package(self) -> str:
        """Its Python package, whose ``create_batch`` makes the batch: ``include.skillreport.batches.tenant_usage``."""
        return f"include.skillreport.{self._folder}.{self.slug}"

    @property
    def priority_weight(self) -> int:
        """Airflow's priority weight. If worker slots are short, billing runs first, then notifications, then the others."""
        return {Severity.MEDIUM: 1, Severity.HIGH: 10, Severity.CRITICAL: 100}[self.severity]


@dataclass(frozen=True, kw_only=True)
class BatchSpec(RunSpec):
    """One batch. In the family's DAG it runs after the batch ``after``.

    ``makes`` are the assets that a complete run announces, and ``reads`` those that it makes them from. ``missed_runs`` tells operators
    which missed runs are made up for, and how; ``sent_late`` what people receive from a run for a past date.
    """

    family: BatchFamily
    after: BatchSpec | None = None
    makes: tuple[AssetSpec, ...] = ()
    reads: tuple[AssetSpec, ...] = ()
    missed_runs: str = "不要です。次の予定が続きをします。"
    sent_late: str = "何も送りません。"
    _folder = "batches"

    @property
    def dag_id(self) -> str:
        """``batch_018_01_tenant_usage`` for BATCH-018-01."""
        return f"{self.id.lower().replace('-', '_')}_{self.slug}"

    def partition_key(self, business_date: date) -> str:
        """The key of what a run for this date makes: ``2026-10-31``, or the month ``2026-10`` of a monthly batch."""
        monthly = self.works_on is WorksOn.PREVIOUS_MONTH
        return f"{business_date:%Y-%m}" if monthly else f"{business_date:%Y-%m-%d}"


@dataclass(frozen=True, kw_only=True)
class OperationSpec(RunSpec):
    """An operation of people. It belongs to ``batch``, on whose results, inputs or tenants it works. One with a ``cron`` also runs by
    itself.
    """

    batch: BatchSpec
    can_wait: str = "手動実行なので、始めた人が判断します。"
    _folder = "operations"
