"""Microsoft Teams: an Adaptive Card to a Workflows (Power Automate) webhook. Microsoft Graph has the directory.

``auth_config`` has ``webhook_url``; it may also be the endpoint_url. The application's own row has the key ``teams_connector``. Its
``title`` and ``theme_color`` have no effect. Without a usable row, the webhook comes from the setting TEAMS_WEBHOOK_URL, or else from the
newest notification setting that has one. For the directory, ``auth_config`` has ``tenant_id``, ``client_id`` and ``client_secret`` of an
application in Microsoft Entra ID, and ``connection_config`` has ``graph_auth_url`` and ``graph_base_url`` (only for stand-ins).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import override

from include.skillreport.messaging.channels.channel import Channel, Integration, Rendered
from include.skillreport.messaging.throttle import Limit

# The size of a request in bytes must be below this.
SIZE_LIMIT = 28 * 1024
# The bytes of a message around the body of its card.
_CARD_FRAME = 1_024


@dataclass(frozen=True)
class TeamsConfig:
    """A Workflows (Power Automate) webhook. Its query contains the secret."""

    webhook_url: str = field(repr=False)


class _Teams(Channel):
    label = "Teams"
    service = "Microsoft Teams"
    spellings = ("teams", "msteams", "microsoftteams")
    application_keys = ("teamsconnector",)
    integrations = (*spellings, *application_keys, "teamswebhookurl")
    has_destinations = False
    config_type = TeamsConfig
    has_directory = True

    def config_of(self, row: Integration) -> TeamsConfig | None:
        return TeamsConfig(row.webhook) if row.webhook else None

    @override
    def proves_login(self, config: TeamsConfig) -> bool:
        return False

    @override
    def limit(self, config: TeamsConfig, tenant_id: str) -> Limit:
        return Limit(self.limit_key(config.webhook_url), 240, 240, at_once=4)

    @override
    def escape_of(self, *, is_markdown: bool) -> Callable[[str], str]:
        return _escaped

    @override
    def compose(self, subject: str, plain: str, marked_up: str, *, is_markdown: bool = False) -> Rendered:
        head = {"type": "TextBlock", "size": "Medium", "weight": "Bolder", "wrap": True}
        body = {"type": "TextBlock", "wrap": True, "text": marked_up}
        return Rendered(subject, plain, [{**head, "text": _escaped(subject)}, body])

    def fits(self, text: str, riches: Sequence[Any] | None) -> bool:
        content = self.merge(riches) if riches else text
        return len(json.dumps(content, ensure_ascii=False).encode()) < SIZE_LIMIT - _CARD_FRAME

    def merge(self, riches: Sequence[Any]) -> Any:
        return [
            {**element, "separator": True} if place == 0 and number > 0 else element
            for number, elements in enumerate(riches)
            for place, element in enumerate(elements)
        ]


def _escaped(value: str) -> str:
    """Escape the Markdown that Adaptive Cards support, so that a value contains no link or emphasis."""
    return "".join(f"\\{character}" if character in "\\`*_[]()#+-!|~<>" else character for character in value)


TEAMS = _Teams("teams")
