"""Sends what is due: many tenants and channels at once, each in a lane of its own.

A lane claims a few messages, commits, sends them side by side within its channel's pace, records what became of them, and claims the
next. A slow or dead channel so holds up nobody but itself, and a sender that is killed leaves no more in doubt than it had in flight.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import psycopg

from include.notification import outbox
from include.notification.message import Message
from include.notification.outbox import Claimed, Lane, Sent
from include.notification.outcome import Channel, SendResult, failed
from include.notification.retry import Status, transition

# Messages of a lane that are under way at once, which is also what a killed sender leaves in doubt.
_SIDE_BY_SIDE = {Channel.EMAIL: 10, Channel.SLACK: 5, Channel.TEAMS: 4, Channel.LINE_WORKS: 4}

# Sends under way over all lanes.
_IN_FLIGHT = 200

# Seconds between two sends. Slack takes one message a second into a channel; LINE WORKS 240 requests a minute.
_PACE = {Channel.EMAIL: 0.0, Channel.SLACK: 1.0, Channel.TEAMS: 0.25, Channel.LINE_WORKS: 0.25}


class ChannelClient(Protocol):
    """What a lane sends through."""

    def check(self, message: Message) -> SendResult | None:
        """What is wrong with the message before anything is sent."""

    async def send(self, message: Message) -> SendResult:
        """Send; never raises for what a service answers, or does not answer."""


@dataclass
class LaneReport:
    """How a lane's messages ended, by status."""

    lane: Lane
    counts: Counter[Status] = field(default_factory=Counter)


class Sender:
    """Drains lanes. ``connection`` acts as ``batch_tenant`` and is used by nobody else meanwhile; ``clock`` gives aware moments."""

    def __init__(
        self,
        connection: psycopg.Connection,
        client_of: Callable[[Lane], ChannelClient],
        *,
        owner: str,
        clock: Callable[[], datetime],
        statuses: Collection[Status] = (Status.PENDING, Status.RETRY),
    ) -> None:
        self._connection = connection
        self._client_of = client_of
        self._owner = owner
        self._clock = clock
        self._statuses = statuses
        self._database = asyncio.Lock()
        self._in_flight = asyncio.Semaphore(_IN_FLIGHT)
        self._due_before = clock()

    async def drain(self, lanes: Sequence[Lane]) -> list[LaneReport]:
        """Send what is due in these lanes now; what is put off by this run is not tried again by it.

        :raises psycopg.Error: the database failed; messages in flight are parked once their lease has run out.
        """
        return list(await asyncio.gather(*(self._drain_lane(lane) for lane in lanes)))

    async def _drain_lane(self, lane: Lane) -> LaneReport:
        report, client, pace = LaneReport(lane), self._client_of(lane), _Pace(_PACE[lane.channel])
        suppressed = await self._suppressed(lane)
        while claimed := await self._claim(lane):
            sent = await asyncio.gather(*(self._send(client, pace, entry, suppressed) for entry in claimed))
            await self._record(lane, sent)
            report.counts.update(entry.transition.status for entry in sent)
            if any(entry.transition.closes_channel for entry in sent):
                break
        return report

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
            async with self._in_flight:
                result = await client.send(message)
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

    async def _claim(self, lane: Lane) -> list[Claimed]:
        async with self._database:
            return await asyncio.to_thread(
                outbox.claim,
                self._connection,
                lane,
                self._statuses,
                count=_SIDE_BY_SIDE[lane.channel],
                owner=self._owner,
                due_before=self._due_before,
                now=self._clock(),
            )

    async def _record(self, lane: Lane, sent: Sequence[Sent]) -> None:
        async with self._database:
            await asyncio.to_thread(
                outbox.record, self._connection, lane, sent, owner=self._owner, now=self._clock()
            )


class _Pace:
    """Hands out turns that are at least ``interval`` seconds apart, per key."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next_turn: dict[str, float] = {}

    async def turn(self, key: str) -> None:
        """Wait for the key's next turn."""
        now = time.monotonic()
        turn = max(now, self._next_turn.get(key, now))
        self._next_turn[key] = turn + self._interval
        if turn > now:
            await asyncio.sleep(turn - now)


def _paced_by(message: Message) -> str:
    """What a channel's pace counts: Slack each of its channels, the others the tenant's one way in."""
    return message.destination if message.channel is Channel.SLACK else ""
