"""What the processes that send through one limit tell each other while they run: two throttles as two processes, one database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from psycopg.types.json import Jsonb

from include.skillreport.messaging import throttle as throttle_module
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.outbox import mark_alive, mark_gone
from include.skillreport.messaging.outcome import Outcome, SendResult, failed
from include.skillreport.messaging.pacing import LanePace
from include.skillreport.messaging.shared_limits import (
    join_limits,
    leave_limits,
    record_closing,
    renew_limits,
)
from include.skillreport.messaging.throttle import Limit, Throttle
from tests.conftest import Database
from tests.virtual_time import VirtualTime

LIMIT = Limit("email:mail.example.jp", per_minute=600, at_once=4)
# The names order the processes.
FIRST, SECOND = "run/1", "run/2"


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect("batch_tenant") as connection:
        yield connection


def process(connection: psycopg.Connection, owner: str) -> Throttle:
    """A process that has begun to send."""
    throttle = Throttle(LIMIT)
    mark_alive(connection, owner)
    join_limits(connection, [throttle], owner)
    throttle.join()
    return throttle


def senders(connection: psycopg.Connection) -> list[tuple[str, str]]:
    return connection.execute(
        "SELECT limit_key, owner FROM batch.limit_sender ORDER BY owner, limit_key"
    ).fetchall()


def test_a_renewal_divides_the_limit_among_those_who_send(connection: psycopg.Connection) -> None:
    first, second = process(connection, FIRST), process(connection, SECOND)
    assert (first.per_minute, second.per_minute) == (600, 300)

    renew_limits(connection, [first], FIRST)

    assert (first.per_minute, first.at_once, second.at_once) == (300, 2, 2)
    leave_limits(connection, [second], SECOND)
    renew_limits(connection, [first], FIRST)
    assert (first.per_minute, first.at_once) == (600, 4)


def test_a_renewal_gives_each_process_its_own_place(connection: psycopg.Connection) -> None:
    """A closed service gets one message as a probe, from the first of them."""
    both = {owner: process(connection, owner) for owner in (FIRST, SECOND)}
    connection.execute(
        "INSERT INTO batch.service_limit (limit_key, at_once, closed_at, closed_reason)"
        " VALUES (%s, 4, clock_timestamp(), 'refused')",
        [LIMIT.key],
    )

    for owner, throttle in both.items():
        renew_limits(connection, [throttle], owner)

    assert [throttle.is_closed for throttle in both.values()] == [True, True]
    assert [throttle.at_once for throttle in both.values()] == [1, 0]


def test_a_rate_that_one_process_has_learnt_holds_for_the_next(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = VirtualTime()
    clock.replace_clock(monkeypatch, throttle_module)
    first, second = process(connection, FIRST), process(connection, SECOND)
    clock.now = 20
    assert first.take_now(1) == 1
    first.refused(20, timedelta(seconds=40))

    renew_limits(connection, [first], FIRST)
    renew_limits(connection, [second], SECOND)
    third = process(connection, "run/3")

    assert 0 < second.blocked_seconds <= 40
    # Half of the rate, of which three processes have a part.
    learnt = first.learnt()
    assert learnt.per_minute is not None
    assert third.per_minute == pytest.approx(learnt.per_minute / 3)
    assert learnt.per_minute < 600


def test_a_service_that_another_process_closes_or_reopens_is_so_for_all(
    connection: psycopg.Connection,
) -> None:
    first, second = process(connection, FIRST), process(connection, SECOND)
    second.close(0)
    record_closing(connection, second, failed(EMAIL, "5.7.8", "535 5.7.8 refused"))
    renew_limits(connection, [first], FIRST)
    assert first.is_closed is True

    assert second.reopen()
    record_closing(connection, second, failed(EMAIL, "5.1.1", "550 5.1.1 no such user"))
    renew_limits(connection, [first], FIRST)

    assert first.is_closed is False


def test_doubts_of_another_process_make_the_next_accepted_letter_news(
    connection: psycopg.Connection,
) -> None:
    first = process(connection, FIRST)
    renew_limits(connection, [first], FIRST)
    assert first.is_doubted is False
    connection.execute(
        "INSERT INTO batch.service_limit (limit_key, at_once, refusals) VALUES (%s, 4, %s)",
        [LIMIT.key, Jsonb([{"answer": "550", "at": 0, "domain": "d"}])],
    )

    renew_limits(connection, [first], FIRST)

    assert first.is_doubted is True


def test_a_limit_that_no_lane_uses_is_left_to_the_others(connection: psycopg.Connection) -> None:
    first, _ = process(connection, FIRST), process(connection, SECOND)
    other = Throttle(Limit("slack:T1"))
    join_limits(connection, [other], FIRST)
    other.join()
    first.leave()

    renew_limits(connection, [first, other], FIRST)

    assert senders(connection) == [("slack:T1", FIRST), (LIMIT.key, SECOND)]


def test_a_service_that_hangs_for_one_process_is_left_by_all(connection: psycopg.Connection) -> None:
    first, second = process(connection, FIRST), process(connection, SECOND)
    hanging, pace = replace(failed(EMAIL, "timeout"), is_unanswered=True), LanePace(second)
    assert [pace.closes_or_reopens(hanging) for _ in range(3)] == [False, False, True]
    record_closing(connection, second, hanging)

    renew_limits(connection, [first], FIRST)

    assert first.is_shut
    assert first.take_now(1) == 0
    # The results of messages in flight say nothing new.
    assert not pace.closes_or_reopens(hanging)


def test_an_answer_between_timeouts_keeps_the_service_open(connection: psycopg.Connection) -> None:
    pace = LanePace(process(connection, FIRST))
    hanging = replace(failed(EMAIL, "timeout"), is_unanswered=True)

    for answer in (failed(EMAIL, "5.1.1"), SendResult(Outcome.SENT), failed(EMAIL, "throttled")):
        assert [pace.closes_or_reopens(hanging) for _ in range(2)] == [False, False]
        assert not pace.closes_or_reopens(answer)

    assert not pace.throttle.is_closed


def test_a_killed_process_shares_no_limit(connection: psycopg.Connection) -> None:
    first, second = process(connection, FIRST), process(connection, SECOND)
    assert second.per_minute == 300
    # Its session ends, and the server gives its lock back.
    mark_gone(connection, FIRST)

    renew_limits(connection, [second], SECOND)

    assert (second.per_minute, second.at_once) == (600, 4)
    assert senders(connection) == [(LIMIT.key, SECOND)]
    # A process that has only lost its connection comes back.
    mark_alive(connection, FIRST)
    renew_limits(connection, [first], FIRST)
    assert first.per_minute == 300


def test_a_process_that_the_server_holds_for_alive_shares_for_90_seconds(
    connection: psycopg.Connection,
) -> None:
    process(connection, FIRST)
    second = process(connection, SECOND)

    for seconds, per_minute in ((80, 300), (100, 600)):
        connection.execute(
            "UPDATE batch.limit_sender SET seen_at = clock_timestamp() - %s WHERE owner = %s",
            [timedelta(seconds=seconds), FIRST],
        )
        renew_limits(connection, [second], SECOND)
        assert second.per_minute == per_minute
