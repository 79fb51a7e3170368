"""LINE WORKS: access tokens, destinations, messages."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.messaging.channels.channel import ChannelClient
from include.skillreport.messaging.channels.line_works import LINE_WORKS, LineWorksConfig
from include.skillreport.messaging.outcome import Outcome, SendResult
from tests.messaging.sending import SECRETS, Tenant, code_of, key_pair, message
from tests.waiting import wait_until


def large_key() -> str:
    """A key of 4,484 bits, of two Mersenne primes: to look for others takes long."""
    prime, other = 2**2203 - 1, 2**2281 - 1
    private = rsa.rsa_recover_private_exponent(65_537, prime, other)
    crt = (
        rsa.rsa_crt_dmp1(private, prime),
        rsa.rsa_crt_dmq1(private, other),
        rsa.rsa_crt_iqmp(prime, other),
    )
    public = rsa.RSAPublicNumbers(65_537, prime * other)
    key = rsa.RSAPrivateNumbers(prime, other, private, *crt, public).private_key()
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


@pytest.mark.parametrize(
    "destination",
    [
        "users/taro@example",
        "users/b1b2b3b4-0000-1111-2222-333344445555",
        "channels/d1d2d3d4-0000-1111-2222-333344445555",
        "users/../../bots/1/users/hanako",
        "users/a?b#c%2Fd",
        "users/山田 太郎",
    ],
)
def test_a_message_reaches_user_or_room_however_the_id_is_written(tenant: Tenant, destination: str) -> None:
    result = tenant.send(tenant.line_works, message(LINE_WORKS, destination=destination))

    [arrived] = tenant.services.messages
    assert (arrived.destination, arrived.text) == (destination, "極秘の本文")
    assert (result.outcome, result.provider_message_id) == (Outcome.SENT, None)


@pytest.mark.parametrize("destination", ["", "taro", "users/", "users", "rooms/1", "users/.", "channels/.."])
def test_anything_else_is_no_destination(tenant: Tenant, destination: str) -> None:
    assert (
        code_of(tenant.check(tenant.line_works, message(LINE_WORKS, destination=destination))) == "NOT_FOUND"
    )


@pytest.mark.parametrize(("length", "code"), [(2_000, None), (2_001, "too_long")])
def test_a_text_has_two_thousand_characters_at_most(tenant: Tenant, length: int, code: str | None) -> None:
    sent = message(LINE_WORKS, text="あ" * length)

    assert code_of(tenant.send(tenant.line_works, sent)) == code
    assert tenant.services.tokens_issued == (1 if code is None else 0)


class TestTheAccessToken:
    def test_is_fetched_once_for_messages_one_after_the_other_and_at_once(self, tenant: Tenant) -> None:
        tenant.send_in_turn(tenant.line_works, *[message(LINE_WORKS)] * 3)
        assert tenant.services.tokens_issued == 1

        tenant.send_all(tenant.line_works, *[message(LINE_WORKS)] * 3)
        assert tenant.services.tokens_issued == 2

    def test_that_is_about_to_end_is_replaced(self, tenant: Tenant) -> None:
        tenant.services.shorten_tokens(0)

        results = tenant.send_in_turn(tenant.line_works, *[message(LINE_WORKS)] * 3)

        assert {result.outcome for result in results} == {Outcome.SENT}
        assert tenant.services.tokens_issued == 3

    @pytest.mark.parametrize("code", ["UNAUTHORIZED", 401])
    def test_that_is_refused_is_replaced_exactly_once(self, tenant: Tenant, code: str | int) -> None:
        tenant.services.fail_next("line_works", code)

        result = tenant.send(tenant.line_works, message(LINE_WORKS))

        assert result.outcome is Outcome.SENT
        assert tenant.services.tokens_issued == 2
        assert len(tenant.services.messages) == 1

    def test_is_not_replaced_if_the_bot_may_not_send_to_the_recipient(self, tenant: Tenant) -> None:
        tenant.services.fail_next("line_works", "FORBIDDEN")

        assert code_of(tenant.send(tenant.line_works, message(LINE_WORKS))) == "FORBIDDEN"
        assert tenant.services.tokens_issued == 1

    def test_that_is_refused_twice_is_a_matter_of_the_credentials(self, tenant: Tenant) -> None:
        tenant.services.fail_next("line_works", "UNAUTHORIZED", times=9)

        result = tenant.send(tenant.line_works, message(LINE_WORKS))

        assert code_of(result) == "UNAUTHORIZED"
        assert tenant.services.tokens_issued == 2

    def test_that_is_refused_to_several_messages_is_replaced_once_for_all(self, tenant: Tenant) -> None:
        async def revoked_meanwhile(client: ChannelClient) -> list[SendResult]:
            first = await client.send(message(LINE_WORKS))
            tenant.services.revoke_tokens()
            return [first, *await asyncio.gather(*[client.send(message(LINE_WORKS)) for _ in range(3)])]

        results = tenant.using(tenant.line_works, revoked_meanwhile)

        assert {result.outcome for result in results} == {Outcome.SENT}
        assert tenant.services.tokens_issued == 2

    @pytest.mark.parametrize("problem", ["invalid_client", "invalid_grant", 400, 401, 403, 404])
    def test_that_is_not_given_out_is_a_matter_of_the_credentials(
        self, tenant: Tenant, problem: str | int
    ) -> None:
        tenant.services.fail_next("line_works_auth", problem)

        result = tenant.send(tenant.line_works, message(LINE_WORKS))

        assert code_of(result) == "token_refused"

    @pytest.mark.parametrize(
        ("status", "code"),
        [(429, "http_429"), (503, "http_503"), (500, "http_503"), (502, "http_503"), (504, "http_503")],
    )
    def test_that_cannot_be_given_out_now_is_no_attempt(self, tenant: Tenant, status: int, code: str) -> None:
        tenant.services.fail_next("line_works_auth", status)

        result = tenant.send(tenant.line_works, message(LINE_WORKS))

        assert (code_of(result), result.outcome) == (code, Outcome.TRANSIENT)
        assert not result.counts_as_attempt

    def test_that_never_came_leaves_no_doubt_that_the_message_was_not_sent(self, tenant: Tenant) -> None:
        tenant.services.drop_connection("line_works_auth")
        lost = tenant.send(tenant.line_works, message(LINE_WORKS))
        with tenant.services.held("line_works_auth"):
            late = tenant.impatient.send(tenant.line_works, message(LINE_WORKS))

        assert {code_of(lost), code_of(late)} == {"connection_refused"}
        assert not lost.counts_as_attempt
        assert not late.counts_as_attempt
        assert tenant.services.messages == []

    def test_that_is_refused_for_good_is_asked_for_once(self, tenant: Tenant) -> None:
        tenant.services.fail_next("line_works_auth", "invalid_client")

        results = tenant.send_in_turn(tenant.line_works, *[message(LINE_WORKS)] * 2)

        assert [code_of(result) for result in results] == ["token_refused"] * 2

    @pytest.mark.parametrize(
        "key",
        [
            "no key",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
            large_key(),
            f"{key_pair()[0]}{' ' * 12_000}",
        ],
        ids=["none", "empty", "4,484 bits", "13 kB"],
    )
    def test_cannot_be_asked_for_with_a_key_that_is_none(self, tenant: Tenant, key: str) -> None:
        result = tenant.send(replace(tenant.line_works, private_key=key), message(LINE_WORKS))

        assert code_of(result) == "token_refused"
        assert "private key" in result.detail

    def test_cannot_be_had_with_a_strangers_key(self, tenant: Tenant) -> None:
        stranger = replace(tenant.line_works, private_key=key_pair("stranger")[0])

        result = tenant.send(stranger, message(LINE_WORKS))

        assert (code_of(result), result.detail) == ("token_refused", "HTTP 400 invalid_grant")


def test_the_wait_until_the_rates_reset_is_in_the_result(tenant: Tenant) -> None:
    tenant.services.fail_next("line_works", "TOO_MANY_REQUESTS", retry_after=42)

    result = tenant.send(tenant.line_works, message(LINE_WORKS))

    assert result.retry_after == timedelta(seconds=42)
    assert not result.counts_as_attempt


def test_a_wait_for_the_days_quota_ends_at_midnight_in_japan(tenant: Tenant) -> None:
    tenant.services.fail_next("line_works", "TOO_MANY_REQUESTS", retry_after=86_400)
    before = datetime.now(JAPAN)

    result = tenant.send(tenant.line_works, message(LINE_WORKS))

    assert result.retry_after is not None
    ends = {moment + result.retry_after for moment in (before, datetime.now(JAPAN))}
    assert min(ends).date() <= max(ends).date() == before.date() + timedelta(days=1)
    assert max(ends).hour == 0


@pytest.mark.usefixtures("standing_clock")
def test_two_hundred_and_forty_a_minute_are_taken(tenant: Tenant) -> None:
    tenant.services.limit_rates(True)

    results = tenant.send_all(tenant.line_works, *[message(LINE_WORKS)] * 241)

    [refused] = [result for result in results if result.outcome is not Outcome.SENT]
    assert code_of(refused) == "TOO_MANY_REQUESTS"
    assert refused.retry_after == timedelta(seconds=60)


class TestTheDailyCheck:
    def test_finds_nothing_wrong_with_what_is_right_and_sends_nothing(self, tenant: Tenant) -> None:
        assert tenant.validate(tenant.line_works, "users/taro@example", "channels/1") == []
        assert tenant.services.messages == []

    @pytest.mark.parametrize("code", ["NOT_FOUND", "410 DELETED"])
    def test_finds_a_bot_that_is_gone(self, tenant: Tenant, code: str) -> None:
        tenant.services.refuse_recipient("2000001", code)

        [found] = tenant.validate(tenant.line_works)

        assert (found.error.code, found.detail) == ("not_configured", "there is no such bot")

    def test_does_not_require_a_scope_that_only_asking_needs(self, tenant: Tenant) -> None:
        tenant.services.refuse_recipient("2000001", "FORBIDDEN")

        assert tenant.validate(replace(tenant.line_works, scope="bot.message")) == []

    def test_finds_a_bot_that_the_scope_should_show(self, tenant: Tenant) -> None:
        tenant.services.refuse_recipient("2000001", "FORBIDDEN")

        [found] = tenant.validate(tenant.line_works)

        assert found.error.code == "no_bot_permission"

    def test_finds_refused_credentials(self, tenant: Tenant) -> None:
        tenant.services.fail_next("line_works_auth", "invalid_client")

        [found] = tenant.validate(tenant.line_works)

        assert (found.error.code, found.detail) == ("token_refused", "HTTP 401 invalid_client")

    def test_finds_a_destination_that_is_none(self, tenant: Tenant) -> None:
        [found] = tenant.validate(tenant.line_works, "users/taro", "hanako")

        assert (found.error.code, found.destination) == ("NOT_FOUND", "hanako")

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"bot_id": ""}, "not_configured"),
            ({"auth_url": "https://169.254.169.254/token"}, "refused_address"),
            ({"base_url": "http://www.worksapis.com/v1.0/"}, "refused_address"),
        ],
    )
    def test_finds_settings_that_cannot_work(self, tenant: Tenant, change: dict[str, Any], code: str) -> None:
        config: LineWorksConfig = replace(tenant.line_works, **change)

        [found] = tenant.validate(config)

        assert found.error.code == code


@pytest.mark.parametrize("service", ["line_works", "line_works_auth"])
@pytest.mark.parametrize("fault", [0, 401, 429, 302, -1])
def test_no_secret_is_shown_whatever_happens(
    tenant: Tenant, caplog: pytest.LogCaptureFixture, service: str, fault: int
) -> None:
    caplog.set_level(logging.DEBUG)
    if fault > 0:
        tenant.services.fail_next(service, fault, times=2)
    elif fault < 0:
        tenant.services.drop_connection(service)

    result = tenant.send(tenant.line_works, message(LINE_WORKS))

    everything = "\n".join([repr(result), repr(tenant.line_works), caplog.text])
    assert [secret for secret in SECRETS if secret in everything] == []


def test_a_message_is_not_late_because_another_waits_for_its_answer(tenant: Tenant) -> None:
    services = tenant.services
    with services.held("line_works") as release:

        async def until_all_have_arrived(client: ChannelClient) -> list[SendResult]:
            sending = asyncio.gather(*[client.send(message(LINE_WORKS)) for _ in range(20)])
            await asyncio.to_thread(
                wait_until, lambda: len(services.messages) == 20, "all messages arrive before an answer"
            )
            release()
            return await sending

        results = tenant.using(tenant.line_works, until_all_have_arrived)

    assert {result.outcome for result in results} == {Outcome.SENT}
