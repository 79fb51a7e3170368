"""Sends due messages of many tenants and channels concurrently, each tenant and channel in its own lane.

A lane waits for slots of its service's throttle, claims as many messages, commits, sends them concurrently, and records the results with
the next claim. So a claimed message never waits. If a sender is killed, it is unknown only of its messages in flight whether they arrived.
Lanes that wait for the database at the same time share a transaction. A slow or throttled service delays only the lanes that share its
limit. A message that a rate limit refused is sent after the wait, in the same run if it still has time.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

import psycopg

from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.errors import is_about_data, reason_of
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.lasting_connection import LastingConnection
from include.skillreport.messaging import outbox
from include.skillreport.messaging.channels.channel import ChannelClient
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.doubts import forget_refusals, record_refusal
from include.skillreport.messaging.letter_files import with_content
from include.skillreport.messaging.message import Message
from include.skillreport.messaging.outbox import Claimed, Claims, Exchange, Lane, SendAttempt
from include.skillreport.messaging.outcome import SendResult, failed
from include.skillreport.messaging.pacing import LanePace
from include.skillreport.messaging.results import (
    closes_lane,
    is_doubtful,
    is_refused_access,
    is_service_error,
)
from include.skillreport.messaging.retry import Status, transition
from include.skillreport.messaging.shared_limits import (
    join_limits,
    leave_limits,
    record_closing,
    renew_limits,
    renew_until,
)
from include.skillreport.messaging.suppression import SuppressionReason
from include.skillreport.messaging.throttle import Throttle

T = TypeVar("T")

# The maximum number of a channel's lanes that send at the same time: it limits the open sockets.
_LANES_AT_ONCE = 100

# The maximum number of lanes that share a transaction. A commit waits for the disk. With more lanes, all would wait for one transaction and
# none would send.
_LANES_TOGETHER = 10

# After this many seconds, a lane gives way to other lanes that wait for the same limit.
_TURN_SECONDS = 1.0

# Seconds for one send with all its requests. It must be well below the outbox's lease.
SEND_LIMIT = 120

# If this many messages in a row end with an error of the service, it is unavailable.
_MOST_FAILURES = 3

# Finished tenants are reported together: every few seconds, or when there are this many.
_TENANTS_TOGETHER = 250

# Seconds after which a lane looks again for a message that another sender has locked.
_LOCKED_SECONDS = 0.2


@dataclass(frozen=True)
class _Asked:
    """An exchange, and its future result: the claims or an error."""

    exchange: Exchange
    found: asyncio.Future[Claims]


@dataclass
class LaneReport:
    """The number of a lane's messages by status. ``problem`` is the error that stopped the lane; its last messages are parked later.

    ``is_server_closed``: the service refuses the installation or is unreachable, so the lane's messages wait.
    """

    lane: Lane
    counts: Counter[Status] = field(default_factory=Counter)
    problem: str | None = None
    is_server_closed: bool = False


class Sender:
    """Sends the due messages of lanes. ``database`` acts as ``batch_tenant``. No other code may use it at the same time.

    After ``stop_at`` no more messages are claimed; None: the sender waits for throttled services as long as they ask. ``started_at`` is
    before the channels' settings were read: messages for that time or earlier are sent, and a channel is closed as of then. ``clock``
    returns aware datetimes. ``postpone`` is called every few seconds, and postpones messages that may not be sent at present. ``store``
    contains the files of e-mails; without it an e-mail with a file waits. ``finish`` gets the reports of tenants whose lanes have all
    ended, while others still send. ``execution_id`` is the run that counts the results (``Batch.effects``).
    """

    def __init__(
        self,
        database: LastingConnection,
        client_of: Callable[[Lane], ChannelClient],
        pace_of: Callable[[Lane], LanePace],
        *,
        owner: str,
        clock: Callable[[], datetime],
        started_at: datetime,
        statuses: Collection[Status] = (Status.PENDING, Status.RETRY),
        stop_at: datetime | None = None,
        postpone: Callable[[psycopg.Connection], object] = lambda _: None,
        store: ObjectStore | None = None,
        finish: Callable[[psycopg.Connection, Sequence[LaneReport]], object] = lambda *_: None,
        execution_id: str | None = None,
    ) -> None:
        self._database = database
        self._client_of = client_of
        self._pace_of = pace_of
        self._owner = owner
        self._clock = clock
        self._statuses = statuses
        self._postpone = postpone
        self._store = store
        self._finish = finish
        self._execution_id = execution_id
        self._started_at = started_at
        seconds = math.inf if stop_at is None else (stop_at - clock()).total_seconds()
        self._until = time.monotonic() + seconds
        self._lanes: Sequence[Lane] = ()
        # The number of lanes that have not ended, by tenant, and the reports of the others. ``_finished``: of complete tenants.
        self._open = Counter[str]()
        self._ended = defaultdict[str, list[LaneReport]](list)
        self._finished: list[LaneReport] = []
        self._database_turn = asyncio.Lock()
        self._turns = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(_LANES_AT_ONCE))
        self._in_flight = set[str]()
        # The exchanges that wait for the database, and the tasks that serve them. A lane has one at a time.
        self._waiting: list[_Asked] = []
        self._serving = set[asyncio.Task[None]]()

    async def drain(self, lanes: Sequence[Lane]) -> list[LaneReport]:
        """Send the messages of these lanes that are due. Each message is sent at most once, unless the service refused it.

        :raises psycopg.Error: the database failed. Messages in flight are parked when their lease has expired.
        """
        self._lanes = lanes
        self._open = Counter(lane.tenant_id for lane in lanes)
        paces = [self._pace_of(lane) for lane in lanes]
        await self._query(partial(outbox.mark_alive, owner=self._owner))
        async with self._shared({pace.throttle for pace in paces}):
            for pace in paces:
                pace.throttle.join()
            reports = list(await asyncio.gather(*map(self._drain_lane, lanes, paces)))
        await self._finish_tenants()
        await self._query(partial(outbox.mark_gone, owner=self._owner))
        return reports

    @asynccontextmanager
    async def _shared(self, throttles: Iterable[Throttle]) -> AsyncIterator[None]:
        """Share the limits with the other processes that send."""
        share = [throttle for throttle in throttles if throttle.limit.key]
        await self._query(partial(join_limits, throttles=share, owner=self._owner))
        is_over = asyncio.Event()
        renewal = asyncio.create_task(renew_until(is_over, partial(self._renew, throttles=share)))
        try:
            yield
        finally:
            # Not cancelled: its statement would continue in its thread, concurrently with the next one on the same connection.
            is_over.set()
            await renewal
        await self._query(partial(leave_limits, throttles=share, owner=self._owner))

    async def _renew(self, throttles: Sequence[Throttle]) -> None:
        await self._query(partial(renew_limits, throttles=throttles, owner=self._owner))
        await self._query(self._postpone)
        await self._finish_tenants()

    async def _finish_tenants(self) -> None:
        finished, self._finished = self._finished, []
        if finished:
            await self._query(lambda connection: self._finish(connection, finished))

    async def _drain_lane(self, lane: Lane, pace: LanePace) -> LaneReport:
        report = LaneReport(lane)
        try:
            await self._send_due(report, pace)
        except Exception as error:
            # An error caused by one tenant's data stops only that tenant's lane.
            if not is_about_data(error):
                raise
            report.problem = reason_of(error)
        finally:
            pace.throttle.leave()
        self._open[lane.tenant_id] -= 1
        self._ended[lane.tenant_id].append(report)
        if not self._open[lane.tenant_id]:
            self._finished += self._ended.pop(lane.tenant_id)
        if len(self._finished) >= _TENANTS_TOGETHER:
            await self._finish_tenants()
        return report

    async def _send_due(self, report: LaneReport, pace: LanePace) -> None:
        """Send the lane's messages until none is left, the service is unavailable, or the time is over."""
        lane, client = report.lane, self._client_of(report.lane)
        suppressed = await self._suppressed(lane)
        sent: Sequence[SendAttempt] = ()
        # When throttled messages may be sent again, by message id; seconds of time.monotonic.
        throttled: dict[str, float] = {}
        turn_ends, failures = 0.0, 0
        while True:
            now = time.monotonic()
            may_go_on = now < self._until and (now < turn_ends or not pace.throttle.has_waiting_lanes)
            slots = pace.throttle.take_now(lane.channel.in_flight) if may_go_on else 0
            if not slots:
                # Results are recorded before the lane waits.
                await self._exchange(lane, pace, sent, 0)
                if sent and not throttled and not await self._has_due(lane):
                    return
                sent = ()
                slots = await pace.throttle.take(lane.channel.in_flight, self._until)
                if not slots:
                    report.is_server_closed |= pace.throttle.is_shut
                    return
                turn_ends = time.monotonic() + _TURN_SECONDS
            async with self._turns[lane.channel]:
                claims = await self._claim(lane, pace, sent, slots)
                sent = await asyncio.gather(
                    *(self._send(client, pace, entry, suppressed) for entry in claims.messages)
                )
            report.counts.update(claims.others)
            report.counts.update(entry.transition.status for entry in sent)
            failures = failures + len(sent) if all(map(is_service_error, sent)) else 0
            is_closed = pace.throttle.is_shut or (pace.throttle.is_closed and any(map(is_doubtful, sent)))
            if any(map(closes_lane, sent)) or is_closed or failures >= _MOST_FAILURES:
                # The remaining messages wait for the next run.
                report.is_server_closed |= pace.throttle.is_shut or any(map(is_refused_access, sent))
                await self._exchange(lane, pace, sent, 0)
                return
            throttled |= _return_times(sent, self._clock())
            if not claims and not await self._wait_for_more(lane, pace, throttled):
                return

    async def _claim(self, lane: Lane, pace: LanePace, sent: Sequence[SendAttempt], slots: int) -> Claims:
        """Record results, and claim a message for each slot. Slots without a message are given back."""
        claims = Claims()
        try:
            claims = await self._exchange(lane, pace, sent, slots)
        finally:
            pace.throttle.give_back(slots - len(claims.messages))
        for entry in claims.messages:
            pace.starts(entry.message.destination)
        return claims

    async def _wait_for_more(self, lane: Lane, pace: LanePace, throttled: dict[str, float]) -> bool:
        """Wait until the first message can be claimed. Returns False if there is none in the run's time."""
        now = time.monotonic()
        waits = [moment - now for moment in throttled.values() if moment > now]
        if pace.destinations is not None and await self._has_due(lane):
            waits.append(pace.destinations.next_free() or _LOCKED_SECONDS)
        for message_id in [each for each, moment in throttled.items() if moment <= now]:
            # This lane has claimed it again, or another sender has.
            del throttled[message_id]
        if not waits or now + min(waits) >= self._until:
            return False
        await asyncio.sleep(min(waits))
        return True

    async def _send(
        self,
        client: ChannelClient,
        pace: LanePace,
        claimed: Claimed,
        suppressed: Mapping[str, SuppressionReason],
    ) -> SendAttempt:
        message = claimed.message
        reason = suppressed.get(message.destination.lower())
        if reason and not (message.belongs_to_contract and reason is SuppressionReason.UNSUBSCRIBE):
            result: SendResult | None = failed(message.channel, "suppressed")
        else:
            result = client.check(message)
        if result is None:
            # Each e-mail has its own connection, so at most one file per connection is in memory.
            loaded = await with_content(message, self._store)
            message, result = (loaded, None) if isinstance(loaded, Message) else (message, loaded)
        if result is None:
            sent_at = time.monotonic()
            result = await self._understood(pace, message, await _send_in_time(client, message), sent_at)
            pause = pace.ends(message.destination, sent_at, result)
            if pace.closes_or_reopens(result):
                await self._query(partial(record_closing, throttle=pace.throttle, result=result))
            if result.error is None and pace.throttle.is_doubted:
                await self._query(partial(forget_refusals, throttles=[pace.throttle]))
        else:
            pause = None
            pace.throttle.give_back(1)
        now = self._clock()
        return SendAttempt(
            claimed,
            result,
            transition(
                message.channel,
                claimed.attempts,
                result,
                now,
                spread=random.random(),  # noqa: S311 - jitter
                most_attempts=claimed.most_attempts,
                pause=pause,
                age=now - claimed.due_at,
            ),
        )

    async def _understood(
        self, pace: LanePace, message: Message, result: SendResult, sent_at: float
    ) -> SendResult:
        """The result by its meaning, if other messages get the same answer."""
        result = pace.understood(message, result)
        if (refusal := pace.doubts.refusal(message, result)) is None:
            return result
        evidence = await self._query(partial(record_refusal, throttle=pace.throttle, refusal=refusal))
        if pace.doubts.may_close(result, evidence):
            await pace.doubts.wait_for_others(sent_at)
            # Another process may have sent an e-mail, too.
            evidence = await self._query(partial(record_refusal, throttle=pace.throttle, refusal=refusal))
        return pace.doubts.judged(message, result, evidence)

    async def _suppressed(self, lane: Lane) -> Mapping[str, SuppressionReason]:
        if lane.channel != EMAIL:
            return {}
        return await self._query(
            partial(outbox.suppressed_addresses, tenant_id=lane.tenant_id, now=self._clock())
        )

    async def _has_due(self, lane: Lane) -> bool:
        return await self._query(
            partial(
                outbox.has_due,
                lane=lane,
                statuses=self._statuses,
                started_at=self._started_at,
                now=self._clock(),
            )
        )

    async def _exchange(self, lane: Lane, pace: LanePace, sent: Sequence[SendAttempt], count: int) -> Claims:
        """Record results and claim up to ``count`` messages, together with the other lanes that wait for the database."""
        if not sent and not count:
            return Claims()
        asked = _Asked(Exchange(lane, sent, count, pace.busy()), asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        # In its own task, so that no lane waits for another lane's turn before it sends its claimed messages.
        serving = asyncio.create_task(self._serve_waiting())
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)
        return await asked.found

    async def _serve_waiting(self) -> None:
        async with self._database_turn:
            together, self._waiting = self._waiting[:_LANES_TOGETHER], self._waiting[_LANES_TOGETHER:]
            try:
                # An earlier task may have served all.
                if together:
                    await self._exchange_together(sorted(together, key=_lane_key))
            finally:
                for asked in together:
                    # No effect if it has its result.
                    asked.found.cancel()

    async def _exchange_together(self, together: Sequence[_Asked]) -> None:
        """Give each lane its claims. If one lane's data make the transaction fail, each lane exchanges alone."""
        try:
            claims = await self._run(
                partial(
                    outbox.exchange,
                    exchanges=[asked.exchange for asked in together],
                    statuses=self._statuses,
                    owner=self._owner,
                    started_at=self._started_at,
                    now=self._clock(),
                    execution_id=self._execution_id,
                )
            )
        except Exception as error:
            if len(together) > 1 and is_about_data(error):
                for asked in together:
                    await self._exchange_together([asked])
                return
            for asked in together:
                if not asked.found.done():
                    asked.found.set_exception(error)
            return
        for asked, claimed in zip(together, claims, strict=True):
            self._in_flight -= {entry.claimed.message.message_id for entry in asked.exchange.sent}
            self._in_flight |= {entry.message.message_id for entry in claimed.messages}
            if not asked.found.done():
                asked.found.set_result(claimed)

    async def _query(self, work: Callable[[psycopg.Connection], T]) -> T:
        """Run a transaction, again after a deadlock, and on a new connection after a loss. This sender keeps its messages in flight."""
        async with self._database_turn:
            return await self._run(work)

    async def _run(self, work: Callable[[psycopg.Connection], T]) -> T:
        return await asyncio.to_thread(self._database.run, work, self._go_on)

    def _go_on(self, connection: psycopg.Connection) -> None:
        outbox.mark_alive(connection, self._owner)
        tenants = sorted({lane.tenant_id for lane in self._lanes})
        with tenant_transaction(connection, tenants):
            outbox.release_unsent(connection, self._owner, self._in_flight)


async def _send_in_time(client: ChannelClient, message: Message) -> SendResult:
    try:
        async with asyncio.timeout(SEND_LIMIT):
            return await client.send(message)
    except TimeoutError:
        return replace(failed(message.channel, "timeout", f"{SEND_LIMIT} s"), is_unanswered=True)
    except Exception as error:
        # A client must not raise. If it does, the error concerns only this message.
        return failed(message.channel, "connection_lost", type(error).__name__)


def _return_times(sent: Sequence[SendAttempt], now: datetime) -> dict[str, float]:
    """The times (``time.monotonic``) at which messages that a rate limit refused are due again, by message id."""
    moment = time.monotonic()
    return {
        entry.claimed.message.message_id: moment
        + (entry.transition.next_attempt_at - now).total_seconds()
        + 0.01
        for entry in sent
        if entry.result.is_refused_for_rate
    }


def _lane_key(asked: _Asked) -> tuple[str, str]:
    return asked.exchange.lane.tenant_id, asked.exchange.lane.channel
