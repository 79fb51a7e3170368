"""The results of sends: their effect on the messages, the figures of the run, the tenant's channel and its addresses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.core.database import Statements
from include.skillreport.messaging import suppression
from include.skillreport.messaging.channels import EMAIL
from include.skillreport.messaging.outcome import ErrorClass
from include.skillreport.messaging.retry import Status

if TYPE_CHECKING:
    from include.skillreport.messaging.outbox import Exchange, Lane, SendAttempt

_SQL = Statements(Path(__file__).parent)

# The words for statuses in the figures of a run: sentCount, sent_email.
FIGURES = {
    Status.SENT: "sent",
    Status.DEAD: "failed",
    Status.RETRY: "retry",
    Status.AMBIGUOUS: "ambiguous",
}


def record(
    connection: psycopg.Connection,
    exchanges: Sequence[Exchange],
    owner: str,
    now: datetime,
    *,
    closed_at: datetime,
    execution_id: str | None,
) -> None:
    """Record the results of these exchanges in the caller's transaction. ``execution_id``: the run counts them."""
    sent = [entry for each in exchanges for entry in each.sent]
    if not sent:
        return
    results = Jsonb([_result_row(entry) for entry in sent])
    _SQL.execute(
        connection,
        "record_results",
        results=results,
        owner=owner,
        now=now,
        execution_id=execution_id,
        words=Jsonb(FIGURES),
    )
    for each in exchanges:
        _record_of_lane(connection, each.lane, each.sent, now, closed_at=closed_at)


def _record_of_lane(
    connection: psycopg.Connection,
    lane: Lane,
    sent: Sequence[SendAttempt],
    now: datetime,
    *,
    closed_at: datetime,
) -> None:
    """Record the effects of results on the tenant's channel and addresses."""
    for entry in sent:
        error = entry.result.error
        if error is None:
            continue
        about = {"tenant_id": lane.tenant_id, "error_code": error.code}
        if entry.transition.closes_channel:
            _SQL.execute(
                connection, "open_circuit", **about, now=closed_at, channel=lane.channel, reason=error.meaning
            )
        if entry.transition.suppresses_address:
            message = entry.claimed.message
            suppression.record_bounce(
                connection,
                lane.tenant_id,
                message.destination,
                message_id=message.message_id,
                error_code=error.code,
                now=now,
            )
    if lane.channel == EMAIL:
        accepted = {
            entry.claimed.message.message_id: entry.claimed.message.destination
            for entry in sent
            if entry.transition.status is Status.SENT
        }
        suppression.record_accepted(connection, lane.tenant_id, accepted, now)


def _result_row(entry: SendAttempt) -> dict[str, Any]:
    error = entry.result.error
    return {
        "message_id": entry.claimed.message.message_id,
        "status": entry.transition.status,
        "attempts": entry.transition.attempts,
        "next_attempt_at": entry.transition.next_attempt_at.isoformat(),
        "provider_message_id": entry.result.provider_message_id,
        "error_code": error and error.code,
        "error_class": error and error.error_class,
        "error_detail": error and f"{error.meaning}（{entry.result.detail or error.code}）",
    }


def closes_lane(entry: SendAttempt) -> bool:
    """True if the lane's other messages would fail, too."""
    return entry.transition.closes_channel


def is_doubtful(entry: SendAttempt) -> bool:
    """True if it is not known whose fault the failure is."""
    return entry.result.is_doubtful


def is_refused_access(entry: SendAttempt) -> bool:
    """True if the service refuses the installation or the tenant."""
    error = entry.result.error
    return error is not None and error.error_class is ErrorClass.ACCESS


def is_service_error(entry: SendAttempt) -> bool:
    """True if the service itself failed."""
    error = entry.result.error
    return error is not None and error.error_class in entry.claimed.message.channel.service_errors
