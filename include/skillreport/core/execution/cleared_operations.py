"""A clear does not do a person's operation again.

Airflow 3.3 names to a task who triggered its run and who answered a request, but not who cleared it (the audit log does, which a task
cannot read). So a cleared operation would act in the name of the person who triggered it. An approval acts for the person who
answered, and on exactly what the answer names; so it may be cleared. A run of the schedule acts for nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.core.errors import BatchError
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.failure_kinds import INTERRUPTED
from include.skillreport.core.operation_catalog import APPROVALS
from include.skillreport.core.run_spec import OperationSpec, RunSpec

if TYPE_CHECKING:
    from include.skillreport.core.execution.flow import RunRequest

_SQL = Statements(Path(__file__).parent)


class OperationClearedError(BatchError):
    """A clear would do the operation again in the name of the person who triggered it."""

    def __init__(self, person: str, *, is_done: bool) -> None:
        super().__init__(
            "この実行の操作は、もう済んでいます。もう一度するには、新しく実行（Trigger）してください。"
            f"消去（Clear）では、{person} さんの名前で二重に行うことになります。"
            if is_done
            else f"消去（Clear）した人を Airflow が知らせないため、{person} さんの名前では操作をやり直しません。"
            "必要な人が新しく実行（Trigger）してください。"
        )


def require_own_act(
    platform: psycopg.Connection, spec: RunSpec, request: RunRequest, *, dry_run: bool
) -> None:
    """Before a run is opened: it is no clear of a person's operation. A retry after a killed worker passes, if nothing is committed.

    :raises OperationClearedError: it is one.
    """
    person = None if dry_run else _person(spec, request.triggered_by)
    if person:
        run = {"dag_id": request.dag_id, "run_id": request.run_id, "batch_id": spec.id}
        is_done = bool(_SQL.row(platform, "has_worked", **run)[0])
        if is_done or request.attempt > 0:
            raise OperationClearedError(person, is_done=is_done)


def require_unfinished(
    platform: psycopg.Connection, spec: RunSpec, run: Run, shard: int | None = None
) -> None:
    """Before a step, or a shard: a person's operation that was cleared since it was opened only ends what was interrupted.

    :raises OperationClearedError: the step was cleared, or the shard has a result already.
    """
    if person := _person(spec, run.triggered_by):
        about = {"execution_id": run.execution_id, "attempt": run.attempt, "shard": shard}
        if _SQL.row(platform, "is_cleared", **about, interrupted=list(INTERRUPTED))[0]:
            raise OperationClearedError(person, is_done=False)


def require_unclosed(platform: psycopg.Connection, spec: RunSpec, run: Run, attempt: int) -> None:
    """Before the end of the work, in ``close_run``: no earlier attempt has ended a person's operation.

    A retry after a killed worker passes.

    :raises OperationClearedError: one has, and no interrupted shard has worked since.
    """
    if person := _person(spec, run.triggered_by):
        about = {"execution_id": run.execution_id, "attempt": attempt}
        if statuses := _SQL.column(platform, "closed_earlier", **about):
            raise OperationClearedError(person, is_done=statuses == ["completed"])


def _person(spec: RunSpec, triggered_by: str | None) -> str | None:
    """The person for whom the run acts; None for a batch, an approval, and a run of the schedule."""
    acts = isinstance(spec, OperationSpec) and spec not in APPROVALS.values()
    return triggered_by if acts else None
