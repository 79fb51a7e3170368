"""Send through services that throttle, each with its documented limit, and compare the time with the minimum time of the limit.

Each case has a separate process, database and stand-ins. All cases run at the same time, so the whole takes as long as the longest (about
17 minutes). No message may be lost, dead or sent twice, and no case may take more than 1.2 times the seconds of its limit. The small size
has a fiftieth of the messages: the start then has more weight, so its ratios are not judged.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import NamedTuple, TypeAlias

import psycopg
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.measurement import connected
from benchmarks.place import Found, Place, integrate, queue
from benchmarks.scale_world import World
from include.skillreport.core.network import EmailConfig, Network
from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.line_works import LINE_WORKS
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.channels.teams import TEAMS
from include.skillreport.messaging.dispatch import dispatch_due
from include.skillreport.messaging.settings import NotificationSettings
from local_stack.stand_ins import StandIns

Integration: TypeAlias = Callable[[StandIns], tuple[Mapping[str, str], Mapping[str, str]]]

ALLOWED_RATIO = 1.2
LINE_WORKS_CLIENT = "benchmark"
# A run that takes this many times longer than the limit is stopped. Messages that are not sent by then count as lost.
_STOP_RATIO = 3


def slack_bot(services: StandIns) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """A workspace for each tenant."""
    return {"bot_token": "xoxb-{}"}, {"base_url": services.slack_base_url}


def line_works_bot(services: StandIns) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """A bot of LINE WORKS."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    auth = {"client_id": LINE_WORKS_CLIENT, "client_secret": "secret", "service_account": "batch@example"}
    urls = {"auth_url": services.line_works_auth_url, "base_url": services.line_works_base_url}
    return auth | {"private_key": key.decode()}, {"bot_id": "1000001"} | urls


def _webhook(url: str) -> Integration:
    return lambda services: ({"webhook_url": getattr(services, url)}, {})


@dataclass(frozen=True)
class Case:
    """A service and its messages. ``seconds_each``: the minimum time of one message under the limit.

    ``limits`` set it. ``destination`` is that of ``queue``.
    """

    channel: Channel
    messages: int
    seconds_each: float
    limits: Sequence[Callable[[StandIns], None]]
    destination: str
    destinations: int
    integration: Integration | None = None
    tenants: int = 1


class Result(NamedTuple):
    """The results of the messages. ``seconds`` is the time of the dispatch, ``refused`` the number of refusals by a rate limit."""

    name: str
    messages: int
    seconds: float
    limit_seconds: float
    refused: int
    dead: int
    twice: int
    lost: int


_LETTER, _PERSON = "member{}@{tenant}.example.jp", "users/{}"


def _rate(name: str, requests: int, seconds: float) -> Callable[[StandIns], None]:
    return lambda services: services.set_limit(name, requests, seconds)


def _connections(refuses_connections: bool) -> Callable[[StandIns], None]:
    return lambda services: services.limit_smtp_connections(3, refuses_connections=refuses_connections)


def _delay(services: StandIns) -> None:
    services.delay_letters(2)


def _burst(services: StandIns) -> None:
    services.pause_after("slack_workspace", 60, 2)


_CHANNEL = _rate("slack_channel", 1, 1)

CASES = {
    # Amazon SES: 14 letters per second for all senders of one account.
    "ses": Case(EMAIL, 3_000, 1 / 14, [_rate("email", 14, 1)], _LETTER, 3_000, tenants=20),
    # Exchange Online: 3 connections, and 30 letters per minute. It delays its answers above that.
    "exchange": Case(EMAIL, 300, 2, [_connections(False), _delay], _LETTER, 300, tenants=20),
    "exchange_connections": Case(EMAIL, 300, 2, [_connections(True), _delay], _LETTER, 300, tenants=20),
    # Slack: a message per second to each channel, and some hundreds per minute to a workspace.
    "slack": Case(SLACK, 10_000, 0.1, [_CHANNEL, _rate("slack_workspace", 600, 60)], "C{}", 20, slack_bot),
    # 60 messages to 20 channels take three seconds, and two more are refused.
    "slack_burst": Case(SLACK, 2_000, 5 / 60, [_CHANNEL, _burst], "C{}", 20, slack_bot),
    "webhook": Case(SLACK, 120, 1, [_rate("slack_webhook", 1, 1)], "C{}", 20, _webhook("slack_webhook_url")),
    # LINE WORKS states its limit with each answer.
    "line_works_60": Case(LINE_WORKS, 300, 1, [_rate("line_works", 60, 60)], _PERSON, 300, line_works_bot),
    "line_works_240": Case(
        LINE_WORKS, 480, 0.25, [_rate("line_works", 240, 60)], _PERSON, 480, line_works_bot
    ),
    # Teams: 100 calls in 60 seconds for a connection. A flow takes a message above that, and loses it.
    "teams": Case(TEAMS, 960, 0.6, [_rate("teams", 100, 60)], "", 1, _webhook("teams_webhook_url")),
}


