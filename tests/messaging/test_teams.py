"""Microsoft Teams by a Workflows webhook."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from include.skillreport.messaging.channels.teams import SIZE_LIMIT, TEAMS, TeamsConfig
from include.skillreport.messaging.outcome import ErrorClass, Outcome
from local_stack.stand_ins import teams_webhook_url
from tests.messaging.raw_server import answering, http
from tests.messaging.sending import SECRETS, Tenant, code_of, message

LOGIC_APP = "https://prod-01.japaneast.logic.azure.com/workflows/1/triggers/manual/paths/invoke?sig=x"
HOST = "default0f1e2d3c4b5a69788796a5b4c3d2e1.f0.environment.api.powerplatform.com"
WORKFLOW = teams_webhook_url(f"https://{HOST}:443/")


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


@pytest.mark.parametrize("character", ["x", "あ", '"', "\n"])
def test_no_card_is_sent_that_the_flow_could_not_post(tenant: Tenant, character: str) -> None:
    lengths = range(500, SIZE_LIMIT, 500)
    results = [
        tenant.send(tenant.teams, message(TEAMS, rich=[text_block(character * length)])) for length in lengths
    ]

    sent = [result.outcome is Outcome.SENT for result in results]
    assert (sent[0], sent[-1]) == (True, False)
    assert sorted(sent, reverse=True) == sent
    assert {code_of(result) for result in results if result.outcome is not Outcome.SENT} == {"too_large"}
    assert (len(tenant.services.messages), tenant.services.failed_flow_runs) == (sum(sent), 0)


def test_the_flows_of_an_environment_share_a_limit_that_no_answer_reveals() -> None:
    def key(url: str, tenant_id: str = "A") -> str:
        return TEAMS.limit(TeamsConfig(url), tenant_id).key

    other = WORKFLOW.replace("/workflows/0f1e", "/workflows/ffff")
    assert key(WORKFLOW) == key(other) == key(other, "B") != key(WORKFLOW.replace("default0", "default1"))
    # The older hosts belong to a region.
    assert key(LOGIC_APP) == key(LOGIC_APP.replace("/1/", "/2/")) != key(LOGIC_APP, "B")
    limit = TEAMS.limit(TeamsConfig(WORKFLOW), "A")
    assert limit.per_minute == limit.most_per_minute == 60
    assert limit.burst + 60 < 100


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


@pytest.mark.parametrize("url", [WORKFLOW, LOGIC_APP, LOGIC_APP.replace("prod-01", "PROD-01")])
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
            (WORKFLOW.replace("&sig=", "&x="), "http_401"),
            (WORKFLOW.replace("stand-in-signature", ""), "http_401"),
            (LOGIC_APP, "old_address"),
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


@pytest.mark.parametrize(
    "url", ["https://[::1", "https://x:99999/", "https://x:0x50/?sig=x", "sig=x", "h" * 400_000]
)
def test_a_url_that_is_none_has_a_limit_and_is_refused(tenant: Tenant, url: str) -> None:
    assert TEAMS.limit(TeamsConfig(url), "A").per_minute == 60
    assert code_of(tenant.send(TeamsConfig(url), message(TEAMS))) == "refused_address"
