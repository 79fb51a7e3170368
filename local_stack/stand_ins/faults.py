"""What goes wrong at the stand-ins, and when: set by tests and demos, asked by the services."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass

# In place of a command: the request is taken, and never answered.
HANG_UP = "hang up"


@dataclass(frozen=True)
class Fault:
    """One failure to come: a service's error code, an HTTP status or an SMTP reply, with the value of the header that says when to
    come back. ``command`` is the SMTP command that fails, or ``HANG_UP``; empty: any request.
    """

    code: str | int = ""
    retry_after: str | int | None = None
    command: str = ""


class Faults:
    """Failures in waiting, one queue per service."""

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
        """The next failure if this request is the one that it waits for."""
        with self._lock:
            waiting = self._waiting[service]
            if waiting and waiting[0].command == command:
                return waiting.popleft()
            return None

    def set_latency(self, service: str, seconds: float) -> None:
        """Answer late from now on."""
        with self._lock:
            self._latency[service] = seconds

    def hold(self, service: str) -> asyncio.Event:
        """Give no answer until the event is set, which the services' event loop has to do."""
        gate = asyncio.Event()
        with self._lock:
            self._gates[service] = gate
        return gate

    async def answer_is_due(self, service: str) -> None:
        """Wait for as long as the service takes for an answer."""
        with self._lock:
            latency, gate = self._latency.get(service, 0.0), self._gates.get(service)
        await asyncio.sleep(latency)
        if gate:
            await gate.wait()

    def refuse_recipient(self, recipient: str, code: str) -> None:
        """Refuse it from now on."""
        with self._lock:
            self._refused_recipients[recipient] = code

    def refusal_of(self, recipient: str) -> str | None:
        """The code by which a recipient is refused; None: it is not."""
        with self._lock:
            return self._refused_recipients.get(recipient)


class RateLimit:
    """So many requests in so many seconds for each key, as a sliding window."""

    def __init__(self, requests: int, seconds: float) -> None:
        self.requests = requests
        self._seconds = seconds
        self._lock = threading.Lock()
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)

    def wait(self, key: str) -> float:
        """Seconds until the key may ask again; 0: it may now, and has."""
        now = time.monotonic()
        with self._lock:
            recent = self._recent[key]
            while recent and now - recent[0] >= self._seconds:
                recent.popleft()
            if len(recent) >= self.requests:
                return self._seconds - (now - recent[0])
            recent.append(now)
            return 0.0
