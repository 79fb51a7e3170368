"""Sends what is due: many tenants and channels at once, each in a lane of its own.

A lane claims a few messages, commits, sends them side by side within its channel's pace, records what became of them, and claims the
next. A slow or dead channel so holds up nobody but itself, and a sender that is killed leaves no more in doubt than it had in flight.
Nothing waits for a turn of the network while it is claimed: the lease is longer than the slowest send.
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
from include.messaging.outbox import Claimed, Lane, Sent
from include.messaging.outcome import Channel, ErrorClass, SendResult, failed
from include.messaging.retry import Status, transition

# Messages of a lane that are under way at once, which is also what a killed sender leaves in doubt.
_SIDE_BY_SIDE = {Channel.EMAIL: 10, Channel.SLACK: 5, Channel.TEAMS: 4, Channel.LINE_WORKS: 4}

# Lanes of a channel that send at once. All e-mail goes through one server, the others each through the tenant's own way.
_LANES_AT_ONCE = {Channel.EMAIL: CONNECTIONS, Channel.SLACK: 100, Channel.TEAMS: 100, Channel.LINE_WORKS: 100}

# Seconds for which a lane may keep its turn while others wait for one. Slow lanes give way after each few messages.
_TURN_SECONDS = 1.0

# Seconds that one send may take, all of its requests together; well within the outbox's lease.
SEND_LIMIT = 120

# Seconds between two sends. Slack takes one message a second into a channel; LINE WORKS 240 requests a minute.
_PACE = {Channel.EMAIL: 0.0, Channel.SLACK: 1.0, Channel.TEAMS: 0.25, Channel.LINE_WORKS: 0.25}

# If all messages under way end with one of these, the service takes nothing now. What a mail server puts off (4xx) mostly concerns one
# recipient, except a refusal for the rate: the client has already tried with fewer connections, so that a single one stops the lane.
_OF_THE_SERVICE = dict.fromkeys(
    Channel, frozenset({ErrorClass.RATE_LIMIT, ErrorClass.SERVICE, ErrorClass.NETWORK})
)
_OF_THE_SERVICE[Channel.EMAIL] = frozenset({ErrorClass.NETWORK})


@dataclass
class LaneReport:
    """How a lane's messages ended, by status; ``problem`` is what ended the lane itself: its last messages are parked in time."""

    lane: Lane
    counts: Counter[Status] = field(default_factory=Counter)
    problem: str | None = None


