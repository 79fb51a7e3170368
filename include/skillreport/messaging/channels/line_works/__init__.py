"""LINE WORKS: a bot with a service account sends to a user or a talk room.

``auth_config`` has ``client_id``, ``client_secret``, ``service_account`` and ``private_key``; ``connection_config`` has ``bot_id`` and may
have ``scope`` and, for the directory, ``domain_id``. ``auth_url`` and ``base_url`` are only for stand-ins.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from typing_extensions import override

from include.skillreport.messaging.channels.channel import Channel, Integration, Rendered
from include.skillreport.messaging.throttle import Limit

# Characters.
LONGEST_TEXT = 2_000

# LINE WORKS asks clients that send for more than 30 minutes to stay below half of its limit.
_SUSTAINED_SECONDS = 30 * 60

# In a text, <m userId="all"> calls everybody in the talk room. The rest of a mention may be the next value. Without backtracking (*+),
# because texts of the application have no limit.
_MENTION = re.compile(r"<(?=\s*+/?\s*+(?:m\b|\Z))", re.IGNORECASE)

_CREDENTIALS = ("client_id", "client_secret", "service_account", "private_key")


@dataclass(frozen=True)
class LineWorksConfig:
    """A bot and its service account. ``domain_id`` selects the directory if a company has several."""

    bot_id: str
    client_id: str
    client_secret: str = field(repr=False)
    service_account: str
    private_key: str = field(repr=False)
    scope: str = "bot bot.message"
    auth_url: str = "https://auth.worksmobile.com/oauth2/v2.0/token"
    base_url: str = "https://www.worksapis.com/v1.0/"
    domain_id: str = ""


class _LineWorks(Channel):
    label = "LINE WORKS"
    spellings = ("lineworks", "line")
    longest_text = LONGEST_TEXT
    config_type = LineWorksConfig
    has_directory = True

    def config_of(self, row: Integration) -> LineWorksConfig | None:
        bot_id = row.option("bot_id") or row.credential("bot_id")
        needed = [bot_id, *map(row.credential, _CREDENTIALS)]
        names = ("auth_url", "base_url", "scope", "domain_id")
        options = {name: value for name in names if (value := row.option(name))}
        return LineWorksConfig(*needed, **options) if all(needed) else None

    @override
    def limit(self, config: LineWorksConfig, tenant_id: str) -> Limit:
        # The bots of a domain share its limit. A service account belongs to one domain: x.serviceaccount@domain.
        domain = config.service_account.rpartition("@")[2].lower()
        # The free plan. The paid plans allow more, which the first answer states.
        return Limit(self.limit_key(config.base_url, domain), 60, at_once=4, halved_after=_SUSTAINED_SECONDS)

    @override
    def escape_of(self, *, is_markdown: bool) -> Callable[[str], str]:
        return self.escape_text

    @override
    def escape_text(self, text: str) -> str:
        """The text without mentions. Its length stays the same."""
        return _MENTION.sub("＜", text)

    @override
    def compose(self, subject: str, plain: str, marked_up: str, *, is_markdown: bool = False) -> Rendered:
        whole = f"{self.escape_text(subject)}\n\n{marked_up}" if subject else marked_up
        return Rendered(subject, whole if len(whole) <= LONGEST_TEXT else marked_up)


LINE_WORKS = _LineWorks("line_works")
