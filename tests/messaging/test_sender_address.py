"""The sender of a letter is split and written by one rule, the same on all Pythons, and arrives as one mailbox."""

from __future__ import annotations

import json
from dataclasses import replace
from email import message_from_bytes
from email.headerregistry import Address, AddressHeader
from email.policy import default as default_policy
from typing import Any

import pytest

from include.skillreport.core.network import EmailConfig
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.email.letter import letter_of, sender_of, settings_problem
from include.skillreport.messaging.integrations import config_of
from include.skillreport.messaging.outcome import Outcome
from tests.messaging.sending import REFUSED, SENDERS, Tenant, code_of, message


def config(sender: str) -> EmailConfig:
    return EmailConfig("mail.example.jp", 587, sender)


@pytest.mark.parametrize(("entered", "expected"), SENDERS.items())
def test_the_last_angle_brackets_hold_the_senders_address(entered: str, expected: tuple[str, str]) -> None:
    assert settings_problem(config(entered)) == ""
    assert sender_of(config(entered)) == expected


@pytest.mark.parametrize(("entered", "reason"), REFUSED.items())
def test_a_refusal_says_what_is_wrong(entered: str, reason: str) -> None:
    problem = settings_problem(config(entered))

    assert problem.startswith("送信元（from_email）")
    assert reason in problem
    assert settings_problem(replace(config(entered), is_tenants=True)).startswith("送信元（from_address）")


@pytest.mark.parametrize("destination", ["taro@example.jp", "太郎@example.jp"])
@pytest.mark.parametrize(("entered", "expected"), SENDERS.items())
def test_the_header_has_one_mailbox_also_for_international_recipients(
    entered: str, expected: tuple[str, str], destination: str
) -> None:
    content = letter_of(message(EMAIL, destination=destination), config(entered)).content

    [address] = read_from(content)
    assert (without_blanks(address.display_name), address.addr_spec) == (
        without_blanks(expected[0]),
        expected[1],
    )
    head = content.partition(b"\r\n\r\n")[0]
    assert destination.isascii() == head.isascii()
    assert max(map(len, head.split(b"\r\n"))) < 998


@pytest.mark.parametrize("destination", ["taro@example.jp", "太郎@example.jp"])
@pytest.mark.parametrize("line_break", ["\r\n", "\r\n ", "\n", "\r", "\u2028", "\0"])
def test_no_name_makes_a_header_or_a_mailbox_of_its_own(line_break: str, destination: str) -> None:
    entered = f'送信元", evil@example.com{line_break}Bcc: evil@example.com, "x <no-reply@example.jp>'

    content = letter_of(message(EMAIL, destination=destination), config(entered)).content

    letter = message_from_bytes(content, policy=default_policy)
    assert "Bcc" not in letter
    assert [address.addr_spec for address in read_from(content)] == ["no-reply@example.jp"]


def test_the_name_of_a_tenants_own_server_may_have_any_characters(tenant: Tenant) -> None:
    for name in ("通知: 本社, 総務", 'Acme "K.K.", Inc.', "営業 <東京>", ""):
        row: dict[str, Any] = {
            "endpoint_url": "mail.example.jp:587",
            "auth_config": '{"username": "u", "password": "p"}',
            "connection_config": {"from_address": "a@example.jp", "from_name": name},
        }
        row["connection_config"] = json.dumps(row["connection_config"])
        server = config_of(EMAIL, row)
        assert isinstance(server, EmailConfig)

        assert sender_of(server) == (name, "a@example.jp")
        assert (
            tenant.send(replace(tenant.email, sender=server.sender), message(EMAIL)).outcome is Outcome.SENT
        )

    assert len(tenant.services.messages) == 4
    assert all("<a@example.jp>" in each.headers["From"] for each in tenant.services.messages[:3])


def test_several_addresses_are_refused_before_the_server_is_called(tenant: Tenant) -> None:
    result = tenant.send(replace(tenant.email, sender="a@example.jp, b@example.jp"), message(EMAIL))

    assert code_of(result) == "not_configured"
    assert "2 つ以上" in result.detail
    assert tenant.services.smtp_connections == 0


def read_from(content: bytes) -> tuple[Address, ...]:
    """The mailboxes in ``From``, as a mail program reads them."""
    # The parser of bytes does not decode UTF-8 in headers.
    header = message_from_bytes(content, policy=default_policy)["From"]
    assert isinstance(header, AddressHeader)
    text = str(header).encode("utf-8", "surrogateescape").decode()
    again = default_policy.header_factory("From", text)
    assert isinstance(again, AddressHeader)
    assert len(again.groups) == len(again.addresses)
    return again.addresses


def without_blanks(text: str) -> str:
    """Python's parser shows a blank between encoded words, which is none (RFC 2047, section 6.2)."""
    return "".join(text.split())