class Sender:
    """Drains lanes. ``connection`` acts as ``batch_tenant`` and is used by nobody else meanwhile; ``clock`` gives aware moments.

    ``quiet`` tenants get nothing but what is urgent (priority 1); ``rate_limits`` are messages a minute of single lanes. After ``stop_at``
    nothing more is claimed: what is left stays due. ``started_at`` is before the channels' settings were read: what is due then is sent,
    and a channel that closes has been closed since.
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
        stop_at: datetime | None = None,
    ) -> None:
        self._connection = connection
        self._client_of = client_of
        self._owner = owner
        self._clock = clock
        self._statuses = statuses
        self._quiet = quiet
        self._rate_limits = rate_limits or {}
        self._stop_at = stop_at
        self._database = asyncio.Lock()
        self._unfinished: Counter[Channel] = Counter()
        self._turns = {channel: asyncio.Semaphore(lanes) for channel, lanes in _LANES_AT_ONCE.items()}
        self._started_at = started_at

    async def drain(self, lanes: Sequence[Lane]) -> list[LaneReport]:
        """Send what is due in these lanes now; what is put off by this run is not tried again by it.

        :raises psycopg.Error: the database failed; messages in flight are parked once their lease has run out.
        """
        self._unfinished = Counter(lane.channel for lane in lanes)
        return list(await asyncio.gather(*(self._drain_lane(lane) for lane in lanes)))

    async def _drain_lane(self, lane: Lane) -> LaneReport:
        report, client = LaneReport(lane), self._client_of(lane)
        pace = _Pace(_PACE[lane.channel], self._rate_limits.get(lane))
        suppressed = await self._suppressed(lane)
        is_drained = False
        try:
            while not is_drained:
                async with self._turns[lane.channel]:
                    is_drained = await self._take_turn(report, client, pace, suppressed)
        except Exception as error:
            # What one tenant's data can cause ends its lane, and nobody else's.
            if not is_about_data(error):
                raise
            report.problem = reason_of(error)
        self._unfinished[lane.channel] -= 1
        return report

    async def _take_turn(
        self, report: LaneReport, client: ChannelClient, pace: _Pace, suppressed: frozenset[str]
    ) -> bool:
        """Send what the lane has, for so long as no other lane waits, or for a short while; returns whether nothing is left."""
        lane, began = report.lane, time.monotonic()
        claimed = await self._exchange(lane)
        while claimed:
            sent = await asyncio.gather(*(self._send(client, pace, entry, suppressed) for entry in claimed))
            report.counts.update(entry.transition.status for entry in sent)
            # A service that takes nothing is left alone: the rest waits for the next run, and is not put in doubt as well.
            is_over = any(map(_stops_lane, sent)) or all(map(_failed_there, sent))
            gives_way = self._turns[lane.channel].locked() and time.monotonic() - began > _TURN_SECONDS
            claimed = await self._exchange(lane, sent, claims=not (is_over or gives_way))
            if gives_way and not is_over:
                return False
        return True

    async def _send(
        self, client: ChannelClient, pace: _Pace, claimed: Claimed, suppressed: frozenset[str]
    ) -> Sent:
        message = claimed.message
        if message.destination.lower() in suppressed:
            result: SendResult | None = failed(message.channel, "suppressed")
        else:
            result = client.check(message)
        if result is None:
            await pace.turn(_paced_by(message))
            result = await _send_in_time(client, message)
        return Sent(
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

    async def _exchange(self, lane: Lane, sent: Sequence[Sent] = (), *, claims: bool = True) -> list[Claimed]:
        """Record what was sent, and claim what comes next."""
        if self._stop_at is not None and self._clock() >= self._stop_at:
            claims = False
        async with self._database:
            return await asyncio.to_thread(
                outbox.exchange,
                self._connection,
                lane,
                sent,
                self._statuses,
                count=self._side_by_side(lane) if claims else 0,
                owner=self._owner,
                started_at=self._started_at,
                now=self._clock(),
                urgent_only=lane.tenant_id in self._quiet,
            )

    def _side_by_side(self, lane: Lane) -> int:
        """How many messages the lane may have under way: all e-mail shares the mail server's connections.

        Of a lane with a limit no more than it may send within the next minute, so that none outlives its lease while it waits.
        """
        count = min(_SIDE_BY_SIDE[lane.channel], self._rate_limits.get(lane, _SIDE_BY_SIDE[lane.channel]))
        if lane.channel is not Channel.EMAIL:
            return count
        lanes = min(self._unfinished[lane.channel], _LANES_AT_ONCE[lane.channel])
        return min(count, max(1, CONNECTIONS // max(1, lanes)))


async def _send_in_time(client: ChannelClient, message: Message) -> SendResult:
    try:
        async with asyncio.timeout(SEND_LIMIT):
            return await client.send(message)
    except TimeoutError:
        return failed(message.channel, "timeout", f"{SEND_LIMIT} s")
    except Exception as error:
        # A client never raises; should one do so all the same, nobody else's lane ends with it.
        return failed(message.channel, "connection_lost", type(error).__name__)


class _Pace:
    """Hands out turns at least ``interval`` seconds apart per key, and over all keys no more than ``per_minute``."""

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


def _stops_lane(entry: Sent) -> bool:
    is_mail = entry.claimed.message.channel is Channel.EMAIL
    return entry.transition.closes_channel or (is_mail and entry.result.is_refused_for_rate)


def _failed_there(entry: Sent) -> bool:
    error = entry.result.error
    return error is not None and error.error_class in _OF_THE_SERVICE[entry.claimed.message.channel]


def _paced_by(message: Message) -> str:
    """What a channel's pace counts: Slack each of its channels, the others the tenant's one way in."""
    return message.destination if message.channel is Channel.SLACK else ""
