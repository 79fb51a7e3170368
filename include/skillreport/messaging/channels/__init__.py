"""The channels, and how rows of the application and of schema ``batch`` name them."""

from __future__ import annotations

import re
from importlib import import_module

from include.skillreport.messaging.channels.channel import Channel as Channel
from include.skillreport.messaging.channels.channel import ChannelConfig as ChannelConfig
from include.skillreport.messaging.channels.email import EMAIL as EMAIL

# The folders of the channels, in the order of lists for operators. The package "x" has the channel X.
_FOLDERS = (
    "email",
    "slack",
    "teams",
    "line_works",
)

CHANNELS: dict[str, Channel] = {
    name: getattr(import_module(f"{__name__}.{name}"), name.upper()) for name in _FOLDERS
}
"""The channels by name."""

# A view of the application's notifications uses the spellings, too. A spelling of two channels would break it for all tenants.
_SPELLINGS = [spelling for channel in CHANNELS.values() for spelling in channel.spellings]
if len(_SPELLINGS) != len({*_SPELLINGS}):
    raise ValueError(f"two channels have the same spelling: {sorted(_SPELLINGS)}")


def letters(name: str | None) -> str:
    """A name without case, blanks and signs: ``line-works``, ``lineWorks`` and ``LINE WORKS`` are the same."""
    return re.sub(r"[^a-z]", "", (name or "").lower())


def channel_of(*names: str | None) -> Channel | None:
    """The channel of the first known key or type of a row of SYS_IntegrationConfig, in any spelling."""
    spelled = {spelling: channel for channel in CHANNELS.values() for spelling in channel.integrations}
    return next((spelled[key] for key in map(letters, names) if key in spelled), None)


def notification_channel(notification_type: str | None) -> Channel | None:
    """The channel of a template or a notification setting: by its type (``spellings``), otherwise as ``channel_of``."""
    key = letters(notification_type)
    spelled = (channel for channel in CHANNELS.values() if key in channel.spellings)
    return next(spelled, None) or channel_of(notification_type)


def channel_of_config(config: ChannelConfig) -> Channel:
    """The channel that has these settings."""
    return next(channel for channel in CHANNELS.values() if isinstance(config, channel.config_type))
