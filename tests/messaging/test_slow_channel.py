"""A channel that is slow or dead delays only its own messages.

Each test keeps a channel from answering until all other messages have arrived and their results are recorded. A sender in which one
channel waits for another never gets that far.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import aiohttp
import psycopg
import pytest

from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.lasting_connection import LastingConnection
from include.skillreport.core.network import EmailConfig, Network
from include.skillreport.messaging import dispatch, outbox
from include.skillreport.messaging.address_guard import guarded_session
from include.skillreport.messaging.channels.channel import Channel, ChannelConfig
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.email.client import Client as EmailClient
from include.skillreport.messaging.channels.slack import SLACK, SlackConfig
from include.skillreport.messaging.dispatch import DispatchReport, dispatch_due
from include.skillreport.messaging.outbox import Lane, MessageDraft
from include.skillreport.messaging.pacing import Paces
from include.skillreport.messaging.retry import Status
from include.skillreport.messaging.sender import LaneReport, Sender
from include.skillreport.messaging.settings import NotificationSettings
from local_stack.stand_ins import StandIns
from tests.messaging.sending import client_of
from tests.waiting import LIMIT_SECONDS, wait_until
from tests.worlds.outbox_rows import integration, network, slack, unsigned

T = TypeVar("T")


# Before all others by its name, so that the sender comes to it first.
SLOW = "A-slow"
OTHERS = [f"T{number:02}" for number in range(20)]
ALL = [SLOW, *OTHERS]

# Messages of each tenant over each channel: all of them under way at once.
EACH = 4

# The clients wait longer than the test.
PATIENCE = 2 * LIMIT_SECONDS
PATIENT = aiohttp.ClientTimeout(total=PATIENCE)


@pytest.fixture
def slow_services() -> Iterator[StandIns]:
    """The slow tenant's."""
    with StandIns() as stand_ins:
        yield stand_ins


