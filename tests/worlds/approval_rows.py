"""Requests to approve held invoices and plans for tests: the batch's request, a user's answer, and the stored rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row
from typing_extensions import override

from include.skillreport.approvals import APPROVE, HOLD
from include.skillreport.approvals.asking import Asked, ask_for_approval
from include.skillreport.approvals.requests import ApprovalAnswer, ApprovalRequest, items_of, record_answer
from include.skillreport.approvals.wording import body_of, subject_of
from include.skillreport.core.execution.batch import Batch, Run
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.network import Network
from include.skillreport.core.operation_catalog import APPROVALS
from include.skillreport.core.run_spec import OperationSpec
from include.skillreport.operations.answers import approved_tenants
from local_stack.batch_runs import LocalInstallation, run_batch
from tests.conftest import Database

ACCOUNTANT = "経理 花子"
BOARD = "https://airflow.example/skill-batch-board"
NOW = datetime(2026, 11, 5, 1, 0, tzinfo=UTC)

__all__ = ["ACCOUNTANT", "APPROVE", "HOLD", "answer", "asked", "asked_about", "items", "requests", "text_of"]


class _WithoutRuns(LocalInstallation):
    """No run exists."""

    @override
    def is_alive(self, dag_id: str, run_id: str) -> bool:
        return False


def asked_about(
    database: Database,
    result: RunResult,
    *,
    dry_run: bool = False,
    refuse: str | None = None,
    ended: bool = False,
) -> Asked | None:
    """The result of the task ``request_approval`` after this run. ``refuse``: why Airflow refuses to start the approval's run."""
    run = Run(result.execution_id, result.business_date, result.business_date, dry_run)
    with database.connect("batch_platform") as platform:
        installation = (_WithoutRuns if ended else LocalInstallation)(platform, moment=NOW)
        return ask_for_approval(APPROVALS[result.batch_id], run, installation, lambda _: refuse)


def asked(database: Database, result: RunResult, *, ended: bool = False) -> ApprovalRequest:
    """The request for what this run holds."""
    about = asked_about(database, result, ended=ended)
    assert about is not None
    assert about.problem is None
    return about.request


def answer(
    database: Database,
    request: ApprovalRequest,
    spec: OperationSpec,
    batch: Batch,
    option: str = APPROVE,
    *codes: str,
    person: str = ACCOUNTANT,
    note: str = "",
    at: datetime = NOW,
    confirmed: Sequence[str] = (),
    store: ObjectStore | None = None,
    network: Network | None = None,
) -> RunResult:
    """A person's answer: the task ``record_answer`` and a whole run that applies it, as of that time."""
    form = record(database, request, option, *codes, person=person, note=note, at=at, confirmed=confirmed)
    with database.working() as (platform, connection):
        return run_batch(
            platform,
            connection,
            spec,
            batch,
            request.business_date,
            parameters=form,
            run_at=at,
            store=store,
            network=network,
        )


def record(
    database: Database,
    request: ApprovalRequest,
    option: str = APPROVE,
    *codes: str,
    person: str = ACCOUNTANT,
    note: str = "",
    at: datetime = NOW,
    confirmed: Sequence[str] = (),
) -> dict[str, Any]:
    """A person's answer: the task ``record_answer``. Returns the form of the run that applies it."""
    with database.connect("batch_platform") as platform:
        approved = approved_tenants(items_of(platform, request.request_id), option, codes)
        record_answer(platform, request.request_id, ApprovalAnswer(person, at, approved, note))
    return {
        "request": request.request_id,
        "answer": option,
        "note": note,
        "tenants": list(codes),
        "confirmed": list(confirmed),
    }


def text_of(database: Database, request: ApprovalRequest) -> tuple[str, str]:
    """Subject and body."""
    with database.connect("batch_platform") as platform:
        listed = items_of(platform, request.request_id)
    return subject_of(request, listed), body_of(request, listed, BOARD)


def items(connection: psycopg.Connection, request: ApprovalRequest) -> dict[str, dict[str, Any]]:
    """The stored rows of each tenant's item."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            "SELECT * FROM batch.approval_item WHERE request_id = %s ORDER BY tenant_id", [request.request_id]
        ).fetchall()
    return {row["tenant_id"]: row for row in rows}


def requests(connection: psycopg.Connection) -> list[tuple[str, str | None]]:
    """Every request with the reason why it is closed, the oldest first."""
    return connection.execute(
        "SELECT request_id, close_reason FROM batch.approval_request ORDER BY asked_at"
    ).fetchall()
