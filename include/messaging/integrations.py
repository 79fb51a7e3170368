"""How a tenant is reached: its rows of SYS_IntegrationConfig, read into one configuration per channel.

Credentials are JSON in text. Nothing here, and no error, ever shows one.

==========  =====================================================  ==============================================
channel     auth_config                                            connection_config, endpoint_url
==========  =====================================================  ==============================================
slack       ``bot_token``, or ``webhook_url`` in its place         ``base_url`` (only for stand-ins)
teams       ``webhook_url``                                        or the webhook as endpoint_url
line_works  ``client_id``, ``client_secret``,                      ``bot_id``, ``scope``; ``auth_url``, ``base_url``
            ``service_account``, ``private_key``
==========  =====================================================  ==============================================

E-mail goes through the installation's own server; a tenant has no configuration for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from include.database import read_sql
from include.messaging.message import ChannelConfig, LineWorksConfig, SlackConfig, TeamsConfig
from include.messaging.outbox import Lane
from include.messaging.outcome import Channel

_HERE = Path(__file__).parent

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
    """The channel that a key or a type names, however it is spelled (``line-works``, ``lineWorks``, ``MS Teams``)."""
    for name in names:
        found = _SPELLINGS.get(re.sub(r"[^a-z]", "", (name or "").lower()))
        if found:
            return found
    return None


def load_integrations(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """The rows in use of the transaction's tenants; the one changed last comes last."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(read_sql(_HERE, "load_integrations")).fetchall()


def load_configs(connection: psycopg.Connection) -> dict[Lane, ChannelConfig]:
    """The usable configurations of the transaction's tenants; of two for one channel, the one changed last."""
    return configs_of(load_integrations(connection))


def configs_of(rows: Iterable[Mapping[str, Any]]) -> dict[Lane, ChannelConfig]:
    """The usable configurations among rows of ``load_integrations``."""
    configs: dict[Lane, ChannelConfig] = {}
    for row in rows:
        channel = channel_of(row["integration_key"], row["integration_type"])
        config = channel and config_of(channel, row)
        if channel and config:
            configs[Lane(row["tenant_id"], channel)] = config
    return configs


def rate_limits_of(rows: Iterable[Mapping[str, Any]]) -> dict[Lane, int]:
    """Messages a minute, where a tenant allows fewer than its service (``rate_limit_per_minute``)."""
    return {
        Lane(row["tenant_id"], channel): row["rate_limit_per_minute"]
        for row in rows
        if (channel := channel_of(row["integration_key"], row["integration_type"]))
        and (row["rate_limit_per_minute"] or 0) > 0
    }


def config_of(channel: Channel, row: Mapping[str, Any]) -> ChannelConfig | None:
    """A row's configuration, or None where something that the channel needs is missing."""
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
    """A JSON object in text; without text an empty one, None for anything else."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def first_text(values: Mapping[str, Any], *names: str) -> str:
    """The first of these values that is a text and not empty, without blanks around it; empty if none is."""
    for name in names:
        value = values.get(name)
        # JSON can spell characters that no text can be encoded with; no credential has one.
        if isinstance(value, str) and value.strip() and not _UNENCODABLE.search(value):
            return value.strip()
    return ""
