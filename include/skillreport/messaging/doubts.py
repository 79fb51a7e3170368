"""Whose fault a refusal is. An answer that other recipients get too is not about one of them.

* The same refusal by policy (5.7) for recipients of three domains in two tenants, without an accepted letter between, is about the
  installation. The server is closed, and what it refused meanwhile is sent again. One tenant alone never closes a server in this way.
* The same wait (4.7) for two recipients within seconds is a limit of the rate, not greylisting.
* The same unknown answer of a chat service to three messages, without an accepted one between, is not about the messages. The service is
  closed until it accepts a probe.

A lane of another process may get the answers, so the refusals are stored with the limit of the server. They name neither tenant nor domain,
only digests. The times are the database's.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.core.database import Statements
from include.skillreport.messaging.message import Message
from include.skillreport.messaging.outcome import ErrorClass, SendResult, failed
from include.skillreport.messaging.throttle import Throttle

_SQL = Statements(Path(__file__).parent)

# The code of answers that are about the installation, because recipients of several tenants get them.
SENDER_REFUSED = "sender_refused"

# The refusals that are together the server's.
_DOMAINS = 3
_TENANTS = 2

# So many messages with the same unknown answer are together the service's.
_MESSAGES = 3

# Older refusals say nothing about the server today.
_FORGOTTEN_SECONDS = 86_400.0

# A server that accepted a letter so many seconds ago has relayed for the installation. It refuses to relay to this domain.
_LATELY_SECONDS = 300.0

# Answers to different recipients within so many seconds belong together.
_TOGETHER_SECONDS = 10.0


@dataclass(frozen=True)
class Refusal:
    """A refusal of a letter. ``answer`` has the reply's codes; ``tenant`` and ``domain`` are digests."""

    answer: str
    tenant: str
    domain: str


class Doubts:
    """What one process knows about the refusals of one server. Moments are those of ``time.monotonic``."""

    def __init__(self, throttle: Throttle) -> None:
        self._throttle = throttle
        self._waits: dict[str, tuple[str, float]] = {}
        self._unknown: dict[str, dict[str, float]] = {}

    def is_repeated_wait(self, destination: str, result: SendResult) -> bool:
        """Whether another recipient has just got the same answer, for which each of them would have to wait."""
        error = result.error
        if (
            error is None
            or error.error_class is not ErrorClass.RECIPIENT_LIMIT
            or not (error.if_repeated and result.text)
        ):
            return False
        now = time.monotonic()
        other, moment = self._waits.get(result.text, (destination, -math.inf))
        self._waits[result.text] = (destination, now)
        return other != destination and now - moment <= _TOGETHER_SECONDS

    def is_unknown_to_all(self, message: Message, result: SendResult) -> bool:
        """Whether other messages have got the same unknown answer since the service accepted one, also in the run that has closed it."""
        error = result.error
        if error is None or error.error_class is not ErrorClass.SERVICE or not error.if_repeated:
            return False
        now = time.monotonic()
        same = self._unknown.setdefault(result.detail, {})
        same[message.message_id] = now
        since = now - self._throttle.accepted_seconds
        return self._throttle.is_closed or sum(moment > since for moment in same.values()) >= _MESSAGES

    def refusal(self, message: Message, result: SendResult) -> Refusal | None:
        """The refusal to store, if it may be about the recipient or the installation; None: it is clear."""
        error = result.error
        if error is None or not (error.if_repeated and result.is_answer and self._throttle.limit.is_shared):
            return None
        if error.error_class is ErrorClass.ACCESS and self._throttle.accepted_seconds > _LATELY_SECONDS:
            return None
        if error.error_class in (ErrorClass.RECIPIENT_LIMIT, ErrorClass.SERVICE):
            return None
        domain = message.destination.rpartition("@")[2].lower()
        return Refusal(result.detail, self._digest(message.tenant_id), self._digest(domain))

    def _digest(self, text: str) -> str:
        return hashlib.sha256(f"{self._throttle.limit.key}\n{text}".encode()).hexdigest()[:16]


def judged(message: Message, result: SendResult, seen: Sequence[Refusal]) -> SendResult:
    """The result of a refusal, given the stored ones, this one included."""
    assert result.error is not None
    same = [refusal for refusal in seen if refusal.answer == result.detail]
    if len({each.domain for each in same}) >= _DOMAINS and len({each.tenant for each in same}) >= _TENANTS:
        return failed(message.channel, result.error.if_repeated, result.detail)
    if result.error.error_class is ErrorClass.ACCESS:
        # The letter waits alone.
        return replace(result, error=replace(result.error, error_class=ErrorClass.RECIPIENT_LIMIT))
    return result


def record_refusal(connection: psycopg.Connection, throttle: Throttle, refusal: Refusal) -> list[Refusal]:
    """Store a refusal; returns all since the last letter that the server accepted."""
    throttle.is_doubted = True
    about = {"limit_key": throttle.limit.key, "at_once": throttle.learnt().at_once}
    with connection.transaction():
        stored, now = _SQL.row(connection, "lock_refusals", **about)
        known = _after(stored, now - min(throttle.accepted_seconds, _FORGOTTEN_SECONDS))
        # More domains of the same tenant than make up a doubt say nothing more.
        of_tenant = [each for each in known if (each.answer, each.tenant) == (refusal.answer, refusal.tenant)]
        if len(of_tenant) < _DOMAINS:
            known.setdefault(refusal, now)
        _store(connection, throttle, known)
    return list(known)


def forget_refusals(connection: psycopg.Connection, throttles: Iterable[Throttle]) -> None:
    """If servers have accepted letters of this process, the refusals before them were about the recipients."""
    for throttle in throttles:
        if not throttle.limit.is_shared or math.isinf(throttle.accepted_seconds):
            continue
        with connection.transaction():
            row = _SQL.execute(connection, "load_refusals", limit_key=throttle.limit.key).fetchone()
            if row is not None and row[0]:
                _store(connection, throttle, _after(row[0], row[1] - throttle.accepted_seconds))
        throttle.is_doubted = False


def doubted_seconds(connection: psycopg.Connection, throttle: Throttle, answer: str) -> float:
    """How long the server has given this answer. A transaction of the caller."""
    stored, now = _SQL.row(connection, "load_refusals", limit_key=throttle.limit.key)
    return float(now - min((row["at"] for row in stored if row["answer"] == answer), default=now))


def _after(stored: Sequence[Mapping[str, Any]], since: float) -> dict[Refusal, float]:
    return {
        Refusal(row["answer"], row["tenant"], row["domain"]): row["at"] for row in stored if row["at"] > since
    }


def _store(connection: psycopg.Connection, throttle: Throttle, known: Mapping[Refusal, float]) -> None:
    rows = [asdict(refusal) | {"at": at} for refusal, at in known.items()]
    _SQL.execute(connection, "store_refusals", limit_key=throttle.limit.key, refusals=Jsonb(rows))
