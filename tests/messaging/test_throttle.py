"""The pace of one limit, against a simulated service whose clock passes only while the throttle waits."""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from include.skillreport.core.network import EmailConfig
from include.skillreport.messaging import pacing, throttle
from include.skillreport.messaging.channels.channel import ChannelConfig
from include.skillreport.messaging.channels.line_works import LineWorksConfig
from include.skillreport.messaging.channels.slack import SlackConfig
from include.skillreport.messaging.channels.teams import TeamsConfig
from include.skillreport.messaging.pacing import Paces, limit_of
from include.skillreport.messaging.throttle import Learnt, Limit, Throttle
from tests.virtual_time import VirtualTime

MAIL = EmailConfig("mail.example.jp", 587, "no-reply@example.jp")
UNKNOWN = limit_of(MAIL)
CHANNEL_SECONDS = limit_of(SlackConfig(token="xoxb-1")).destination_seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualTime:
    """The throttle's clock."""
    virtual = VirtualTime()
    virtual.replace_clock(monkeypatch, throttle)
    return virtual


@dataclass
class Service:
    """A service that accepts ``per_second`` messages, and ``burst`` at once; an answer takes 20 ms."""

    clock: VirtualTime
    per_second: float
    burst: float
    refused: int = 0
    _tokens: float = field(init=False)
    _refilled_at: float = 0.0

    def __post_init__(self) -> None:
        self._tokens = self.burst

    def accepts(self) -> bool:
        """Whether it accepts a message now."""
        grown = self._tokens + (self.clock.now - self._refilled_at) * self.per_second
        self._tokens, self._refilled_at = min(grown, self.burst), self.clock.now
        if self._tokens < 1:
            self.refused += 1
            return False
        self._tokens -= 1
        return True

    def take_all(self, pace: Throttle, messages: int) -> float:
        """Send this many messages at the throttle's pace until each is accepted; returns the seconds that this took."""
        begin, under_way = self.clock.now, list[tuple[float, float]]()
        while messages:
            for _ in range(pace.take_now(min(10, messages - len(under_way)))):
                heapq.heappush(under_way, (self.clock.now + 0.02, self.clock.now))
            if not under_way or (under_way[0][0] > self.clock.now and messages > len(under_way)):
                # Fine enough beside the time between two messages.
                self.clock.now += max(0.001, 0.02 / self.per_second)
                continue
            answered_at, sent_at = heapq.heappop(under_way)
            self.clock.now = max(self.clock.now, answered_at)
            if self.accepts():
                messages -= 1
                pace.accepted(sent_at)
            else:
                pace.refused(sent_at, None)
        return self.clock.now - begin


@pytest.mark.parametrize(("per_second", "messages"), [(14, 1_500), (5, 500), (1, 400), (100, 5_000)])
def test_an_unknown_rate_is_found_and_used(clock: VirtualTime, per_second: float, messages: int) -> None:
    """Amazon SES accepts 14 letters a second, and a burst of as many."""
    service = Service(clock, per_second, burst=per_second)

    seconds = service.take_all(Throttle(UNKNOWN), messages)

    assert seconds <= 1.2 * messages / per_second
    assert service.refused <= messages / 10 + 20


def test_a_rate_that_was_learnt_is_used_from_the_start(clock: VirtualTime) -> None:
    service = Service(clock, 14, burst=14)
    first = Throttle(UNKNOWN)
    service.take_all(first, 500)
    refused, second = service.refused, Throttle(UNKNOWN)

    second.recall(first.learnt())
    service.take_all(second, 500)

    assert service.refused - refused < refused / 2


def test_a_known_rate_is_never_exceeded(clock: VirtualTime) -> None:
    service = Service(clock, 0.5, burst=1)

    seconds = service.take_all(Throttle(limit_of(replace(MAIL, messages_per_minute=30))), 60)

    assert service.refused == 0
    assert seconds <= 1.1 * 120


def test_refused_messages_that_were_under_way_halve_the_rate_once(clock: VirtualTime) -> None:
    pace = Throttle(Limit("x", per_minute=600, burst=10))
    clock.now = 60
    assert pace.take_now(10) == 10

    for _ in range(10):
        pace.refused(60, None)

    assert pace.per_minute == 300


