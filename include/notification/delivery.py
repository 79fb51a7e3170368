"""One delivery: everything that is due for some tenants, through whatever channels they have."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psycopg

from include.database import read_sql, tenant_transaction
from include.notification import outbox
from include.notification.address_guard import guarded_session
from include.notification.channels import ChannelClient, connect
from include.notification.integrations import load_configs
from include.notification.message import ChannelConfig, Message, Network
from include.notification.outbox import Lane
from include.notification.outcome import Channel, SendResult, failed
from include.notification.retry import Status
from include.notification.sender import LaneReport, Sender

_HERE = Path(__file__).parent


@dataclass
class DeliveryReport:
    """What became of a tenant's messages, by channel and status, and which of its channels are closed and why."""

    counts: dict[Channel, Counter[Status]] = field(default_factory=dict)

    def total(self, *statuses: Status) -> int:
        """Messages over all channels; in these statuses, or in any."""
        return sum(
            count
            for by_status in self.counts.values()
            for status, count in by_status.items()
            if not statuses or status in statuses
        )


def deliver(
    connection: psycopg.Connection,
    tenant_ids: Sequence[str],
    network: Network,
    *,
    owner: str,
    clock: Callable[[], datetime],
    statuses: Collection[Status] = (Status.PENDING, Status.RETRY),
) -> dict[str, DeliveryReport]:
    """Send what is due for these tenants now; a report for each tenant that had something.

    ``connection`` acts as ``batch_tenant``, in autocommit mode. :raises psycopg.Error: the database failed; messages in flight are
    parked once their lease has run out.
    """
    with tenant_transaction(connection, tenant_ids):
        connection.execute(read_sql(_HERE, "reopen_channels"))
        configs = load_configs(connection)
    lanes = outbox.due_lanes(connection, tenant_ids, statuses, clock())
    reports: dict[str, DeliveryReport] = {}
    for report in asyncio.run(_drain(connection, lanes, configs, network, owner, clock, statuses)):
        of_tenant = reports.setdefault(report.lane.tenant_id, DeliveryReport())
        of_tenant.counts[report.lane.channel] = report.counts
    return reports


async def _drain(
    connection: psycopg.Connection,
    lanes: Sequence[Lane],
    configs: dict[Lane, ChannelConfig],
    network: Network,
    owner: str,
    clock: Callable[[], datetime],
    statuses: Collection[Status],
) -> list[LaneReport]:
    async with guarded_session(network.allowed_hosts) as session:

        def client_of(lane: Lane) -> ChannelClient | _NotConfigured:
            config = network.email if lane.channel is Channel.EMAIL else configs.get(lane)
            if config is None:
                return _NotConfigured(lane.channel)
            return connect(config, session, allowed_hosts=network.allowed_hosts)

        sender = Sender(connection, client_of, owner=owner, clock=clock, statuses=statuses)
        return await sender.drain(lanes)


class _NotConfigured:
    """Stands where a channel has no settings: every message waits until it has."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def check(self, message: Message) -> SendResult:  # noqa: ARG002 - the client's face
        return failed(self._channel, "not_configured")

    async def send(self, message: Message) -> SendResult:
        return self.check(message)
