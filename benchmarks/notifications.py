"""Compare sending through the outbox with the sequential loop of the customer's list. The services answer after 20 ms.

The loop follows the batch list, section 4.3: it sends each notification and marks it as sent, one after the other. Both use the same
clients, local stand-ins and limits. Compare ratios, not seconds.

    python -m benchmarks.notifications [TENANTS ...]
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.measurement import Databases, measure, vacuum
from include.skillreport.core.database import Statements, tenant_transaction
from include.skillreport.core.network import Network
from include.skillreport.messaging import outbox
from include.skillreport.messaging.address_guard import guarded_session
from include.skillreport.messaging.channels.slack import SLACK, SlackConfig
from include.skillreport.messaging.dispatch import dispatch_due
from include.skillreport.messaging.outbox import Exchange, Lane
from include.skillreport.messaging.retry import Status
from include.skillreport.messaging.settings import NotificationSettings
from local_stack.generator import benchmark_shape
from local_stack.postgres_server import EmbeddedPostgres
from local_stack.stand_ins import StandIns

SIZES = (100,)
MESSAGES_PER_TENANT = 50
LATENCY_SECONDS = 0.02
LOOP_MESSAGES = 100
DAY = date(2026, 11, 1)
REQUIRED_PER_SECOND = 1_000
_SQL = Statements(Path(__file__).parent)


def _tenants(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute('SELECT tenant_id FROM "MST_Tenant" ORDER BY tenant_id').fetchall()
    return [tenant_id for (tenant_id,) in rows]


def send_all(allowed_hosts: frozenset[str], dsn: str, day: date) -> None:  # noqa: ARG001 - the signature of Work
    """Send all due messages in one process."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        tenant_ids = _tenants(connection)
        connection.execute("SET ROLE batch_tenant")
        network = Network(allowed_hosts=allowed_hosts)
        dispatch_due(
            connection,
            tenant_ids,
            network,
            owner="benchmark",
            clock=lambda: datetime.now(UTC),
            settings=NotificationSettings.load(),
        )


def send_in_a_loop(slack: SlackConfig, allowed_hosts: frozenset[str], dsn: str, day: date) -> None:  # noqa: ARG001
    """The customer's loop over the first messages: send, then mark as sent."""

    async def loop(connection: psycopg.Connection, tenant_id: str) -> None:
        async with guarded_session(allowed_hosts) as session:
            client = SLACK.client(slack, session, allowed_hosts)
            (claims,) = outbox.exchange(
                connection,
                [Exchange(Lane(tenant_id, SLACK), (), LOOP_MESSAGES)],
                [Status.PENDING],
                owner="loop",
                started_at=datetime.now(UTC),
                now=datetime.now(UTC),
            )
            for claimed in claims.messages:
                await client.send(claimed.message)
                with tenant_transaction(connection, [tenant_id]):
                    connection.execute(
                        "UPDATE batch.outbox SET status = 'sent', finished_at = now(), lease_owner = null, lease_until = null"
                        " WHERE message_id = %s",
                        [claimed.message.message_id],
                    )

    with psycopg.connect(dsn, autocommit=True) as connection:
        (first, *_) = _tenants(connection)
        connection.execute("SET ROLE batch_tenant")
        asyncio.run(loop(connection, first))


def prepare(databases: Databases, name: str, tenants: int, messages: int, services: StandIns) -> str:
    """Create tenants with a Slack workspace and this many messages each. A workspace accepts 60 at once, and then 600 per minute."""
    shape = replace(benchmark_shape(tenants), users_per_tenant=0, requests_per_day=0)
    dsn = databases.load(name, shape)
    with psycopg.connect(dsn) as connection:
        connection.execute(
            """
            INSERT INTO "SYS_IntegrationConfig" (id, tenant_id, integration_key, auth_config, connection_config, updated_at)
            SELECT
                tenant_id, tenant_id, 'slack', jsonb_build_object('bot_token', 'xoxb-' || tenant_id), %s, now() - interval '1 day'
            FROM "MST_Tenant"
            """,
            [json.dumps({"base_url": services.slack_base_url})],
        )
        _SQL.execute(connection, "notification_queue", messages=messages)
    vacuum(dsn)
    return dsn


def main(sizes: tuple[int, ...]) -> int:
    rate = 0.0
    with tempfile.TemporaryDirectory(prefix="notification-benchmark-") as directory, StandIns() as services:
        services.latency("slack", LATENCY_SECONDS)
        server = EmbeddedPostgres(Path(directory))
        server.start()
        databases = Databases(server)
        try:
            loop_dsn = prepare(databases, "loop", 1, LOOP_MESSAGES, services)
            slack = SlackConfig(token="xoxb-benchmark", base_url=services.slack_base_url)  # noqa: S106
            loop = measure(partial(send_in_a_loop, slack, services.allowed_hosts), loop_dsn, DAY)
            loop_rate = LOOP_MESSAGES / loop.seconds
            print(
                f"{'tenants':>8} {'messages':>9} {'messages/s':>11} {'peak MB':>8} {'loop/s':>7} {'ratio':>6}"
            )
            for tenants in sizes:
                dsn = prepare(databases, f"outbox_{tenants}", tenants, MESSAGES_PER_TENANT, services)
                before = len(services.messages)
                delivery = measure(partial(send_all, services.allowed_hosts), dsn, DAY)
                messages = tenants * MESSAGES_PER_TENANT
                if len(services.messages) - before != messages:
                    raise SystemExit("not every message has arrived exactly once")
                rate = messages / delivery.seconds
                print(
                    f"{tenants:>8,} {messages:>9,} {rate:>11,.0f} {delivery.peak_memory_bytes / 2**20:>8.0f}"
                    f" {loop_rate:>7,.0f} {rate / loop_rate:>6.1f}",
                    flush=True,
                )
        finally:
            server.reset()
    print(f"{rate:,.0f} messages/s (required {REQUIRED_PER_SECOND:,})")
    return int(rate < REQUIRED_PER_SECOND)


if __name__ == "__main__":
    sys.exit(main(tuple(int(argument) for argument in sys.argv[1:]) or SIZES))
