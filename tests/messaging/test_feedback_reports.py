"""The report of a mail about a letter, for mails of any form."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from include.skillreport.messaging.feedback.record import error_of
from include.skillreport.messaging.feedback.reports import (
    Addresses,
    FailedRecipient,
    FeedbackReport,
    ReportKind,
    UnreadableMailError,
    report_in,
)
from tests.worlds.feedback_mails import (
    BOUNCES,
    ID,
    UNSUBSCRIBES,
    arf,
    dsn,
    exim_bounce,
    qmail_bounce,
    unsubscription,
)

ADDRESSES = Addresses(BOUNCES, UNSUBSCRIBES)
ANOTHER = "00000000-1111-4222-8333-444444444444"
ENVELOPE_SENDER = f"bounce+{ID}@example.jp"


def addresses(*texts: str) -> frozenset[str]:
    return frozenset(texts)


def test_a_bounce_is_known_by_the_message_id_of_the_returned_headers() -> None:
    assert report_in(dsn(), ADDRESSES) == FeedbackReport(
        ReportKind.BOUNCE, ID, (FailedRecipient(addresses("taro@example.jp"), "5.1.1"),)
    )


def test_the_token_in_the_recipient_counts_more_than_the_returned_message_id() -> None:
    bounce = dsn(to=f"bounce+{ANOTHER}@example.jp")

    assert report_in(bounce, ADDRESSES).message_id == ANOTHER
    assert report_in(bounce, Addresses("bounce@example.jp", "")).message_id == ID


@pytest.mark.parametrize("action", ["delayed", "relayed", "delivered", "expanded", ""])
def test_a_report_without_failure_is_no_bounce(action: str) -> None:
    assert report_in(dsn(action=action), ADDRESSES).kind is ReportKind.DELIVERY


@pytest.mark.parametrize(
    ("original", "named"),
    [
        ("rfc822;Hanako@Example.JP", "hanako@example.jp"),
        ("rfc822; taro+2Bskills@example.jp", "taro+skills@example.jp"),
        ("rfc822;<taro@example.jp>", "taro@example.jp"),
        ("rfc822;taro@例え.jp".encode().decode("latin-1"), ""),
        (r"utf-8;\x{592A}\x{90CE}@xn--r8jz45g.jp", "太郎@xn--r8jz45g.jp"),
    ],
)
def test_the_original_recipient_is_read_in_all_its_forms(original: str, named: str) -> None:
    [failure] = report_in(dsn("forwarded@example.net", original=original), ADDRESSES).failures

    assert "forwarded@example.net" in failure.addresses
    assert not named or named in failure.addresses


def test_an_internationalised_notification_is_read_too() -> None:
    assert report_in(dsn(kind="global-delivery-status"), ADDRESSES).failures == (
        FailedRecipient(addresses("taro@example.jp"), "5.1.1"),
    )


def test_the_fields_of_an_internationalised_notification_are_utf8() -> None:
    """As Postfix writes them (RFC 6533)."""
    bounce = dsn("太郎@example.jp", kind="global-delivery-status", original="utf-8;太郎@example.jp")

    [failure] = report_in(bounce, ADDRESSES).failures

    assert failure.addresses == addresses("太郎@example.jp")
    assert not failure.passed_on_to


def test_a_truncated_bounce_is_read_as_far_as_possible() -> None:
    bounce = dsn(to=f"bounce+{ID}@example.jp")

    report = report_in(bounce[: bounce.index(b"Undelivered Message Headers")], ADDRESSES)

    assert (report.kind, report.message_id, len(report.failures)) == (ReportKind.BOUNCE, ID, 1)


@pytest.mark.parametrize(
    ("mail", "status"),
    [
        (qmail_bounce(to=ENVELOPE_SENDER), "5.1.1"),
        (qmail_bounce(to=ENVELOPE_SENDER, reason="Sorry, no mailbox here by that name. (#5.1.1)"), "5.1.1"),
        (
            qmail_bounce(to=ENVELOPE_SENDER, reason="I wasn't able to establish a connection. (#4.4.1)"),
            "4.4.1",
        ),
        (qmail_bounce(to=ENVELOPE_SENDER, reason="Remote host said: 550 no such user"), ""),
        (
            qmail_bounce(
                to=ENVELOPE_SENDER,
                reason="220 mx ESMTP Exim 4.94.2\n250 2.0.0 OK\n450 4.2.2 full\n550 5.1.1 unknown",
            ),
            "5.1.1",
        ),
        (qmail_bounce("Taro@Example.JP", to=ENVELOPE_SENDER), "5.1.1"),
        (exim_bounce(to=ENVELOPE_SENDER), "5.1.1"),
        (exim_bounce(to=ENVELOPE_SENDER).replace(b"550 5.1.1 <taro@example.jp>: User", b"550 User"), ""),
    ],
)
def test_a_bounce_without_a_notification_is_known_by_its_token(mail: bytes, status: str) -> None:
    """As qmail and older versions of Exim write them. The copy of the letter says 4.2.2, the address of the server 5.2.1."""
    expected = FeedbackReport(ReportKind.BOUNCE, ID, (FailedRecipient(addresses("taro@example.jp"), status),))

    assert report_in(mail, ADDRESSES) == expected
    # The words of such a mail may be anybody's, so the address that they name must be the letter's.
    assert not report_in(mail, ADDRESSES).is_by_token


def test_a_warning_of_exim_about_a_delay_is_no_bounce() -> None:
    report = report_in(exim_bounce(to=ENVELOPE_SENDER, is_delayed=True), ADDRESSES)

    assert report == FeedbackReport(ReportKind.DELIVERY, ID)


@pytest.mark.parametrize("to", ["bounce@example.jp", f"other+{ID}@example.jp", "bounce+short@example.jp"])
@pytest.mark.parametrize("bounce", [qmail_bounce, exim_bounce])
def test_a_bounce_without_a_notification_and_a_token_is_any_other_mail(
    bounce: Callable[..., bytes], to: str
) -> None:
    assert report_in(bounce(to=to), ADDRESSES) == FeedbackReport(ReportKind.OTHER)


def test_an_absence_is_no_bounce() -> None:
    away = f"""\
