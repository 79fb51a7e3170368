"""Notifications for DAGs, those of this repository and other teams': send over four channels, once; check a tenant's channel."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from airflow.sdk import BaseHook
from psycopg.rows import dict_row

from include.database import read_sql, tenant_transaction
from include.errors import BatchError, reason_of
from include.messaging import outbox
from include.messaging.address_guard import guarded_session
from include.messaging.channels import Finding, NotConfigured, connect
from include.messaging.delivery import deliver, mask_secrets
from include.messaging.integrations import load_configs
from include.messaging.message import ChannelConfig, Network
from include.messaging.outbox import Draft, Lane
from include.messaging.outcome import Channel
from include.messaging.retry import Status
from include.messaging.templates import literal
from include.settings import load_settings
from skill_batch.hooks.tenant_db import TenantDbHook
from skill_batch.network import network

# After which a call begins no more sends: the tenants may have long queues. What is left is the hourly batch's.
_TIME_TO_SEND = timedelta(minutes=2)


class NotificationHook(BaseHook):
    """One way for everything that tells somebody something: email, Slack, Microsoft Teams, LINE WORKS.

    A message goes into the outbox first and is sent from there, under row-level security, by the same rules as BATCH-019-01: claimed
    before the network is touched, each occasion (``dedupe_key``) once per tenant, what is ambiguous never sent again by itself. What
    cannot be sent now is sent by the hourly BATCH-019-02. Tenants' credentials are rows of SYS_IntegrationConfig; the mail server is
    the connection ``batch_smtp``.

    :param tenant_db_conn_id: Postgres connection that acts as ``batch_tenant``.
    """

    conn_name_attr = "tenant_db_conn_id"
    default_conn_name = TenantDbHook.default_conn_name
    conn_type = "postgres"
    hook_name = "Notification"

    def __init__(self, tenant_db_conn_id: str = TenantDbHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._tenant_db = TenantDbHook(tenant_db_conn_id)

    def get_conn(self) -> psycopg.Connection:
        """A connection that acts as ``batch_tenant``."""
        return self._tenant_db.get_conn()

    def test_connection(self) -> tuple[bool, str]:
        """Whether the database and the mail server let us in; nothing is sent. The message is for the connection form."""
        try:
            with self._tenant_db.connect() as connection:
                connection.execute("SELECT 1")
            through = network()
        except (BatchError, psycopg.Error) as error:
            return False, reason_of(error)
        findings = asyncio.run(_validate(through.email, Channel.EMAIL, (), through))
        if findings:
            return (
                False,
                f"SMTP: {findings[0].error.meaning}（{findings[0].detail or findings[0].error.code}）",
            )
        return True, "Connection successfully tested"

    def send(
        self,
        tenant_id: str,
        channel: Channel,
        destination: str,
        subject: str,
        text: str,
        *,
        dedupe_key: str,
        priority: int = 2,
    ) -> Status:
        """Send one message of plain texts now; returns where it is afterwards (SENT, or what waits or has failed).

        ``destination`` is an address, a Slack channel or user id, or ``users/ID``, ``channels/ID`` of LINE WORKS; ``priority`` is 1 (HIGH)
        to 3 (LOW). A ``dedupe_key`` that the tenant has had before sends nothing, and the status is that of the first message.
        """
        shown = literal(channel, subject, text)
        draft = Draft(
            tenant_id=tenant_id,
            dedupe_key=dedupe_key,
            channel=channel,
            destination=destination,
            subject=shown.subject,
            body=shown.text,
            rich=shown.rich,
            due_at=datetime.now(UTC),
            priority=priority,
        )
        return self.send_many([draft])[0]

    def send_many(self, drafts: Sequence[Draft]) -> list[Status]:
        """Queue messages of any tenants and channels, and send what is due for these tenants; the drafts' statuses, in their order."""
        tenant_ids = sorted({draft.tenant_id for draft in drafts})
        if not tenant_ids:
            return []
        owner = f"{type(self).__name__} {datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"
        with self._tenant_db.connect() as connection:
            with tenant_transaction(connection, tenant_ids):
                outbox.enqueue(connection, drafts, created_by=owner)
            deliver(
                connection,
                tenant_ids,
                network(),
                owner=owner,
                clock=lambda: datetime.now(UTC),
                settings=load_settings().notification,
                statuses=(Status.PENDING,),
                stop_at=datetime.now(UTC) + _TIME_TO_SEND,
            )
            with (
                tenant_transaction(connection, tenant_ids),
                connection.cursor(row_factory=dict_row) as cursor,
            ):
                rows = cursor.execute(
                    read_sql(Path(outbox.__file__).parent, "load_statuses"),
                    {"dedupe_keys": [draft.dedupe_key for draft in drafts]},
                ).fetchall()
        found = {(row["tenant_id"], row["dedupe_key"]): Status(row["status"]) for row in rows}
        return [found[draft.tenant_id, draft.dedupe_key] for draft in drafts]

    def validate(self, tenant_id: str, channel: Channel, destinations: Collection[str] = ()) -> list[Finding]:
        """What is wrong with a tenant's channel, and with destinations; empty: nothing. Asks the service, and sends nothing."""
        through = network()
        config: ChannelConfig | None = through.email
        if channel is not Channel.EMAIL:
            with self._tenant_db.connect() as connection, tenant_transaction(connection, [tenant_id]):
                config = load_configs(connection).get(Lane(tenant_id, channel))
        if config is not None:
            mask_secrets([config], through)
        return asyncio.run(_validate(config, channel, destinations, through))


async def _validate(
    config: ChannelConfig | None, channel: Channel, destinations: Collection[str], through: Network
) -> list[Finding]:
    if config is None:
        return await NotConfigured(channel).validate()
    async with (
        guarded_session(through.allowed_hosts) as session,
        aclosing(connect(config, session, allowed_hosts=through.allowed_hosts)) as client,
    ):
        return await client.validate(destinations)
