"""The interface of all channels' clients."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from typing_extensions import override

from include.skillreport.messaging.message import Message
from include.skillreport.messaging.outcome import Channel, ErrorCode, SendResult, failed


@dataclass(frozen=True)
class Finding:
    """A problem that the daily check of a channel's settings found.

    A transient ``error`` means that the service did not answer. With any other error, no message arrives until an operator fixes it.
    ``destination`` is set if the finding concerns one destination. It is personal data, so the repr omits it.
    """

    error: ErrorCode
    detail: str = ""
    destination: str = field(default="", repr=False)


class ChannelClient(Protocol):
    """A client for one tenant and one service. Several messages may be sent concurrently. Errors of the service are results, not raised."""

    def check(self, message: Message) -> SendResult | None:
        """The problem of the settings or the message, checked without the network; None: the message may be sent."""

    async def send(self, message: Message) -> SendResult:
        """Check and send one message. A request that may have arrived is not repeated."""

    async def validate(self, destinations: Collection[str] = ()) -> list[Finding]:
        """Check the settings and these destinations, without sending a message."""

    async def aclose(self) -> None:
        """Close the client's own connections, by default none; the session stays open. For ``contextlib.aclosing``."""
        return


class NotConfigured(ChannelClient):
    """The client of a channel without settings. Every message waits until there are settings."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    @override
    def check(self, message: Message) -> SendResult:
        return failed(self._channel, "not_configured")

    @override
    async def send(self, message: Message) -> SendResult:
        return self.check(message)

    @override
    async def validate(self, destinations: Collection[str] = ()) -> list[Finding]:
        return finding(failed(self._channel, "not_configured"))


def finding(result: SendResult | None, destination: str = "") -> list[Finding]:
    """The finding for a result, in a list; empty for a success."""
    if result is None or result.error is None:
        return []
    return [Finding(result.error, result.detail, destination)]