@pytest.fixture(autouse=True)
def patient_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery whose clients wait for as long as the test needs."""
    monkeypatch.setattr(dispatch, "guarded_session", partial(guarded_session, timeout=PATIENT))
    monkeypatch.setattr(EmailClient, "timeout", PATIENCE)


pytestmark = pytest.mark.tenants(*ALL)


@pytest.fixture(autouse=True)
def waiting(host: psycopg.Connection, services: StandIns) -> None:
    """Twenty tenants with a Slack, and one without; each has posts to several channels and letters waiting."""
    for tenant_id in ALL:
        host.execute("SET ROLE batch_tenant")
        put(host, tenant_id)
        host.execute("RESET ROLE")
    for tenant_id in OTHERS:
        slack(host, tenant_id, services)


def put(connection: psycopg.Connection, tenant_id: str) -> None:
    """Posts and letters that are due."""
    due_at = datetime.now(UTC) - timedelta(hours=1)
    drafts = [
        MessageDraft(
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
) -> dict[str, DispatchReport]:
    """Everything that is due."""
    return dispatch_due(
        connection,
        tenant_ids,
        through,
        owner="run",
        clock=lambda: datetime.now(UTC),
        settings=NotificationSettings.load(),
    )


def drain(
    connection: psycopg.Connection, configs: Mapping[Lane, ChannelConfig], allowed_hosts: frozenset[str]
) -> list[LaneReport]:
    """Send all due messages, each lane through a separate server."""

    async def through_patient_clients() -> list[LaneReport]:
        async with guarded_session(allowed_hosts, timeout=PATIENT) as session:
            paces = Paces()
            sender = Sender(
                LastingConnection(connection),
                lambda lane: client_of(
                    configs[lane], session, allowed_hosts=allowed_hosts, patience=PATIENCE
                ),
                lambda lane: paces.pace(configs[lane]),
                owner="run",
                clock=lambda: datetime.now(UTC),
                started_at=datetime.now(UTC),
            )
            return await sender.drain(list(configs))

    return asyncio.run(through_patient_clients())


def overtaken(
    host: psycopg.Connection, sending: Callable[[], T], *, sent_meanwhile: int, release: Callable[[], None]
) -> T:
    """Send, and release the slow channel once this many messages of the others are recorded as sent."""

    def others_are_sent() -> bool:
        row = host.execute("SELECT count(*) FROM batch.outbox WHERE status = 'sent'").fetchone()
        return row == (sent_meanwhile,)

    with ThreadPoolExecutor() as threads:
        result = threads.submit(sending)
        try:
            wait_until(
                lambda: result.done() or others_are_sent(),
                f"{sent_meanwhile} messages are sent while a channel gives no answer",
            )
            assert not result.done()
        finally:
            release()
        return result.result()


def received(services: StandIns) -> Counter[tuple[str, str]]:
    """How many messages of which tenant have arrived over which channel."""
    return Counter((unsigned(arrived.text), arrived.channel) for arrived in services.messages)


ALL_OF_THE_OTHERS = {(tenant_id, channel): EACH for tenant_id in OTHERS for channel in ("slack", "email")}


def test_a_slow_slack_delays_nothing_else(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns, slow_services: StandIns
) -> None:
    slack(host, SLOW, slow_services)
    email = network(services).email
    own_and_slow = Network(email, services.allowed_hosts | slow_services.allowed_hosts)

    with slow_services.held("slack") as release:
        reports = overtaken(
            host,
            lambda: send(connection, own_and_slow),
            sent_meanwhile=2 * EACH * len(OTHERS) + EACH,
            release=release,
        )

    # The slow tenant's letters were sent meanwhile too: they are in a lane of their own.
    assert received(services) == {**ALL_OF_THE_OTHERS, (SLOW, "email"): EACH}
    assert received(slow_services) == {(SLOW, "slack"): EACH}
    assert reports[SLOW].counts[SLACK] == {Status.SENT: EACH}
    assert all(report.total(Status.SENT) == report.total() == 2 * EACH for report in reports.values())


def test_a_slow_mail_server_delays_no_post(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns
) -> None:
    """All tenants share the mail server, and each has letters waiting."""
    with services.held("email") as release:
        overtaken(
            host,
            lambda: send(connection, network(services), OTHERS),
            sent_meanwhile=EACH * len(OTHERS),
            release=release,
        )

    assert received(services) == ALL_OF_THE_OTHERS


def test_an_unreachable_slack_delays_no_other_channel(
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
    assert reports[SLOW].counts == {SLACK: {Status.PENDING: EACH}, EMAIL: {Status.SENT: EACH}}
    assert host.execute(
        "SELECT DISTINCT tenant_id, channel, error_code, attempts FROM batch.outbox WHERE status <> 'sent'"
    ).fetchall() == [(SLOW, "slack", "connection_refused", 0)]


@pytest.mark.slow("waits for slow or throttling services")
@pytest.mark.parametrize(
    ("channel", "status", "code"),
    [(SLACK, Status.AMBIGUOUS, "connection_lost"), (EMAIL, Status.PENDING, "connection_refused")],
)
def test_a_server_that_never_answers_delays_nothing_else(
    host: psycopg.Connection,
    connection: psycopg.Connection,
    services: StandIns,
    channel: Channel,
    status: Status,
    code: str,
) -> None:
    """A letter is not sent before the server's greeting; a post may have arrived."""
    # It accepts every connection and sends nothing, until it closes them all.
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent_server:
        silent_port = silent_server.getsockname()[1]
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

        reports = overtaken(
            host,
            lambda: drain(connection, configs, services.allowed_hosts | {f"127.0.0.1:{silent_port}"}),
            sent_meanwhile=2 * EACH * len(OTHERS) + EACH,
            release=silent_server.close,
        )

    other = EMAIL if channel is SLACK else SLACK
    assert received(services) == {**ALL_OF_THE_OTHERS, (SLOW, str(other)): EACH}
    # The lane stops after the messages that were under way at once. The rest is not put in doubt.
    tried = next(report.counts[status] for report in reports if report.lane == silent)
    assert 1 <= tried <= EACH
    assert {report.lane: dict(report.counts) for report in reports} == {
        lane: {status: tried} if lane == silent else {Status.SENT: EACH} for lane in configs
    }
    assert host.execute(
        "SELECT tenant_id, channel, error_code, count(*) FROM batch.outbox "
        "WHERE status = %s AND error_code IS NOT null GROUP BY 1, 2, 3",
        [status],
    ).fetchall() == [(SLOW, channel, code, tried)]
