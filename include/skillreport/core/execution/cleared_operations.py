"""Prevent a clear from repeating a user's operation.

Airflow 3.3 does not say who cleared a run (except in the audit log), so a cleared operation would act in the name of the user who triggered
it. An approval may be cleared: it acts for the user who answered, and only on the items in the answer. A scheduled run acts for nobody.
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
    """A clear would repeat the operation in the name of the user who triggered it."""

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
    """Check before a run is opened that it is not the clear of a user's operation. A retry after a kill passes if nothing is committed.

    :raises OperationClearedError: it is a clear.
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
    """Check before a step or shard. After a clear, a user's operation may only complete interrupted work.

    :raises OperationClearedError: the step was cleared, or the shard already has a result.
    """
    if person := _person(spec, run.triggered_by):
        about = {"execution_id": run.execution_id, "attempt": run.attempt, "shard": shard}
        if _SQL.row(platform, "is_cleared", **about, interrupted=list(INTERRUPTED))[0]:
            raise OperationClearedError(person, is_done=False)


def require_unclosed(platform: psycopg.Connection, spec: RunSpec, run: Run, attempt: int) -> None:
    """Check in ``close_run`` that no earlier attempt has finished a user's operation. A retry after a kill passes.

    :raises OperationClearedError: an attempt has, and no interrupted shard has worked since.
    """
    if person := _person(spec, run.triggered_by):
        about = {"execution_id": run.execution_id, "attempt": attempt}
        if statuses := _SQL.column(platform, "closed_earlier", **about):
            raise OperationClearedError(person, is_done=statuses == ["completed"])


def _person(spec: RunSpec, triggered_by: str | None) -> str | None:
    """Returns None for a batch, an approval or a scheduled run."""
    acts = isinstance(spec, OperationSpec) and spec not in APPROVALS.values()
    return triggered_by if acts else None
