"""The limits of the services: which limit applies to a lane, and the pace of a single Slack channel.

A limit applies to the unit that the service counts: a mail server's login, a Slack workspace (here: a bot token), a webhook or workflow
URL, a LINE WORKS bot. Tenants that share a unit share its ``Throttle``. Sources: the services' documentation, as of 2026.
"""

from __future__ import annotations

import hashlib
import math
import time
from datetime import timedelta

from include.skillreport.core.network import EmailConfig
from include.skillreport.messaging.message import ChannelConfig, LineWorksConfig, SlackConfig, TeamsConfig
from include.skillreport.messaging.outcome import ErrorClass, SendResult
from include.skillreport.messaging.throttle import Limit, Throttle

# Messages per minute. "Several hundred" per workspace; a burst of a few seconds is allowed.
_WORKSPACE_PER_MINUTE, _WORKSPACE_BURST = 600, 60
_WEBHOOK_PER_MINUTE = 60
_WORKFLOW_PER_MINUTE = 240
# The free plan. The paid plans allow more, which the first answer states.
_LINE_WORKS_PER_MINUTE = 60

# The share of a known limit that is used. At exactly the limit, every delay on the network would cause a refusal.
_SAFE_SHARE = 0.97

# The answers about a single message. The service accepts the installation, otherwise it would not look at the message.
_ABOUT_MESSAGE = frozenset(
    {ErrorClass.ADDRESS, ErrorClass.DESTINATION, ErrorClass.PAYLOAD, ErrorClass.RECIPIENT_LIMIT}
)

# Slack allows about one message per second and Slack channel.
CHANNEL_SECONDS = 1 / _SAFE_SHARE
# After this many answers, the shortest way back of an answer is known.
_ANSWERS_TO_KNOW = 100


def limit_of(config: ChannelConfig | None, own_per_minute: int | None = None, tenant_id: str = "") -> Limit:
    """The limit that applies to a lane with this configuration.

    ``own_per_minute`` is the tenant's own limit (``rate_limit_per_minute``) in messages per minute. A tenant's own mail server has its own
    limit, because any tenant can enter another's login. Without a configuration no message is sent, so there is no limit.
    """
    match config:
        case EmailConfig():
            parts = [config.host, str(config.port), config.login, tenant_id if config.is_tenants else ""]
            known, burst, at_once = config.messages_per_minute, 1, config.connections
        case SlackConfig(token="", webhook_url=url):
            parts, known, burst, at_once = [url], _WEBHOOK_PER_MINUTE, 1, 4
        case SlackConfig(token=token):
            parts, known, burst, at_once = (
                [config.base_url, token],
                _WORKSPACE_PER_MINUTE,
                _WORKSPACE_BURST,
                100,
            )
        case TeamsConfig(webhook_url=url):
            parts, known, burst, at_once = [url], _WORKFLOW_PER_MINUTE, 1, 4
        case LineWorksConfig():
            parts = [config.base_url, config.bot_id, config.client_id, config.client_secret]
            known, burst, at_once = _LINE_WORKS_PER_MINUTE, 1, 4
        case None:
            return Limit("")
    # A workspace or a LINE WORKS plan may allow more than the documentation says.
    may_rise = isinstance(config, LineWorksConfig) or (isinstance(config, SlackConfig) and bool(config.token))
    if own_per_minute:
        # Not shared with tenants whose own limit is different or missing.
        parts.append(f"own {own_per_minute}")
        known, may_rise, burst = min(known or own_per_minute, own_per_minute), False, 1
    rate = _SAFE_SHARE * known if known else None
    kind = type(config).__name__.removesuffix("Config").lower()
    digest = hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()[:24]
    return Limit(
        f"{kind}:{digest}",
        per_minute=rate,
        most_per_minute=None if may_rise else rate,
        burst=burst,
        at_once=at_once,
        delays=isinstance(config, EmailConfig),
        label=_label(config),
    )


def _label(config: ChannelConfig) -> str:
    """The server in a sentence for operators. The table of limits contains nothing of a tenant, so its own server has no name."""
    if not isinstance(config, EmailConfig):
        return ""
    return (
        "テナント自身のメールサーバー" if config.is_tenants else f"メールサーバー {config.host}:{config.port}"
    )


