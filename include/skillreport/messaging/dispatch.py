"""Dispatches the outbox: claims, sends and records the tenants' due messages over all their channels."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

import psycopg

from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.batch import Run, UnitFailure, UnitResult
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.lasting_connection import lasting
from include.skillreport.core.network import EmailConfig, Network
from include.skillreport.messaging import outbox
from include.skillreport.messaging.address_guard import guarded_session
from include.skillreport.messaging.channels import CHANNELS, EMAIL, Channel, ChannelConfig
from include.skillreport.messaging.channels.channel import ChannelClient, NotConfigured
from include.skillreport.messaging.integrations import (
    configs_of,
    load_channel_rows,
    rate_limits_of,
    reopen_channels,
    sending_config,
)
from include.skillreport.messaging.message import mask_secrets
from include.skillreport.messaging.outbox import Lane
from include.skillreport.messaging.pacing import Paces, limit_of
from include.skillreport.messaging.preferences import (
    Preferences,
    load_preferences,
    quiet_until,
    with_own_mail_server,
)
from include.skillreport.messaging.results import FIGURES
from include.skillreport.messaging.retry import Status
from include.skillreport.messaging.sender import LaneReport, Sender
from include.skillreport.messaging.settings import NotificationSettings
from include.skillreport.messaging.switches import load_switched_off

# The figures of a run that sends (``Batch.effects``). The sender counts them with the results of its messages.
DELIVERY_EFFECTS = frozenset(
    {
        "totalNotifications",
        *(f"{word}Count" for word in FIGURES.values()),
        *(f"{word}_{channel}" for word in FIGURES.values() for channel in CHANNELS.values()),
    }
)


@dataclass
class DispatchReport:
    """The number of a tenant's messages by channel and status. ``problems`` are the errors that stopped single channels.

    ``is_server_closed``: the mail server refuses the installation, or a chat service returns only unknown answers.
    """

    counts: dict[Channel, Counter[Status]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    is_server_closed: bool = False

    def total(self, *statuses: Status) -> int:
        """The number of messages over all channels, in these statuses or in all."""
        return sum(
            count
            for by_status in self.counts.values()
            for status, count in by_status.items()
            if not statuses or status in statuses
        )

    def figures(self) -> dict[str, int]:
        """Figures for the run's result: the number of attempts in total, by their end, and by end and channel."""
        return {
            "totalNotifications": self.total(*FIGURES),
            **{f"{word}Count": self.total(status) for status, word in FIGURES.items()},
            **{
                f"{word}_{channel}": by_status[status]
                for channel, by_status in self.counts.items()
                for status, word in FIGURES.items()
                if by_status[status]
            },
        }


Finish = Callable[[psycopg.Connection, Mapping[str, DispatchReport]], object]
"""Gets the reports by tenant id. The connection has no transaction."""


def dispatch_due(
    connection: psycopg.Connection,
    tenant_ids: Sequence[str],
    network: Network,
    *,
    owner: str,
    clock: Callable[[], datetime],
    settings: NotificationSettings,
    statuses: Collection[Status] = (Status.PENDING, Status.RETRY),
    stop_at: datetime | None = None,
    store: ObjectStore | None = None,
    preferences: Mapping[str, Preferences] | None = None,
    finish: Finish = lambda *_: None,
    execution_id: str | None = None,
) -> dict[str, DispatchReport]:
    """Send the due messages of these tenants, in quiet hours only urgent ones; returns a report per tenant with messages.

    ``connection`` acts as ``batch_tenant``, in autocommit mode. If it is lost, a new one records the results. After ``stop_at`` no more
    messages are claimed. ``store`` contains the files of e-mails. ``preferences`` are loaded if the caller has none. ``finish`` gets the
    reports of tenants whose messages are done, while others are sent. The run ``execution_id`` counts the results.
    :raises psycopg.Error: the database failed. Messages in flight are parked when their lease has expired.
    """
    now = clock()
    with tenant_transaction(connection, tenant_ids):
        reopen_channels(connection)
        known = load_preferences(connection, settings, now) if preferences is None else preferences
        integrations = load_channel_rows(connection, with_own_mail_server(known))

    postpone = partial(_postpone, tenant_ids=tenant_ids, preferences=known, clock=clock)
    configs = configs_of(integrations)
    _revive_doubted(connection, tenant_ids, configs, network, now)
    postpone(connection)
    lanes = outbox.due_lanes(connection, tenant_ids, statuses, now)
    mask_secrets([config for lane in lanes if (config := configs.get(lane))], network)
    of_lane = {lane: sending_config(lane, configs, network) for lane in lanes}
    own_limits, paces = rate_limits_of(integrations), Paces()
    with_messages = {lane.tenant_id for lane in lanes}
    if idle := [each for each in tenant_ids if each not in with_messages]:
        finish(connection, {tenant_id: DispatchReport() for tenant_id in idle})
    with lasting(connection) as database:

        def sender_with(client_of: Callable[[Lane], ChannelClient]) -> Sender:
            return Sender(
                database,
                client_of,
                lambda lane: paces.pace(
                    of_lane[lane], own_limits.get(lane) if lane in configs else None, lane.tenant_id
                ),
                owner=owner,
                clock=clock,
                started_at=now,
                statuses=statuses,
                stop_at=stop_at,
                postpone=postpone,
                store=store,
                finish=lambda current, reports: finish(current, _by_tenant(reports)),
                execution_id=execution_id,
            )

        return _by_tenant(asyncio.run(_drain(of_lane, network, sender_with)))


