"""Slack: the Web API with a bot's token, or an incoming webhook."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

import aiohttp
from typing_extensions import override
from yarl import URL

from include.skillreport.messaging.channels.channel import ChannelClient, ChannelFinding, finding
from include.skillreport.messaging.channels.directory import Pace
from include.skillreport.messaging.channels.exchange import (
    LONGEST_ANSWER,
    UNANSWERED,
    Answer,
    refused,
    refused_url,
    request,
    retry_after,
    unanswered,
)
from include.skillreport.messaging.channels.slack import SLACK, SlackConfig
from include.skillreport.messaging.channels.slack.blocks import LONGEST_SECTION, LONGEST_TEXT, fit
from include.skillreport.messaging.message import Message
from include.skillreport.messaging.outcome import Outcome, SendResult, failed

# conversations.info is in tier 3: 50 calls or more per minute (docs.slack.dev, rate limits).
_LOOKUPS_PER_MINUTE = 50
# The wait after a refusal that states none.
_WAIT = timedelta(minutes=1)

_TIMESTAMP = re.compile(r"[0-9.]{1,40}")
_TOKEN = re.compile(r"[\x21-\x7e]+")

# Slack's answer repeats the message, with "&" as "&amp;".
_ECHO_GROWTH = 5


class Client(ChannelClient):
    """A webhook always posts to its own Slack channel and ignores the message's destination."""

    def __init__(
        self, config: SlackConfig, session: aiohttp.ClientSession, allowed_hosts: Collection[str] = ()
    ) -> None:
        self._webhook_url = "" if config.token else config.webhook_url
        self._url = self._webhook_url or config.base_url
        self._config = config
        self._session = session
        self._allowed_hosts = allowed_hosts

    @override
    def check(self, message: Message) -> SendResult | None:
        return self._check_settings() or self._check_message(message)

    @override
    async def send(self, message: Message) -> SendResult:
        """The provider's message id is Slack's ``ts``; a webhook returns none."""
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

    @override
    async def validate(self, destinations: Collection[str] = ()) -> list[ChannelFinding]:
        """Any request to a webhook posts a message, so only its URL is checked."""
        if refusal := self._check_settings():
            return finding(refusal)
        if self._webhook_url:
            return []
        answer = await self._call("POST", "auth.test")
        if isinstance(answer, SendResult):
            return finding(answer)
        scopes = {name.strip() for name in str(answer.headers.get("x-oauth-scopes", "")).split(",")} - {""}
        if scopes and "chat:write" not in scopes:
            return finding(failed(SLACK, "missing_scope", "chat:write"))
        findings: list[ChannelFinding] = []
        pace = Pace(_LOOKUPS_PER_MINUTE)
        # Users and direct messages need no check of a channel.
        for destination in (each for each in destinations if each.startswith(("C", "G"))):
            await pace.turn()
            problem = await self._check_channel(destination, "chat:write.public" in scopes)
            if problem and problem.is_refused_for_rate:
                # Another program of the workspace uses the same limit.
                await asyncio.sleep((problem.retry_after or _WAIT).total_seconds())
                problem = await self._check_channel(destination, "chat:write.public" in scopes)
            findings += finding(problem, destination)
            if problem and problem.is_refused_for_rate:
                break
        return findings

    def _check_settings(self) -> SendResult | None:
        if not (self._config.token or self._webhook_url):
            return failed(SLACK, "not_configured")
        if self._config.token and not is_token(self._config.token):
            return failed(SLACK, "invalid_auth", "the token has characters that no token has")
        return refused_url(SLACK, self._url, self._allowed_hosts, ("slack.com", "slack-gov.com"))

    def _check_message(self, message: Message) -> SendResult | None:
        blocks = message.rich or []
        if self._config.token and not message.destination:
            return failed(SLACK, "channel_not_found", "no destination")
        if not message.text and not blocks:
            return failed(SLACK, "no_text")
        if len(message.text) > LONGEST_TEXT:
            return failed(SLACK, "msg_too_long", f"{len(message.text)} characters")
        if not isinstance(blocks, list) or not all(isinstance(block, Mapping) for block in blocks):
            return failed(SLACK, "invalid_blocks", "blocks are no list of objects")
        if not fit(blocks):
            return failed(SLACK, "msg_blocks_too_long", f"{len(blocks)} blocks")
        longest = max(map(_section_length, blocks), default=0)
        if longest > LONGEST_SECTION:
            return failed(SLACK, "msg_blocks_too_long", f"a section of {longest} characters")
        return None

    async def _call_webhook(self, message: Message) -> SendResult:
        try:
            answer = await request(self._session, "POST", self._webhook_url, json=_body(message))
        except UNANSWERED as error:
            return unanswered(SLACK, error)
        if answer.ok:
            return SendResult(Outcome.SENT)
        return refused(
            SLACK,
            answer.status,
            answer.body.decode("utf-8", "replace").strip(),
            retry_after=retry_after(answer.headers),
        )

    async def _call(self, http_method: str, method: str, **options: Any) -> Answer | SendResult:
        """Call the Web API; returns the answer of a success, otherwise the result."""
        try:
            answer = await call_web_api(self._session, self._config, http_method, method, **options)
        except UNANSWERED as error:
            return unanswered(SLACK, error)
        return answer if is_success(answer) else _meaning(answer)

    async def _check_channel(self, channel: str, may_post_to_public: bool) -> SendResult | None:
        """Why the bot cannot post to a channel; None if it can, or if this cannot be checked."""
        answer = await self._call("GET", "conversations.info", params={"channel": channel})
        if isinstance(answer, SendResult):
            # Posting does not need the scope of conversations.info.
            is_unknown = answer.error is not None and answer.error.code == "missing_scope"
            return None if is_unknown else answer
        value = answer.fields.get("channel")
        details: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
        if details.get("is_archived"):
            return failed(SLACK, "is_archived")
        if details.get("is_member") or (may_post_to_public and not details.get("is_private")):
            return None
        return failed(SLACK, "not_in_channel")


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
    """True if the Web API reports success in its answer."""
    return answer.status == 200 and answer.fields.get("ok") is True


def is_token(text: str) -> bool:
    """True if a header can contain the text as a token."""
    return _TOKEN.fullmatch(text) is not None


def _timestamp(value: object) -> str | None:
    """Slack's message id, or None if the value does not have its form."""
    return value if isinstance(value, str) and _TIMESTAMP.fullmatch(value) else None


def _body(message: Message) -> dict[str, Any]:
    """The text is a fallback for notifications. Slack interprets no markup in it, and shows no preview of a link."""
    body = {"text": message.text, "mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
    return {**body, "blocks": message.rich} if message.rich else body


def _meaning(answer: Answer) -> SendResult:
    """The result of an answer that is not a success."""
    fields = answer.fields
    if answer.status == 200 and not fields:
        # For example a company's login page, or an answer longer than any of Slack's.
        return failed(SLACK, "unknown", "the answer is not Slack's")
    return refused(SLACK, answer.status, fields.get("error"), retry_after=retry_after(answer.headers))


def _section_length(block: Mapping[str, Any]) -> int:
    text = block.get("text")
    if block.get("type") != "section" or not isinstance(text, Mapping):
        return 0
    return len(str(text.get("text", "")))
