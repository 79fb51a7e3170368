"""Mails in the mailbox, and their effect on messages and addresses, from a real server into a real database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.core.errors import ConnectionInvalidError
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.network import MailboxConfig, OAuthConfig
from include.skillreport.messaging import outbox
from include.skillreport.messaging.feedback.mailbox import LONGEST_MAIL, MailboxError, open_mailbox
from include.skillreport.messaging.feedback.reading import Reading, read_feedback
from include.skillreport.messaging.feedback.record import Effect, record_report
from include.skillreport.messaging.feedback.reports import FailedRecipient, FeedbackReport, ReportKind
from local_stack.batch_runs import LocalInstallation, request_of
from local_stack.local_run import LocalRun
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.messaging.raw_server import answering
from tests.worlds import host_rows
from tests.worlds.encrypted_servers import encrypted_mailbox
from tests.worlds.feedback_mails import (
    BOUNCES,
    UNSUBSCRIBES,
    arf,
    box,
    dsn,
    exim_bounce,
    qmail_bounce,
    unsubscription,
    with_mailbox,
)
from tests.worlds.outbox_rows import run_notifications, statuses, waiting

NOW = datetime(2026, 11, 2, tzinfo=UTC)
ADDRESS = "taro@example.jp"


@pytest.fixture
def sent(database: Database, host: psycopg.Connection, services: StandIns) -> str:
    """A letter of tenant A that the mail server accepted, and one of tenant B; returns the id of the first."""
    for tenant_id in ("A", "B"):
        host_rows.tenant(host, tenant_id)
        waiting(host, tenant_id, recipient_address=ADDRESS)
    run_notifications(database, services, through=with_mailbox(services))
    row = host.execute("SELECT message_id FROM batch.outbox WHERE tenant_id = 'A'").fetchone()
    assert row is not None
    return str(row[0])


def read(database: Database, services: StandIns, **changes: Any) -> Reading:
    with database.working() as (platform, connection):
        return read_feedback(platform, connection, with_mailbox(services, **changes), lambda: NOW)


def retry(database: Database, services: StandIns, **changes: Any) -> RunResult:
    """A run of BATCH-019-02."""
    through = with_mailbox(services, **changes)
    return run_notifications(database, services, spec=NOTIFICATION_RETRY, through=through)


def messages(host: psycopg.Connection) -> dict[str, tuple[str, str | None]]:
    """The status and the error of the message of each tenant."""
    rows = host.execute("SELECT tenant_id, status, error_code FROM batch.outbox").fetchall()
    return {tenant_id: (status, code) for tenant_id, status, code in rows}


def suppressions(host: psycopg.Connection) -> list[tuple[str, str, str, int]]:
    return host.execute(
        "SELECT tenant_id, address, reason, bounces FROM batch.suppressed_address ORDER BY 1, 2"
    ).fetchall()


def flags(services: StandIns) -> list[set[str]]:
    return [mail.flags for mail in services.mailbox.mails]


class TestABounce:
    def test_ends_its_message_and_suppresses_its_address(
        self, database: Database, host: psycopg.Connection, services: StandIns, sent: str
    ) -> None:
        services.mailbox.deliver(dsn(ADDRESS, to=BOUNCES.replace("{token}", sent), returned=""))

        result = retry(database, services)

        assert messages(host) == {"A": ("dead", "5.1.1"), "B": ("sent", None)}
        assert suppressions(host) == [("A", ADDRESS, "bounce", 1)]
        assert host.execute(
            'SELECT send_status, response_code FROM "HIS_NotificationLog" WHERE tenant_id = %s', ["A"]
        ).fetchall() == [("FAILED", "5.1.1")]
        assert flags(services) == [{"\\Seen"}]
        assert result.status == "partial"
        assert "送信できなかった通知 1 件" in result.failed_tenants[0].reason
        assert "送信後の不達通知 5.1.1" in result.failed_tenants[0].reason
        assert host.execute(
            "SELECT result -> 'steps' FROM batch.execution_log WHERE execution_id = %s", [result.execution_id]
        ).fetchall() == [({"read_mailbox": {"mails": 1, "bounced": 1}},)]

    def test_ends_a_message_that_waits_for_the_confirmation_after_a_pause(
        self, database: Database, host: psycopg.Connection, services: StandIns, sent: str
    ) -> None:
        host.execute(
            "UPDATE batch.outbox SET status = 'retry', finished_at = null, deferred_for = 'BATCH-019-02' WHERE message_id = %s",
            [sent],
        )
        services.mailbox.deliver(dsn(ADDRESS, to=BOUNCES.replace("{token}", sent)))

        assert read(database, services).counts["bounced"] == 1
        assert messages(host)["A"] == ("dead", "5.1.1")

    def test_is_known_by_the_returned_message_id(
        self, database: Database, host: psycopg.Connection, services: StandIns, sent: str
    ) -> None:
        services.mailbox.deliver(dsn(ADDRESS, returned=f"<{sent}@cloud-service.example>"))

        read(database, services)

        assert messages(host)["A"] == ("dead", "5.1.1")

    def test_of_the_demo_comes_after_the_letter_was_accepted(
        self, database: Database, host: psycopg.Connection, services: StandIns
    ) -> None:
        host_rows.tenant(host, "A")
        waiting(host, "A", recipient_address=ADDRESS)
        services.bounce_later(ADDRESS, "5.1.6")

        run_notifications(database, services, through=with_mailbox(services))
        assert messages(host) == {"A": ("sent", None)}
        retry(database, services)

        assert messages(host) == {"A": ("dead", "5.1.6")}
        assert suppressions(host) == [("A", ADDRESS, "bounce", 1)]

    def test_of_a_server_that_gave_up_says_that_it_is_final(
        self, database: Database, host: psycopg.Connection, services: StandIns, sent: str
    ) -> None:
        services.mailbox.deliver(dsn(ADDRESS, to=BOUNCES.replace("{token}", sent), status="4.4.1"))

        reason = retry(database, services).failed_tenants[0].reason

        assert "配送が打ち切られました（送信後の不達通知 4.4.1）" in reason
        assert suppressions(host) == []

    def test_of_a_domain_without_a_server_suppresses(
        self, database: Database, host: psycopg.Connection, services: StandIns, sent: str
    ) -> None:
        services.mailbox.deliver(dsn(ADDRESS, to=BOUNCES.replace("{token}", sent), status="5.4.4"))

        reason = retry(database, services).failed_tenants[0].reason

        assert "宛先のドメインがないか、メールサーバーがありません（送信後の不達通知 5.4.4）" in reason
        assert suppressions(host) == [("A", ADDRESS, "bounce", 1)]

    def test_of_a_full_mailbox_suppresses_nothing(
        self, database: Database, host: psycopg.Connection, services: StandIns, sent: str
    ) -> None:
        services.mailbox.deliver(dsn(ADDRESS, to=BOUNCES.replace("{token}", sent), status="5.2.2"))

        read(database, services)

        assert (messages(host)["A"], suppressions(host)) == (("dead", "5.2.2"), [])

    @pytest.mark.parametrize(
        ("mail", "effect"),
        [
            ({"recipient": "somebody.else@example.jp", "to": "bounce@example.jp"}, "unmatched"),
            ({"to": BOUNCES.replace("{token}", "00000000-1111-4222-8333-444444444444")}, "unmatched"),
            ({"action": "delayed"}, "nothing"),
            ({"action": "delivered"}, "nothing"),
        ],
    )
    def test_that_does_not_fit_changes_nothing(
        self,
        database: Database,
        host: psycopg.Connection,
        services: StandIns,
        sent: str,
        mail: dict[str, str],
        effect: str,
    ) -> None:
        services.mailbox.deliver(dsn(**{"recipient": ADDRESS, "to": BOUNCES.replace("{token}", sent)} | mail))

        reading = read(database, services)

        assert (messages(host)["A"], suppressions(host)) == (("sent", None), [])
        assert reading.counts == Counter(mails=1, **{effect: 1})
        assert flags(services) == [{"\\Seen"}]

    @pytest.mark.parametrize("bounce", [qmail_bounce, exim_bounce])
    def test_in_a_servers_own_words_counts_if_it_names_the_letters_address(
        self,
        database: Database,
        host: psycopg.Connection,
        services: StandIns,
        sent: str,
        bounce: Callable[..., bytes],
    ) -> None:
        to = BOUNCES.replace("{token}", sent)
        for mail in (bounce("somebody.else@example.jp", to=to), bounce(ADDRESS, to="bounce@example.jp")):
            services.mailbox.deliver(mail)
        assert read(database, services).counts == Counter(mails=2, unmatched=1, other=1)
        assert (messages(host)["A"], suppressions(host)) == (("sent", None), [])

        services.mailbox.deliver(bounce(ADDRESS, to=to))
        assert read(database, services).counts == Counter(mails=1, bounced=1)
        assert messages(host) == {"A": ("dead", "5.1.1"), "B": ("sent", None)}
        assert suppressions(host) == [("A", ADDRESS, "bounce", 1)]

    def test_of_a_message_that_is_being_sent_waits_for_the_next_run(
        self, database: Database, host: psycopg.Connection, services: StandIns, sent: str
    ) -> None:
        services.mailbox.deliver(dsn(ADDRESS, to=BOUNCES.replace("{token}", sent)))
        host.execute(
            "UPDATE batch.outbox SET status = 'sending', lease_owner = 'x', lease_until = %s, finished_at = null",
            [NOW],
        )
        assert read(database, services).counts == Counter(mails=1, later=1)
        assert flags(services) == [set()]

        host.execute(
            "UPDATE batch.outbox SET status = 'sent', lease_owner = null, lease_until = null, finished_at = %s",
            [NOW],
        )

        assert read(database, services).counts == Counter(mails=1, bounced=1)

    def test_that_is_read_twice_counts_once(
        self, database: Database, host: psycopg.Connection, services: StandIns, sent: str
    ) -> None:
        for _ in range(2):
            services.mailbox.deliver(dsn(ADDRESS, to=BOUNCES.replace("{token}", sent)))
        # The connection is lost after the commit, so the first mail stays unread.
        services.drop_connection("mailbox", command="STORE")
        cut_off = read(database, services)

        again = read(database, services)

        assert (cut_off.problem is not None, cut_off.counts["bounced"]) == (True, 1)
        assert again.counts == Counter(mails=2, nothing=2)
        assert suppressions(host) == [("A", ADDRESS, "bounce", 1)]

    def test_is_recorded_once_by_two_runs_at_the_same_time(
        self, database: Database, host: psycopg.Connection, sent: str
    ) -> None:
        report = FeedbackReport(ReportKind.BOUNCE, sent, (FailedRecipient(frozenset({ADDRESS}), "5.1.1"),))

        def record(_: int) -> Effect:
            with database.working() as (platform, tenant):
                return record_report(platform, tenant, report, NOW)

        with ThreadPoolExecutor() as threads:
            effects = Counter(threads.map(record, range(4)))

        assert effects == {Effect.BOUNCED: 1, Effect.NOTHING: 3}
        assert suppressions(host) == [("A", ADDRESS, "bounce", 1)]

    def test_of_another_channel_or_of_nothing_sent_is_none(
        self, database: Database, host: psycopg.Connection, services: StandIns, sent: str
    ) -> None:
        services.mailbox.deliver(dsn(ADDRESS, to=BOUNCES.replace("{token}", sent)))
        host.execute("UPDATE batch.outbox SET status = 'pending', attempts = 0, finished_at = null")

        assert read(database, services).counts == Counter(mails=1, unmatched=1)


class TestAGroupAddress:
    """The letter reached the group's server, which passed it on to somebody who did not get it."""

    MEMBER = "member@elsewhere.example"

    @pytest.mark.parametrize(
        "mail",
        [
            {"original": f"rfc822;{ADDRESS}"},
            # Some servers do not say whom we wrote to. The token does.
            {"to": "token"},
        ],
    )
    def test_stays_open_and_its_letter_sent(
        self,
        database: Database,
        host: psycopg.Connection,
        services: StandIns,
        sent: str,
        mail: dict[str, str],
    ) -> None:
        with_token = {"to": BOUNCES.replace("{token}", sent)} if "to" in mail else mail
        services.mailbox.deliver(
            dsn(self.MEMBER, **({"returned": f"<{sent}@cloud-service.example>"} | with_token))
        )

        result = retry(database, services)

        assert messages(host) == {"A": ("sent", "passed_on"), "B": ("sent", None)}
        assert suppressions(host) == []
        assert host.execute(
            'SELECT send_status, response_code FROM "HIS_NotificationLog" WHERE tenant_id = %s', ["A"]
        ).fetchall() == [("SUCCESS", "passed_on")]
        [failure] = result.failed_tenants
        assert "宛先の先の 1 人に届かなかった通知 1 件" in failure.reason
        assert "m***@elsewhere.example、送信後の不達通知 5.1.1" in failure.reason
        # It is reported once.
        assert retry(database, services).status == "completed"

    def test_whose_own_mailbox_fails_is_suppressed(
        self, database: Database, host: psycopg.Connection, services: StandIns, sent: str
    ) -> None:
        to = BOUNCES.replace("{token}", sent)
        services.mailbox.deliver(dsn(ADDRESS, to=to, original=f"rfc822;{ADDRESS.upper()}"))

        read(database, services)

        assert messages(host)["A"] == ("dead", "5.1.1")
        assert suppressions(host) == [("A", ADDRESS, "bounce", 1)]


