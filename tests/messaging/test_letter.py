"""The headers and the envelope of a letter, and internationalised addresses."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import compat32
from email.policy import default as default_policy
from typing import Any

import pytest

from include.skillreport.core.network import EmailConfig
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.email.headers import TextHeader
from include.skillreport.messaging.channels.email.letter import (
    address_of,
    is_address,
    letter_of,
    settings_problem,
)
from include.skillreport.messaging.message import MessageFile
from include.skillreport.messaging.outcome import Outcome
from tests.messaging.sending import Tenant, code_of, message

ID = "3f2b8a54-0c1d-4e6f-9a7b-1234567890ab"

CONFIG = EmailConfig(
    "mail.example.jp",
    587,
    "スキル報告 <no-reply@例え.jp>",
    reply_to="help@example.jp",
    envelope_sender="bounce+{token}@example.jp",
    unsubscribe_address="unsubscribe+{token}@example.jp",
)


def parsed(content: bytes) -> EmailMessage:
    """The letter as the standard parser of Python reads it."""
    letter = message_from_bytes(content, policy=default_policy)
    assert isinstance(letter, EmailMessage)
    assert letter.defects == []
    return letter


def test_every_header_is_what_others_expect() -> None:
    sent = message(EMAIL, message_id=ID, destination="taro@日本語.jp", rich="<p>本文</p>")

    letter = letter_of(sent, CONFIG)

    headers = dict(parsed(letter.content).items())
    sent_at = headers.pop("Date").datetime
    assert abs(datetime.now(UTC) - sent_at) < timedelta(minutes=1)
    assert headers.pop("Content-Type").startswith("multipart/alternative")
    assert headers == {
        "Message-ID": f"<{ID}@xn--r8jz45g.jp>",
        "From": "スキル報告 <no-reply@xn--r8jz45g.jp>",
        "To": "taro@xn--wgv71a119e.jp",
        "Subject": "極秘の件名",
        "Auto-Submitted": "auto-generated",
        "Reply-To": "help@example.jp",
        "List-Id": "<general.notifications.xn--r8jz45g.jp>",
        "List-Unsubscribe": f"<mailto:unsubscribe+{ID}@example.jp?subject=unsubscribe>",
        "MIME-Version": "1.0",
    }
    assert letter.message_id == headers["Message-ID"]
    assert letter.envelope_sender == f"bounce+{ID}@example.jp"
    assert letter.content.isascii()
    text, html = parsed(letter.content).iter_parts()
    assert (text.get_content(), html.get_content()) == ("極秘の本文\r\n", "<p>本文</p>\r\n")


def test_a_url_unsubscribes_with_one_click() -> None:
    """RFC 8058. Mail programs post to the URL; others write to the address."""
    config = replace(CONFIG, unsubscribe_url="https://skill.example.jp/unsubscribe?id={token}")

    headers = parsed(letter_of(message(EMAIL, message_id=ID), config).content)

    assert headers["List-Unsubscribe"] == (
        f"<https://skill.example.jp/unsubscribe?id={ID}>, <mailto:unsubscribe+{ID}@example.jp?subject=unsubscribe>"
    )
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    contract = letter_of(message(EMAIL, message_id=ID, kind="invoice"), config)
    assert b"Unsubscribe" not in contract.content


@pytest.mark.parametrize(
    "url",
    [
        "http://skill.example.jp/{token}",
        "https://skill.example.jp/unsubscribe",
        "https://user:password@skill.example.jp/{token}",
        "https://skill.example.jp/{token}>, <https://evil.example/",
        "https://skill.example.jp/{token}\r\nBcc: all@evil.example",
        "https://{token}.example.jp/",
        "https://skill.example.jp/{token}/" + "x" * 900,
    ],
)
def test_a_url_that_no_mail_program_can_post_to_is_refused(url: str) -> None:
    assert "unsubscribe_url" in settings_problem(replace(CONFIG, unsubscribe_url=url))


def test_a_url_needs_the_address_that_the_batches_read() -> None:
    config = replace(CONFIG, unsubscribe_url="https://skill.example.jp/{token}", unsubscribe_address="")

    assert "unsubscribe_address" in settings_problem(config)


def test_without_settings_the_envelope_has_the_from_address_and_nothing_is_offered() -> None:
    letter = letter_of(message(EMAIL), EmailConfig("mail.example.jp", 587, "報告 <no-reply@example.jp>"))

    assert letter.envelope_sender == "no-reply@example.jp"
    assert {"Reply-To", "List-Unsubscribe", "List-Unsubscribe-Post"}.isdisjoint(parsed(letter.content))


def test_a_message_id_that_fits_no_address_leaves_the_token_out() -> None:
    letter = letter_of(message(EMAIL, message_id="1\r\nBcc: evil@example.com"), CONFIG)

    assert letter.envelope_sender == "no-reply@xn--r8jz45g.jp"
    assert {"List-Unsubscribe", "Bcc"}.isdisjoint(parsed(letter.content))


def test_the_server_sees_the_envelope_sender_with_the_token(tenant: Tenant) -> None:
    config = replace(tenant.email, envelope_sender="bounce+{token}@example.jp")

    assert tenant.send(config, message(EMAIL, message_id=ID)).outcome is Outcome.SENT

    [arrived] = tenant.services.messages
    assert arrived.headers["Return-Path"] == f"<bounce+{ID}@example.jp>"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("sender", "報告"),
        ("reply_to", "help"),
        ("reply_to", "助け@example.jp"),
        ("envelope_sender", "bounce+{token}"),
        ("envelope_sender", "bounce+{token}@example.jp, evil@example.com"),
        ("envelope_sender", "bounce+{token}@example.jp\r\nRCPT TO:<evil@example.com>"),
        ("envelope_sender", "b" * 40 + "+{token}@example.jp"),
        ("unsubscribe_address", "unsubscribe@example.jp"),
        ("unsubscribe_address", "https://example.jp/{token}"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(tenant: Tenant, setting: str, value: str) -> None:
    changes: dict[str, Any] = {setting: value}
    config = replace(tenant.email, **changes)

    result = tenant.send(config, message(EMAIL))

    assert code_of(result) == "not_configured"
    assert ("from_email" if setting == "sender" else setting) in result.detail
    assert result.detail == settings_problem(config)
    assert tenant.services.smtp_connections == 0


@pytest.mark.parametrize(
    ("entered", "sent"),
    [
        ("taro@例え.jp", "taro@xn--r8jz45g.jp"),
        ("taro@例え。JP", "taro@xn--r8jz45g.jp"),
        ("taro@bücher.example", "taro@xn--bcher-kva.example"),
        # IDNA 2003 would make "fass" of it, another domain.
        ("taro@faß.example", "taro@xn--fa-hia.example"),
        ("taro@xn--r8jz45g.jp", "taro@xn--r8jz45g.jp"),
        ("太郎@例え.jp", "太郎@xn--r8jz45g.jp"),
    ],
)
def test_a_domain_is_sent_as_a_labels_of_idna_2008(entered: str, sent: str) -> None:
    address = address_of(entered)

    assert address is not None
    assert (address.text, address.needs_smtputf8) == (sent, "太" in entered)


@pytest.mark.parametrize(
    "text",
    [
        "taro@☃.jp",
        "taro@例え",
        "taro@-例.jp",
        "taro@" + "例" * 64 + ".jp",
        "taro@例え..jp",
        "太" * 22 + "@example.jp",
        "太 郎@example.jp",
        "太\u200b郎@example.jp",
        "太\ud800@example.jp",
        "太\n郎@example.jp",
        "太,郎@example.jp",
        "@例え.jp",
    ],
)
def test_addresses_beyond_idna_or_smtputf8_are_refused(text: str) -> None:
    assert not is_address(text)


def test_a_domain_goes_as_a_labels_into_the_envelope_and_the_header(tenant: Tenant) -> None:
    tenant.send(tenant.email, message(EMAIL, destination="taro@例え.jp"))

    [arrived] = tenant.services.messages
    assert arrived.destination == arrived.headers["To"] == "taro@xn--r8jz45g.jp"


def test_a_local_part_is_sent_unchanged_to_a_smtputf8_server(tenant: Tenant) -> None:
    tenant.services.offer_smtputf8()

    result = tenant.send(tenant.email, message(EMAIL, destination="太郎@例え.jp"))

    assert result.outcome is Outcome.SENT
    [arrived] = tenant.services.messages
    assert arrived.destination == arrived.headers["To"] == "太郎@xn--r8jz45g.jp"
    assert (arrived.subject, arrived.text) == ("極秘の件名", "極秘の本文")


def test_without_smtputf8_only_this_recipient_gets_nothing(tenant: Tenant) -> None:
    results = tenant.send_in_turn(tenant.email, message(EMAIL, destination="太郎@example.jp"), message(EMAIL))

    assert [code_of(result) for result in results] == ["smtputf8_missing", None]
    assert tenant.services.smtp_connections == 1


FILE = MessageFile(
    "請求書-INV-2026-10-001.pdf",
    "k",
    "0",
    True,
    "書類を添付しています。\n",
    "https://i.example/?a=1&b=2\n",
    b"%PDF",
)


@pytest.mark.parametrize("destination", ["taro@example.jp", "太郎@example.jp"])
def test_a_file_is_attached_with_its_name_by_rfc_2231(destination: str) -> None:
    sent = message(EMAIL, destination=destination, text="本文\n", rich="<p>本文</p>", file=FILE)

    letter = letter_of(sent, CONFIG)

    content = parsed(letter.content)
    (attached,) = content.iter_attachments()
    assert isinstance(attached, EmailMessage)
    assert (attached.get_content_type(), attached.get_filename()) == ("application/pdf", FILE.name)
    assert attached.get_content() == b"%PDF"
    if destination.isascii():
        assert b"filename*=utf-8''%E8%AB%8B" in letter.content.replace(b"filename*0*", b"filename*")
    text, rich = content.get_body(("plain",)), content.get_body(("html",))
    assert text is not None
    assert rich is not None
    assert text.get_content().splitlines() == ["本文", "", "書類を添付しています。"]
    assert rich.get_content().splitlines() == ["<p>本文</p>", "<p>書類を添付しています。</p>"]


def test_html_without_the_file_has_the_link_as_text() -> None:
    sent = message(EMAIL, rich="<p>本文</p>", file=replace(FILE, content=None))

    content = parsed(letter_of(sent, CONFIG).content)

    rich = content.get_body(("html",))
    assert rich is not None
    assert "<p>https://i.example/?a=1&amp;b=2</p>" in rich.get_content()
    assert list(content.iter_attachments()) == []


RECIPIENTS = (
    ("to", "a..b.@docomo.ne.jp"),
    ("to", "経理@例え.jp"),
    ("cc", "audit@日本語.jp"),
    ("cc", "evil@x.example\r\nBcc: all@x.example"),
)


def test_a_letter_names_all_recipients_but_its_envelope_has_one() -> None:
    sent = message(EMAIL, destination="audit@日本語.jp", recipients=RECIPIENTS)

    letter = letter_of(sent, CONFIG)

    headers = parsed(letter.content)
    assert (headers["To"], headers["Cc"]) == ("a..b.@docomo.ne.jp", "audit@xn--wgv71a119e.jp")
    assert "Bcc" not in headers
    assert letter.recipient.text == "audit@xn--wgv71a119e.jp"
    assert letter.content.isascii()


def test_a_letter_to_an_international_address_names_such_addresses_too() -> None:
    letter = letter_of(message(EMAIL, destination="経理@例え.jp", recipients=RECIPIENTS), CONFIG)

    assert "To: a..b.@docomo.ne.jp,\r\n 経理@xn--r8jz45g.jp\r\n".encode() in letter.content


def test_a_letter_that_can_name_no_recipient_names_its_own() -> None:
    recipients = (("to", "経理@例え.jp"), ("cc", "audit@a.example"))

    letter = letter_of(message(EMAIL, destination="audit@a.example", recipients=recipients), CONFIG)

    assert parsed(letter.content)["To"] == "audit@a.example"


@pytest.mark.parametrize("name", ["長い名前の株式会社" * 5, "x" * 70, "Long Name Incorporated " * 3])
@pytest.mark.parametrize("subject", ["x" * 74, "x" * 200, f"【訂正】{'x' * 100}"])
def test_no_folded_header_begins_with_an_empty_line(name: str, subject: str) -> None:
    address = f"{'a' * 60}@{'b' * 60}.example.jp"
    config = replace(
        CONFIG, sender=f"{name} <{address}>", reply_to=address, unsubscribe_address=f"u+{{token}}{address}"
    )
    recipients = (("to", address), ("to", "x@example.jp"), ("cc", address))
    sent = message(
        EMAIL,
        message_id="m" * 120,
        destination=address,
        subject=subject,
        recipients=recipients,
        file=MessageFile(f"{'報告' * 40}.pdf", "k", "0" * 64, True, "添付", "", b"%PDF"),
    )

    lines = letter_of(sent, config).content.split(b"\r\n")

    assert [line for line in lines if line.rstrip().endswith(b":") and line[:1].strip()] == []
    assert max(map(len, lines)) < 998
    assert parsed(b"\r\n".join(lines))["Subject"] == subject


def encoded_word(text: str) -> str:
    """The text as an encoded word (RFC 2047), which Python's header parser decodes."""
    return f"=?utf-8?b?{b64encode(text.encode()).decode()}?="


