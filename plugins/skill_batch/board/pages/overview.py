"""昨夜: failures and their tenants, items that wait for a decision, active runs, and the night and last 90 days of every batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
from fastapi import APIRouter, Request, Response

from skill_batch.board.access import RightsDep
from skill_batch.board.airflow_api import AirflowApi, note_of
from skill_batch.board.attention import DAGS, REFUSED, FailedRuns, load_failed_runs
from skill_batch.board.database import BoardDatabase
from skill_batch.board.failures import FailureGroup, kinds_of_run, load_failures
from skill_batch.board.night import COLUMNS, Night, load_night
from skill_batch.board.rendering import render
from skill_batch.board.reruns import load_reruns
from skill_batch.board.runs import (
    RunCell,
    RunProgress,
    is_late,
    load_progress,
    load_usual_seconds,
    missed_start,
)
from skill_batch.board.statements import SQL as _SQL
from include.skillreport.approvals.requests import RequestKind
from include.skillreport.billing.second_person import WAITING_KINDS
from include.skillreport.core.catalog import (
    BATCHES,
    DATA_BACKUP,
    EXTERNAL_SYNC,
    FAMILIES,
    NOTIFICATION_RETRY,
    TENANT_BILLING,
    TENANT_MONITORING,
)
from include.skillreport.core.failure_kinds import FailureKind
from include.skillreport.core.operation_catalog import (
    APPROVE_OFFBOARDING,
    APPROVE_RESUMPTION,
    OPERATE_CONTRACTS,
    OPERATIONS,
    RUN_SPECS,
)
from include.skillreport.core.run_spec import BatchSpec, OperationSpec, RunSpec
from include.skillreport.messaging.contract_letters import CONTRACT_LETTERS

router = APIRouter()

# Alerts and failed runs without a card are shown for this long.
_PERIOD = timedelta(days=2)
# A resolved failure remains as a line for this long.
_RESOLVED_PERIOD = timedelta(days=1)
# Longer than a channel is retried (72 hours). Failures are reported and resolved within this time.
_UNDELIVERED_PERIOD = timedelta(days=7)
_LISTED = 20
_MOST_FAILURES = 50
_MOST_COUNTED = 10_000


@dataclass(frozen=True)
class MissedStart:
    """A scheduled start (aware) without a run."""

    spec: BatchSpec
    due_at: datetime


@dataclass(frozen=True)
class FailedRun:
    """A failed run, and its groups of tenants that no later run has processed successfully."""

    spec: BatchSpec
    cell: RunCell
    groups: Sequence[FailureGroup]

    @property
    def kinds(self) -> Sequence[FailureKind]:
        """The kinds of its failures."""
        return kinds_of_run(self.spec, self.cell.row["codes"], self.groups)

    @property
    def tenants(self) -> set[str]:
        """The ids of its failed tenants, as far as the groups name them."""
        return {each.tenant_id for group in self.groups for each in group.tenants if each.is_tenant}

    @property
    def further(self) -> int:
        """The number of failed tenants outside the groups."""
        return sum(group.further for group in self.groups)

    @property
    def key(self) -> tuple[str, str]:
        """Its DAG and run."""
        return self.cell.row["dag_id"], self.cell.row["run_id"]

    @property
    def is_refused(self) -> bool:
        """True if the only failure is a user's rejected form."""
        return bool(self.cell.row["triggered_by"]) and [kind.name for kind in self.kinds] == [REFUSED]


@dataclass(frozen=True)
class Alerts:
    """Alerts to the operators, or to single users: first all undelivered CRITICAL ones, then some others."""

    rows: Sequence[Mapping[str, Any]]

    @property
    def further_undelivered(self) -> int:
        """The number of undelivered alerts that are not in ``rows``."""
        undelivered: int = self.rows[0]["undelivered"] if self.rows else 0
        return undelivered - sum(row["missing"] is not None for row in self.rows)


@dataclass(frozen=True)
class Decision:
    """Items that wait for a decision: their name, number, oldest time (aware; None: unknown), and the page that lists them.

    ``month`` is the month of that page. ``request`` has the columns of an open request instead of a page.
    """

    label: str
    count: int
    oldest: datetime | None
    page: str = ""
    month: date | None = None
    is_urgent: bool = False
    request: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Overview:
    """The content of the page. Missed starts of a paused DAG are no failure.

    ``sees_backups`` is false if the reader may not see backups; ``backup`` is then None, as without a backup.
    """

    now: datetime
    failures: Sequence[FailedRun]
    resolved: Sequence[Mapping[str, Any]]
    running: Sequence[RunProgress]
    night: Night
    missed: Sequence[MissedStart]
    missed_in_pause: Sequence[MissedStart]
    failed_runs: FailedRuns
    alerts: Alerts
    personal_alerts: Alerts
    incidents: Mapping[str, Any] | None
    decisions: Sequence[Decision]
    resumptions: Sequence[Mapping[str, Any]]
    sees_backups: bool
    backup: Mapping[str, Any] | None

    @property
    def failed_count(self) -> int:
        """The number of failed batches and runs, and of missed starts."""
        return len(self.failures) + len(self.missed) + len(self.failed_runs.urgent)

    @property
    def failed_tenants(self) -> int:
        """The number of failed tenants, each once. Tenants outside the groups may count several times."""
        named = {tenant_id for failure in self.failures for tenant_id in failure.tenants}
        return len(named) + sum(failure.further for failure in self.failures)

    @property
    def decision_count(self) -> int:
        """The number of items that wait for a decision."""
        return sum(each.count for each in self.decisions) + len(self.resumptions)

    @property
    def is_backup_late(self) -> bool:
        """True without a verified backup of the last day."""
        return self.backup is None or is_late(self.now - self.backup["snapshot_at"])


