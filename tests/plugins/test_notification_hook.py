"""The hook that other teams' DAGs notify with."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest

from skill_batch.hooks.notification import NotificationHook
from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.outbox import MessageDraft
from include.skillreport.messaging.retry import Status
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.worlds.outbox_rows import slack
from tests.worlds.own_mail_server import own_server
from tests.worlds.shared_database import host_database

__all__ = ["host_database"]

pytestmark = pytest.mark.tenants("A", "B")


@pytest.fixture
def services() -> Iterator[StandIns]:
    """The services."""
    with StandIns() as stand_ins:
        yield stand_ins


@pytest.fixture
def hook(shared_database: Database, services: StandIns, monkeypatch: pytest.MonkeyPatch) -> NotificationHook:
    """With Airflow's connections pointing at the database and the stand-ins."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_SKILL_BATCH_TENANT_DB", shared_database.airflow_connection("batch_tenant")
    )
    monkeypatch.setenv(
        "AIRFLOW_CONN_SKILL_BATCH_SMTP",
        f"smtp://127.0.0.1:{services.smtp_port}/?from_email=no-reply%40example.jp&disable_tls=true&disable_ssl=true",
    )
    monkeypatch.setenv("AIRFLOW_VAR_SKILL_BATCH_ALLOWED_HOSTS", ",".join(services.allowed_hosts))
    return NotificationHook()


@pytest.fixture
def workspace(host: psycopg.Connection, services: StandIns) -> None:
    """Tenant A has a Slack, and tenant B has none."""
    slack(host, "A", services)


@pytest.mark.usefixtures("workspace")
def test_a_message_is_sent_now_and_its_event_once(hook: NotificationHook, services: StandIns) -> None:
    arguments = ("A", SLACK, "C1", "件名", "<!channel> 本文")

    first = hook.send(*arguments, dedupe_key="other-team:1")
    second = hook.send(*arguments, dedupe_key="other-team:1")

    assert (first, second) == (Status.SENT, Status.SENT)
    (arrived,) = services.messages
    assert (arrived.destination, arrived.text) == ("C1", "件名\n&lt;!channel&gt; 本文")


@pytest.mark.usefixtures("workspace")
def test_many_are_sent_together_and_each_says_where_it_is(hook: NotificationHook, services: StandIns) -> None:
    def draft(tenant_id: str, channel: Channel, destination: str) -> MessageDraft:
        return MessageDraft(
            tenant_id, f"{channel}:{destination}", channel, destination, "件名", "本文", datetime.now(UTC)
        )

    services.refuse_recipient("nobody@example.jp", "5.1.1")

    states = hook.send_many(
        [
            draft("A", SLACK, "C1"),
            draft("A", EMAIL, "nobody@example.jp"),
            draft("B", EMAIL, "b@example.jp"),
            draft("B", SLACK, "C1"),
        ]
    )

    assert states == [Status.SENT, Status.DEAD, Status.SENT, Status.RETRY]
    assert hook.send_many([]) == []


@pytest.mark.usefixtures("workspace")
def test_a_channel_is_validated_without_sending(hook: NotificationHook, services: StandIns) -> None:
    services.refuse_recipient("C2", "is_archived")

    assert hook.validate("A", SLACK, ["C1"]) == []
    assert [found.error.code for found in hook.validate("A", SLACK, ["C2"])] == ["is_archived"]
    assert [found.error.code for found in hook.validate("B", SLACK)] == ["not_configured"]
    assert hook.validate("B", EMAIL) == []
    assert services.messages == []


def test_email_is_validated_on_the_tenants_own_server(
    hook: NotificationHook, services: StandIns, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with StandIns() as own:
        hosts = {*services.allowed_hosts, f"127.0.0.1:{own.smtp_port}"}
        monkeypatch.setenv("AIRFLOW_VAR_SKILL_BATCH_ALLOWED_HOSTS", ",".join(hosts))
        own_server(host, own)
        own.fail_next("email", "550 5.7.1 Not your domain", command="MAIL")

        (found,) = hook.validate("A", EMAIL)

    assert found.error.code == "5.7"
    assert hook.validate("B", EMAIL) == []


@pytest.mark.usefixtures("workspace")
def test_the_connection_test_says_what_is_wrong(
    hook: NotificationHook, services: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hook.test_connection() == (True, "接続できました")

    services.fail_next("email", "550 5.7.1 Not your domain", command="MAIL")
    assert hook.test_connection() == (False, "SMTP: 送信元の設定か権限が拒否されました（SMTP 550 5.7.1）")

    monkeypatch.delenv("AIRFLOW_CONN_SKILL_BATCH_SMTP")
    works, reason = hook.test_connection()
    assert not works
    assert "Airflow の接続 'skill_batch_smtp' が定義されていません" in reason
    assert services.messages == []
