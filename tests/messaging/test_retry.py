"""The next status of a message after a send: every channel, every error code, any number of attempts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.messaging.channels import CHANNELS
from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.line_works import LINE_WORKS
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.channels.teams import TEAMS
from include.skillreport.messaging.outcome import (
    ErrorClass,
    Outcome,
    SendResult,
    failed,
)
from include.skillreport.messaging.retry import JITTER, Status, Transition, backoff, transition

NOW = datetime(2026, 11, 1, 0, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


# The warnings of the daily check are no answers to a message.
CODES = [
    (channel, code)
    for channel in CHANNELS.values()
    for code, error in channel.errors.items()
    if error.outcome is not Outcome.SENT
]
FINAL = {Status.SENT, Status.DEAD}


def codes_of(*wanted: ErrorClass | Outcome) -> list[tuple[Channel, str]]:
    """All codes of these classes, or with these outcomes."""
    return [
        (channel, code)
        for channel, code in CODES
        if {channel.errors[code].error_class, channel.errors[code].outcome} & set(wanted)
    ]


def after(
    channel: Channel,
    code: str,
    attempts: int = 0,
    *,
    retry_after: timedelta | None = None,
    spread: float = 0,
) -> Transition:
    """The transition after an error code."""
    return transition(channel, attempts, failed(channel, code, retry_after=retry_after), NOW, spread=spread)


@st.composite
def results(draw: st.DrawFn, channel: Channel) -> SendResult:
    """Whatever a channel's send may come to."""
    code = draw(st.sampled_from([None, *channel.errors]))
    if code is None:
        return SendResult(Outcome.SENT)
    wait = draw(st.none() | st.timedeltas(timedelta(), HOUR))
    return failed(channel, code, retry_after=wait)


CHANNEL_AND_RESULTS = st.sampled_from(list(CHANNELS.values())).flatmap(
    lambda channel: st.tuples(st.just(channel), st.lists(results(channel), min_size=1, max_size=20))
)


@pytest.mark.parametrize(
    ("attempts", "pause"),
    [
        (1, HOUR),
        (2, 2 * HOUR),
        (3, 4 * HOUR),
        (4, 8 * HOUR),
        (5, 16 * HOUR),
        (6, 24 * HOUR),
        (7, 24 * HOUR),
        (20, 24 * HOUR),
    ],
)
def test_the_pause_doubles_from_an_hour_up_to_a_day(attempts: int, pause: timedelta) -> None:
    assert backoff(attempts, 0) == pause
    assert backoff(attempts, 1) == pause * 1.1


@given(attempts=st.integers(1, 30), spread=st.floats(0, 1))
def test_jitter_makes_a_pause_longer_by_a_tenth_at_most(attempts: int, spread: float) -> None:
    assert backoff(attempts, 0) <= backoff(attempts, spread) <= backoff(attempts, 0) * (1 + JITTER)


@pytest.mark.parametrize(
    ("channel", "code"),
    [(EMAIL, "smtp_4"), (SLACK, "http_503"), (TEAMS, "http_503"), (LINE_WORKS, "http_503")],
)
def test_a_message_is_tried_three_times_and_five_by_slack(channel: Channel, code: str) -> None:
    pauses, attempts = [], 0
    while (step := after(channel, code, attempts)).status is Status.RETRY:
        assert step.attempts == attempts + 1
        attempts = step.attempts
        pauses.append((step.next_attempt_at - NOW) / HOUR)

    assert (step.status, step.attempts) == (Status.DEAD, 5 if channel is SLACK else 3)
    assert pauses == ([1, 2, 4, 8] if channel is SLACK else [1, 2])


@pytest.mark.parametrize("channel", CHANNELS.values())
@pytest.mark.parametrize("attempts", [0, 2])
def test_a_sent_message_is_sent_after_any_attempts(channel: Channel, attempts: int) -> None:
    step = transition(channel, attempts, SendResult(Outcome.SENT), NOW, spread=1)

    assert step == Transition(Status.SENT, attempts + 1, NOW)


@pytest.mark.parametrize(
    ("channel", "code"), [each for each in codes_of(Outcome.TRANSIENT) if each[0].attempts > 1]
)
def test_the_services_own_word_on_when_to_come_back_wins(channel: Channel, code: str) -> None:
    step = after(channel, code, retry_after=timedelta(seconds=90), spread=1)

    assert step.status is (Status.RETRY if step.attempts else Status.PENDING)
    assert step.next_attempt_at == NOW + timedelta(seconds=90)


@pytest.mark.parametrize(
    ("channel", "code"), codes_of(ErrorClass.RATE_LIMIT, ErrorClass.RECIPIENT_LIMIT), ids=str
)
@pytest.mark.parametrize("attempts", [0, 1, 2, 4])
def test_a_request_that_was_refused_for_its_rate_is_no_attempt(
    channel: Channel, code: str, attempts: int
) -> None:
    step = after(channel, code, attempts, spread=1)

    assert (step.status, step.attempts) == (Status.RETRY if attempts else Status.PENDING, attempts)
    assert step.next_attempt_at == NOW + (channel.errors[code].wait or timedelta(minutes=1))


