"""The runs of batches for the pages: usual durations, progress, missed starts, and late backups."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import psycopg

from skill_batch.board.statements import SQL as _SQL
from skill_batch.performance import FACTOR, LAST_RUNS, LEAST_RUNS, LEAST_SECONDS
from include.skillreport.core.catalog import SCHEDULED_NOTIFICATIONS
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.schedule import GRACE, firings_before, next_firing
from include.skillreport.core.run_spec import BatchSpec, RunSpec

# The schedule creates a backup per day; two hours are its time limit.
_OLDEST_BACKUP = timedelta(hours=26)


@dataclass(frozen=True)
class RunCell:
    """One run of a batch. ``usual_seconds`` is the average of earlier comparable runs, None if there are too few."""

    row: Mapping[str, Any]
    usual_seconds: Decimal | None
    now: datetime

    @property
    def seconds(self) -> float:
        """The run's duration until its first closing, or until now. A later repair does not change it."""
        measured: Decimal | None = self.row["execution_seconds"]
        if measured is not None:
            return float(measured)
        return float(((self.row["ended_at"] or self.now) - self.row["started_at"]).total_seconds())

    @property
    def ratio(self) -> float | None:
        """The duration divided by the usual one."""
        return self.seconds / float(self.usual_seconds) if self.usual_seconds else None

    @property
    def is_slow(self) -> bool:
        """True if the run is slow by the rule of the performance alert."""
        return self.seconds > LEAST_SECONDS and (self.ratio or 0) > FACTOR

    @property
    def state(self) -> str:
        """The status, or ``reopened`` while a cleared task works on a closed run."""
        return "reopened" if self.row["reopened_at"] else str(self.row["status"])


@dataclass(frozen=True)
class RunProgress:
    """An unfinished run: its progress, and its expected end at the present speed."""

    spec: RunSpec
    cell: RunCell
    done: int
    total: int
    failed: int

    @property
    def per_minute(self) -> float | None:
        """Tenants per minute since the start."""
        return self.done * 60 / self.cell.seconds if self.done and self.cell.seconds else None

    @property
    def ends_at(self) -> datetime | None:
        """The expected end; None before the first tenant."""
        if not self.done or self.cell.row["reopened_at"]:
            return None
        return self.cell.now + timedelta(seconds=self.cell.seconds / self.done * (self.total - self.done))

    @property
    def deadline_at(self) -> datetime:
        """The end of the run's time limit."""
        started_at: datetime = self.cell.row["reopened_at"] or self.cell.row["started_at"]
        return started_at + self.spec.time_limit


def load_usual_seconds(connection: psycopg.Connection[Any], batch_ids: Collection[str]) -> dict[str, Decimal]:
    """The average duration by batch, as in the performance alert. Batches with too few runs are missing."""
    rows = _SQL.rows(
        connection, "usual_seconds", batch_ids=list(batch_ids), last_runs=LAST_RUNS, least_runs=LEAST_RUNS
    )
    return {row["batch_id"]: row["seconds"] for row in rows}


def load_progress(
    connection: psycopg.Connection[Any], active: Sequence[tuple[RunSpec, RunCell]]
) -> list[RunProgress]:
    """The progress of these runs."""
    execution_ids = [cell.row["execution_id"] for _, cell in active]
    counts = {
        row["execution_id"]: row for row in _SQL.rows(connection, "progress", execution_ids=execution_ids)
    }
    nothing = {"done": 0, "failed": 0}
    return [
        RunProgress(spec, cell, count["done"], count.get("total", cell.row["total_tenants"]), count["failed"])
        for spec, cell in active
        for count in [counts.get(cell.row["execution_id"], nothing)]
    ]


def next_start(spec: BatchSpec, now: datetime) -> datetime:
    """The batch's next start after ``now`` (both aware)."""
    return next_firing(spec.cron, now)


def sending_at(day: date, now: datetime) -> datetime:
    """When BATCH-019-01 sends a letter of this day: with its first run from then on, and after ``now`` (aware)."""
    begins = datetime.combine(day, time.min, JAPAN)
    return next_start(SCHEDULED_NOTIFICATIONS, max(now, begins))


def missed_start(spec: BatchSpec, started_at: datetime | None, now: datetime) -> datetime | None:
    """The last scheduled start, if no run has begun since; otherwise None.

    ``started_at`` is the start of the newest run for all tenants. A batch without one is left out, because it is new or paused.
    """
    (fired_at,) = firings_before(spec.cron, now - GRACE, 1)
    return fired_at if started_at and started_at < fired_at else None


def is_late(age: timedelta) -> bool:
    """True if a newest verified backup of this age is older than a day and the batch's time limit."""
    return age > _OLDEST_BACKUP
