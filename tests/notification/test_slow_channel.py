"""A channel that is slow or dead holds up nobody but itself."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import aiohttp
import psycopg
import pytest

from include.database import tenant_transaction
from include.demo.stand_ins import StandIns
from include.notification import outbox
from include.notification.address_guard import guarded_session
from include.notification.channels import connect
from include.notification.delivery import DeliveryReport, deliver
from include.notification.message import ChannelConfig, EmailConfig, Network, SlackConfig
from include.notification.outbox import Draft, Lane
from include.notification.outcome import Channel
from include.notification.retry import Status
from include.notification.sender import LaneReport, Sender
from include.settings import load_settings
from tests import host_rows
from tests.conftest import Database
from tests.notification.outbox_rows import integration, network, slack

EMAIL, SLACK = Channel.EMAIL, Channel.SLACK

# Before all others by its name, so that the sender comes to it first.
SLOW = "A-slow"
OTHERS = [f"T{number:02}" for number in range(20)]
ALL = [SLOW, *OTHERS]

# Messages of each tenant over each channel: all of them under way at once.
EACH = 4

LATENCY = 10.0
# Seconds by which everybody else is done before the slow one has answered.
AHEAD = timedelta(seconds=5)


@pytest.fixture
def slow_services() -> Iterator[StandIns]:
    """The slow tenant's."""
    with StandIns() as stand_ins:
        stand_ins.latency("slack", LATENCY)
        yield stand_ins


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port of 127.0.0.1 that takes every connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield int(server.getsockname()[1])


@pytest.fixture
def host(shared_database: Database, services: StandIns) -> Iterator[psycopg.Connection]:
    """Twenty tenants with a Slack, and one without; each has posts to several channels and letters waiting."""
    with shared_database.connect() as connection:
        for tenant_id in ALL:
            host_rows.tenant(connection, tenant_id)
            connection.execute("SET ROLE batch_tenant")
            put(connection, tenant_id)
            connection.execute("RESET ROLE")
        for tenant_id in OTHERS:
            slack(connection, tenant_id, services)
        yield connection


def put(connection: psycopg.Connection, tenant_id: str) -> None:
    """Posts and letters that are due."""
    due_at = datetime.now(UTC) - timedelta(hours=1)
    drafts = [
        Draft(
            tenant_id=tenant_id,
            dedupe_key=f"{channel}:{number}",
            channel=channel,
            destination=f"C{number}" if channel is SLACK else f"{tenant_id.lower()}{number}@example.jp",
            subject=tenant_id,
            body=tenant_id,
            due_at=due_at,
        )
        for channel in (SLACK, EMAIL)
        for number in range(EACH)
    ]
    with tenant_transaction(connection, [tenant_id]):
        outbox.enqueue(connection, drafts, created_by="test")


def send(
    connection: psycopg.Connection,
    through: Network,
    tenant_ids: Sequence[str] = ALL,
) -> dict[str, DeliveryReport]:
    """Everything that is due."""
    return deliver(
        connection,
        tenant_ids,
        through,
        owner="run",
        clock=lambda: datetime.now(UTC),
        settings=load_settings().notification,
    )


def send_impatiently(
    connection: psycopg.Connection,
    configs: dict[Lane, ChannelConfig],
    allowed_hosts: frozenset[str],
    seconds: float,
) -> list[LaneReport]:
    """Everything that is due, through clients that wait no longer than this."""

    async def drain() -> list[LaneReport]:
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with guarded_session(allowed_hosts, timeout=timeout) as session:
            sender = Sender(
                connection,
                lambda lane: connect(
                    configs[lane], session, allowed_hosts=allowed_hosts, smtp_timeout=seconds
                ),
                owner="run",
                clock=lambda: datetime.now(UTC),
                started_at=datetime.now(UTC),
            )
            return await sender.drain(list(configs))

    return asyncio.run(drain())


def received(services: StandIns) -> Counter[tuple[str, str]]:
    """How many messages of which tenant have arrived over which channel."""
    return Counter((arrived.text, arrived.channel) for arrived in services.messages)


def last_arrival(services: StandIns) -> datetime:
    """When the last message arrived."""
    return max(arrived.arrived_at for arrived in services.messages)


ALL_OF_THE_OTHERS = {(tenant_id, channel): EACH for tenant_id in OTHERS for channel in ("slack", "email")}


