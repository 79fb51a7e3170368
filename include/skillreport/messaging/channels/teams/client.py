"""Microsoft Teams: an Adaptive Card to a Workflows (Power Automate) webhook."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import aiohttp
from typing_extensions import override
from yarl import URL

from include.skillreport.messaging.address_guard import is_allowed
from include.skillreport.messaging.channels.channel import ChannelClient, Finding, finding
from include.skillreport.messaging.channels.exchange import (
    UNANSWERED,
    refused,
    refused_url,
    request,
    retry_after,
    unanswered,
)
from include.skillreport.messaging.channels.teams import SIZE_LIMIT, TEAMS, TeamsConfig
from include.skillreport.messaging.message import Message
from include.skillreport.messaging.outcome import Outcome, SendResult, failed

_WORKFLOW_HOSTS = (".logic.azure.com", ".environment.api.powerplatform.com")
_RETIRED_HOSTS = ("webhook.office.com", "outlook.office.com", "outlook.office365.com")


class Client(ChannelClient):
    """The webhook is the destination. It does not report whether the workflow posts an accepted card."""

    def __init__(
        self, config: TeamsConfig, session: aiohttp.ClientSession, allowed_hosts: Collection[str] = ()
    ) -> None:
        self._url = config.webhook_url
        self._session = session
        self._allowed_hosts = allowed_hosts

    @override
    def check(self, message: Message) -> SendResult | None:
        if refusal := self._check_settings():
            return refusal
        size = len(_body(message))
        return failed(TEAMS, "too_large", f"{size} bytes") if size >= SIZE_LIMIT else None

    @override
    async def send(self, message: Message) -> SendResult:
        if (refusal := self.check(message)) is not None:
            return refusal
        try:
            answer = await request(
                self._session,
                "POST",
                self._url,
                data=_body(message),
                headers={"Content-Type": "application/json"},
            )
        except UNANSWERED as error:
            return unanswered(TEAMS, error)
        if answer.ok:
            return SendResult(Outcome.SENT, detail="accepted")
        # Flows answer {"error": {"code": …}}, or only its content.
        problem = answer.fields.get("error", answer.fields)
        code = problem.get("code") if isinstance(problem, dict) else None
        return refused(TEAMS, answer.status, code, retry_after=retry_after(answer.headers))

    @override
    async def validate(self, destinations: Collection[str] = ()) -> list[Finding]:
        """Any request to a webhook posts a message, so only its URL is checked."""
        if refusal := self._check_settings():
            return finding(refusal)
        if not URL(self._url).query.get("sig"):
            return finding(failed(TEAMS, "http_401", "the URL has no sig"))
        return []

    def _check_settings(self) -> SendResult | None:
        if not self._url:
            return failed(TEAMS, "not_configured")
        if refusal := refused_url(TEAMS, self._url, self._allowed_hosts):
            return refusal
        host = URL(self._url).host or ""
        if any(host == retired or host.endswith(f".{retired}") for retired in _RETIRED_HOSTS):
            return failed(TEAMS, "retired_connector")
        if not host.endswith(_WORKFLOW_HOSTS) and not is_allowed(self._url, self._allowed_hosts):
            return failed(TEAMS, "refused_address", f"{host} はワークフローの URL ではありません")
        return None


def _body(message: Message) -> bytes:
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": message.rich or _plain_card(message),
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    # Not escaped: a Japanese character has three bytes in UTF-8 and six as an escape.
    return json.dumps({"type": "message", "attachments": [attachment]}, ensure_ascii=False).encode()


def _plain_card(message: Message) -> list[dict[str, Any]]:
    return [
        {"type": "TextBlock", "text": message.subject, "weight": "Bolder", "wrap": True},
        {"type": "TextBlock", "text": message.text, "wrap": True},
    ]
