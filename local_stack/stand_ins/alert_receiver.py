"""The receiver of the operators' channel over HTTP: signed JSON, checked with the library of Standard Webhooks, and PagerDuty."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from local_stack.stand_ins.chat_service import ChatService, json_object, retry_headers
from local_stack.stand_ins.facts import facts_of
from local_stack.stand_ins.faults import HANG_UP
from local_stack.stand_ins.recorder import Arrived, shown_headers

# The key of the signature in airflow_settings.yaml.
RECEIVER_KEY = "whsec_bG9jYWwgYWxlcnQga2V5IG9mIHRoZSBkZW1v"

PAGERDUTY = facts_of("pagerduty")
_LIMITS, _MOST_BYTES = PAGERDUTY["limits"], PAGERDUTY["size"]["bytes"]


class AlertReceiver(ChatService):
    """``POST /alerts`` accepts signed JSON, ``POST /v2/enqueue`` accepts events of PagerDuty (Events API v2)."""

    def routes(self) -> list[web.RouteDef]:
        """The routes of both presets."""
        return [web.post("/alerts", self._signed), web.post("/v2/enqueue", self._pagerduty)]

    async def _signed(self, request: web.Request) -> web.Response:
        try:
            message = Webhook(RECEIVER_KEY).verify(await request.read(), dict(request.headers))
        except WebhookVerificationError:
            return web.Response(status=401)
        return await self._record(request, message, web.Response(status=202))

    async def _pagerduty(self, request: web.Request) -> web.Response:
        raw = await request.text()
        event = json_object(raw)
        if not event:
            return _invalid("Unrecognized object", ["JSON parse error"])
        # Without a key, each event is an alert of its own.
        event.setdefault("dedup_key", secrets.token_hex(16))
        problems = list(_problems(event))
        if len(raw.encode()) > _MOST_BYTES:
            problems.append(f"more than {_MOST_BYTES} bytes")
        if problems:
            return _invalid("invalid event", problems)
        if self.limits.wait("pagerduty", event["routing_key"]):
            return web.Response(status=429)
        taken = {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}
        shown = {**event, "title": event["payload"]["summary"], "routing_key": "***"}
        return await self._record(request, shown, web.json_response(taken, status=202))

    async def _record(
        self, request: web.Request, message: dict[str, Any], answer: web.Response
    ) -> web.Response:
        fault = self.faults.take("alerts", HANG_UP)
        if fault is None and (fault := self.faults.take("alerts")) is not None:
            return web.Response(status=int(fault.code), headers=retry_headers(fault.retry_after))
        headers = shown_headers(request.headers)
        self.recorder.add(Arrived("alerts", "", message["title"], rich=message, headers=headers))
        await self.faults.answer_is_due("alerts")
        if fault is not None and request.transport is not None:
            request.transport.abort()
        return answer


def _invalid(status: str, problems: list[str]) -> web.Response:
    return web.json_response({"status": status, "message": "invalid", "errors": problems}, status=400)


def _problems(event: Mapping[str, Any]) -> Iterator[str]:
    """What PagerDuty refuses in an event that triggers an alert."""
    if len(str(event.get("routing_key", ""))) != _LIMITS["routing_key"]:
        yield f"routing_key has not {_LIMITS['routing_key']} characters"
    if event.get("event_action") not in _LIMITS["actions"]:
        yield "event_action is unknown"
    if len(str(event["dedup_key"])) > _LIMITS["dedup_key"]:
        yield "dedup_key is too long"
    payload = event.get("payload")
    if not isinstance(payload, dict):
        yield "payload is missing"
        return
    if not 0 < len(str(payload.get("summary", ""))) <= _LIMITS["summary"]:
        yield "payload.summary is missing or too long"
    if not payload.get("source"):
        yield "payload.source is missing"
    if payload.get("severity") not in _LIMITS["severities"]:
        yield "payload.severity is unknown"
    if not isinstance(payload.get("custom_details", {}), dict):
        yield "payload.custom_details is no object"
    if not all(isinstance(link, dict) and link.get("href") for link in event.get("links", ())):
        yield "a link has no href"
