"""One run: its state and duration, its failed tenants by reason, its notes, and the rows that it read. Alerts link here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from fastapi import APIRouter, HTTPException, Request, Response, status
from fastapi.responses import RedirectResponse

from skill_batch.board.access import RightsDep
from skill_batch.board.airflow_api import AirflowApi, note_of
from skill_batch.board.attention import reasons_of
from skill_batch.board.choosing import choices
from skill_batch.board.database import BoardDatabase
from skill_batch.board.ended import Ended, load_ended
from skill_batch.board.failures import FailureGroup, kinds_of_run, load_failures
from skill_batch.board.rendering import HEADERS, Links, render
from skill_batch.board.reruns import load_reruns
from skill_batch.board.runs import RunCell, load_usual_seconds
from skill_batch.board.slowest import SlowInstance, load_slowest
from skill_batch.board.statements import SQL as _SQL
from skill_batch.notifiers.failure_alert import RUN_FAILED, batch_of_key
from include.skillreport.core.catalog import BATCHES
from include.skillreport.core.failure_kinds import NO_RESULT, FailureKind, kind_of
from include.skillreport.core.operation_catalog import (
    RESTORE_BACKUP,
    RUN_SPECS,
)
from include.skillreport.core.run_spec import RunSpec
from include.skillreport.operations.forms import FORMS
from include.skillreport.operations.shown import NOTHING, tenant_line

router = APIRouter()

_MOST_NOTES = 200
_MOST_ALERTS = 50
_MOST_TARGETS = 50


@dataclass(frozen=True)
class ExecutionPage:
    """The content of the page for one batch of a run. A family's run has several."""

    spec: RunSpec | None
    cell: RunCell
    groups: Sequence[FailureGroup]
    progress: Mapping[str, Any] | None
    notes: Sequence[Mapping[str, Any]]
    remarks: Sequence[Mapping[str, Any]]
    reconciliation: Sequence[Mapping[str, Any]]
    slowest: Sequence[SlowInstance]
    targets: Sequence[str]
    ended: Ended | None
    compared: Sequence[str]

    @property
    def kinds(self) -> Sequence[FailureKind]:
        """The kinds of its failures."""
        return kinds_of_run(self.spec, self.cell.row["codes"], self.groups) if self.spec else ()

    @property
    def totals(self) -> Mapping[str, Any]:
        """The batch's own totals, by name; empty until the run is closed."""
        result: Mapping[str, Any] = self.cell.row["result"] or {}
        totals: Mapping[str, Any] = result.get("totals", {})
        return totals


def load_executions(
    connection: psycopg.Connection[Any], dag_id: str, run_id: str, now: datetime
) -> list[ExecutionPage]:
    """The newest execution of each batch in the run, newest first."""
    newest: dict[str, Mapping[str, Any]] = {}
    for row in _SQL.rows(connection, "run_of", dag_id=dag_id, run_id=run_id):
        newest.setdefault(row["batch_id"], row)
    ids = [row["execution_id"] for row in newest.values()]
    usual = load_usual_seconds(connection, newest)
    failures = load_failures(connection, ids)
    progress = {row["execution_id"]: row for row in _SQL.rows(connection, "progress", execution_ids=ids)}
    remarks = {each: _SQL.rows(connection, "remarks", execution_id=each) for each in ids}
    return [
        ExecutionPage(
            RUN_SPECS.get(row["batch_id"]),
            RunCell(row, usual.get(row["batch_id"]), now),
            failures[row["execution_id"]],
            progress.get(row["execution_id"]),
            _SQL.rows(connection, "notes", execution_id=row["execution_id"], most=_MOST_NOTES),
            remarks[row["execution_id"]],
            _SQL.rows(connection, "reconciliation", execution_id=row["execution_id"]),
            load_slowest(connection, row["execution_id"]),
            _load_targets(connection, row),
            load_ended(connection, row, remarks[row["execution_id"]]),
            _load_compared(connection, row),
        )
        for row in newest.values()
    ]


def _load_targets(connection: psycopg.Connection[Any], row: Mapping[str, Any]) -> list[str]:
    if not row["shown"]:
        return []
    tenants = _SQL.rows(connection, "worked_tenants", execution_id=row["execution_id"])
    named = {
        tenant_line(each["tenant_id"]): f"{each['tenant_code']} {each['tenant_name']}" for each in tenants
    }
    parts = [str(line).partition(": ") for line in row["shown"][:_MOST_TARGETS]]
    # The result replaces "none", which describes the state before.
    return [
        named.get(first, first) if rest == NOTHING else f"{named.get(first, first)}{between}{rest}"
        for first, between, rest in parts
    ]


