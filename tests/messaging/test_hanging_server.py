"""A mail server that takes e-mails and never answers: it takes three timeouts of a run, and nobody waits for it."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.skillreport.core.database import tenant_transaction
from include.skillreport.messaging import outbox
from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.email.client import Client as EmailClient
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.dispatch import DispatchReport, dispatch_due
from include.skillreport.messaging.outbox import MessageDraft
from include.skillreport.messaging.pacing import limit_of
from include.skillreport.messaging.settings import NotificationSettings
from local_stack.stand_ins import StandIns
from tests.messaging.sending import SHORT
from tests.worlds.outbox_rows import make_due, network, slack

TENANTS = [f"T{number}" for number in range(6)]
EACH = 5

pytestmark = pytest.mark.tenants(*TENANTS)


@pytest.fixture(autouse=True)
def impatient_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmailClient, "timeout", SHORT)


@pytest.fixture(autouse=True)
def messages(host: psycopg.Connection, connection: psycopg.Connection, services: StandIns) -> None:
    """Six tenants with five e-mails and five posts each. The mail server is known to allow one connection."""
    host.execute(
        "INSERT INTO batch.service_limit (limit_key, at_once) VALUES (%s, 1)",
        [limit_of(network(services).email).key],
    )
    for tenant_id in TENANTS:
        slack(host, tenant_id, services)
    with tenant_transaction(connection, TENANTS):
        outbox.enqueue(
            connection,
            [
                draft(tenant_id, channel, number)
                for tenant_id in TENANTS
                for channel in (EMAIL, SLACK)
                for number in range(EACH)
            ],
            created_by="test",
        )


def draft(tenant_id: str, channel: Channel, number: int) -> MessageDraft:
    destination = f"C{tenant_id}{number}" if channel is SLACK else f"{tenant_id.lower()}-{number}@example.jp"
    due_at = datetime.now(UTC) - timedelta(hours=1)
    return MessageDraft(tenant_id, f"{channel}:{number}", channel, destination, "件名", "本文", due_at)


def send(
    connection: psycopg.Connection, services: StandIns, owner: str = "run/1"
) -> dict[str, DispatchReport]:
    """One instance's dispatch, which has an hour."""
    return dispatch_due(
        connection,
        TENANTS,
        network(services),
        owner=owner,
        clock=lambda: datetime.now(UTC),
        settings=NotificationSettings.load(),
        stop_at=datetime.now(UTC) + timedelta(hours=1),
    )


def tried(host: psycopg.Connection, channel: str = "email") -> dict[str, int]:
    """The number of messages by status and error."""
    rows = host.execute(
        "SELECT concat_ws(' ', status, error_code), count(*) FROM batch.outbox WHERE channel = %s GROUP BY 1",
        [channel],
    )
    return dict(rows.fetchall())


def test_three_timeouts_end_the_server_for_all_running_instances(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns
) -> None:
    with services.held("email"):
        reports = send(connection, services)
        first = tried(host)
        connections = services.smtp_connections
        # Another instance of the run begins.
        send(connection, services, "run/2")

    assert first == tried(host) == {"retry timeout": 3, "pending": len(TENANTS) * EACH - 3}
    assert services.smtp_connections == connections
    assert tried(host, "slack") == {"sent": len(TENANTS) * EACH}
    assert all(report.is_server_closed for report in reports.values())
    (reason,) = host.execute(
        "SELECT closed_reason FROM batch.service_limit WHERE closed_at IS NOT null"
    ).fetchone() or ("",)
    assert "続けて応答がありません" in reason


@pytest.mark.slow("waits for slow or throttling services")
def test_one_probe_finds_out_whether_the_server_answers_again(
    host: psycopg.Connection, connection: psycopg.Connection, services: StandIns
) -> None:
    with services.held("email"):
        send(connection, services)
        host.execute("UPDATE batch.service_limit SET blocked_until = now()")
        send(connection, services)
        assert tried(host)["retry timeout"] == 4

    host.execute("UPDATE batch.service_limit SET blocked_until = now()")
    make_due(host)
    send(connection, services)

    assert tried(host) == {"sent": len(TENANTS) * EACH}
    assert host.execute("SELECT FROM batch.service_limit WHERE closed_at IS NOT null").fetchall() == []


@pytest.mark.slow("waits for slow or throttling services")
def test_a_connection_without_a_greeting_counts_too(
    host: psycopg.Connection,
    connection: psycopg.Connection,
    services: StandIns,
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        services.smtp_port = silent.getsockname()[1]
        host.execute(
            "INSERT INTO batch.service_limit (limit_key, at_once) VALUES (%s, 1)",
            [limit_of(network(services).email).key],
        )

        send(connection, services)

    assert tried(host) == {"pending connection_refused": 3, "pending": len(TENANTS) * EACH - 3}
