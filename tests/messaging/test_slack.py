"""Slack, by a bot's token and by an incoming webhook."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from include.skillreport.messaging.channels.slack import SLACK, SlackConfig, client
from include.skillreport.messaging.outcome import Outcome
from local_stack.stand_ins import StandIns
from tests.messaging.sending import SECRETS, Tenant, code_of, message


def section(length: int) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": "あ" * length}}


def test_a_bot_posts_text_and_blocks_and_learns_the_messages_ts(tenant: Tenant) -> None:
    blocks = [section(10)]

    result = tenant.send(tenant.slack, message(SLACK, text="*太字* です", rich=blocks))

    [arrived] = tenant.services.messages
    assert (arrived.destination, arrived.text, arrived.rich) == ("C0123456789", "*太字* です", blocks)
    assert result.outcome is Outcome.SENT
    assert result.provider_message_id == f"{arrived.arrived_at.timestamp():.6f}"


def test_a_webhook_posts_to_its_own_channel(tenant: Tenant) -> None:
    result = tenant.send(tenant.slack_webhook, message(SLACK, destination="", rich=[section(10)]))

    [arrived] = tenant.services.messages
    assert (arrived.destination, arrived.text, arrived.rich) == ("", "極秘の本文", [section(10)])
    assert (result.outcome, result.provider_message_id) == (Outcome.SENT, None)


def test_with_a_token_the_webhook_is_not_used(tenant: Tenant) -> None:
    both = replace(tenant.slack, webhook_url=tenant.services.slack_webhook_url)

    tenant.send(both, message(SLACK))

    assert tenant.services.messages[0].destination == "C0123456789"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"text": "あ" * 40_000}, None),
        ({"text": "あ" * 40_001}, "msg_too_long"),
        ({"rich": [section(10)] * 50}, None),
        ({"rich": [section(2_900)] * 4}, None),
        ({"rich": [section(3_000)] * 4}, "msg_blocks_too_long"),
        ({"rich": [section(1)] * 51}, "msg_blocks_too_long"),
        ({"rich": [section(1), section(3_001)]}, "msg_blocks_too_long"),
        ({"rich": "blocks"}, "invalid_blocks"),
        ({"rich": ["block"]}, "invalid_blocks"),
        ({"rich": [{"type": "section", "fields": [{"type": "plain_text", "text": "x"}]}]}, None),
        ({"text": ""}, "no_text"),
        ({"text": "", "rich": [section(1)]}, None),
        ({"destination": ""}, "channel_not_found"),
    ],
)
def test_a_message_that_slack_would_refuse_is_not_sent(
    tenant: Tenant, changes: dict[str, Any], code: str | None
) -> None:
    sent = message(SLACK, **changes)

    assert code_of(tenant.check(tenant.slack, sent)) == code
    assert code_of(tenant.send(tenant.slack, sent)) == code
    assert len(tenant.services.messages) == (1 if code is None else 0)


@pytest.mark.parametrize("token", ["xoxb-two words", "xoxb-\r\nX-Header: 1", "xoxb-日本語", " xoxb-1"])
def test_a_token_that_no_header_can_carry_is_an_invalid_one(tenant: Tenant, token: str) -> None:
    result = tenant.send(replace(tenant.slack, token=token), message(SLACK))

    assert code_of(result) == "invalid_auth"


def test_a_wrong_token_is_refused_by_slack_itself(tenant: Tenant) -> None:
    assert code_of(tenant.send(replace(tenant.slack, token="xoxp-1"), message(SLACK))) == "invalid_auth"


@pytest.mark.usefixtures("standing_clock")
def test_the_wait_that_slack_asks_for_is_in_the_result(tenant: Tenant) -> None:
    tenant.services.limit_rates(True)

    first, second = tenant.send_in_turn(tenant.slack, message(SLACK), message(SLACK))

    assert first.outcome is Outcome.SENT
    assert (code_of(second), second.retry_after) == ("ratelimited", timedelta(seconds=1))
    assert not second.counts_as_attempt


def test_nothing_is_tried_again_by_the_library(tenant: Tenant) -> None:
    tenant.services.drop_connection("slack")

    tenant.send(tenant.slack, message(SLACK))

    assert len(tenant.services.messages) == 1


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "http_proxy"])
def test_the_environments_proxy_is_not_taken(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "http://proxy.example.com:3128")

    assert tenant.send(tenant.slack, message(SLACK)).outcome is Outcome.SENT


@pytest.mark.parametrize("host", ["hooks-invalid.slack.com", "hooks..slack.com", "h" * 64 + ".slack.com"])
def test_a_host_without_address_may_have_one_later(tenant: Tenant, host: str) -> None:
    gone = SlackConfig(webhook_url=f"https://{host}/services/T0/B0/x")

    assert code_of(tenant.send(gone, message(SLACK))) == "connection_refused"


def test_a_host_that_is_no_host_is_a_refused_address(tenant: Tenant) -> None:
    nonsense = SlackConfig(webhook_url="https://999.999.999.999/services/T0/B0/x")

    assert code_of(tenant.send(nonsense, message(SLACK))) == "refused_address"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("way", ["slack", "slack_webhook"])
def test_a_redirect_is_a_refused_address(tenant: Tenant, status: int, way: str) -> None:
    tenant.services.fail_next("slack", status)

    result = tenant.send(getattr(tenant, way), message(SLACK))

    assert code_of(result) == "refused_address"
    assert "転送" in result.detail
    assert tenant.services.messages == []


class TestTheDailyCheck:
    def test_finds_nothing_wrong_with_what_is_right_and_sends_nothing(self, tenant: Tenant) -> None:
        assert tenant.validate(tenant.slack, "C0123456789", "U0123456789") == []
        assert tenant.validate(tenant.slack_webhook) == []
        assert tenant.services.messages == []

    def test_finds_a_revoked_token(self, tenant: Tenant) -> None:
        tenant.services.fail_next("slack", "token_revoked")

        [found] = tenant.validate(tenant.slack, "C0123456789")

        assert found.error.code == "token_revoked"

    @pytest.mark.parametrize("code", ["not_in_channel", "is_archived", "channel_not_found"])
    def test_finds_the_channels_that_the_bot_cannot_post_to(self, tenant: Tenant, code: str) -> None:
        tenant.services.refuse_recipient("C0000000404", code)

        [found] = tenant.validate(tenant.slack, "C0123456789", "C0000000404")

        assert (found.error.code, found.destination) == (code, "C0000000404")

    def test_knows_the_bots_that_may_post_to_public_channels_from_outside(self, tenant: Tenant) -> None:
        tenant.services.refuse_recipient("C0123456789", "not_in_channel")
        tenant.services.grant_slack_scopes("chat:write,chat:write.public,channels:read")

        assert tenant.validate(tenant.slack, "C0123456789") == []

    def test_does_not_require_a_scope_that_only_looking_needs(self, tenant: Tenant) -> None:
        tenant.services.refuse_recipient("C0123456789", "missing_scope")

        assert tenant.validate(tenant.slack, "C0123456789") == []

    def test_waits_as_long_as_slack_says(self, tenant: Tenant) -> None:
        tenant.services.set_limit("slack_lookup", 1, 1)

        assert tenant.validate(tenant.slack, "C1", "C2") == []
        assert tenant.services.messages_refused_for_rate == 1

    def test_stops_with_one_finding_if_slack_goes_on_to_refuse(
        self, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "_WAIT", timedelta())
        for channel in ("C2", "C3"):
            tenant.services.refuse_recipient(channel, "ratelimited")

        [found] = tenant.validate(tenant.slack, "C1", "C2", "C3")

        assert (found.error.code, found.destination) == ("ratelimited", "C2")

    def test_tells_when_slack_could_not_be_asked(self, tenant: Tenant) -> None:
        tenant.services.fail_next("slack", 503)

        [found] = tenant.validate(tenant.slack)

        assert found.error.outcome is Outcome.TRANSIENT

    @pytest.mark.parametrize(
        ("config", "code"),
        [
            (SlackConfig(), "not_configured"),
            (SlackConfig(webhook_url="http://hooks.slack.com/services/T0/B0/x"), "refused_address"),
            (SlackConfig(webhook_url="https://127.0.0.1/services/T0/B0/x"), "refused_address"),
        ],
    )
    def test_finds_settings_that_cannot_work(self, tenant: Tenant, config: SlackConfig, code: str) -> None:
        [found] = tenant.validate(config)

        assert found.error.code == code


@pytest.mark.parametrize("fault", ["", "invalid_auth", "ratelimited", "internal_error", "hang up", 302])
def test_no_secret_is_shown_whatever_happens(
    tenant: Tenant, services: StandIns, caplog: pytest.LogCaptureFixture, fault: str | int
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = [repr(tenant.slack), repr(tenant.slack_webhook)]
    for config in (tenant.slack, tenant.slack_webhook):
        if fault == "hang up":
            services.drop_connection("slack")
        elif fault:
            services.fail_next("slack", fault)
        shown += [repr(tenant.send(config, message(SLACK))), repr(tenant.validate(config))]

    everything = "\n".join([*shown, caplog.text])
    assert [secret for secret in SECRETS if secret in everything] == []


def test_the_text_of_a_message_is_no_markup_and_has_no_previews(tenant: Tenant) -> None:
    tenant.send(tenant.slack, message(SLACK, text="*a* http://example.jp"))
    tenant.send(tenant.slack_webhook, message(SLACK, destination="", text="*a* http://example.jp"))

    assert [arrived.options for arrived in tenant.services.messages] == [
        {"mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
    ] * 2
