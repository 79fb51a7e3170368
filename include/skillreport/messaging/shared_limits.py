"""Limits that several processes share. Each process uses its part, and the next run begins with the limits that the last one has learnt.

The part depends on the present number of processes that send through a limit, so together they stay within it. A killed process does
not count: its session, and so its lock (``mark_alive``), has ended. If the server has not noticed that yet, the process counts for 90
seconds. The times are the database's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.core.errors import reason_of
from include.skillreport.core.execution.batch import RunRemark
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.run_remarks import PATIENCE
from include.skillreport.messaging.channels import CHANNELS, EMAIL, Channel
from include.skillreport.messaging.doubts import SENDER_REFUSED, doubted_seconds, forget_refusals
from include.skillreport.messaging.outbox import SENDER_LOCK
from include.skillreport.messaging.outcome import ErrorClass, SendResult
from include.skillreport.messaging.throttle import Learnt, Throttle

log = logging.getLogger(__name__)

_SQL = Statements(Path(__file__).parent)

# The reason of a closed service that took messages, or connections, and did not answer.
_UNREACHABLE = "続けて応答がありません"

# How often a process records that it still sends through a limit.
_RENEW_SECONDS = 15


def join_limits(connection: psycopg.Connection, throttles: Iterable[Throttle], owner: str) -> None:
    """Join these limits, and begin with their stored state."""
    by_key = {throttle.limit.key: throttle for throttle in throttles}
    for row in _announce(connection, by_key, owner):
        throttle = by_key[row["limit_key"]]
        throttle.share(row["senders"], row["rank"])
        throttle.set_closed(is_closed=row["is_closed"])
        # The first accepted e-mail of a process is stored at once, for the other processes.
        throttle.is_doubted = row["is_doubted"] or throttle.limit.is_shared
        if row["at_once"] is not None:
            throttle.recall(Learnt(row["per_minute"], row["at_once"], row["blocked_seconds"]))


def renew_limits(connection: psycopg.Connection, throttles: Iterable[Throttle], owner: str) -> None:
    """Store the learnt limits, and adjust the parts. Leave limits that no lane uses any more."""
    by_key = {throttle.limit.key: throttle for throttle in throttles if throttle.is_in_use}
    store_limits(connection, by_key.values())
    forget_refusals(connection, by_key.values())
    _SQL.execute(connection, "dismiss_sender", owner=owner, still_used=list(by_key))
    for row in _announce(connection, by_key, owner):
        throttle = by_key[row["limit_key"]]
        # Before the others, which wake waiting lanes: a lane of a closed service ends.
        throttle.block(row["blocked_seconds"] or 0.0)
        throttle.share(row["senders"], row["rank"])
        throttle.set_closed(is_closed=row["is_closed"])
        throttle.is_doubted = row["is_doubted"]


async def renew_until(is_over: asyncio.Event, renew: Callable[[], Awaitable[object]]) -> None:
    """Renew every few seconds until the event is set. A failed renewal is ignored: without a database the lanes fail too."""
    while not is_over.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(_RENEW_SECONDS):
                await is_over.wait()
                return
        try:
            await renew()
        except psycopg.Error as error:
            log.warning("The limits of services could not be renewed: %s", reason_of(error))


def leave_limits(connection: psycopg.Connection, throttles: Collection[Throttle], owner: str) -> None:
    """Store the learnt limits, and leave them to the other processes."""
    store_limits(connection, throttles)
    forget_refusals(connection, throttles)
    _SQL.execute(connection, "dismiss_sender", owner=owner, still_used=[])


def record_closing(connection: psycopg.Connection, throttle: Throttle, result: SendResult) -> None:
    """Store that the service was closed or reopened by this result of a send, for all processes and later runs."""
    key, error = throttle.limit.key, result.error
    if not throttle.is_closed:
        _SQL.execute(connection, "reopen_service", limit_key=key)
    elif error is not None:
        learnt, is_doubted = throttle.learnt(), error.code == SENDER_REFUSED
        meaning = _UNREACHABLE if result.is_unanswered else error.meaning
        _SQL.execute(
            connection,
            "close_service",
            limit_key=key,
            at_once=learnt.at_once,
            blocked_seconds=learnt.blocked_seconds,
            doubted_seconds=doubted_seconds(connection, throttle, result.detail) if is_doubted else None,
            reason=f"{throttle.limit.label or _channel(key).label}: {meaning}（{result.detail or error.code}）",
        )


def service_remarks(platform: psycopg.Connection, now: datetime) -> dict[str, RunRemark]:
    """A note for each closed service, and for each channel whose messages wait for three hours without an answer, by event name.

    ``platform`` acts as ``batch_platform``. A note that an earlier run has reported is reported again after a day.
    """
    closed = _SQL.rows(platform, "closed_services")
    told = {_channel(row["limit_key"]) for row in closed}
    rows = _SQL.rows(platform, "unanswered_messages", codes=_unanswered_codes(), due_before=now - PATIENCE)
    unanswered = {
        f"unanswered {row['channel']} {row['error_code']} {now.astimezone(JAPAN).date()}": RunRemark(
            problem=f"{CHANNELS[row['channel']].errors[row['error_code']].meaning}。{row['messages']} 件が "
            f"{row['oldest_due_at'].astimezone(JAPAN):%m/%d %H:%M} から待っています",
            code="SERVICE_UNANSWERED",
        )
        for row in rows
        if row["channel"] in CHANNELS and CHANNELS[row["channel"]] not in told
    }
    return unanswered | {
        f"closed {row['limit_key']} {row['closed_at'].astimezone(JAPAN).isoformat()}": RunRemark(
            problem=f"{row['closed_reason']}。ここを使う通知はすべて待っています",
            code=_closing_code(row["limit_key"], row["closed_reason"]),
        )
        for row in closed
    }


def _closing_code(limit_key: str, reason: str) -> str:
    if _UNREACHABLE in reason:
        return "SERVICE_UNANSWERED"
    return "MAIL_SERVER_CLOSED" if _channel(limit_key) == EMAIL else "SERVICE_CLOSED"


def _unanswered_codes() -> list[str]:
    """The errors of servers that do not answer, are out of order, or refuse the installation, of all channels."""
    return [
        code
        for channel in CHANNELS.values()
        for code, row in channel.errors.items()
        if row.error_class is ErrorClass.ACCESS or code in ("connection_refused", "4.3")
    ]


def _channel(limit_key: str) -> Channel:
    """The channel of a limit, whose key begins with its name."""
    return CHANNELS[limit_key.partition(":")[0]]


def store_limits(connection: psycopg.Connection, throttles: Iterable[Throttle]) -> None:
    """Store the limits of the throttles that have changed."""
    learnt = [(throttle.limit.key, throttle.learnt()) for throttle in throttles if throttle.has_changed]
    if learnt:
        _SQL.execute(
            connection,
            "store_limits",
            keys=[key for key, _ in learnt],
            per_minute=[each.per_minute for _, each in learnt],
            at_once=[each.at_once for _, each in learnt],
            blocked_seconds=[each.blocked_seconds for _, each in learnt],
        )


def _announce(
    connection: psycopg.Connection, by_key: dict[str, Throttle], owner: str
) -> list[dict[str, Any]]:
    keys = list(by_key)
    with connection.transaction():
        _SQL.execute(connection, "clear_killed_senders", lock=SENDER_LOCK)
        _SQL.execute(connection, "announce_sender", keys=keys, owner=owner)
        return _SQL.rows(connection, "load_limits", keys=keys, owner=owner)
