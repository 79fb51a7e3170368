"""Slack: the Web API with a bot's token, or an incoming webhook in its place."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

import aiohttp
from yarl import URL

from include.messaging.channels.base import Finding, finding
from include.messaging.channels.exchange import (
    LONGEST_ANSWER,
    UNANSWERED,
    Answer,
    refused,
    refused_url,
    request,
    retry_after,
    unanswered,
)
from include.messaging.message import Message, SlackConfig
from include.messaging.outcome import Channel, Outcome, SendResult, failed

LONGEST_TEXT = 40_000
MOST_BLOCKS = 50
LONGEST_SECTION = 3_000

_TIMESTAMP = re.compile(r"[0-9.]{1,40}")
_TOKEN = re.compile(r"[\x21-\x7e]+")

# Slack's answer repeats the message, "&" as "&amp;".
_ECHO_GROWTH = 5


class SlackClient:
    """A ``ChannelClient``. With a webhook, the destination is the webhook's own channel, whatever the message says."""

    def __init__(
        self, config: SlackConfig, session: aiohttp.ClientSession, allowed_hosts: Collection[str] = ()
    ) -> None:
        self._webhook_url = "" if config.token else config.webhook_url
        self._url = self._webhook_url or config.base_url
        self._config = config
        self._session = session
        self._allowed_hosts = allowed_hosts

    def check(self, message: Message) -> SendResult | None:
        """See ``ChannelClient``."""
        return self._check_settings() or self._check_message(message)

    async def send(self, message: Message) -> SendResult:
        """See ``ChannelClient``. The provider's message id is Slack's ``ts``; a webhook gives none."""
        if (refusal := self.check(message)) is not None:
            return refusal
        if self._webhook_url:
            return await self._call_webhook(message)
        body = json.dumps({"channel": message.destination, **_body(message)}).encode()
        answer = await self._call(
            "POST",
            "chat.postMessage",
            data=body,
            headers={"Content-Type": "application/json; charset=utf-8"},
            longest=LONGEST_ANSWER + _ECHO_GROWTH * len(body),
        )
        if isinstance(answer, SendResult):
            return answer
        return SendResult(Outcome.SENT, provider_message_id=_timestamp(answer.fields.get("ts")))

    async def validate(self, destinations: Collection[str] = ()) -> list[Finding]:
        """See ``ChannelClient``. A webhook cannot be asked anything without posting, so only its URL is looked at."""
        if refusal := self._check_settings():
            return finding(refusal)
        if self._webhook_url:
            return []
        answer = await self._call("POST", "auth.test")
        if isinstance(answer, SendResult):
            return finding(answer)
        scopes = {name.strip() for name in str(answer.headers.get("x-oauth-scopes", "")).split(",")} - {""}
        if scopes and "chat:write" not in scopes:
            return finding(failed(Channel.SLACK, "missing_scope", "chat:write"))
        found: list[Finding] = []
        for destination in destinations:
            # Users and direct messages are no channels.
            if destination.startswith(("C", "G")):
                found += finding(await self._look_at(destination, "chat:write.public" in scopes), destination)
        return found

    async def aclose(self) -> None:
        """Nothing of its own."""

    def _check_settings(self) -> SendResult | None:
        if not (self._config.token or self._webhook_url):
            return failed(Channel.SLACK, "not_configured")
        if self._config.token and not is_token(self._config.token):
            return failed(Channel.SLACK, "invalid_auth", "the token has characters that no token has")
        return refused_url(Channel.SLACK, self._url, self._allowed_hosts, ("slack.com", "slack-gov.com"))

    def _check_message(self, message: Message) -> SendResult | None:
        blocks = message.rich or []
        if self._config.token and not message.destination:
            return failed(Channel.SLACK, "channel_not_found", "no destination")
        if not message.text and not blocks:
            return failed(Channel.SLACK, "no_text")
        if len(message.text) > LONGEST_TEXT:
            return failed(Channel.SLACK, "msg_too_long", f"{len(message.text)} characters")
        if not isinstance(blocks, list) or not all(isinstance(block, Mapping) for block in blocks):
            return failed(Channel.SLACK, "invalid_blocks", "blocks are no list of objects")
        if len(blocks) > MOST_BLOCKS:
            return failed(Channel.SLACK, "msg_blocks_too_long", f"{len(blocks)} blocks")
        longest = max(map(_section_length, blocks), default=0)
        if longest > LONGEST_SECTION:
            return failed(Channel.SLACK, "msg_blocks_too_long", f"a section of {longest} characters")
        return None

    async def _call_webhook(self, message: Message) -> SendResult:
        try:
            answer = await request(self._session, "POST", self._webhook_url, json=_body(message))
        except UNANSWERED as error:
            return unanswered(Channel.SLACK, error)
        if answer.ok:
            return SendResult(Outcome.SENT)
        return refused(
            Channel.SLACK,
            answer.status,
            answer.body.decode("utf-8", "replace").strip(),
            retry_after=retry_after(answer.headers),
        )

    async def _call(self, http_method: str, method: str, **options: Any) -> Answer | SendResult:
        """The answer to a call of the Web API if it is a success, otherwise what it means."""
        try:
            answer = await call_web_api(self._session, self._config, http_method, method, **options)
        except UNANSWERED as error:
            return unanswered(Channel.SLACK, error)
        return answer if is_success(answer) else _meaning(answer)

    async def _look_at(self, channel: str, may_post_to_public: bool) -> SendResult | None:
        """What keeps the bot from posting to a channel; None: nothing, or nothing that can be told."""
        answer = await self._call("GET", "conversations.info", params={"channel": channel})
        if isinstance(answer, SendResult):
            # Posting does not need the scope that looking does.
            asked_in_vain = answer.error is not None and answer.error.code == "missing_scope"
            return None if asked_in_vain else answer
        facts = answer.fields.get("channel")
        about: Mapping[str, Any] = facts if isinstance(facts, Mapping) else {}
        if about.get("is_archived"):
            return failed(Channel.SLACK, "is_archived")
        if about.get("is_member") or (may_post_to_public and not about.get("is_private")):
            return None
        return failed(Channel.SLACK, "not_in_channel")


