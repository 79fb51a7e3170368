"""Every parse of a tenant's value takes less than a CPU second for 400,000 hostile characters, and is refused by our errors only.

A new parse of a tenant's value, or of what a tenant's own server answers, is a line of ``PARSES``.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import aiosmtplib
import pytest

from include.skillreport.batches.notification_settings_check.rules import TenantSettings, findings_in
from include.skillreport.batches.scheduled_notifications.digests import digests
from include.skillreport.batches.settings_sync.protected_keys import squeezed
from include.skillreport.batches.settings_sync.validation import Setting, SettingProblem, problems_of
from include.skillreport.core.errors import BatchError
from include.skillreport.core.network import EmailConfig
from include.skillreport.messaging.address_guard import check_url
from include.skillreport.messaging.channels import CHANNELS, EMAIL, channel_of
from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.channels.email.answers import not_sent
from include.skillreport.messaging.channels.email.letter import address_of, letter_of, settings_problem
from include.skillreport.messaging.channels.line_works import LINE_WORKS, LineWorksConfig
from include.skillreport.messaging.channels.line_works.client import ServiceAccountToken
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.channels.teams import TEAMS
from include.skillreport.messaging.destinations import destinations_of
from include.skillreport.messaging.integrations import config_of
from include.skillreport.messaging.message import secrets_of
from include.skillreport.messaging.preferences import preferences_of
from include.skillreport.messaging.secret_forms import forms_of
from include.skillreport.messaging.settings import NotificationSettings
from include.skillreport.messaging.templates import MAX_TEMPLATE, Template, literal, render
from tests.messaging.sending import message
from tests.worlds.queued_letters import reminder_of_goal

LENGTH = 100_000
REPEATED = (
    "<head>",
    "<!--",
    "<@",
    "&#",
    "[",
    '{"a":',
    "9",
    "@,",
    "a",
    " ",
    "é\N{COMBINING GRAVE ACCENT BELOW}",
    "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}",
    "{{ a }}",
)
TEXTS = [*((each * LENGTH)[:LENGTH] for each in REPEATED), "&#" + "9" * LENGTH]

PREFERENCES = NotificationSettings.load()


def row(**values: str) -> dict[str, Any]:
    """A row of SYS_IntegrationConfig."""
    about = {"id": "1", "integration_key": "slack", "integration_type": None}
    return about | {"auth_config": "{}", "connection_config": "{}", "endpoint_url": ""} | values


def columns(text: str) -> None:
    for channel in CHANNELS.values():
        for column in ("auth_config", "connection_config", "endpoint_url"):
            config_of(channel, row(**{column: text}))


def credentials(text: str) -> None:
    """The text as each credential of each channel, also as the secret that logs mask."""
    names = ("bot_token", "webhook_url", "username", "password", "client_id", "client_secret", "private_key")
    auth = dict.fromkeys((*names, "service_account"), text)
    connection = {"bot_id": "1", "from_address": "a@example.jp", "from_name": text}
    for channel in CHANNELS.values():
        config = config_of(
            channel, row(auth_config=json.dumps(auth), connection_config=json.dumps(connection))
        )
        for secret in secrets_of(config) if config else ():
            forms_of(secret)


def line_works_key(text: str) -> None:
    token = ServiceAccountToken(LineWorksConfig("1", "client", "secret", "bot@example", text), None)  # type: ignore[arg-type]
    asyncio.run(token.get())


def sender(text: str) -> None:
    for written in (text, f"{text} <a@example.jp>", f"a@example.jp{text}"):
        settings_problem(EmailConfig("mail.example.jp", 587, written, reply_to=text, is_tenants=True))


def letter(**values: str) -> None:
    letter_of(message(EMAIL, **values), EmailConfig("mail.example.jp", 587, "a@example.jp"))


def refused_by_own_server(text: str) -> None:
    not_sent(aiosmtplib.SMTPRecipientRefused(550, text, "a@example.jp"))


def template(body: str, channel: Channel = EMAIL, *, is_html: bool = False, **variables: str) -> None:
    render(Template("goal_due", channel, "ja", "件名", body, is_html), {"a": "x", **variables})


def setting(value: str = "a", **values: Any) -> list[SettingProblem]:
    return problems_of([Setting("1", "feature.x", value, **values)])


def checked_settings(text: str) -> None:
    of_template = {
        "id": "1",
        "template_key": text,
        "notification_type": "EMAIL",
        "language": "ja",
        "is_html": True,
    }
    of_template |= {"is_markdown": False, "subject": text, "body": text, "sample_data": "{}"}
    findings_in(
        TenantSettings([row(auth_config=text)], [of_template], refused_preferences={"language": text})
    )


def overridden(text: str) -> None:
    preferences_of(PREFERENCES, text, dict.fromkeys(type(PREFERENCES).model_fields, text), text)


PARSES: Mapping[str, Callable[[str], object]] = {
    "page": lambda text: literal(EMAIL, text, text, is_html=True),
    "page for a chat": lambda text: literal(SLACK, text, text, is_html=True),
    "text": lambda text: [literal(channel, text, text) for channel in (EMAIL, SLACK, TEAMS, LINE_WORKS)],
    "digest of pages": lambda text: digests(
        [reminder_of_goal(number, rich=text[: 2 * MAX_TEMPLATE]) for number in range(10)], ["goal_due"]
    ),
    "digest of a long page": lambda text: digests(
        [reminder_of_goal(1, rich=text), reminder_of_goal(2)], ["goal_due"]
    ),
    "template": template,
    "longest template": lambda text: template(text[:MAX_TEMPLATE]),
    "longest template of a page": lambda text: template(text[:MAX_TEMPLATE], is_html=True),
    "value in a template": lambda text: template("{{ a|title|trim|truncate(9) }}", SLACK, a=text),
    "subject of an e-mail": lambda text: letter(subject=text),
    "text of an e-mail": lambda text: letter(text=text, rich=text),
    "sender": sender,
    "address": lambda text: [address_of(each) for each in (text, f"a@{text}", f"{text}@example.jp")],
    "answer of the own mail server": refused_by_own_server,
    "columns of an integration": columns,
    "credentials": credentials,
    "key of LINE WORKS": line_works_key,
    "URL": lambda text: check_url(text),
    "path of a URL": lambda text: check_url(f"https://example.jp/{text}"),
    "host of a URL": lambda text: check_url(f"https://{text}"),
    "kind of a channel": lambda text: channel_of(text, text),
    "notification setting": lambda text: destinations_of({"channel_config": text}),
    "preferences": overridden,
    "checked settings": checked_settings,
    "value of a setting": lambda text: [
        setting(text, data_type=each) for each in ("DECIMAL", "JSON", "BOOLEAN")
    ],
    "rules of a setting": lambda text: setting(validation_rules=text),
    "number in a rule": lambda text: setting("1", validation_rules=f'{{"min": {text}}}'),
    "choices of a setting": lambda text: setting(
        text, validation_rules=json.dumps({"enum": [True] * 80_000})
    ),
    "pattern of a setting": lambda text: setting(
        "a" * 256, validation_rules=json.dumps({"pattern": text[:200]})
    ),
    "key of a setting": lambda text: (squeezed(text), Setting("1", text, "x").is_protected),
}


@pytest.mark.parametrize("parse", PARSES.values(), ids=PARSES)
def test_a_parse_of_a_tenants_value_takes_less_than_a_second(parse: Callable[[str], object]) -> None:
    for text in TEXTS:
        began = time.process_time()
        with suppress(BatchError):
            parse(text)
        assert time.process_time() - began < 1, text[:20]
