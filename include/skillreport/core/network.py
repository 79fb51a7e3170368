"""The network settings of an installation."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field


@dataclass(frozen=True)
class OAuthConfig:
    """OAuth 2 client credentials (RFC 6749, section 4.4), or a fixed ``access_token``.

    ``mask`` registers a fetched token, so that logs hide it.
    """

    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    token_url: str = ""
    scope: str = ""
    access_token: str = field(default="", repr=False)
    mask: Callable[[str], None] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class EmailConfig:
    """An SMTP server. ``security`` is ``tls`` (from the first byte), ``starttls`` or ``none`` (local stand-ins).

    ``sender`` is the From address, with or without a display name. ``reply_to``, ``envelope_sender`` (default: the From address) and
    ``unsubscribe_address`` are addresses or empty. In the last two and in ``unsubscribe_url`` (RFC 8058), ``{token}`` becomes the message's
    id in the outbox, which identifies the message of a bounce or an unsubscription. With ``oauth`` the login is XOAUTH2 instead of the
    password. ``is_tenants``: a tenant entered the server, so the address guard applies. ``connections`` and ``messages_per_minute`` (None:
    unknown) are upper limits. The sender learns lower limits from the server's answers.
    """

    host: str
    port: int
    sender: str
    login: str = ""
    password: str = field(default="", repr=False)
    security: str = "starttls"
    reply_to: str = ""
    envelope_sender: str = ""
    unsubscribe_address: str = ""
    unsubscribe_url: str = ""
    oauth: OAuthConfig | None = None
    is_tenants: bool = False
    connections: int = 20
    messages_per_minute: int | None = None


@dataclass(frozen=True)
class MailboxConfig:
    """An IMAP mailbox with bounces, complaints and unsubscriptions. ``security`` is as in ``EmailConfig``.

    A read mail is marked as read, and moved to the folder ``move_to`` if it is set.
    """

    host: str
    port: int
    login: str
    password: str = field(default="", repr=False)
    security: str = "tls"
    oauth: OAuthConfig | None = None
    folder: str = "INBOX"
    move_to: str = ""


@dataclass(frozen=True)
class Network:
    """The mail server, the feedback mailbox, and hosts (``host:port``) that may have private addresses (local stand-ins).

    ``mask`` registers secrets, so that logs hide them. One call for all secrets is much faster than one call each.
    """

    email: EmailConfig | None = None
    allowed_hosts: frozenset[str] = frozenset()
    mask: Callable[[Collection[str]], None] | None = field(default=None, repr=False)
    mailbox: MailboxConfig | None = None
