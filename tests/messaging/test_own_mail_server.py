"""A tenant's own mail server: used only with the option, only at a public address, and only for that tenant's mail."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from include.skillreport.core.catalog import (
    NOTIFICATION_RETRY,
    NOTIFICATION_SETTINGS_CHECK,
    SCHEDULED_NOTIFICATIONS,
)
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.network import EmailConfig, Network
from include.skillreport.core.run_spec import BatchSpec
from include.skillreport.messaging import outbox
from include.skillreport.messaging.address_guard import guarded_session
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.dispatch import dispatch_due
from include.skillreport.messaging.integrations import config_of
from include.skillreport.messaging.outbox import MessageDraft
from include.skillreport.messaging.outcome import Outcome, SendResult
from include.skillreport.messaging.settings import NotificationSettings
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.messaging.sending import code_of, message
from tests.waiting import wait_until
from tests.worlds import host_rows
from tests.worlds.encrypted_servers import encrypted, make_certificate
from tests.worlds.outbox_rows import make_due, network, run_notifications, waiting
from tests.worlds.own_mail_server import AUTH, SECRET, own_server, row

pytestmark = pytest.mark.tenants("A", "B", admin_email="admin@example.jp")

NOW = datetime(2026, 11, 1, tzinfo=UTC)


# The row -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "security"),
    [
        ({}, "starttls"),
        ({"use_tls": None}, "starttls"),
        ({"use_ssl": True}, "tls"),
        ({"use_ssl": True, "use_tls": False}, "tls"),
        ({"use_tls": False}, "none"),
    ],
)
def test_the_row_is_a_mail_server(changes: dict[str, Any], security: str) -> None:
    config = config_of(EMAIL, row(**changes))

    assert isinstance(config, EmailConfig)
    assert (config.host, config.port, config.login, config.password) == (
        "smtp.tenant.example",
        587,
        AUTH["username"],
        SECRET,
    )
    assert (config.security, config.is_tenants) == (security, True)
    assert SECRET not in repr(config)


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint_url": None},
        {"endpoint_url": "smtp.tenant.example"},
        {"endpoint_url": ":587"},
        {"endpoint_url": "smtp.tenant.example:mail"},
        {"endpoint_url": "smtp.tenant.example:99999"},
        {"username": ""},
        {"password": None},
        {"from_address": ""},
        {"from_address": "山田@tenant.example"},
    ],
)
def test_an_incomplete_row_is_none(changes: dict[str, Any]) -> None:
    assert config_of(EMAIL, row(**changes)) is None


# The address ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def config(services: StandIns) -> EmailConfig:
    """A tenant's own server at the stand-in's address."""
    config = config_of(EMAIL, row(endpoint_url=f"127.0.0.1:{services.smtp_port}", use_tls=False))
    assert isinstance(config, EmailConfig)
    return config


def send(config: EmailConfig, *allowed: str) -> SendResult:
    """Send a letter; ``allowed`` hosts may be private."""

    async def sent() -> SendResult:
        async with (
            guarded_session() as session,
            aclosing(EMAIL.client(config, session, allowed)) as client,
        ):
            return await client.send(message(EMAIL))

    return asyncio.run(sent())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("security", ["starttls", "tls", "none"])
def test_a_private_address_is_refused_before_a_connection(
    services: StandIns, config: EmailConfig, host: str, security: str
) -> None:
    result = send(replace(config, host=host, security=security))

    assert (result.outcome, code_of(result)) == (Outcome.PERMANENT, "refused_address")
    assert services.smtp_connections == 0


def test_a_name_with_a_private_address_is_refused(
    services: StandIns, config: EmailConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = socket.getaddrinfo("127.0.0.1", config.port, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: resolved)

    result = send(replace(config, host="mail.tenant.example", security="starttls"))

    assert code_of(result) == "refused_address"
    assert services.smtp_connections == 0


def test_a_server_without_encryption_is_refused(config: EmailConfig) -> None:
    result = send(replace(config, host="smtp.tenant.example"))

    assert code_of(result) == "refused_address"
    assert "TLS" in result.detail


def test_a_name_that_does_not_exist_is_no_refusal(config: EmailConfig) -> None:
    result = send(replace(config, host="smtp.tenant.invalid", security="starttls"))

    assert (result.outcome, code_of(result)) == (Outcome.TRANSIENT, "connection_refused")


def test_an_allowed_address_is_used_and_the_sender_is_the_tenants(
    services: StandIns, config: EmailConfig
) -> None:
    result = send(config, f"127.0.0.1:{services.smtp_port}")

    assert result.outcome is Outcome.SENT
    [letter] = services.messages
    assert letter.headers["From"] == "=?utf-8?b?5qCq5byP5Lya56S+44OG44K544OI?= <skill@tenant.example>"


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize(("host", "code"), [("127.0.0.1", None), ("localhost", "certificate_refused")])
def test_the_certificate_must_name_the_host(
    config: EmailConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    code: str | None,
    security: str,
) -> None:
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    with encrypted(certificate, security) as services:
        named = replace(config, host=host, port=services.smtp_port, security=security)
        result = send(named, f"{host}:{services.smtp_port}")

    assert code_of(result) == code


# Runs ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def own() -> Iterator[StandIns]:
    """A's own mail server."""
    with StandIns() as stand_ins:
        yield stand_ins