def _load_compared(connection: psycopg.Connection[Any], row: Mapping[str, Any]) -> list[str]:
    if (row["batch_id"], row["operation"]) != (RESTORE_BACKUP.id, "compare"):
        return []
    tenants = _SQL.rows(connection, "worked_tenants", execution_id=row["execution_id"])
    compared = [each["tenant_id"] for each in tenants if each["status"] == "success"]
    return [each.usable_as for each in choices(connection, compared).values() if each.usable_as]


@dataclass(frozen=True)
class RecordedRun:
    """The records about a run: the newest execution of each batch, and the alerts. ``dag_id`` is its DAG."""

    dag_id: str
    executions: Sequence[ExecutionPage]
    alerts: Sequence[Mapping[str, Any]]

    @property
    def reported(self) -> tuple[RunSpec, list[FailureKind], list[str]] | None:
        """The batch, the kinds of failure and the reasons of a failed run that was not opened or closed. They come from the newest
        failure alert, which is not stored if the database was down.
        """
        if any(each.kinds for each in self.executions):
            return None
        for alert in self.alerts:
            spec = RUN_SPECS.get(batch_of_key(alert["alert_key"])) if _is_about_failure(alert) else None
            if spec:
                return spec, [kind_of(spec, name) for name in alert["kinds"]], reasons_of([alert])
        spec = next((each for each in RUN_SPECS.values() if each.dag_id == self.dag_id), None)
        return (spec, [kind_of(spec, NO_RESULT)], []) if spec else None

    @property
    def is_told(self) -> bool:
        """True if the reason of a failure is recorded."""
        return any(each.kinds for each in self.executions) or any(map(_is_about_failure, self.alerts))


def _is_about_failure(alert: Mapping[str, Any]) -> bool:
    # Only failure alerts have kinds, except for a run that a user marked as failed after it completed.
    return bool(alert["kinds"]) or alert["alert_key"].startswith(f"{RUN_FAILED}:")


def load_run(
    connection: psycopg.Connection[Any],
    dag_id: str,
    run_id: str,
    dag_run: Mapping[str, Any] | None,
    now: datetime,
) -> RecordedRun:
    """The records about a run. ``dag_run`` is Airflow's run, or None; ``now`` is aware."""
    executions = load_executions(connection, dag_id, run_id, now)
    began = [each.cell.row["started_at"] for each in executions]
    if dag_run:
        began.append(datetime.fromisoformat(dag_run["run_after"]))
    alerts = _SQL.rows(
        connection,
        "alerts_of",
        since=min(began, default=now),
        run=f"{dag_id}:{run_id}",
        execution_ids=[each.cell.row["execution_id"] for each in executions],
        most=_MOST_ALERTS,
    )
    return RecordedRun(dag_id, executions, alerts)


@router.get("/executions/{execution_id}")
def execution_page(request: Request, rights: RightsDep, execution_id: str) -> Response:
    """Redirect to the run that has this row of the execution log."""
    database: BoardDatabase = request.app.state.database
    with database.read() as connection:
        rows = _SQL.rows(connection, "run_by_id", execution_id=execution_id)
    if not rows:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    rights.require_read(rows[0]["dag_id"])
    return RedirectResponse(
        Links(request).page("runs", rows[0]["dag_id"], rows[0]["run_id"]), headers=HEADERS
    )


@router.get("/runs/{dag_id}/{run_id}")
def run_page(request: Request, rights: RightsDep, dag_id: str, run_id: str) -> Response:
    """The page of a run. A run that was never opened has only Airflow's state."""
    rights.require_read(dag_id)
    database: BoardDatabase = request.app.state.database
    api = AirflowApi(request)
    dag_run = api.run(dag_id, run_id)
    with database.read() as connection:
        recorded = load_run(connection, dag_id, run_id, dag_run, datetime.now(UTC))
    if dag_run is None and not recorded.executions:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    key = (dag_id, run_id)
    reruns = load_reruns([key], lambda: api.task_instances(dag_id, run_id))
    return render(
        request,
        rights,
        "run.html",
        reruns=reruns.get(key, ()),
        dag_id=dag_id,
        run_id=run_id,
        dag_run=dag_run,
        note=note_of(dag_run),
        recorded=recorded,
        is_paused=dag_run is not None and dag_run["state"] == "queued" and api.is_paused(dag_id),
        batch=next((spec for spec in BATCHES if spec.dag_id == dag_id), None),
        may_enter_again=dag_id in FORMS and rights.may_start(dag_id),
    )
