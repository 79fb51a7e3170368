"""A mail server that refuses the installation is closed for all tenants, probed after 15 minutes, and costs no attempt."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from include.skillreport.core.catalog import (
    NOTIFICATION_RETRY,
    NOTIFICATION_SETTINGS_CHECK,
    SCHEDULED_NOTIFICATIONS,
)
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.run_spec import BatchSpec
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.throttle import Limit, Throttle
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.messaging.sending import Tenant, code_of, message
from tests.worlds import host_rows
from tests.worlds.outbox_rows import make_due, network, run_notifications, slack, statuses, waiting
from tests.worlds.own_mail_server import own_server

RELAY = "554 5.7.1 <member@example.jp>: Relay access denied"
TENANTS = ["A", "B", "C"]
LETTERS = 10


@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("554 5.7.1 <taro@example.jp>: Relay access denied", "relay_denied"),
        ("454 4.7.1 <taro@example.jp>: Relay access denied", "relay_denied"),
        ("550 5.7.1 <taro@example.jp>... Relaying denied. Proper authentication required.", "relay_denied"),
        ("550 relay not permitted", "relay_denied"),
        ("550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", "relay_denied"),
        ("553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", "relay_denied"),
        ("553 5.7.1 <no-reply@example.jp>: Sender address rejected: not owned by user x", "sender_rejected"),
        ("553 5.7.1 <no-reply@example.jp>: Sender address rejected: not logged in", "sender_rejected"),
        ("450 4.1.8 <no-reply@example.jp>: Sender address rejected: Domain not found", "sender_rejected"),
        ("550 5.7.60 SMTP; Client does not have permissions to send as this sender", "sender_unverified"),
        ("530 5.7.0 Authentication required", "login_required"),
        (
            "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM",
            "login_required",
        ),
        ("554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied", "client_rejected"),
        (
            "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
            "client_rejected",
        ),
    ],
)
def test_a_refusal_of_the_installation_is_no_attempt(
    tenant: Tenant, command: str, reply: str, code: str
) -> None:
    tenant.services.fail_next("email", reply, command=command)

    result = tenant.send(tenant.email, message(EMAIL))

    assert (code_of(result), result.counts_as_attempt) == (code, False)


@pytest.mark.parametrize(
    ("command", "reply", "code"),
    [
        ("DATA", "554 5.7.1 <taro@example.jp>: Relay access denied", "policy"),
        ("RCPT", "550 5.1.1 <relay.access.denied@example.jp>: no such user", "5.1.1"),
        ("RCPT", "554 5.7.1 Message rejected as spam", "policy"),
        ("RCPT", "450 4.7.1 Greylisted", "4.7"),
        ("RCPT", "550 5.7.1 Daily SMTP relay limit exceeded for customer", "daily_limit"),
    ],
)
def test_a_refusal_of_the_recipient_or_the_letter_is_none(
    tenant: Tenant, command: str, reply: str, code: str
) -> None:
    tenant.services.fail_next("email", reply, command=command)

    assert code_of(tenant.send(tenant.email, message(EMAIL))) == code


class TestTheThrottle:
    def test_of_a_closed_server_sends_one_message_when_the_wait_is_over(self) -> None:
        throttle = Throttle(Limit("email:x", at_once=20))
        throttle.join()

        assert throttle.close(0.0)
        assert (throttle.take_now(10), throttle.take_now(10)) == (1, 0)
        throttle.settled(0.0)
        assert throttle.reopen()
        assert not throttle.reopen()
        assert throttle.take_now(10) == 10

    def test_of_one_process_only(self) -> None:
        throttle = Throttle(Limit("email:x", at_once=20))
        throttle.join()
        throttle.share(2, 1)
        throttle.close(0.0)

        assert throttle.take_now(10) == 0

    def test_is_closed_once_by_letters_that_were_under_way_together(self) -> None:
        throttle = Throttle(Limit("email:x"))

        assert [throttle.close(900.0) for _ in range(3)] == [True, False, False]
        assert throttle.is_shut


@pytest.fixture
def letters(host: psycopg.Connection, services: StandIns) -> None:
    """Three tenants with ten letters each, and a message to Slack."""
    for tenant_id in TENANTS:
        host_rows.tenant(host, tenant_id)
        for number in range(LETTERS):
            waiting(host, tenant_id, recipient_address=f"{tenant_id}{number}@example.jp")
    slack(host, "A", services)
    waiting(host, "A", "SLACK", recipient_address="C1")


@pytest.fixture
def refusing(services: StandIns) -> StandIns:
    """The mail server has lost its permission to relay."""
    services.fail_next("email", RELAY, command="RCPT", times=1_000)
    return services


def run(database: Database, services: StandIns, spec: BatchSpec = NOTIFICATION_RETRY) -> RunResult:
    return run_notifications(database, services, spec=spec)


def attempts(host: psycopg.Connection) -> set[int]:
    return {row[0] for row in host.execute("SELECT attempts FROM batch.outbox WHERE channel = 'email'")}


def problems(host: psycopg.Connection) -> list[tuple[bool, str]]:
    """Whether each remark was reported, and its problem."""
    return host.execute("SELECT is_reported, problem FROM batch.run_remark ORDER BY recorded_at").fetchall()


def quarter_of_an_hour_later(host: psycopg.Connection) -> None:
    host.execute(
        "UPDATE batch.service_limit SET blocked_until = blocked_until - %s",
        [timedelta(minutes=15, seconds=1)],
    )
    make_due(host)


@pytest.mark.usefixtures("letters")
def test_a_refusing_server_is_closed_with_one_alert_until_a_probe(
    database: Database, host: psycopg.Connection, refusing: StandIns
) -> None:
    told = run(database, refusing, SCHEDULED_NOTIFICATIONS)

    assert statuses(host) == {("email", "pending"): 30, ("slack", "sent"): 1}
    assert attempts(host) == {0}
    assert told.status == "partial"
    assert not told.failed_tenants
    assert host.execute("SELECT count(*) FROM batch.channel_circuit").fetchone() == (0,)
    [(is_reported, problem)] = problems(host)
    assert is_reported
    (of_run,) = told.problems
    assert of_run.text == problem
    assert of_run.code == "MAIL_SERVER_CLOSED"
    assert problem.startswith(
        f"メールサーバー 127.0.0.1:{refusing.smtp_port}: メールサーバーが中継を許可していません（SMTP 554 5.7.1）"
    )
    connections = refusing.smtp_connections

    make_due(host)
    too_early = run(database, refusing)
    assert (too_early.status, refusing.smtp_connections) == ("completed", connections)

    quarter_of_an_hour_later(host)
    refused_again = run(database, refusing)
    # One letter of each tenant: those of A and B have been refused before, and that of C is the probe.
    assert refused_again.status == "completed"
    assert refusing.smtp_connections <= connections + 3
    assert [is_reported for is_reported, _ in problems(host)] == [True, False, False]
    assert host.execute(
        "SELECT blocked_until > now() + interval '14 minutes' FROM batch.service_limit"
    ).fetchall() == [(True,)]


@pytest.mark.usefixtures("letters")
def test_the_letter_that_closed_the_server_leaves_the_next_probe_to_another(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    """The server may refuse this recipient only, for example because it relays to some domains."""
    services.fail_next("email", RELAY, command="RCPT", times=1)
    run(database, services, SCHEDULED_NOTIFICATIONS)
    host.execute("UPDATE batch.service_limit SET blocked_until = now()")

    run(database, services)

    assert statuses(host) == {("email", "sent"): 29, ("email", "pending"): 1, ("slack", "sent"): 1}
    assert host.execute(
        "SELECT next_attempt_at > now() + interval '11 hours' FROM batch.outbox WHERE status = 'pending'"
    ).fetchone() == (True,)


LOGIN = "530 5.7.0 Authentication required"


def test_letters_refused_before_their_recipient_are_probes_every_quarter_of_an_hour(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    waiting(host, "A", recipient_address="late@example.jp")
    services.fail_next("email", LOGIN, command="MAIL")
    run(database, services, SCHEDULED_NOTIFICATIONS)

    waits = host.execute("SELECT next_attempt_at - clock_timestamp() FROM batch.outbox").fetchone()
    assert waits is not None
    assert waits[0] <= timedelta(minutes=15)


def test_after_a_check_of_the_login_any_letter_may_be_the_probe(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A")
    waiting(host, "A", recipient_address="late@example.jp")
    services.fail_next("email", RELAY, command="RCPT")
    run(database, services, SCHEDULED_NOTIFICATIONS)
    assert statuses(host) == {("email", "pending"): 1}

    assert run(database, services, NOTIFICATION_SETTINGS_CHECK).status == "completed"
    run(database, services)
    assert statuses(host) == {("email", "sent"): 1}


@pytest.mark.usefixtures("letters")
def test_an_accepted_probe_reopens_the_server_and_closing_is_reported_again(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    # The letters of A, and one of B.
    services.fail_next("email", RELAY, command="RCPT", times=LETTERS + 1)
    run(database, services, SCHEDULED_NOTIFICATIONS)
    quarter_of_an_hour_later(host)

    reopened = run(database, services)

    assert reopened.status == "completed"
    assert statuses(host) == {("email", "sent"): 30, ("slack", "sent"): 1}
    assert attempts(host) == {1}
    assert (
        Counter(each.destination for each in services.messages if each.channel == "email").most_common(1)[0][
            1
        ]
        == 1
    )
    assert host.execute(
        "SELECT closed_at, closed_reason FROM batch.service_limit WHERE limit_key LIKE 'email:%'"
    ).fetchall() == [(None, None)]

    for tenant_id in "AB":
        waiting(host, tenant_id, recipient_address="again@example.jp")
    services.fail_next("email", RELAY, command="RCPT", times=2)
    told = run(database, services, SCHEDULED_NOTIFICATIONS)
    assert told.status == "partial"
    assert problems(host)[-1][0]


@pytest.mark.usefixtures("letters")
def test_a_lasting_closing_is_reported_again_after_a_day(
    database: Database, host: psycopg.Connection, refusing: StandIns
) -> None:
    run(database, refusing, SCHEDULED_NOTIFICATIONS)
    host.execute("UPDATE batch.run_remark SET recorded_at = recorded_at - interval '25 hours'")

    assert run(database, refusing).status == "partial"


def test_a_tenants_own_server_is_closed_for_this_tenant_only(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    for tenant_id in ("A", "B"):
        host_rows.tenant(host, tenant_id)
        waiting(host, tenant_id, recipient_address=f"{tenant_id}@example.jp")
    with StandIns() as own:
        own_server(host, own)
        own.fail_next("email", RELAY, command="RCPT", times=100)
        usual = network(services)
        through = replace(usual, allowed_hosts=usual.allowed_hosts | {f"127.0.0.1:{own.smtp_port}"})

        told = run_notifications(database, services, through=through)

    assert [each.destination for each in services.messages] == ["B@example.jp"]
    assert told.status == "partial"
    assert problems(host)[0][1].startswith("テナント自身のメールサーバー: ")
    assert host.execute(
        "SELECT tenant_id, notes FROM batch.tenant_outcome ORDER BY tenant_id"
    ).fetchall() == [
        ("A", ["送信先のサーバーかサービスが受け付けないため、通知は待っています"]),
        ("B", []),
    ]
