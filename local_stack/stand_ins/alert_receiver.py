"""The receiver of the operators' channel over HTTP. It checks the signature with the library of Standard Webhooks."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from local_stack.stand_ins.faults import HANG_UP, Faults
from local_stack.stand_ins.recorder import Arrived, Recorder, shown_headers

# The key of the signature in airflow_settings.yaml.
RECEIVER_KEY = "whsec_bG9jYWwgYWxlcnQga2V5IG9mIHRoZSBkZW1v"


class AlertReceiver:
    """``POST /alerts`` accepts signed JSON, ``POST /v2/enqueue`` accepts events of PagerDuty."""

    def __init__(self, recorder: Recorder, faults: Faults) -> None:
        self._recorder = recorder
        self._faults = faults

    def routes(self) -> list[web.RouteDef]:
        """The routes of both presets."""
        return [web.post("/alerts", self._signed), web.post("/v2/enqueue", self._pagerduty)]

    async def _signed(self, request: web.Request) -> web.Response:
        try:
            message = Webhook(RECEIVER_KEY).verify(await request.read(), dict(request.headers))
        except WebhookVerificationError:
            return web.Response(status=401)
        return await self._record(request, message)

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