From: Taro <taro@example.jp>
To: {ENVELOPE_SENDER}
Auto-Submitted: auto-replied
Subject: Out of office

Your message to <taro@example.jp> has arrived. I am back on 5.1.1.
"""
    assert report_in(away.encode(), ADDRESSES) == FeedbackReport(ReportKind.OTHER)


def test_a_bounce_to_an_address_for_both_is_no_unsubscription() -> None:
    """qmail does not say that its mail is automatic."""
    one = Addresses(BOUNCES, BOUNCES)

    assert report_in(qmail_bounce(to=ENVELOPE_SENDER), one).kind is ReportKind.BOUNCE
    assert report_in(unsubscription(to=BOUNCES), one).kind is ReportKind.UNSUBSCRIBE


def test_a_complaint_is_known_by_the_returned_letter_or_the_envelope_sender() -> None:
    assert report_in(arf(), ADDRESSES) == FeedbackReport(ReportKind.COMPLAINT, ID)
    assert report_in(arf(mail_from=f"bounce+{ANOTHER}@example.jp"), ADDRESSES).message_id == ANOTHER
    assert report_in(arf(rcpt_to="<Taro@example.jp>"), ADDRESSES).recipients == {"taro@example.jp"}


def test_a_complaint_of_amazon_ses_is_known_by_its_recipient() -> None:
    """SES sends it to the Return-Path, and replaces Message-ID and envelope sender."""
    to = f"bounce+{ID}@example.jp"
    mail = arf(to=to, returned="<0100018f@email.amazonses.com>", mail_from="0100018f@ap.amazonses.com")

    assert report_in(mail, ADDRESSES) == FeedbackReport(ReportKind.COMPLAINT, ID)
    # The report's own field is about the e-mail.
    assert report_in(arf(to=to, mail_from=f"bounce+{ANOTHER}@example.jp"), ADDRESSES).message_id == ANOTHER
    assert report_in(arf(to=to, kind="not-spam"), ADDRESSES).kind is ReportKind.OTHER


@pytest.mark.parametrize("kind", ["not-spam", "auth-failure", "virus", "other", ""])
def test_other_feedback_is_no_complaint(kind: str) -> None:
    assert report_in(arf(kind=kind), ADDRESSES).kind is ReportKind.OTHER


def test_an_unsubscription_is_known_by_its_recipient() -> None:
    assert report_in(unsubscription(), ADDRESSES) == FeedbackReport(ReportKind.UNSUBSCRIBE, ID)


def test_the_button_of_apple_mail_unsubscribes() -> None:
    """Its mail claims to be automatic."""
    mail = unsubscription(automatic="auto-replied").replace(
        b"Subject:", b"X-Apple-Unsubscribe: true\r\nSubject:"
    )

    assert report_in(mail, ADDRESSES) == FeedbackReport(ReportKind.UNSUBSCRIBE, ID)


@pytest.mark.parametrize(
    "mail",
    [
        unsubscription(automatic="auto-replied"),
        unsubscription(to="unsubscribe@example.jp"),
        unsubscription(to="other-unsubscribe+{token}@example.jp"),
        unsubscription(to="unsubscribe+{token}@example.jp.evil.example"),
        unsubscription("../../etc/passwd"),
        unsubscription("x" * 500),
        b"",
        b"\r\n\r\nhello",
        b"From: a person\r\nTo: bounce@example.jp\r\n\r\nHello?",
    ],
)
def test_any_other_mail_is_none_of_these(mail: bytes) -> None:
    assert report_in(mail, ADDRESSES) == FeedbackReport(ReportKind.OTHER)


def test_settings_without_a_token_know_no_address() -> None:
    assert report_in(unsubscription(), Addresses("bounce@example.jp", "")).kind is ReportKind.OTHER


def test_an_internationalised_domain_is_known_as_it_was_sent() -> None:
    to = f"bounce+{ID}@xn--r8jz45g.jp"

    assert report_in(dsn(to=to, returned=""), Addresses("bounce+{token}@例え.jp", "")).message_id == ID


_DEEP = b"Content-Type: message/rfc822\r\n\r\n"
# With these the patterns of the second reader begin.
_BEGINNINGS = "\n".join(
    [
        "Hi. This is the qmail-send program at mx.example.net.\n\n<taro@example.jp",
        "This message was created automatically by mail delivery software",
        "the following addresses had",
        "The following addresses did NOT receive a copy of your message:",
        "Delivery to the following recipient failed",
        "A message that you sent could not be delivered",
        "Delivery to the following recipients failed",
        "Your message",
        "Sorry, unable to deliver your message to",
        "A message could not be delivered to:",
        "Could not deliver message to the following recipient",
        "did not reach the following recipient",
        "Message not delivered to the following addresses",
        "A message that you sent was rejected",
    ]
)
_NESTED = b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n'


@pytest.mark.parametrize(
    "mail",
    [
        _DEEP * 8_000,
        b"".join(_NESTED % (number, number) for number in range(4_000)),
        b'Content-Type: multipart/report; report-type="' + b'";' * 100_000,
        b"Content-Type: multipart/report;\r\n" + b' a="\\";\r\n' * 20_000,
    ],
)
def test_a_mail_that_would_cost_too_much_is_refused_at_once(mail: bytes) -> None:
    started = time.process_time()

    with pytest.raises(UnreadableMailError):
        report_in(mail, ADDRESSES)

    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    "mail",
    [
        b"".join(_NESTED % (number, number) for number in range(25)) + b"x\r\n" * 60_000,
        dsn()[:1100] + b"a: b\r\n\r\n" * 20_000,
        b"To: " + b"bounce+@" * 30_000 + b"\r\n\r\n",
        b"To: " + b"<" * 250_000 + b"\r\n\r\n",
        b"a" * 250_000,
        b"a:\r\n" * 60_000,
        dsn("=?utf-8?q?" + "=41" * 5_000),
        *(
            f"To: {ENVELOPE_SENDER}\n{header}\n{_BEGINNINGS}\n{text * 100_000}".encode()
            for header in (
                "",
                "X-Failed-Recipients: " + "a, " * 20_000,
                "X-Failed-Recipients: " + "(" * 60_000,
            )
            for text in ("a", "a@", "<a", " a", "\na", "a:\n", "\r\n", "(expanded from: ", "=41", "b@c\n")
        ),
        f"To: {ENVELOPE_SENDER}\n".encode()
        + b"".join(_NESTED % (number, number) for number in range(25))
        + f"\n{_BEGINNINGS}\n{'a' * 60_000}".encode(),
    ],
)
def test_a_hostile_mail_is_read_in_a_moment(mail: bytes) -> None:
    started = time.process_time()

    with suppress(Exception):
        report_in(mail[: 256 * 1024], ADDRESSES)

    assert time.process_time() - started < 1


@given(
    st.sampled_from([dsn(), arf(), unsubscription()]),
    st.integers(0, 1_000),
    st.binary(min_size=1, max_size=99),
)
@example(arf(), 554, b"@")
def test_a_damaged_mail_reports_its_own_letter_or_none(mail: bytes, place: int, noise: bytes) -> None:
    try:
        report = report_in(mail[:place] + noise + mail[place:], ADDRESSES)
    except UnreadableMailError:
        return
    # The noise may be in the id, and a bracket may cut its beginning off, but it is never a whole id.
    is_cut = b"<" in noise and ID.endswith(report.message_id)
    assert report.message_id in ("", ID) or is_cut or set(noise.lower()) & set(report.message_id.encode())


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("5.1.1", "5.1.1"),
        ("5.1.10", "5.1.10"),
        ("5.2.2", "5.2.2"),
        ("5.7.1", "policy"),
        ("5.7.233", "policy"),
        ("4.4.7", "smtp_4"),
        ("5.0.0", "smtp_5"),
        ("", "unknown"),
    ],
)
def test_a_status_has_its_row_in_the_error_table(status: str, code: str) -> None:
    assert error_of(status).code == code
