"""The parts of Slack, Teams and LINE WORKS that the batches use, with the same requests, checks and answers."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import jwt
from aiohttp import web

from local_stack.stand_ins.alert_receiver import AlertReceiver
from local_stack.stand_ins.directories import Directories
from local_stack.stand_ins.faults import HANG_UP, Fault, Faults, PausingLimit, RateLimit
from local_stack.stand_ins.flows import Flows
from local_stack.stand_ins.mail_tokens import MailTokens
from local_stack.stand_ins.page import listing
from local_stack.stand_ins.recorder import Arrived, Recorder, shown_headers

_WORKFLOWS = "/powerautomate/automations/direct/workflows"
WORKFLOW_ID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
WORKFLOW_SIGNATURE = "stand-in-signature"

# Requests and seconds. Slack allows short bursts to a channel, which are not allowed here.
_PUBLISHED_LIMITS = {
    "slack_channel": (1, 1.0),
    "slack_workspace": (600, 60.0),
    "slack_webhook": (1, 1.0),
    # conversations.info: tier 3.
    "slack_lookup": (50, 60.0),
    # Calls of the Teams connector for a connection (Microsoft's page of the connector, December 2026).
    "teams": (100, 60.0),
    "line_works": (240, 60.0),
}

_Refusal = Callable[[str | int, str | int | None], web.Response]

_CARD_TYPE = "application/vnd.microsoft.card.adaptive"

# The HTTP status of an error code, if it is not the usual one.
_SLACK_API_STATUS = {"ratelimited": 429, "service_unavailable": 503}
_SLACK_WEBHOOK_STATUS = {
    "action_prohibited": 403,
    "channel_not_found": 404,
    "channel_is_archived": 410,
    "rate_limited": 429,
    "rollup_error": 500,
}
_TEAMS_STATUS = {"DirectApiAuthorizationRequired": 401, "WorkflowNotFound": 404}
_LINE_WORKS_STATUS = {
    "INVALID_PARAMETER": 400,
    # The company's table of errors says 401, and its samples 403.
    "UNAUTHORIZED": 403,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "TOO_MANY_REQUESTS": 429,
}


class HttpServices:
    """One server for all services, and for the pages with the received messages. Use it in one event loop."""

    def __init__(
        self, recorder: Recorder, faults: Faults, *, rate_limits: bool, line_works_public_key: str = ""
    ) -> None:
        self.slack_scopes = "chat:write,channels:read"
        # The lifetime of LINE WORKS' tokens, in seconds.
        self.token_lifetime = 86_400
        self.tokens_issued = 0
        # LINE WORKS' tokens, and the client of each.
        self.valid_tokens: dict[str, str] = {}
        self.directories = Directories(faults)
        # The number of messages that were refused by a rate limit.
        self.refused_for_rate = 0
        self.flows = Flows(recorder)
        self.mail_tokens = MailTokens(faults)
        self._recorder = recorder
        self._faults = faults
        self._line_works_public_key = line_works_public_key
        self._limits: dict[str, RateLimit] = {}
        self.limit_rates(rate_limits)
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.1)

    def limit_rates(self, enforced: bool) -> None:
        """Enforce the published limits, or none."""
        self.directories.rate_limits = enforced
        self._limits.clear()
        if enforced:
            for name, (requests, seconds) in _PUBLISHED_LIMITS.items():
                self.set_limit(name, requests, seconds)

    def set_limit(self, name: str, requests: int, seconds: float) -> None:
        """Enforce a limit: ``slack_channel``, ``slack_workspace``, ``slack_webhook``, ``slack_lookup``, ``teams`` or ``line_works``."""
        self._limits[name] = RateLimit(requests, seconds)

    def pause_after(self, name: str, requests: int, seconds: float) -> None:
        """Refuse for so many seconds after every so many requests, with the names of ``set_limit``."""
        self._limits[name] = PausingLimit(requests, seconds)

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
                web.route("*", "/api/{method}", self._slack_api),
                web.post("/services/{tail:.+}", self._slack_webhook),
                web.post(f"{_WORKFLOWS}/{{workflow}}/triggers/manual/paths/invoke", self._teams),
                web.post("/oauth2/v2.0/token", self._line_works_token),
                web.get("/v1.0/bots/{bot}", self._line_works_bot),
                web.get("/v1.0/{api:users|groups}", self._line_works_directory),
                web.get("/v1.0/bots/{bot}/channels/{channel}", self._line_works_directory),
                web.post("/v1.0/bots/{bot}/{kind:users|channels}/{recipient}/messages", self._line_works),
                *self.mail_tokens.routes(),
                *self.directories.routes(),
                *AlertReceiver(self._recorder, self._faults).routes(),
            ]
        )
        return application

    # The pages.

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text=listing(self._recorder.messages), content_type="text/html")

    async def _messages(self, _: web.Request) -> web.Response:
        shown = [message.as_json() for message in self._recorder.messages]
        return web.json_response(shown, dumps=lambda value: json.dumps(value, ensure_ascii=False))

    # Slack.

    async def _slack_api(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        body = {**request.query, **_object(await request.text())}
        if (fault := self._faults.take("slack")) is not None:
            return _failure(request, fault, _slack_api_refusal)
        token = request.headers.get("Authorization", "").removeprefix("Bearer").strip()
        if not token.startswith("xoxb-"):
            return _slack_api_refusal("invalid_auth" if token else "not_authed")
        if method == "auth.test":
            return web.json_response(
                {"ok": True, "team": "stand-in", "user": "batch"},
                headers={"X-OAuth-Scopes": self.slack_scopes},
            )
        if method == "conversations.info":
            if wait := self._wait("slack_lookup", token):
                return _slack_api_refusal("ratelimited", math.ceil(wait))
            return self._slack_channel(str(body.get("channel", "")))
        if method in ("users.list", "conversations.list"):
            return self.directories.slack(method, token, request.query)
        if method == "chat.postMessage":
            return await self._slack_post(request, body)
        return _slack_api_refusal("unknown_method")

    def _slack_channel(self, channel: str) -> web.Response:
        refusal = self._faults.refusal_of(channel)
        if refusal not in (None, "not_in_channel", "is_archived"):
            return _slack_api_refusal(refusal)
        about = {
            "id": channel,
            "is_archived": refusal == "is_archived",
            "is_member": refusal != "not_in_channel",
        }
        return web.json_response({"ok": True, "channel": about})

    async def _slack_post(self, request: web.Request, body: Mapping[str, Any]) -> web.Response:
        channel, text, blocks = str(body.get("channel", "")), str(body.get("text", "")), body.get("blocks")
        if not channel:
            return _slack_api_refusal("channel_not_found")
        if refusal := self._faults.refusal_of(channel):
            return _slack_api_refusal(refusal)
        if not text and not blocks:
            return _slack_api_refusal("no_text")
        if len(text) > 40_000:
            return _slack_api_refusal("msg_too_long")
        if blocks is not None and (not isinstance(blocks, list) or len(blocks) > 50):
            return _slack_api_refusal("invalid_blocks")
        wait = self._wait("slack_channel", channel) or self._wait("slack_workspace", _bearer(request))
        if wait:
            return _slack_api_refusal("ratelimited", math.ceil(wait))
        headers, options = shown_headers(request.headers), _slack_options(body)
        arrived = Arrived("slack", channel, text, rich=blocks, headers=headers, options=options)
        await self._record(request, arrived)
        return web.json_response(
            {"ok": True, "channel": channel, "ts": f"{arrived.arrived_at.timestamp():.6f}"}
        )

    async def _slack_webhook(self, request: web.Request) -> web.Response:
        raw = await request.text()
        if (fault := self._faults.take("slack")) is not None:
            return _failure(request, fault, _slack_webhook_refusal)
        body = _object(raw)
        if not body:
            return _slack_webhook_refusal("invalid_payload")
        text, blocks = str(body.get("text", "")), body.get("blocks")
        if not text and not blocks:
            return _slack_webhook_refusal("no_text")
        if wait := self._wait("slack_webhook", request.path):
            return _slack_webhook_refusal("rate_limited", math.ceil(wait))
        headers, options = shown_headers(request.headers), _slack_options(body)
        await self._record(request, Arrived("slack", "", text, rich=blocks, headers=headers, options=options))
        return web.Response(text="ok")

    # Teams.

    async def _teams(self, request: web.Request) -> web.Response:
        raw = await request.text()
        workflow = request.match_info["workflow"]
        if (fault := self._faults.take("teams")) is not None:
            return _failure(request, fault, _teams_refusal)
        if request.query.get("sig") != WORKFLOW_SIGNATURE:
            return _teams_refusal(401)
        card = _card(_object(raw))
        if card is None:
            return _teams_refusal(400)
        self.flows.post(
            Arrived("teams", workflow, card_text(card), rich=card, headers=shown_headers(request.headers)),
            self._limits.get("teams"),
        )
        await self._delay_answer(request, "teams")
        return web.Response(status=202)

    # LINE WORKS.

    async def _line_works_token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if (fault := self._faults.take("line_works_auth")) is not None:
            return _failure(request, fault, _token_refusal)
        if problem := self._token_problem({name: str(value) for name, value in form.items()}):
            return _token_refusal(problem)
        await self._delay_answer(request, "line_works_auth")
        token = f"line-works-{secrets.token_hex(8)}"
        self.tokens_issued += 1
        self.valid_tokens[token] = str(form["client_id"])
        return web.json_response(
            {
                "access_token": token,
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
        if code := self._faults.refusal_of(request.match_info["bot"]):
            return self._line_works_refusal(code)
        return web.json_response({"botId": request.match_info["bot"], "botName": "stand-in"})

    async def _line_works_directory(self, request: web.Request) -> web.Response:
        if (refusal := await self._line_works_problem(request)) is not None:
            return refusal
        client_id = self.valid_tokens[_bearer(request)]
        api, channel = request.match_info.get("api", "rooms"), request.match_info.get("channel", "")
        return self.directories.line_works(api, client_id, request.query, channel)

    async def _line_works(self, request: web.Request) -> web.Response:
        body = _object(await request.text())
        if (refusal := await self._line_works_problem(request)) is not None:
            return refusal
        recipient = request.match_info["recipient"]
        if code := self._faults.refusal_of(recipient):
            return self._line_works_refusal(code)
        content = body.get("content")
        text = content.get("text") if isinstance(content, dict) and content.get("type") == "text" else None
        if not isinstance(text, str) or not 0 < len(text) <= 2_000:
            return self._line_works_refusal("INVALID_PARAMETER")
        if wait := self._wait("line_works", request.match_info["bot"]):
            return self._line_works_refusal("TOO_MANY_REQUESTS", math.ceil(wait))
        destination = f"{request.match_info['kind']}/{recipient}"
        await self._record(
            request, Arrived("line_works", destination, text, headers=shown_headers(request.headers))
        )
        return web.Response(status=201, headers=self._line_works_headers())

    def _line_works_headers(self) -> dict[str, str]:
        limit = self._limits.get("line_works")
        return {"rateLimit-limit": str(round(limit.per_minute))} if limit else {}

    async def _line_works_problem(self, request: web.Request) -> web.Response | None:
        if (fault := self._faults.take("line_works")) is not None:
            return _failure(request, fault, self._line_works_refusal)
        return None if _bearer(request) in self.valid_tokens else self._line_works_refusal("UNAUTHORIZED")

    def _line_works_refusal(self, code: str | int, retry_after: str | int | None = None) -> web.Response:
        headers = self._line_works_headers() | {"rateLimit-remaining": "0"}
        if retry_after is not None:
            headers["rateLimit-reset"] = str(retry_after)
        if isinstance(code, int):
            return web.Response(status=code, headers=headers)
        return web.json_response(
            {"code": code, "description": "refused by the stand-in"},
            status=_LINE_WORKS_STATUS.get(code, 400),
            headers=headers,
        )

    # All services.

    def _wait(self, name: str, key: str) -> float:
        limit = self._limits.get(name)
        wait = limit.wait(key) if limit else 0.0
        self.refused_for_rate += wait > 0
        return wait

    async def _record(self, request: web.Request, message: Arrived) -> None:
        self._recorder.add(message)
        await self._delay_answer(request, message.channel)

    async def _delay_answer(self, request: web.Request, service: str) -> None:
        """Wait until the service answers, or close the connection without an answer."""
        await self._faults.answer_is_due(service)
        if self._faults.take(service, HANG_UP):
            assert request.transport is not None
            request.transport.abort()


def _bearer(request: web.Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


def _failure(request: web.Request, fault: Fault, refusal: _Refusal) -> web.Response:
    if isinstance(fault.code, int) and 300 <= fault.code < 400:
        return web.Response(status=fault.code, headers={"Location": f"http://{request.host}/"})
    return refusal(fault.code, fault.retry_after)


def _slack_api_refusal(code: str | int, retry_after: str | int | None = None) -> web.Response:
    headers = _retry_headers(retry_after)
    if isinstance(code, int):
        return web.Response(status=code, text="<html></html>", content_type="text/html", headers=headers)
    status = _SLACK_API_STATUS.get(code, 200)
    return web.json_response({"ok": False, "error": code}, status=status, headers=headers)


def _slack_webhook_refusal(code: str | int, retry_after: str | int | None = None) -> web.Response:
    status = code if isinstance(code, int) else _SLACK_WEBHOOK_STATUS.get(code, 400)
    return web.Response(status=status, text=str(code), headers=_retry_headers(retry_after))


def _teams_refusal(code: str | int, retry_after: str | int | None = None) -> web.Response:
    status, name = (code, "Refused") if isinstance(code, int) else (_TEAMS_STATUS.get(code, 400), code)
    problem = {"error": {"code": name, "message": "refused by the stand-in"}}
    return web.json_response(problem, status=status, headers=_retry_headers(retry_after))


def _token_refusal(code: str | int, retry_after: str | int | None = None) -> web.Response:
    headers = {} if retry_after is None else {"rateLimit-reset": str(retry_after)}
    if isinstance(code, int):
        return web.Response(status=code, headers=headers)
    return web.json_response(
        {"error": code}, status=401 if code == "invalid_client" else 400, headers=headers
    )


def _retry_headers(retry_after: str | int | None) -> dict[str, str]:
    return {} if retry_after is None else {"Retry-After": str(retry_after)}


def _slack_options(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in ("channel", "text", "blocks")}


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


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
