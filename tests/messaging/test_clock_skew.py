"""Two senders whose clocks differ by ten minutes: nothing is sent twice, and nothing that is in flight is parked."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import product

import psycopg
import pytest

from include.skillreport.core.database import tenant_transaction
from include.skillreport.messaging import outbox
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.dispatch import dispatch_due
from include.skillreport.messaging.integrations import reopen_channels
from include.skillreport.messaging.outbox import Draft
from include.skillreport.messaging.settings import NotificationSettings
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.messaging.outbox_rows import make_due, network, slack, statuses

TENANTS = ["A", "B", "C", "D"]
# Messages of each tenant over each channel.
EACH = 30

AHEAD = timedelta(minutes=10)
CLOCKS = {"on time": timedelta(), "ahead": AHEAD}


pytestmark = pytest.mark.tenants(*TENANTS)


@pytest.fixture(autouse=True)
def due(shared_database: Database, host: psycopg.Connection, services: StandIns) -> None:
    """Letters and posts of each tenant that are due."""
    due_at = datetime.now(UTC) - timedelta(hours=1)
    drafts = [
        Draft(
            tenant_id,
            f"{channel}:{number}",
            channel,
            f"{tenant_id}{number}@example.jp" if channel is EMAIL else f"C-{tenant_id}-{number}",
            "件名",
            "本文",
            due_at,
        )
        for tenant_id, channel, number in product(TENANTS, (EMAIL, SLACK), range(EACH))
    ]
    for tenant_id in TENANTS:
        slack(host, tenant_id, services)
    with shared_database.connect("batch_tenant") as tenants, tenant_transaction(tenants, TENANTS):
        outbox.enqueue(tenants, drafts, created_by="test")


def now(skew: timedelta) -> datetime:
    """The time by a clock that goes wrong by this."""
    return datetime.now(UTC) + skew


def send(database: Database, services: StandIns, name: str) -> None:
    """One of the senders sends the messages that are due by its clock."""
    with database.connect("batch_tenant") as connection:
        dispatch_due(
            connection,
            TENANTS,
            network(services),
            owner=name,
            clock=lambda: now(CLOCKS[name]),
            settings=NotificationSettings.load(),
        )


def park(database: Database, name: str) -> int:
    """The first step of a sender's hourly run; returns the number of messages that it treats as lost."""
    with database.connect("batch_tenant") as connection, tenant_transaction(connection, TENANTS):
        return len(outbox.park_crashed(connection, now(CLOCKS[name])))


def test_skewed_clocks_neither_repeat_nor_park_messages(
    shared_database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    services.latency("slack", 0.05)
    services.latency("email", 0.05)
    services.fail_next("slack", "ratelimited", times=3, retry_after=1)
    services.fail_next("slack", "http_503", times=6)
    services.fail_next("email", "450 4.2.0 Try again later", times=6)

    parked = 0
    with ThreadPoolExecutor() as threads:
        senders = [threads.submit(send, shared_database, services, name) for name in CLOCKS]
        while not all(sender.done() for sender in senders):
            parked += sum(park(shared_database, name) for name in CLOCKS)
        for sender in senders:
            sender.result()

    assert parked == 0
    waits = host.execute(
        "SELECT status, next_attempt_at - now() FROM batch.outbox WHERE status IN ('retry', 'sending', 'ambiguous')"
    ).fetchall()
    assert Counter(status for status, _ in waits) == {"retry": 12}
    # An hour, a tenth of it for the jitter, and the ten minutes.
    assert all(timedelta(minutes=59) < wait < timedelta(minutes=67) + AHEAD for _, wait in waits)

    make_due(host)
    for name in CLOCKS:
        send(shared_database, services, name)
    assert statuses(host) == {(channel, "sent"): EACH * len(TENANTS) for channel in ("email", "slack")}
    arrived = Counter((message.channel, message.destination) for message in services.messages)
    assert set(arrived.values()) == {1}


def test_a_channel_closed_by_a_fast_clock_reopens_on_new_settings(
    shared_database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    services.fail_next("slack", "invalid_auth", times=5 * len(TENANTS))
    send(shared_database, services, "ahead")
    circuits = "SELECT count(*) FROM batch.channel_circuit"
    assert host.execute(circuits).fetchall() == [(len(TENANTS),)]

    host.execute("""UPDATE "SYS_IntegrationConfig" SET updated_at = clock_timestamp() AT TIME ZONE 'UTC'""")
    with shared_database.connect("batch_tenant") as connection, tenant_transaction(connection, TENANTS):
        reopen_channels(connection)

    assert host.execute(circuits).fetchall() == [(0,)]
