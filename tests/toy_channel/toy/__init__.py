"""Toy: the smallest channel. A bot with a key posts to a room."""

from __future__ import annotations

from dataclasses import dataclass, field

from typing_extensions import override

from include.skillreport.messaging.channels.channel import Channel, Integration, Rendered
from include.skillreport.messaging.throttle import Limit


@dataclass(frozen=True)
class ToyConfig:
    """The service, and the key of the bot."""

    base_url: str
    key: str = field(repr=False)


class _Toy(Channel):
    label = "Toy Chat"
    spellings = ("toy", "toychat")
    attempts = 2
    longest_text = 200
    config_type = ToyConfig

    @override
    def config_of(self, row: Integration) -> ToyConfig | None:
        key = row.credential("key")
        return ToyConfig(row.endpoint_url, key) if row.endpoint_url and key else None

    @override
    def limit(self, config: ToyConfig, tenant_id: str) -> Limit:
        return Limit(self.limit_key(config.base_url, config.key), 600, 600, at_once=4)

    @override
    def compose(self, subject: str, plain: str, marked_up: str, *, is_markdown: bool = False) -> Rendered:
        return Rendered(subject, f"[{subject}] {plain}")


TOY = _Toy("toy")