def load_overview(
    connection: psycopg.Connection[Any],
    specs: Sequence[BatchSpec],
    operations: Sequence[OperationSpec],
    families: AbstractSet[str],
    failed: Sequence[Mapping[str, Any]],
    now: datetime,
    queued: Sequence[Mapping[str, Any]] = (),
    paused: AbstractSet[str] = frozenset(),
) -> Overview:
    """The overview at ``now`` (aware) of these batches and operations; ``families`` are ids of family DAGs that the reader may see.

    ``failed`` and ``queued`` are Airflow's failed and waiting runs of the last two days, ``paused`` the ids of its paused DAGs.
    """
    by_id = {spec.id: spec for spec in specs}
    usual = load_usual_seconds(connection, by_id)
    newest = {
        row["batch_id"]: RunCell(row, usual.get(row["batch_id"]), now)
        for row in _SQL.rows(connection, "newest_runs", batch_ids=list(by_id))
    }
    whole = _SQL.rows(connection, "whole_starts", batch_ids=list(by_id))
    started = {row["batch_id"]: row["started_at"] for row in whole}
    alerts = _alerts(connection, {spec.dag_id for spec in (*specs, *operations)} | families, now)
    failures = _failures(connection, specs, usual, now)
    refused = [failure.cell.row for failure in failures if failure.is_refused]
    open_keys = {failure.key for failure in failures}
    resolved = _SQL.rows(
        connection,
        "resolved_failures",
        batch_ids=list(by_id),
        told_since=now - _UNDELIVERED_PERIOD,
        since=now - _RESOLVED_PERIOD,
        most=_LISTED,
    )
    begun = [missed_start(spec, started.get(spec.id), now) for spec in specs]
    missed = [
        MissedStart(spec, due_at)
        for spec, missed_at in zip(specs, begun, strict=True)
        if (due_at := _not_begun(spec, missed_at, (*failed, *queued)))
    ]
    sees_backups = DATA_BACKUP in specs
    return Overview(
        now,
        [failure for failure in failures if not failure.is_refused],
        [row for row in resolved if (row["dag_id"], row["run_id"]) not in open_keys],
        _running(connection, (*specs, *operations), usual, now),
        load_night(connection, specs, newest, usual, paused, now),
        [start for start in missed if start.spec.dag_id not in paused],
        [start for start in missed if start.spec.dag_id in paused],
        load_failed_runs(connection, (*specs, *operations), refused, failed, now - _PERIOD),
        Alerts([row for row in alerts if not row["is_personal"]]),
        Alerts([row for row in alerts if row["is_personal"]]),
        _SQL.rows(connection, "open_incidents")[0] if TENANT_MONITORING in specs else None,
        [each for each in _decisions(connection, specs, operations) if each.count],
        _SQL.rows(connection, "open_resumptions") if APPROVE_RESUMPTION in operations else (),
        sees_backups,
        next(iter(_SQL.rows(connection, "newest_verified_backup")), None) if sees_backups else None,
    )


def _decisions(
    connection: psycopg.Connection[Any], specs: Sequence[BatchSpec], operations: Sequence[OperationSpec]
) -> Iterator[Decision]:
    for row in _SQL.rows(connection, "waiting_of_kinds", kinds=_waiting_kinds(specs, operations)):
        words = WAITING_KINDS[row["kind"]]
        yield Decision(words.label, row["entries"], row["oldest"], words.page, row["month"])
    if NOTIFICATION_RETRY in specs:
        undecided = _SQL.rows(
            connection, "undecided_messages", contract_letters=list(CONTRACT_LETTERS), most=_MOST_COUNTED
        )[0]
        others = undecided["messages"] - undecided["letters"]
        yield Decision("送れなかった契約の通知", undecided["letters"], None, "messages", is_urgent=True)
        yield Decision("送れなかった通知", others, None, "messages")
        yield Decision("停止中のチャネル", undecided["channels"], None, "messages")
    if EXTERNAL_SYNC in specs:
        held = _SQL.rows(connection, "held_directories")[0]
        yield Decision("保留中の名簿連携", held["directories"], held["oldest"], "findings")
    if APPROVE_OFFBOARDING in operations:
        for row in _SQL.rows(connection, "open_requests", kind=RequestKind.OFFBOARDING, most=_LISTED):
            yield Decision("退会の承認", row["items"], row["asked_at"], request=row)


