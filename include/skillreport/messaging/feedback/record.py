"""Writes a report into the database: the new status of the message, and the suppression of the address.

A report counts only if it contains the id of a message that was sent by e-mail, and its recipient does not contradict the message's. A
forger must know the random id, and can only end one message and suppress its recipient. Each report is recorded once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import psycopg

from include.skillreport.core.database import Statements, tenant_transaction
from include.skillreport.messaging import outbox, suppression
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.email.letter import address_of
from include.skillreport.messaging.feedback.reports import FailedRecipient, FeedbackReport, ReportKind
from include.skillreport.messaging.outcome import ErrorClass, ErrorCode
from include.skillreport.messaging.retry import Status
from include.skillreport.messaging.suppression import SuppressionReason, masked

_SQL = Statements(Path(__file__).parent)

_REASONS = {
    ReportKind.COMPLAINT: SuppressionReason.COMPLAINT,
    ReportKind.UNSUBSCRIBE: SuppressionReason.UNSUBSCRIBE,
}


class Effect(StrEnum):
    """The effect of a report.

    PASSED_ON: the e-mail was passed on to another address, which failed. UNMATCHED: no message has this id and recipient. NOTHING: the
    report is already recorded, or it reports no failure. LATER: the message is being sent at the moment.
    """

    BOUNCED = "bounced"
    PASSED_ON = "passed_on"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    UNMATCHED = "unmatched"
    NOTHING = "nothing"
    LATER = "later"


_GIVEN_UP = "受信側のサーバーが期限まで受け取らず、配送が打ち切られました"

_EFFECTS = {ReportKind.COMPLAINT: Effect.COMPLAINED, ReportKind.UNSUBSCRIBE: Effect.UNSUBSCRIBED}


@dataclass(frozen=True)
class _Sent:
    """A message of the outbox that was sent by e-mail."""

    message_id: str
    tenant_id: str
    destination: str = field(repr=False)
    status: Status

    @property
    def address(self) -> str:
        """The destination as it was sent, in lower case."""
        address = address_of(self.destination)
        return address.text.lower() if address else ""


def record_report(
    platform: psycopg.Connection, connection: psycopg.Connection, report: FeedbackReport, now: datetime
) -> Effect:
    """Record a report. ``platform`` finds the message's tenant. ``connection`` writes, as ``batch_tenant`` in a transaction of this tenant.

    On return the transaction is committed.
    """
    if report.kind in (ReportKind.OTHER, ReportKind.DELIVERY):
        return Effect.NOTHING
    sent = _sent_message(platform, report.message_id)
    if sent is None:
        return Effect.UNMATCHED
    if reason := _REASONS.get(report.kind):
        if report.recipients and sent.address not in report.recipients:
            return Effect.UNMATCHED
        with tenant_transaction(connection, [sent.tenant_id]):
            is_new = suppression.suppress_for_good(connection, sent.tenant_id, sent.destination, reason, now)
        return _EFFECTS[report.kind] if is_new else Effect.NOTHING
    own = [each for each in report.failures if sent.address in each.addresses]
    of_recipient = [each for each in own if not each.passed_on_to]
    failures = of_recipient or own or (report.failures if report.is_by_token else ())
    if not failures:
        return Effect.UNMATCHED
    if sent.status is Status.SENDING:
        return Effect.LATER
    with tenant_transaction(connection, [sent.tenant_id]):
        if of_recipient:
            return _record_failure(connection, sent, of_recipient[0].status, now)
        return _record_passed_on(connection, sent, failures[0])


def error_of(status: str) -> ErrorCode:
    """The error table's row for a DSN's status code. A code about the sender does not close the channel, because it may be forged."""
    table = EMAIL.errors
    if status.startswith("5.7"):
        return table["policy"]
    by_code = (status, status.rpartition(".")[0], f"smtp_{status[:1]}")
    return next((table[code] for code in by_code if code in table), table["unknown"])


def _sent_message(platform: psycopg.Connection, message_id: str) -> _Sent | None:
    row = _SQL.execute(platform, "find_sent", message_id=message_id).fetchone() if message_id else None
    if row is None:
        return None
    tenant_id, destination, status = row
    return _Sent(message_id, tenant_id, destination, Status(status))


def _record_failure(connection: psycopg.Connection, sent: _Sent, status: str, now: datetime) -> Effect:
    error = error_of(status)
    ended = _SQL.execute(
        connection,
        "record_failure",
        message_id=sent.message_id,
        now=now,
        error_code=error.code,
        error_class=error.error_class,
        # A server that gives up after days reports the last temporary answer.
        error_detail=f"{_GIVEN_UP if status.startswith('4') else error.meaning}（送信後の不達通知 {status or 'コードなし'}）",
    )
    # A second report of the same failure, or a concurrent run, finds the message already ended.
    if ended.rowcount == 0:
        return Effect.NOTHING
    outbox.mirror_to_host(connection, [sent.message_id])
    if error.error_class is ErrorClass.ADDRESS:
        suppression.record_bounce(
            connection,
            sent.tenant_id,
            sent.destination,
            message_id=sent.message_id,
            error_code=error.code,
            now=now,
        )
    return Effect.BOUNCED


def _record_passed_on(connection: psycopg.Connection, sent: _Sent, failure: FailedRecipient) -> Effect:
    """Record a failure behind the address (in a group or a forwarding). The e-mail has arrived; the address is not suppressed."""
    error = EMAIL.errors["passed_on"]
    somebody = masked(min(failure.passed_on_to or failure.addresses, default=""))
    recorded = _SQL.execute(
        connection,
        "record_passed_on",
        message_id=sent.message_id,
        error_code=error.code,
        error_class=error.error_class,
        error_detail=f"{error.meaning}（{somebody}、送信後の不達通知 {failure.status or 'コードなし'}）",
    )
    if recorded.rowcount == 0:
        return Effect.NOTHING
    outbox.mirror_to_host(connection, [sent.message_id])
    return Effect.PASSED_ON
