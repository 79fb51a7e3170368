"""Slack's official client against the stand-in: each case is what the documentation of Slack says (``facts/slack.toml``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler
from slack_sdk.models.blocks import DividerBlock, HeaderBlock, SectionBlock
from slack_sdk.web import SlackResponse
from slack_sdk.webhook import WebhookClient

from local_stack.stand_ins import StandIns, faults
from local_stack.stand_ins.directories import StandInDirectory
from tests.virtual_time import VirtualTime

pytestmark = pytest.mark.long

TOKEN = "xoxb-official"
READ = "chat:write,channels:read,users:read"

Call = Callable[[WebClient], SlackResponse]

MEMBERS: list[dict[str, Any]] = [
    {"id": f"U{number}", "name": f"u{number}", "profile": {"email": f"u{number}@example.jp"}}
    for number in range(5)
]
CHANNELS: list[dict[str, Any]] = [
    {"id": "C1", "name": "general"},
    {"id": "C2", "name": "old", "is_archived": True},
    {"id": "C3", "name": "random"},
    {"id": "G1", "name": "board", "is_private": True},
]


@pytest.fixture
def services() -> Iterator[StandIns]:
    with StandIns() as stand_ins:
        stand_ins.show_directory("slack", TOKEN, StandInDirectory([MEMBERS], CHANNELS))
        yield stand_ins


@pytest.fixture
def slack(services: StandIns) -> WebClient:
    return WebClient(TOKEN, base_url=services.slack_base_url)


@pytest.fixture
def webhook(services: StandIns) -> WebhookClient:
    return WebhookClient(services.slack_webhook_url)


@pytest.fixture
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    VirtualTime().replace_clock(monkeypatch, faults)


def section(length: int) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": "あ" * length}}


def header(length: int) -> dict[str, Any]:
    return {"type": "header", "text": {"type": "plain_text", "text": "x" * length}}


def context(elements: int) -> dict[str, Any]:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * elements}


def posting(**fields: Any) -> Call:
    """A message as JSON. The client reminds of a text that is missing beside blocks."""
    return lambda slack: slack.api_call("chat.postMessage", json={"channel": "C1", **fields})


def form(**fields: Any) -> Call:
    """A message as a form."""
    return lambda slack: slack.api_call("chat.postMessage", params={"channel": "C1", **fields})


@pytest.mark.parametrize(
    "call",
    [
        posting(text="x"),
        posting(text="x" * 40_000),
        posting(text="x", blocks=[section(1)] * 50),
        posting(blocks=[section(3_000), header(150), context(10)]),
        posting(attachments=[{"text": "x"}]),
        posting(text="x", blocks=json.dumps([section(1)])),
        form(text="x"),
        form(text="x", blocks=json.dumps([section(1)]), unfurl_links=False),
        lambda slack: slack.chat_postMessage(
            channel="C1",
            text="x",
            blocks=[HeaderBlock(text="件名"), SectionBlock(text="*本文*"), DividerBlock()],
        ),
    ],
    ids=[
        "text",
        "40,000 characters",
        "50 blocks",
        "longest blocks",
        "attachment",
        "blocks as text",
        "form",
        "form with blocks",
        "models",
    ],
)
def test_a_message_is_posted(services: StandIns, slack: WebClient, call: Call) -> None:
    answer = call(slack)

    [arrived] = services.messages
    assert (answer["ok"], answer["channel"], arrived.destination) == (True, "C1", "C1")
    assert (answer["message"]["ts"], answer["message"]["type"]) == (answer["ts"], "message")
    assert answer["message"]["text"] == arrived.text
    assert answer["message"]["bot_id"].startswith("B")
    assert arrived.rich is None or isinstance(arrived.rich, list)
    assert "response_metadata" not in answer


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (posting(text="x", blocks=[section(1)] * 51), "invalid_blocks"),
        (posting(text="x", blocks=[section(3_001)]), "invalid_blocks"),
        (posting(text="x", blocks=[section(0)]), "invalid_blocks"),
        (posting(text="x", blocks=[header(151)]), "invalid_blocks"),
        (posting(text="x", blocks=[context(11)]), "invalid_blocks"),
        (posting(text="x", blocks=[{"type": "section"}]), "invalid_blocks"),
        (posting(text="x", blocks=[{"type": "no_such_block"}]), "invalid_blocks"),
        (posting(text="x", blocks=[{}]), "invalid_blocks"),
        (posting(text="x", blocks=[section(2_900)] * 5), "msg_blocks_too_long"),
        (form(text="x", blocks="no JSON"), "invalid_blocks_format"),
        (posting(text="x", blocks="no JSON"), "invalid_blocks_format"),
        (form(text="x", blocks=json.dumps([section(3_001)])), "invalid_blocks"),
        (posting(), "no_text"),
        (posting(text="", blocks=[]), "no_text"),
        (posting(text="x", channel=""), "channel_not_found"),
        (form(text="x", channel=""), "channel_not_found"),
        (posting(text="x", channel="C404"), "channel_not_found"),
        (posting(text="x", channel="C2"), "is_archived"),
        (posting(text="x", channel="C403"), "not_in_channel"),
        (lambda slack: slack.conversations_info(channel="C404"), "channel_not_found"),
        (lambda slack: slack.conversations_info(channel=""), "channel_not_found"),
        (lambda slack: slack.conversations_list(types="rooms"), "invalid_types"),
        (lambda slack: slack.conversations_list(limit=1_001), "invalid_limit"),
        (lambda slack: slack.api_call("conversations.list", params={"limit": "x"}), "invalid_limit"),
        (lambda slack: slack.conversations_list(cursor="nowhere"), "invalid_cursor"),
        (lambda slack: slack.users_list(cursor="nowhere"), "invalid_cursor"),
        (lambda slack: slack.api_call("no.such.method"), "unknown_method"),
        (lambda slack: WebClient("xoxb", base_url=slack.base_url).auth_test(), "invalid_auth"),
        (lambda slack: WebClient(base_url=slack.base_url).auth_test(), "not_authed"),
    ],
)
def test_a_request_is_refused(services: StandIns, slack: WebClient, call: Call, code: str) -> None:
    for channel, refusal in (
        ("C404", "channel_not_found"),
        ("C403", "not_in_channel"),
        ("C2", "is_archived"),
    ):
        services.refuse_recipient(channel, refusal)

    with pytest.raises(SlackApiError) as refused:
        call(slack)

    answer = refused.value.response
    assert (answer.status_code, answer["ok"], answer["error"]) == (200, False, code)
    assert services.messages == []
    # Only a refusal of blocks says more.
    assert ("errors" in answer) is (code == "invalid_blocks")
    assert code != "invalid_blocks" or all("/blocks" in each for each in answer["errors"])


def test_a_text_above_the_limit_is_cut_with_a_warning(services: StandIns, slack: WebClient) -> None:
    answer = slack.chat_postMessage(channel="C1", text="x" * 40_001)

    assert answer["response_metadata"]["warnings"] == ["message_truncated"]
    assert [len(arrived.text) for arrived in services.messages] == [40_000]


def test_the_login_has_the_fields_of_a_bot(slack: WebClient) -> None:
    answer = slack.auth_test()

    assert answer["team_id"].startswith("T")
    assert answer["user_id"].startswith(("U", "W"))
    assert answer["bot_id"].startswith("B")
    assert answer["url"].startswith("https://")
    assert answer["is_enterprise_install"] is False
    assert {"team", "user"} <= answer.data.keys()  # type: ignore[union-attr]
    assert "chat:write" in str(answer.headers)


def test_the_token_may_be_a_parameter_of_a_form(services: StandIns) -> None:
    anonymous = WebClient(base_url=services.slack_base_url)

    assert anonymous.api_call("auth.test", data={"token": TOKEN})["ok"]


@pytest.mark.parametrize(
    ("scopes", "call", "needed"),
    [
        ("channels:read", posting(text="x"), "chat:write"),
        ("chat:write", lambda slack: slack.users_list(), "users:read"),
        ("chat:write", lambda slack: slack.conversations_list(), "channels:read"),
        ("chat:write", lambda slack: slack.conversations_info(channel="C1"), "channels:read"),
    ],
)
def test_a_missing_scope_is_named(
    services: StandIns, slack: WebClient, scopes: str, call: Call, needed: str
) -> None:
    services.grant_slack_scopes(scopes)

    with pytest.raises(SlackApiError) as refused:
        call(slack)

    answer = refused.value.response
    assert (answer["error"], answer["provided"]) == ("missing_scope", scopes)
    assert needed in answer["needed"]


def test_a_channel_has_the_fields_of_a_conversation(services: StandIns, slack: WebClient) -> None:
    services.refuse_recipient("C3", "not_in_channel")

    found = {name: slack.conversations_info(channel=name)["channel"] for name in ("C1", "C2", "C3", "G1")}

    assert [each["name"] for each in found.values()] == ["general", "old", "random", "board"]
    assert [each["is_archived"] for each in found.values()] == [False, True, False, False]
    assert [each["is_member"] for each in found.values()] == [True, True, False, True]
    assert [each["is_private"] for each in found.values()] == [False, False, False, True]
    assert all({"is_channel", "is_im", "is_mpim", "created"} <= each.keys() for each in found.values())
    assert "num_members" not in found["C1"]
    counted = slack.conversations_info(channel="C1", include_num_members=True)
    assert counted["channel"]["num_members"] > 0


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["general", "old", "random"]),
        ({"exclude_archived": True}, ["general", "random"]),
        ({"types": "private_channel"}, ["board"]),
        ({"types": "public_channel,private_channel"}, ["general", "old", "random", "board"]),
        ({"types": "im,mpim"}, []),
        ({"limit": 2, "types": "public_channel,private_channel"}, ["general", "old", "random", "board"]),
    ],
)
def test_channels_are_listed_by_their_types(
    slack: WebClient, options: dict[str, Any], names: list[str]
) -> None:
    pages = [page["channels"] for page in slack.conversations_list(**options)]

    assert [channel["name"] for page in pages for channel in page] == names
    assert all(len(page) <= options.get("limit", 100) for page in pages)
    assert len(pages) == (2 if "limit" in options else 1)


def test_the_client_turns_the_pages_of_the_members(slack: WebClient) -> None:
    cursors, members = [], []
    for page in slack.users_list(limit=2):
        members += page["members"]
        cursors.append(page["response_metadata"]["next_cursor"])
        assert page["cache_ts"] > 0

    assert members == MEMBERS
    assert [bool(cursor) for cursor in cursors] == [True, True, False]


def test_without_a_limit_all_members_come_at_once(slack: WebClient) -> None:
    answer = slack.users_list()

    assert (answer["members"], answer["response_metadata"]["next_cursor"]) == (MEMBERS, "")


def test_addresses_need_a_scope_of_their_own(services: StandIns, slack: WebClient) -> None:
    services.grant_slack_scopes(READ)

    assert [member["profile"] for member in slack.users_list()["members"]] == [{}] * len(MEMBERS)


@pytest.mark.usefixtures("standing_clock")
@pytest.mark.parametrize(
    ("call", "allowed"),
    [
        (posting(text="x"), 1),
        (lambda slack: slack.conversations_info(channel="C1"), 50),
        (lambda slack: slack.conversations_list(), 20),
        (lambda slack: slack.users_list(), 20),
    ],
    ids=["chat.postMessage", "tier 3", "conversations.list", "users.list"],
)
def test_a_tier_takes_this_many_calls_a_minute(
    services: StandIns, slack: WebClient, call: Call, allowed: int
) -> None:
    services.limit_rates(True)
    for _ in range(allowed):
        assert call(slack)["ok"]

    with pytest.raises(SlackApiError) as refused:
        call(slack)

    answer = refused.value.response
    assert (answer.status_code, answer["error"]) == (429, "ratelimited")
    assert int(answer.headers["Retry-After"]) >= 1
    # Each method has a count of its own.
    assert slack.auth_test()["ok"]


def test_the_client_waits_as_long_as_it_is_asked_to(services: StandIns, slack: WebClient) -> None:
    services.set_limit("slack_channel", 1, 1)
    slack.retry_handlers.append(RateLimitErrorRetryHandler(max_retry_count=1))

    for _ in range(2):
        assert slack.chat_postMessage(channel="C1", text="x")["ok"]

    assert services.messages_refused_for_rate == 1


class TestTheWebhook:
    def test_posts(self, services: StandIns, webhook: WebhookClient) -> None:
        answer = webhook.send(text="x", blocks=[section(1)])

        [arrived] = services.messages
        assert (answer.status_code, answer.body) == (200, "ok")
        assert (arrived.text, arrived.rich) == ("x", [section(1)])

    def test_cuts_a_text_above_the_limit(self, services: StandIns, webhook: WebhookClient) -> None:
        assert webhook.send(text="x" * 40_001).body == "ok"
        assert [len(arrived.text) for arrived in services.messages] == [40_000]

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({}, "invalid_payload"),
            ({"text": ""}, "no_text"),
            ({"text": "x", "blocks": [section(1)] * 51}, "invalid_blocks"),
            ({"text": "x", "blocks": [section(3_001)]}, "invalid_blocks"),
        ],
    )
    def test_refuses(
        self, services: StandIns, webhook: WebhookClient, body: dict[str, Any], code: str
    ) -> None:
        answer = webhook.send_dict(body)

        assert (answer.status_code, answer.body, services.messages) == (400, code, [])

    @pytest.mark.usefixtures("standing_clock")
    def test_has_a_rate(self, services: StandIns, webhook: WebhookClient) -> None:
        services.limit_rates(True)

        answers = [webhook.send(text="x") for _ in range(2)]

        assert [answer.status_code for answer in answers] == [200, 429]
        assert int(answers[1].headers["Retry-After"]) >= 1
