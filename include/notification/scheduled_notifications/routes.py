"""The routes of reminders: the tenant's notification settings decide whether and over which channel they go. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from include.messaging.destinations import destinations_of
from include.messaging.integrations import notification_channel
from include.messaging.outcome import Channel
from include.messaging.reminder_names import KEYS, TRIGGERS
from include.messaging.templates import Template


@dataclass(frozen=True)
class Route:
    """A template, whose channel is the route's, and a destination. An e-mail goes to the employee and has no destination here."""

    template: Template
    destination: str = field(default="", repr=False)


def destinations_for(reminder: str, settings: Iterable[Mapping[str, Any]]) -> list[tuple[Channel, str]]:
    """Where a kind of reminder goes. Without a setting about it, it goes to the employee by e-mail; if all are disabled, nowhere.

    ``settings`` are a tenant's rows of MST_NotificationSettings, including disabled rows.
    """
    about = [
        row
        for row in settings
        if row["setting_key"] in KEYS[reminder] or TRIGGERS.get(row["trigger_event"]) == reminder
    ]
    if not about:
        return [(Channel.EMAIL, "")]
    found: dict[tuple[Channel, str], None] = {}
    for row in about:
        channel = notification_channel(row["notification_type"])
        if not row["is_enabled"] or channel is None:
            continue
        has_own = channel not in (Channel.EMAIL, Channel.TEAMS)
        named = (destinations_of(row) if has_own else []) or [""]
        found |= dict.fromkeys((channel, destination) for destination in named)
    return list(found)
