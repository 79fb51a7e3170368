"""E-mail by SMTP: the letter, the dialogue with the server, and the meaning of its replies."""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from include.skillreport.core.network import EmailConfig
from include.skillreport.messaging.channels.channel import ChannelClient
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.outcome import Outcome, SendResult
from local_stack.stand_ins import Arrived
from tests.messaging.raw_server import answering
from tests.messaging.sending import SECRETS, Tenant, code_of, message
from tests.waiting import wait_until
from tests.worlds.encrypted_servers import encrypted, make_certificate


def arrived(tenant: Tenant) -> Arrived:
    """The only letter."""
    [letter] = tenant.services.messages
    return letter


class TestTheLetter:
    def test_has_text_and_html_in_japanese(self, tenant: Tenant) -> None:
        sent = message(EMAIL, subject="利用量のお知らせ①", text="本文\n.\n最後の行", rich="<p>本文</p>")

        result = tenant.send(tenant.email, sent)

        letter = arrived(tenant)
        assert result.outcome is Outcome.SENT
        assert letter.destination == letter.headers["To"] == sent.destination
        assert (letter.subject, letter.text, letter.rich) == (sent.subject, sent.text, "<p>本文</p>\n"[:-1])
        assert letter.headers["Content-Type"].startswith("multipart/alternative")

    def test_is_of_seven_bits_whatever_it_says(self, tenant: Tenant) -> None:
        tenant.send(tenant.email, message(EMAIL, subject="長い件名" * 60))

        letter = arrived(tenant)
        assert all(value.isascii() for value in letter.headers.values())
        assert letter.subject == "長い件名" * 60

    def test_names_its_sender_in_japanese(self, tenant: Tenant) -> None:
        tenant.send(tenant.email, message(EMAIL))

        assert arrived(tenant).headers["From"] == "=?utf-8?b?44K544Kt44Or5aCx5ZGK?= <no-reply@example.co.jp>"

    def test_keeps_its_message_id_over_retries(self, tenant: Tenant) -> None:
        tenant.services.drop_connection("email")

        first, second = tenant.send_in_turn(tenant.email, message(EMAIL), message(EMAIL))

        ids = {letter.headers["Message-ID"] for letter in tenant.services.messages}
        assert ids == {"<01JABCDEFGHJKMNPQRSTVWXYZ0@example.co.jp>"} == {second.provider_message_id}
        assert (first.outcome, second.outcome) == (Outcome.AMBIGUOUS, Outcome.SENT)

    def test_keeps_a_message_id_longer_than_a_line_in_one_piece(self, tenant: Tenant) -> None:
        tenant.send(tenant.email, message(EMAIL, message_id="m" * 120))

        assert arrived(tenant).headers["Message-ID"].strip() == f"<{'m' * 120}@example.co.jp>"

    def test_is_dated(self, tenant: Tenant) -> None:
        before = datetime.now(UTC).replace(microsecond=0)

        tenant.send(tenant.email, message(EMAIL))

        assert before <= parsedate_to_datetime(arrived(tenant).headers["Date"]) <= datetime.now(UTC)

    def test_offers_nothing_that_is_not_configured(self, tenant: Tenant) -> None:
        tenant.send(tenant.email, message(EMAIL))

        assert not any(name.startswith("List-Unsubscribe") for name in arrived(tenant).headers)


@pytest.mark.parametrize("line_break", ["\r\n", "\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\0"])
def test_no_value_makes_a_header_of_its_own(tenant: Tenant, line_break: str) -> None:
    evil = f"件名{line_break}Bcc: evil@example.com{line_break * 2}本文"
    config = replace(
        tenant.email,
        sender=f"送信元{line_break}Bcc: evil@example.com <no-reply@example.co.jp>",
    )

    result = tenant.send(
        config, message(EMAIL, subject=evil, message_id=f"1{line_break}Bcc: evil@example.com")
    )

    letter = arrived(tenant)
    assert result.outcome is Outcome.SENT
    assert "Bcc" not in letter.headers
    assert letter.destination == "taro.yamada@example.co.jp"
    assert letter.subject.split() == ["件名", "Bcc:", "evil@example.com", "本文"]
    assert letter.headers["From"].startswith("=?utf-8?b?")
    assert letter.headers["From"].endswith(" <no-reply@example.co.jp>")