class SlackChannels:
    """The pace of each Slack channel of one workspace. Seconds are those of ``time.monotonic``."""

    def __init__(self) -> None:
        self._free_at: dict[str, float] = {}
        self._answers = 0
        self._quickest = math.inf
        self._refused_until: dict[str, float] = {}

    def busy(self) -> list[str]:
        """The channels that may not get a message yet."""
        self._free_at = _future(self._free_at)
        return list(self._free_at)

    def block(self, channel: str, seconds: float) -> None:
        """Block the channel for this many seconds."""
        free_at = time.monotonic() + seconds
        self._free_at[channel] = max(free_at, self._free_at.get(channel, free_at))

    def answered(self, channel: str, sent_at: float) -> None:
        """Slack accepted a message that was sent to the channel at ``sent_at``.

        The message arrived at the latest when the answer came, less the shortest known way back. The next message may be sent a second
        after that, even if this one was slow, because the first messages open connections.
        """
        now = time.monotonic()
        self._answers += 1
        self._quickest = min(self._quickest, now - sent_at)
        usual = self._quickest if self._answers > _ANSWERS_TO_KNOW else 0.0
        self.block(channel, CHANNEL_SECONDS - usual)

    def refuse(self, channel: str, seconds: float) -> None:
        """Slack refused a message to the channel, and asks to wait this long."""
        self.block(channel, seconds)
        self._refused_until[channel] = self._free_at[channel]

    def is_refused_elsewhere(self, channel: str) -> bool:
        """Whether another channel was refused and still waits. The workspace may then have reached its limit."""
        self._refused_until = _future(self._refused_until)
        return bool(self._refused_until.keys() - {channel})

    def next_free(self) -> float | None:
        """The seconds until the first busy channel is free; None: no channel is busy."""
        now = time.monotonic()
        return max(0.0, min(self._free_at.values()) - now) if self._free_at else None


def _future(moments: dict[str, float]) -> dict[str, float]:
    now = time.monotonic()
    return {key: moment for key, moment in moments.items() if moment > now}


class LanePace:
    """The limits of one lane: the throttle of its service and, for a Slack bot, the pace of each Slack channel."""

    def __init__(self, throttle: Throttle, channels: SlackChannels | None = None) -> None:
        self.throttle = throttle
        self.channels = channels

    def busy(self) -> list[str] | None:
        """The destinations that may not get a message yet; None: destinations have no pace of their own."""
        return None if self.channels is None else self.channels.busy()

    def starts(self, destination: str) -> None:
        """Record that a message is sent to the destination now."""
        if self.channels is not None:
            # Each process that sends through the workspace knows only its own messages.
            self.channels.block(destination, CHANNEL_SECONDS * self.throttle.senders)

    def closes_or_reopens(self, result: SendResult) -> bool:
        """After ``ends``: close or reopen the service by the result of a send. Returns whether this must be stored."""
        error = result.error
        if error is not None and error.error_class is ErrorClass.ACCESS:
            assert error.wait is not None, "the table has the time to the next probe"
            return self.throttle.close(error.wait.total_seconds())
        return (error is None or error.error_class in _ABOUT_MESSAGE) and self.throttle.reopen()

    def ends(self, destination: str, sent_at: float, result: SendResult) -> timedelta | None:
        """Record the end of a send that began at ``sent_at``. Returns the wait before the destination is free after a refusal by a rate
        limit.
        """
        throttle, error = self.throttle, result.error
        if error is None:
            if self.channels is not None:
                self.channels.answered(destination, sent_at)
            throttle.accepted(sent_at, result.per_minute and _SAFE_SHARE * result.per_minute)
            return None
        if not result.is_refused_for_rate:
            throttle.settled(sent_at)
            return None
        wait = result.retry_after or error.wait
        if self.channels is not None:
            others_too = self.channels.is_refused_elsewhere(destination)
            self.channels.refuse(destination, wait.total_seconds() if wait else CHANNEL_SECONDS)
            if not others_too:
                # Slack does not say which limit was reached. If only one channel was refused, its own limit was reached.
                throttle.settled(sent_at)
                return wait or timedelta(seconds=CHANNEL_SECONDS)
        throttle.refused(sent_at, wait, for_connections=error.limits_connections)
        return timedelta(seconds=throttle.blocked_seconds)


class Paces:
    """The paces of the lanes of one process. Lanes with the same limit share a throttle."""

    def __init__(self) -> None:
        self.throttles: dict[str, Throttle] = {}
        self._channels: dict[str, SlackChannels] = {}

    def pace(
        self, config: ChannelConfig | None, own_per_minute: int | None = None, tenant_id: str = ""
    ) -> LanePace:
        """The pace of a tenant's lane with this configuration; ``own_per_minute`` is the tenant's own limit."""
        limit = limit_of(config, own_per_minute, tenant_id)
        throttle = self.throttles.setdefault(limit.key, Throttle(limit))
        is_bot = isinstance(config, SlackConfig) and bool(config.token)
        return LanePace(throttle, self._channels.setdefault(limit.key, SlackChannels()) if is_bot else None)