def test_a_stated_wait_blocks_everything_for_so_long(clock: VirtualTime) -> None:
    pace = Throttle(UNKNOWN)
    clock.now = 1
    pace.take_now(1)
    pace.refused(1, timedelta(seconds=30))

    assert pace.take_now(1) == 0
    clock.now = 31
    assert pace.take_now(1) == 1


def test_a_daily_limit_says_nothing_about_the_rate(clock: VirtualTime) -> None:
    pace = Throttle(Limit("x", per_minute=600))
    clock.now = 1
    pace.take_now(1)

    pace.refused(1, timedelta(hours=1))

    assert pace.per_minute == 600
    assert pace.blocked_seconds == 3_600


def send_one(pace: Throttle, clock: VirtualTime, seconds: float) -> None:
    """One accepted message, and then nothing for so long."""
    assert pace.take_now(1) == 1
    pace.accepted(clock.now)
    clock.now += seconds


def test_after_the_return_the_rate_rises_again(clock: VirtualTime) -> None:
    pace = Throttle(Limit("x", per_minute=600))
    clock.now = 1
    pace.take_now(1)
    pace.refused(1, None)
    clock.now = 3

    while clock.now < 120:
        pace.accepted(clock.now) if pace.take_now(1) else None
        clock.now += 0.01

    assert pace.per_minute is not None
    assert pace.per_minute > 600


def test_a_rate_that_is_not_used_does_not_rise(clock: VirtualTime) -> None:
    pace = Throttle(Limit("x", per_minute=600, burst=10))

    for _ in range(200):
        send_one(pace, clock, 1)

    assert pace.per_minute == 600


def test_a_known_rate_is_kept_for_the_first_half_minute(clock: VirtualTime) -> None:
    pace = Throttle(Limit("x", per_minute=600))

    while clock.now < 29:
        pace.accepted(clock.now) if pace.take_now(1) else None
        clock.now += 0.01

    assert pace.per_minute == pytest.approx(600, rel=0.1)


def test_a_service_with_short_bursts_determines_its_pace(clock: VirtualTime) -> None:
    pace = Throttle(Limit("x", per_minute=600))

    for _ in range(20):
        for _ in range(60):
            send_one(pace, clock, 0.101)
        pace.take_now(1)
        pace.refused(clock.now, timedelta(seconds=2))
        clock.now += 2.001

    assert pace.per_minute is not None
    assert pace.per_minute >= 600


def test_a_confirmed_limit_is_not_halved_again(clock: VirtualTime) -> None:
    pace = Throttle(Limit("x", per_minute=600))
    pace.recall(Learnt(per_minute=570, at_once=100, blocked_seconds=0))
    clock.now = 20
    pace.take_now(1)

    pace.refused(20, None)

    assert pace.per_minute == pytest.approx(0.95 * 570)
    clock.now = 22
    send_one(pace, clock, 0.5)
    pace.take_now(1)
    pace.refused(clock.now, None)
    # It is lower than before.
    assert pace.per_minute == pytest.approx(0.95 * 570 / 2, rel=0.01)


def test_messages_sent_before_the_first_refusal_are_not_owed(clock: VirtualTime) -> None:
    pace = Throttle(UNKNOWN)
    for _ in range(6_000):
        send_one(pace, clock, 0.1)
    pace.take_now(1)

    pace.refused(clock.now, None)
    clock.now += 2

    assert pace.take_now(1) == 1


def test_a_refusal_right_after_the_pause_says_nothing_about_the_lower_rate(clock: VirtualTime) -> None:
    """The service still counts the messages that it accepted before."""
    pace = Throttle(Limit("x", per_minute=600))
    for sent_at in (1, 3):
        clock.now = sent_at
        pace.take_now(1)
        pace.refused(sent_at, None)

    assert pace.per_minute == 300
    assert pace.blocked_seconds == 2


def test_refused_connections_are_halved_and_one_more_is_tried_later(clock: VirtualTime) -> None:
    pace = Throttle(UNKNOWN)
    clock.now = 1
    assert pace.take_now(100) == 20
    for _ in range(20):
        pace.refused(1, None, for_connections=True)
    assert pace.at_once == 10

    clock.now = 100
    pace.take_now(1)
    pace.accepted(100)

    assert pace.at_once == 11


def test_slow_answers_reduce_the_connections_to_what_is_quick(clock: VirtualTime) -> None:
    pace = Throttle(UNKNOWN)
    clock.now = 1
    pace.take_now(20)
    clock.now = 41

    pace.accepted(1)

    assert pace.at_once == 2


