"""How often a service is called, and what happens when it refuses: a listing waits, and tries again what may succeed."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from include.messaging.address_guard import RefusedAddressError
from include.messaging.channels.exchange import UNANSWERED, retry_after
from include.notification.external_sync.directories.base import ListingError

T = TypeVar("T")

# Bytes of a page: a thousand accounts take half a megabyte.
LONGEST_PAGE = 8 * 1024 * 1024


@dataclass(frozen=True)
class Patience:
    """How long one page is tried: failures of the service, and pauses in seconds.

    The first failure is followed by ``first_pause``, which doubles. A service that asks for more than ``longest_pause`` is left alone
    until the next run; one that goes on asking is given up after ``waits``.
    """

    attempts: int = 4
    first_pause: float = 1.0
    longest_pause: float = 300.0
    waits: int = 20


class Pace:
    """So many calls in any ``seconds``; whoever comes too early waits. One per tenant and limit, on one event loop."""

    def __init__(self, calls: int, seconds: float = 60.0) -> None:
        self._calls = calls
        # A hundredth more: the service counts from when a call arrives, and one may take less time on its way than the one before.
        self._seconds = seconds * 1.01
        self._recent: deque[float] = deque()

    async def turn(self) -> None:
        """Wait until a call may be made, and count it."""
        while len(self._recent) >= self._calls:
            wait = self._recent[0] + self._seconds - time.monotonic()
            if wait <= 0:
                self._recent.popleft()
            else:
                await asyncio.sleep(wait)
        self._recent.append(time.monotonic())


class TryAgainError(Exception):
    """A refusal that another try may get over: for its rate, or the service's own trouble. ``wait``: seconds that it asks for."""

    def __init__(self, reason: str, *, wait: float | None = None, is_rate: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.is_rate = is_rate


async def patiently(call: Callable[[], Awaitable[T]], pace: Pace, patience: Patience) -> T:
    """The answer to a call that changes nothing and may so be repeated.

    :raises ListingError: the service goes on refusing, or is not to be called.
    """
    failures = waits = 0
    while True:
        await pace.turn()
        try:
            return await call()
        except TryAgainError as error:
            refusal = error
        except RefusedAddressError as error:
            raise ListingError(str(error)) from None
        except UNANSWERED as error:
            # The error's own text may hold the whole URL.
            refusal = TryAgainError(f"応答がありません（{type(error).__name__}）")
        failures += not refusal.is_rate
        waits += refusal.is_rate
        wait = refusal.wait if refusal.wait is not None else patience.first_pause * 2 ** max(0, failures - 1)
        if failures >= patience.attempts or waits >= patience.waits or wait > patience.longest_pause:
            asked = f"。{wait:,.0f} 秒後まで待つよう求められています" if wait > patience.longest_pause else ""
            raise ListingError(f"{refusal}{asked}", recoverable=not asked)
        await asyncio.sleep(wait)


def refused_for_now(
    status: int, headers: Mapping[str, str], service: str, header: str = "Retry-After"
) -> TryAgainError | None:
    """What an HTTP status says about another try; None: that it does not help."""
    asked = retry_after(headers, header)
    wait = asked.total_seconds() if asked is not None else None
    if status == 429:
        return TryAgainError(f"{service} の呼び出し回数の上限に達しました", wait=wait, is_rate=True)
    if status >= 500:
        return TryAgainError(f"{service} が一時的に使えません（HTTP {status}）", wait=wait)
    return None
