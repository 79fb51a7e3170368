"""Clocks go wrong, those of senders and PostgreSQL's: nothing is sent twice, and nothing that is in flight is parked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import product

import psycopg
import pytest

from include.skillreport.core.database import tenant_transaction
from include.skillreport.messaging import outbox, shared_limits
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.dispatch import dispatch_due
from include.skillreport.messaging.integrations import reopen_channels
from include.skillreport.messaging.outbox import MessageDraft
from include.skillreport.messaging.settings import NotificationSettings
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.waiting import wait_until
from tests.worlds.outbox_rows import lose_senders, make_due, network, slack, statuses, wait_for

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
        MessageDraft(
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


@pytest.mark.slow("needs many rows")
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


# PostgreSQL's clock --------------------------------------------------------------------------------------------------------

# The sessions that show a running sender.
ALIVE = """
    SELECT held.pid FROM pg_locks AS held INNER JOIN pg_database ON held.database = pg_database.oid
    WHERE held.locktype = 'advisory' AND held.classid = 190101 AND pg_database.datname = current_database()
"""


@contextmanager
def at_work(database: Database, services: StandIns) -> Iterator[None]:
    """A sender whose messages are in flight in this block. It has sent all after it."""
    with ThreadPoolExecutor() as threads:
        with services.held("slack"), services.held("email"):
            sending = threads.submit(send, database, services, "on time")
            wait_for(services, 1)
            yield
        sending.result()


def jump(host: psycopg.Connection, by: timedelta) -> None:
    """PostgreSQL's clock jumps forwards, so leases are over earlier."""
    host.execute("UPDATE batch.outbox SET lease_until = lease_until - %s WHERE status = 'sending'", [by])


def test_a_jump_of_postgresqls_clock_takes_no_message_from_its_sender(
    shared_database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    with at_work(shared_database, services):
        jump(host, timedelta(minutes=30))
        assert park(shared_database, "ahead") == 0

    assert statuses(host) == {(channel, "sent"): EACH * len(TENANTS) for channel in ("email", "slack")}
    assert set(Counter(message.destination for message in services.messages).values()) == {1}
    assert host.execute(ALIVE).fetchall() == []


def test_a_sender_with_a_new_connection_still_keeps_its_messages(
    shared_database: Database,
    host: psycopg.Connection,
    services: StandIns,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_limits, "_RENEW_SECONDS", 0.1)
    with at_work(shared_database, services):
        before = host.execute(ALIVE).fetchall()
        host.execute("SELECT pg_terminate_backend(%s, 5000)", before[0])
        wait_until(lambda: bool(host.execute(ALIVE).fetchall()), "the sender connects again")
        jump(host, timedelta(minutes=30))
        assert park(shared_database, "on time") == 0

    assert statuses(host) == {(channel, "sent"): EACH * len(TENANTS) for channel in ("email", "slack")}


def test_the_session_of_a_vanished_computer_keeps_messages_for_half_an_hour(
    shared_database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    with at_work(shared_database, services):
        lose_senders(host)
        assert park(shared_database, "on time") == 0
        jump(host, timedelta(minutes=30))
        assert park(shared_database, "on time") > 0


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
