"""Destinations of reminders, by a tenant's notification settings. Pure; the settings are untrusted input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from include.skillreport.messaging.channels import EMAIL, notification_channel
from include.skillreport.messaging.channels.channel import Channel, json_object
from include.skillreport.messaging.reminder_names import KEYS, TRIGGERS


def destinations_of(setting: Mapping[str, Any]) -> list[str]:
    """The destinations of a row of MST_NotificationSettings (``channel_config``): addresses, Slack channels, LINE WORKS ``users/ID``."""
    config = json_object(setting["channel_config"]) or {}
    named: list[Any] = []
    for key in ("recipients", "channels", "destinations"):
        value = config.get(key)
        named += value if isinstance(value, list) else []
    named += [config[key] for key in ("recipient", "channel", "channel_id", "destination") if key in config]
    return [text.strip() for text in named if isinstance(text, str) and text.strip()]


def destinations_for(reminder: str, settings: Iterable[Mapping[str, Any]]) -> list[tuple[Channel, str]]:
    """The channels and destinations of a kind of reminder. Without a setting, the employee gets an e-mail. If all are disabled: none.

    ``settings`` are a tenant's rows of MST_NotificationSettings, including disabled rows.
    """
    about = [row for row in settings if _is_about(row, reminder)]
    if not about:
        return [(EMAIL, "")]
    found: dict[tuple[Channel, str], None] = {}
    for row in about:
        channel = notification_channel(row["notification_type"])
        if not row["is_enabled"] or channel is None:
            continue
        named = (destinations_of(row) if channel.has_destinations else []) or [""]
        found |= dict.fromkeys((channel, destination) for destination in named)
    return list(found)


def is_of_reminder(setting: Mapping[str, Any]) -> bool:
    """True if a row of MST_NotificationSettings is about a reminder. ``destinations_for`` merges the destinations of these rows."""
    return any(_is_about(setting, reminder) for reminder in KEYS)


def _is_about(setting: Mapping[str, Any], reminder: str) -> bool:
    return setting["setting_key"] in KEYS[reminder] or TRIGGERS.get(setting["trigger_event"]) == reminder
