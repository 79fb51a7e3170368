"""Two senders at once, and a killed one, with 800 messages: each arrives once, or is known to be in doubt."""

from __future__ import annotations

import os
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.network import Network
from include.skillreport.messaging.dispatch import dispatch_due
from include.skillreport.messaging.outbox import park_crashed
from include.skillreport.messaging.settings import NotificationSettings
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.messaging.killed_worker import CONTEXT
from tests.waiting import LIMIT_SECONDS
from tests.worlds.outbox_rows import network, slack, wait_for

TENANTS = [f"T{number:03}" for number in range(40)]
MESSAGES = 800
BEFORE_THE_KILL = 200


pytestmark = pytest.mark.tenants(*TENANTS)


@pytest.fixture(autouse=True)
def messages(host: psycopg.Connection, services: StandIns) -> None:
    """A Slack workspace for each of forty tenants, and twenty messages, every one to a separate channel."""
    for tenant in TENANTS:
        slack(host, tenant, services)
    host.execute(
        """
        INSERT INTO batch.outbox (
            message_id, tenant_id, dedupe_key, channel, destination, subject, body, due_at, next_attempt_at, created_by
        )
        SELECT
            'm' || number, 'T' || lpad(mod(number, %s)::text, 3, '0'), 'k' || number, 'slack', 'C' || number, 's', 'b',
            now() - interval '1 hour', now() - interval '1 hour', 'test'
        FROM generate_series(0, %s - 1) AS number
        """,
        [len(TENANTS), MESSAGES],
    )


def send(dsn: str, through: Network, owner: str) -> None:
    """A worker: everything that is due for everybody."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET ROLE batch_tenant")
        dispatch_due(
            connection,
            TENANTS,
            through,
            owner=owner,
            clock=lambda: datetime.now(UTC),
            settings=NotificationSettings.load(),
        )


def test_messages_are_delivered_once_or_known_to_be_in_doubt(
    shared_database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    workers = [
        CONTEXT.Process(target=send, args=(shared_database.dsn, network(services), owner))
        for owner in ("killed", "first", "second")
    ]
    # Both later workers are at work at the same time.
    services.latency("slack", 0.05)
    workers[0].start()
    wait_for(services, BEFORE_THE_KILL)
    assert workers[0].pid
    os.kill(workers[0].pid, signal.SIGKILL)
    for worker in workers[1:]:
        worker.start()
    for worker in workers:
        worker.join(LIMIT_SECONDS)
    assert [worker.exitcode for worker in workers] == [-signal.SIGKILL, 0, 0]
    in_flight = host.execute("SELECT count(*) FROM batch.outbox WHERE status = 'sending'").fetchone()

    # The killed worker's lease ends. The next run parks its messages in flight and sends none of them.
    host.execute(
        "UPDATE batch.outbox SET lease_until = %s WHERE status = 'sending'",
        [datetime.now(UTC) - timedelta(1)],
    )
    park(shared_database)
    send(shared_database.dsn, network(services), "third")

    statuses: dict[str, int] = dict(
        host.execute("SELECT status, count(*) FROM batch.outbox GROUP BY status").fetchall()
    )
    arrived = Counter(message.destination for message in services.messages)
    assert in_flight is not None
    assert 0 < in_flight[0] <= BEFORE_THE_KILL
    assert statuses == {"sent": MESSAGES - in_flight[0], "ambiguous": in_flight[0]}
    assert set(arrived.values()) == {1}
    sent = {
        destination
        for (destination,) in host.execute("SELECT destination FROM batch.outbox WHERE status = 'sent'")
    }
    assert sent <= set(arrived)


def park(database: Database) -> None:
    """The first step of the hourly run."""
    with database.connect("batch_tenant") as connection, tenant_transaction(connection, TENANTS):
        park_crashed(connection, datetime.now(UTC))
