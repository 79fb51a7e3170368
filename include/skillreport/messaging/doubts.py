"""Decides whether a recipient, the sender or the server caused a refusal. An answer to several recipients is about none of them.

* The same refusal of e-mails to three domains by two tenants, without an accepted e-mail in between, is about the installation. The server
  is closed, and the e-mails that it refused in that time are sent again.
* A refusal whose text is about the sender (relay, login, address, network) is about the installation if two tenants get it, or if three
  domains get it and the server has accepted nothing for a day. One answer proves nothing, because it may quote another server.
* In both cases the server has another second to accept an e-mail before it is closed. One tenant's addresses never close a server that
  works for others.
* The same wait (4.7) for two recipients within ten seconds is a rate limit, not greylisting.
* The same unknown answer of a chat service to three messages, without an accepted one in between, is not about the messages. The service is
  closed until it accepts a probe. So is a service or a mail server that gives no answer to three messages in a row in their time limit.

The refusals are stored with the server's limit, because several processes may get the answers. They contain digests of tenants and domains.
Times are the database's.
"""

from __future__ import annotations

import asyncio
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

# The code of answers about the installation: recipients of several tenants get them.
SENDER_REFUSED = "sender_refused"
# The code of an answer about the sender.
SENDER_REJECTED = "sender_rejected"

# With this many domains and tenants, the refusals are about the installation.
_DOMAINS = 3
_TENANTS = 2

# Seconds in which a server may still accept an e-mail before it is closed. Other tenants' e-mails are in flight or come next.
_DECISION_SECONDS = 1.0
_LOOK_SECONDS = 0.05

# After this many messages with the same unknown answer, or without an answer, the service is the cause.
_MESSAGES = 3

# Older refusals and accepted e-mails say nothing about the server today.
_FORGOTTEN_SECONDS = 86_400.0

# Answers to different recipients within this many seconds belong together.
_TOGETHER_SECONDS = 10.0


@dataclass(frozen=True)
class Refusal:
    """A refused e-mail. ``answer`` contains the reply's codes; ``tenant`` and ``domain`` are digests."""

    answer: str
    tenant: str
    domain: str


@dataclass(frozen=True)
class Evidence:
    """The context of a refusal.

    ``refusals`` are all refusals of the server since it last accepted an e-mail, including this one. ``is_repeated``: earlier e-mails of
    the tenant, to this domain or to three others, got the same answer. ``has_relayed``: the server has accepted an e-mail within a day.
    """

    refusals: Sequence[Refusal]
    is_repeated: bool
    has_relayed: bool


class Doubts:
    """The refusals of one server that one process knows. Times are those of ``time.monotonic``."""

    def __init__(self, throttle: Throttle) -> None:
        self._throttle = throttle
        self._waits: dict[str, tuple[str, float]] = {}
        self._unknown: dict[str, dict[str, float]] = {}
        self._is_deciding = False
        # The messages in a row that got no answer in their time limit.
        self._unanswered = 0

    def is_repeated_wait(self, destination: str, result: SendResult) -> bool:
        """True if another recipient has just got the same request to wait."""
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
        """True if three messages got the same unknown answer since the service last accepted one, or if the service is closed."""
        error = result.error
        if error is None or error.error_class is not ErrorClass.SERVICE or not error.if_repeated:
            return False
        now = time.monotonic()
        same = self._unknown.setdefault(result.detail, {})
        same[message.message_id] = now
        since = now - self._throttle.accepted_seconds
        return self._throttle.is_closed or sum(moment > since for moment in same.values()) >= _MESSAGES

    def is_unreachable(self, result: SendResult) -> bool:
        """Count a result. True after three messages in a row without an answer, or if the service is closed (a probe)."""
        if result.is_unanswered:
            self._unanswered += 1
        elif result.error is None or result.error.error_class is not ErrorClass.NETWORK:
            self._unanswered = 0
        return self._throttle.is_closed or self._unanswered >= _MESSAGES

    def refusal(self, message: Message, result: SendResult) -> Refusal | None:
        """The refusal to store if it may be about the recipient or the installation. None: the cause is clear."""
        error = result.error
        if error is None or not (error.if_repeated and result.is_answer and self._throttle.limit.is_shared):
            return None
        if error.error_class in (ErrorClass.RECIPIENT_LIMIT, ErrorClass.SERVICE):
            return None
        domain = message.destination.rpartition("@")[2].lower()
        return Refusal(result.detail, self._digest(message.tenant_id), self._digest(domain))

    def may_close(self, result: SendResult, evidence: Evidence) -> bool:
        """True if the refusals together are about the installation, and the server is neither closed nor about to be."""
        return not self._throttle.is_closed and not self._is_deciding and _is_of_all(result, evidence)

    async def wait_for_others(self, sent_at: float) -> None:
        """Give the server time to accept an e-mail after ``sent_at``. ``may_close`` is false in that time, so other e-mails do not wait
        here.
        """
        until = time.monotonic() + _DECISION_SECONDS
        self._is_deciding = True
        try:
            while time.monotonic() < until and self._throttle.accepted_seconds > time.monotonic() - sent_at:
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            self._is_deciding = False

    def judged(self, message: Message, result: SendResult, evidence: Evidence) -> SendResult:
        """The result of a refusal: it closes the server, it is about this e-mail, or only this e-mail waits."""
        assert result.error is not None
        closing = failed(message.channel, result.error.if_repeated, result.detail)
        if self._throttle.is_closed:
            # A repeated refusal says nothing new about a closed server. Another e-mail is its probe.
            return _alone(closing) if evidence.is_repeated else closing
        if self.may_close(result, evidence):
            return closing
        return _alone(result) if result.error.error_class is ErrorClass.ACCESS else result

    def _digest(self, text: str) -> str:
        return hashlib.sha256(f"{self._throttle.limit.key}\n{text}".encode()).hexdigest()[:16]


