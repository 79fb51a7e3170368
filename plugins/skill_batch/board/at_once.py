"""Limits the number of concurrent requests of the board."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

# A page occupies a thread of the API server while it waits for Airflow's REST API, which needs threads of the same pool (40). If pages
# occupied all threads, they would wait forever, like Airflow's own requests.
AT_ONCE = 10


class RequestsAtOnce:
    """ASGI middleware that processes at most ``most`` requests. Further requests wait, without a thread."""

    def __init__(self, app: ASGIApp, most: int = AT_ONCE) -> None:
        self._app = app
        self._free = asyncio.Semaphore(most)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process one request."""
        async with self._free:
            await self._app(scope, receive, send)
