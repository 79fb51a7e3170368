"""Alerts log in to the mail server by a token, as the letters to tenants do."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk import Connection

from skill_batch.network import oauth_of
from skill_batch.notifiers.alert import Alert
from skill_batch.notifiers.channels import NotSentError, send_email
from skill_batch.notifiers.mail_session import token_request
from include.skillreport.core.errors import ConnectionInvalidError
from local_stack.stand_ins import StandIns
from tests.airflow_installation import email_connection

BY_TOKEN = {"auth_type": "oauth2", "client_id": "client-1", "client_secret": "client-very-secret"}


@pytest.fixture
def services() -> Iterator[StandIns]:
    with StandIns() as stand_ins:
        yield stand_ins


def send(services: StandIns, **extra: Any) -> None:
    fields = json.loads(email_connection(services, **extra))
    extra = {**fields.pop("extra"), "scope": "https://mail.example.jp/.default"}
    connection = Connection(conn_id="skill_batch_alert_email", **fields, extra=json.dumps(extra))
    send_email(Alert("題名", ("本文",)), "key", connection)


def test_an_alert_is_sent_after_a_login_by_token(
    services: StandIns, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    send(services, **BY_TOKEN, token_url=services.mail_token_url)

    assert [message.subject for message in services.messages] == ["[MEDIUM] 題名"]
    assert services.mail_tokens_issued == 1
    assert "client-very-secret" not in caplog.text


@pytest.mark.parametrize("fault", ["invalid_client", 500])
def test_without_a_token_nothing_was_sent(services: StandIns, fault: str | int) -> None:
    services.fail_next("mail_auth", fault)
    with pytest.raises(NotSentError):
        send(services, **BY_TOKEN, token_url=services.mail_token_url)
    assert services.messages == []


@pytest.mark.parametrize(
    "url", ["http://login.example/token", "http://127.0.0.1.example/t", "login.example", "http://["]
)
def test_the_secret_is_not_sent_in_clear_text(services: StandIns, url: str) -> None:
    with pytest.raises(LookupError, match="https://"):
        send(services, **BY_TOKEN, token_url=url)


def test_a_refused_token_is_no_login(services: StandIns) -> None:
    with pytest.raises(NotSentError, match="535"):
        send(services, auth_type="oauth2", access_token="another")


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"auth_type": "basic", **{name: "x" for name in BY_TOKEN if name != "auth_type"}},
        {**BY_TOKEN, "tenant_id": "company/../x"},
        {**BY_TOKEN, "token_url": "https://login.example/token", "scope": " scope "},
        {**BY_TOKEN, "tenant_id": "company", "client_secret": ""},
        BY_TOKEN,
        {"auth_type": "oauth2", "access_token": "fixed"},
    ],
)
def test_the_extra_means_the_same_to_alerts_and_letters(extra: dict[str, str]) -> None:
    try:
        config = oauth_of("x", extra)
    except ConnectionInvalidError as error:
        with pytest.raises(LookupError, match=str(error).rstrip("。").replace("(", ".").replace(")", ".")):
            token_request("x", extra)
        return
    request = token_request("x", extra)
    if config is None or config.access_token:
        assert request is None
        return
    assert request is not None
    url, form = request
    assert (url, form.pop("grant_type")) == (config.token_url, "client_credentials")
    assert form == {name: getattr(config, name) for name in form}