class TestARecipient:
    @pytest.mark.parametrize(
        "address",
        [
            "taro.yamada@example.co.jp",
            "taro+skills@example.co.jp",
            "a..b@docomo.ne.jp",
            "taro.@ezweb.ne.jp",
            "o'brien@mail.example.com",
            "x@xn--wgv71a.jp",
            "a" * 64 + "@example.co.jp",
        ],
    )
    def test_that_is_in_use_somewhere_is_written_to(self, tenant: Tenant, address: str) -> None:
        result = tenant.send(tenant.email, message(EMAIL, destination=address))

        assert result.outcome is Outcome.SENT
        assert arrived(tenant).destination == address

    @pytest.mark.parametrize(
        "address",
        [
            "",
            "taro",
            "taro@",
            "@example.co.jp",
            "taro@localhost",
            "taro@example..jp",
            "taro@-example.jp",
            "taro@example.jp.",
            "taro@[127.0.0.1]",
            "ta ro@example.co.jp",
            "太 郎@example.co.jp",
            "taro@例え",
            "taro@example.co.jp ",
            "taro@example.co.jp\r\nBcc: evil@example.com",
            "taro@example.co.jp\n",
            "taro@example.co.jp,evil@example.com",
            "taro@example.co.jp>\r\nRCPT TO:<evil@example.com",
            "山田 <taro@example.co.jp>",
            '"taro"@example.co.jp',
            "a" * 65 + "@example.co.jp",
            "taro@" + "a." * 125 + "jp",
        ],
    )
    def test_whose_address_is_none_is_refused_before_sending(self, tenant: Tenant, address: str) -> None:
        sent = message(EMAIL, destination=address)

        assert code_of(tenant.check(tenant.email, sent)) == "invalid_address"
        assert code_of(tenant.send(tenant.email, sent)) == "invalid_address"
        assert tenant.services.smtp_connections == 0


