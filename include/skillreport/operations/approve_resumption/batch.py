"""Applies the answer to 「再開の承認」: sends all or only the newer messages that a batch holds after a pause, or discards them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from include.skillreport.approvals import DISCARD_ALL, SEND_ALL
from include.skillreport.approvals.requests import Result, items_of, lock_item, record_result
from include.skillreport.core.execution.batch import (
    Outcome,
    Request,
    Run,
    UnitBatch,
    UnitResult,
    Work,
    count_effects,
)
from include.skillreport.core.execution.sharding import Unit
from include.skillreport.messaging.resumption import ALWAYS, NEVER, answer
from include.skillreport.operations.answers import APPLIED, SUPERSEDED, require_resumption_answer


class ResumptionApproval(UnitBatch):
    """Works on the batches of a request. The values are ``request`` (its id), ``answer`` (one of the options), ``hours`` and ``note``.

    The answer is for all messages that a batch holds at that time, including later runs' messages.
    """

    counted = frozenset({"released", "discarded"})

    def options(self, request: Request) -> dict[str, Any]:
        """The checked values. :raises AnswerError: as ``require_resumption_answer``."""
        option, hours = require_resumption_answer(request.values["answer"], request.values.get("hours"))
        return {
            "request": str(request.values["request"]),
            "answer": option,
            "hours": hours,
            "note": str(request.values.get("note") or ""),
        }

    def units(self, request: Request) -> Sequence[Unit]:
        """The batches of the request."""
        items = items_of(request.platform, str(request.values["request"]))
        return [Unit(item.item_id, item.tenant_code, item.tenant_name) for item in items]

    def process_unit(self, work: Work, unit_id: str) -> Outcome:
        """Release or discard one batch's messages, in one transaction. A retry or a dry run changes nothing."""
        run, request_id = work.run, work.run.options["request"]
        assert run.run_at is not None, "the run has the time of the answer"
        with work.connection.transaction(force_rollback=run.dry_run):
            item = lock_item(work.connection, request_id, unit_id, unit_id)
            assert item is not None, "the units are the items of the request"
            if item.result == Result.APPROVED:
                return UnitResult(unit_id, {}, 0, notes=(APPLIED,))
            named = (request_id, unit_id, unit_id)
            if item.superseded_by:
                text = f"{SUPERSEDED}。"
                record_result(work.connection, *named, Result.OUT_OF_DATE, text, run.execution_id)
                return UnitResult(unit_id, {}, 0, notes=(text,))
            released, discarded = answer(
                work.connection,
                unit_id,
                send_after=_send_after(run, run.run_at),
                execution_id=run.execution_id,
                now=run.run_at,
            )
            text = f"送る通知 {released} 件、破棄した通知 {discarded} 件"
            record_result(work.connection, *named, Result.APPROVED, text, run.execution_id)
            count_effects(work.connection, run, unit_id, released=released, discarded=discarded)
        details = {"released": released, "discarded": discarded}
        return UnitResult(unit_id, details, released + discarded, report=(f"{unit_id}: {text}",))


def _send_after(run: Run, answered_at: datetime) -> datetime | str:
    """Messages due after this time are sent."""
    if run.options["answer"] == SEND_ALL:
        return ALWAYS
    if run.options["answer"] == DISCARD_ALL:
        return NEVER
    return answered_at - timedelta(hours=run.options["hours"])