def _waiting_kinds(specs: Sequence[BatchSpec], operations: Sequence[OperationSpec]) -> list[str]:
    """The kinds of waiting entries that the reader may see. Contracts need their own permission."""
    return [
        kind
        for kind, words in WAITING_KINDS.items()
        if (OPERATE_CONTRACTS in operations if words.page == "contracts" else TENANT_BILLING in specs)
    ]


def _not_begun(
    spec: BatchSpec, missed_at: datetime | None, runs: Sequence[Mapping[str, Any]]
) -> datetime | None:
    """The missed start, unless Airflow has created a run since. Such a run waits, or failed before it was opened."""
    has_begun = missed_at and any(
        run["dag_id"] == spec.dag_id and datetime.fromisoformat(run["run_after"]) >= missed_at for run in runs
    )
    return None if has_begun else missed_at


def _alerts(
    connection: psycopg.Connection[Any], dag_ids: AbstractSet[str], now: datetime
) -> Sequence[Mapping[str, Any]]:
    return _SQL.rows(
        connection,
        "recent_alerts",
        since=now - _PERIOD,
        undelivered_since=now - _UNDELIVERED_PERIOD,
        dag_ids=list(dag_ids),
        batch_ids=[spec.id for spec in RUN_SPECS.values() if spec.dag_id in dag_ids],
        listed=_LISTED,
    )


def _failures(
    connection: psycopg.Connection[Any],
    specs: Sequence[BatchSpec],
    usual: Mapping[str, Decimal],
    now: datetime,
) -> list[FailedRun]:
    by_id = {spec.id: spec for spec in specs}
    rows = _SQL.rows(connection, "open_runs", batch_ids=list(by_id), most=_MOST_FAILURES)
    groups = load_failures(connection, [row["execution_id"] for row in rows], only_open=True)
    found = [
        FailedRun(
            by_id[row["batch_id"]], RunCell(row, usual.get(row["batch_id"]), now), groups[row["execution_id"]]
        )
        for row in rows
    ]
    # No action is needed if a later run succeeded for all failed tenants.
    return sorted(
        (each for each in found if each.groups or not each.cell.row["error_count"]),
        key=lambda each: (-each.spec.run_severity, each.spec.id),
    )


def _running(
    connection: psycopg.Connection[Any],
    specs: Sequence[RunSpec],
    usual: Mapping[str, Decimal],
    now: datetime,
) -> list[RunProgress]:
    by_id = {spec.id: spec for spec in specs}
    rows = _SQL.rows(connection, "active_runs", batch_ids=list(by_id), most=_LISTED)
    return load_progress(
        connection,
        [(by_id[row["batch_id"]], RunCell(row, usual.get(row["batch_id"]), now)) for row in rows],
    )


@router.get("/")
def overview_page(request: Request, rights: RightsDep) -> Response:
    """The first page of the board."""
    database: BoardDatabase = request.app.state.database
    # Airflow answers these from its own database, so call it before the page takes a board connection.
    specs = [spec for spec in BATCHES if rights.may_read(spec.dag_id)]
    operations = [spec for spec in OPERATIONS if rights.may_read(spec.dag_id)]
    families = {family.dag_id for family in FAMILIES if rights.may_read(family.dag_id)}
    api, now = AirflowApi(request), datetime.now(UTC)
    found = api.runs(("failed", "queued"), now - _PERIOD)
    failed = [run for run in found if run["state"] == "failed"]
    queued = [run for run in found if run["state"] == "queued" and run["dag_id"] in DAGS]
    paused = api.paused()
    with database.read() as connection:
        overview = load_overview(connection, specs, operations, families, failed, now, queued, paused)
    runs = _runs(api, failed, overview)
    handled = {key for key, run in runs.items() if _is_handled(run)}
    return render(
        request,
        rights,
        "overview.html",
        overview=overview,
        runs=runs,
        note_of=note_of,
        queued=[(run, datetime.fromisoformat(run["run_after"])) for run in queued],
        paused=paused,
        has_scheduler=not overview.missed or api.has_scheduler(),
        failures=sorted(overview.failures, key=lambda each: each.key in handled),
        handled_keys=handled,
        reruns=load_reruns([failure.key for failure in overview.failures]),
        columns=COLUMNS,
    )


def _is_handled(run: Mapping[str, Any] | None) -> bool:
    """True if a user works on it. A note of the user who triggered the run does not count."""
    note = note_of(run)
    return note is not None and bool(note.person)


def _runs(
    api: AirflowApi, failed: Sequence[Mapping[str, Any]], overview: Overview
) -> dict[tuple[str, str], Mapping[str, Any] | None]:
    """Airflow's failed runs by DAG and run, including those of older failures; None for a deleted run."""
    runs: dict[tuple[str, str], Mapping[str, Any] | None] = {
        (run["dag_id"], run["dag_run_id"]): run for run in failed
    }
    for failure in overview.failures:
        if failure.key not in runs:
            runs[failure.key] = api.run(*failure.key)
    return runs
