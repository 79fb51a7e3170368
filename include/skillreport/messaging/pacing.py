"""The services' limits: the limit of a lane, and the pace of a single destination.

A limit applies to the unit that the service counts: a mail server's login, a Slack workspace (here: a bot token), a webhook or workflow
URL, a LINE WORKS bot. Tenants that share a unit share its ``Throttle``. Sources: the services' documentation, as of 2026.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from datetime import timedelta

from include.skillreport.messaging.channels import channel_of_config
from include.skillreport.messaging.channels.channel import ChannelConfig
from include.skillreport.messaging.doubts import SENDER_REJECTED, Doubts
from include.skillreport.messaging.message import Message
from include.skillreport.messaging.outcome import ErrorClass, Outcome, SendResult, failed
from include.skillreport.messaging.retry import CLOSES_CHANNEL
from include.skillreport.messaging.throttle import Limit, Throttle

# The share of a known limit that is used. At exactly the limit, every delay on the network would cause a refusal.
_SAFE_SHARE = 0.97

# Answers about a single message. The service accepts the installation, otherwise it would not check the message.
_ABOUT_MESSAGE = frozenset(
    {ErrorClass.ADDRESS, ErrorClass.DESTINATION, ErrorClass.PAYLOAD, ErrorClass.RECIPIENT_LIMIT}
)

# The time from a refused login or sender, or a timeout, to the next probe. Answers of class *access* have their own in the table.
_PROBE_PAUSE = timedelta(minutes=15)

# After this many answers, the shortest way back of an answer is known.
_ANSWERS_TO_KNOW = 100


def limit_of(config: ChannelConfig | None, own_per_minute: int | None = None, tenant_id: str = "") -> Limit:
    """The limit that applies to a lane with this configuration.

    ``own_per_minute`` is the tenant's own limit (``rate_limit_per_minute``) in messages per minute. A tenant's own mail server has its own
    limit, because any tenant can enter another's login. Without a configuration nothing is sent, so there is no limit.
    """
    if config is None:
        return Limit("")
    limit = channel_of_config(config).limit(config, tenant_id)
    if own_per_minute:
        # Not shared with tenants whose own limit is different or missing.
        rate = min(limit.per_minute or own_per_minute, own_per_minute)
        key = f"{limit.key}:{own_per_minute}"
        limit = replace(limit, key=key, per_minute=rate, most_per_minute=rate, burst=1)
    return replace(
        limit,
        per_minute=limit.per_minute and _SAFE_SHARE * limit.per_minute,
        most_per_minute=limit.most_per_minute and _SAFE_SHARE * limit.most_per_minute,
        destination_seconds=limit.destination_seconds / _SAFE_SHARE,
    )


class DestinationPaces:
    """The pace of each destination of one service: one message per ``seconds``. Times are those of ``time.monotonic``."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._free_at: dict[str, float] = {}
        self._answers = 0
        self._quickest = math.inf
        self._refused_until: dict[str, float] = {}

    def busy(self) -> list[str]:
        """The destinations that may not get a message yet."""
        self._free_at = _future(self._free_at)
        return list(self._free_at)

    def block(self, destination: str, seconds: float) -> None:
        """Block the destination for this many seconds."""
        free_at = time.monotonic() + seconds
        self._free_at[destination] = max(free_at, self._free_at.get(destination, free_at))

    def answered(self, destination: str, sent_at: float) -> None:
        """The service accepted a message that was sent to the destination at ``sent_at``.

        The message arrived at the latest when the answer came, less the shortest known way back. The next message may be sent
        ``seconds`` after that, even if this one was slow, because the first messages open connections.
        """
        now = time.monotonic()
        self._answers += 1
        self._quickest = min(self._quickest, now - sent_at)
        usual = self._quickest if self._answers > _ANSWERS_TO_KNOW else 0.0
        self.block(destination, self.seconds - usual)

    def refuse(self, destination: str, seconds: float) -> None:
        """The service refused a message to the destination, and asks to wait this long."""
        self.block(destination, seconds)
        self._refused_until[destination] = self._free_at[destination]

    def is_refused_elsewhere(self, destination: str) -> bool:
        """True if another destination was refused and still waits. The service may then have reached its limit."""
        self._refused_until = _future(self._refused_until)
        return bool(self._refused_until.keys() - {destination})

    def next_free(self) -> float | None:
        """The seconds until the first busy destination is free; None: none is busy."""
        now = time.monotonic()
        return max(0.0, min(self._free_at.values()) - now) if self._free_at else None


def _future(moments: dict[str, float]) -> dict[str, float]:
    now = time.monotonic()
    return {key: moment for key, moment in moments.items() if moment > now}


