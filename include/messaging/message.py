"""What is sent, and with which of a tenant's credentials. Values only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from include.messaging.outcome import Channel

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class Message:
    """One message to one destination, rendered.

    ``message_id`` is the outbox's id and stays the same over retries. ``destination`` is an e-mail address, a Slack channel or user id, or
    ``users/ID`` and ``channels/ID`` of LINE WORKS; Teams has none, its webhook is the destination. ``text`` is there for every channel;
    ``rich`` is the channel's own form: HTML (a string), Slack blocks or the body of an Adaptive Card (lists). Addresses and texts stay out
    of the repr, and so out of logs.
    """

    message_id: str
    tenant_id: str
    channel: Channel
    destination: str = field(repr=False)
    subject: str = field(repr=False)
    text: str = field(repr=False)
    rich: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class SlackConfig:
    """A bot token, or an incoming webhook in its place."""

    token: str = field(default="", repr=False)
    webhook_url: str = field(default="", repr=False)
    base_url: str = "https://slack.com/api/"


@dataclass(frozen=True)
class TeamsConfig:
    """A Workflows (Power Automate) webhook; its query holds the secret."""

    webhook_url: str = field(repr=False)


@dataclass(frozen=True)
class LineWorksConfig:
    """A bot and the service account that speaks for it. ``domain_id``: whose directory is read, where a company has several."""

    bot_id: str
    client_id: str
    client_secret: str = field(repr=False)
    service_account: str
    private_key: str = field(repr=False)
    scope: str = "bot bot.message"
    auth_url: str = "https://auth.worksmobile.com/oauth2/v2.0/token"
    base_url: str = "https://www.worksapis.com/v1.0/"
    domain_id: str = ""


@dataclass(frozen=True)
class EmailConfig:
    """An SMTP server. ``security`` is ``tls`` (from the first byte), ``starttls`` or ``none`` (local stand-ins)."""

    host: str
    port: int
    sender: str
    login: str = ""
    password: str = field(default="", repr=False)
    security: str = "starttls"
    unsubscribe_url: str = ""


ChannelConfig = SlackConfig | TeamsConfig | LineWorksConfig | EmailConfig


def secrets_of(config: DataclassInstance) -> list[str]:
    """The values of a configuration that must never be seen: those that its repr leaves out."""
    return [value for each in fields(config) if not each.repr and (value := getattr(config, each.name))]


@dataclass(frozen=True)
class Network:
    """What the installation sends through: its mail server, and hosts (``host:port``) that may be private (local stand-ins).

    ``mask`` is told a tenant's secrets before they are used, to keep them out of whatever is logged.
    """

    email: EmailConfig | None = None
    allowed_hosts: frozenset[str] = frozenset()
    mask: Callable[[str], None] | None = field(default=None, repr=False)