def _revive_doubted(
    connection: psycopg.Connection,
    tenant_ids: Sequence[str],
    configs: Collection[Lane],
    network: Network,
    now: datetime,
) -> None:
    sharing = [each for each in tenant_ids if Lane(each, EMAIL) not in configs]
    if network.email is not None and sharing:
        outbox.revive_doubted(connection, sharing, limit_of(network.email).key, now)


def _by_tenant(lane_reports: Sequence[LaneReport]) -> dict[str, DispatchReport]:
    reports: dict[str, DispatchReport] = {}
    for lane_report in lane_reports:
        lane = lane_report.lane
        report = reports.setdefault(lane.tenant_id, DispatchReport())
        report.counts[lane.channel] = lane_report.counts
        if lane_report.problem:
            report.problems.append(f"{lane.channel}: {lane_report.problem}")
        report.is_server_closed |= lane_report.is_server_closed
    return reports


def _postpone(
    connection: psycopg.Connection,
    tenant_ids: Sequence[str],
    preferences: Mapping[str, Preferences],
    clock: Callable[[], datetime],
) -> None:
    """Postpone messages that the tenants have switched off, and in quiet hours messages that are not urgent."""
    with tenant_transaction(connection, tenant_ids):
        now = clock()
        outbox.postpone_switched_off(connection, load_switched_off(connection, now).entries(), now)
        ends_at = {
            tenant_id: end
            for tenant_id, each in preferences.items()
            if (end := quiet_until(each.settings.quiet_hours, now, each.zone))
        }
        outbox.postpone_quiet(connection, ends_at)


def owner_of(run: Run) -> str:
    """The owner of claims, unique per attempt of a run, so that a replaced attempt cannot record results for its successor."""
    return f"{run.execution_id}/{secrets.token_hex(4)}"


def failure_of(tenant_id: str, report: DispatchReport) -> UnitFailure | None:
    """The tenant's failure if an error stopped a channel. Its messages in flight are parked when their lease has expired."""
    if not report.problems:
        return None
    return UnitFailure(
        tenant_id, "CHANNEL_FAILED", f"送信を中断しました（{'、'.join(report.problems)}）", recoverable=False
    )


def with_closed_server(outcome: UnitResult | UnitFailure, report: DispatchReport) -> UnitResult | UnitFailure:
    """The tenant's outcome, with a note if its mail server or a service is closed."""
    if not report.is_server_closed:
        return outcome
    return replace(
        outcome, notes=(*outcome.notes, "送信先のサーバーかサービスが受け付けないため、通知は待っています")
    )


async def _drain(
    of_lane: Mapping[Lane, ChannelConfig | None],
    network: Network,
    sender_with: Callable[[Callable[[Lane], ChannelClient]], Sender],
) -> list[LaneReport]:
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(guarded_session(network.allowed_hosts))

        async def client_for(config: ChannelConfig | None, channel: Channel) -> ChannelClient:
            if config is None:
                return NotConfigured(channel)
            if isinstance(config, EmailConfig) and config.is_tenants and network.email:
                config = replace(
                    config,
                    unsubscribe_address=network.email.unsubscribe_address,
                    unsubscribe_url=network.email.unsubscribe_url,
                )
            client = channel.client(config, session, network.allowed_hosts)
            return await stack.enter_async_context(aclosing(client))

        # Tenants without their own mail server share these connections.
        mail = await client_for(network.email, EMAIL)
        clients = {
            lane: mail if config is network.email and config else await client_for(config, lane.channel)
            for lane, config in of_lane.items()
        }
        return await sender_with(clients.__getitem__).drain(list(of_lane))