class LanePace:
    """The limits of one lane: its service's throttle, the paces of destinations if the service limits them, and the service's refusals."""

    def __init__(
        self, throttle: Throttle, destinations: DestinationPaces | None = None, doubts: Doubts | None = None
    ) -> None:
        self.throttle = throttle
        self.destinations = destinations
        self.doubts = doubts or Doubts(throttle)

    def busy(self) -> list[str] | None:
        """The destinations that may not get a message yet; None: destinations have no pace of their own."""
        return None if self.destinations is None else self.destinations.busy()

    def starts(self, destination: str) -> None:
        """Record that a message is sent to the destination now."""
        if self.destinations is not None:
            # Each process that sends through the service knows only its own messages.
            self.destinations.block(destination, self.destinations.seconds * self.throttle.senders)

    def understood(self, message: Message, result: SendResult) -> SendResult:
        """The result by its meaning: an answer may be about the service instead of the message.

        If all tenants share the service, a refused login or sender concerns all of them, not one tenant's channel.
        """
        error = result.error
        if error is None:
            return result
        is_of_all = error.error_class in CLOSES_CHANNEL and self.throttle.limit.is_shared
        if is_of_all and result.is_answer:
            # The answer to one e-mail: other e-mails show whether the server refuses the sender.
            return failed(message.channel, SENDER_REJECTED, result.detail)
        if is_of_all or self.doubts.is_unknown_to_all(message, result):
            access = replace(
                error, outcome=Outcome.TRANSIENT, error_class=ErrorClass.ACCESS, wait=_PROBE_PAUSE
            )
            return replace(result, outcome=Outcome.TRANSIENT, error=access)
        if self.doubts.is_repeated_wait(message.destination, result):
            return failed(message.channel, error.if_repeated, result.detail)
        return result

    def closes_or_reopens(self, result: SendResult) -> bool:
        """Close or reopen the service by the result of a send, after ``ends``. Returns True if this must be stored."""
        error = result.error
        is_unreachable = self.doubts.is_unreachable(result)
        if result.is_unanswered:
            return is_unreachable and self.throttle.close(_PROBE_PAUSE.total_seconds())
        if error is not None and error.error_class is ErrorClass.ACCESS:
            assert error.wait is not None, "the table has the time to the next probe"
            return self.throttle.close(error.wait.total_seconds())
        is_accepted = error is None or (error.error_class in _ABOUT_MESSAGE and not result.is_doubtful)
        return is_accepted and self.throttle.reopen()

    def ends(self, destination: str, sent_at: float, result: SendResult) -> timedelta | None:
        """Record the end of a send that began at ``sent_at``. Returns the destination's wait after a refusal by a rate limit."""
        throttle, error = self.throttle, result.error
        if error is None:
            if self.destinations is not None:
                self.destinations.answered(destination, sent_at)
            throttle.accepted(sent_at, result.per_minute and _SAFE_SHARE * result.per_minute)
            return None
        if not result.is_refused_for_rate:
            throttle.settled(sent_at)
            return None
        wait = result.retry_after or error.wait
        if self.destinations is not None:
            others_too = self.destinations.is_refused_elsewhere(destination)
            pause = wait or timedelta(seconds=self.destinations.seconds)
            self.destinations.refuse(destination, pause.total_seconds())
            if not others_too:
                # Slack does not say which limit was reached. If only one destination was refused, its own limit was reached.
                throttle.settled(sent_at)
                return pause
        throttle.refused(sent_at, wait, for_connections=error.limits_connections)
        return timedelta(seconds=throttle.blocked_seconds)


class Paces:
    """The paces of the lanes of one process. Lanes with the same limit share a throttle."""

    def __init__(self) -> None:
        self.throttles: dict[str, Throttle] = {}
        self._destinations: dict[str, DestinationPaces] = {}
        self._doubts: dict[str, Doubts] = {}

    def pace(
        self, config: ChannelConfig | None, own_per_minute: int | None = None, tenant_id: str = ""
    ) -> LanePace:
        """The pace of a tenant's lane with this configuration; ``own_per_minute`` is the tenant's own limit."""
        limit = limit_of(config, own_per_minute, tenant_id)
        throttle = self.throttles.setdefault(limit.key, Throttle(limit))
        doubts = self._doubts.setdefault(limit.key, Doubts(throttle))
        if not limit.destination_seconds:
            return LanePace(throttle, doubts=doubts)
        paces = self._destinations.setdefault(limit.key, DestinationPaces(limit.destination_seconds))
        return LanePace(throttle, paces, doubts)
