"""E-mail over SMTP: through the installation's mail server, or through a tenant's own.

A tenant's own server is a row with the key ``smtp_server``: ``auth_config`` has ``username`` and ``password``, the endpoint_url is
``host:587``, and ``connection_config`` has ``use_ssl``, ``use_tls``, ``from_address`` and ``from_name``. It is used only if the setting
``notification.own_mail_server`` allows it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from include.skillreport.core.network import EmailConfig
from include.skillreport.messaging.channels.channel import Channel, Integration, Rendered
from include.skillreport.messaging.channels.email.page import merged_page, page_of
from include.skillreport.messaging.outcome import ErrorClass
from include.skillreport.messaging.throttle import Limit

_PORT = re.compile("[0-9]{1,5}")


class _Email(Channel):
    label = "メール"
    spellings = ("email", "mail")
    integrations = ("smtpserver",)
    # A reminder goes to the employee.
    has_destinations = False
    # A repeated e-mail has the same Message-ID, and mail programs show it once.
    may_repeat = True
    in_flight = 10
    # A mail server's 4xx mostly concerns one recipient.
    service_errors = frozenset({ErrorClass.NETWORK})
    config_type = EmailConfig

    def config_of(self, row: Integration) -> EmailConfig | None:
        host, _, port = row.endpoint_url.rpartition(":")
        login, password = row.credential("username"), row.credential("password")
        sender, name = row.option("from_address"), row.option("from_name")
        if not (host and _PORT.fullmatch(port) and int(port) < 2**16):
            return None
        if not (login and password and sender and sender.isascii()):
            return None
        # STARTTLS unless the row says otherwise: a missing flag must not send a password in clear text.
        security = "none" if row.connection.get("use_tls") is False else "starttls"
        return EmailConfig(
            host=host.strip("[]"),
            port=int(port),
            sender=f"{name} <{sender}>" if name else sender,
            login=login,
            password=password,
            security="tls" if row.connection.get("use_ssl") is True else security,
            is_tenants=True,
        )

    def limit(self, config: EmailConfig, tenant_id: str) -> Limit:
        # Any tenant can enter another's login, so a tenant's own server has its own limit. The table of limits contains no tenant data, so
        # the label does not name the server.
        server = f"メールサーバー {config.host}:{config.port}"
        owner = tenant_id if config.is_tenants else ""
        return Limit(
            self.limit_key(config.host, str(config.port), config.login, owner),
            config.messages_per_minute,
            config.messages_per_minute,
            at_once=config.connections,
            delays=True,
            is_shared=not config.is_tenants,
            label="テナント自身のメールサーバー" if config.is_tenants else server,
        )

    @override
    def compose(self, subject: str, plain: str, marked_up: str, *, is_markdown: bool = False) -> Rendered:
        return Rendered(subject, plain, page_of(subject, marked_up))

    def merge(self, riches: Sequence[Any]) -> Any:
        return merged_page(riches)


EMAIL = _Email("email")
