"""The result of a run from its recorded outcomes, for the alert about a killed ``close_run``."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skill_batch.notifiers.alert import shorten
from skill_batch.statements import SQL

if TYPE_CHECKING:
    from datetime import date

    import psycopg

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordedFailure:
    """A tenant that did not succeed, with the codes of its failures."""

    code: str
    name: str
    reason: str
    error_codes: tuple[str, ...]


@dataclass(frozen=True)
class RecordedResult:
    """The fields of ``include.skillreport.core.execution.run_log.RunResult`` that an alert shows.

    ``recorded_reason`` is the reason in the closed row of a run whose tenants succeeded.
    """

    execution_id: str
    batch_id: str
    business_date: date
    total_tenants: int
    failed_tenants: tuple[RecordedFailure, ...]
    error: str | None = None
    recorded_reason: str | None = None
    # Always empty, because only ``close_run`` determines the problems of the entire run.
    problems: tuple[()] = ()
    error_code: str = "NO_RESULT"

    @property
    def success_count(self) -> int:
        """The number of successful tenants."""
        return self.total_tenants - self.error_count

    @property
    def error_count(self) -> int:
        """The number of tenants that did not succeed."""
        return len(self.failed_tenants)

    @property
    def status(self) -> str:
        """The status that ``close_run`` would record: ``completed``, ``partial`` or ``failed``."""
        if self.error_count >= self.total_tenants > 0:
            return "failed"
        return "partial" if self.failed_tenants or self.recorded_reason else "completed"


def recorded_result(
    database: psycopg.Connection | None, dag_id: str, run_id: str, batch_id: str, error: str
) -> RecordedResult | None:
    """The latest result of a batch in this run; None if there is none, or the database cannot be read.

    ``error`` says what happened to ``close_run``. ``database`` is a connection as ``batch_platform`` in autocommit mode.
    """
    import psycopg

    if database is None:
        return None
    try:
        run = database.execute(
            SQL["recorded_run"], {"dag_id": dag_id, "run_id": run_id, "batch_id": batch_id}
        ).fetchone()
        if run is None:
            return None
        execution_id, business_date, total, recorded_reason = run
        failures = database.execute(SQL["recorded_failures"], {"execution_id": execution_id}).fetchall()
    except psycopg.Error as problem:
        log.error("The outcomes of the run cannot be read: %s", shorten(str(problem)))
        return None
    failed = tuple(RecordedFailure(*failure) for failure in failures)
    return RecordedResult(
        execution_id, batch_id, business_date, total, failed, error, None if failed else recorded_reason
    )


@dataclass(frozen=True)
class RecordedRow:
    """The latest row of a batch in a run."""

    batch_id: str
    execution_id: str
    business_date: date
    is_done: bool


def rows_of_run(database: psycopg.Connection, dag_id: str, run_id: str) -> list[RecordedRow]:
    """The latest row of each batch in this run. ``database`` as in ``recorded_result``."""
    rows = database.execute(SQL["rows_of_run"], {"dag_id": dag_id, "run_id": run_id})
    return [RecordedRow(*row) for row in rows]
