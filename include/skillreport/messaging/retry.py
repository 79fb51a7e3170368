"""The next status of a message after a send. Pure; datetimes are aware.

Source: BATCH-019-02's rules. The pause is min(60 min × 2^(n−1), 24 h) with jitter, unless the service (Retry-After) or its error table
states one. The channel limits the attempts, and the application's row may lower the limit (max_retry_count). Not counted as attempts:
refusals by a limit or of the installation, unreadable files, and connections or logins that failed before the service saw the message.
These are retried until the message's age reaches ``give_up_hours``, and contract letters without an end. Every other answer is an attempt.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.outcome import ErrorClass, Outcome, SendResult

FIRST_BACKOFF = timedelta(hours=1)
LONGEST_BACKOFF = timedelta(hours=24)
# A message whose refusal may be about its recipient waits as long as it is already late, at most this long.
LONGEST_PROBE_PAUSE = timedelta(hours=12)
# The pause is up to this share longer, so that messages that failed together are not retried together.
JITTER = 0.1
# The pause after a refusal by a rate limit, if the service does not say how long to wait.
RATE_LIMIT_PAUSE = timedelta(minutes=1)
# The pause after a failed connection or login.
UNANSWERED_PAUSE = timedelta(minutes=15)

# These errors affect all messages of the tenant's channel until an administrator fixes them.
CLOSES_CHANNEL = frozenset({ErrorClass.CREDENTIAL, ErrorClass.CONFIGURATION})


class Status(StrEnum):
    """The status of a message. PENDING and RETRY wait, SENDING has a lease, AMBIGUOUS waits for an operator, the others are final.

    DISCARDED: by an operator. WITHDRAWN: by the application, or by a setting. MERGED: another message contains the text.
    """

    PENDING = "pending"
    SENDING = "sending"
    RETRY = "retry"
    SENT = "sent"
    AMBIGUOUS = "ambiguous"
    DEAD = "dead"
    EXPIRED = "expired"
    DISCARDED = "discarded"
    WITHDRAWN = "withdrawn"
    MERGED = "merged"


@dataclass(frozen=True)
class Transition:
    """The next status of a message, and its attempts so far. ``next_attempt_at`` is for RETRY. ``closes_channel``: the lane waits."""

    status: Status
    attempts: int
    next_attempt_at: datetime
    closes_channel: bool = False
    suppresses_address: bool = False


def transition(
    channel: Channel,
    attempts: int,
    result: SendResult,
    now: datetime,
    *,
    spread: float,
    most_attempts: int | None = None,
    pause: timedelta | None = None,
    age: timedelta = timedelta(),
) -> Transition:
    """The transition of a message that had ``attempts`` before this send.

    ``spread`` (0 to 1) is the random part of the jitter. ``most_attempts`` is the message's own limit (at least 1), below the channel's.
    ``pause`` is the wait after a send that is no attempt, if the service states none (default: a minute, or 15 minutes without an answer).
    ``age`` is the time since the message was due.
    """
    most = min(channel.attempts, most_attempts or channel.attempts)
    attempts += result.counts_as_attempt
    error = result.error
    closes_channel = error is not None and (
        (result.outcome is Outcome.PERMANENT and error.error_class in CLOSES_CHANNEL)
        or (error.closes_after is not None and age >= error.closes_after)
    )
    match result.outcome:
        case Outcome.SENT:
            return Transition(Status.SENT, attempts, now)
        case _ if closes_channel:
            # The message did not cause the error. It waits with the rest of its lane until the channel is fixed. After too many attempts it
            # becomes dead.
            # The first run sends only messages without an attempt.
            waiting = Status.RETRY if attempts else Status.PENDING
            return Transition(waiting if attempts < most else Status.DEAD, attempts, now, closes_channel=True)
        case Outcome.PERMANENT:
            return Transition(
                Status.DEAD,
                attempts,
                now,
                suppresses_address=error is not None and error.error_class is ErrorClass.ADDRESS,
            )
        case Outcome.AMBIGUOUS if not channel.may_repeat:
            return Transition(Status.AMBIGUOUS, attempts, now)
    asked = result.retry_after or (error and error.wait)
    if not result.counts_as_attempt:
        # The first run sends only messages without an attempt, and may send this one when the wait is over.
        waiting = Status.RETRY if attempts else Status.PENDING
        usual = RATE_LIMIT_PAUSE if result.is_answer else UNANSWERED_PAUSE
        wait = asked or (usual if pause is None else pause)
        is_access = error is not None and error.error_class is ErrorClass.ACCESS
        if result.is_doubtful or (is_access and result.is_answer):
            # The server may refuse this recipient only. Another message is the next probe.
            wait = max(wait, min(age, LONGEST_PROBE_PAUSE))
        return Transition(waiting, attempts, now + wait)
    if attempts >= most and error is not None and error.closes_after is not None:
        # The error closes the channel at a certain age of the message. Until then the last attempt is repeated.
        attempts = most - 1
    if attempts >= most:
        final = Status.AMBIGUOUS if result.outcome is Outcome.AMBIGUOUS else Status.DEAD
        return Transition(final, attempts, now)
    return Transition(Status.RETRY, attempts, now + (asked or backoff(attempts, spread)))


def backoff(attempts: int, spread: float) -> timedelta:
    """The pause after this number of attempts (at least 1)."""
    pause: timedelta = min(FIRST_BACKOFF * 2 ** (attempts - 1), LONGEST_BACKOFF)
    return pause * (1 + JITTER * spread)
