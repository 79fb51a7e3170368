"""Each DAG's deadlines: its time limit, and one and a half times what it usually takes.

Airflow works out a deadline once, when the run is created (in the scheduler, or in the API server for a run by hand), and calls back from
the triggerer when it has passed and the run has not succeeded. The references are custom ones: clearing a task while a deadline of the
built-in ``DAGRUN_QUEUED_AT`` is pending makes Airflow 3.3 answer 500. They are registered in ``skill_batch_plugin``, under this dotted path
and no other, and must not raise: a run without a deadline is better than no run.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert, deadline_reference

from skill_batch.notifiers.deadline_alert import LateRunAlert, SlowRunAlert
from skill_batch.performance import FACTOR, LAST_RUNS, LEAST_RUNS, LEAST_SECONDS, ORDINARY_ACTIONS

if TYPE_CHECKING:
    from airflow.models import DagRun
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

# Of so many successful runs the comparable ones are looked for.
_LOOKED_THROUGH = 100


@dataclass(eq=False)
class _RunReference(BaseDeadlineReference):
    """A moment that depends on the run and on its DAG's past. Backfills have none: nobody waits for the past."""

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
            from airflow.models import DagRun
            from sqlalchemy import select

            run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
            if run is None or run.run_type == "backfill":
                return None
            now = datetime.now(UTC)
            # A run by hand may be asked for a later time.
            return self.moment(session, run, max(run.queued_at or now, run.run_after))
        except Exception:
            log.exception("%s: no deadline for %s, %s", self.reference_name, dag_id, run_id)
            return None

    @abstractmethod
    def moment(self, session: Session, run: DagRun, begins_at: datetime) -> datetime | None:
        """The deadline, or None if there is none."""


@deadline_reference()
@dataclass(eq=False)
class RunBegins(_RunReference):
    """When the run may begin; with the time limit as interval, when it should have ended."""

    def moment(self, session: Session, run: DagRun, begins_at: datetime) -> datetime | None:  # noqa: ARG002
        return begins_at


@deadline_reference()
@dataclass(eq=False)
class UsualEnd(_RunReference):
    """When a run that takes ``factor`` times the average of the DAG's last comparable runs would end; none with too few of them.

    Comparable are successful runs that nobody cleared, wrote, did the batch's own work, and that on all tenants.
    """

    factor: float = float(FACTOR)
    last_runs: int = LAST_RUNS
    least_runs: int = LEAST_RUNS
    least_seconds: int = LEAST_SECONDS

    def moment(self, session: Session, run: DagRun, begins_at: datetime) -> datetime | None:
        from airflow.models import DagRun
        from airflow.utils.types import DagRunTriggeredByType
        from sqlalchemy import select

        if not _is_ordinary(run.conf or {}):
            return None
        rows = session.execute(
            select(DagRun.start_date, DagRun.end_date, DagRun.conf)
            .where(
                DagRun.dag_id == run.dag_id,
                DagRun.state == "success",
                DagRun.run_type != "backfill",
                # `airflow dags test` has its run begin at the logical date.
                DagRun.triggered_by.is_distinct_from(DagRunTriggeredByType.TEST),
                DagRun.clear_number == 0,
                DagRun.start_date.is_not(None),
                DagRun.end_date.is_not(None),
            )
            .order_by(DagRun.end_date.desc())
            .limit(_LOOKED_THROUGH)
        )
        seconds = [
            (ended_at - started_at).total_seconds()
            for started_at, ended_at, conf in rows
            if _is_ordinary(conf or {})
        ][: self.last_runs]
        if len(seconds) < self.least_runs:
            return None
        usual = self.factor * sum(seconds) / len(seconds)
        return begins_at + timedelta(seconds=max(usual, self.least_seconds))


def _is_ordinary(conf: dict[str, Any]) -> bool:
    is_own_work = conf.get("action") in (None, *ORDINARY_ACTIONS)
    return is_own_work and not conf.get("dry_run") and not conf.get("tenants")


def deadlines_of(batch_id: str, batch_name: str, severity: str, time_limit: timedelta) -> list[DeadlineAlert]:
    """The two deadlines of a batch's DAG; ``severity`` is that of a run that is late (a slow one is MEDIUM)."""
    return [
        late_deadline(batch_id, batch_name, severity, time_limit),
        DeadlineAlert(
            reference=UsualEnd(),
            interval=timedelta(0),
            callback=AsyncCallback(SlowRunAlert, kwargs={"batch_id": batch_id, "batch_name": batch_name}),
            name=f"いつもの {FACTOR} 倍",
        ),
    ]


def late_deadline(batch_id: str, batch_name: str, severity: str, time_limit: timedelta) -> DeadlineAlert:
    """The deadline of a run that takes longer than it may."""
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
            },
        ),
        name="制限時間",
    )
