"""The deadlines of a DAG: its time limit, and 1.5 times its usual duration.

Airflow computes a deadline once, when it creates the run (in the scheduler, or in the API server for a manual run). If the run has not
succeeded by then, the triggerer calls the callback. The references are custom, because with ``DAGRUN_QUEUED_AT`` Airflow 3.3 answers
500 if a user clears a task while the deadline is pending. ``skill_batch.plugin`` registers them. Their dotted path must not change.
They must not raise: a run without a deadline is better than no run.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import AsyncCallback, DeadlineAlert  # type: ignore[attr-defined]  # not in the stub
from typing_extensions import override

from skill_batch.airflow_private.deadline_references import BaseDeadlineReference, deadline_reference
from skill_batch.notifiers.deadline_alert import LateRunAlert, SlowRunAlert
from skill_batch.performance import FACTOR, LAST_RUNS, LEAST_RUNS, LEAST_SECONDS

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from skill_batch.airflow_private.metadata_database import DagRun

log = logging.getLogger(__name__)

# Comparable runs are searched among this many successful runs.
_SEARCHED_RUNS = 100


@dataclass(eq=False)
class _RunReference(BaseDeadlineReference):
    """A time that depends on the run and on earlier runs of its DAG. Backfills have no deadline."""

    required_kwargs: ClassVar[set[str]] = {"dag_id", "run_id"}

    def serialize_reference(self) -> dict[str, Any]:
        return {**super().serialize_reference(), **asdict(self)}

    @classmethod
    def deserialize_reference(cls, reference_data: dict[str, Any]) -> BaseDeadlineReference:
        return cls(
            **{name: reference_data[name] for name in cls.__dataclass_fields__ if name in reference_data}
        )

    def _evaluate_with(self, *, session: Session, dag_id: str, run_id: str, **_: Any) -> datetime | None:
        try:
            from skill_batch.airflow_private.metadata_database import find_run

            run = find_run(session, dag_id, run_id)
            if run is None or run.run_type == "backfill":
                return None
            now = datetime.now(UTC)
            # A manual run may be scheduled for a later time.
            return self.moment(session, run, max(run.queued_at or now, run.run_after))
        except Exception:
            log.exception("%s: no deadline for %s, %s", self.reference_name, dag_id, run_id)
            return None

    @abstractmethod
    def moment(self, session: Session, run: DagRun, begins_at: datetime) -> datetime | None:
        """The time; None if the run has no deadline."""


@deadline_reference()
@dataclass(eq=False)
class RunBegins(_RunReference):
    """The earliest start of the run. The deadline's interval is the time limit."""

    @override
    def moment(self, session: Session, run: DagRun, begins_at: datetime) -> datetime | None:
        return begins_at


@deadline_reference()
@dataclass(eq=False)
class UsualEnd(_RunReference):
    """The end of a run that takes ``factor`` times the average of the DAG's last comparable runs. None if there are too few.

    A comparable run succeeded, was not cleared, worked on all tenants, and is no backfill, test or dry run.
    """

    factor: float = float(FACTOR)
    last_runs: int = LAST_RUNS
    least_runs: int = LEAST_RUNS
    least_seconds: int = LEAST_SECONDS

    @override
    def moment(self, session: Session, run: DagRun, begins_at: datetime) -> datetime | None:
        from skill_batch.airflow_private.metadata_database import successful_runs

        if not _is_ordinary(run.conf or {}):
            return None
        seconds = [
            (ended_at - started_at).total_seconds()
            for started_at, ended_at, conf in successful_runs(session, run.dag_id, _SEARCHED_RUNS)
            if _is_ordinary(conf)
        ][: self.last_runs]
        if len(seconds) < self.least_runs:
            return None
        allowed = self.factor * sum(seconds) / len(seconds)
        return begins_at + timedelta(seconds=max(allowed, self.least_seconds))


def _is_ordinary(conf: dict[str, Any]) -> bool:
    return not conf.get("dry_run") and not conf.get("tenants")


def deadlines_of(
    batch_id: str, batch_name: str, severity: str, time_limit: timedelta, *, is_operation: bool = False
) -> list[DeadlineAlert]:
    """The two deadlines of a scheduled DAG. ``severity`` is the severity of a late run; a slow run is MEDIUM.

    ``is_operation``: the user who triggered the run gets the alert about a late run.
    """
    return [
        late_deadline(batch_id, batch_name, severity, time_limit, is_operation=is_operation),
        DeadlineAlert(
            reference=UsualEnd(),
            interval=timedelta(0),
            callback=AsyncCallback(SlowRunAlert, kwargs={"batch_id": batch_id, "batch_name": batch_name}),
            name=f"いつもの {FACTOR} 倍",
        ),
    ]


def late_deadline(
    batch_id: str, batch_name: str, severity: str, time_limit: timedelta, *, is_operation: bool = False
) -> DeadlineAlert:
    """The deadline for a run's time limit. ``is_operation``: the user who triggered the run gets the alert."""
    return DeadlineAlert(
        reference=RunBegins(),
        interval=time_limit,
        callback=AsyncCallback(
            LateRunAlert,
            kwargs={
                "batch_id": batch_id,
                "batch_name": batch_name,
                "severity": severity,
                "limit_seconds": int(time_limit.total_seconds()),
                "is_operation": is_operation,
            },
        ),
        name="制限時間",
    )
