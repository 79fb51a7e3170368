"""Slack: the Web API with a bot's token, or an incoming webhook in its place."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Collection, Mapping
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from include.notification.channels.base import Finding, finding
from include.notification.channels.exchange import (
    UNANSWERED,
    refused,
    refused_url,
    request,
    retry_after,
    unanswered,
)
from include.notification.message import Message, SlackConfig
from include.notification.outcome import Channel, Outcome, SendResult, failed

LONGEST_TEXT = 40_000
MOST_BLOCKS = 50
LONGEST_SECTION = 3_000

_TIMESTAMP = re.compile(r"[0-9.]{1,40}")
_TOKEN = re.compile(r"[\x21-\x7e]+")

# At DEBUG the SDK logs whole messages.
_SDK_LOGGER = logging.getLogger(f"{__name__}.sdk")
_SDK_LOGGER.setLevel(logging.WARNING)


class SlackClient:
    """A ``ChannelClient``. With a webhook, the destination is the webhook's own channel, whatever the message says."""

    def __init__(
        self, config: SlackConfig, session: aiohttp.ClientSession, allowed_hosts: Collection[str] = ()
    ) -> None:
        self._webhook_url = "" if config.token else config.webhook_url
        self._url = self._webhook_url or config.base_url
        self._token = config.token
        self._session = session
        self._allowed_hosts = allowed_hosts
        self._api = AsyncWebClient(
            config.token, base_url=config.base_url, session=session, retry_handlers=[], logger=_SDK_LOGGER
        )
        # The SDK takes one from the environment.
        self._api.proxy = None

    def check(self, message: Message) -> SendResult | None:
        """See ``ChannelClient``."""
        return self._check_settings() or self._check_message(message)

    async def send(self, message: Message) -> SendResult:
        """See ``ChannelClient``. The provider's message id is Slack's ``ts``; a webhook gives none."""
        if (refusal := self.check(message)) is not None:
            return refusal
        if self._webhook_url:
            return await self._call_webhook(message)
        answer = await self._call(
            self._api.api_call("chat.postMessage", json={"channel": message.destination, **_body(message)})
        )
        if isinstance(answer, SendResult):
            return answer
        return SendResult(Outcome.SENT, provider_message_id=_timestamp(answer.get("ts")))

    async def validate(self, destinations: Collection[str] = ()) -> list[Finding]:
        """See ``ChannelClient``. A webhook cannot be asked anything without posting, so only its URL is looked at."""
        if refusal := self._check_settings():
            return finding(refusal)
        if self._webhook_url:
            return []
        answer = await self._call(self._api.auth_test())
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
        if not (self._token or self._webhook_url):
            return failed(Channel.SLACK, "not_configured")
        if self._token and not _TOKEN.fullmatch(self._token):
            return failed(Channel.SLACK, "invalid_auth", "the token has characters that no token has")
        return refused_url(Channel.SLACK, self._url, self._allowed_hosts, ("slack.com", "slack-gov.com"))

    def _check_message(self, message: Message) -> SendResult | None:
        blocks = message.rich or []
        if self._token and not message.destination:
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

    async def _call(self, call: Awaitable[AsyncSlackResponse]) -> AsyncSlackResponse | SendResult:
        """The answer to a call of the Web API if it is a success, otherwise what it means."""
        try:
            return await call
        except UNANSWERED as error:
            return unanswered(Channel.SLACK, error)
        except SlackApiError as error:
            return _meaning(error.response)
        except (AttributeError, ValueError, RecursionError):
            # The SDK takes every answer of status 200 for a JSON object: this one is a company's login page or the like.
            return failed(Channel.SLACK, "unknown", "the answer is not Slack's")

    async def _look_at(self, channel: str, may_post_to_public: bool) -> SendResult | None:
        """What keeps the bot from posting to a channel; None: nothing, or nothing that can be told."""
        answer = await self._call(self._api.conversations_info(channel=channel))
        if isinstance(answer, SendResult):
            # Posting does not need the scope that looking does.
            asked_in_vain = answer.error is not None and answer.error.code == "missing_scope"
            return None if asked_in_vain else answer
        facts = answer.get("channel")
        about: Mapping[str, Any] = facts if isinstance(facts, Mapping) else {}
        if about.get("is_archived"):
            return failed(Channel.SLACK, "is_archived")
        if about.get("is_member") or (may_post_to_public and not about.get("is_private")):
            return None
        return failed(Channel.SLACK, "not_in_channel")


def _timestamp(value: object) -> str | None:
    """Slack's name for a message; whatever else the answer holds there is nobody's."""
    return value if isinstance(value, str) and _TIMESTAMP.fullmatch(value) else None


def _body(message: Message) -> dict[str, Any]:
    return {"text": message.text, "blocks": message.rich} if message.rich else {"text": message.text}


def _meaning(response: Any) -> SendResult:
    """Of an answer other than success; the SDK gives aiohttp's own response for one whose JSON is broken."""
    if not isinstance(response, AsyncSlackResponse):
        return refused(Channel.SLACK, response.status, retry_after=retry_after(response.headers))
    body = response.data
    code = body.get("error") if isinstance(body, dict) else None
    return refused(Channel.SLACK, response.status_code, code, retry_after=retry_after(response.headers))


def _section_length(block: Mapping[str, Any]) -> int:
    text = block.get("text")
    if block.get("type") != "section" or not isinstance(text, Mapping):
        return 0
    return len(str(text.get("text", "")))
