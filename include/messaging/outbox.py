"""The outbox: messages wait here, are claimed, sent, and told apart by what became of them.

Unless it says otherwise a function runs in a transaction of its own, in the context of the tenants it is about. Moments are aware and
come in as arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from include.database import read_sql, storable, tenant_transaction
from include.messaging.message import Message
from include.messaging.outcome import Channel, SendResult
from include.messaging.retry import MAX_ATTEMPTS, Status, Transition

_HERE = Path(__file__).parent

# Longer than the slowest send (``sender.SEND_LIMIT``): a lease that ran out belongs to a sender that is gone.
LEASE = timedelta(minutes=5)

# Messages that one statement adds.
_ENQUEUED = 1_000

# How long a message keeps its occasion from being told again, unless its producer says otherwise.
_DEDUPE = timedelta(days=90)


@dataclass(frozen=True)
class Draft:
    """A message to be put into the outbox. ``dedupe_key`` names the occasion: a second one with the same key is not added.

    ``priority`` is 1 (HIGH) to 3 (LOW); ``host_log_id`` the application's own row (HIS_NotificationLog) for it; ``dedupe_until`` the moment
    after which nobody asks for it again.
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
    """One tenant's queue for one channel; lanes never wait for each other."""

    tenant_id: str
    channel: Channel


@dataclass(frozen=True)
class Claimed:
    """A message under this sender's lease, and how often it was tried before."""

    message: Message
    attempts: int
    host_log_id: str | None


@dataclass(frozen=True)
class Sent:
    """What came of a claimed message, and where it goes."""

    claimed: Claimed
    result: SendResult
    transition: Transition


def enqueue(connection: psycopg.Connection, drafts: Sequence[Draft], *, created_by: str) -> int:
    """Add messages inside the caller's transaction; returns how many were new."""
    return sum(
        connection.execute(
            read_sql(_HERE, "enqueue"),
            {
                "messages": Jsonb([_message_row(draft) for draft in drafts[start : start + _ENQUEUED]]),
                "created_by": created_by,
            },
        ).rowcount
        for start in range(0, len(drafts), _ENQUEUED)
    )


def due_lanes(
    connection: psycopg.Connection,
    tenant_ids: Sequence[str],
    statuses: Iterable[Status],
    now: datetime,
) -> list[Lane]:
    """The lanes of these tenants that have something due and are not closed."""
    with tenant_transaction(connection, tenant_ids):
        rows = connection.execute(
            read_sql(_HERE, "due_lanes"), {"statuses": list(statuses), "now": now}
        ).fetchall()
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
    """Take up to so many due messages of a lane, high priority first, under a lease from now on that is committed when this returns.

    ``urgent_only``: of priority 1 alone.
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
    connection: psycopg.Connection, lane: Lane, sent: Sequence[Sent], *, owner: str, now: datetime
) -> None:
    """Write down what became of claimed messages; close the channel, keep dead addresses."""
    exchange(connection, lane, sent, (), count=0, owner=owner, started_at=now, now=now)


def exchange(
    connection: psycopg.Connection,
    lane: Lane,
    sent: Sequence[Sent],
    statuses: Iterable[Status],
    *,
    count: int,
    owner: str,
    started_at: datetime,
    now: datetime,
    urgent_only: bool = False,
) -> list[Claimed]:
    """``record`` what was sent and ``claim`` the next messages, in one transaction and few round trips.

    ``started_at`` is when the sender began: what was due then is claimed, and a channel that closes counts as closed since then, because
    its settings were read then.
    """
    with connection.pipeline(), tenant_transaction(connection, [lane.tenant_id]):
        if sent:
            _record(connection, lane, sent, owner, now, closed_at=started_at)
        if not count:
            return []
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(
                read_sql(_HERE, "claim"),
                {
                    "tenant_id": lane.tenant_id,
                    "channel": lane.channel,
                    "statuses": list(statuses),
                    "count": count,
                    "owner": owner,
                    "due_before": started_at,
                    "lease_until": now + LEASE,
                    "lowest_priority": 1 if urgent_only else 3,
                },
            ).fetchall()
    return [_claimed(row) for row in rows]


def suppressed_addresses(connection: psycopg.Connection, tenant_id: str) -> frozenset[str]:
    """The tenant's addresses that are not written to any more, in lower case."""
    with tenant_transaction(connection, [tenant_id]):
        rows = connection.execute("SELECT address FROM batch.suppressed_address").fetchall()
    return frozenset(address for (address,) in rows)


def park_crashed(connection: psycopg.Connection, now: datetime) -> dict[str, Status]:
    """Inside the caller's transaction: messages of its tenants whose sender is gone, by id, and where they are now.

    Parked for an operator, or (e-mail, which may be repeated) due again.
    """
    rows = connection.execute(
        read_sql(_HERE, "park_crashed"), {"now": now, "most_letters": MAX_ATTEMPTS[Channel.EMAIL]}
    ).fetchall()
    mirror_to_host(connection, [message_id for message_id, _ in rows])
    return {message_id: Status(status) for message_id, status in rows}


def mirror_rest(connection: psycopg.Connection) -> None:
    """Inside the caller's transaction: show in the application's rows what somebody's lock has kept from being shown."""
    rows = connection.execute(read_sql(_HERE, "not_mirrored")).fetchall()
    mirror_to_host(connection, [message_id for (message_id,) in rows])


def mirror_to_host(connection: psycopg.Connection, message_ids: Sequence[str]) -> None:
    """Inside the caller's transaction: show in the application's own rows where its messages are."""
    if message_ids:
        connection.execute(read_sql(_HERE, "mirror_to_host"), {"message_ids": list(message_ids)})


def _message_row(draft: Draft) -> dict[str, Any]:
    row = asdict(draft) | {
        "due_at": draft.due_at.isoformat(),
        "dedupe_until": (draft.dedupe_until or draft.due_at + _DEDUPE).isoformat(),
    }
    # PostgreSQL refuses these, and quotes the whole text when it does.
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
    sent: Sequence[Sent],
    owner: str,
    now: datetime,
    *,
    closed_at: datetime,
) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            read_sql(_HERE, "record_result"), [_result_row(entry, owner, now) for entry in sent]
        )
    mirror_to_host(
        connection, [entry.claimed.message.message_id for entry in sent if entry.claimed.host_log_id]
    )
    for entry in sent:
        error = entry.result.error
        if error is None:
            continue
        about = {"tenant_id": lane.tenant_id, "error_code": error.code, "now": now}
        if entry.transition.closes_channel:
            connection.execute(
                read_sql(_HERE, "open_circuit"),
                about | {"now": closed_at, "channel": lane.channel, "reason": error.meaning},
            )
        if entry.transition.suppresses_address:
            connection.execute(
                read_sql(_HERE, "suppress_address"), about | {"address": entry.claimed.message.destination}
            )


def _result_row(entry: Sent, owner: str, now: datetime) -> dict[str, Any]:
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
