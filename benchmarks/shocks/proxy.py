"""A TCP proxy that can cut the network: it closes all connections and accepts no new ones, or it keeps silent."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

_CHUNK = 65_536


class Proxy:
    """Forwards a free port of 127.0.0.1 to another port, in a thread, during the ``with`` block."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open = asyncio.Event()
        self._is_cut = False
        self._writers = set[asyncio.StreamWriter]()
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def cut(self, seconds: float, *, is_silent: bool) -> None:
        """Cut the network now, for these seconds. Silent: connections stay open, and what is sent arrives after the cut."""
        asyncio.run_coroutine_threadsafe(self._cut(seconds, is_silent), self._loop)

    async def _start(self) -> None:
        self._open.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        self._abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _cut(self, seconds: float, is_silent: bool) -> None:
        if is_silent:
            self._open.clear()
        else:
            self._is_cut = True
            self._abort()
        await asyncio.sleep(seconds)
        self._is_cut = False
        self._open.set()

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            onward, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        await asyncio.gather(self._forward(reader, back), self._forward(onward, writer))
        self._writers -= {writer, back}

    async def _forward(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(_CHUNK):
                await self._open.wait()
                target.write(data)
                await target.drain()
        except OSError:
            target.transport.abort()
        else:
            target.close()
