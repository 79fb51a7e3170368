"""What the chat services of the stand-ins have in common: faults, rate limits, the record of the messages, and late answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from local_stack.stand_ins.faults import HANG_UP, Fault, Faults, Limits
from local_stack.stand_ins.recorder import Arrived, MessageLog

Refusal = Callable[[str | int, str | int | None], web.Response]

_STATUS_AND_CODE = re.compile(r"([1-5]\d\d) (\w+)")


class ChatService:
    """The base of a service."""

    def __init__(self, recorder: MessageLog, faults: Faults, limits: Limits) -> None:
        self.recorder = recorder
        self.faults = faults
        self.limits = limits

    async def record(self, request: web.Request, message: Arrived) -> None:
        """Record the message, and wait until its answer is due."""
        self.recorder.add(message)
        await self.delay_answer(request, message.channel)

    async def delay_answer(self, request: web.Request, service: str) -> None:
        """Wait until the service answers, or close the connection without an answer."""
        await self.faults.answer_is_due(service)
        if self.faults.take(service, HANG_UP):
            assert request.transport is not None
            request.transport.abort()


def failure(request: web.Request, fault: Fault, refusal: Refusal) -> web.Response:
    """The answer to a request that a test has made fail."""
    if isinstance(fault.code, int) and 300 <= fault.code < 400:
        return web.Response(status=fault.code, headers={"Location": f"http://{request.host}/"})
    return refusal(fault.code, fault.retry_after)


def status_and_code(code: str, statuses: Mapping[str, int], usual: int) -> tuple[int, str]:
    """The HTTP status and the error code of a refusal. A test names a code, or both: ``410 DELETED``."""
    both = _STATUS_AND_CODE.fullmatch(code)
    return (int(both[1]), both[2]) if both else (statuses.get(code, usual), code)


def retry_headers(retry_after: str | int | None) -> dict[str, str]:
    """The header Retry-After, if there is a wait."""
    return {} if retry_after is None else {"Retry-After": str(retry_after)}


def bearer(request: web.Request) -> str:
    """The token in the header Authorization."""
    return request.headers.get("Authorization", "").removeprefix("Bearer").strip()


def json_object(text: str) -> dict[str, Any]:
    """The JSON object in a text; empty if there is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