def connections_after(pace: Throttle, clock: VirtualTime, seconds: float) -> int:
    """The parallel sends after an accepted message, so many seconds later."""
    clock.now += seconds
    send_one(pace, clock, 0)
    return pace.at_once


@pytest.mark.parametrize(("seconds", "at_once"), [(5, 9), (10, 5), (15, 3), (100, 1)])
def test_slow_answers_leave_as_many_connections_as_are_quick(
    clock: VirtualTime, seconds: float, at_once: int
) -> None:
    """What was slow is tried again only after ten minutes."""
    pace = Throttle(Limit("x", at_once=10, delays=True))
    clock.now = 1
    pace.take_now(10)
    clock.now += seconds

    pace.accepted(1)

    assert pace.at_once == at_once
    pace.give_back(9)
    assert connections_after(pace, clock, 61) == at_once
    assert connections_after(pace, clock, 600) == at_once + 1


@pytest.mark.parametrize(("under_way", "at_once"), [(2, 1), (4, 3), (8, 5)])
def test_refused_connections_are_tried_again_after_ten_minutes(
    clock: VirtualTime, under_way: int, at_once: int
) -> None:
    pace = Throttle(Limit("x", at_once=10))
    clock.now = 1
    assert pace.take_now(under_way) == under_way

    pace.refused(1, None, for_connections=True)

    assert pace.at_once == at_once
    pace.give_back(under_way - 1)
    # Up to one less than were refused, every minute.
    for expected in [*range(at_once + 1, under_way), under_way - 1]:
        assert connections_after(pace, clock, 61) == expected
    assert connections_after(pace, clock, 600) == under_way


def test_processes_divide_a_limit(clock: VirtualTime) -> None:
    pace = Throttle(Limit("x", per_minute=600, at_once=3))

    pace.share(2, 1)
    assert (pace.per_minute, pace.at_once) == (300, 1)
    pace.share(4, 2)
    assert (pace.per_minute, pace.at_once) == (150, 1)
    pace.share(4, 3)
    assert pace.at_once == 0
    assert clock.pauses == []


def test_lanes_get_slots_in_turn(clock: VirtualTime) -> None:
    async def two_lanes() -> list[str]:
        pace, order = Throttle(Limit("x", per_minute=60)), list[str]()

        async def lane(name: str) -> None:
            for _ in range(3):
                assert await pace.take(1, until=1_000) == 1
                order.append(name)
                pace.settled(clock.now)

        await asyncio.gather(lane("a"), lane("b"))
        return order

    order = asyncio.run(two_lanes())

    assert all(abs(order[:n].count("a") - order[:n].count("b")) <= 2 for n in range(7))
    assert order.count("b") == 3
    assert clock.now == pytest.approx(5, abs=0.1)


def test_a_lane_does_not_wait_beyond_its_time(clock: VirtualTime) -> None:
    async def too_late() -> int:
        pace = Throttle(Limit("x", per_minute=1))
        pace.take_now(1)
        return await pace.take(1, until=clock.now + 30)

    assert asyncio.run(too_late()) == 0
    assert clock.now == 0


def test_a_recalled_pace_stays_within_the_settings(clock: VirtualTime) -> None:
    pace = Throttle(Limit("x", per_minute=60, most_per_minute=60, at_once=5))

    pace.recall(Learnt(per_minute=600, at_once=100, blocked_seconds=7))

    assert (pace.per_minute, pace.at_once, pace.blocked_seconds) == (60, 5, 7)
    assert clock.pauses == []


def test_tenants_that_share_a_limit_share_a_throttle() -> None:
    paces = Paces()
    webhook = SlackConfig(webhook_url="https://hooks.slack.com/services/T/B/x")
    other = SlackConfig(webhook_url="https://hooks.slack.com/services/T/B/y")
    bot = SlackConfig(token="xoxb-1")

    assert paces.pace(webhook).throttle is paces.pace(replace(webhook)).throttle
    assert paces.pace(webhook).throttle is not paces.pace(other).throttle
    assert paces.pace(webhook).destinations is None
    assert paces.pace(bot).destinations is paces.pace(replace(bot)).destinations is not None
    assert paces.pace(MAIL).throttle is paces.pace(replace(MAIL, sender="other@example.jp")).throttle
    assert paces.pace(MAIL).throttle is not paces.pace(replace(MAIL, login="other")).throttle


