"""Microsoft Teams: an Adaptive Card to a Workflows (Power Automate) webhook."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import aiohttp
from typing_extensions import override
from yarl import URL

from include.skillreport.messaging.address_guard import is_allowed
from include.skillreport.messaging.channels.channel import ChannelClient, ChannelFinding, finding
from include.skillreport.messaging.channels.exchange import (
    UNANSWERED,
    refused,
    refused_url,
    request,
    retry_after,
    unanswered,
)
from include.skillreport.messaging.channels.teams import (
    ENVIRONMENT_HOST,
    TEAMS,
    TeamsConfig,
    card_of,
    encoded,
    is_small_enough,
)
from include.skillreport.messaging.message import Message
from include.skillreport.messaging.outcome import Outcome, SendResult, failed

# Power Automate's own addresses at this host stopped on 30 November 2025. Azure Logic Apps still has it.
_OLD_HOST = ".logic.azure.com"
_WORKFLOW_HOSTS = (_OLD_HOST, ENVIRONMENT_HOST)
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
        return None if is_small_enough(_card(message)) else failed(TEAMS, "too_large")

    @override
    async def send(self, message: Message) -> SendResult:
        if (refusal := self.check(message)) is not None:
            return refusal
        try:
            answer = await request(
                self._session,
                "POST",
                self._url,
                data=encoded({"type": "message", "attachments": [_card(message)]}).encode(),
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
    async def validate(self, destinations: Collection[str] = ()) -> list[ChannelFinding]:
        """Any request to a webhook posts a message, so only its URL is checked."""
        if refusal := self._check_settings():
            return finding(refusal)
        if not URL(self._url).query.get("sig"):
            return finding(failed(TEAMS, "http_401", "the URL has no sig"))
        is_old = (URL(self._url).host or "").endswith(_OLD_HOST)
        return finding(failed(TEAMS, "old_address")) if is_old else []

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


def _card(message: Message) -> dict[str, Any]:
    return card_of(message.rich or _plain_card(message))


def _plain_card(message: Message) -> list[dict[str, Any]]:
    return [
        {"type": "TextBlock", "text": message.subject, "weight": "Bolder", "wrap": True},
        {"type": "TextBlock", "text": message.text, "wrap": True},
    ]
