"""Hours without the mail server: no letter ends by its attempts, and a certificate or a login that is wrong is said at once."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from include.skillreport.core.catalog import (
    NOTIFICATION_RETRY,
    SCHEDULED_NOTIFICATIONS,
)
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.network import Network
from include.skillreport.core.run_spec import BatchSpec
from include.skillreport.messaging.channels.channel import ChannelClient
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.outcome import SendResult
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.messaging.sending import Tenant, code_of, message
from tests.waiting import wait_until
from tests.worlds import host_rows
from tests.worlds.encrypted_servers import make_certificate
from tests.worlds.outbox_rows import make_due, network, run_notifications, statuses, waiting

HOURS = 6
TENANTS = ("A", "B", "C")


@pytest.fixture
def letters(host: psycopg.Connection) -> None:
    """Three tenants with four letters each."""
    for tenant_id in TENANTS:
        host_rows.tenant(host, tenant_id)
        for number in range(4):
            waiting(host, tenant_id, recipient_address=f"{tenant_id}{number}@example.jp")


def run(
    database: Database, through: Network, services: StandIns, spec: BatchSpec = NOTIFICATION_RETRY
) -> RunResult:
    return run_notifications(database, services, spec=spec, through=through)


def an_hour_later(host: psycopg.Connection) -> None:
    host.execute("UPDATE batch.service_limit SET blocked_until = now()")
    make_due(host)


def attempts(host: psycopg.Connection) -> set[int]:
    return {row[0] for row in host.execute("SELECT attempts FROM batch.outbox")}


@contextmanager
def encrypted(certificate: Path) -> Iterator[StandIns]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with StandIns(smtp_tls=context, smtp_implicit_tls=True) as services:
        yield services


def over_tls(services: StandIns) -> Network:
    usual = network(services)
    assert usual.email is not None
    return replace(usual, email=replace(usual.email, security="tls"))


@pytest.mark.usefixtures("letters")
def test_a_server_that_is_down_for_hours_ends_nothing(
    database: Database, host: psycopg.Connection, services: StandIns, unused_port: int
) -> None:
    usual = network(services)
    assert usual.email is not None
    down = replace(usual, email=replace(usual.email, port=unused_port))

    # The letters have been due for more than three hours.
    told = run(database, down, services, SCHEDULED_NOTIFICATIONS)
    assert told.status == "partial"
    assert "メールサーバーに接続できません。12 件が 11/01 08:30 から待っています" in told.problems[0].text
    for _ in range(HOURS):
        an_hour_later(host)
        assert run(database, down, services).status == "completed"
        assert (statuses(host), attempts(host)) == ({("email", "pending"): 12}, {0})

    an_hour_later(host)
    run(database, usual, services)
    assert statuses(host) == {("email", "sent"): 12}
    assert len({each.destination for each in services.messages}) == len(services.messages) == 12


@pytest.mark.usefixtures("letters")
def test_an_expired_certificate_closes_the_server_and_is_said_at_once(
    database: Database, host: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expired = make_certificate(tmp_path, ends_in=timedelta(days=-1))
    monkeypatch.setenv("SSL_CERT_FILE", str(expired))
    with encrypted(expired) as services:
        told = run(database, over_tls(services), services, SCHEDULED_NOTIFICATIONS)
        for _ in range(HOURS):
            an_hour_later(host)
            assert run(database, over_tls(services), services).status == "completed"

    (problem,) = told.problems
    yesterday = (datetime.now(UTC) - timedelta(days=1)).astimezone(JAPAN)
    assert "メールサーバーの証明書を確認できません" in problem.text
    assert f"CN=stand-in、有効期限 {yesterday:%Y-%m-%d}" in problem.text
    assert (statuses(host), attempts(host)) == ({("email", "pending"): 12}, {0})


def test_nothing_secret_is_sent_to_a_server_with_a_wrong_certificate(tmp_path: Path) -> None:
    with encrypted(make_certificate(tmp_path)) as services:
        tenant = Tenant(services)

        result = tenant.send(replace(tenant.email, security="tls"), message(EMAIL))

        assert code_of(result) == "certificate_refused"
        assert "self-signed certificate" in result.detail
        # The certificate is read over a second connection, which has no login.
        assert services.smtp_connections == 2


class TestAWrongPassword:
    @pytest.mark.usefixtures("letters")
    def test_is_tried_once_in_a_run_whatever_waits(
        self, database: Database, host: psycopg.Connection, services: StandIns
    ) -> None:
        usual = network(services)
        assert usual.email is not None
        locked = replace(usual, email=replace(usual.email, login="batch", password="wrong"))
        services.fail_next("email", "535 5.7.8 Bad credentials", times=99)

        told = run(database, locked, services, SCHEDULED_NOTIFICATIONS)

        assert services.smtp_logins == 1
        assert (statuses(host), attempts(host)) == ({("email", "pending"): 12}, {0})
        (problem,) = told.problems
        assert problem.code == "MAIL_SERVER_CLOSED"
        assert "メールサーバーの認証に失敗しました（SMTP 535 5.7.8）" in problem.text
        assert host.execute("TABLE batch.channel_circuit").fetchall() == []

    def test_is_tried_once_by_letters_at_the_same_time(self, tenant: Tenant) -> None:
        tenant.services.fail_next("email", "535 5.7.8 Bad credentials", times=99)

        results = tenant.send_all(tenant.email, *[message(EMAIL) for _ in range(20)])

        assert {code_of(each) for each in results} == {"535"}
        assert not any(each.counts_as_attempt for each in results)
        assert tenant.services.smtp_logins == 1


def test_connections_that_have_logged_in_outlive_a_limit_of_logins(tenant: Tenant) -> None:
    too_many = "450 4.7.1 Error: too many AUTH commands from 127.0.0.1"

    async def send(client: ChannelClient) -> list[SendResult]:
        first = await asyncio.gather(*[client.send(message(EMAIL)) for _ in range(3)])
        tenant.services.fail_next("email", too_many, command="AUTH", times=9)
        more = await asyncio.gather(*[client.send(message(EMAIL)) for _ in range(5)])
        # The refused connections end, and the three stay.
        await asyncio.to_thread(
            wait_until, lambda: tenant.services.open_smtp_connections == 3, "the refused connections end"
        )
        return [*first, *more]

    results = tenant.using(tenant.email, send)

    assert [code_of(each) for each in results].count("auth_limit") == 2
    assert len(tenant.services.messages) == 6