def test_no_key_contains_a_secret() -> None:
    configs: list[ChannelConfig] = [
        SlackConfig(token="xoxb-secret"),
        SlackConfig(webhook_url="https://hooks.slack.com/services/secret"),
        TeamsConfig("https://x.environment.api.powerplatform.com/?sig=secret"),
        LineWorksConfig("bot", "secret", "s", "a", "k"),
        replace(MAIL, login="secret"),
    ]

    assert not any("secret" in limit_of(config).key for config in configs)
    assert len({limit_of(config).key for config in configs}) == len(configs)


@pytest.mark.parametrize(("answers", "free_in"), [(1, CHANNEL_SECONDS), (200, CHANNEL_SECONDS - 0.2)])
def test_a_slow_answer_puts_off_the_next_message_to_the_channel(
    monkeypatch: pytest.MonkeyPatch, answers: int, free_in: float
) -> None:
    clock, channels = VirtualTime(), pacing.DestinationPaces(CHANNEL_SECONDS)
    clock.replace_clock(monkeypatch, pacing)
    clock.now = 1
    for number in range(answers):
        channels.answered(f"C{number}", clock.now - 0.2)
    clock.now = 9

    channels.answered("C1", clock.now - 0.5)

    assert channels.busy() == ["C1"]
    assert channels.next_free() == pytest.approx(free_in)


def test_a_refused_channel_waits_alone_for_as_long_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, channels = VirtualTime(), pacing.DestinationPaces(CHANNEL_SECONDS)
    clock.replace_clock(monkeypatch, pacing)

    channels.refuse("C1", 30)

    assert (channels.busy(), channels.next_free()) == (["C1"], 30)
    assert (channels.is_refused_elsewhere("C1"), channels.is_refused_elsewhere("C2")) == (False, True)
    clock.now = 30.1
    assert (channels.busy(), channels.is_refused_elsewhere("C2")) == ([], False)


def test_entering_the_same_names_does_not_share_a_limit() -> None:
    """A tenant can enter any login."""
    own = replace(MAIL, login="apikey", is_tenants=True)
    bot = LineWorksConfig("bot", "client", "secret-a", "a.serviceaccount@example", "key")

    keys = {
        limit_of(replace(MAIL, login="apikey")).key,
        limit_of(own, tenant_id="A").key,
        limit_of(own, tenant_id="B").key,
        limit_of(bot).key,
        limit_of(replace(bot, service_account="a.serviceaccount@example2")).key,
        limit_of(replace(bot, base_url="https://example.worksapis.com/")).key,
        limit_of(bot, 30).key,
    }

    assert len(keys) == 7


def test_the_bots_of_a_line_works_domain_share_its_limit() -> None:
    bot = LineWorksConfig("bot", "client", "secret", "a.serviceaccount@example", "key")
    other = LineWorksConfig("other", "other", "other", "b.serviceaccount@Example", "other")
    assert limit_of(bot).key == limit_of(other).key


def test_line_works_gets_half_of_its_limit_after_30_minutes(clock: VirtualTime) -> None:
    bot = LineWorksConfig("bot", "client", "secret", "a.serviceaccount@example", "key")
    service = Service(clock, per_second=4, burst=10)
    pace = Throttle(replace(limit_of(bot), per_minute=240, most_per_minute=240))

    first = service.take_all(pace, 7_200)
    second = service.take_all(pace, 1_200)

    assert first == pytest.approx(1_800, rel=0.02)
    assert second == pytest.approx(600, rel=0.02)


def test_a_server_that_gives_no_answer_gets_fewer_connections(clock: VirtualTime) -> None:
    pace = Throttle(UNKNOWN)
    clock.now = 1
    pace.take_now(20)
    clock.now = 61

    pace.settled(1)

    assert pace.at_once == 1


def test_a_stated_limit_is_taken_over_once(clock: VirtualTime) -> None:
    pace = Throttle(Limit("x", per_minute=60))
    clock.now = 1
    pace.take_now(1)
    pace.accepted(1, 240)
    clock.now = 2
    pace.take_now(1)
    pace.refused(2, None)
    lowered = pace.per_minute
    clock.now = 4
    pace.take_now(1)
    pace.accepted(4, 240)

    assert lowered == 120
    assert (pace.per_minute or 0) < 240
