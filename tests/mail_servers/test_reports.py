"""What real servers report about letters: bounces of every kind, and mails that are none. ``make test-mail`` runs it."""

from __future__ import annotations

import smtplib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from include.skillreport.core.catalog import SCHEDULED_NOTIFICATIONS
from include.skillreport.core.network import Network
from include.skillreport.messaging.feedback.mailbox import MailboxError, open_mailbox
from include.skillreport.messaging.feedback.reading import read_feedback
from tests.conftest import Database
from tests.mail_servers.dovecot import Dovecot, dovecot
from tests.mail_servers.postfix import Postfix, postfix, table
from tests.mail_servers.scene import DOMAIN, OPEN, RELAYS, installation, letters, made, run
from tests.waiting import wait_until
from tests.worlds.encrypted_servers import make_certificate
from tests.worlds.feedback_mails import arf

pytestmark = pytest.mark.long

# How each address ends, and what the run makes of it: the status and the code of the letter, and whether the address is suppressed.
ENDS = {
    # A mailbox that takes it.
    f"taro@{DOMAIN}": ("sent", None, False),
    f"nobody@{DOMAIN}": ("dead", "5.1.1", True),
    f"full@{DOMAIN}": ("dead", "5.2.2", False),
    # A group with a member that exists and one that does not.
    f"group@{DOMAIN}": ("sent", "passed_on", False),
    # A domain that has no address.
    "taro@nowhere.invalid": ("dead", "5.4.4", True),
    # A server that does not answer until Postfix gives up.
    "taro@silent.test": ("dead", "4.4.1", False),
    # Policy of another server, and a mailbox that has moved.
    "taro@policy.test": ("dead", "policy", False),
    "taro@moved.test": ("dead", "5.1.6", True),
    # The next server does not know internationalised addresses.
    f"太郎@{DOMAIN}": ("dead", "smtp_5", False),
}

ALIASES = {f"group@{DOMAIN}": f"taro@{DOMAIN}, gone@{DOMAIN}"}

# What the next server answers to recipients.
REFUSALS = {
    "silent.test": "450 4.4.1 Connection timed out",
    "policy.test": "550 5.7.1 Message rejected",
    "moved.test": "551 5.1.6 The mailbox has moved",
    f"later@{DOMAIN}": "450 4.2.0 The mailbox is locked",
}


@contextmanager
def servers(folder: Path, **settings: str) -> Iterator[tuple[Network, Postfix, Dovecot]]:
    """A Postfix that delivers into a Dovecot, and returns to the sender what it cannot deliver."""
    of_postfix, of_next, of_dovecot = made(folder, "postfix", "next", "dovecot")
    users = {"taro": "", "full": "1", "bounce": "", "away": ""}
    refusals = f"check_recipient_access {table(REFUSALS)}"
    with (
        dovecot(of_dovecot, make_certificate(folder), users) as mailboxes,
        postfix(of_next, **OPEN, myhostname="next.test", smtpd_recipient_restrictions=refusals) as following,
    ):
        home = mailboxes.home("bounce")
        home.mkdir()
        home.chmod(0o777)
        usual = RELAYS | {
            "virtual_mailbox_domains": f"{DOMAIN}, bounces.{DOMAIN}",
            "virtual_mailbox_maps": table(
                {f"bounce@bounces.{DOMAIN}": "bounce/Maildir/", f"@{DOMAIN}": "ok"}
            ),
            "virtual_mailbox_base": str(home.parent),
            # Debian's account "mail".
            "virtual_minimum_uid": "1",
            "virtual_uid_maps": "static:8",
            "virtual_gid_maps": "static:8",
            "virtual_transport": mailboxes.lmtp,
            "virtual_alias_maps": table(ALIASES),
            "transport_maps": table(
                # LMTP of Dovecot takes no internationalised report, so Postfix writes into the mailbox itself.
                {f"bounces.{DOMAIN}": "virtual:"}
                | dict.fromkeys(REFUSALS, f"smtp:[127.0.0.1]:{following.port}")
            ),
            # Postfix gives up at the first temporary failure.
            "maximal_queue_lifetime": "0",
            "bounce_queue_lifetime": "1h",
        }
        with postfix(of_postfix, **(usual | settings)) as server:
            through = installation(server, mailboxes, envelope_sender=f"bounce+{{token}}@bounces.{DOMAIN}")
            yield through, server, mailboxes


def read(database: Database, through: Network) -> Counter[str]:
    """The counts of what the run finds in the mailbox."""
    with database.working() as (platform, connection):
        reading = read_feedback(platform, connection, through, lambda: datetime.now(UTC))
    assert reading.problem is None, reading.problem
    return reading.counts


