"""What a message does after a send: a pure function of its attempts, the result and the moment.

Source: BATCH-019-02's rules: min(60 min × 2^(n−1), 24 h) with jitter, at most 3 attempts (Slack 5), the service's Retry-After wins,
a request refused for its rate is no attempt: only the message's age (``give_up_hours``) ends it. Moments are aware.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from include.messaging.outcome import Channel, ErrorClass, Outcome, SendResult

FIRST_BACKOFF = timedelta(hours=1)
LONGEST_BACKOFF = timedelta(hours=24)
# Messages that failed together must not come back together: up to a tenth later.
JITTER = 0.1
# How long a service that says nothing of its own is left alone after it refused a request for its rate.
RATE_LIMIT_PAUSE = timedelta(minutes=1)

MAX_ATTEMPTS = {Channel.EMAIL: 3, Channel.SLACK: 5, Channel.TEAMS: 3, Channel.LINE_WORKS: 3}

# An e-mail that is sent twice carries the same Message-ID, and mail programs show it once. The other channels have no such key.
_MAY_BE_REPEATED = frozenset({Channel.EMAIL})

# Until somebody mends these, nothing else of the tenant goes through the channel either.
CLOSES_CHANNEL = frozenset({ErrorClass.CREDENTIAL, ErrorClass.CONFIGURATION})


class Status(StrEnum):
    """A message's place in its life. PENDING, RETRY and AMBIGUOUS wait; SENDING is under a lease; the others are final."""

    PENDING = "pending"
    SENDING = "sending"
    RETRY = "retry"
    SENT = "sent"
    AMBIGUOUS = "ambiguous"
    DEAD = "dead"
    EXPIRED = "expired"
    DISCARDED = "discarded"


@dataclass(frozen=True)
class Transition:
    """Where a message goes, after so many attempts; ``next_attempt_at`` for RETRY. ``closes_channel``: the tenant's queue waits."""

    status: Status
    attempts: int
    next_attempt_at: datetime
    closes_channel: bool = False
    suppresses_address: bool = False


def transition(
    channel: Channel, attempts: int, result: SendResult, now: datetime, *, spread: float
) -> Transition:
    """What becomes of a message that had ``attempts`` before this send. ``spread`` (0 to 1) is the jitter's dice."""
    attempts += result.counts_as_attempt
    error = result.error
    match result.outcome:
        case Outcome.SENT:
            return Transition(Status.SENT, attempts, now)
        case Outcome.PERMANENT if error and error.error_class in CLOSES_CHANNEL:
            # Not the message's fault: it waits with the rest of its queue until the channel is mended.
            return Transition(Status.RETRY, attempts - 1, now, closes_channel=True)
        case Outcome.PERMANENT:
            return Transition(
                Status.DEAD,
                attempts,
                now,
                suppresses_address=error is not None and error.error_class is ErrorClass.ADDRESS,
            )
        case Outcome.AMBIGUOUS if channel not in _MAY_BE_REPEATED:
            return Transition(Status.AMBIGUOUS, attempts, now)
    asked = result.retry_after or (error and error.wait)
    if not result.counts_as_attempt:
        return Transition(Status.RETRY, attempts, now + (asked or RATE_LIMIT_PAUSE))
    if attempts >= MAX_ATTEMPTS[channel]:
        lost = Status.AMBIGUOUS if result.outcome is Outcome.AMBIGUOUS else Status.DEAD
        return Transition(lost, attempts, now)
    return Transition(Status.RETRY, attempts, now + (asked or backoff(attempts, spread)))


def backoff(attempts: int, spread: float) -> timedelta:
    """The pause after so many attempts (at least 1)."""
    pause: timedelta = min(FIRST_BACKOFF * 2 ** (attempts - 1), LONGEST_BACKOFF)
    return pause * (1 + JITTER * spread)
