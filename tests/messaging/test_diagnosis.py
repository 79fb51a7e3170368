"""What a report of a failed delivery says, if its status code says nothing."""

from __future__ import annotations

import pytest

from include.skillreport.messaging.feedback.diagnosis import status_of
from include.skillreport.messaging.feedback.record import error_of
from include.skillreport.messaging.feedback.reports import Addresses, report_in
from include.skillreport.messaging.outcome import ErrorClass
from tests.messaging.real_refusals import REAL_REFUSALS
from tests.worlds.feedback_mails import BOUNCES, UNSUBSCRIBES, dsn


@pytest.mark.parametrize(
    ("status", "words", "code"), [row[1:] for row in REAL_REFUSALS], ids=[row[0] for row in REAL_REFUSALS]
)
def test_a_real_refusal_is_understood(status: str, words: str, code: str) -> None:
    assert status_of(status, words) == code


@pytest.mark.parametrize(
    ("status", "words"),
    [
        # docomo, au and SoftBank, as Postfix, Sendmail, Amazon SES and Exchange Online report them.
        ("5.0.0", "smtp; 550 Unknown user taro@docomo.ne.jp"),
        ("5.2.0", "SMTP; 550 Unknown user taro@docomo.ne.jp"),
        ("5.0.0", "smtp; 5.3.0 - Other mail system problem 550-'Unknown user taro@docomo.ne.jp' (delivery attempts: 0)"),
        ("5.0.0", "smtp; 550 <taro@ezweb.ne.jp>: User unknown"),
        ("5.1.351", "smtp;550 5.1.351 Remote server returned unknown recipient or mailbox unavailable -> 550 <a@au.com>: User unknown"),
        ("5.0.0", "smtp; 550 Invalid recipient: <taro@softbank.ne.jp>"),
        ("5.2.0", "SMTP; 550 5.2.0 Invalid recipient: <taro@i.softbank.jp>"),
    ],
)  # fmt: skip
def test_an_unknown_user_of_a_japanese_carrier_is_a_wrong_address(status: str, words: str) -> None:
    assert error_of(status_of(status, words)).error_class is ErrorClass.ADDRESS


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("5.1.1", "smtp; 550 5.1.1 <taro@example.jp>: Recipient address rejected: User unknown"),
        ("5.1.1", "smtp; 550 <spam-policy@example.jp>: User unknown"),
        ("5.4.1", "smtp; 550 5.4.1 Recipient address rejected: Access denied"),
        ("5.7.1", "smtp; 550 5.7.1 <taro@example.jp>: User unknown"),
        ("4.4.1", "smtp; connect to mx.example.jp: User unknown"),
        ("5.0.0", "smtp; 554 Transaction failed"),
        ("", ""),
    ],
)
def test_a_status_that_says_something_stays(status: str, words: str) -> None:
    assert status_of(status, words) == status


def test_a_report_is_read_with_its_servers_words() -> None:
    mail = dsn("taro@docomo.ne.jp", status="5.0.0").replace(
        b"550 5.1.1 <taro@docomo.ne.jp>: Recipient address rejected", b"550 Unknown user taro@docomo.ne.jp"
    )

    [failure] = report_in(mail, Addresses(BOUNCES, UNSUBSCRIBES)).failures

    assert failure.status == "5.1.1"


@pytest.mark.parametrize("words", ["@" * 100_000, "a@" * 50_000, "user " * 20_000, "mailbox" * 20_000])
def test_hostile_words_are_read_in_a_moment(words: str) -> None:
    assert status_of("5.0.0", words)