def run(
    database: Database,
    services: StandIns,
    own: StandIns,
    spec: BatchSpec = SCHEDULED_NOTIFICATIONS,
    **mail: Any,
) -> RunResult:
    """One run of an installation that allows the address of A's server."""
    installation = network(services)
    assert installation.email is not None
    through = Network(
        replace(installation.email, **mail), services.allowed_hosts | {f"127.0.0.1:{own.smtp_port}"}
    )
    return run_notifications(database, services, through=through, spec=spec)


def recipients(stand_ins: StandIns) -> list[str]:
    """The recipients of the letters that a server has."""
    return sorted(arrived.destination for arrived in stand_ins.messages)


def closed(host: psycopg.Connection) -> list[tuple[str, str]]:
    """The tenants whose mail is closed, and why."""
    return host.execute(
        "SELECT tenant_id, error_code FROM batch.channel_circuit WHERE channel = 'email' ORDER BY tenant_id"
    ).fetchall()


@pytest.mark.parametrize("allowed", [False, True])
def test_only_the_option_lets_a_tenant_use_its_own_server(
    database: Database, host: psycopg.Connection, services: StandIns, own: StandIns, allowed: bool
) -> None:
    own_server(host, own, allowed=allowed)
    waiting(host, "A", recipient_address="a@example.jp")
    waiting(host, "B", recipient_address="b@example.jp")

    run(database, services, own)

    assert recipients(own) == (["a@example.jp"] if allowed else [])
    assert recipients(services) == (["b@example.jp"] if allowed else ["a@example.jp", "b@example.jp"])


def test_without_a_usable_row_the_operators_server_is_used(
    database: Database, host: psycopg.Connection, services: StandIns, own: StandIns
) -> None:
    own_server(host, own)
    host.execute('UPDATE "SYS_IntegrationConfig" SET auth_config = NULL')
    waiting(host, "A", recipient_address="a@example.jp")

    run(database, services, own)
    run(database, services, own, NOTIFICATION_SETTINGS_CHECK)

    assert recipients(services) == ["a@example.jp"]
    assert host.execute("SELECT tenant_id, subject, code FROM batch.setting_finding").fetchall() == [
        ("A", "メール", "incomplete")
    ]


def test_an_own_server_that_is_broken_closes_only_its_tenants_mail(
    database: Database, host: psycopg.Connection, services: StandIns, own: StandIns
) -> None:
    own_server(host, own)
    waiting(host, "A", recipient_address="a@example.jp")
    waiting(host, "B", recipient_address="b@example.jp")
    own.fail_next("email", "535 5.7.8 Bad credentials", times=9, command="AUTH")

    run(database, services, own)

    assert closed(host) == [("A", "535")]
    assert recipients(services) == ["b@example.jp"]

    result = run(database, services, own, NOTIFICATION_SETTINGS_CHECK)

    # The login of the operators' server gives no information about A's server.
    assert (result.status, closed(host)) == ("completed", [("A", "535")])
    assert host.execute("SELECT tenant_id, subject, code FROM batch.setting_finding").fetchall() == [
        ("A", "接続先 メール", "535")
    ]