class TestAComplaint:
    @pytest.mark.parametrize(("rcpt_to", "effect"), [("", "complained"), (ADDRESS, "complained")])
    def test_suppresses_for_good(
        self,
        database: Database,
        host: psycopg.Connection,
        services: StandIns,
        sent: str,
        rcpt_to: str,
        effect: str,
    ) -> None:
        services.mailbox.deliver(arf(returned=f"<{sent}@cloud-service.example>", rcpt_to=rcpt_to))

        assert read(database, services).counts == Counter(mails=1, **{effect: 1})

        assert suppressions(host) == [("A", ADDRESS, "complaint", 0)]
        assert messages(host)["A"] == ("sent", None)

    def test_about_another_recipient_changes_nothing(
        self, database: Database, host: psycopg.Connection, services: StandIns, sent: str
    ) -> None:
        services.mailbox.deliver(arf(returned=f"<{sent}@x>", rcpt_to="somebody.else@example.jp"))

        assert read(database, services).counts == Counter(mails=1, unmatched=1)
        assert suppressions(host) == []


def test_an_unsubscribed_address_gets_no_more_mail_of_this_tenant(
    database: Database,
    host: psycopg.Connection,
    connection: psycopg.Connection,
    services: StandIns,
    sent: str,
) -> None:
    header = next(each.headers["List-Unsubscribe"] for each in services.messages if sent in str(each.headers))
    assert header == f"<mailto:{UNSUBSCRIBES.replace('{token}', sent)}?subject=unsubscribe>"
    services.mailbox.deliver(unsubscription(sent))

    read(database, services)
    read(database, services)

    assert suppressions(host) == [("A", ADDRESS, "unsubscribe", 0)]
    assert outbox.suppressed_addresses(connection, "A", NOW + timedelta(days=9_999)).keys() == {ADDRESS}
    assert outbox.suppressed_addresses(connection, "B", NOW) == {}


