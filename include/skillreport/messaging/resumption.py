"""What a run holds that is the first one after a pause, and what people decide about it (「再開の確認」)."""

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

# Of all messages: send them, or send none.
ALWAYS, NEVER = "-infinity", "infinity"


def hold(
    connection: psycopg.Connection,
    run: Run,
    spec: RunSpec,
    results: Sequence[UnitResult],
    *,
    statuses: Collection[Status] = (Status.PENDING,),
    kinds: Collection[str] | None = None,
) -> list[UnitResult]:
    """If the run is the first one after a pause, hold the messages of the transaction's tenants that the batch would send.

    ``kinds`` are the template keys of these messages; None: all, but no contract letters. Messages that a person has decided about are not
    held. Returns the results with the numbers of held messages.
    """
    if not run.hold_reason:
        return list(results)
    rows = _SQL.column(
        connection,
        "hold",
        batch_id=spec.id,
        statuses=list(statuses),
        kinds=kinds and list(kinds),
        contract_letters=list(CONTRACT_LETTERS),
    )
    held = Counter(rows)
    return [_with_held(result, held[result.unit_id]) for result in results]


def answer(
    platform: psycopg.Connection,
    batch_id: str,
    *,
    send_after: datetime | str,
    execution_id: str,
    now: datetime,
) -> tuple[int, int]:
    """Release the messages that are held for the batch and due after ``send_after`` (aware, or ALWAYS or NEVER), and discard the others.

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


def _with_held(result: UnitResult, messages: int) -> UnitResult:
    if not messages:
        return result
    note = f"通知 {messages} 件は、停止後の「再開の確認」を待っています"
    return replace(result, details=result.details | {"heldMessages": messages}, notes=(*result.notes, note))
