"""Prevent another user from repeating a user's operation.

Airflow 3.3 does not say who cleared or queued a run (except in the audit log), so the operation would act in the name of the user who
triggered it. An approval may be cleared: it acts for the user who answered, and only on the items in the answer. A scheduled run acts for
nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.core.errors import BatchError
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.execution.openings import Opened, Opening
from include.skillreport.core.execution.shard_log import Scope
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
    platform: psycopg.Connection, spec: RunSpec, request: RunRequest, opened: Opened, *, dry_run: bool
) -> None:
    """Check that a user's operation is not opened a second time. A retry after a kill passes if nothing is committed.

    :raises OperationClearedError: it is.
    """
    person = None if dry_run else _person(spec, request.triggered_by)
    if person:
        run = {"dag_id": request.dag_id, "run_id": request.run_id, "batch_id": spec.id}
        is_done = bool(_SQL.row(platform, "has_worked", **run)[0])
        if is_done or opened.is_cleared:
            raise OperationClearedError(person, is_done=is_done)


def require_uncleared(spec: RunSpec, run: Run, opened: Opened) -> None:
    """Check before a step of the entire run that Airflow or the run's user has started it. :raises OperationClearedError: another has."""
    if (person := _acting(spec, run)) and opened.is_cleared:
        raise OperationClearedError(person, is_done=False)


def scope_of(spec: RunSpec, run: Run, opened: Opened) -> Scope:
    """Which tenants of its shard a try works on: a retry, those that are not done; a cleared user's operation, the interrupted ones."""
    if _acting(spec, run) and opened.is_cleared:
        return Scope.INTERRUPTED
    return Scope.UNFINISHED if opened.opening is Opening.RETRY else Scope.ALL


def require_some(spec: RunSpec, run: Run, scope: Scope, tenant_ids: Sequence[str]) -> None:
    """Check that a cleared user's operation has something to complete. :raises OperationClearedError: each tenant has a result."""
    if scope is Scope.INTERRUPTED and not tenant_ids and (person := _acting(spec, run)):
        raise OperationClearedError(person, is_done=False)


def require_unclosed(platform: psycopg.Connection, spec: RunSpec, run: Run, opened: Opened) -> None:
    """Check in ``close_run`` that no earlier attempt has finished a user's operation. A retry after a kill passes.

    :raises OperationClearedError: an attempt has, and no interrupted shard has worked since.
    """
    if (person := _acting(spec, run)) and opened.is_cleared:
        statuses = _SQL.column(platform, "closed_earlier", execution_id=run.execution_id)
        if statuses:
            raise OperationClearedError(person, is_done=statuses == ["completed"])


def _acting(spec: RunSpec, run: Run) -> str | None:
    return None if run.dry_run else _person(spec, run.triggered_by)


def _person(spec: RunSpec, triggered_by: str | None) -> str | None:
    """Returns None for a batch, an approval or a scheduled run."""
    acts = isinstance(spec, OperationSpec) and spec not in APPROVALS.values()
    return triggered_by if acts else None
