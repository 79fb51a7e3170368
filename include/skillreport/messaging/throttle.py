"""The rate of sending to a service. A refusal by a rate limit lowers it; it is then raised slowly.

A limit belongs to a service's account, not to a tenant: all lanes with the same mail server, workspace or webhook share a ``Throttle``. A
lane takes slots before it claims messages, so a claimed message never waits for its turn.

The rates follow AIMD (additive increase, multiplicative decrease) with a memory. After a refusal the rate is halved. Within seconds it
returns to just below the earlier accepted rate, and rises slowly from there. Without the memory, a third of a limit would be unused. The
rate is not halved if a refusal only confirms the known limit, or states a short wait after many messages. Times are seconds of
``time.monotonic``.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass
from datetime import timedelta

# The share of the last refused rate to which a halved rate returns quickly, and the time constant of that return in seconds.
_SAFE_SHARE = 0.95
_RETURN_SECONDS = 1.5
# From this share of the safe rate on, the return is over.
_RETURNED_SHARE = 0.999
# How much the rate rises per second above that. After this many seconds and messages without a refusal, the limit may be higher than
# expected. The rise then doubles every ``_DOUBLING_SECONDS``, up to ``_SEARCH_PER_SECOND``. A limit that was only estimated from the first
# refusal is searched from the start.
_RISE_PER_SECOND = 0.002
_STEADY_SECONDS = 30.0
_STEADY_MESSAGES = 50
_DOUBLING_SECONDS = 5.0
_SEARCH_PER_SECOND = 0.25
# A refusal near the earlier refused rate, after this many seconds, confirms it. The rate is not halved, and the pause is short.
_NEAR_KNEE = 1.1
_CONFIRMED_SECONDS = 10.0
_CONFIRMED_PAUSE = 0.2
# The lowest rate, in messages per minute.
_SLOWEST = 1.0

# The period over which the accepted messages are counted.
_OBSERVED_SECONDS = 60.0

# The first pause after a refusal without a stated wait. It doubles with each refusal in a row.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0

# A stated wait of this length belongs to a limit of hours or days, so it does not change the rate.
_LONG_WAIT = timedelta(minutes=10)

# If a service states a wait up to this length after ``_STEADY_MESSAGES`` accepted messages, the wait is sufficient. The service counts
# bursts and limits the sender itself. A lower rate would only be refused later, and lowered each time.
_SHORT_WAIT = timedelta(seconds=10)

# If an answer takes this long, the server delays instead of refusing.
_SLOW_ANSWER = 5.0

# After this time without a refusal one more connection is tried, up to one less than were refused; after the longer time one more.
_MORE_CONNECTIONS_SECONDS = 60.0
_TRY_REFUSED_SECONDS = 600.0


@dataclass(frozen=True)
class Limit:
    """A limit as it is known before the first send.

    ``key`` identifies it and contains no secret. ``per_minute`` is the rate at the start (None: as fast as possible), ``most_per_minute``
    the maximum rate. ``burst`` is the number of messages that may follow each other at once, ``at_once`` the number of parallel sends.
    ``delays``: the service may delay its answers instead of refusing (a mail server). ``label`` names a mail server for operators.
    ``destination_seconds``: the pause between two messages to one destination (0: none). ``halved_after``: after this many seconds of a
    run, half of the rate is used. ``is_shared``: the installation's mail server, which several tenants share.
    """

    key: str
    per_minute: float | None = None
    most_per_minute: float | None = None
    burst: int = 1
    at_once: int = 100
    delays: bool = False
    label: str = ""
    destination_seconds: float = 0.0
    halved_after: float = math.inf
    is_shared: bool = False


@dataclass(frozen=True)
class Learnt:
    """The knowledge of a throttle that is stored for the next run. ``blocked_seconds``: the service refuses everything for this long."""

    per_minute: float | None
    at_once: int
    blocked_seconds: float


class Throttle:
    """The slots of one limit, for one event loop. ``join`` and ``leave`` count the lanes that share it."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._rate = limit.per_minute
        self._most = limit.most_per_minute or math.inf
        self._stated: float | None = None
        self._knee: float | None = None
        self._is_knee_tried = True
        self._tokens = float(limit.burst)
        self._created_at = self._refilled_at = self._raised_at = time.monotonic()
        self._changed_at = -math.inf
        # The messages that were sent and accepted since then.
        self._taken = 0
        self._at_once = limit.at_once
        self._refused_at_once: int | None = None
        self._connections_changed_at = self._created_at
        self._under_way = 0
        self._blocked_until = 0.0
        self._is_closed = False
        self._pause = _FIRST_PAUSE
        # A delayed lane catches up this many seconds. A service may refuse that too.
        self._catch_up_seconds = 1.0
        # Whether the lanes want more than the rate allows, and whether the last request for slots got none.
        self._is_used = self._was_short = False
        self._accepted = deque[float](maxlen=10_000)
        self._lanes = 0
        self._senders, self._rank = 1, 0
        self._queue = asyncio.Lock()
        self._released = asyncio.Event()
        self._accepted_at = -math.inf
        self.has_changed = False
        # True if the next accepted e-mail must be recorded (``doubts``): refusals are stored, or it is the first one of this process.
        self.is_doubted = False

    @property
    def accepted_seconds(self) -> float:
        """The seconds since the service accepted a message of this process; infinite: none yet."""
        return time.monotonic() - self._accepted_at

    @property
    def per_minute(self) -> float | None:
        """The present rate of this process in messages per minute; None: as fast as possible."""
        if self._rate is None:
            return None
        return self._rate / self._senders / (2 if self._is_sustained else 1)

    @property
    def at_once(self) -> int:
        """The present number of parallel sends of this process. With more processes than connections, some have none.

        A closed service gets one message from all processes together, as a probe.
        """
        if self._is_closed:
            return int(self._rank == 0)
        if self._senders <= self._at_once:
            return self._at_once // self._senders
        return int(self._rank < self._at_once)

    @property
    def blocked_seconds(self) -> float:
        """The seconds for which the service refuses everything."""
        return max(0.0, self._blocked_until - time.monotonic())

    @property
    def is_closed(self) -> bool:
        """True if the service refuses the installation (login, sender, relay) or is unreachable, and has accepted no message since."""
        return self._is_closed

    @property
    def is_shut(self) -> bool:
        """True if the service is closed, and it is too early for a probe. Lanes do not wait for that."""
        return self._is_closed and time.monotonic() < self._blocked_until

    @property
    def senders(self) -> int:
        """The number of processes that send through this limit."""
        return self._senders

    @property
    def is_in_use(self) -> bool:
        """True if a lane still sends through this limit."""
        return self._lanes > 0

    @property
    def has_waiting_lanes(self) -> bool:
        """True if lanes wait in ``take``."""
        return self._queue.locked()

    def learnt(self) -> Learnt:
        """The knowledge for the next run."""
        rate = self._rate if self._knee is None or self._rate is None else max(self._rate, self._safe_rate())
        return Learnt(rate, self._at_once, self.blocked_seconds)

    def recall(self, learnt: Learnt) -> None:
        """Begin with the knowledge of an earlier run, within the limit's own settings."""
        if learnt.per_minute is not None:
            self._rate = min(learnt.per_minute, self._most)
            self._knee = self._rate / _SAFE_SHARE
        if learnt.at_once < self.limit.at_once:
            self._at_once = learnt.at_once
            self._refused_at_once = learnt.at_once + 1
        self.block(learnt.blocked_seconds)

    def share(self, senders: int, rank: int) -> None:
        """Divide the limit among this number of processes; ``rank`` (from 0) is this process's place among them."""
        self._senders, self._rank = max(1, senders), rank
        self._released.set()

    def close(self, seconds: float) -> bool:
        """Close the service, which refuses the installation or is unreachable: send nothing for this many seconds, then a probe.

        Returns True if this is new: the first refusal, or the refusal of a probe.
        """
        is_new = not self.is_shut
        if is_new:
            self.set_closed(is_closed=True)
            self.block(seconds)
        return is_new

    def reopen(self) -> bool:
        """Reopen the service, which accepted a message. Returns False if it was open, or if no probe was due (an older message)."""
        is_probe = self._is_closed and not self.is_shut
        if is_probe:
            self.set_closed(is_closed=False)
        return is_probe

    def set_closed(self, *, is_closed: bool) -> None:
        """Set the state, which another process may have stored."""
        self._is_closed = is_closed
        self._released.set()

    def join(self) -> None:
        """Another lane sends through this limit."""
        self._lanes += 1

    def leave(self) -> None:
        """A lane has no more messages to send."""
        self._lanes -= 1

    def take_now(self, most: int) -> int:
        """Take up to ``most`` free slots; returns their number. ``accepted``, ``settled``, ``refused`` and ``give_back`` return them."""
        now = time.monotonic()
        if now < self._blocked_until:
            return 0
        share = math.ceil(self.at_once / max(1, self._lanes))
        taken = min(most, share, self.at_once - self._under_way)
        if self.per_minute is not None:
            self._refill(now)
            wanted, taken = taken, min(taken, int(self._tokens))
            self._is_used = self._was_short or taken < wanted
            self._was_short = taken <= 0
        if taken <= 0:
            return 0
        self._tokens -= taken
        self._under_way += taken
        return taken

    async def take(self, most: int, until: float) -> int:
        """Wait for slots, first come first served, and take up to ``most``; 0 if there are none before ``until``."""
        async with self._queue:
            while not (taken := self.take_now(most)):
                if self.is_shut:
                    return 0
                now = time.monotonic()
                if self._under_way >= self.at_once and now >= self._blocked_until:
                    if not await self._wait_for_release(until - now):
                        return 0
                    continue
                wait = self._seconds_to_slot(now)
                if now + wait > until:
                    return 0
                await asyncio.sleep(wait)
            return taken

    def give_back(self, slots: int) -> None:
        """Return slots for which no message was found."""
        self._tokens = min(self._tokens + slots, self._burst)
        self._release(slots)

    def accepted(self, sent_at: float, per_minute: float | None = None) -> None:
        """The service accepted a message that was sent at ``sent_at``. ``per_minute`` is the limit that the service stated, if any."""
        now = self._accepted_at = time.monotonic()
        self._release(1)
        self._pause = _FIRST_PAUSE
        self._accepted.append(now)
        self._taken += sent_at > self._changed_at
        while self._accepted[0] < max(self._changed_at, now - 5 * _OBSERVED_SECONDS):
            self._accepted.popleft()
        if per_minute is not None and per_minute != self._stated and self._rate is not None:
            self._stated = per_minute
            self._rate = self._most = min(per_minute, self.limit.most_per_minute or math.inf)
            return
        if self.limit.delays and now - sent_at >= _SLOW_ANSWER:
            self._slow_down(sent_at, now)
            return
        self._raise_rate(now)
        self._raise_connections(now)

    def settled(self, sent_at: float) -> None:
        """The result of a message, sent at ``sent_at``, does not depend on the rate. Only its duration counts."""
        now = time.monotonic()
        self._release(1)
        if self.limit.delays and now - sent_at >= _SLOW_ANSWER:
            self._slow_down(sent_at, now)

    def refused(self, sent_at: float, wait: timedelta | None, *, for_connections: bool = False) -> None:
        """The service refused a message because of its rate, or of the number of connections. ``wait`` is the wait that it stated.

        Messages that were in flight when the rate was lowered do not lower it again.
        """
        now = time.monotonic()
        under_way = self._under_way
        self._release(1)
        self.has_changed = True
        # While everything is blocked, only messages with earlier slots can be refused.
        is_new = sent_at > self._changed_at and now >= self._blocked_until
        if wait is not None:
            self.block(wait.total_seconds())
        elif is_new and not for_connections and self._confirms_knee(now):
            self.block(_CONFIRMED_PAUSE)
        elif is_new:
            self.block(self._pause)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        if not is_new or (wait is not None and wait >= _LONG_WAIT):
            return
        if for_connections and self.at_once > 1:
            self._refused_at_once = max(2, under_way) * self._senders
            self._at_once = max(1, min(self.at_once // 2, under_way - 1)) * self._senders
            self._connections_changed_at = self._changed_at = now
            return
        is_paced = wait is not None and wait <= _SHORT_WAIT and self._taken >= _STEADY_MESSAGES
        # Until the service accepts a message at the present rate, it still counts messages of the earlier rate.
        is_early = math.isfinite(self._changed_at) and self._rate is not None and not self._taken
        if is_paced or is_early:
            self._changed_at, self._taken = now, 0
            return
        present = self._observed(now) * self._senders if self._rate is None else self._rate
        if present:
            share = _SAFE_SHARE if self._confirms_knee(now) else 0.5
            self._knee, self._is_knee_tried = present, self._rate is not None
            self._rate = max(share * present, _SLOWEST)
            # Without a rate, the slots were not counted.
            self._tokens, self._refilled_at = 0.0, now
            self._catch_up_seconds /= 2
        self._changed_at = self._raised_at = now
        self._taken = 0

    def block(self, seconds: float) -> None:
        """Send nothing for this many seconds."""
        self._blocked_until = max(self._blocked_until, time.monotonic() + seconds)

    @property
    def _is_sustained(self) -> bool:
        """True if only half of the rate is used."""
        return time.monotonic() - self._created_at >= self.limit.halved_after

    @property
    def _burst(self) -> float:
        return max(self.limit.burst, self._catch_up_seconds * (self.per_minute or 0) / 60)

    def _confirms_knee(self, now: float) -> bool:
        """True if a refusal now is at a rate that was refused before, and was accepted for a while since."""
        return (
            self._rate is not None
            and self._knee is not None
            and self._rate <= _NEAR_KNEE * self._knee
            and now - self._changed_at >= _CONFIRMED_SECONDS
        )

    def _safe_rate(self) -> float:
        return _SAFE_SHARE * (self._knee or math.inf)

    def _refill(self, now: float) -> None:
        assert self.per_minute is not None
        grown = self._tokens + (now - self._refilled_at) * self.per_minute / 60
        self._tokens = min(grown, self._burst)
        self._refilled_at = now

    def _seconds_to_slot(self, now: float) -> float:
        by_rate = 0.0 if self.per_minute is None else (1 - self._tokens) * 60 / self.per_minute
        # A little longer, so that rounding does not wake the lane too early.
        return max(self._blocked_until - now, by_rate, 0.0) + 0.001

    async def _wait_for_release(self, seconds: float) -> bool:
        """Wait until a slot is given back. Returns False if none was."""
        self._released.clear()
        try:
            async with asyncio.timeout(max(0.0, min(seconds, 86_400))):
                await self._released.wait()
        except TimeoutError:
            return False
        return True

    def _release(self, slots: int) -> None:
        self._under_way -= slots
        self._released.set()

    def _observed(self, now: float) -> float:
        """The accepted messages per minute, of this process, since the last change of the rate."""
        begin = max(now - _OBSERVED_SECONDS, self._changed_at, self._created_at)
        if len(self._accepted) == self._accepted.maxlen:
            begin = max(begin, self._accepted[0])
        return 60 * sum(moment >= begin for moment in self._accepted) / max(now - begin, 1.0)

    def _slow_down(self, sent_at: float, now: float) -> None:
        """The server delays its answers, so it limits the rate itself. With fewer connections each answer comes sooner."""
        if sent_at <= self._connections_changed_at:
            return
        at_once = self._at_once * _SLOW_ANSWER / (now - sent_at)
        self._at_once = max(1, min(self._at_once - 1, int(at_once)))
        self._refused_at_once = self._at_once + 1
        self._connections_changed_at = now
        self.has_changed = True

    def _raise_rate(self, now: float) -> None:
        if self._rate is None or self._is_sustained:
            return
        seconds = min(now - self._raised_at, 10.0)
        self._raised_at = now
        if not self._is_used:
            # The lanes want less than the rate, so the absence of refusals does not justify a higher one.
            return
        # The return approaches the safe rate and never reaches it.
        if self._knee is not None and self._rate < _RETURNED_SHARE * self._safe_rate():
            self._rate += (self._safe_rate() - self._rate) * -math.expm1(-seconds / _RETURN_SECONDS)
        elif self._is_knee_tried:
            self._rate *= 1 + self._rise_per_second(now) * seconds
        else:
            self._rate *= 1 + _SEARCH_PER_SECOND * min(seconds, 1.0)
        self._rate = min(self._rate, self._most)

    def _rise_per_second(self, now: float) -> float:
        """The rise above a rate that the service accepted before. The longer it accepts all messages, the higher its limit must be."""
        quiet = now - max(self._changed_at, self._created_at) - _STEADY_SECONDS
        if quiet < 0 or self._taken < _STEADY_MESSAGES:
            return _RISE_PER_SECOND
        return float(min(_RISE_PER_SECOND * 2 ** (quiet / _DOUBLING_SECONDS), _SEARCH_PER_SECOND))

    def _raise_connections(self, now: float) -> None:
        if self._at_once >= self.limit.at_once:
            return
        quiet = now - self._connections_changed_at
        may_pass = self._refused_at_once is None or self._at_once + 1 < self._refused_at_once
        if quiet >= (_MORE_CONNECTIONS_SECONDS if may_pass else _TRY_REFUSED_SECONDS):
            self._at_once += 1
            self._connections_changed_at = now