def send_due(network: Network, dsn: str, _: date, *, stop_at: datetime | None = None) -> None:
    """Send all due messages in one process."""
    with psycopg.connect(dsn) as owner:
        tenants = owner.execute("SELECT tenant_id FROM batch.all_tenant ORDER BY tenant_id").fetchall()
    with connected(dsn) as (_platform, connection):
        dispatch_due(
            connection,
            [tenant_id for (tenant_id,) in tenants],
            network,
            owner="benchmark",
            clock=lambda: datetime.now(UTC),
            settings=NotificationSettings.load(),
            stop_at=stop_at,
        )


def run_case(name: str, share: float, dsn: str) -> Result:
    """Send the messages of a case in one run."""
    case = CASES[name]
    each = max(1, round(share * case.messages / case.tenants))
    messages = each * case.tenants
    limit_seconds = messages * case.seconds_each
    with StandIns() as services:
        for limit in case.limits:
            limit(services)
        if case.integration is not None:
            integrate(dsn, case.channel, *case.integration(services))
        put = partial(queue, tenants=case.tenants, destinations=case.destinations)
        put(dsn, case.channel, case.destination, each)
        mail = EmailConfig("127.0.0.1", services.smtp_port, "no-reply@example.jp", security="none")
        stop_at = datetime.now(UTC) + timedelta(seconds=_STOP_RATIO * limit_seconds + 60)
        begin = time.perf_counter()
        send_due(Network(mail, services.allowed_hosts), dsn, stop_at.date(), stop_at=stop_at)
        seconds = time.perf_counter() - begin
        with psycopg.connect(dsn) as owner:
            rows = owner.execute("SELECT status FROM batch.outbox").fetchall()
        statuses = Counter(status for (status,) in rows)
        arrived = Counter(message.text for message in services.messages)
        dead = statuses["dead"] + statuses["ambiguous"]
        return Result(
            *(name, messages, seconds, limit_seconds, services.messages_refused_for_rate, dead),
            twice=sum(count > 1 for count in arrived.values()),
            # A message is also lost if its status in the outbox is sent and it has not arrived.
            lost=messages - dead - min(statuses["sent"], len(arrived)),
        )


def measurement(place: Place) -> Found:
    """The limits are the only thing that takes time."""
    names, share = list(place.chosen(CASES)), place.size(1, 0.02)
    found = Found(f"{len(names)} services", f"{ALLOWED_RATIO} times the limit, each message once")
    place.plant("throttling", World(20, users=0, requests=0))
    of_case = {name: place.copy(name, "throttling") for name in names}
    print(
        f"{'service':<21} {'messages':>8} {'seconds':>8} {'limit s':>8} {'ratio':>6} {'refused':>8} {'dead':>5} {'twice':>6} {'lost':>5}"
    )
    ratios = []
    with ProcessPoolExecutor(len(names), multiprocessing.get_context("spawn")) as processes:
        futures = [processes.submit(run_case, name, share, dsn) for name, dsn in of_case.items()]
        for future in as_completed(futures):
            each = future.result()
            ratios.append(each.seconds / each.limit_seconds)
            print(
                f"{each.name:<21} {each.messages:>8,} {each.seconds:>8.1f} {each.limit_seconds:>8.1f} {ratios[-1]:>6.2f}"
                f" {each.refused:>8,} {each.dead:>5} {each.twice:>6} {each.lost:>5}",
                flush=True,
            )
            is_whole = not (each.dead or each.twice or each.lost)
            found.require(is_whole, f"{each.name}: messages are lost or doubled")
            found.seconds = max(found.seconds, each.seconds)
    found.result = f"at most {max(ratios):.2f} times the limit"
    found.require(place.is_small or max(ratios) <= ALLOWED_RATIO, "sending takes longer than its limit")
    return found
