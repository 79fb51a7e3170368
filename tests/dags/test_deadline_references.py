"""When the deadlines of a run pass, worked out of Airflow's own rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from airflow.models import DagRun
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from skill_batch.deadlines import RunBegins, UsualEnd

DAG_ID = "batch_of_this_test"
QUEUED_AT = datetime(2026, 11, 25, 1, 30, 5, tzinfo=UTC)
_numbers = count()


@pytest.fixture
def session(migrated_metadata: str) -> Iterator[Session]:
    """Airflow's database; nothing that a test adds stays there."""
    engine = create_engine(migrated_metadata)
    with Session(engine) as session:
        yield session
        session.rollback()
    engine.dispose()


def run(session: Session, **values: Any) -> str:
    """A run that was queued five seconds after its time; returns its id."""
    run_id = f"run-{next(_numbers)}"
    added = DagRun(
        dag_id=DAG_ID,
        run_id=run_id,
        run_type=DagRunType.SCHEDULED,
        run_after=QUEUED_AT - timedelta(seconds=5),
        queued_at=QUEUED_AT,
        state=DagRunState.QUEUED,
    )
    for name, value in values.items():
        setattr(added, name, value)
    session.add(added)
    session.flush()
    return run_id


def past(session: Session, seconds: list[int], **values: Any) -> None:
    """Successful runs of the days before, the newest last."""
    for number, took in enumerate(seconds):
        began_at = QUEUED_AT - timedelta(days=len(seconds) - number)
        ended_at = began_at + timedelta(seconds=took)
        run(session, **{"_state": "success", "start_date": began_at, "end_date": ended_at} | values)


def begins(session: Session, run_id: str) -> datetime | None:
    return RunBegins()._evaluate_with(session=session, dag_id=DAG_ID, run_id=run_id)


def usual_end(session: Session, run_id: str) -> datetime | None:
    return UsualEnd()._evaluate_with(session=session, dag_id=DAG_ID, run_id=run_id)


@pytest.mark.parametrize(
    ("run_type", "begins_at"),
    [(DagRunType.SCHEDULED, QUEUED_AT), (DagRunType.MANUAL, QUEUED_AT), (DagRunType.BACKFILL_JOB, None)],
)
def test_time_counts_from_the_queue_and_not_at_all_for_backfills(
    session: Session, run_type: DagRunType, begins_at: datetime | None
) -> None:
    assert begins(session, run(session, run_type=run_type)) == begins_at


def test_a_run_asked_for_a_later_time_counts_from_then(session: Session) -> None:
    later = QUEUED_AT + timedelta(hours=3)
    assert begins(session, run(session, run_after=later)) == later


def test_the_usual_end_is_150_percent_of_the_last_twenty(session: Session) -> None:
    past(session, [9_000] * 10 + [60] * 19 + [80])
    assert usual_end(session, run(session)) == QUEUED_AT + timedelta(seconds=1.5 * 61)


@pytest.mark.parametrize(("runs", "has_one"), [(4, False), (5, True)])
def test_four_runs_say_nothing_about_what_is_usual(session: Session, runs: int, has_one: bool) -> None:
    past(session, [60] * runs)
    assert (usual_end(session, run(session)) is not None) is has_one


@pytest.mark.parametrize(
    "values",
    [
        {"_state": "failed"},
        {"run_type": DagRunType.BACKFILL_JOB},
        {"clear_number": 1},
        {"triggered_by": DagRunTriggeredByType.TEST},
        {"conf": {"dry_run": True}},
        {"conf": {"tenants": ["T001"]}},
    ],
)
def test_unusual_runs_are_no_measure_and_have_no_usual_end(session: Session, values: dict[str, Any]) -> None:
    past(session, [60] * 5)
    past(session, [9_000] * 20, **values)
    assert usual_end(session, run(session)) == QUEUED_AT + timedelta(seconds=90)
    if "conf" in values:
        assert usual_end(session, run(session, **values)) is None
