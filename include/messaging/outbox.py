"""The outbox: the queue of messages. A sender claims messages under a lease, sends them and records the results.

Each function runs in its own transaction, in the context of its tenants, unless its docstring says otherwise. Datetimes are aware.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from include.database import Statements, storable, tenant_transaction
from include.messaging.message import Message
from include.messaging.outcome import Channel, SendResult
from include.messaging.retry import MAX_ATTEMPTS, Status, Transition

_SQL = Statements(Path(__file__).parent)

# Longer than the slowest send (``sender.SEND_LIMIT``): the owner of an expired lease is no longer running.
LEASE = timedelta(minutes=5)

# The number of messages that one statement adds.
_BATCH_SIZE = 1_000

# How long a dedupe key prevents a second message, unless the draft has its own time.
_DEDUPE = timedelta(days=90)


@dataclass(frozen=True)
class Draft:
    """A message to add to the outbox. ``dedupe_key`` names the event: a second message with the same key is not added.

    ``priority`` is 1 (HIGH) to 3 (LOW). ``host_log_id`` is the message's row of the application (HIS_NotificationLog). After
    ``dedupe_until`` the key may be deleted.
    """

    tenant_id: str
    dedupe_key: str
    channel: Channel
    destination: str = field(repr=False)
    subject: str = field(repr=False)
    body: str = field(repr=False)
    due_at: datetime
    rich: Any = field(default=None, repr=False)
    priority: int = 2
    host_log_id: str | None = None
    dedupe_until: datetime | None = None


@dataclass(frozen=True)
class Lane:
    """One tenant's queue for one channel. Lanes are independent of each other."""

    tenant_id: str
    channel: Channel


@dataclass(frozen=True)
class Claimed:
    """A message under this sender's lease, and its attempts so far."""

    message: Message
    attempts: int
    host_log_id: str | None


@dataclass(frozen=True)
class SendAttempt:
    """One send of a claimed message: its result, and the message's next status."""

    claimed: Claimed
    result: SendResult
    transition: Transition


def enqueue(connection: psycopg.Connection, drafts: Sequence[Draft], *, created_by: str) -> int:
    """Add messages inside the caller's transaction; returns the number of new messages."""
    return sum(
        _SQL.execute(
            connection,
            "enqueue",
            messages=Jsonb([_message_row(draft) for draft in drafts[start : start + _BATCH_SIZE]]),
            created_by=created_by,
        ).rowcount
        for start in range(0, len(drafts), _BATCH_SIZE)
    )


def due_lanes(
    connection: psycopg.Connection, tenant_ids: Sequence[str], statuses: Iterable[Status], now: datetime
) -> list[Lane]:
    """The open lanes of these tenants with due messages."""
    with tenant_transaction(connection, tenant_ids):
        rows = _SQL.execute(connection, "due_lanes", statuses=list(statuses), now=now).fetchall()
    return [Lane(tenant_id, Channel(channel)) for tenant_id, channel in rows]


def claim(
    connection: psycopg.Connection,
    lane: Lane,
    statuses: Iterable[Status],
    *,
    count: int,
    owner: str,
    due_before: datetime,
    now: datetime,
    urgent_only: bool = False,
) -> list[Claimed]:
    """Claim up to ``count`` due messages of a lane, high priority first. The lease begins at ``now`` and is committed on return.

    ``urgent_only``: claim priority 1 only.
    """
    return exchange(
        connection,
        lane,
        (),
        statuses,
        count=count,
        owner=owner,
        started_at=due_before,
        now=now,
        urgent_only=urgent_only,
    )


def record(
    connection: psycopg.Connection, lane: Lane, sent: Sequence[SendAttempt], *, owner: str, now: datetime
) -> None:
    """Record the results of claimed messages; close the channel and suppress addresses where a transition says so."""
    exchange(connection, lane, sent, (), count=0, owner=owner, started_at=now, now=now)


