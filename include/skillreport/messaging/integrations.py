"""The channels of a tenant: its rows of SYS_IntegrationConfig as one configuration per channel.

Credentials are JSON in text columns. No error or log of this module contains them.

==========  =====================================================  ==============================================
channel     auth_config                                            connection_config, endpoint_url
==========  =====================================================  ==============================================
slack       ``bot_token`` or ``webhook_url``                       or the webhook as endpoint_url; ``base_url``
                                                                   (only for stand-ins)
teams       ``webhook_url``                                        or the webhook as endpoint_url
line_works  ``client_id``, ``client_secret``,                      ``bot_id``, ``scope``; ``auth_url``, ``base_url``
            ``service_account``, ``private_key``
email       ``username``, ``password``                             ``host:587`` as endpoint_url; ``use_ssl``,
                                                                   ``use_tls``, ``from_address``, ``from_name``
==========  =====================================================  ==============================================

The application's own rows (``slack_webhook``, ``teams_connector``) count after rows with the batches' keys. Their ``channel``,
``username``, ``icon_emoji``, ``title`` and ``theme_color`` have no effect: Slack and Teams ignore them. Without a usable row, the webhook
comes from the setting TEAMS_WEBHOOK_URL, or else from the newest notification setting that has one.

E-mail goes through the installation's server. A tenant's own server (``smtp_server``) is read only if the setting
``notification.own_mail_server`` allows it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.core.database import Statements
from include.skillreport.core.network import EmailConfig
from include.skillreport.messaging.message import ChannelConfig, LineWorksConfig, SlackConfig, TeamsConfig
from include.skillreport.messaging.outbox import Lane
from include.skillreport.messaging.outcome import Channel

_SQL = Statements(Path(__file__).parent)

_PORT = re.compile("[0-9]{1,5}")
_UNENCODABLE = re.compile("[\x00\ud800-\udfff]")

_SPELLINGS = {
    "slack": Channel.SLACK,
    "teams": Channel.TEAMS,
    "msteams": Channel.TEAMS,
    "microsoftteams": Channel.TEAMS,
    "lineworks": Channel.LINE_WORKS,
    "line": Channel.LINE_WORKS,
    # The application's keys.
    "slackwebhook": Channel.SLACK,
    "teamsconnector": Channel.TEAMS,
    "teamswebhookurl": Channel.TEAMS,
    "smtpserver": Channel.EMAIL,
}

_APPLICATION_KEYS = frozenset({"slackwebhook", "teamsconnector"})


def channel_of(*names: str | None) -> Channel | None:
    """The channel that the first known key or type names, in any spelling (``line-works``, ``lineWorks``, ``MS Teams``)."""
    for name in names:
        channel = _SPELLINGS.get(_letters(name))
        if channel:
            return channel
    return None


def notification_channel(notification_type: str | None) -> Channel | None:
    """The channel of a template or a notification setting. Unlike the channel of an integration, it may be e-mail."""
    return (
        Channel.EMAIL if _letters(notification_type) in ("email", "mail") else channel_of(notification_type)
    )


def load_integrations(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """The active rows of the transaction's tenants in order of precedence: the application's keys first, the latest change last."""
    rows = _SQL.rows(connection, "load_integrations")
    return sorted(rows, key=lambda row: _letters(row["integration_key"]) not in _APPLICATION_KEYS)


def load_channel_rows(
    connection: psycopg.Connection, own_mail_server: Collection[str] = ()
) -> list[dict[str, Any]]:
    """The rows of ``load_integrations``, and the webhooks of settings (``id`` is None) for channels without a usable row.

    ``own_mail_server`` are the tenants that may use their own mail server; the servers of the others are left out.
    """
    rows = [
        row
        for row in load_integrations(connection)
        if _channel_of_row(row) is not Channel.EMAIL or row["tenant_id"] in own_mail_server
    ]
    usable = configs_of(rows)
    webhooks = [
        row
        for row in _SQL.rows(connection, "load_setting_webhooks")
        if configs_of([row]).keys() - usable.keys()
    ]
    return [*webhooks, *rows]


def load_configs(connection: psycopg.Connection) -> dict[Lane, ChannelConfig]:
    """The usable configurations of the transaction's tenants."""
    return configs_of(load_channel_rows(connection))


