"""The outbox: the queue of messages. A sender claims messages under a lease, sends them and records the results.

Unless its docstring says otherwise, each function has its own transaction in the context of its tenants. Datetimes are aware.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from include.skillreport.core.database import Statements, storable, tenant_transaction
from include.skillreport.messaging import results, suppression
from include.skillreport.messaging.channels import CHANNELS, EMAIL
from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.contract_letters import BILLING_LETTERS, GENERAL, NEVER_SWITCHED_OFF
from include.skillreport.messaging.doubts import SENDER_REFUSED
from include.skillreport.messaging.message import Message, MessageFile
from include.skillreport.messaging.outcome import SendResult
from include.skillreport.messaging.retry import Status, Transition
from include.skillreport.messaging.settings import ServiceSettings
from include.skillreport.messaging.templates import literal

_SQL = Statements(Path(__file__).parent)

# Longer than the slowest send (``sender.SEND_LIMIT``): the owner of an expired lease has ended, unless a clock has jumped.
LEASE = timedelta(minutes=5)

# After its lease, a sender counts as running for this long while its session exists. Clocks jump by less.
_LONGEST_JUMP = timedelta(minutes=30)

# The first key of the advisory lock, unique among this product's locks. The second key is the hash of the owner.
SENDER_LOCK = 190101

# The number of messages that one statement adds.
_BATCH_SIZE = 1_000

# How long a dedupe key prevents a second message, unless the draft has its own time.
_DEDUPE = timedelta(days=90)


@dataclass(frozen=True)
class MessageDraft:
    """A message to add to the outbox. ``dedupe_key`` names the event: a second message with the same key is not added.

    ``priority`` is 1 (HIGH) to 3 (LOW). ``host_log_id`` is the message's row of the application (HIS_NotificationLog). ``template_key`` is
    the kind of a reminder or an e-mail (``contract_letters``), ``language`` (``ja``, ``en``) that of an e-mail's signature. ``is_merged``:
    another message contains its text, so it is not sent and only reserves its key. After ``dedupe_until`` the key may be deleted.
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
    template_key: str | None = None
    language: str = "ja"
    is_merged: bool = False
    dedupe_until: datetime | None = None


@dataclass(frozen=True)
class Lane:
    """One tenant's queue for one channel. Lanes are independent of each other."""

    tenant_id: str
    channel: Channel


@dataclass(frozen=True)
class Claimed:
    """A message under this sender's lease, its past attempts, and its own limit of attempts (None: the channel's)."""

    message: Message
    attempts: int
    host_log_id: str | None
    due_at: datetime
    most_attempts: int | None = None