def test_a_server_that_accepts_the_login_again_opens_the_tenants_mail(
    database: Database, host: psycopg.Connection, services: StandIns, own: StandIns
) -> None:
    own_server(host, own)
    waiting(host, "A", recipient_address="a@example.jp")
    own.fail_next("email", "535 5.7.8 Bad credentials", command="AUTH")
    run(database, services, own)
    assert closed(host) == [("A", "535")]

    run(database, services, own, NOTIFICATION_SETTINGS_CHECK)
    assert closed(host) == []
    assert host.execute('SELECT health_status FROM "SYS_IntegrationConfig"').fetchall() == [("HEALTHY",)]
    make_due(host)
    run(database, services, own, NOTIFICATION_RETRY)

    assert recipients(own) == ["a@example.jp"]


def test_a_broken_operators_mail_server_fails_no_tenant_with_its_own(
    database: Database, host: psycopg.Connection, services: StandIns, own: StandIns, unused_port: int
) -> None:
    own_server(host, own)
    waiting(host, "A", recipient_address="a@example.jp")

    run(database, services, own, port=unused_port)
    result = run(database, services, own, NOTIFICATION_SETTINGS_CHECK, port=unused_port)

    assert recipients(own) == ["a@example.jp"]
    assert (result.status, [failed.code for failed in result.failed_tenants]) == ("partial", ["B"])


def test_many_slow_servers_delay_no_other_tenant(
    database: Database, host: psycopg.Connection, services: StandIns, own: StandIns
) -> None:
    own_server(host, own)
    tenants = [f"A{number:03}" for number in range(2 * EmailConfig.connections + 1)]
    for tenant_id in tenants:
        host_rows.tenant(host, tenant_id)
    for table in ("SYS_IntegrationConfig", "MST_TenantSettings"):
        copy_to(host, table, tenants)
    with (
        own.held("email") as release,
        ThreadPoolExecutor() as threads,
        database.connect("batch_tenant") as connection,
    ):
        with tenant_transaction(connection, [*tenants, "B"]):
            outbox.enqueue(
                connection, [letter_to(tenant_id) for tenant_id in [*tenants, "B"]], created_by="test"
            )
        sending = threads.submit(
            dispatch_due,
            connection,
            [*tenants, "B"],
            replace(network(services), allowed_hosts=frozenset({f"127.0.0.1:{own.smtp_port}"})),
            owner="test",
            clock=lambda: NOW,
            settings=NotificationSettings.load(),
        )
        # The lanes of slow servers take no turn of the operators' server.
        wait_until(lambda: len(services.messages) == 1, "the letter through the operators' server")
        release()
        sending.result()

    assert (len(services.messages), len(own.messages)) == (1, len(tenants))


def letter_to(tenant_id: str) -> MessageDraft:
    """A letter that is due."""
    return MessageDraft(tenant_id, "letter", EMAIL, f"{tenant_id}@example.jp", "件名", "本文", NOW)


def copy_to(host: psycopg.Connection, table: str, tenant_ids: list[str]) -> None:
    """Give A's rows of a table to these tenants too."""
    with host.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))).fetchall()
    for tenant_id in tenant_ids:
        for row_of_a in rows:
            copied = row_of_a | {"id": f"{row_of_a['id']}_{tenant_id}", "tenant_id": tenant_id}
            host_rows.insert(host, table, **copied)


def test_the_password_is_in_no_log(
    database: Database,
    host: psycopg.Connection,
    services: StandIns,
    own: StandIns,
    caplog: pytest.LogCaptureFixture,
) -> None:
    own_server(host, own)
    waiting(host, "A", recipient_address="a@example.jp")
    own.fail_next("email", "535 5.7.8 Bad credentials", times=9, command="AUTH")
    caplog.set_level("DEBUG")

    run(database, services, own)
    run(database, services, own, NOTIFICATION_SETTINGS_CHECK)

    assert SECRET not in caplog.text
    rows = host.execute("SELECT error_detail FROM batch.outbox").fetchall()
    assert SECRET not in str(rows)