def reopen_channels(connection: psycopg.Connection) -> None:
    """Reopen the closed channels of the transaction's tenants whose settings were changed after they were closed."""
    _SQL.execute(connection, "reopen_channels", spellings=Jsonb(_SPELLINGS))


def configs_of(rows: Iterable[Mapping[str, Any]]) -> dict[Lane, ChannelConfig]:
    """The usable configurations of the rows. If a channel has several, the last one counts."""
    configs: dict[Lane, ChannelConfig] = {}
    for row in rows:
        channel = _channel_of_row(row)
        config = channel and config_of(channel, row)
        if channel and config:
            configs[Lane(row["tenant_id"], channel)] = config
    return configs


def rate_limits_of(rows: Iterable[Mapping[str, Any]]) -> dict[Lane, int]:
    """The tenants' own limits in messages per minute (``rate_limit_per_minute``)."""
    return {
        Lane(row["tenant_id"], channel): row["rate_limit_per_minute"]
        for row in rows
        if (channel := _channel_of_row(row)) and (row["rate_limit_per_minute"] or 0) > 0
    }


def config_of(channel: Channel, row: Mapping[str, Any]) -> ChannelConfig | None:
    """A row's configuration, or None if a required value is missing."""
    auth = json_object(row["auth_config"]) or {}
    connection = json_object(row["connection_config"]) or {}
    match channel:
        case Channel.SLACK:
            token, webhook = first_text(auth, "bot_token", "token"), _webhook(auth, row)
            base_url = first_text(connection, "base_url") or SlackConfig.base_url
            return SlackConfig(token, webhook, base_url) if token or webhook else None
        case Channel.TEAMS:
            webhook = _webhook(auth, row)
            return TeamsConfig(webhook) if webhook else None
        case Channel.LINE_WORKS:
            needed = [
                first_text(connection, "bot_id") or first_text(auth, "bot_id"),
                *(
                    first_text(auth, name)
                    for name in ("client_id", "client_secret", "service_account", "private_key")
                ),
            ]
            urls = {
                name: value
                for name in ("auth_url", "base_url", "scope", "domain_id")
                if (value := first_text(connection, name))
            }
            return LineWorksConfig(*needed, **urls) if all(needed) else None
        case Channel.EMAIL:
            return _mail_server(auth, connection, first_text(row, "endpoint_url"))


def _channel_of_row(row: Mapping[str, Any]) -> Channel | None:
    return channel_of(row["integration_key"], row["integration_type"])


def _mail_server(auth: Mapping[str, Any], connection: Mapping[str, Any], endpoint: str) -> EmailConfig | None:
    host, _, port = endpoint.rpartition(":")
    login, password = first_text(auth, "username"), first_text(auth, "password")
    sender = first_text(connection, "from_address")
    if not (host and _PORT.fullmatch(port) and int(port) < 2**16):
        return None
    if not (login and password and sender and sender.isascii()):
        return None
    name = first_text(connection, "from_name")
    # STARTTLS unless the row says otherwise: a missing flag must not send a password in clear text.
    security = "none" if connection.get("use_tls") is False else "starttls"
    return EmailConfig(
        host=host.strip("[]"),
        port=int(port),
        sender=f"{name} <{sender}>" if name else sender,
        login=login,
        password=password,
        security="tls" if connection.get("use_ssl") is True else security,
        is_tenants=True,
    )


def _letters(name: str | None) -> str:
    return re.sub(r"[^a-z]", "", (name or "").lower())


def _webhook(auth: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    return first_text(auth, "webhook_url") or first_text(row, "endpoint_url")


def json_object(text: str | None) -> dict[str, Any] | None:
    """The JSON object in a text; empty without text, None if the text is not a JSON object."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def first_text(values: Mapping[str, Any], *names: str) -> str:
    """The first of these values that is a non-empty text, stripped; empty if there is none."""
    for name in names:
        value = values.get(name)
        # JSON can contain characters that cannot be encoded. No valid credential has them.
        if isinstance(value, str) and value.strip() and not _UNENCODABLE.search(value):
            return value.strip()
    return ""