HOSTILE = (
    encoded_word("x\r\nBcc: all@evil.example\r\n\r\nother content"),
    encoded_word("x\nBcc: all@evil.example"),
    encoded_word("x\rBcc: all@evil.example"),
    "=?utf-8?q?x=0D=0ABcc:_all@evil.example?=",
    f"{'件' * 60} {encoded_word(chr(13) + chr(10) + 'Bcc: all@evil.example')} {'x ' * 60}",
    "=?",
)


@pytest.mark.parametrize("destination", ["taro@example.jp", "太郎@example.jp"])
@pytest.mark.parametrize("text", HOSTILE)
def test_an_encoded_word_of_a_tenant_is_shown_as_it_is(text: str, destination: str) -> None:
    config = replace(CONFIG, sender=f"{text} <no-reply@example.jp>")
    file = replace(FILE, name=f"{text}.pdf")
    sent = message(EMAIL, destination=destination, subject=text, text="本文\n", file=file)

    content = letter_of(sent, config).content

    letter = parsed(content)
    assert "Bcc" not in letter
    subject, sender = (decoded(content, name) for name in ("Subject", "From"))
    assert "".join(subject.split()) == "".join(text.split())
    assert "".join(sender.split()) == f"{''.join(text.split())}<no-reply@example.jp>"
    [attached] = letter.iter_attachments()
    assert attached.get_filename() == f"{text}.pdf"
    assert "本文" in letter.get_body(("plain",)).get_content()  # type: ignore[union-attr]