class TestAReply:
    @pytest.mark.parametrize(
        ("reply", "code"),
        [
            ("552 5.2.2 Mailbox full", "5.2.2"),
            ("450 5.1.1 Known by its enhanced code", "5.1.1"),
            ("550 4.7.1 Greylisted", "4.7"),
            ("550 5.7.26 Unauthenticated mail", "policy"),
            ("550 5.1.10 Null MX", "5.1.10"),
            ("550 5.1.8 Sender domain", "5.1.8"),
            ("550 5.2.1 Mailbox disabled", "5.2.1"),
            ("452 4.2.2 Mailbox full for now", "smtp_4"),
            ("550 No such user here", "smtp_5"),
            ("450 Try again", "smtp_4"),
            ("432 4.3.2 Concurrent connections limit exceeded", "4.3.2"),
            ("421 4.3.2 Closing", "421"),
            ("421 4.7.0 Try again later", "421"),
            ("421 Too many connections", "421"),
            ("454 Throttling failure: Maximum sending rate exceeded.", "throttled"),
            ("454 4.7.0 Throttling failure: Maximum sending rate exceeded.", "throttled"),
            ("454 Throttling failure: Daily message quota exceeded.", "daily_limit"),
            ("454 4.7.0 Throttling failure: Daily message quota exceeded.", "daily_limit"),
            ("554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException", "daily_limit"),
            ("554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException", "sender_unverified"),
            ("550 5.2.2 Submission quota exceeded", "daily_limit"),
            ("550 5.1.90 You have reached your daily limit for message recipients", "daily_limit"),
            ("550 5.7.1 Daily SMTP relay limit exceeded for customer", "daily_limit"),
            ("550 5.4.5 Daily user sending limit exceeded", "daily_limit"),
            ("550 5.4.5 Too much", "5.4.5"),
            ("550 5.7.233 Too much", "5.7.233"),
            ("550 5.2.251 Sender throttled due to continuous mailbox full errors", "550 5.2.251"),
            ("550 5.2.252 Sender throttled due to continuous send as denied errors", "sender_unverified"),
            ("554 5.2.252 SendAsDenied", "sender_unverified"),
            ("450 4.2.1 Peak SMTP relay limit exceeded for customer", "throttled"),
            ("450 4.2.1 The user you are trying to contact is receiving mail too quickly", "4.2.1"),
            ("452 4.5.3 Too many recipients", "4.5.3"),
            ("452 4.2.2 The mailbox is over its daily quota", "smtp_4"),
            ("550 5.1.1 User unknown, daily limit of unknown users reached", "5.1.1"),
            ("450 4.7.1 Greylisted", "4.7"),
            ("451 4.7.500 Server busy", "4.7"),
            ("550 5.1.1 <daily.limit@example.co.jp> No such user", "5.1.1"),
            ("550-5.1.1 The account\r\n550 5.1.1 does not exist", "5.1.1"),
            ("550 see 5.1.1", "smtp_5"),
            ("252 Cannot tell", "unknown"),
        ],
    )
    def test_to_the_recipient_is_read_by_its_most_exact_code(
        self, tenant: Tenant, reply: str, code: str
    ) -> None:
        tenant.services.refuse_recipient("taro.yamada@example.co.jp", reply)

        assert code_of(tenant.send(tenant.email, message(EMAIL))) == code

    @pytest.mark.parametrize("command", ["AUTH", "MAIL", "RCPT", "DATA"])
    @pytest.mark.parametrize(
        "reply",
        [
            "421 4.7.0 Try again later",
            "432 4.3.2 Concurrent connections limit exceeded",
            "454 Throttling failure: Maximum sending rate exceeded.",
            "550 5.4.5 Daily user sending limit exceeded",
        ],
    )
    def test_that_asks_for_less_is_no_attempt_whatever_it_answers(
        self, tenant: Tenant, command: str, reply: str
    ) -> None:
        tenant.services.fail_next("email", reply, command=command, times=9)

        result = tenant.send(tenant.email, message(EMAIL))

        assert (result.is_refused_for_rate, result.counts_as_attempt) == (True, False)
        assert tenant.services.messages == []

    def test_instead_of_a_greeting_is_read_as_any_other(self, tenant: Tenant) -> None:
        with answering(b"421 4.7.0 Too many connections\r\n", speaks_first=True) as port:
            result = tenant.send(replace(tenant.email, port=port), message(EMAIL))

        assert code_of(result) == "421"

    @pytest.mark.parametrize(
        ("command", "reply", "code"),
        [
            ("AUTH", "535 5.7.8 Bad credentials", "535"),
            ("AUTH", "535 Bad credentials", "535"),
            ("AUTH", "454 4.7.0 Come back later", "throttled"),
            ("MAIL", "450 4.7.1 Too much mail from you", "throttled"),
            ("MAIL", "450 4.2.1 Not now", "throttled"),
            ("MAIL", "550 5.7.1 Not your domain", "5.7"),
            ("MAIL", "553 5.1.2 No such sender", "5.7"),
            ("MAIL", "501 Bad sender", "5.7"),
            ("MAIL", "451 4.3.0 Not now", "4.3"),
        ],
    )
    def test_before_the_recipient_was_named_is_about_us(
        self, tenant: Tenant, command: str, reply: str, code: str
    ) -> None:
        tenant.services.fail_next("email", reply, command=command, times=9)

        result = tenant.send(tenant.email, message(EMAIL))

        assert code_of(result) == code
        assert tenant.services.messages == []

    @pytest.mark.parametrize(
        ("reply", "code"),
        [
            ("554 5.7.1 Spam", "policy"),
            ("552 5.2.2 Full", "5.2.2"),
            ("450 Later", "smtp_4"),
            ("554 No", "smtp_5"),
        ],
    )
    def test_to_the_letter_is_a_refusal_and_no_doubt(self, tenant: Tenant, reply: str, code: str) -> None:
        tenant.services.fail_next("email", reply, command="DATA")

        assert code_of(tenant.send(tenant.email, message(EMAIL))) == code

    def test_that_is_none_leaves_open_whether_the_letter_arrived(self, tenant: Tenant) -> None:
        tenant.services.fail_next("email", "what?", command="DATA")

        assert code_of(tenant.send(tenant.email, message(EMAIL))) == "connection_lost"

    def test_is_shown_by_its_codes_only(self, tenant: Tenant) -> None:
        tenant.services.fail_next("email", "550 5.1.1 <taro.yamada@example.co.jp>: no such user")

        assert tenant.send(tenant.email, message(EMAIL)).detail == "SMTP 550 5.1.1"