@pytest.mark.parametrize(
    ("code", "minutes"), [("throttled", 1), ("421", 1), ("4.7", 15), ("4.2.1", 15), ("daily_limit", 60)]
)
def test_a_mail_server_that_asks_for_less_is_given_its_time(code: str, minutes: int) -> None:
    assert after(EMAIL, code, spread=1).next_attempt_at == NOW + timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("channel", "code"), codes_of(ErrorClass.CREDENTIAL, ErrorClass.CONFIGURATION), ids=str
)
def test_a_channel_error_closes_the_channel_and_counts_an_attempt(channel: Channel, code: str) -> None:
    for attempts in range(channel.attempts):
        step = after(channel, code, attempts)

        is_last = attempts + 1 == channel.attempts
        assert (step.status, step.attempts) == (Status.DEAD if is_last else Status.RETRY, attempts + 1)
        assert step.closes_channel
        assert not step.suppresses_address


@pytest.mark.parametrize(("channel", "code"), codes_of(Outcome.AMBIGUOUS), ids=str)
def test_an_uncertain_message_is_parked_or_repeated_as_e_mail(channel: Channel, code: str) -> None:
    step = after(channel, code)

    if channel is EMAIL:
        assert (step.status, step.attempts, step.next_attempt_at) == (Status.RETRY, 1, NOW + HOUR)
        assert after(channel, code, 2).status is Status.AMBIGUOUS
    else:
        assert (step.status, step.attempts) == (Status.AMBIGUOUS, 1)
    assert not step.closes_channel


@pytest.mark.parametrize(
    ("channel", "code"),
    sorted(set(codes_of(Outcome.PERMANENT)) - set(codes_of(ErrorClass.CREDENTIAL, ErrorClass.CONFIGURATION))),
    ids=str,
)
def test_a_permanent_error_is_dead_at_once(channel: Channel, code: str) -> None:
    step = after(channel, code)

    assert (step.status, step.attempts, step.closes_channel) == (Status.DEAD, 1, False)
    assert step.suppresses_address is (channel.errors[code].error_class is ErrorClass.ADDRESS)


@pytest.mark.parametrize(("most", "status"), [(1, Status.DEAD), (2, Status.RETRY), (None, Status.RETRY)])
def test_the_messages_own_limit_of_attempts_holds(most: int | None, status: Status) -> None:
    result = failed(SLACK, "http_503")

    assert transition(SLACK, 0, result, NOW, spread=0, most_attempts=most).status is status


@pytest.mark.parametrize("channel", CHANNELS.values())
def test_no_message_may_be_tried_more_often_than_its_channel_allows(channel: Channel) -> None:
    result, most = failed(channel, "connection_refused"), channel.attempts

    assert transition(channel, most - 1, result, NOW, spread=0, most_attempts=99).status is Status.DEAD


def test_a_workspace_that_moves_for_more_than_a_day_closes_the_channel() -> None:
    result = failed(SLACK, "org_login_required")

    early = transition(SLACK, 0, result, NOW, spread=0, age=timedelta(hours=23))
    late = transition(SLACK, 1, result, NOW, spread=0, age=timedelta(hours=24))

    assert (early.status, early.closes_channel) == (Status.RETRY, False)
    assert (late.status, late.closes_channel) == (Status.RETRY, True)


def test_an_address_that_does_not_exist_is_not_written_to_again() -> None:
    addresses = codes_of(ErrorClass.ADDRESS)

    assert ("email", "5.1.1") in addresses
    assert {channel for channel, _ in addresses} == {EMAIL}
    assert all(after(channel, code).suppresses_address for channel, code in addresses)


@given(CHANNEL_AND_RESULTS, st.floats(0, 1))
def test_a_message_is_never_tried_more_often_than_it_may_be(
    channel_and_results: tuple[Channel, list[SendResult]], spread: float
) -> None:
    channel, in_turn = channel_and_results
    attempts, counted, now = 0, 0, NOW
    for result in in_turn:
        step = transition(channel, attempts, result, now, spread=spread)
        assert step.next_attempt_at >= now
        assert attempts <= step.attempts <= channel.attempts
        counted += result.counts_as_attempt
        if result.error and result.error.closes_after and counted == channel.attempts:
            # The last attempt is repeated until the message is old enough to close the channel.
            counted -= 1
        if step.status not in (Status.RETRY, Status.PENDING):
            assert step.status in FINAL | {Status.AMBIGUOUS}
            break
        assert step.attempts < channel.attempts
        attempts, now = step.attempts, step.next_attempt_at
    assert counted == step.attempts <= channel.attempts


@given(CHANNEL_AND_RESULTS, st.integers(0, 4), st.floats(0, 1))
def test_only_letters_are_repeated_that_may_have_arrived(
    channel_and_results: tuple[Channel, list[SendResult]], attempts: int, spread: float
) -> None:
    channel, (result, *_) = channel_and_results
    step = transition(channel, attempts, result, NOW, spread=spread)

    if result.outcome is Outcome.AMBIGUOUS and channel is not EMAIL:
        assert step.status is Status.AMBIGUOUS
    if step.status is Status.AMBIGUOUS:
        assert result.outcome is Outcome.AMBIGUOUS
    assert (step.status is Status.SENT) is (result.outcome is Outcome.SENT)


def test_a_workspace_that_moves_closes_the_channel_before_its_messages_are_dead() -> None:
    attempts, age = 0, timedelta()
    while not (step := transition(
        SLACK, attempts, failed(SLACK, "org_login_required"), NOW + age, spread=0, age=age
    )).closes_channel:  # fmt: skip
        assert step.status is Status.RETRY
        attempts, age = step.attempts, step.next_attempt_at - NOW

    assert timedelta(days=1) <= age < timedelta(days=2)
