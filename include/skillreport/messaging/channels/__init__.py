"""The clients of the services: one per tenant and channel, all with the interface ``ChannelClient``."""

from __future__ import annotations

from collections.abc import Collection

import aiohttp

from include.skillreport.core.network import EmailConfig
from include.skillreport.messaging.channels.base import ChannelClient, Finding, NotConfigured
from include.skillreport.messaging.channels.email import EmailClient
from include.skillreport.messaging.channels.line_works import LineWorksClient
from include.skillreport.messaging.channels.slack import SlackClient
from include.skillreport.messaging.channels.teams import TeamsClient
from include.skillreport.messaging.message import ChannelConfig, LineWorksConfig, SlackConfig, TeamsConfig

__all__ = ["ChannelClient", "Finding", "NotConfigured", "connect"]


def connect(
    config: ChannelConfig,
    session: aiohttp.ClientSession,
    *,
    allowed_hosts: Collection[str] = (),
    smtp_timeout: float = 30,
) -> ChannelClient:
    """The client for a configuration. It opens no connection yet; use it for all of the tenant's messages in a run.

    ``session`` is one ``guarded_session`` with the same ``allowed_hosts`` for all clients. ``smtp_timeout`` is in
    seconds for each answer of a mail server.
    """
    match config:
        case EmailConfig():
            return EmailClient(config, timeout=smtp_timeout, allowed_hosts=allowed_hosts)
        case SlackConfig():
            return SlackClient(config, session, allowed_hosts)
        case TeamsConfig():
            return TeamsClient(config, session, allowed_hosts)
        case LineWorksConfig():
            return LineWorksClient(config, session, allowed_hosts)
