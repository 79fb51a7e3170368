"""Microsoft Teams: an Adaptive Card to a Workflows (Power Automate) webhook. Microsoft Graph has the directory.

``auth_config`` has ``webhook_url``; it may also be the endpoint_url. The application's own row has the key ``teams_connector``. Its
``title`` and ``theme_color`` have no effect. Without a usable row, the webhook comes from the setting TEAMS_WEBHOOK_URL, otherwise from the
newest notification setting with one. For the directory, ``auth_config`` has ``tenant_id``, ``client_id`` and ``client_secret`` of an
application in Microsoft Entra ID, and ``connection_config`` has ``graph_auth_url`` and ``graph_base_url`` (only for stand-ins).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import override

from include.skillreport.messaging.channels.channel import Channel, Integration, Rendered
from include.skillreport.messaging.throttle import Limit

# The flow posts the card as JSON text in the properties of a message: "Actual message properties size: 28897 bytes, whereas max allowed
# size is 28672 bytes", after a request of 24,453 bytes (MicrosoftDocs/msteams-docs, issue 11274, July 2024).
SIZE_LIMIT = 28_672
# The bytes of these properties that Teams adds itself.
_OWN_PROPERTIES = 1_024

# The Teams connector of a flow takes 100 calls in 60 seconds for a connection. The flow answers 202 even if it must wait or fails
# afterwards, so nothing can be learnt from its answers: the burst and the first minute together stay below that.
_PER_MINUTE = 60
_BURST = 30
# A host of this form belongs to one environment of one customer. The older hosts belong to a region.
ENVIRONMENT_HOST = ".environment.api.powerplatform.com"


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
        # The flows of an environment may use one connection.
        host = _host_of(config.webhook_url)
        counted_by = (host,) if host.endswith(ENVIRONMENT_HOST) else (tenant_id, host)
        return Limit(self.limit_key(*counted_by), _PER_MINUTE, _PER_MINUTE, burst=_BURST, at_once=4)

    @override
    def escape_of(self, *, is_markdown: bool) -> Callable[[str], str]:
        return _escaped

    @override
    def compose(self, subject: str, plain: str, marked_up: str, *, is_markdown: bool = False) -> Rendered:
        head = {"type": "TextBlock", "size": "Medium", "weight": "Bolder", "wrap": True}
        body = {"type": "TextBlock", "wrap": True, "text": marked_up}
        return Rendered(subject, plain, [{**head, "text": _escaped(subject)}, body])

    def fits(self, text: str, riches: Sequence[Any] | None) -> bool:
        content = self.merge(riches) if riches else [{"type": "TextBlock", "text": text}]
        return is_small_enough(card_of(content))

    def merge(self, riches: Sequence[Any]) -> Any:
        return [
            {**element, "separator": True} if place == 0 and number > 0 else element
            for number, elements in enumerate(riches)
            for place, element in enumerate(elements)
        ]


def _host_of(url: str) -> str:
    """The host; empty if the tenant's text is no URL, which the client refuses."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def card_of(body: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The attachment with an Adaptive Card of these elements."""
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    }
    return {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}


def encoded(value: object) -> str:
    """The JSON text. Not escaped: a Japanese character has three bytes in UTF-8 and six as an escape."""
    return json.dumps(value, ensure_ascii=False)


def is_small_enough(attachment: Mapping[str, Any]) -> bool:
    """True if Teams accepts the message that the flow posts. The answer to the request does not say so."""
    return len(encoded({"cards": encoded([attachment])}).encode()) <= SIZE_LIMIT - _OWN_PROPERTIES


def _escaped(value: str) -> str:
    """Escape the Markdown that Adaptive Cards support, so that a value contains no link or emphasis."""
    return "".join(f"\\{character}" if character in "\\`*_[]()#+-!|~<>" else character for character in value)


TEAMS = _Teams("teams")