class TestTheConnection:
    def test_that_is_lost_before_the_letter_leaves_no_doubt(self, tenant: Tenant) -> None:
        tenant.services.drop_connection("email", command="MAIL")

        result = tenant.send(tenant.email, message(EMAIL))

        assert code_of(result) == "connection_refused"

    def test_that_is_lost_after_the_letter_leaves_it_open(self, tenant: Tenant) -> None:
        tenant.services.drop_connection("email")

        assert code_of(tenant.send(tenant.email, message(EMAIL))) == "connection_lost"

    def test_without_an_answer_is_none(self, tenant: Tenant) -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            config = replace(tenant.email, port=mute.getsockname()[1])

            assert code_of(tenant.impatient.send(config, message(EMAIL))) == "connection_refused"

    @pytest.mark.parametrize("host", ["mail.invalid", "mail..example.com", "m" * 64 + ".example.com"])
    def test_to_a_host_without_address_is_none(self, tenant: Tenant, host: str) -> None:
        config = replace(tenant.email, host=host)

        assert code_of(tenant.send(config, message(EMAIL))) == "connection_refused"

    def test_is_used_for_one_message_after_the_other(self, tenant: Tenant) -> None:
        tenant.services.refuse_recipient("hanako@example.co.jp", "5.1.1")
        letters = [
            message(EMAIL),
            message(EMAIL, destination="hanako@example.co.jp"),
            message(EMAIL),
        ]

        results = tenant.send_in_turn(tenant.email, *letters)

        assert [code_of(result) for result in results] == [None, "5.1.1", None]
        assert tenant.services.smtp_connections == 1

    def test_that_the_server_closed_meanwhile_is_made_anew(self, tenant: Tenant) -> None:
        async def with_a_pause(client: ChannelClient) -> list[SendResult]:
            first = await client.send(message(EMAIL))
            tenant.services.drop_connection("email", command="MAIL")
            return [first, await client.send(message(EMAIL))]

        results = tenant.using(tenant.email, with_a_pause)

        assert {result.outcome for result in results} == {Outcome.SENT}
        assert tenant.services.smtp_connections == 2

    def test_is_closed_after_a_refusal_for_the_rate(self, tenant: Tenant) -> None:
        """The server counts idle connections too."""

        async def refused(client: ChannelClient) -> list[SendResult]:
            results = list(await asyncio.gather(*[client.send(message(EMAIL)) for _ in range(3)]))
            tenant.services.fail_next("email", "4.3.2", command="MAIL")
            results.append(await client.send(message(EMAIL)))
            await asyncio.to_thread(
                wait_until, lambda: tenant.services.open_smtp_connections == 0, "the connections close"
            )
            return results

        results = tenant.using(tenant.email, refused)

        assert [code_of(result) for result in results] == [None, None, None, "4.3.2"]

    def test_is_not_used_again_after_a_message_that_was_abandoned(self, tenant: Tenant) -> None:
        async def abandoned(client: ChannelClient) -> SendResult:
            with tenant.services.held("email"):
                sending = asyncio.create_task(client.send(message(EMAIL)))
                await asyncio.to_thread(
                    wait_until, lambda: bool(tenant.services.messages), "the letter arrives"
                )
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
            return await client.send(message(EMAIL))

        assert tenant.using(tenant.email, abandoned).outcome is Outcome.SENT
        assert tenant.services.smtp_connections == 2


