"""Sends due messages of many tenants and channels concurrently, each tenant and channel in its own lane.

A lane claims a few messages, commits, sends them concurrently within the channel's pace, records the results and claims the next
messages. A slow channel delays only its own messages. If a sender is killed, only its messages in flight are in doubt. The lease of a
claimed message is longer than the slowest send.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import psycopg

from include.errors import is_about_data, reason_of
from include.messaging import outbox
from include.messaging.channels.base import ChannelClient
from include.messaging.channels.email import CONNECTIONS
from include.messaging.message import Message
from include.messaging.outbox import Claimed, Lane, SendAttempt
from include.messaging.outcome import Channel, ErrorClass, SendResult, failed
from include.messaging.retry import Status, transition

# The maximum number of a lane's messages in flight. A killed sender leaves them in doubt.
_IN_FLIGHT = {Channel.EMAIL: 10, Channel.SLACK: 5, Channel.TEAMS: 4, Channel.LINE_WORKS: 4}

# The maximum number of a channel's lanes that send at the same time. E-mail goes through one server, unless a tenant has its own.
_LANES_AT_ONCE = dict.fromkeys(Channel, 100)
_MAIL_LANES_AT_ONCE = CONNECTIONS

# After this many seconds, a lane lets a waiting lane send before it claims more messages.
_TURN_SECONDS = 1.0

# Seconds that one send may take, including all its requests. It must be well below the outbox's lease.
SEND_LIMIT = 120

# Seconds between two sends. Slack allows one message a second per Slack channel, LINE WORKS 240 requests a minute.
_PACE = {Channel.EMAIL: 0.0, Channel.SLACK: 1.0, Channel.TEAMS: 0.25, Channel.LINE_WORKS: 0.25}

# If all messages in flight end with one of these errors, the service is unavailable. A mail server's 4xx mostly concerns one recipient.
# A refusal by its rate limit is different: the client has already tried fewer connections, so that one refusal stops the lane.
_SERVICE_ERRORS = dict.fromkeys(
    Channel, frozenset({ErrorClass.RATE_LIMIT, ErrorClass.SERVICE, ErrorClass.NETWORK})
)
_SERVICE_ERRORS[Channel.EMAIL] = frozenset({ErrorClass.NETWORK})


@dataclass
class LaneReport:
    """The number of a lane's messages by status. ``problem`` is the error that stopped the lane; its last messages are parked later."""

    lane: Lane
    counts: Counter[Status] = field(default_factory=Counter)
    problem: str | None = None


