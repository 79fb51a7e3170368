"""Limits the number of requests of the board that work at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# A page occupies a thread of the API server while it waits for Airflow's REST API, which needs threads of the same pool (40). If pages
# occupied all threads, they would wait forever, like Airflow's own requests.
AT_ONCE = 10

SLOT = "board_slot"


class Slot:
    """The right of a request to work. Requests take the slots in the order in which they ask."""

    def __init__(self, free: asyncio.Semaphore) -> None:
        self._free = free
        self._is_taken = False

    async def take(self) -> None:
        """Wait for a free slot, without a thread."""
        await self._free.acquire()
        self._is_taken = True

    def give_back(self) -> None:
        """Free the slot, if the request has it."""
        if self._is_taken:
            self._is_taken = False
            self._free.release()

    @asynccontextmanager
    async def given_back(self) -> AsyncIterator[None]:
        """Let other requests work while this one only waits for its client."""
        self.give_back()
        try:
            yield
        finally:
            await self.take()


class RequestsAtOnce:
    """ASGI middleware that lets at most ``most`` requests work. A request whose answer has begun only waits for its client."""

    def __init__(self, app: ASGIApp, most: int = AT_ONCE) -> None:
        self._app = app
        self._free = asyncio.Semaphore(most)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process one request. ``scope[SLOT]`` is its slot."""
        slot = scope[SLOT] = Slot(self._free)

        async def answer(message: Message) -> None:
            slot.give_back()
            await send(message)

        await slot.take()
        try:
            await self._app(scope, receive, answer)
        finally:
            slot.give_back()
