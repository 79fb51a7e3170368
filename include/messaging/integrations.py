"""The channels of a tenant: its rows of SYS_IntegrationConfig as one configuration per channel.

Credentials are JSON in text columns. No error or log of this module contains them.

==========  =====================================================  ==============================================
channel     auth_config                                            connection_config, endpoint_url
==========  =====================================================  ==============================================
slack       ``bot_token`` or ``webhook_url``                       ``base_url`` (only for stand-ins)
teams       ``webhook_url``                                        or the webhook as endpoint_url
line_works  ``client_id``, ``client_secret``,                      ``bot_id``, ``scope``; ``auth_url``, ``base_url``
            ``service_account``, ``private_key``
==========  =====================================================  ==============================================

E-mail goes through the installation's server; a tenant has no configuration for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psycopg

from include.database import Statements
from include.messaging.message import ChannelConfig, LineWorksConfig, SlackConfig, TeamsConfig
from include.messaging.outbox import Lane
from include.messaging.outcome import Channel

_SQL = Statements(Path(__file__).parent)

_UNENCODABLE = re.compile("[\x00\ud800-\udfff]")

_SPELLINGS = {
    "slack": Channel.SLACK,
    "teams": Channel.TEAMS,
    "msteams": Channel.TEAMS,
    "microsoftteams": Channel.TEAMS,
    "lineworks": Channel.LINE_WORKS,
    "line": Channel.LINE_WORKS,
}


def channel_of(*names: str | None) -> Channel | None:
    """The channel that the first known key or type names, in any spelling (``line-works``, ``lineWorks``, ``MS Teams``)."""
    for name in names:
        channel = _SPELLINGS.get(re.sub(r"[^a-z]", "", (name or "").lower()))
        if channel:
            return channel
    return None


def load_integrations(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """The active rows of the transaction's tenants, the latest change last."""
    return _SQL.rows(connection, "load_integrations")


def load_configs(connection: psycopg.Connection) -> dict[Lane, ChannelConfig]:
    """The usable configurations of the transaction's tenants. If a channel has several, the latest change wins."""
    return configs_of(load_integrations(connection))


def configs_of(rows: Iterable[Mapping[str, Any]]) -> dict[Lane, ChannelConfig]:
    """The usable configurations of the rows of ``load_integrations``."""
    configs: dict[Lane, ChannelConfig] = {}
    for row in rows:
        channel = channel_of(row["integration_key"], row["integration_type"])
        config = channel and config_of(channel, row)
        if channel and config:
            configs[Lane(row["tenant_id"], channel)] = config
    return configs


def rate_limits_of(rows: Iterable[Mapping[str, Any]]) -> dict[Lane, int]:
    """The tenants' own limits in messages per minute (``rate_limit_per_minute``)."""
    return {
        Lane(row["tenant_id"], channel): row["rate_limit_per_minute"]
        for row in rows
        if (channel := channel_of(row["integration_key"], row["integration_type"]))
        and (row["rate_limit_per_minute"] or 0) > 0
    }


def config_of(channel: Channel, row: Mapping[str, Any]) -> ChannelConfig | None:
    """A row's configuration, or None if a required value is missing."""
    auth = json_object(row["auth_config"]) or {}
    connection = json_object(row["connection_config"]) or {}
    match channel:
        case Channel.SLACK:
            token, webhook = first_text(auth, "bot_token", "token"), first_text(auth, "webhook_url")
            base_url = first_text(connection, "base_url") or SlackConfig.base_url
            return SlackConfig(token, webhook, base_url) if token or webhook else None
        case Channel.TEAMS:
            webhook = first_text(auth, "webhook_url") or (row["endpoint_url"] or "").strip()
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
    return None


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
