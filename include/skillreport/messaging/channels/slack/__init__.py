"""Slack: the Web API with a bot's token, or an incoming webhook.

``auth_config`` has ``bot_token`` or ``webhook_url``; the webhook may also be the endpoint_url. ``connection_config`` has ``team_id`` (the
workspace, for the token of an organisation) and ``base_url`` (only for stand-ins). The application's own row has the key ``slack_webhook``.
Its ``channel``, ``username``, ``icon_emoji`` and ``title`` have no effect, because Slack ignores them.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import override

from include.skillreport.messaging.channels.channel import Channel, Integration, Rendered, unchanged
from include.skillreport.messaging.channels.slack.blocks import (
    LONGEST_TEXT,
    blocks_of,
    control_escaped,
    fit,
    mrkdwn,
)
from include.skillreport.messaging.throttle import Limit

# About one message per second and Slack channel.
_CHANNEL_SECONDS = 1.0


@dataclass(frozen=True)
class SlackConfig:
    """A bot token or an incoming webhook."""

    token: str = field(default="", repr=False)
    webhook_url: str = field(default="", repr=False)
    base_url: str = "https://slack.com/api/"
    team_id: str = ""


class _Slack(Channel):
    label = "Slack"
    spellings = ("slack",)
    application_keys = ("slackwebhook",)
    attempts = 5
    in_flight = 5
    config_type = SlackConfig
    has_directory = True

    def config_of(self, row: Integration) -> SlackConfig | None:
        token, webhook = row.credential("bot_token", "token"), row.webhook
        base_url = row.option("base_url") or SlackConfig.base_url
        team_id = row.option("team_id").strip()
        return SlackConfig(token, webhook, base_url, team_id) if token or webhook else None

    def proves_login(self, config: SlackConfig) -> bool:
        return bool(config.token)

    @override
    def limit(self, config: SlackConfig, tenant_id: str) -> Limit:
        if not config.token:
            return Limit(self.limit_key(config.webhook_url), 60, 60, at_once=4)
        # "Several hundred" a minute per workspace; a burst of a few seconds is allowed.
        key = self.limit_key(config.base_url, config.token)
        return Limit(key, 600, burst=60, destination_seconds=_CHANNEL_SECONDS)

    def escape_of(self, *, is_markdown: bool) -> Callable[[str], str]:
        # The body of any other template is plain text for Slack.
        return mrkdwn if is_markdown else unchanged

    def escape_text(self, text: str) -> str:
        return control_escaped(text)

    def compose(self, subject: str, plain: str, marked_up: str, *, is_markdown: bool = False) -> Rendered:
        # Slack shows the text in notifications and interprets control characters there too.
        body = marked_up if is_markdown else control_escaped(plain)
        text = f"{control_escaped(subject)}\n{body}" if subject else body
        blocks = blocks_of(subject, marked_up, is_mrkdwn=is_markdown)
        # Slack takes a longer text without blocks.
        return Rendered(subject, text, blocks if fit(blocks) else None)

    @override
    def plain_text(self, subject: str, text: str) -> str:
        # The text begins with the subject.
        return html.unescape(text)

    def fits(self, text: str, riches: Sequence[Any] | None) -> bool:
        return len(text) <= LONGEST_TEXT and fit(self.merge(riches or ()))

    def merge(self, riches: Sequence[Any]) -> Any:
        joined = [block for blocks in riches for block in ({"type": "divider"}, *blocks)]
        return joined[1:]


SLACK = _Slack("slack")
