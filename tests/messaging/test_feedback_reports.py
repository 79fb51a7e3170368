"""The report of a mail about a letter, for mails of any form."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from include.skillreport.messaging.feedback.record import error_of
from include.skillreport.messaging.feedback.reports import (
    Addresses,
    Failure,
    Report,
    ReportKind,
    UnreadableMailError,
    report_in,
)
from tests.messaging.feedback_mails import BOUNCES, ID, UNSUBSCRIBES, arf, dsn, unsubscription

ADDRESSES = Addresses(BOUNCES, UNSUBSCRIBES)
ANOTHER = "00000000-1111-4222-8333-444444444444"


def addresses(*texts: str) -> frozenset[str]:
    return frozenset(texts)


def test_a_bounce_is_known_by_the_message_id_of_the_returned_headers() -> None:
    assert report_in(dsn(), ADDRESSES) == Report(
        ReportKind.BOUNCE, ID, (Failure(addresses("taro@example.jp"), "5.1.1"),)
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
        Failure(addresses("taro@example.jp"), "5.1.1"),
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


def test_a_complaint_is_known_by_the_returned_letter_or_the_envelope_sender() -> None:
    assert report_in(arf(), ADDRESSES) == Report(ReportKind.COMPLAINT, ID)
    assert report_in(arf(mail_from=f"bounce+{ANOTHER}@example.jp"), ADDRESSES).message_id == ANOTHER
    assert report_in(arf(rcpt_to="<Taro@example.jp>"), ADDRESSES).recipients == {"taro@example.jp"}


@pytest.mark.parametrize("kind", ["not-spam", "auth-failure", "virus", "other", ""])
def test_other_feedback_is_no_complaint(kind: str) -> None:
    assert report_in(arf(kind=kind), ADDRESSES).kind is ReportKind.OTHER


def test_an_unsubscription_is_known_by_its_recipient() -> None:
    assert report_in(unsubscription(), ADDRESSES) == Report(ReportKind.UNSUBSCRIBE, ID)


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
    assert report_in(mail, ADDRESSES) == Report(ReportKind.OTHER)


def test_settings_without_a_token_know_no_address() -> None:
    assert report_in(unsubscription(), Addresses("bounce@example.jp", "")).kind is ReportKind.OTHER


def test_an_internationalised_domain_is_known_as_it_was_sent() -> None:
    to = f"bounce+{ID}@xn--r8jz45g.jp"

    assert report_in(dsn(to=to, returned=""), Addresses("bounce+{token}@例え.jp", "")).message_id == ID


_DEEP = b"Content-Type: message/rfc822\r\n\r\n"
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
    ],
)
def test_a_hostile_mail_is_read_in_a_moment(mail: bytes) -> None:
    started = time.process_time()

    with suppress(Exception):
        report_in(mail[: 256 * 1024], ADDRESSES)

    assert time.process_time() - started < 3


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
