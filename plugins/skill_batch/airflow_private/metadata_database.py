"""Queries on Airflow's metadata database, for deadlines. Scheduler and API server may use them, tasks may not."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.models import DagRun as DagRun  # for annotations
from airflow.utils.types import DagRunTriggeredByType
from sqlalchemy import select
from sqlalchemy.orm import Session


def find_run(session: Session, dag_id: str, run_id: str) -> DagRun | None:
    """The run, or None."""
    return session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))


def successful_runs(
    session: Session, dag_id: str, most: int
) -> list[tuple[datetime, datetime, dict[str, Any]]]:
    """Start, end (UTC, aware) and form of the DAG's last successful runs, newest first.

    Backfills, cleared runs, and runs of ``airflow dags test`` are excluded.
    """
    rows = session.execute(
        select(DagRun.start_date, DagRun.end_date, DagRun.conf)
        .where(
            DagRun.dag_id == dag_id,
            DagRun.state == "success",
            DagRun.run_type != "backfill",
            # The start date of an `airflow dags test` run is its logical date.
            DagRun.triggered_by.is_distinct_from(DagRunTriggeredByType.TEST),
            DagRun.clear_number == 0,
            DagRun.start_date.is_not(None),
            DagRun.end_date.is_not(None),
        )
        .order_by(DagRun.end_date.desc())
        .limit(most)
    )
    return [(started_at, ended_at, conf or {}) for started_at, ended_at, conf in rows]
