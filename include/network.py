"""The network settings of an installation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class EmailConfig:
    """An SMTP server. ``security`` is ``tls`` (from the first byte), ``starttls`` or ``none`` (local stand-ins).

    ``is_tenants``: a tenant entered it, so the address guard applies.
    """

    host: str
    port: int
    sender: str
    login: str = ""
    password: str = field(default="", repr=False)
    security: str = "starttls"
    unsubscribe_url: str = ""
    is_tenants: bool = False


@dataclass(frozen=True)
class Network:
    """The mail server, and hosts (``host:port``) whose address may be private (local stand-ins).

    ``mask`` registers a tenant's secret, so that the logs hide it.
    """

    email: EmailConfig | None = None
    allowed_hosts: frozenset[str] = frozenset()
    mask: Callable[[str], None] | None = field(default=None, repr=False)