async def call_web_api(
    session: aiohttp.ClientSession,
    config: SlackConfig,
    http_method: str,
    method: str,
    *,
    headers: Mapping[str, str] | None = None,
    **options: Any,
) -> Answer:
    """Call a method of the Web API with the bot's token; ``options`` are those of ``request``. :raises: one of ``UNANSWERED``."""
    return await request(
        session,
        http_method,
        URL(config.base_url).joinpath(method),
        headers={"Authorization": f"Bearer {config.token}", **(headers or {})},
        **options,
    )


def is_success(answer: Answer) -> bool:
    """Whether the Web API has done what it was asked: it says so in the answer."""
    return answer.status == 200 and answer.fields.get("ok") is True


def is_token(text: str) -> bool:
    """Whether a header can carry it."""
    return _TOKEN.fullmatch(text) is not None


def _timestamp(value: object) -> str | None:
    """Slack's name for a message; whatever else the answer holds there is nobody's."""
    return value if isinstance(value, str) and _TIMESTAMP.fullmatch(value) else None


def _body(message: Message) -> dict[str, Any]:
    return {"text": message.text, "blocks": message.rich} if message.rich else {"text": message.text}


def _meaning(answer: Answer) -> SendResult:
    """Of an answer other than success."""
    fields = answer.fields
    if answer.status == 200 and not fields:
        # A company's login page or the like, or more than Slack ever says.
        return failed(Channel.SLACK, "unknown", "the answer is not Slack's")
    return refused(Channel.SLACK, answer.status, fields.get("error"), retry_after=retry_after(answer.headers))


def _section_length(block: Mapping[str, Any]) -> int:
    text = block.get("text")
    if block.get("type") != "section" or not isinstance(text, Mapping):
        return 0
    return len(str(text.get("text", "")))
