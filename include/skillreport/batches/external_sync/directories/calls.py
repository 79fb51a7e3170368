"""The rate limit of calls to a service, and the retries of calls that it refuses."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from include.skillreport.batches.external_sync.directories.base import ListingError
from include.skillreport.messaging.address_guard import RefusedAddressError
from include.skillreport.messaging.channels.exchange import UNANSWERED, retry_after

T = TypeVar("T")

# Bytes of a page: a thousand accounts take half a megabyte.
LONGEST_PAGE = 8 * 1024 * 1024


@dataclass(frozen=True)
class Patience:
    """The retries of one page: the number of failures and waits, and the pauses in seconds.

    The first pause is ``first_pause``; each next pause is twice as long. If a service asks for more than ``longest_pause``, the next run
    continues. If it asks for more than ``waits`` waits, the listing fails.
    """

    attempts: int = 4
    first_pause: float = 1.0
    longest_pause: float = 300.0
    waits: int = 20


class Pace:
    """A rate limit: this many calls in any ``seconds``; further calls wait. One per tenant and limit, on one event loop."""

    def __init__(self, calls: int, seconds: float = 60.0) -> None:
        self._calls = calls
        # One percent more, because the service counts from the arrival of a call, and calls take different times to arrive.
        self._seconds = seconds * 1.01
        self._recent: deque[float] = deque()

    async def turn(self) -> None:
        """Wait until a call is allowed, and count it."""
        while len(self._recent) >= self._calls:
            wait = self._recent[0] + self._seconds - time.monotonic()
            if wait <= 0:
                self._recent.popleft()
            else:
                await asyncio.sleep(wait)
        self._recent.append(time.monotonic())


class RetryableError(Exception):
    """A refusal after which a retry may succeed: a rate limit, or a failure of the service. ``wait``: the seconds that the service
    requests.
    """

    def __init__(self, reason: str, *, wait: float | None = None, is_rate: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.is_rate = is_rate


async def call_with_retries(call: Callable[[], Awaitable[T]], pace: Pace, patience: Patience) -> T:
    """The answer to a call that changes nothing, so that it can be retried.

    :raises ListingError: the service still refuses, or must not be called.
    """
    failures = waits = 0
    while True:
        await pace.turn()
        try:
            return await call()
        except RetryableError as error:
            refusal = error
        except RefusedAddressError as error:
            raise ListingError(str(error)) from None
        except UNANSWERED as error:
            # The error's own text may contain the whole URL.
            refusal = RetryableError(f"応答がありません（{type(error).__name__}）")
        failures += not refusal.is_rate
        waits += refusal.is_rate
        wait = refusal.wait if refusal.wait is not None else patience.first_pause * 2 ** max(0, failures - 1)
        if failures >= patience.attempts or waits >= patience.waits or wait > patience.longest_pause:
            asked = f"。{wait:,.0f} 秒後まで待つよう求められています" if wait > patience.longest_pause else ""
            raise ListingError(f"{refusal}{asked}", recoverable=not asked)
        await asyncio.sleep(wait)


def refused_for_now(
    status: int, headers: Mapping[str, str], service: str, header: str = "Retry-After"
) -> RetryableError | None:
    """The retryable error for an HTTP status; None if a retry does not help."""
    asked = retry_after(headers, header)
    wait = asked.total_seconds() if asked is not None else None
    if status == 429:
        return RetryableError(f"{service} の呼び出し回数の上限に達しました", wait=wait, is_rate=True)
    if status >= 500:
        return RetryableError(f"{service} が一時的に使えません（HTTP {status}）", wait=wait)
    return None
