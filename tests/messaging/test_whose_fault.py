"""Whose fault a refusal of a mail server is: the recipient's, the installation's, or nobody's, because a limit is reached."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import psycopg
import pytest

from include.skillreport.core.catalog import (
    NOTIFICATION_RETRY,
    SCHEDULED_NOTIFICATIONS,
)
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.run_spec import BatchSpec
from include.skillreport.messaging import outbox
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.dispatch import dispatch_due
from include.skillreport.messaging.outbox import MessageDraft
from include.skillreport.messaging.settings import NotificationSettings
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.messaging.sending import Tenant, code_of, message
from tests.waiting import LIMIT_SECONDS
from tests.worlds import host_rows
from tests.worlds.outbox_rows import DUE, make_due, network, run_notifications, slack, statuses, waiting
from tests.worlds.own_mail_server import own_server

REFUSED = "550 5.7.1 <somebody@example.jp>: Recipient address rejected: Not for you"
BUSY = "450 4.7.1 Not now"

# Three domains in two tenants.
ADDRESSES = {"A": ["1@one.example", "2@two.example"], "B": ["3@three.example", "4@one.example"]}
ALL = [address for each in ADDRESSES.values() for address in each]


def run(database: Database, services: StandIns, spec: BatchSpec = NOTIFICATION_RETRY) -> RunResult:
    return run_notifications(database, services, spec=spec)


def letters(host: psycopg.Connection, addresses: dict[str, list[str]]) -> None:
    """Letters that wait, by tenant."""
    for tenant_id, recipients in addresses.items():
        host_rows.tenant(host, tenant_id)
        for recipient in recipients:
            waiting(host, tenant_id, recipient_address=recipient)


# Amazon SES, SendGrid and Exchange Online about the sender. Most of them answer to the text.
UNVERIFIED = (
    "554 Message rejected: Email address is not verified. The following identities failed the check in region "
    "US-EAST-1: no-reply@example.jp",
    "554 Message rejected: Sending suspended for this account. For more information, please check the inbox",
    "554 Message rejected: Sending paused for this account.",
    "550 The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved.",
    "403 You are not authorized to send from that email address",
    "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
    "554 5.2.252 SendAsDenied; no-reply@example.co.jp not allowed to send as other@example.jp",
    "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied",
)


@pytest.mark.parametrize("reply", UNVERIFIED)
def test_a_refused_sender_ends_no_letter_of_a_small_installation(
    database: Database, host: psycopg.Connection, services: StandIns, reply: str
) -> None:
    letters(host, {"A": [f"{n}@example.jp" for n in range(12)]})
    services.fail_next("email", reply, command="DATA", times=999)

    told = run(database, services, SCHEDULED_NOTIFICATIONS)

    assert {state[:2] for state in states(host).values()} == {("pending", 0)}
    assert [problem.code for problem in told.problems] == ["MAIL_SERVER_CLOSED"]
    assert host.execute("TABLE batch.suppressed_address").fetchall() == []


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
def test_a_server_that_refuses_passwords_closes_the_channel_and_kills_no_letter(
    database: Database, host: psycopg.Connection, services: StandIns, command: str
) -> None:
    letters(host, {"A": ADDRESSES["A"]})
    services.fail_next("email", "550 5.7.30 Basic authentication is not supported", command=command, times=9)

    run(database, services, SCHEDULED_NOTIFICATIONS)

    assert {state[:2] for state in states(host).values()} == {("pending", 0)}
    assert {code for _, _, code in states(host).values()} <= {"basic_auth_off", None}


def refuse(services: StandIns, *recipients: str, reply: str = REFUSED) -> None:
    for recipient in recipients:
        services.refuse_recipient(recipient, reply)


def states(host: psycopg.Connection) -> dict[str, tuple[str, int, str | None]]:
    """Status, attempts and error of each letter, by its recipient."""
    rows = host.execute("SELECT destination, status, attempts, error_code FROM batch.outbox").fetchall()
    return {destination: (status, attempts, code) for destination, status, attempts, code in rows}


def closings(host: psycopg.Connection) -> list[str]:
    return [
        row[0]
        for row in host.execute(
            "SELECT closed_reason FROM batch.service_limit WHERE closed_at IS NOT null"
        ).fetchall()
    ]


def ended_letters(host: psycopg.Connection) -> None:
    """Dead letters of A, around the time in which the closed server refused the installation. It had accepted one of them."""
    inserted = host.execute("""
        INSERT INTO batch.outbox (
            message_id, tenant_id, dedupe_key, channel, destination, subject, body, status, attempts, error_code,
            provider_message_id, finished_at, due_at, next_attempt_at, created_by
        )
        SELECT
            letter.name, 'A', letter.name, 'email', letter.name || '@ended.example', '件名', '本文', 'dead', 1, 'policy',
            letter.accepted_as, letter.finished_at, now(), now(), 'test'
        FROM batch.service_limit AS service
        CROSS JOIN LATERAL (
            VALUES
                ('before', null, service.doubted_from - interval '2 minutes'),
                ('first', null, service.doubted_from - interval '1 minute'),
                ('bounced', 'accepted-1', service.doubted_from),
                ('last', null, service.doubted_until),
                ('after', null, service.doubted_until + interval '1 second')
        ) AS letter (name, accepted_as, finished_at)
        WHERE service.doubted_from IS NOT null
    """)
    assert inserted.rowcount == 5


def quarter_of_an_hour_later(host: psycopg.Connection) -> None:
    host.execute("UPDATE batch.service_limit SET blocked_until = now()")
    make_due(host)


class TestARefusalByPolicy:
    def test_of_three_domains_in_two_tenants_closes_the_server(
        self, database: Database, host: psycopg.Connection, services: StandIns
    ) -> None:
        letters(host, ADDRESSES)
        refuse(services, *ALL)

        told = run(database, services, SCHEDULED_NOTIFICATIONS)

        assert told.status == "partial"
        (problem,) = told.problems
        assert problem.code == "MAIL_SERVER_CLOSED"
        assert problem.text.startswith(
            f"メールサーバー 127.0.0.1:{services.smtp_port}: メールサーバーがどの宛先への送信も同じ理由で断ります（SMTP 550 5.7.1）"
        )
        assert host.execute("TABLE batch.suppressed_address").fetchall() == []

        # The letters that were refused before the third domain come back, and no run reports them as failed.
        make_due(host)
        silent = run(database, services)
        assert (silent.status, silent.failed_tenants) == ("completed", [])
        assert {status for status, _, _ in states(host).values()} == {"pending"}
        assert {attempts for _, attempts, _ in states(host).values()} == {0}

    def test_is_probed_and_everything_is_sent_once_when_it_ends(
        self, database: Database, host: psycopg.Connection, services: StandIns
    ) -> None:
        letters(host, ADDRESSES)
        refuse(services, *ALL)
        run(database, services, SCHEDULED_NOTIFICATIONS)
        quarter_of_an_hour_later(host)

        again = run(database, services)
        assert (again.status, len(closings(host))) == ("completed", 1)
        assert {attempts for _, attempts, _ in states(host).values()} == {0}

        for address in ALL:
            services.refuse_recipient(address, "")
        quarter_of_an_hour_later(host)
        assert run(database, services).status == "completed"
        assert sorted(each.destination for each in services.messages) == sorted(ALL)
        assert statuses(host) == {("email", "sent"): len(ALL)}
        assert closings(host) == []
        assert host.execute("SELECT refusals FROM batch.service_limit").fetchall() == [([],)]

    def test_of_another_time_or_after_an_acceptance_is_final(
        self, database: Database, host: psycopg.Connection, services: StandIns
    ) -> None:
        letters(host, ADDRESSES)
        refuse(services, *ALL)
        run(database, services, SCHEDULED_NOTIFICATIONS)
        ended_letters(host)

        run(database, services)

        assert {
            recipient.removesuffix("@ended.example"): status
            for recipient, (status, _, _) in states(host).items()
            if recipient.endswith("@ended.example")
        } == {"before": "dead", "first": "pending", "bounced": "dead", "last": "pending", "after": "dead"}

    def test_of_one_tenants_addresses_closes_no_server(
        self, database: Database, host: psycopg.Connection, services: StandIns
    ) -> None:
        bogus = [f"x@bogus{number}.example" for number in range(8)]
        letters(host, {"A": bogus, "B": ["good@example.jp"]})
        refuse(services, *bogus)

        run(database, services, SCHEDULED_NOTIFICATIONS)

        assert closings(host) == []
        assert states(host) == dict.fromkeys(bogus, ("dead", 1, "policy")) | {
            "good@example.jp": ("sent", 1, None)
        }

    def test_counts_from_the_last_letter_that_was_accepted(
        self, database: Database, host: psycopg.Connection, services: StandIns
    ) -> None:
        letters(
            host,
            {"A": ["1@one.example", "2@two.example"], "B": ["good@example.jp"], "C": ["3@three.example"]},
        )
        refuse(services, "1@one.example", "2@two.example", "3@three.example")

        run(database, services, SCHEDULED_NOTIFICATIONS)

        assert closings(host) == []
        assert statuses(host) == {("email", "dead"): 3, ("email", "sent"): 1}

    def test_of_another_kind_is_not_the_same(
        self, database: Database, host: psycopg.Connection, services: StandIns
    ) -> None:
        letters(host, ADDRESSES)
        refuse(services, *ADDRESSES["A"])
        refuse(services, *ADDRESSES["B"], reply="554 5.7.0 Spam")

        run(database, services, SCHEDULED_NOTIFICATIONS)

        assert closings(host) == []

    def test_at_a_tenants_own_server_ends_its_letter_only(
        self, database: Database, host: psycopg.Connection, services: StandIns
    ) -> None:
        letters(host, {"A": ALL})
        with StandIns() as own:
            own_server(host, own)
            refuse(own, *ALL)
            usual = network(services)
            allowed = usual.allowed_hosts | {f"127.0.0.1:{own.smtp_port}"}
            run_notifications(database, services, through=replace(usual, allowed_hosts=allowed))

        assert {status for status, _, _ in states(host).values()} == {"dead"}
        assert closings(host) == []


def test_a_server_that_has_just_relayed_refuses_one_domain_only(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    """It relays to some domains, and one tenant has an address of another one."""
    letters(host, {"A": [f"{number}@example.jp" for number in range(30)]})
    waiting(host, "A", recipient_address="last@elsewhere.example", scheduled_at=DUE + timedelta(minutes=1))
    refuse(
        services, "last@elsewhere.example", reply="454 4.7.1 <last@elsewhere.example>: Relay access denied"
    )

    run(database, services, SCHEDULED_NOTIFICATIONS)

    assert closings(host) == []
    assert states(host)["last@elsewhere.example"] == ("pending", 0, "relay_denied")
    assert statuses(host)["email", "sent"] == 30


RELAY_DENIED = "554 5.7.1 <x@elsewhere.example>: Relay access denied"
GROUP_OF_INSIDERS = "550 5.7.1 RESOLVER.RST.AuthRequired; authentication required"
CALLOUT = (
    "550-Callout verification failed:\n"
    "550 554 5.7.1 Service unavailable; Client host [192.0.2.9] blocked using zen.spamhaus.org"
)


class TestOneTenantsAddress:
    """It never closes a server that works for others, whatever words another server has put into the answer."""

    OTHERS: ClassVar = {
        tenant: [f"{number}@{tenant.lower()}.example" for number in range(6)] for tenant in "BC"
    }

    @pytest.mark.slow("waits for slow or throttling services")
    @pytest.mark.parametrize("bad", ["A", "Z"])
    @pytest.mark.parametrize("reply", [RELAY_DENIED, GROUP_OF_INSIDERS, CALLOUT])
    def test_closes_no_server_that_accepts_others(
        self, database: Database, host: psycopg.Connection, services: StandIns, reply: str, bad: str
    ) -> None:
        letters(host, {bad: ["x@elsewhere.example"], **self.OTHERS})
        refuse(services, "x@elsewhere.example", reply=reply)

        for run_number in range(3):
            run(database, services, SCHEDULED_NOTIFICATIONS)
            assert closings(host) == [], run_number
            assert statuses(host)["email", "sent"] == 12
            waiting(host, bad, recipient_address="x@elsewhere.example", subject=f"{run_number}")

    def test_alone_in_a_later_run_closes_nothing(
        self, database: Database, host: psycopg.Connection, services: StandIns
    ) -> None:
        letters(host, {"A": ["x@elsewhere.example"], "B": ["good@example.jp"]})
        run(database, services, SCHEDULED_NOTIFICATIONS)
        refuse(services, "x@elsewhere.example", reply=RELAY_DENIED)
        waiting(host, "A", recipient_address="x@elsewhere.example", subject="again")

        run(database, services, SCHEDULED_NOTIFICATIONS)

        assert closings(host) == []
        assert statuses(host)["email", "pending"] == 1

    def test_is_no_probe_of_a_server_that_it_has_closed(
        self, database: Database, host: psycopg.Connection, services: StandIns
    ) -> None:
        bogus = [f"x@elsewhere{number}.example" for number in range(5)]
        letters(host, {"A": bogus})
        refuse(services, *bogus, reply=RELAY_DENIED)
        run(database, services, SCHEDULED_NOTIFICATIONS)
        assert len(closings(host)) == 1, "nobody knows yet whether it relays for anybody"

        letters(host, {"B": ["good@example.jp"]})
        quarter_of_an_hour_later(host)
        run(database, services, SCHEDULED_NOTIFICATIONS)

        assert closings(host) == []
        assert [each.destination for each in services.messages] == ["good@example.jp"]


def test_a_decision_waits_for_the_letters_that_are_under_way(
    database: Database, host: psycopg.Connection, services: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow this machine is.
    monkeypatch.setattr("include.skillreport.messaging.doubts._DECISION_SECONDS", LIMIT_SECONDS)
    bad = {"A": ["1@one.example", "2@two.example"], "B": ["3@three.example"]}
    good = {tenant: [f"{number}@example.jp" for number in range(30)] for tenant in "CD"}
    for tenant_id in "ABCD":
        host_rows.tenant(host, tenant_id)
    refuse(services, "1@one.example", "2@two.example", "3@three.example")
    # So the refusals come first: the server answers them at once, and a letter that it takes after its content.
    services.latency("email", 0.2)
    drafts = [
        MessageDraft(
            tenant_id, f"{tenant_id} {address}", EMAIL, address, "件名", "本文", DUE.replace(tzinfo=UTC)
        )
        for tenant_id, addresses in (bad | good).items()
        for address in addresses
    ]
    with database.connect("batch_tenant") as connection:
        with tenant_transaction(connection, "ABCD"):
            outbox.enqueue(connection, drafts, created_by="test")
        dispatch_due(
            connection,
            "ABCD",
            network(services),
            owner="run",
            clock=lambda: datetime.now(UTC),
            settings=NotificationSettings.load(),
        )

    assert closings(host) == []
    assert statuses(host) == {("email", "dead"): 3, ("email", "sent"): 60}


@pytest.mark.slow("waits for slow or throttling services")
@pytest.mark.parametrize(
    ("reply", "command"),
    [
        ("504 5.5.2 <worker>: Helo command rejected: need fully-qualified hostname", "RCPT"),
        ("553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)", "RCPT"),
        ("550 The from address does not match a verified Sender Identity", "DATA"),
        ("550 5.1.8 Access denied, bad outbound sender AS(42003)", "DATA"),
        ("554 5.2.252 SendAsDenied; no-reply@example.co.jp not allowed to send as other@example.jp", "DATA"),
    ],
)
def test_a_refusal_of_the_installation_ends_no_letter(
    database: Database, host: psycopg.Connection, services: StandIns, reply: str, command: str
) -> None:
    letters(host, {tenant: [f"{n}@{tenant.lower()}{n}.example" for n in range(3)] for tenant in "ABC"})
    services.fail_next("email", reply, command=command, times=999)

    told = run(database, services, SCHEDULED_NOTIFICATIONS)
    assert [problem.code for problem in told.problems] == ["MAIL_SERVER_CLOSED"]
    make_due(host)
    run(database, services)

    assert statuses(host) == {("email", "pending"): 9}
    assert host.execute("TABLE batch.channel_circuit").fetchall() == []


@pytest.mark.parametrize(
    ("reply", "command"),
    [
        ("451 4.3.0 <x@example.jp>: Temporary lookup failure", "RCPT"),
        ("451 qq write error or disk full (#4.3.0)", "DATA"),
    ],
)
def test_a_server_out_of_order_ends_no_letter_and_is_told(
    database: Database, host: psycopg.Connection, services: StandIns, reply: str, command: str
) -> None:
    letters(host, {tenant: [f"{n}@example.jp" for n in range(3)] for tenant in "AB"})
    services.fail_next("email", reply, command=command, times=999)

    problems = list(run(database, services, SCHEDULED_NOTIFICATIONS).problems)
    for _ in range(5):
        make_due(host)
        problems += run(database, services).problems

    assert {row[1:] for row in states(host).values()} == {(0, "4.3")}
    assert [problem.code for problem in problems] == ["SERVICE_UNANSWERED"]
    assert "メールサーバーの異常" in problems[0].text


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("550 5.4.1 Recipient address rejected: Access denied. AS(201806281)", "5.4.1"),
        ("511 sorry, no mailbox here by that name (#5.1.1 - chkuser)", "5.1.1"),
        ("550 5.2.1 The email account that you tried to reach is disabled", "5.2.1"),
        ("552 Requested mail action aborted: exceeded storage allocation", "5.2.2"),
        ("552 Mailbox full", "5.2.2"),
        ("550 Domain x has exceeded the max emails per hour (10/10). Message discarded.", "throttled"),
    ],
)
def test_a_refusal_of_a_recipient_is_known_by_its_words(tenant: Tenant, reply: str, code: str) -> None:
    tenant.services.fail_next("email", reply)

    assert code_of(tenant.send(tenant.email, message(EMAIL))) == code


@pytest.mark.parametrize(
    ("reply", "command", "code"),
    [
        (
            "504 5.5.2 <worker>: Helo command rejected: need fully-qualified hostname",
            "RCPT",
            "client_rejected",
        ),
        ("450 4.7.1 <worker>: Helo command rejected: Host not found", "RCPT", "client_rejected"),
        *(
            (reply, command, "sender_unverified")
            for reply in UNVERIFIED
            for command in ("MAIL", "RCPT", "DATA")
        ),
        # Another server's words.
        (f"550 mx.example said: {UNVERIFIED[0]}", "DATA", "smtp_5"),
        ("554 5.7.1 <x@example.jp>: Relay access denied", "DATA", "policy"),
        ("451 4.3.0 Error: queue file write error", "DATA", "4.3"),
        ("452 4.3.1 Insufficient system storage", "RCPT", "4.3"),
        ("451 qq write error or disk full (#4.3.0)", "DATA", "4.3"),
        ("451 Temporary local problem - please try later", "RCPT", "4.3"),
    ],
)
def test_other_words_for_the_same_have_the_same_code(
    tenant: Tenant, reply: str, command: str, code: str
) -> None:
    """So they have the effects above: the class of the error decides, which comes with the code."""
    tenant.services.fail_next("email", reply, command=command)

    assert code_of(tenant.send(tenant.email, message(EMAIL))) == code


class TestAWait:
    @pytest.mark.parametrize(
        ("reply", "code"),
        [
            ("450 4.7.1 Error: too many recipients from 127.0.0.1", "throttled"),
            ("450 4.7.1 Error: too much mail from 127.0.0.1", "throttled"),
            (
                "450 4.2.0 <taro@example.jp>: Recipient address rejected: Greylisted, see http://x/?d=20",
                "4.7",
            ),
            ("451 4.7.1 Greylisting in action, please come back in 00:04:59", "4.7"),
            (BUSY, "4.7"),
        ],
    )
    def test_is_known_by_its_words(self, tenant: Tenant, reply: str, code: str) -> None:
        tenant.services.fail_next("email", reply)

        result = tenant.send(tenant.email, message(EMAIL))

        assert (code_of(result), result.counts_as_attempt) == (code, False)

    @pytest.mark.slow("waits for slow or throttling services")
    def test_of_several_recipients_within_seconds_is_a_limit_of_the_rate(
        self, database: Database, host: psycopg.Connection, services: StandIns
    ) -> None:
        addresses = [f"{number}@example.jp" for number in range(40)]
        letters(host, {"A": addresses})
        services.fail_next("email", BUSY, times=20)

        run(database, services, SCHEDULED_NOTIFICATIONS)

        # All are sent in the run, but for the first refused one, which might have been a recipient's.
        assert statuses(host)["email", "sent"] >= len(addresses) - 1
        assert len(services.messages) == len({each.destination for each in services.messages})

    def test_with_greylisting_for_all_is_one_for_each(
        self, database: Database, host: psycopg.Connection, services: StandIns
    ) -> None:
        addresses = [f"{number}@example.jp" for number in range(12)]
        letters(host, {"A": addresses})
        refuse(services, *addresses, reply="450 4.2.0 <x@example.jp>: Recipient address rejected: Greylisted")

        run(database, services, SCHEDULED_NOTIFICATIONS)

        assert states(host) == dict.fromkeys(addresses, ("pending", 0, "4.7"))
        assert host.execute("TABLE batch.service_limit").fetchall() == []


def test_the_check_asks_to_relay_for_the_installations_own_address(tenant: Tenant) -> None:
    tenant.services.fail_next("email", "454 4.7.1 <no-reply@example.co.jp>: Relay access denied")
    [found] = tenant.validate(tenant.email)
    assert found.error.code == "relay_denied"

    tenant.services.fail_next("email", "550 5.7.1 Not with this login")
    [found] = tenant.validate(tenant.email)
    assert found.error.code == "5.7"


@pytest.mark.parametrize("reply", ["550 5.1.1 no such mailbox", "450 4.2.0 Greylisted", "552 5.2.2 Full"])
def test_the_sender_needs_no_mailbox(tenant: Tenant, reply: str) -> None:
    tenant.services.fail_next("email", reply)

    assert tenant.validate(tenant.email) == []


class TestAnUnknownAnswerOfAChatService:
    CHANNELS_OF_A = ("C01", "C02", "C03", "C04")

    @pytest.fixture(autouse=True)
    def cards(self, host: psycopg.Connection, services: StandIns) -> None:
        """Four messages of A into four Slack channels."""
        host_rows.tenant(host, "A")
        slack(host, "A", services)
        for channel in self.CHANNELS_OF_A:
            waiting(host, "A", "SLACK", recipient_address=channel)

    def test_to_three_messages_closes_the_service_and_kills_none(
        self, database: Database, host: psycopg.Connection, services: StandIns
    ) -> None:
        for channel in self.CHANNELS_OF_A:
            services.refuse_recipient(channel, "brand_new_error")

        told = run(database, services, SCHEDULED_NOTIFICATIONS)

        (problem,) = told.problems
        assert problem.code == "SERVICE_CLOSED"
        assert problem.text.startswith("Slack: Slack が不明なエラーを返しました（brand_new_error: HTTP 200）")
        assert {status for status, _, _ in states(host).values()} <= {"pending", "retry"}

        # Each probe is one message, and no attempt.
        attempts = sum(count for _, count, _ in states(host).values())
        for _ in range(6):
            quarter_of_an_hour_later(host)
            assert run(database, services).problems == ()
        assert sum(count for _, count, _ in states(host).values()) == attempts

        for channel in self.CHANNELS_OF_A:
            services.refuse_recipient(channel, "")
        quarter_of_an_hour_later(host)
        run(database, services)
        assert statuses(host) == {("slack", "sent"): 4}
        assert closings(host) == []

    def test_to_one_message_leaves_the_others_alone(
        self, database: Database, host: psycopg.Connection, services: StandIns
    ) -> None:
        services.refuse_recipient("C02", "brand_new_error")

        assert run(database, services, SCHEDULED_NOTIFICATIONS).problems == ()

        assert statuses(host) == {("slack", "sent"): 3, ("slack", "retry"): 1}
        assert closings(host) == []
