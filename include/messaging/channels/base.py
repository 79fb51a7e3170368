"""What every channel's client does, whichever service is behind it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from include.messaging.message import Message
from include.messaging.outcome import Channel, ErrorCode, SendResult, failed


@dataclass(frozen=True)
class Finding:
    """One thing that the daily check of a channel's settings found.

    A transient ``error`` says that the service could not be asked, any other that nothing will arrive until somebody mends it.
    ``destination`` is set where the finding is about one destination only; it is personal data, and so not in the repr.
    """

    error: ErrorCode
    detail: str = ""
    destination: str = field(default="", repr=False)


class ChannelClient(Protocol):
    """One tenant's way into one service. Safe for several messages at once; none of its methods raises for what a service does."""

    def check(self, message: Message) -> SendResult | None:
        """What is wrong with the settings or the message, told without the network; None: it may be sent."""

    async def send(self, message: Message) -> SendResult:
        """Send one message, once; ``check`` included. Nothing is tried again that may have arrived."""

    async def validate(self, destinations: Collection[str] = ()) -> list[Finding]:
        """The daily check of the settings, and of destinations that they name. Never sends a message."""

    async def aclose(self) -> None:
        """Let go of connections of its own; the session stays open. For ``contextlib.aclosing``."""


class NotConfigured:
    """A ``ChannelClient`` in the place of a channel that has no settings: every message waits until it has."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def check(self, message: Message) -> SendResult:  # noqa: ARG002
        """See ``ChannelClient``."""
        return failed(self._channel, "not_configured")

    async def send(self, message: Message) -> SendResult:
        """See ``ChannelClient``."""
        return self.check(message)

    async def validate(self, destinations: Collection[str] = ()) -> list[Finding]:  # noqa: ARG002
        """See ``ChannelClient``."""
        return finding(failed(self._channel, "not_configured"))

    async def aclose(self) -> None:
        """Nothing of its own."""


def finding(result: SendResult | None, destination: str = "") -> list[Finding]:
    """The finding that a result amounts to: one, or none for a success."""
    if result is None or result.error is None:
        return []
    return [Finding(result.error, result.detail, destination)]