def _is_of_all(result: SendResult, evidence: Evidence) -> bool:
    """True if the refusals together are about the installation."""
    assert result.error is not None
    same = [refusal for refusal in evidence.refusals if refusal.answer == result.detail]
    tenants, domains = {each.tenant for each in same}, {each.domain for each in same}
    if result.error.error_class is ErrorClass.ACCESS:
        return len(tenants) >= _TENANTS or (len(domains) >= _DOMAINS and not evidence.has_relayed)
    return len(tenants) >= _TENANTS and len(domains) >= _DOMAINS


def _alone(result: SendResult) -> SendResult:
    """Only this e-mail waits: its refusal neither closes nor opens the server."""
    assert result.error is not None
    error = replace(result.error, error_class=ErrorClass.RECIPIENT_LIMIT)
    return replace(result, error=error, is_doubtful=True)


def record_refusal(connection: psycopg.Connection, throttle: Throttle, refusal: Refusal) -> Evidence:
    """Store a refusal. Returns its context."""
    throttle.is_doubted = True
    about = {"limit_key": throttle.limit.key, "at_once": throttle.learnt().at_once}
    with connection.transaction():
        stored, accepted_seconds, now = _SQL.row(connection, "lock_refusals", **about)
        known = _after(stored, now - min(throttle.accepted_seconds, _FORGOTTEN_SECONDS))
        # Further domains of the same tenant prove nothing more.
        of_tenant = [each for each in known if (each.answer, each.tenant) == (refusal.answer, refusal.tenant)]
        is_repeated = refusal in known or len(of_tenant) >= _DOMAINS
        if not is_repeated:
            known[refusal] = now
        _store(connection, throttle, known)
    latest = min(throttle.accepted_seconds, accepted_seconds)
    return Evidence(list(known), is_repeated, has_relayed=latest < _FORGOTTEN_SECONDS)


def forget_refusals(connection: psycopg.Connection, throttles: Iterable[Throttle]) -> None:
    """Store when servers last accepted an e-mail of this process, and delete earlier refusals: they were about the recipients."""
    for throttle in throttles:
        if not throttle.limit.is_shared or math.isinf(throttle.accepted_seconds):
            continue
        with connection.transaction():
            about = {"limit_key": throttle.limit.key, "at_once": throttle.learnt().at_once}
            _SQL.execute(connection, "store_accepted", **about, seconds=throttle.accepted_seconds)
            row = _SQL.execute(connection, "load_refusals", limit_key=throttle.limit.key).fetchone()
            if row is not None and row[0]:
                _store(connection, throttle, _after(row[0], row[1] - throttle.accepted_seconds))
        throttle.is_doubted = False


def doubted_seconds(connection: psycopg.Connection, throttle: Throttle, answer: str) -> float:
    """The seconds since the server first gave this answer; 0 if no refusal with it is stored."""
    stored, now = _SQL.row(connection, "load_refusals", limit_key=throttle.limit.key)
    return float(now - min((row["at"] for row in stored if row["answer"] == answer), default=now))


def _after(stored: Sequence[Mapping[str, Any]], since: float) -> dict[Refusal, float]:
    return {
        Refusal(row["answer"], row["tenant"], row["domain"]): row["at"] for row in stored if row["at"] > since
    }


def _store(connection: psycopg.Connection, throttle: Throttle, known: Mapping[Refusal, float]) -> None:
    rows = [asdict(refusal) | {"at": at} for refusal, at in known.items()]
    _SQL.execute(connection, "store_refusals", limit_key=throttle.limit.key, refusals=Jsonb(rows))