@dataclass(frozen=True)
class Claims:
    """The claimed messages. ``others`` counts messages by status that are not sent because of the application's rows."""

    messages: Sequence[Claimed] = ()
    others: Mapping[Status, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """True if any due message was found."""
        return bool(self.messages or self.others)


@dataclass(frozen=True)
class SendAttempt:
    """One send of a claimed message: its result, and the message's next status."""

    claimed: Claimed
    result: SendResult
    transition: Transition


@dataclass(frozen=True)
class Exchange:
    """The work of a lane in a transaction: record the results of ``sent``, and claim up to ``count`` messages.

    If ``busy`` is not None, at most one message is claimed for each destination that is not busy.
    """

    lane: Lane
    sent: Sequence[SendAttempt]
    count: int
    busy: Collection[str] | None = None


def enqueue(connection: psycopg.Connection, drafts: Sequence[MessageDraft], *, created_by: str) -> int:
    """Add messages in the caller's transaction; returns the number of new messages."""
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
    # Messages of a channel that is not installed wait until they are too old.
    return [Lane(tenant_id, CHANNELS[channel]) for tenant_id, channel in rows if channel in CHANNELS]


def exchange(
    connection: psycopg.Connection,
    exchanges: Sequence[Exchange],
    statuses: Iterable[Status],
    *,
    owner: str,
    started_at: datetime,
    now: datetime,
    execution_id: str | None = None,
) -> list[Claims]:
    """Record the lanes' results and claim their due messages, high priority first, in one transaction and few round trips.

    The exchanges have different lanes, sorted, so that all senders lock lanes in the same order. ``started_at`` is the start of the sender.
    Messages for that time or earlier are claimed if they are due at ``now``. A channel is closed as of the start, because the sender read
    its settings then. A repetition with the same results changes nothing. ``execution_id``: the run counts the results.
    """
    tenant_ids = sorted({each.lane.tenant_id for each in exchanges})
    with connection.pipeline(), tenant_transaction(connection, tenant_ids):
        results.record(connection, exchanges, owner, now, closed_at=started_at, execution_id=execution_id)
        sent = [entry.claimed for each in exchanges for entry in each.sent]
        mirror_to_host(connection, [each.message.message_id for each in sent if each.host_log_id])
        claiming = [
            _SQL.execute(
                connection.cursor(row_factory=dict_row),
                "claim",
                tenant_id=each.lane.tenant_id,
                channel=each.lane.channel,
                statuses=list(statuses),
                count=each.count,
                owner=owner,
                due_before=started_at,
                now=now,
                lease=LEASE,
                apart=each.busy is not None,
                busy=list(each.busy or ()),
            )
            if each.count
            else None
            for each in exchanges
        ]
        return [_claims(connection, cursor.fetchall()) if cursor else Claims() for cursor in claiming]


def _claims(connection: psycopg.Connection, rows: Sequence[Mapping[str, Any]]) -> Claims:
    others = Counter(
        Status.WITHDRAWN if row["verdict"] == "withdraw" else Status.PENDING
        for row in rows
        if row["verdict"] != "send"
    )
    mirror_to_host(connection, [row["message_id"] for row in rows if row["verdict"] == "withdraw"])
    return Claims([_claimed(connection, row) for row in rows if row["verdict"] == "send"], others)


def has_due(
    connection: psycopg.Connection,
    lane: Lane,
    statuses: Iterable[Status],
    *,
    started_at: datetime,
    now: datetime,
) -> bool:
    """True if the lane has messages that ``exchange`` would claim for any destination."""
    with tenant_transaction(connection, [lane.tenant_id]):
        (found,) = _SQL.row(
            connection,
            "has_due",
            tenant_id=lane.tenant_id,
            channel=lane.channel,
            statuses=list(statuses),
            due_before=started_at,
            now=now,
        )
    return bool(found)


def mark_alive(connection: psycopg.Connection, owner: str) -> None:
    """Show that the owner of claims is running, until ``mark_gone`` or the end of the session. Runs outside a transaction."""
    _SQL.execute(connection, "mark_alive", lock=SENDER_LOCK, owner=owner)


def mark_gone(connection: psycopg.Connection, owner: str) -> None:
    """Show that the owner makes no more claims, and has recorded all results."""
    _SQL.execute(connection, "mark_gone", lock=SENDER_LOCK, owner=owner)


def release_unsent(connection: psycopg.Connection, owner: str, known: Iterable[str]) -> None:
    """Give back the owner's claims that were committed but lost with a connection. The claims of ``known`` messages stay.

    Runs inside the caller's transaction.
    """
    _SQL.execute(connection, "release_unsent", owner=owner, known=list(known))


def revive_doubted(
    connection: psycopg.Connection, tenant_ids: Sequence[str], limit_key: str, now: datetime
) -> None:
    """Send e-mails again that the mail server with this limit refused permanently while it refused the installation (``doubts``)."""
    with tenant_transaction(connection, tenant_ids):
        rows = _SQL.execute(
            connection,
            "revive_doubted",
            tenant_ids=list(tenant_ids),
            limit_key=limit_key,
            codes=[code for code, row in EMAIL.errors.items() if row.if_repeated == SENDER_REFUSED],
            now=now,
        )
        mirror_to_host(connection, [message_id for (message_id,) in rows.fetchall()])


def postpone_switched_off(
    connection: psycopg.Connection, switched_off: Sequence[Mapping[str, str | None]], now: datetime
) -> None:
    """Hold switched-off messages for another hour, and release all others that were held.

    Runs inside the caller's transaction. Each entry has ``tenant_id``, ``reason``, and either ``channel`` or ``template_key``.
    """
    _SQL.execute(connection, "release_switched_on", now=now)
    if switched_off:
        _SQL.execute(
            connection,
            "postpone_switched_off",
            switched_off=Jsonb(switched_off),
            never_switched_off=list(NEVER_SWITCHED_OFF),
            now=now,
        )


def postpone_quiet(connection: psycopg.Connection, ends_at: Mapping[str, datetime]) -> None:
    """Postpone messages that are not urgent to the end of the tenant's quiet hours, in the caller's transaction."""
    if ends_at:
        _SQL.execute(connection, "postpone_quiet", tenant_ids=list(ends_at), ends_at=list(ends_at.values()))


def suppressed_addresses(
    connection: psycopg.Connection, tenant_id: str, now: datetime | None = None
) -> dict[str, suppression.SuppressionReason]:
    """The addresses (lower case) that get no e-mail from the tenant at ``now``, with the reason. Default: the database's time."""
    with tenant_transaction(connection, [tenant_id]):
        return suppression.suppressed_addresses(connection, now)


def park_crashed(connection: psycopg.Connection, now: datetime) -> dict[str, Status]:
    """Release messages whose lease has expired, in the caller's transaction. Returns their new status by id.

    A running sender (``mark_alive``) keeps its messages for another half hour. Others are parked for an operator, or become due again if
    they may be repeated.
    """
    attempts = {channel: channel.attempts for channel in CHANNELS.values() if channel.may_repeat}
    rows = _SQL.execute(
        connection,
        "park_crashed",
        now=now,
        attempts=Jsonb(attempts),
        lock=SENDER_LOCK,
        longest_jump=_LONGEST_JUMP,
    ).fetchall()
    mirror_to_host(connection, [message_id for message_id, _ in rows])
    return {message_id: Status(status) for message_id, status in rows}


def mirror_rest(connection: psycopg.Connection) -> None:
    """Update the application's rows that were locked before, in the caller's transaction."""
    rows = _SQL.execute(connection, "not_mirrored").fetchall()
    mirror_to_host(connection, [message_id for (message_id,) in rows])


def mirror_to_host(connection: psycopg.Connection, message_ids: Sequence[str]) -> None:
    """Write these messages' status to the application's rows, in the caller's transaction."""
    if message_ids:
        _SQL.execute(connection, "mirror_to_host", message_ids=list(message_ids))


def _message_row(draft: MessageDraft) -> dict[str, Any]:
    row = asdict(draft) | {
        "due_at": draft.due_at.isoformat(),
        "dedupe_until": (draft.dedupe_until or draft.due_at + _DEDUPE).isoformat(),
    }
    # PostgreSQL refuses some characters, and its error quotes the entire text.
    return {name: storable(value) if isinstance(value, str) else value for name, value in row.items()}


def _claimed(connection: psycopg.Connection, row: Mapping[str, Any]) -> Claimed:
    subject, body, rich = row["subject"], row["body"], row["rich"]
    channel, file = CHANNELS[row["channel"]], _file(row)
    if row["host_subject"] is not None:
        # Use the application's current text. Only e-mail can contain the file, so other channels name its location.
        elsewhere = f"\n\n{file.unattached_text}" if file and channel != EMAIL else ""
        host_body = f"{row['host_body']}{elsewhere}"
        shown = literal(channel, row["host_subject"], host_body, is_html=row["host_is_html"])
        if (shown.subject, shown.text, shown.rich) != (subject, body, rich):
            subject, body, rich = shown.subject, shown.text, shown.rich
            about = {"message_id": row["message_id"], "subject": subject, "body": body}
            _SQL.execute(connection, "refresh_text", **about, rich=rich if rich is None else Jsonb(rich))
    message = Message(
        row["message_id"],
        row["tenant_id"],
        channel,
        row["destination"],
        subject,
        body,
        rich,
        file if channel == EMAIL else None,
        row["template_key"] or GENERAL,
        _signature(row),
        tuple((kind, address) for kind, address in row["recipients"] or ()),
    )
    return Claimed(message, row["attempts"], row["host_log_id"], row["due_at"], row["most_attempts"])


def _signature(row: Mapping[str, Any]) -> str:
    """The end of an e-mail. Empty for billing, because the issuer signs those e-mails."""
    if row["channel"] != EMAIL or row["template_key"] in BILLING_LETTERS:
        return ""
    tenant_name = (row["language"] == "en" and row["tenant_name_en"]) or row["tenant_name"]
    return ServiceSettings.load().signature(row["language"], tenant_name or row["tenant_id"])


def _file(row: Mapping[str, Any]) -> MessageFile | None:
    if row["file_name"] is None:
        return None
    return MessageFile(
        row["file_name"],
        row["object_key"],
        row["sha256"],
        row["is_attached"],
        row["attached_text"],
        row["unattached_text"],
    )
