"""Defers the messages of the first run after a pause, and applies the users' decision (「再開の承認」)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.core.execution.batch import Run, UnitResult
from include.skillreport.core.run_spec import RunSpec
from include.skillreport.messaging.contract_letters import CONTRACT_LETTERS
from include.skillreport.messaging.retry import Status

_SQL = Statements(Path(__file__).parent)

# Send all messages, or none.
ALWAYS, NEVER = "-infinity", "infinity"


def defer(
    connection: psycopg.Connection,
    run: Run,
    spec: RunSpec,
    results: Sequence[UnitResult],
    *,
    statuses: Collection[Status] = (Status.PENDING,),
    kinds: Collection[str] | None = None,
) -> list[UnitResult]:
    """Defer the messages that the batch would send for the transaction's tenants, if the run is the first one after a pause.

    ``kinds`` are the template keys of these messages; None: all except contract letters. Messages that a user has decided about are not
    deferred. Returns the results with the numbers of deferred messages.
    """
    if not run.deferral_reason:
        return list(results)
    rows = _SQL.column(
        connection,
        "defer",
        batch_id=spec.id,
        statuses=list(statuses),
        kinds=kinds and list(kinds),
        contract_letters=list(CONTRACT_LETTERS),
    )
    deferred = Counter(rows)
    return [_with_deferred(result, deferred[result.unit_id]) for result in results]


def answer(
    platform: psycopg.Connection,
    batch_id: str,
    *,
    send_after: datetime | str,
    execution_id: str,
    now: datetime,
) -> tuple[int, int]:
    """Release the messages deferred for the batch that are due after ``send_after`` (aware, or ALWAYS or NEVER); discard the others.

    Returns both numbers. ``now`` is the time of the answer.
    """
    rows = _SQL.column(
        platform,
        "answer",
        batch_id=batch_id,
        send_after=send_after,
        execution_id=execution_id,
        now=now,
    )
    discarded = rows.count(Status.DISCARDED)
    return len(rows) - discarded, discarded


def _with_deferred(result: UnitResult, messages: int) -> UnitResult:
    if not messages:
        return result
    note = f"通知 {messages} 件は、停止後の「再開の承認」を待っています"
    return replace(result, details=result.details | {"heldMessages": messages}, notes=(*result.notes, note))
