"""The registry's types: batch, operation and family."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum, IntEnum
from typing import ClassVar

from include.skillreport.core.assets import AssetSpec


class Severity(IntEnum):
    """The urgency of a batch (batch list, section 6.2). It sets the worker priority. Values are ordered. Alerts about a run are at least
    HIGH.
    """

    MEDIUM = 1
    HIGH = 2
    CRITICAL = 3


class WorksOn(Enum):
    """The default business date, relative to the date of the run."""

    YESTERDAY = "yesterday"
    PREVIOUS_MONTH = "previous month"
    RUN_DATE = "run date"


# Whether a failure of a manual run can wait.
MANUAL_RUN = "手動実行なので、始めた人が判断します。"


@dataclass(frozen=True, kw_only=True)
class BatchFamily:
    """A family of batches: a folder under ``dags/``, a tag, and a DAG that runs several of its batches manually."""

    slug: str
    name: str
    dag_id: str


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """A batch or an operation.

    ``time_limit`` applies to the entire run. ``retries`` excludes the first attempt (the customer's "attempts: 3" means two retries).
    ``mapped_task`` is the id of the task that Airflow maps over the tenants, ``mapped_task_name`` its name in the UI. ``per_tenant`` is
    false for units other than tenants. ``takes_tenants`` is false if every run works on all tenants, so that none can be named.
    ``can_wait`` tells operators if a failure can wait until the morning; texts for operators have no defaults. ``cron`` is the schedule;
    empty: all runs are manual. ``steps`` are the ids of the own tasks before the mapped task; ``run_plan`` has the full order.
    ``read_name`` is the UI name of ``read_logs``, whose id is always the same, because clearing an open run needs it.
    ``confirms_resumption``: after a pause, a scheduled run holds its messages until a user approves them. ``backfills``: Airflow may run
    missed days later (``airflow backfill``).
    """

    id: str
    slug: str
    name: str
    mapped_task: str
    mapped_task_name: str
    time_limit: timedelta
    works_on: WorksOn
    can_wait: str
    severity: Severity = Severity.MEDIUM
    per_tenant: bool = True
    takes_tenants: bool = True
    retries: int = 2
    cron: str = ""
    steps: tuple[str, ...] = ()
    read_name: str = "ログ読込"
    confirms_resumption: bool = False
    backfills: bool = False
    _folder: ClassVar[str]

    @property
    def run_severity(self) -> Severity:
        """The urgency of a failed or late run, at least HIGH: each failed run sends an alert (batch list, section 5.3)."""
        return max(self.severity, Severity.HIGH)

    @property
    def dag_id(self) -> str:
        """The id of the DAG for this batch or operation alone."""
        return self.slug

    @property
    def package(self) -> str:
        """The Python package whose ``create_batch`` creates the batch, for example ``include.skillreport.batches.tenant_usage``."""
        return f"include.skillreport.{self._folder}.{self.slug}"

    @property
    def priority_weight(self) -> int:
        """Airflow's priority weight. When worker slots are short, billing runs first, then notifications, then the rest."""
        return {Severity.MEDIUM: 1, Severity.HIGH: 10, Severity.CRITICAL: 100}[self.severity]


@dataclass(frozen=True, kw_only=True)
class BatchSpec(RunSpec):
    """A batch. In the family's DAG it runs after the batch ``after``.

    A complete run announces the assets ``makes``, produced from the assets ``reads``. ``missed_runs`` tells operators which missed runs to
    repeat and how; ``sent_late`` tells what a run for a past date sends.
    """

    family: BatchFamily
    missed_runs: str
    sent_late: str
    after: BatchSpec | None = None
    makes: tuple[AssetSpec, ...] = ()
    reads: tuple[AssetSpec, ...] = ()
    _folder = "batches"

    @property
    def dag_id(self) -> str:
        """For example ``batch_018_01_tenant_usage`` for BATCH-018-01."""
        return f"{self.id.lower().replace('-', '_')}_{self.slug}"

    def partition_key(self, business_date: date) -> str:
        """The asset partition of a run for this date: ``2026-10-31``, or ``2026-10`` for a monthly batch."""
        monthly = self.works_on is WorksOn.PREVIOUS_MONTH
        return f"{business_date:%Y-%m}" if monthly else f"{business_date:%Y-%m-%d}"


@dataclass(frozen=True, kw_only=True)
class OperationSpec(RunSpec):
    """A manual operation on the results, inputs or tenants of ``batch``. With a ``cron`` it also runs on a schedule."""

    batch: BatchSpec
    _folder = "operations"
