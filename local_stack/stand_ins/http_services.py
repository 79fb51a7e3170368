"""The server of all services over HTTP, and the parts of Teams and LINE WORKS that the batches use, with the same checks and answers."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

import jwt
from aiohttp import web

from local_stack.stand_ins.alert_receiver import AlertReceiver
from local_stack.stand_ins.chat_service import (
    ChatService,
    bearer,
    failure,
    json_object,
    retry_headers,
    status_and_code,
)
from local_stack.stand_ins.directories import LINE_WORKS_PER_MINUTE, Directories
from local_stack.stand_ins.facts import facts_of, statuses
from local_stack.stand_ins.faults import Faults, Limits, RateLimit
from local_stack.stand_ins.flows import Flows
from local_stack.stand_ins.mail_tokens import MailTokens
from local_stack.stand_ins.page import listing
from local_stack.stand_ins.recorder import Arrived, MessageLog, shown_headers
from local_stack.stand_ins.slack import Slack

_WORKFLOWS = "/powerautomate/automations/direct/workflows"
WORKFLOW_ID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
WORKFLOW_SIGNATURE = "stand-in-signature"

_PAGERDUTY_RATE = facts_of("pagerduty")["rate"]

# Requests and seconds. Slack allows short bursts to a channel, which are not allowed here.
_PUBLISHED_LIMITS = {
    "slack_channel": (1, 1.0),
    "slack_workspace": (600, 60.0),
    "slack_webhook": (1, 1.0),
    # conversations.info: tier 3.
    "slack_lookup": (50, 60.0),
    # Calls of the Teams connector for a connection (Microsoft's page of the connector, December 2026).
    "teams": (100, 60.0),
    "line_works": (LINE_WORKS_PER_MINUTE, 60.0),
    "pagerduty": (_PAGERDUTY_RATE["calls"], float(_PAGERDUTY_RATE["seconds"])),
}
# Slack: tier 2.
_DIRECTORY_LIMITS = {"slack": (20, 60.0), "line_works": (LINE_WORKS_PER_MINUTE, 60.0)}

_CARD_TYPE = "application/vnd.microsoft.card.adaptive"


class HttpServices(ChatService):
    """One server for all services, and for the pages with the received messages. Use it in one event loop."""

    def __init__(
        self, recorder: MessageLog, faults: Faults, *, rate_limits: bool, line_works_public_key: str = ""
    ) -> None:
        super().__init__(recorder, faults, Limits())
        # The lifetime of LINE WORKS' tokens, in seconds.
        self.token_lifetime = 86_400
        self.tokens_issued = 0
        # LINE WORKS' tokens, and the client of each.
        self.valid_tokens: dict[str, str] = {}
        self.directories = Directories(faults)
        self.slack = Slack(recorder, faults, self.limits, self.directories)
        self.flows = Flows(recorder)
        self.mail_tokens = MailTokens(faults)
        self._line_works_public_key = line_works_public_key
        self.limit_rates(rate_limits)
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.1)

    def limit_rates(self, enforced: bool) -> None:
        """Enforce the published limits, or none."""
        for limits, published in (
            (self.limits, _PUBLISHED_LIMITS),
            (self.directories.limits, _DIRECTORY_LIMITS),
        ):
            limits.clear()
            for name, (requests, seconds) in published.items() if enforced else ():
                limits.set(name, RateLimit(requests, seconds))

    async def start(self, port: int) -> int:
        """Listen on 127.0.0.1; 0 selects a free port. Returns the port."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close, without waiting for open requests. The runs of flows that wait are lost."""
        self.flows.stop()
        await self._runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=4 * 1024**2)
        application.add_routes(
            [
                web.get("/", self._page),
                web.get("/messages", self._messages),
                *self.slack.routes(),
                web.post(f"{_WORKFLOWS}/{{workflow}}/triggers/manual/paths/invoke", self._teams),
                web.post("/oauth2/v2.0/token", self._line_works_token),
                web.get("/v1.0/bots/{bot}", self._line_works_bot),
                web.get("/v1.0/{api:users|groups}", self._line_works_directory),
                web.get("/v1.0/bots/{bot}/channels/{channel}", self._line_works_directory),
                web.post("/v1.0/bots/{bot}/{kind:users|channels}/{recipient}/messages", self._line_works),
                *self.mail_tokens.routes(),
                *self.directories.routes(),
                *AlertReceiver(self.recorder, self.faults, self.limits).routes(),
            ]
        )
        return application

    # The pages.

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text=listing(self.recorder.messages), content_type="text/html")

    async def _messages(self, _: web.Request) -> web.Response:
        shown = [message.as_json() for message in self.recorder.messages]
        return web.json_response(shown, dumps=lambda value: json.dumps(value, ensure_ascii=False))

    # Teams.

    async def _teams(self, request: web.Request) -> web.Response:
        raw = await request.text()
        workflow = request.match_info["workflow"]
        if (fault := self.faults.take("teams")) is not None:
            return failure(request, fault, _teams_refusal)
        if request.query.get("sig") != WORKFLOW_SIGNATURE:
            return _teams_refusal(401 if "sig" in request.query else "DirectApiAuthorizationRequired")
        body = json_object(raw)
        if not body:
            return _teams_refusal("InvalidRequestContent")
        if (card := _card(body)) is None:
            # The trigger has taken the request. The action that posts fails.
            self.flows.failed += 1
        else:
            headers = shown_headers(request.headers)
            arrived = Arrived("teams", workflow, card_text(card), rich=card, headers=headers)
            self.flows.post(arrived, self.limits.get("teams"))
        await self.delay_answer(request, "teams")
        return web.Response(status=202)

    # LINE WORKS.

    async def _line_works_token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if (fault := self.faults.take("line_works_auth")) is not None:
            return failure(request, fault, _token_refusal)
        if problem := self._token_problem({name: str(value) for name, value in form.items()}):
            return _token_refusal(problem)
        await self.delay_answer(request, "line_works_auth")
        token = f"line-works-{secrets.token_hex(8)}"
        self.tokens_issued += 1
        self.valid_tokens[token] = str(form["client_id"])
        return web.json_response(
            {
                "access_token": token,
                "refresh_token": f"refresh-{secrets.token_hex(8)}",
                "token_type": "Bearer",
                "expires_in": str(self.token_lifetime),
                "scope": str(form.get("scope", "")),
            }
        )

    def _token_problem(self, form: Mapping[str, str]) -> str:
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return "unsupported_grant_type"
        if not form.get("client_id") or not form.get("client_secret"):
            return "invalid_client"
        if not form.get("scope"):
            return "invalid_scope"
        try:
            claims = jwt.decode(
                form.get("assertion", ""),
                self._line_works_public_key,
                algorithms=["RS256"],
                options={
                    "verify_signature": bool(self._line_works_public_key),
                    "verify_exp": True,
                    "require": ["iss", "sub", "iat", "exp"],
                },
            )
        except jwt.PyJWTError:
            return "invalid_grant"
        lifetime = claims["exp"] - claims["iat"]
        return "" if claims["iss"] == form["client_id"] and 0 < lifetime <= 3600 else "invalid_grant"

    async def _line_works_bot(self, request: web.Request) -> web.Response:
        if (refusal := await self._line_works_problem(request)) is not None:
            return refusal
        if code := self.faults.refusal_of(request.match_info["bot"]):
            return _line_works_refusal(code)
        return web.json_response({"botId": request.match_info["bot"], "botName": "stand-in"})

    async def _line_works_directory(self, request: web.Request) -> web.Response:
        if (refusal := await self._line_works_problem(request)) is not None:
            return refusal
        client_id = self.valid_tokens[bearer(request)]
        api, channel = request.match_info.get("api", "rooms"), request.match_info.get("channel", "")
        if code := self.faults.refusal_of(channel):
            return _line_works_refusal(code)
        return self.directories.line_works(api, client_id, request.query, channel)

    async def _line_works(self, request: web.Request) -> web.Response:
        body = json_object(await request.text())
        if (refusal := await self._line_works_problem(request)) is not None:
            return refusal
        recipient = request.match_info["recipient"]
        if code := self.faults.refusal_of(recipient):
            return _line_works_refusal(code)
        content = body.get("content")
        text = content.get("text") if isinstance(content, dict) and content.get("type") == "text" else None
        if not isinstance(text, str) or not 0 < len(text) <= 2_000:
            return _line_works_refusal("INVALID_PARAMETER")
        bot = request.match_info["bot"]
        if wait := self.limits.wait("line_works", bot):
            return _line_works_refusal("TOO_MANY_REQUESTS", wait)
        destination = f"{request.match_info['kind']}/{recipient}"
        await self.record(
            request, Arrived("line_works", destination, text, headers=shown_headers(request.headers))
        )
        return web.Response(status=201, headers=self._line_works_headers(bot))

    def _line_works_headers(self, bot: str) -> dict[str, str]:
        limit = self.limits.get("line_works")
        if limit is None:
            return {}
        left = max(limit.requests - limit.used(bot), 0)
        return {"rateLimit-limit": str(round(limit.per_minute)), "rateLimit-remaining": str(left)}

    async def _line_works_problem(self, request: web.Request) -> web.Response | None:
        if (fault := self.faults.take("line_works")) is not None:
            return failure(request, fault, _line_works_refusal)
        return None if bearer(request) in self.valid_tokens else _line_works_refusal("UNAUTHORIZED")


