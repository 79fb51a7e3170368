"""The client of the toy channel."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import aiohttp
from typing_extensions import override

from include.skillreport.messaging.channels.channel import ChannelClient, ChannelFinding, finding
from include.skillreport.messaging.channels.exchange import (
    UNANSWERED,
    Answer,
    refused,
    refused_url,
    request,
    retry_after,
    unanswered,
)
from include.skillreport.messaging.message import Message
from include.skillreport.messaging.outcome import Outcome, SendResult, failed
from tests.toy_channel.toy import TOY, ToyConfig


class Client(ChannelClient):
    """Posts a text to a room."""

    def __init__(
        self, config: ToyConfig, session: aiohttp.ClientSession, allowed_hosts: Collection[str]
    ) -> None:
        self._config = config
        self._session = session
        self._allowed_hosts = allowed_hosts

    @override
    def check(self, message: Message) -> SendResult | None:
        return refused_url(TOY, self._config.base_url, self._allowed_hosts) or (
            None if message.destination else failed(TOY, "no_room")
        )

    @override
    async def send(self, message: Message) -> SendResult:
        if refusal := self.check(message):
            return refusal
        body = {"room": message.destination, "text": message.text}
        answer = await self._call("POST", "/messages", json=body)
        if isinstance(answer, SendResult):
            return answer
        return SendResult(Outcome.SENT, provider_message_id=str(answer.fields["id"]))

    @override
    async def validate(self, destinations: Collection[str] = ()) -> list[ChannelFinding]:
        answer = await self._call("GET", "/bot")
        return finding(answer) if isinstance(answer, SendResult) else []

    async def _call(self, method: str, path: str, **options: Any) -> Answer | SendResult:
        headers = {"Authorization": f"Bearer {self._config.key}"}
        url = f"{self._config.base_url}{path}"
        try:
            answer = await request(self._session, method, url, headers=headers, **options)
        except UNANSWERED as error:
            return unanswered(TOY, error)
        wait = retry_after(answer.headers)
        return answer if answer.ok else refused(TOY, answer.status, retry_after=wait)
