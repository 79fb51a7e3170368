"""A hook to send notifications and to check a tenant's channel, for the DAGs of all teams."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import psycopg
from airflow.sdk import BaseHook

from skill_batch.hooks.tenant_db import TenantDbHook
from skill_batch.network import network
from skill_batch.object_storage import find_object_store
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.errors import BatchError, ParameterError, reason_of
from include.skillreport.core.network import Network
from include.skillreport.messaging.address_guard import guarded_session
from include.skillreport.messaging.channels import CHANNELS, EMAIL
from include.skillreport.messaging.channels.channel import (
    Channel,
    ChannelConfig,
    ChannelFinding,
    NotConfigured,
)
from include.skillreport.messaging.integrations import load_configs, sending_config
from include.skillreport.messaging.message import mask_secrets
from include.skillreport.messaging.outbox import Lane, MessageDraft
from include.skillreport.messaging.preferences import load_preferences, with_own_mail_server
from include.skillreport.messaging.retry import Status
from include.skillreport.messaging.service import Notifications
from include.skillreport.messaging.templates import literal

# A call starts no send after this time, because queues may be long. The hourly batch sends the rest.
_SEND_SECONDS = 120


class NotificationHook(BaseHook, Notifications):
    """Sends messages by e-mail, Slack, Microsoft Teams and LINE WORKS, through the outbox of the batches.

    The hook writes a message to the outbox and sends it with row-level security and the rules of BATCH-019-01. Each ``dedupe_key`` is
    sent once per tenant. Messages with an ambiguous answer are not sent again. BATCH-019-02 retries messages that cannot be sent now,
    every hour. The tenants' credentials are rows of SYS_IntegrationConfig; the mail server is the connection ``skill_batch_smtp``.

    .. code-block:: python

        NotificationHook().send(
            "T1", "email", "admin@example.jp", "点検のお知らせ", "11 月 30 日に点検します。", dedupe_key="maintenance:2026-11-30"
        )

    :param tenant_db_conn_id: Postgres connection that acts as ``batch_tenant``.
    """

    conn_name_attr = "tenant_db_conn_id"
    default_conn_name = TenantDbHook.default_conn_name
    conn_type = "postgres"
    hook_name = "Notification"

    def __init__(self, tenant_db_conn_id: str = TenantDbHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tenant_db_conn_id = tenant_db_conn_id
        self._tenant_db = TenantDbHook(tenant_db_conn_id)

    def get_conn(self) -> psycopg.Connection:
        """A connection that acts as ``batch_tenant``."""
        return self._tenant_db.get_conn()

    def test_connection(self) -> tuple[bool, str]:
        """Check the logins to the database and the mail server, and send nothing. The message is for the connection form."""
        works, answer = self._tenant_db.test_connection()
        if not works:
            return works, answer
        try:
            services = network()
        except BatchError as error:
            return False, reason_of(error)
        for found in asyncio.run(validate_channel(services.email, EMAIL, (), services)):
            answer = f"SMTP: {found.error.meaning}（{found.detail or found.error.code}）"
            if not found.is_warning:
                return False, answer
        return works, answer

    def send(
        self,
        tenant_id: str,
        channel: str,
        destination: str,
        subject: str,
        text: str,
        *,
        dedupe_key: str,
        priority: int = 2,
        language: str | None = None,
    ) -> Status:
        """Send one plain text message now. Returns its status afterwards.

        :param tenant_id: the tenant whose channel sends.
        :param channel: the channel's name: ``email``, ``slack``, ``teams``, ``line_works`` or another channel of
            ``messaging/channels``.
        :param destination: an e-mail address, a Slack channel or user id, or ``users/ID``, ``channels/ID`` of LINE WORKS.
        :param subject: one line. Channels without a subject show it as a heading.
        :param text: plain text.
        :param dedupe_key: names the event. A second message with the same key is not sent; returns the status of the first.
        :param priority: 1 (HIGH) to 3 (LOW).
        :param language: ``ja`` or ``en``, for an e-mail's signature. Default: the setting ``notification.language``.
        :raises ParameterError: there is no such channel.
        """
        shown = literal(_channel(channel), subject, text)
        draft = MessageDraft(
            tenant_id=tenant_id,
            dedupe_key=dedupe_key,
            channel=_channel(channel),
            destination=destination,
            subject=shown.subject,
            body=shown.text,
            rich=shown.rich,
            due_at=datetime.now(UTC),
            priority=priority,
            language=language or self.settings.language,
        )
        return self.send_many([draft])[0]

    def send_many(self, drafts: Sequence[MessageDraft]) -> list[Status]:
        """Queue messages, and send the due messages of their tenants. Returns the statuses of ``drafts``, in order.

        :param drafts: messages of any tenants and channels.
        """
        tenant_ids = sorted({draft.tenant_id for draft in drafts})
        if not tenant_ids:
            return []
        owner = f"{type(self).__name__} {datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"
        with self._tenant_db.connect() as connection:
            with tenant_transaction(connection, tenant_ids):
                self.enqueue(connection, drafts, created_by=owner)
            self.send_due(
                connection,
                tenant_ids,
                network(),
                owner=owner,
                seconds=_SEND_SECONDS,
                statuses=(Status.PENDING,),
                store=find_object_store(),
            )
            with tenant_transaction(connection, tenant_ids):
                found = self.statuses(connection, [draft.dedupe_key for draft in drafts])
        return [found[draft.tenant_id, draft.dedupe_key] for draft in drafts]

    def validate(
        self, tenant_id: str, channel: str, destinations: Collection[str] = ()
    ) -> list[ChannelFinding]:
        """The problems of a tenant's channel; empty if there are none. Calls the service, but sends no message.

        E-mail is checked on the sending server: the tenant's own, or the installation's.

        :param tenant_id: the tenant whose channel is checked.
        :param channel: the channel's name.
        :param destinations: destinations to check as well, as in ``send``.
        :raises ParameterError: there is no such channel.
        """
        services, lane = network(), Lane(tenant_id, _channel(channel))
        with self._tenant_db.transaction([tenant_id]) as connection:
            preferences = load_preferences(connection, self.settings, datetime.now(UTC))
            configs = load_configs(connection, with_own_mail_server(preferences))
        config = sending_config(lane, configs, services)
        if config is not None:
            mask_secrets([config], services)
        return asyncio.run(validate_channel(config, lane.channel, destinations, services))


def _channel(name: str) -> Channel:
    if name not in CHANNELS:
        raise ParameterError(
            f"通知のチャネル {name!r} は使えません。{'、'.join(CHANNELS)} のどれかを指定してください。"
        )
    return CHANNELS[name]


async def validate_channel(
    config: ChannelConfig | None, channel: Channel, destinations: Collection[str], services: Network
) -> list[ChannelFinding]:
    """The problems of a channel with these settings. Calls the service, but sends no message."""
    if config is None:
        return await NotConfigured(channel).validate()
    async with (
        guarded_session(services.allowed_hosts) as session,
        aclosing(channel.client(config, session, services.allowed_hosts)) as client,
    ):
        return await client.validate(destinations)
