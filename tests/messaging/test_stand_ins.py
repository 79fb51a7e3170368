"""The stand-ins themselves: their pages, records, refusals and restarts."""

from __future__ import annotations

import http.client
import json
import smtplib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.channels.teams import card_of
from local_stack.stand_ins import StandIns
from tests.messaging.sending import DESTINATIONS, Tenant, code_of, message
from tests.waiting import LIMIT_SECONDS, wait_until

TOKEN = "xoxb-1"


def ask(
    services: StandIns, method: str, path: str, body: object = None, token: str = TOKEN
) -> tuple[int, str]:
    """Status and text of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", services.http_port, timeout=LIMIT_SECONDS)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    try:
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_the_page_shows_what_arrived_newest_first_and_harmless(tenant: Tenant) -> None:
    for text in ("最初", "<script>alert(1)</script>"):
        tenant.send(tenant.email, message(EMAIL, subject="<b>件名</b>", text=text))

    status, page = ask(tenant.services, "GET", "/")

    assert status == 200
    assert "2 件" in page
    assert page.index("&lt;script&gt;alert(1)&lt;/script&gt;") < page.index("最初")
    assert "<script>" not in page
    assert "<b>件名" not in page


def test_every_channels_messages_are_on_one_list_and_in_the_file(tmp_path: Path) -> None:
    record = tmp_path / "notifications.jsonl"
    with StandIns(record=record) as services:
        tenant = Tenant(services)
        for channel in DESTINATIONS:
            tenant.send(tenant.config(channel), message(channel))
        listed = json.loads(ask(services, "GET", "/messages")[1])

    recorded = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    assert listed == recorded
    assert [each["channel"] for each in recorded] == list(DESTINATIONS)
    assert all("極秘の本文" in each["text"] and each["arrived_at"] for each in recorded)
    assert "xoxb-" not in record.read_text(encoding="utf-8")
    # A process that was killed while it wrote.
    with record.open("ab") as file:
        file.write('{"channel": "email", "text": "極'.encode()[:-1])
    with StandIns(record=record) as started_again:
        tenant = Tenant(started_again)
        tenant.send(tenant.email, message(EMAIL))
        assert json.loads(ask(started_again, "GET", "/messages")[1])[:-1] == recorded
    assert len([json.loads(line) for line in record.read_bytes().splitlines()]) == len(recorded) + 1


def teams_post(services: StandIns, body: object) -> tuple[int, str]:
    """Send a body to the flow."""
    return ask(services, "POST", f"/{services.teams_webhook_url.removeprefix(services.page_url)}", body)


def card(*elements: dict[str, str]) -> dict[str, Any]:
    """A message with a card of these elements."""
    return {"type": "message", "attachments": [card_of(elements)]}


def test_a_flow_refuses_what_is_no_json_and_calls_without_a_signature(services: StandIns) -> None:
    unsigned = services.teams_webhook_url.removeprefix(services.page_url).partition("&sig")[0]

    assert teams_post(services, None)[0] == 400
    assert ask(services, "POST", f"/{unsigned}", card())[0] == 401
    assert (services.messages, services.failed_flow_runs) == ([], 0)


@pytest.mark.parametrize(
    "body",
    [
        {"text": "an old connector's card"},
        {"type": "message", "attachments": []},
        {"type": "message", "attachments": [{"contentType": "text/plain", "content": "x"}]},
        {"type": "message", "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive"}]},
        # Seen with a request of 24,453 bytes (MicrosoftDocs/msteams-docs, issue 11274).
        card({"type": "TextBlock", "text": '"' * 9_000}),
    ],
)
def test_a_flow_accepts_what_it_cannot_post(services: StandIns, body: object) -> None:
    assert teams_post(services, body)[0] == 202
    assert (services.messages, services.failed_flow_runs) == ([], 1)


def test_a_flow_posts_later_what_exceeds_the_limit_of_its_connection(services: StandIns) -> None:
    services.set_limit("teams", 1, 0.05)
    assert [teams_post(services, card())[0] for _ in range(2)] == [202, 202]
    wait_until(lambda: len(services.messages) == 2, "the flow posts the second message")


def test_a_flow_loses_what_its_connection_cannot_post_later(services: StandIns) -> None:
    services.set_limit("teams", 2, 3_600)
    assert [teams_post(services, card())[0] for _ in range(6)] == [202] * 6
    assert (len(services.messages), services.failed_flow_runs) == (2, 2)


def test_line_works_takes_no_message_without_a_token_that_it_gave_out(services: StandIns) -> None:
    body = {"content": {"type": "text", "text": "x"}}

    status, text = ask(services, "POST", "/v1.0/bots/1/users/taro/messages", body, "made-up")

    assert (status, json.loads(text)["code"], services.messages) == (403, "UNAUTHORIZED", [])


@pytest.mark.usefixtures("standing_clock")
@pytest.mark.parametrize(("limited", "refused"), [(True, 1), (False, 0)])
def test_rates_are_limited_only_if_that_is_wanted(limited: bool, refused: int) -> None:
    with StandIns(rate_limits=limited) as services:
        answers = [
            json.loads(ask(services, "POST", "/api/chat.postMessage", {"channel": "C1", "text": "x"})[1])
            for _ in range(2)
        ]
        other_channel = ask(services, "POST", "/api/chat.postMessage", {"channel": "C2", "text": "x"})[0]

    assert [answer.get("error") for answer in answers].count("ratelimited") == refused
    assert other_channel == 200


@pytest.mark.usefixtures("standing_clock")
def test_a_workspace_can_refuse_for_a_while_after_some_messages(services: StandIns) -> None:
    services.pause_after("slack_workspace", 2, 30)

    answers = [
        json.loads(ask(services, "POST", "/api/chat.postMessage", {"channel": f"C{number}", "text": "x"})[1])
        for number in range(4)
    ]
    others = ask(services, "POST", "/api/chat.postMessage", {"channel": "C1", "text": "x"}, "xoxb-2")

    assert [answer.get("error") for answer in answers] == [None, None, "ratelimited", "ratelimited"]
    assert json.loads(others[1])["ok"]
    assert services.messages_refused_for_rate == 2


def test_failures_come_in_the_order_in_which_they_were_asked_for(services: StandIns) -> None:
    services.fail_next("slack", "fatal_error", times=2)
    services.fail_next("slack", 503)

    answers = [ask(services, "POST", "/api/auth.test") for _ in range(4)]

    assert [status for status, _ in answers] == [200, 200, 503, 200]
    assert ["fatal_error" in text for _, text in answers] == [True, True, False, False]


def test_any_mail_client_can_talk_to_the_mail_server(services: StandIns) -> None:
    with smtplib.SMTP("127.0.0.1", services.smtp_port, timeout=LIMIT_SECONDS) as client:
        client.sendmail("a@example.com", ["b@example.com", "c@example.com"], "Subject: hello\r\n\r\n..dots")

    letters = [(letter.destination, letter.subject, letter.text) for letter in services.messages]
    assert letters == [("b@example.com", "hello", "..dots"), ("c@example.com", "hello", "..dots")]


def test_the_end_does_not_wait_for_an_answer_that_takes_long() -> None:
    with ThreadPoolExecutor() as threads, StandIns() as services:
        tenant = Tenant(services)
        services.latency("slack", 3_600)
        services.latency("email", 3_600)
        sending = [
            threads.submit(tenant.send, tenant.config(channel), message(channel))
            for channel in (SLACK, EMAIL)
        ]
        wait_until(lambda: len(services.messages) == 2, "both messages arrive")

    assert {code_of(sent.result()) for sent in sending} == {"connection_lost"}


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_running(services: StandIns) -> None:
    with pytest.raises(OSError, match="in use"), StandIns(http_port=services.http_port):
        pass
    with pytest.raises(OSError, match="in use"), StandIns(smtp_port=services.smtp_port):
        pass

    assert ask(services, "GET", "/")[0] == 200