def test_a_message_to_an_unsubscribed_address_is_not_reported_as_failure(
    database: Database, host: psycopg.Connection, services: StandIns, sent: str
) -> None:
    services.mailbox.deliver(unsubscription(sent))
    read(database, services)
    waiting(host, "A", recipient_address=ADDRESS)
    run_notifications(database, services)
    assert statuses(host) == {("email", "sent"): 2, ("email", "dead"): 1}

    assert retry(database, services).status == "completed"


class TestTheMailbox:
    def test_with_one_bad_mail_is_read_to_its_end(
        self, database: Database, host: psycopg.Connection, services: StandIns, sent: str
    ) -> None:
        services.mailbox.deliver(b"Content-Type: message/rfc822\r\n\r\n" * 2_000)
        services.mailbox.deliver(b"Subject: a person's reply\r\n\r\nThank you")
        services.mailbox.deliver(dsn(ADDRESS, to=BOUNCES.replace("{token}", sent)) + b"x" * 2 * LONGEST_MAIL)

        reading = read(database, services)

        assert reading.counts == Counter(mails=3, unreadable=1, other=1, bounced=1)
        assert flags(services) == [{"\\Seen", "\\Flagged"}, {"\\Seen"}, {"\\Seen"}]
        assert messages(host)["A"] == ("dead", "5.1.1")

    @pytest.mark.parametrize("offers_move", [True, False])
    def test_has_a_folder_for_mails_that_were_read(
        self, database: Database, services: StandIns, sent: str, offers_move: bool
    ) -> None:
        services.mailbox.offers_move = offers_move
        services.mailbox.deliver(dsn(ADDRESS, to=BOUNCES.replace("{token}", sent)))

        read(database, services, move_to="Read mails")

        assert [mail.folder for mail in services.mailbox.mails][-1] == "Read mails"
        assert read(database, services).counts == Counter()

    def test_has_folders_with_any_names(self, database: Database, services: StandIns, sent: str) -> None:
        # "完了 & 保管" in modified UTF-7 (RFC 3501, section 5.1.3).
        services.mailbox.folders.add("&W4xOhg- &- &T917oQ-")
        services.mailbox.deliver(dsn(ADDRESS, to=BOUNCES.replace("{token}", sent)))

        read(database, services, move_to="完了 & 保管")

        assert [mail.folder for mail in services.mailbox.mails] == ["&W4xOhg- &- &T917oQ-"]

    def test_without_the_folder_to_move_to_is_not_read(
        self, database: Database, services: StandIns, sent: str
    ) -> None:
        services.mailbox.deliver(dsn(ADDRESS, to=BOUNCES.replace("{token}", sent)))

        reading = read(database, services, move_to="Nowhere")

        assert reading.problem is not None
        assert "移動先のフォルダー 'Nowhere' がありません" in str(reading.problem)
        assert (reading.counts, flags(services)) == (Counter(), [set()])

    def test_is_read_a_part_at_a_time(
        self, services: StandIns, monkeypatch: pytest.MonkeyPatch, database: Database
    ) -> None:
        monkeypatch.setattr("include.skillreport.messaging.feedback.reading.MOST_MAILS", 2)
        for _ in range(3):
            services.mailbox.deliver(b"Subject: hello\r\n\r\n")

        assert [read(database, services).counts["mails"] for _ in range(3)] == [2, 1, 0]

    def test_is_searched_a_part_at_a_time(self, services: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("include.skillreport.messaging.feedback.mailbox._SEARCHED", 2)
        for number in range(7):
            mail = services.mailbox.deliver(b"Subject: hello\r\n\r\n")
            mail.flags |= {"\\Seen"} if number < 3 else set()

        with open_mailbox(box(services)) as mailbox:
            assert mailbox.unread(3) == ["4", "5", "6"]
            assert mailbox.unread(9) == ["4", "5", "6", "7"]

    def test_is_opened_by_a_token(self, services: StandIns) -> None:
        oauth = OAuthConfig("client-1", "client-very-secret", services.mail_token_url, "scope")

        with open_mailbox(box(services, password="", oauth=oauth), services.allowed_hosts):
            pass

        assert services.mailbox.logins == ["by token"]

    def test_is_reached_by_tls_with_a_good_certificate(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with encrypted_mailbox(tmp_path) as services:
            config = box(services, security="tls")
            with pytest.raises(MailboxError, match="証明書を確認できません"), open_mailbox(config):
                pass
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "stand-in.pem"))
            with open_mailbox(config) as opened:
                assert opened.unread(9) == []

    @pytest.mark.parametrize(
        ("fault", "recoverable"),
        [
            (("LOGIN", "[AUTHENTICATIONFAILED] bounce@example.jp"), False),
            (("SELECT", "no such folder"), False),
            (("SEARCH", "not now"), False),
            (("LOGIN", ""), True),
            (("SEARCH", ""), True),
        ],
    )
    def test_that_fails_is_a_named_error_without_its_words(
        self, services: StandIns, fault: tuple[str, str], recoverable: bool
    ) -> None:
        command, words = fault
        services.mailbox.deliver(b"Subject: hello\r\n\r\n")
        services.fail_next("mailbox", words, command=command)

        with pytest.raises(MailboxError) as failed, open_mailbox(box(services)) as mailbox:
            mailbox.unread(9)

        assert failed.value.recoverable is recoverable
        assert "skill_batch_mailbox" in str(failed.value)
        assert not words or words not in str(failed.value)

    def test_that_does_not_answer_is_given_up(self, services: StandIns) -> None:
        with (
            services.held("mailbox"),
            pytest.raises(MailboxError, match="応答がありません") as failed,
            open_mailbox(box(services), timeout=0.2),
        ):
            pass
        assert failed.value.recoverable

    def test_that_answers_for_ever_is_cut_off(self, services: StandIns) -> None:
        with (
            answering(b"* OK ready\r\n", b"* OK and more\r\n", speaks_first=True) as port,
            pytest.raises(MailboxError, match="応答がありません"),
            open_mailbox(box(services, port=port), seconds=0.3),
        ):
            pass

    def test_that_is_down_does_not_stop_the_retries(
        self, database: Database, host: psycopg.Connection, services: StandIns
    ) -> None:
        host_rows.tenant(host, "A")
        waiting(host, "A", recipient_address=ADDRESS)
        services.fail_next("email", "451 later")
        run_notifications(database, services)
        host.execute("UPDATE batch.outbox SET next_attempt_at = %s", [datetime(2026, 11, 1, tzinfo=UTC)])

        down = retry(database, services, port=1)
        refused = []
        for _ in range(2):
            services.fail_next("mailbox", "refused", command="LOGIN")
            refused.append(retry(database, services))

        assert len(services.messages) == 1
        # The night operator gets one alert about the refused login.
        assert [down.status, *(each.status for each in refused)] == ["completed", "partial", "completed"]
        (problem,) = refused[0].problems
        assert problem.text.endswith("ログインが拒否されました")
        assert problem.code == "MAILBOX_UNREADABLE"
        assert problem.text in refused[0].sentence()
        assert "応答がありません" in str(
            host.execute(
                "SELECT result -> 'steps' FROM batch.execution_log WHERE execution_id = %s",
                [down.execution_id],
            ).fetchone()
        )

    def test_whose_connection_is_wrong_does_not_stop_the_retries(self, database: Database) -> None:
        class Unusable(LocalInstallation):
            def mailbox(self) -> MailboxConfig | None:
                raise ConnectionInvalidError("Airflow の接続 'skill_batch_mailbox' の host がありません。")

        request = request_of(NOTIFICATION_RETRY, NOW.date())
        with database.working() as (platform, connection):
            run = LocalRun(NOTIFICATION_RETRY, request, Unusable(platform, connection))
            run.execute()

        assert list(run.failed) == ["close_run"]
        assert run.closed is not None
        (problem,) = run.closed.result.problems
        assert (problem.code, "host がありません" in problem.text) == ("MAILBOX_UNREADABLE", True)

    def test_is_left_alone_by_a_dry_run(self, database: Database, services: StandIns, sent: str) -> None:
        services.mailbox.deliver(dsn(ADDRESS, to=BOUNCES.replace("{token}", sent)))

        run_notifications(
            database, services, spec=NOTIFICATION_RETRY, dry_run=True, through=with_mailbox(services)
        )

        assert flags(services) == [set()]
        assert services.mailbox.logins == []