def _line_works_refusal(code: str | int, retry_after: str | int | None = None) -> web.Response:
    headers = {} if retry_after is None else {"rateLimit-remaining": "0", "rateLimit-reset": str(retry_after)}
    if isinstance(code, int):
        return web.Response(status=code, headers=headers)
    status, name = status_and_code(code, statuses("line_works"), 400)
    return web.json_response(
        {"code": name, "description": "refused by the stand-in"}, status=status, headers=headers
    )


def _teams_refusal(code: str | int, retry_after: str | int | None = None) -> web.Response:
    usual = (code, "Refused") if isinstance(code, int) else status_and_code(code, statuses("teams"), 400)
    problem = {"error": {"code": usual[1], "message": "refused by the stand-in"}}
    return web.json_response(problem, status=usual[0], headers=retry_headers(retry_after))


def _token_refusal(code: str | int, retry_after: str | int | None = None) -> web.Response:
    headers = {} if retry_after is None else {"rateLimit-reset": str(retry_after)}
    if isinstance(code, int):
        return web.Response(status=code, headers=headers)
    status, name = status_and_code(code, statuses("line_works_auth"), 400)
    return web.json_response({"error": name}, status=status, headers=headers)


def _card(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The Adaptive Card in a request to a workflow; None if there is none."""
    attachments = body.get("attachments")
    if body.get("type") != "message" or not isinstance(attachments, list) or len(attachments) != 1:
        return None
    attachment = attachments[0]
    if not isinstance(attachment, dict) or attachment.get("contentType") != _CARD_TYPE:
        return None
    card = attachment.get("content")
    whole = (
        isinstance(card, dict) and card.get("type") == "AdaptiveCard" and isinstance(card.get("body"), list)
    )
    return card if whole else None


def card_text(card: Mapping[str, Any]) -> str:
    """The texts of an Adaptive Card, one per line."""
    blocks = [block for block in card["body"] if isinstance(block, dict)]
    runs = [run for block in blocks for run in block.get("inlines", [block])]
    return "\n".join(str(run["text"]) for run in runs if "text" in run)
