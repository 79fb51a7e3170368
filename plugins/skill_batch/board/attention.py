"""The failed runs without a card on the first page: which need attention, and why each failed, from its alert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from skill_batch.board.failures import FailureGroup, load_failures
from skill_batch.board.statements import SQL as _SQL
from skill_batch.notifiers.triggering_user import is_dry_run
from include.skillreport.core.catalog import (
    BATCHES,
    FAMILIES,
)
from include.skillreport.core.operation_catalog import OPERATIONS
from include.skillreport.core.run_spec import OperationSpec, RunSpec

_OPERATIONS = frozenset(spec.dag_id for spec in OPERATIONS)
DAGS = _OPERATIONS | {spec.dag_id for spec in BATCHES} | {family.dag_id for family in FAMILIES}

# The kind of failure of a rejected form, and the alert lines with the reasons of a failure.
REFUSED = "parameters"
_REASONS = ("エラー: ", "ほかのエラー: ", "失敗したタスク: ")

# At most this many runs of users are shown.
_LISTED = 20


@dataclass(frozen=True)
class FailedRun:
    """A failed run. ``person`` started it ("": the schedule). ``reasons`` are sentences about the entire run; ``groups`` its tenants.

    ``is_urgent``: it needs attention. Rejected forms, dry runs and a user's own operations need none, because the user was notified.
    """

    dag_id: str
    run_id: str
    began_at: datetime
    person: str
    operation: str
    is_dry_run: bool
    reasons: Sequence[str]
    groups: Sequence[FailureGroup]
    is_urgent: bool


@dataclass(frozen=True)
class FailedRuns:
    """The failed runs without a card: all ``urgent`` ones, and the first ``others`` that need no attention."""

    urgent: Sequence[FailedRun]
    others: Sequence[FailedRun]
    further: int


def load_failed_runs(
    connection: psycopg.Connection[Any],
    specs: Sequence[RunSpec],
    refused: Sequence[Mapping[str, Any]],
    failed: Sequence[Mapping[str, Any]],
    since: datetime,
) -> FailedRuns:
    """The failed runs after ``since`` (aware) of these batches and operations, newest first.

    ``refused`` are execution log rows with a rejected form. ``failed`` are Airflow's failed runs, of which those that ended in the
    execution log are left out.
    """
    rows = _SQL.rows(
        connection,
        "failed_without_card",
        operation_ids=[spec.id for spec in specs if isinstance(spec, OperationSpec)],
        batch_ids=[spec.id for spec in specs if not isinstance(spec, OperationSpec)],
        since=since,
        most=_LISTED,
    )
    groups = load_failures(connection, [row["execution_id"] for row in rows])
    logged = [_of_log(row, groups.get(row["execution_id"], ())) for row in (*rows, *refused)]
    keys = {
        "dag_ids": [run["dag_id"] for run in failed],
        "run_ids": [run["dag_run_id"] for run in failed],
    }
    ended = {(row["dag_id"], row["run_id"]) for row in _SQL.rows(connection, "ended_runs", **keys)}
    told: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in _SQL.rows(connection, "told_reasons", **keys, since=since):
        told.setdefault((row["dag_id"], row["run_id"]), []).append(row)
    stopped = [
        _of_airflow(run, told.get((run["dag_id"], run["dag_run_id"]), []))
        for run in failed
        if run["dag_id"] in DAGS and (run["dag_id"], run["dag_run_id"]) not in ended
    ]
    found = sorted((*logged, *stopped), key=lambda run: run.began_at, reverse=True)
    others = [run for run in found if not run.is_urgent]
    hidden = (rows[0]["hits"] - len(rows)) if rows else 0
    return FailedRuns(
        [run for run in found if run.is_urgent], others[:_LISTED], len(others[_LISTED:]) + hidden
    )


def reasons_of(alerts: Sequence[Mapping[str, Any]]) -> list[str]:
    """The reasons in these failure alerts."""
    lines = (line for alert in alerts for line in alert["lines"] or () if line.startswith(_REASONS))
    return list(dict.fromkeys(line.removeprefix(_REASONS[0]) for line in lines))


def _of_log(row: Mapping[str, Any], groups: Sequence[FailureGroup]) -> FailedRun:
    return FailedRun(
        row["dag_id"],
        row["run_id"],
        row["started_at"],
        row["triggered_by"] or "",
        row["operation"] or "",
        row["dry_run"],
        [row["error_message"]] if row["error_message"] else [],
        groups,
        is_urgent=not (row["dry_run"] or row["triggered_by"]),
    )


def _of_airflow(run: Mapping[str, Any], told: Sequence[Mapping[str, Any]]) -> FailedRun:
    """A run that failed before it was opened or closed. Only its alert has the reason."""
    person, is_dry = run["triggering_user_name"] or "", is_dry_run(run["conf"])
    is_refused = bool(told) and all(alert["kinds"] == [REFUSED] for alert in told)
    return FailedRun(
        run["dag_id"],
        run["dag_run_id"],
        datetime.fromisoformat(run["run_after"]),
        person,
        str((run["conf"] or {}).get("operation") or ""),
        is_dry,
        reasons_of(told),
        (),
        is_urgent=not (is_refused or is_dry or (person and run["dag_id"] in _OPERATIONS)),
    )