class TestEncryption:
    @pytest.mark.parametrize("security", ["starttls", "tls"])
    def test_reaches_a_server_whose_certificate_is_good(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, security: str
    ) -> None:
        certificate = make_certificate(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

        with encrypted(certificate, security) as services:
            tenant = Tenant(services)
            result = tenant.send(replace(tenant.email, security=security), message(EMAIL))
            assert result.outcome is Outcome.SENT
            assert len(services.messages) == 1

    @pytest.mark.parametrize("security", ["starttls", "tls"])
    def test_does_not_reach_a_server_with_an_untrusted_certificate(
        self, tmp_path: Path, security: str
    ) -> None:
        with encrypted(make_certificate(tmp_path), security) as services:
            tenant = Tenant(services)
            result = tenant.send(replace(tenant.email, security=security), message(EMAIL))

            assert code_of(result) == "certificate_refused"
            assert services.messages == []

    def test_is_not_done_without_because_the_server_does_not_offer_it(self, tenant: Tenant) -> None:
        result = tenant.send(replace(tenant.email, security="starttls"), message(EMAIL))

        assert code_of(result) == "5.7"
        assert "STARTTLS" in result.detail
        assert tenant.services.messages == []

    def test_must_be_said_how(self, tenant: Tenant) -> None:
        assert code_of(tenant.send(replace(tenant.email, security="ssl"), message(EMAIL))) == "not_configured"


class TestTheDailyCheck:
    def test_finds_nothing_wrong_with_what_is_right_and_sends_nothing(self, tenant: Tenant) -> None:
        assert tenant.validate(tenant.email, "taro@example.co.jp") == []
        assert tenant.services.smtp_connections == 1
        assert tenant.services.messages == []

    def test_leaves_nothing_behind_that_the_next_message_would_trip_over(self, tenant: Tenant) -> None:
        async def check_and_send(client: ChannelClient) -> SendResult:
            await client.validate()
            return await client.send(message(EMAIL))

        assert tenant.using(tenant.email, check_and_send).outcome is Outcome.SENT
        assert tenant.services.smtp_connections == 1

    @pytest.mark.parametrize(("command", "code"), [("AUTH", "535"), ("MAIL", "5.7"), ("MAIL", "smtp_4")])
    def test_finds_what_the_server_does_not_want(self, tenant: Tenant, command: str, code: str) -> None:
        tenant.services.fail_next("email", code, command=command, times=9)

        [found] = tenant.validate(tenant.email)

        assert found.error.code == code

    def test_finds_a_destination_that_is_none(self, tenant: Tenant) -> None:
        [found] = tenant.validate(tenant.email, "taro@example.co.jp", "hanako@")

        assert (found.error.code, found.destination) == ("invalid_address", "hanako@")
        assert "hanako" not in repr(found)

    def test_finds_a_host_that_is_none(self, tenant: Tenant) -> None:
        [found] = tenant.validate(replace(tenant.email, host="mail.example.com\nEHLO"))

        assert found.error.code == "not_configured"

    @pytest.mark.parametrize("sender", ["", "no-reply", "スキル報告", "a@b@example.co.jp"])
    def test_finds_a_sender_that_is_none(self, tenant: Tenant, sender: str) -> None:
        [found] = tenant.validate(replace(tenant.email, sender=sender))

        assert found.error.code == "not_configured"


@pytest.mark.parametrize("fault", ["", "535", "550 5.1.1 <taro@example.co.jp>", "5.7", "hang up"])
def test_no_secret_is_shown_whatever_happens(
    tenant: Tenant, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    caplog.set_level(logging.DEBUG)
    if fault == "hang up":
        tenant.services.drop_connection("email")
    elif fault:
        tenant.services.fail_next("email", fault, times=4)

    result = tenant.send(tenant.email, message(EMAIL))

    everything = "\n".join([repr(result), repr(tenant.email), caplog.text])
    assert [secret for secret in SECRETS if secret in everything] == []


def test_a_configs_defaults_are_encrypted() -> None:
    assert EmailConfig("mail.example.com", 587, "no-reply@example.co.jp").security == "starttls"
