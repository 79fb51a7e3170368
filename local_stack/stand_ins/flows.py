"""What a flow of Power Automate does with a message after its answer 202."""

from __future__ import annotations

import asyncio
import json

from local_stack.stand_ins.faults import RateLimit
from local_stack.stand_ins.recorder import Arrived, MessageLog

# The properties of a message in Teams, which contain the card as JSON text.
_SIZE_LIMIT = 28_672

_CONNECTION = "connection"
_CARD = "application/vnd.microsoft.card.adaptive"


class Flows:
    """The runs of the flows. ``failed`` counts those that did not post their message. Use it in one event loop."""

    def __init__(self, recorder: MessageLog) -> None:
        self.failed = 0
        self._recorder = recorder
        self._waiting: set[asyncio.Task[None]] = set()

    def post(self, message: Arrived, limit: RateLimit | None) -> None:
        """Post the message, or post it later, or fail. ``limit`` belongs to the connector, whose connection all flows share.

        As many messages as the limit allows may wait for it. The others are lost.
        """
        attachment = {"contentType": _CARD, "contentUrl": None, "content": message.rich}
        properties = {"cards": json.dumps([attachment], ensure_ascii=False)}
        if len(json.dumps(properties, ensure_ascii=False).encode()) > _SIZE_LIMIT:
            self.failed += 1
        elif limit is None or not (seconds := limit.wait(_CONNECTION)):
            self._recorder.add(message)
        elif len(self._waiting) >= limit.requests:
            self.failed += 1
        else:
            run = asyncio.create_task(self._post_later(message, limit, seconds))
            self._waiting.add(run)
            run.add_done_callback(self._waiting.discard)

    def stop(self) -> None:
        """End the runs that wait. Their messages are lost."""
        for run in self._waiting:
            run.cancel()

    async def _post_later(self, message: Arrived, limit: RateLimit, seconds: float) -> None:
        while seconds:
            await asyncio.sleep(seconds)
            seconds = limit.wait(_CONNECTION)
        self._recorder.add(message)
