"""The receiver of the operators' channel over HTTP: it checks the signature, as docs/alerts.md describes it."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

from aiohttp import web

from local_stack.stand_ins.faults import HANG_UP, Faults
from local_stack.stand_ins.recorder import Arrived, Recorder, shown_headers

# The key of the signature in airflow_settings.yaml.
RECEIVER_KEY = "local-alert-key"

# A request with an older timestamp is refused, so that it cannot be replayed later.
_OLDEST_SECONDS = 300


class AlertReceiver:
    """``POST /alerts`` accepts signed JSON, ``POST /v2/enqueue`` accepts events of PagerDuty."""

    def __init__(self, recorder: Recorder, faults: Faults) -> None:
        self._recorder = recorder
        self._faults = faults

    def routes(self) -> list[web.RouteDef]:
        """The routes of both presets."""
        return [web.post("/alerts", self._signed), web.post("/v2/enqueue", self._pagerduty)]

    async def _signed(self, request: web.Request) -> web.Response:
        body = await request.read()
        timestamp = request.headers.get("X-Skill-Batch-Timestamp", "")
        expected = hmac.new(
            RECEIVER_KEY.encode(), f"{timestamp}.".encode() + body, hashlib.sha256
        ).hexdigest()
        given = request.headers.get("X-Skill-Batch-Signature", "")
        if not hmac.compare_digest(given, f"v1={expected}"):
            return web.Response(status=401)
        if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > _OLDEST_SECONDS:
            return web.Response(status=401)
        return await self._record(request, json.loads(body))

    async def _pagerduty(self, request: web.Request) -> web.Response:
        event = await request.json()
        if not event.get("routing_key") or event.get("event_action") != "trigger":
            return web.json_response({"status": "invalid event"}, status=400)
        return await self._record(
            request, {**event, "title": event["payload"]["summary"], "routing_key": "***"}
        )

    async def _record(self, request: web.Request, message: dict[str, Any]) -> web.Response:
        fault = self._faults.take("alerts", HANG_UP)
        if fault is None and (fault := self._faults.take("alerts")) is not None:
            headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            return web.Response(status=int(fault.code), headers=headers)
        headers = shown_headers(request.headers)
        self._recorder.add(Arrived("alerts", "", message["title"], rich=message, headers=headers))
        await self._faults.answer_is_due("alerts")
        if fault is not None and request.transport is not None:
            request.transport.abort()
        return web.Response(status=202)
