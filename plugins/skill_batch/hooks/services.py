"""Hooks of the external services' connection types. The UI's connection form tests them; no test sends a message."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import ClassVar

from airflow.sdk import BaseHook, Connection

from skill_batch.connections import required_connection
from skill_batch.hooks.notification import validate_channel
from skill_batch.network import MAILBOX_CONN_ID, SMTP_CONN_ID, mail_server, mailbox, network
from skill_batch.notifiers.channels import OPS_HTTP_CONN_ID, OPS_SLACK_CONN_ID, identify_slack
from include.skillreport.core.errors import BatchError, reason_of
from include.skillreport.core.network import EmailConfig, Network
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.feedback.mailbox import open_mailbox

_WORKS = "接続できました"


class _ServiceHook(BaseHook):
    """A hook that looks its connection up by id.

    :param service_conn_id: the connection. The default is the connection of the batches.
    """

    conn_name_attr = "service_conn_id"
    default_conn_name: ClassVar[str]
    conn_type: ClassVar[str]
    hook_name: ClassVar[str]

    def __init__(self, service_conn_id: str = "") -> None:
        super().__init__()
        self.service_conn_id = service_conn_id or self.default_conn_name

    def get_conn(self) -> Connection:
        """The Airflow connection. :raises ConnectionMissingError: it is not defined."""
        return required_connection(self.service_conn_id, self.hook_name)


class MailServerHook(_ServiceHook):
    """The mail server of ``skill_batch_smtp`` and ``skill_batch_alert_email``."""

    default_conn_name = SMTP_CONN_ID
    conn_type = "skill_batch_mail"
    hook_name = "メールサーバー（通知・運用アラート）"

    def test_connection(self) -> tuple[bool, str]:
        """Log in and log out."""
        try:
            server = mail_server(self.service_conn_id)
            findings = asyncio.run(validate_channel(server, EMAIL, (), _services(server)))
        except BatchError as error:
            return False, reason_of(error)
        for found in findings:
            if not found.is_warning:
                return False, found.detail or found.error.meaning
        return True, "。".join([_WORKS, *(found.error.meaning for found in findings)])


class MailboxHook(_ServiceHook):
    """The mailbox of ``skill_batch_mailbox``."""

    default_conn_name = MAILBOX_CONN_ID
    conn_type = "skill_batch_mailbox"
    hook_name = "メールボックス（エラーメール・配信停止）"

    def test_connection(self) -> tuple[bool, str]:
        """Log in, select the folder, and log out."""
        try:
            self.get_conn()
            config = mailbox(self.service_conn_id)
            assert config is not None, "the connection exists"
            with open_mailbox(config, _services(None).allowed_hosts):
                return True, _WORKS
        except BatchError as error:
            return False, reason_of(error)


class AlertSlackHook(_ServiceHook):
    """The operators' Slack of ``skill_batch_alert_slack``."""

    default_conn_name = OPS_SLACK_CONN_ID
    conn_type = "skill_batch_alert_slack"
    hook_name = "運用アラート（Slack）"

    def test_connection(self) -> tuple[bool, str]:
        """Ask Slack which bot the token belongs to (``auth.test``)."""
        try:
            return True, f"{_WORKS}（{identify_slack(self.get_conn())}）"
        except (BatchError, LookupError, OSError, ValueError) as error:
            return False, reason_of(error)


class AlertHttpHook(_ServiceHook):
    """The receiver of ``skill_batch_alert_http``. It has no test, because each request to a receiver is an alert."""

    default_conn_name = OPS_HTTP_CONN_ID
    conn_type = "skill_batch_alert_http"
    hook_name = "運用アラート（HTTP、PagerDuty、Teams）"


def _services(server: EmailConfig | None) -> Network:
    return replace(network(with_mail=False), email=server)