def decoded(content: bytes, name: str) -> str:
    """The value of a header with its encoded words decoded once, as a mail program shows it."""
    header = message_from_bytes(content, policy=compat32)[name]
    return str(make_header(decode_header(header)))


@pytest.mark.parametrize("text", ["=?utf-8?b?YUBldmlsLmpwLA==?=", "a=?b", "=?utf-8?q?a=40evil.example=2C?="])
def test_an_encoded_word_is_no_local_part(text: str, tenant: Tenant) -> None:
    address = f"{text}@example.jp"

    assert not is_address(address)
    assert settings_problem(replace(CONFIG, reply_to=address)).startswith("返信先")
    assert settings_problem(replace(CONFIG, sender=address)).startswith("送信元")
    for recipients in ((("to", address), ("to", "b@example.jp")), (("cc", address), ("to", "b@example.jp"))):
        sent = message(EMAIL, destination="b@example.jp", recipients=recipients)
        assert b"evil" not in letter_of(sent, CONFIG).content
    assert code_of(tenant.send(tenant.email, message(EMAIL, destination=address))) == "invalid_address"


@pytest.mark.parametrize("line_break", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("follows", ["Bcc: all@evil.example", "", "\r\n text"])
def test_a_header_that_would_begin_another_one_fails_its_message_alone(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, line_break: str, follows: str
) -> None:
    # The subject of this class is written as it comes, as an encoder with a bug would.
    monkeypatch.setattr(
        TextHeader, "fold", lambda self, policy: f"{self.name}: {self.unsafe}{policy.linesep}"
    )
    monkeypatch.setattr(
        TextHeader,
        "unsafe",
        property(lambda self: f"x{line_break}{follows}" if str(self) == "bad" else str(self)),
        raising=False,
    )
    bad, good = message(EMAIL, subject="bad"), message(EMAIL, subject="good")

    results = tenant.send_in_turn(tenant.email, bad, good)

    assert [code_of(result) for result in results] == ["unsafe_header", None]
    assert [arrived.headers["Subject"] for arrived in tenant.services.messages] == ["good"]