def test_a_slack_that_takes_ten_seconds_holds_up_nobody_else(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns, slow_services: StandIns
) -> None:
    slack(host, SLOW, slow_services)
    through = network(services)

    reports = send(connection, Network(through.email, services.allowed_hosts | slow_services.allowed_hosts))

    # The slow tenant's own letters included: they travel in a lane of their own.
    assert received(services) == {**ALL_OF_THE_OTHERS, (SLOW, "email"): EACH}
    assert received(slow_services) == {(SLOW, "slack"): EACH}
    answered_at = min(arrived.arrived_at for arrived in slow_services.messages) + timedelta(seconds=LATENCY)
    assert last_arrival(services) < answered_at - AHEAD
    assert reports[SLOW].counts[SLACK] == {Status.SENT: EACH}
    assert all(report.total(Status.SENT) == report.total() == 2 * EACH for report in reports.values())
    # Nor do the others' results wait to be written down.
    rows = host.execute(
        "SELECT tenant_id = %s AND channel = 'slack', min(finished_at), max(finished_at) FROM batch.outbox GROUP BY 1",
        [SLOW],
    ).fetchall()
    finished = {is_slow: (first, last) for is_slow, first, last in rows}
    assert finished[False][1] < finished[True][0] - AHEAD


@pytest.mark.usefixtures("host")
def test_a_mail_server_that_takes_its_time_holds_up_no_post(
    connection: psycopg.Connection, services: StandIns
) -> None:
    """It is everybody's, and has letters of everybody's to take."""
    services.latency("email", 3)

    send(connection, network(services), OTHERS)

    assert received(services) == ALL_OF_THE_OTHERS
    posts = [arrived.arrived_at for arrived in services.messages if arrived.channel == "slack"]
    assert max(posts) < last_arrival(services) - AHEAD


def test_a_slack_where_nobody_listens_holds_up_nobody_else(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns, unused_port: int
) -> None:
    integration(
        host,
        SLOW,
        "slack",
        auth={"bot_token": "xoxb-test"},
        connection={"base_url": f"http://127.0.0.1:{unused_port}/api/"},
    )
    through = network(services)

    reports = send(connection, Network(through.email, services.allowed_hosts | {f"127.0.0.1:{unused_port}"}))

    assert received(services) == {**ALL_OF_THE_OTHERS, (SLOW, "email"): EACH}
    assert reports[SLOW].counts == {SLACK: {Status.RETRY: EACH}, EMAIL: {Status.SENT: EACH}}
    assert host.execute(
        "SELECT DISTINCT tenant_id, channel, error_code, attempts FROM batch.outbox WHERE status <> 'sent'"
    ).fetchall() == [(SLOW, "slack", "connection_refused", 1)]


@pytest.mark.parametrize(
    ("channel", "status", "code"),
    [(SLACK, Status.AMBIGUOUS, "timeout"), (EMAIL, Status.RETRY, "connection_refused")],
)
def test_a_server_that_never_answers_holds_up_nobody_else(
    host: psycopg.Connection,
    connection: psycopg.Connection,
    services: StandIns,
    silent_port: int,
    channel: Channel,
    status: Status,
    code: str,
) -> None:
    """A letter was not on its way yet when the server did not even say hello; a post may have arrived."""
    mail = EmailConfig("127.0.0.1", services.smtp_port, "no-reply@cloud-service.example", security="none")
    configs: dict[Lane, ChannelConfig] = {}
    for tenant_id in ALL:
        configs[Lane(tenant_id, SLACK)] = SlackConfig("xoxb-test", base_url=services.slack_base_url)
        configs[Lane(tenant_id, EMAIL)] = mail
    silent = Lane(SLOW, channel)
    if channel is SLACK:
        configs[silent] = SlackConfig("xoxb-test", base_url=f"http://127.0.0.1:{silent_port}/api/")
    else:
        configs[silent] = EmailConfig("127.0.0.1", silent_port, mail.sender, security="none")

    reports = send_impatiently(
        connection, configs, services.allowed_hosts | {f"127.0.0.1:{silent_port}"}, seconds=8
    )
    given_up_at = datetime.now(UTC)

    other = EMAIL if channel is SLACK else SLACK
    assert received(services) == {**ALL_OF_THE_OTHERS, (SLOW, str(other)): EACH}
    # What it was asked to take at once; the rest was not put in doubt as well.
    tried = next(report.counts[status] for report in reports if report.lane == silent)
    assert 1 <= tried <= EACH
    assert {report.lane: dict(report.counts) for report in reports} == {
        lane: {status: tried} if lane == silent else {Status.SENT: EACH} for lane in configs
    }
    assert last_arrival(services) < given_up_at - AHEAD
    assert host.execute(
        "SELECT tenant_id, channel, error_code, count(*) FROM batch.outbox WHERE status = %s GROUP BY 1, 2, 3",
        [status],
    ).fetchall() == [(SLOW, channel, code, tried)]
