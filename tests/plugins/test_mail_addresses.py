"""Alerts by mail have the rule of the letters for senders, and each recipient gets them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from email.message import EmailMessage

import pytest
from airflow.sdk import Connection

from skill_batch.notifiers import mail_addresses
from skill_batch.notifiers.alert import Alert
from skill_batch.notifiers.channels import send_email
from skill_batch.notifiers.mail_headers import MAIL_POLICY
from include.skillreport.messaging.channels.email.headers import LETTER_POLICY
from include.skillreport.messaging.channels.email.sender_address import address_with_name, split_sender
from local_stack.stand_ins import StandIns
from tests.airflow_installation import email_connection
from tests.messaging.sending import REFUSED, SENDERS


@pytest.fixture
def services() -> Iterator[StandIns]:
    with StandIns() as stand_ins:
        yield stand_ins


def send(services: StandIns, **extra: str) -> None:
    send_email(Alert("題名", ("本文",)), "key", connection(services, **extra))


def connection(services: StandIns, **extra: str) -> Connection:
    fields = json.loads(email_connection(services, **extra))
    return Connection(conn_id="skill_batch_alert_email", **{**fields, "extra": json.dumps(fields["extra"])})


@pytest.mark.parametrize("entered", [*SENDERS, *REFUSED])
def test_a_sender_is_split_as_in_letters(entered: str) -> None:
    assert mail_addresses.split_sender(entered) == split_sender(entered)


@pytest.mark.parametrize("utf8", [False, True])
@pytest.mark.parametrize("entered", [entered for entered in SENDERS if "例え" not in entered])
def test_the_header_is_that_of_letters(entered: str, utf8: bool) -> None:
    letter = EmailMessage(LETTER_POLICY.clone(utf8=utf8))
    letter["From"] = [address_with_name(*split_sender(entered))]
    alert = EmailMessage(MAIL_POLICY.clone(utf8=utf8, linesep="\r\n"))
    alert["From"] = [mail_addresses.address_with_name(*mail_addresses.split_sender(entered))]
    letter["Subject"] = alert["Subject"] = entered
    letter["Message-ID"] = alert["Message-ID"] = "<a@example.jp>"

    assert alert.as_bytes() == letter.as_bytes()


@pytest.mark.parametrize("sender", ["Acme, Inc. <alerts@example.jp>", "通知: 本社, 総務 <alerts@example.jp>"])
def test_an_alert_arrives_from_one_sender(services: StandIns, sender: str) -> None:
    send(services, from_email=sender)

    [mail] = services.messages
    assert (mail.destination, mail.headers["Return-Path"]) == ("night@example.jp", "<alerts@example.jp>")
    assert mail.headers["From"].endswith(" <alerts@example.jp>")
    assert mail.headers["Message-ID"].endswith("@example.jp>")
    assert mail.headers["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize(
    ("sender", "reason"),
    [("a@example.jp, b@example.jp", "2 つ以上"), ("通知 <>", "メールアドレスがありません")],
)
def test_a_sender_that_is_none_is_named(services: StandIns, sender: str, reason: str) -> None:
    with pytest.raises(LookupError, match=reason):
        send(services, from_email=sender)

    assert services.messages == []


def test_every_recipient_gets_the_alert(services: StandIns) -> None:
    send(services, to_email='a@example.jp, "夜間, 当番" <b@example.jp>, 総務: 経理 <c@example.jp>,')

    assert [mail.destination for mail in services.messages] == [
        "a@example.jp",
        "b@example.jp",
        "c@example.jp",
    ]
    assert len({mail.headers["To"] for mail in services.messages}) == 1


@pytest.mark.parametrize("line_break", ["\r\n", "\n", "\r", "\u2028", "\0"])
def test_no_name_makes_a_header_of_its_own(services: StandIns, line_break: str) -> None:
    send(services, from_email=f"通知{line_break}Bcc: evil@example.com <alerts@example.jp>")

    [mail] = services.messages
    assert "Bcc" not in mail.headers
    assert mail.headers["From"].endswith(" <alerts@example.jp>")


@pytest.mark.parametrize("line_break", ["=0D=0A", "=0A", "=0D"])
def test_an_encoded_word_is_shown_as_it_is(services: StandIns, line_break: str) -> None:
    word = f"=?utf-8?q?x{line_break}Bcc:_evil@example.com?="
    alert = Alert(f"{word} の失敗", ("本文",))

    send_email(alert, "key", connection(services, from_email=f"{word} <alerts@example.jp>"))

    [mail] = services.messages
    assert "Bcc" not in mail.headers
    assert "本文" in mail.text
    # The stand-in decodes each encoded word once.
    assert mail.subject == f"[MEDIUM] {word} の失敗"
    assert mail.headers["From"].startswith("=?utf-8?b?")
    assert mail.headers["From"].count("@") == 1
