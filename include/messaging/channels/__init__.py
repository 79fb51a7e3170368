"""The services' clients: one per tenant and channel, all with the same face (``ChannelClient``)."""

from __future__ import annotations

from collections.abc import Collection

import aiohttp

from include.messaging.channels.base import ChannelClient, Finding, NotConfigured
from include.messaging.channels.email import EmailClient
from include.messaging.channels.line_works import LineWorksClient
from include.messaging.channels.slack import SlackClient
from include.messaging.channels.teams import TeamsClient
from include.messaging.message import (
    ChannelConfig,
    EmailConfig,
    LineWorksConfig,
    SlackConfig,
    TeamsConfig,
)

__all__ = ["ChannelClient", "Finding", "NotConfigured", "connect"]


def connect(
    config: ChannelConfig,
    session: aiohttp.ClientSession,
    *,
    allowed_hosts: Collection[str] = (),
    smtp_timeout: float = 30,
    smtp_pause: float = 1,
) -> ChannelClient:
    """The client that a tenant's settings ask for. No network yet; keep it for all the tenant's messages of a run.

    ``session`` is from ``guarded_session`` with the same ``allowed_hosts``, and the same for all clients; ``smtp_timeout`` and
    ``smtp_pause`` (before a mail server that refuses a single letter for its rate is asked again) are in seconds.
    """
    match config:
        case EmailConfig():
            return EmailClient(config, timeout=smtp_timeout, pause=smtp_pause)
        case SlackConfig():
            return SlackClient(config, session, allowed_hosts)
        case TeamsConfig():
            return TeamsClient(config, session, allowed_hosts)
        case LineWorksConfig():
            return LineWorksClient(config, session, allowed_hosts)
