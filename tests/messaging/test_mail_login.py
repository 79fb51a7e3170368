"""The login to the mail server by a token of OAuth 2."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from include.skillreport.core.network import EmailConfig, OAuthConfig
from include.skillreport.messaging.channels.channel import ChannelClient
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.email.login import password_will_stop
from include.skillreport.messaging.outcome import ErrorClass, Outcome, SendResult
from tests.messaging.sending import SECRETS, Tenant, code_of, message


def test_all_connections_share_one_token(tenant: Tenant) -> None:
    tenant.services.latency("email", 0.01)

    results = tenant.send_all(tenant.email_by_token, *[message(EMAIL)] * 6)

    assert {result.outcome for result in results} == {Outcome.SENT}
    assert tenant.services.smtp_connections > 1
    assert tenant.services.mail_tokens_issued == 1


def test_a_token_that_expires_soon_is_replaced(tenant: Tenant) -> None:
    tenant.services.shorten_mail_tokens(0)

    async def on_two_connections(client: ChannelClient) -> list[SendResult]:
        first = await client.send(message(EMAIL))
        await client.aclose()
        return [first, await client.send(message(EMAIL))]

    results = tenant.using(tenant.email_by_token, on_two_connections)

    assert {result.outcome for result in results} == {Outcome.SENT}
    assert tenant.services.mail_tokens_issued == 2


def test_a_token_that_the_server_refuses_is_replaced_once(tenant: Tenant) -> None:
    async def revoked_meanwhile(client: ChannelClient) -> list[SendResult]:
        first = await client.send(message(EMAIL))
        await client.aclose()
        tenant.services.revoke_mail_tokens()
        return [first, await client.send(message(EMAIL))]

    results = tenant.using(tenant.email_by_token, revoked_meanwhile)

    assert {result.outcome for result in results} == {Outcome.SENT}
    assert tenant.services.mail_tokens_issued == 2


def test_a_server_that_refuses_every_token_is_a_credential_failure(tenant: Tenant) -> None:
    tenant.services.fail_next("email", "535", times=9)

    assert code_of(tenant.send(tenant.email_by_token, message(EMAIL))) == "535"
    assert tenant.services.mail_tokens_issued == 2


def test_a_refused_token_is_a_credential_failure(tenant: Tenant) -> None:
    tenant.services.fail_next("mail_auth", "invalid_client", times=9)

    result = tenant.send(tenant.email_by_token, message(EMAIL))

    assert result.error is not None
    assert (result.error.code, result.error.error_class) == ("token_refused", ErrorClass.CREDENTIAL)
    assert result.detail == "HTTP 400 invalid_client"
    assert tenant.services.smtp_connections == 0


@pytest.mark.parametrize("status", [429, 503, None])
def test_a_token_server_that_does_not_work_is_tried_later(tenant: Tenant, status: int | None) -> None:
    config = tenant.email_by_token
    if status:
        tenant.services.fail_next("mail_auth", status)
    else:
        assert config.oauth is not None
        config = replace(config, oauth=replace(config.oauth, token_url="https://token.invalid/token"))

    result = tenant.send(config, message(EMAIL))

    assert (code_of(result), result.outcome) == ("connection_refused", Outcome.TRANSIENT)
    assert result.detail.startswith("token: ")


def test_a_fixed_token_is_used_as_it_is(tenant: Tenant) -> None:
    config = replace(tenant.email, password="", oauth=OAuthConfig(access_token="fixed-very-secret"))

    assert code_of(tenant.send(config, message(EMAIL))) == "535"
    assert (tenant.services.mail_tokens_issued, tenant.services.smtp_connections) == (0, 1)


def test_the_address_guard_applies_to_the_token_server(tenant: Tenant) -> None:
    oauth = OAuthConfig("client-1", "client-very-secret", "http://10.0.0.1/token", "scope")

    result = tenant.send(replace(tenant.email, oauth=oauth), message(EMAIL))

    assert code_of(result) == "refused_address"


def test_tokens_and_secrets_are_masked_and_never_shown(
    tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    masked: list[str] = []
    config = tenant.email_by_token
    assert config.oauth is not None
    config = replace(config, oauth=replace(config.oauth, mask=masked.append))
    tenant.services.fail_next("email", "535")

    results = tenant.send_in_turn(config, message(EMAIL), message(EMAIL))

    assert len(masked) == tenant.services.mail_tokens_issued == 2
    shown = "\n".join([repr(results), repr(config), caplog.text])
    assert [secret for secret in (*SECRETS, *masked) if secret in shown] == []


@pytest.mark.parametrize(
    ("host", "changed", "stops"),
    [
        ("smtp.office365.com", {}, True),
        ("SMTP.Office365.com", {}, True),
        ("smtp.office365.com", {"login": ""}, False),
        (
            "smtp.office365.com",
            {"oauth": OAuthConfig(access_token="x")},
            False,
        ),
        ("smtp-hve.office365.com", {}, False),
        ("mail.example.jp", {}, False),
    ],
)
def test_the_passwords_of_exchange_online_will_stop(host: str, changed: dict[str, Any], stops: bool) -> None:
    config = EmailConfig(host, 587, "a@example.jp", login="a@example.jp", password="secret")
    assert password_will_stop(replace(config, **changed)) is stops
