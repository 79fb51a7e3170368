"""One delivery: everything that is due for some tenants, through whatever channels they have."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from include.database import read_sql, tenant_transaction
from include.execution.tenant_work import Run, TenantFailure
from include.messaging import outbox
from include.messaging.address_guard import guarded_session
from include.messaging.channels import ChannelClient, NotConfigured, connect
from include.messaging.integrations import configs_of, load_integrations, rate_limits_of
from include.messaging.message import ChannelConfig, Network, secrets_of
from include.messaging.outbox import Lane
from include.messaging.outcome import Channel
from include.messaging.preferences import is_quiet, load_preferences
from include.messaging.retry import Status
from include.messaging.sender import LaneReport, Sender
from include.settings import NotificationSettings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_HERE = Path(__file__).parent

_MASKED = 20


@dataclass
class DeliveryReport:
    """What became of a tenant's messages, by channel and status; ``problems`` are what ended single channels before their time."""

    counts: dict[Channel, Counter[Status]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

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
    settings: NotificationSettings,
    statuses: Collection[Status] = (Status.PENDING, Status.RETRY),
    stop_at: datetime | None = None,
) -> dict[str, DeliveryReport]:
    """Send what is due for these tenants now, in their quiet hours only what is urgent; a report for each tenant that had something.

    ``connection`` acts as ``batch_tenant``, in autocommit mode. After ``stop_at`` nothing more is begun.
    :raises psycopg.Error: the database failed; messages in flight are parked once their lease has run out.
    """
    now = clock()
    with tenant_transaction(connection, tenant_ids):
        connection.execute(read_sql(_HERE, "reopen_channels"))
        integrations = load_integrations(connection)
        preferences = load_preferences(connection, settings, now)
    configs = configs_of(integrations)
    quiet = {tenant_id for tenant_id, own in preferences.items() if is_quiet(own.settings.quiet_hours, now)}
    lanes = outbox.due_lanes(connection, tenant_ids, statuses, now)
    mask_secrets([config for lane in lanes if (config := configs.get(lane))], network)

    def sender_through(client_of: Callable[[Lane], ChannelClient]) -> Sender:
        return Sender(
            connection,
            client_of,
            owner=owner,
            clock=clock,
            started_at=now,
            statuses=statuses,
            quiet=quiet,
            rate_limits=rate_limits_of(integrations),
            stop_at=stop_at,
        )

    reports: dict[str, DeliveryReport] = {}
    for report in asyncio.run(_drain(lanes, configs, network, sender_through)):
        of_tenant = reports.setdefault(report.lane.tenant_id, DeliveryReport())
        of_tenant.counts[report.lane.channel] = report.counts
        if report.problem:
            of_tenant.problems.append(f"{report.lane.channel}: {report.problem}")
    return reports


def owner_of(run: Run) -> str:
    """Who claims: every try of a run on its own, so that one that was taken for dead does not speak for its successor."""
    return f"{run.execution_id}/{secrets.token_hex(4)}"


def failure_of(tenant_id: str, report: DeliveryReport) -> TenantFailure | None:
    """The tenant's failure, if one of its channels ended before its time; its last messages are parked once their lease has run out."""
    if not report.problems:
        return None
    return TenantFailure(
        tenant_id, "CHANNEL_FAILED", f"送信を中断しました（{'、'.join(report.problems)}）", recoverable=False
    )


def mask_secrets(configs: Sequence[DataclassInstance], network: Network) -> None:
    """Have the secrets of a few configurations kept out of logs, should anything ever write one.

    Not of many: every log line is searched for each of them.
    """
    if network.mask and len(configs) <= _MASKED:
        for config in configs:
            for secret in secrets_of(config):
                network.mask(secret)


async def _drain(
    lanes: Sequence[Lane],
    configs: Mapping[Lane, ChannelConfig],
    network: Network,
    sender_through: Callable[[Callable[[Lane], ChannelClient]], Sender],
) -> list[LaneReport]:
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(guarded_session(network.allowed_hosts))

        async def client_for(config: ChannelConfig | None, channel: Channel) -> ChannelClient:
            if config is None:
                return NotConfigured(channel)
            client = connect(config, session, allowed_hosts=network.allowed_hosts)
            return await stack.enter_async_context(aclosing(client))

        # One mail server for everybody: its connections are shared.
        mail = await client_for(network.email, Channel.EMAIL)
        clients = {
            lane: mail if lane.channel is Channel.EMAIL else await client_for(configs.get(lane), lane.channel)
            for lane in lanes
        }
        return await sender_through(clients.__getitem__).drain(lanes)
