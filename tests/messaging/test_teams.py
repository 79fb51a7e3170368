"""Microsoft Teams by a Workflows webhook."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from typing import Any

import pytest

from include.skillreport.messaging.channels.teams import SIZE_LIMIT, TEAMS, TeamsConfig
from include.skillreport.messaging.outcome import ErrorClass, Outcome
from tests.messaging.raw_server import answering, http
from tests.messaging.sending import SECRETS, Tenant, code_of, message

WORKFLOW = "https://prod-01.japaneast.logic.azure.com/workflows/1/triggers/manual/paths/invoke?sig=x"
POWER_PLATFORM = "https://default1.aa.environment.api.powerplatform.com/powerautomate/workflows/1?sig=x"


def text_block(text: str) -> dict[str, Any]:
    return {"type": "TextBlock", "text": text, "wrap": True}


def test_a_message_becomes_an_adaptive_card_that_is_accepted(tenant: Tenant) -> None:
    result = tenant.send(tenant.teams, message(TEAMS, subject="件名", text="本文"))

    [arrived] = tenant.services.messages
    assert arrived.text == "件名\n本文"
    assert arrived.rich["$schema"] == "http://adaptivecards.io/schemas/adaptive-card.json"
    assert (arrived.rich["type"], arrived.rich["version"]) == ("AdaptiveCard", "1.4")
    assert (result.outcome, result.detail, result.provider_message_id) == (Outcome.SENT, "accepted", None)


def test_a_body_of_the_templates_own_takes_the_plain_ones_place(tenant: Tenant) -> None:
    body = [text_block("決まり"), {"type": "FactSet", "facts": []}]

    tenant.send(tenant.teams, message(TEAMS, rich=body))

    assert tenant.services.messages[0].rich["body"] == body


def test_a_card_at_the_size_limit_is_refused_and_smaller_ones_sent(tenant: Tenant) -> None:
    tenant.send(tenant.teams, message(TEAMS, rich=[text_block("")]))
    frame = int(tenant.services.messages[0].headers["Content-Length"])

    largest = message(TEAMS, rich=[text_block("x" * (SIZE_LIMIT - 1 - frame))])
    too_large = message(TEAMS, rich=[text_block("x" * (SIZE_LIMIT - frame))])

    assert tenant.send(tenant.teams, largest).outcome is Outcome.SENT
    assert code_of(tenant.send(tenant.teams, too_large)) == "too_large"
    assert tenant.services.messages[-1].headers["Content-Length"] == str(SIZE_LIMIT - 1)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.webhook.office.com/webhookb2/1/IncomingWebhook/2/3",
        "https://outlook.office.com/webhook/1/IncomingWebhook/2/3",
        "https://outlook.office365.com/webhook/1/IncomingWebhook/2/3",
    ],
)
def test_a_retired_connector_is_refused_before_sending(tenant: Tenant, url: str) -> None:
    assert code_of(tenant.check(TeamsConfig(url), message(TEAMS))) == "retired_connector"


@pytest.mark.parametrize("url", [WORKFLOW, POWER_PLATFORM, WORKFLOW.replace("prod-01", "PROD-01")])
def test_the_workflows_hosts_are_known(tenant: Tenant, url: str) -> None:
    assert tenant.check(TeamsConfig(url), message(TEAMS)) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/workflows/1?sig=x",
        "https://logic.azure.com.example.com/workflows/1?sig=x",
        "https://evillogic.azure.com/workflows/1?sig=x",
        "http://prod-01.japaneast.logic.azure.com/workflows/1?sig=x",
        "https://prod-01.japaneast.logic.azure.com:0x50/workflows/1?sig=x",
        "https://user:secret@prod-01.japaneast.logic.azure.com/workflows/1?sig=x",
        "https://127.0.0.1/workflows/1?sig=x",
        "sig=x",
    ],
)
def test_any_other_url_is_refused_before_sending(tenant: Tenant, url: str) -> None:
    refusal = tenant.send(TeamsConfig(url), message(TEAMS))

    assert code_of(refusal) == "refused_address"
    assert "sig" not in refusal.detail


def test_a_wrong_signature_is_a_credential_that_teams_refuses(tenant: Tenant) -> None:
    wrong = TeamsConfig(tenant.teams.webhook_url.replace("stand-in-signature", "another"))

    assert code_of(tenant.send(wrong, message(TEAMS))) == "http_401"


def test_a_url_makes_no_header_of_its_own(tenant: Tenant) -> None:
    broken = TeamsConfig(f"{tenant.teams.webhook_url}&x=1 HTTP/1.1\r\nX-Evil: 1\r\n")

    tenant.send(broken, message(TEAMS))

    assert "X-Evil" not in tenant.services.messages[0].headers


@pytest.mark.usefixtures("standing_clock")
def test_more_than_four_a_second_get_a_retry_after(tenant: Tenant) -> None:
    tenant.services.limit_rates(True)

    results = tenant.send_all(tenant.teams, *[message(TEAMS) for _ in range(5)])

    [refused] = [result for result in results if result.outcome is not Outcome.SENT]
    assert code_of(refused) == "http_429"
    assert refused.retry_after == timedelta(seconds=1)


class TestTheDailyCheck:
    def test_finds_nothing_wrong_with_what_is_right_and_sends_nothing(self, tenant: Tenant) -> None:
        assert tenant.validate(tenant.teams) == []
        assert tenant.validate(TeamsConfig(WORKFLOW)) == []
        assert tenant.services.messages == []

    @pytest.mark.parametrize(
        ("url", "code"),
        [
            ("", "not_configured"),
            ("https://outlook.office.com/webhook/1", "retired_connector"),
            ("https://example.com/?sig=x", "refused_address"),
            (WORKFLOW.replace("sig=x", "sv=1.0"), "http_401"),
            (WORKFLOW.replace("sig=x", "sig="), "http_401"),
        ],
    )
    def test_finds_urls_that_cannot_work(self, tenant: Tenant, url: str, code: str) -> None:
        [found] = tenant.validate(TeamsConfig(url))

        assert found.error.code == code


@pytest.mark.parametrize("fault", [0, 401, 429, 500, 302, -1])
def test_no_secret_is_shown_whatever_happens(
    tenant: Tenant, caplog: pytest.LogCaptureFixture, fault: int
) -> None:
    caplog.set_level(logging.DEBUG)
    if fault > 0:
        tenant.services.fail_next("teams", fault)
    elif fault < 0:
        tenant.services.drop_connection("teams")

    result = tenant.send(tenant.teams, message(TEAMS))

    everything = "\n".join([repr(result), repr(tenant.teams), caplog.text])
    assert [secret for secret in SECRETS if secret in everything] == []


@pytest.mark.parametrize("nested", [True, False])
def test_a_flow_that_is_off_closes_the_channel(tenant: Tenant, nested: bool) -> None:
    problem = {"code": "WorkflowTriggerIsNotEnabled", "message": "… is in state 'Deleted' …"}
    body = json.dumps({"error": problem} if nested else problem).encode()
    with answering(http("application/json", body, status="400 Bad Request")) as tenant.services.http_port:
        result = tenant.send(tenant.teams, message(TEAMS))

    assert code_of(result) == "WorkflowTriggerIsNotEnabled"
    assert result.error is not None
    assert result.error.error_class is ErrorClass.CREDENTIAL
