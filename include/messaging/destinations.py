"""The destinations that a tenant's notification settings name. Pure; the settings are untrusted input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from include.messaging.integrations import json_object


def destinations_of(setting: Mapping[str, Any]) -> list[str]:
    """The destinations of a row of MST_NotificationSettings (``channel_config``): addresses, Slack channels, LINE WORKS ``users/ID``."""
    config = json_object(setting["channel_config"]) or {}
    named: list[Any] = []
    for key in ("recipients", "channels", "destinations"):
        value = config.get(key)
        named += value if isinstance(value, list) else []
    named += [config[key] for key in ("recipient", "channel", "channel_id", "destination") if key in config]
    return [text.strip() for text in named if isinstance(text, str) and text.strip()]