class Sender:
    """Sends the due messages of lanes. ``connection`` acts as ``batch_tenant`` and is not used by other code meanwhile.

    ``quiet`` tenants get urgent messages (priority 1) only. ``rate_limits`` are messages per minute. The e-mail of lanes in
    ``own_servers`` does not go through the installation's mail server. After ``stop_at`` no more messages
    are claimed. ``started_at`` is before the channels' settings were read: messages due then are sent, and a channel is closed as of then.
    ``clock`` returns aware datetimes.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        client_of: Callable[[Lane], ChannelClient],
        *,
        owner: str,
        clock: Callable[[], datetime],
        started_at: datetime,
        statuses: Collection[Status] = (Status.PENDING, Status.RETRY),
        quiet: Collection[str] = (),
        rate_limits: Mapping[Lane, int] | None = None,
        own_servers: Collection[Lane] = (),
        stop_at: datetime | None = None,
    ) -> None:
        self._connection = connection
        self._client_of = client_of
        self._owner = owner
        self._clock = clock
        self._statuses = statuses
        self._quiet = quiet
        self._rate_limits = rate_limits or {}
        self._own_servers = own_servers
        self._stop_at = stop_at
        self._database = asyncio.Lock()
        self._mail_lanes = 0
        self._mail_turns = asyncio.Semaphore(_MAIL_LANES_AT_ONCE)
        self._turns = {channel: asyncio.Semaphore(lanes) for channel, lanes in _LANES_AT_ONCE.items()}
        self._started_at = started_at

    async def drain(self, lanes: Sequence[Lane]) -> list[LaneReport]:
        """Send the messages of these lanes that are due now. Each message is sent at most once.

        :raises psycopg.Error: the database failed. Messages in flight are parked when their lease has expired.
        """
        self._mail_lanes = sum(map(self._shares_mail_server, lanes))
        return list(await asyncio.gather(*(self._drain_lane(lane) for lane in lanes)))

    async def _drain_lane(self, lane: Lane) -> LaneReport:
        report, client = LaneReport(lane), self._client_of(lane)
        pace = _Pace(_PACE[lane.channel], self._rate_limits.get(lane))
        suppressed = await self._suppressed(lane)
        is_drained = False
        try:
            while not is_drained:
                async with self._turns_of(lane):
                    is_drained = await self._take_turn(report, client, pace, suppressed)
        except Exception as error:
            # An error caused by one tenant's data stops only that tenant's lane.
            if not is_about_data(error):
                raise
            report.problem = reason_of(error)
        self._mail_lanes -= self._shares_mail_server(lane)
        return report

    async def _take_turn(
        self, report: LaneReport, client: ChannelClient, pace: _Pace, suppressed: frozenset[str]
    ) -> bool:
        """Send the lane's messages until none is left or another lane must have its turn; returns whether the lane is finished."""
        lane, started = report.lane, time.monotonic()
        claimed = await self._exchange(lane)
        while claimed:
            sent = await asyncio.gather(*(self._send(client, pace, entry, suppressed) for entry in claimed))
            report.counts.update(entry.transition.status for entry in sent)
            # If the service is unavailable, the remaining messages wait for the next run.
            is_over = any(map(_stops_lane, sent)) or all(map(_is_service_error, sent))
            yields_turn = self._turns_of(lane).locked() and time.monotonic() - started > _TURN_SECONDS
            claimed = await self._exchange(lane, sent, claims=not (is_over or yields_turn))
            if yields_turn and not is_over:
                return False
        return True

    async def _send(
        self, client: ChannelClient, pace: _Pace, claimed: Claimed, suppressed: frozenset[str]
    ) -> SendAttempt:
        message = claimed.message
        if message.destination.lower() in suppressed:
            result: SendResult | None = failed(message.channel, "suppressed")
        else:
            result = client.check(message)
        if result is None:
            await pace.turn(_paced_by(message))
            result = await _send_in_time(client, message)
        return SendAttempt(
            claimed,
            result,
            transition(
                message.channel,
                claimed.attempts,
                result,
                self._clock(),
                spread=random.random(),  # noqa: S311 - jitter
            ),
        )

    async def _suppressed(self, lane: Lane) -> frozenset[str]:
        if lane.channel is not Channel.EMAIL:
            return frozenset()
        async with self._database:
            return await asyncio.to_thread(outbox.suppressed_addresses, self._connection, lane.tenant_id)

    async def _exchange(
        self, lane: Lane, sent: Sequence[SendAttempt] = (), *, claims: bool = True
    ) -> list[Claimed]:
        """Record results and claim the next messages."""
        if self._stop_at is not None and self._clock() >= self._stop_at:
            claims = False
        async with self._database:
            return await asyncio.to_thread(
                outbox.exchange,
                self._connection,
                lane,
                sent,
                self._statuses,
                count=self._most_in_flight(lane) if claims else 0,
                owner=self._owner,
                started_at=self._started_at,
                now=self._clock(),
                urgent_only=lane.tenant_id in self._quiet,
            )

    def _shares_mail_server(self, lane: Lane) -> bool:
        return lane.channel is Channel.EMAIL and lane not in self._own_servers

    def _turns_of(self, lane: Lane) -> asyncio.Semaphore:
        return self._mail_turns if self._shares_mail_server(lane) else self._turns[lane.channel]

    def _most_in_flight(self, lane: Lane) -> int:
        """The number of messages that the lane may claim at once. E-mail lanes share the mail server's connections.

        A lane with a rate limit claims at most what it may send in a minute, so that no lease expires while a message waits.
        """
        count = min(_IN_FLIGHT[lane.channel], self._rate_limits.get(lane, _IN_FLIGHT[lane.channel]))
        if not self._shares_mail_server(lane):
            return count
        lanes = min(self._mail_lanes, _MAIL_LANES_AT_ONCE)
        return min(count, max(1, CONNECTIONS // max(1, lanes)))


async def _send_in_time(client: ChannelClient, message: Message) -> SendResult:
    try:
        async with asyncio.timeout(SEND_LIMIT):
            return await client.send(message)
    except TimeoutError:
        return failed(message.channel, "timeout", f"{SEND_LIMIT} s")
    except Exception as error:
        # A client must not raise. If it does, the error concerns only this message.
        return failed(message.channel, "connection_lost", type(error).__name__)


class _Pace:
    """Spaces sends: at least ``interval`` seconds apart per key, and at most ``per_minute`` over all keys."""

    def __init__(self, interval: float, per_minute: int | None = None) -> None:
        self._interval = interval
        self._between_all = 60 / per_minute if per_minute else 0.0
        self._next_of_all = 0.0
        self._next_turn: dict[str, float] = {}

    async def turn(self, key: str) -> None:
        """Wait for the key's next turn."""
        now = time.monotonic()
        turn = max(now, self._next_of_all, self._next_turn.get(key, now))
        self._next_turn[key] = turn + self._interval
        self._next_of_all = turn + self._between_all if self._between_all else 0.0
        if turn > now:
            await asyncio.sleep(turn - now)


def _stops_lane(entry: SendAttempt) -> bool:
    is_mail = entry.claimed.message.channel is Channel.EMAIL
    return entry.transition.closes_channel or (is_mail and entry.result.is_refused_for_rate)


def _is_service_error(entry: SendAttempt) -> bool:
    error = entry.result.error
    return error is not None and error.error_class in _SERVICE_ERRORS[entry.claimed.message.channel]


def _paced_by(message: Message) -> str:
    """The key of the pace: Slack limits each Slack channel, the other services limit the tenant."""
    return message.destination if message.channel is Channel.SLACK else ""