def exchange(
    connection: psycopg.Connection,
    lane: Lane,
    sent: Sequence[SendAttempt],
    statuses: Iterable[Status],
    *,
    count: int,
    owner: str,
    started_at: datetime,
    now: datetime,
    urgent_only: bool = False,
) -> list[Claimed]:
    """``record`` results and ``claim`` the next messages, in one transaction and few round trips.

    ``started_at`` is the start of the sender. Messages that were due then are claimed. A channel is closed as of that time, because the
    sender read its settings then.
    """
    with connection.pipeline(), tenant_transaction(connection, [lane.tenant_id]):
        if sent:
            _record(connection, lane, sent, owner, now, closed_at=started_at)
        if not count:
            return []
        rows = _SQL.rows(
            connection,
            "claim",
            tenant_id=lane.tenant_id,
            channel=lane.channel,
            statuses=list(statuses),
            count=count,
            owner=owner,
            due_before=started_at,
            lease_until=now + LEASE,
            lowest_priority=1 if urgent_only else 3,
        )
    return [_claimed(row) for row in rows]


def suppressed_addresses(connection: psycopg.Connection, tenant_id: str) -> frozenset[str]:
    """The tenant's suppressed addresses in lower case: no e-mail is sent to them."""
    with tenant_transaction(connection, [tenant_id]):
        return frozenset(_SQL.column(connection, "suppressed_addresses"))


def park_crashed(connection: psycopg.Connection, now: datetime) -> dict[str, Status]:
    """Release the messages whose lease has expired, inside the caller's transaction; returns their new status by id.

    They are parked for an operator. An e-mail may be repeated and becomes due again.
    """
    rows = _SQL.execute(
        connection, "park_crashed", now=now, most_letters=MAX_ATTEMPTS[Channel.EMAIL]
    ).fetchall()
    mirror_to_host(connection, [message_id for message_id, _ in rows])
    return {message_id: Status(status) for message_id, status in rows}


def mirror_rest(connection: psycopg.Connection) -> None:
    """Update the application's rows that were locked before, inside the caller's transaction."""
    rows = _SQL.execute(connection, "not_mirrored").fetchall()
    mirror_to_host(connection, [message_id for (message_id,) in rows])


def mirror_to_host(connection: psycopg.Connection, message_ids: Sequence[str]) -> None:
    """Write the status of these messages to the application's rows, inside the caller's transaction."""
    if message_ids:
        _SQL.execute(connection, "mirror_to_host", message_ids=list(message_ids))


def _message_row(draft: Draft) -> dict[str, Any]:
    row = asdict(draft) | {
        "due_at": draft.due_at.isoformat(),
        "dedupe_until": (draft.dedupe_until or draft.due_at + _DEDUPE).isoformat(),
    }
    # PostgreSQL refuses some characters, and its error quotes the whole text.
    return {name: storable(value) if isinstance(value, str) else value for name, value in row.items()}


def _claimed(row: Mapping[str, Any]) -> Claimed:
    message = Message(
        row["message_id"],
        row["tenant_id"],
        Channel(row["channel"]),
        row["destination"],
        row["subject"],
        row["body"],
        row["rich"],
    )
    return Claimed(message, row["attempts"], row["host_log_id"])


def _record(
    connection: psycopg.Connection,
    lane: Lane,
    sent: Sequence[SendAttempt],
    owner: str,
    now: datetime,
    *,
    closed_at: datetime,
) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(_SQL["record_result"], [_result_row(entry, owner, now) for entry in sent])
    mirror_to_host(
        connection, [entry.claimed.message.message_id for entry in sent if entry.claimed.host_log_id]
    )
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
            address = entry.claimed.message.destination
            _SQL.execute(connection, "suppress_address", **about, now=now, address=address)


def _result_row(entry: SendAttempt, owner: str, now: datetime) -> dict[str, Any]:
    error = entry.result.error
    return {
        "message_id": entry.claimed.message.message_id,
        "status": entry.transition.status,
        "attempts": entry.transition.attempts,
        "next_attempt_at": entry.transition.next_attempt_at,
        "provider_message_id": entry.result.provider_message_id,
        "error_code": error and error.code,
        "error_class": error and error.error_class,
        "error_detail": error and f"{error.meaning}（{entry.result.detail or error.code}）",
        "owner": owner,
        "now": now,
    }
