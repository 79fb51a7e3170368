"""The channels of a tenant: its rows of SYS_IntegrationConfig as one configuration per channel.

Credentials are JSON in text columns; errors and logs do not contain them. Each channel's module names the values that it reads. Rows with
the batches' keys take precedence over the application's own rows. E-mail goes through the installation's server, or through a tenant's own
if ``notification.own_mail_server`` allows it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.core.database import Statements
from include.skillreport.core.network import Network
from include.skillreport.messaging.channels import CHANNELS, EMAIL, channel_of, letters
from include.skillreport.messaging.channels.channel import Channel, ChannelConfig, Integration
from include.skillreport.messaging.outbox import Lane

_SQL = Statements(Path(__file__).parent)


def load_integrations(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """The active rows of the transaction's tenants, lowest precedence first: the application's keys first, the latest change last."""
    rows = _SQL.rows(connection, "load_integrations")
    late = {key for channel in CHANNELS.values() for key in channel.application_keys}
    return sorted(rows, key=lambda row: letters(row["integration_key"]) not in late)


def load_channel_rows(
    connection: psycopg.Connection, own_mail_server: Collection[str] = ()
) -> list[dict[str, Any]]:
    """The rows of ``load_integrations``, and the webhooks of settings (``id`` is None) for channels without a usable row.

    ``own_mail_server`` are the tenants that may use their own mail server.
    """
    rows = [
        row
        for row in load_integrations(connection)
        if _channel_of_row(row) != EMAIL or row["tenant_id"] in own_mail_server
    ]
    usable = configs_of(rows)
    webhooks = [
        row
        for row in _SQL.rows(connection, "load_setting_webhooks")
        if configs_of([row]).keys() - usable.keys()
    ]
    return [*webhooks, *rows]


def load_configs(
    connection: psycopg.Connection, own_mail_server: Collection[str] = ()
) -> dict[Lane, ChannelConfig]:
    """The usable configurations of the transaction's tenants. ``own_mail_server``: see ``load_channel_rows``."""
    return configs_of(load_channel_rows(connection, own_mail_server))


def reopen_channels(connection: psycopg.Connection) -> None:
    """Reopen the closed channels of the transaction's tenants whose settings were changed after they were closed."""
    spellings = {key: channel for channel in CHANNELS.values() for key in channel.integrations}
    _SQL.execute(connection, "reopen_channels", spellings=Jsonb(spellings))


def used_rows(
    rows: Iterable[Mapping[str, Any]],
) -> dict[Lane, tuple[Mapping[str, Any], ChannelConfig]]:
    """The row that each channel uses, with its configuration: the channel's last usable row."""
    used: dict[Lane, tuple[Mapping[str, Any], ChannelConfig]] = {}
    for row in rows:
        channel = _channel_of_row(row)
        config = channel and config_of(channel, row)
        if channel and config:
            used[Lane(row["tenant_id"], channel)] = row, config
    return used


def configs_of(rows: Iterable[Mapping[str, Any]]) -> dict[Lane, ChannelConfig]:
    """The configurations of ``used_rows``."""
    return {lane: config for lane, (_, config) in used_rows(rows).items()}


def sending_config(
    lane: Lane, configs: Mapping[Lane, ChannelConfig], network: Network
) -> ChannelConfig | None:
    """The lane's configuration; None if there is none. Tenants without their own mail server share the installation's."""
    return configs.get(lane) or (network.email if lane.channel == EMAIL else None)


def rate_limits_of(rows: Iterable[Mapping[str, Any]]) -> dict[Lane, int]:
    """The tenants' own limits in messages per minute (``rate_limit_per_minute``) in ``used_rows``."""
    return {
        lane: row["rate_limit_per_minute"]
        for lane, (row, _) in used_rows(rows).items()
        if (row["rate_limit_per_minute"] or 0) > 0
    }


def config_of(channel: Channel, row: Mapping[str, Any]) -> ChannelConfig | None:
    """A row's configuration, or None if a required value is missing."""
    return channel.config_of(Integration.of_row(row))


def _channel_of_row(row: Mapping[str, Any]) -> Channel | None:
    return channel_of(row["integration_key"], row["integration_type"])