@pytest.fixture
def trusted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate of the servers is trusted. They write it into the folder."""
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "stand-in.pem"))


@pytest.mark.usefixtures("trusted")
def test_each_kind_of_bounce_is_understood(
    database: Database, host: psycopg.Connection, folder: Path
) -> None:
    letters(host, {"A": list(ENDS)})
    with servers(folder) as (through, server, mailboxes):
        run(database, through, SCHEDULED_NOTIFICATIONS)
        assert {row[0] for row in host.execute("SELECT status FROM batch.outbox")} == {"sent"}
        bounces = len([each for each in ENDS.values() if each[1]])
        wait_until(lambda: len(mailboxes.mails("bounce")) >= bounces, "the bounces arrive")
        counts = read(database, through)

        assert counts == Counter(mails=bounces, bounced=bounces - 1, passed_on=1), server.log
        suppressed = {row[0] for row in host.execute("SELECT address FROM batch.suppressed_address")}
        found = {
            destination: (status, code, destination in suppressed)
            for destination, status, code in host.execute(
                "SELECT destination, status, error_code FROM batch.outbox"
            )
        }
        assert found == {address: _with_code_of_table(end) for address, end in ENDS.items()}
        given_up = "SELECT error_detail FROM batch.outbox WHERE destination = 'taro@silent.test'"
        assert "配送が打ち切られました（送信後の不達通知 4.4.1）" in str(host.execute(given_up).fetchone())
        assert read(database, through) == Counter()


def _with_code_of_table(end: tuple[str, str | None, bool]) -> tuple[str, str | None, bool]:
    """A temporary status has the row of all temporary ones."""
    status, code, is_suppressed = end
    return status, "smtp_4" if code == "4.4.1" else code, is_suppressed


@pytest.mark.usefixtures("trusted")
def test_mails_that_are_no_bounces_change_what_they_say_only(
    database: Database, host: psycopg.Connection, folder: Path
) -> None:
    letters(host, {"A": [f"taro@{DOMAIN}", f"away@{DOMAIN}", f"later@{DOMAIN}"]})
    with servers(folder, maximal_queue_lifetime="1h", delay_warning_time="1s") as (
        through,
        server,
        mailboxes,
    ):
        mailboxes.filter("away", 'require ["vacation"];\nvacation :days 1 "I am away until Monday.";\n')
        run(database, through, SCHEDULED_NOTIFICATIONS)
        (token,) = host.execute(
            "SELECT message_id FROM batch.outbox WHERE destination = %s", [f"taro@{DOMAIN}"]
        ).fetchone() or ("",)
        wait_until(lambda: len(mailboxes.mails("taro")) == 1, "the letter arrives")
        wait_until(lambda: len(mailboxes.mails("away")) == 1, "the absent one's letter arrives")
        # Dovecot names one of the reasons: Auto-Submitted, or List-Id.
        assert "discarding vacation response to" in mailboxes.log
        with smtplib.SMTP("127.0.0.1", server.port) as connection:
            complaint = arf(returned=f"<{token}@{DOMAIN}>")
            connection.sendmail("fbl@provider.test", [f"bounce@bounces.{DOMAIN}"], complaint)
        wait_until(lambda: _has_delay(server, mailboxes), "Postfix says that it is late")

        assert read(database, through) == Counter(mails=2, complained=1, nothing=1)
        assert {row[0] for row in host.execute("SELECT status FROM batch.outbox")} == {"sent"}
        assert host.execute("SELECT address, reason FROM batch.suppressed_address").fetchall() == [
            (f"taro@{DOMAIN}", "complaint")
        ]


def _has_delay(server: Postfix, mailboxes: Dovecot) -> bool:
    server.deliver_now()
    return len(mailboxes.mails("bounce")) == 2


@pytest.mark.usefixtures("trusted")
def test_folders_have_japanese_names_and_must_exist(
    database: Database, host: psycopg.Connection, folder: Path
) -> None:
    letters(host, {"A": [f"nobody@{DOMAIN}"]})
    with servers(folder) as (through, _, mailboxes):
        assert through.mailbox is not None
        run(database, through, SCHEDULED_NOTIFICATIONS)
        wait_until(lambda: len(mailboxes.mails("bounce")) == 1, "the bounce arrives")
        box = replace(through.mailbox, move_to="完了 & 保管")
        with (
            pytest.raises(MailboxError, match="移動先のフォルダー '完了 & 保管' がありません"),
            open_mailbox(box),
        ):
            pass
        mailboxes.create("bounce", "&W4xOhg- &- &T917oQ-")

        assert read(database, replace(through, mailbox=box)) == Counter(mails=1, bounced=1)
        assert len(mailboxes.mails("bounce", '"&W4xOhg- &- &T917oQ-"')) == 1
        assert mailboxes.mails("bounce") == []


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_the_mailbox_is_read_over_each_encryption(folder: Path, security: str) -> None:
    with servers(folder) as (through, _, mailboxes):
        assert through.mailbox is not None
        port = mailboxes.imaps if security == "tls" else mailboxes.imap
        with open_mailbox(replace(through.mailbox, port=port, security=security)) as opened:
            assert opened.unread(9) == []
        wrong = replace(through.mailbox, password="wrong")
        with pytest.raises(MailboxError, match="ログインが拒否されました"), open_mailbox(wrong):
            pass


@pytest.mark.usefixtures("trusted")
def test_two_thousand_mails_are_read_a_part_at_a_time(
    database: Database, host: psycopg.Connection, folder: Path
) -> None:
    letters(host, {"A": [f"nobody{number}@{DOMAIN}" for number in range(600)]})
    with servers(folder) as (through, _, mailboxes):
        run(database, through, SCHEDULED_NOTIFICATIONS)
        new = mailboxes.home("bounce") / "Maildir" / "new"
        wait_until(lambda: len(list(new.iterdir())) == 600, "the bounces arrive")

        assert [read(database, through)["bounced"] for _ in range(3)] == [500, 100, 0]
        assert {row[0] for row in host.execute("SELECT status FROM batch.outbox")} == {"dead"}
