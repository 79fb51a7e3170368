"""The errors of the stand-ins. Tests and the demo set them, and the services apply them."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass

from typing_extensions import override

# A command value: the request is received and not answered.
HANG_UP = "hang up"


@dataclass(frozen=True)
class Fault:
    """A future failure: an error code of the service, an HTTP status or an SMTP reply, and the value of the Retry-After header.

    ``command`` is the SMTP command that fails, or ``HANG_UP``; empty: any request.
    """

    code: str | int = ""
    retry_after: str | int | None = None
    command: str = ""


class Faults:
    """The future failures, in one queue per service."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._latency: dict[str, float] = {}
        self._gates: dict[str, asyncio.Event] = {}
        self._refused_recipients: dict[str, str] = {}

    def add(self, service: str, fault: Fault, times: int = 1) -> None:
        """Fail the next ``times`` requests."""
        with self._lock:
            self._waiting[service].extend([fault] * times)

    def take(self, service: str, command: str = "") -> Fault | None:
        """Take the next failure if it applies to this request."""
        with self._lock:
            waiting = self._waiting[service]
            if waiting and waiting[0].command == command:
                return waiting.popleft()
            return None

    def set_latency(self, service: str, seconds: float) -> None:
        """Delay the answers."""
        with self._lock:
            self._latency[service] = seconds

    def hold(self, service: str) -> asyncio.Event:
        """Give no answer until the event is set. Set it in the services' event loop."""
        gate = asyncio.Event()
        with self._lock:
            self._gates[service] = gate
        return gate

    async def answer_is_due(self, service: str) -> None:
        """Wait until the service answers."""
        with self._lock:
            latency, gate = self._latency.get(service, 0.0), self._gates.get(service)
        await asyncio.sleep(latency)
        if gate:
            await gate.wait()

    def refuse_recipient(self, recipient: str, code: str) -> None:
        """Refuse messages to this recipient."""
        with self._lock:
            self._refused_recipients[recipient] = code

    def refusal_of(self, recipient: str) -> str | None:
        """The code with which a recipient is refused; None if it is accepted."""
        with self._lock:
            return self._refused_recipients.get(recipient)


class RateLimit:
    """A maximum number of requests per key in a sliding window of seconds."""

    def __init__(self, requests: int, seconds: float) -> None:
        self.requests = requests
        self._seconds = seconds
        self._lock = threading.Lock()
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)

    @property
    def per_minute(self) -> float:
        """The limit in requests per minute."""
        return 60 * self.requests / self._seconds

    def used(self, key: str) -> int:
        """The requests of this key that count now."""
        with self._lock:
            return len(self._recent[key])

    def wait(self, key: str) -> float:
        """The seconds until the next request of this key is allowed; 0 if this request is allowed, which counts it."""
        now = time.monotonic()
        with self._lock:
            recent = self._recent[key]
            while recent and now - recent[0] >= self._seconds:
                recent.popleft()
            if len(recent) >= self.requests:
                return self._seconds - (now - recent[0])
            recent.append(now)
            return 0.0


class PausingLimit(RateLimit):
    """After this many requests of a key, refuses everything for this many seconds."""

    def __init__(self, requests: int, seconds: float) -> None:
        super().__init__(requests, seconds)
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._refuses_until: defaultdict[str, float] = defaultdict(float)

    @override
    def wait(self, key: str) -> float:
        now = time.monotonic()
        with self._lock:
            if now < self._refuses_until[key]:
                return self._refuses_until[key] - now
            self._counts[key] += 1
            if self._counts[key] % self.requests == 0:
                self._refuses_until[key] = now + self._seconds
            return 0.0


class Limits:
    """Rate limits by name, and the number of requests that exceeded one."""

    def __init__(self) -> None:
        self.refused = 0
        self._limits: dict[str, RateLimit] = {}

    def set(self, name: str, limit: RateLimit) -> None:
        """Enforce a limit."""
        self._limits[name] = limit

    def get(self, name: str) -> RateLimit | None:
        """The limit, if it is enforced."""
        return self._limits.get(name)

    def clear(self) -> None:
        """Enforce no limit."""
        self._limits.clear()

    def wait(self, name: str, key: str) -> int:
        """The seconds until the next request of this key is allowed, rounded up; 0 if this request is allowed, which counts it."""
        limit = self._limits.get(name)
        wait = math.ceil(limit.wait(key)) if limit else 0
        self.refused += wait > 0
        return wait
