"""A tenant's rows of SYS_IntegrationConfig: written by hand in a form, and still never trusted, mixed up or shown."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import count
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.core.database import tenant_transaction
from include.skillreport.messaging.channels import CHANNELS, channel_of
from include.skillreport.messaging.channels.channel import Channel, ChannelConfig
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.line_works import LINE_WORKS, LineWorksConfig
from include.skillreport.messaging.channels.slack import SLACK, SlackConfig
from include.skillreport.messaging.channels.teams import TEAMS, TeamsConfig
from include.skillreport.messaging.integrations import (
    config_of,
    load_channel_rows,
    load_configs,
    rate_limits_of,
)
from include.skillreport.messaging.outbox import Lane
from tests.messaging.sending import _text, row
from tests.worlds import host_rows

pytestmark = pytest.mark.tenants("A", "B")


WEBHOOK = "https://default1.aa.environment.api.powerplatform.com/workflows/1?sig=teams-very-secret"
SLACK_WEBHOOK = "https://hooks.slack.com/services/T0/B0/slack-very-secret"
SLACK_AUTH = {"bot_token": "xoxb-very-secret"}
LINE_WORKS_AUTH = {
    "client_id": "client-1",
    "client_secret": "client-very-secret",
    "service_account": "bot@example",
    "private_key": "-----BEGIN PRIVATE KEY-----\nvery-secret\n-----END PRIVATE KEY-----",
}
BOT = {"bot_id": "2000001"}

_ids = count(1)


def integration(
    host: psycopg.Connection, tenant_id: str, key: str, auth: object = None, **values: Any
) -> None:
    """A row of the table."""
    values = {"is_enabled": True, "updated_at": datetime(2026, 10, 1), "auth_config": _text(auth)} | values
    host_rows.insert(
        host,
        "SYS_IntegrationConfig",
        id=f"config_{next(_ids)}",
        tenant_id=tenant_id,
        integration_key=key,
        **values,
    )


def configs(connection: psycopg.Connection, *tenant_ids: str) -> dict[Lane, ChannelConfig]:
    """The configurations that these tenants' transaction reads."""
    with tenant_transaction(connection, tenant_ids):
        return load_configs(connection)


# Which channel -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        ("slack", SLACK),
        ("SLACK", SLACK),
        (" Slack ", SLACK),
        ("slack_1", SLACK),
        ("teams", TEAMS),
        ("MS Teams", TEAMS),
        ("ms-teams", TEAMS),
        ("Microsoft Teams", TEAMS),
        ("microsoft_teams", TEAMS),
        ("line_works", LINE_WORKS),
        ("line-works", LINE_WORKS),
        ("lineWorks", LINE_WORKS),
        ("LINE WORKS", LINE_WORKS),
        ("LINE", LINE_WORKS),
        ("slack_webhook", SLACK),
        ("teams_connector", TEAMS),
        ("email", None),
        ("smtp", None),
        ("slackbot", None),
        ("skype", None),
        ("スラック", None),
        ("", None),
        (None, None),
    ],
)
def test_a_channel_is_known_however_it_is_spelled(name: str | None, channel: Channel | None) -> None:
    assert channel_of(name) is channel


def test_the_key_names_the_channel_or_else_the_type() -> None:
    assert channel_of("notify-1", "Slack") is SLACK
    assert channel_of(None, "Slack") is SLACK
    assert channel_of("teams", "Slack") is TEAMS
    assert channel_of("notify-1", None) is None


# One row -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "given", "expected"),
    [
        (SLACK, row(SLACK_AUTH), SlackConfig("xoxb-very-secret")),
        (SLACK, row({"token": " xoxb-1\n"}), SlackConfig("xoxb-1")),
        (SLACK, row({"bot_token": "", "token": "xoxb-1"}), SlackConfig("xoxb-1")),
        (
            SLACK,
            row({"webhook_url": "https://hooks.slack.com/x"}),
            SlackConfig(webhook_url="https://hooks.slack.com/x"),
        ),
        (
            SLACK,
            row(SLACK_AUTH, {"base_url": "http://127.0.0.1/api/"}),
            SlackConfig("xoxb-very-secret", base_url="http://127.0.0.1/api/"),
        ),
        (SLACK, row(endpoint_url=f" {SLACK_WEBHOOK}\n"), SlackConfig(webhook_url=SLACK_WEBHOOK)),
        (
            SLACK,
            row({"webhook_url": "https://hooks.slack.com/x"}, endpoint_url=SLACK_WEBHOOK),
            SlackConfig(webhook_url="https://hooks.slack.com/x"),
        ),
        (TEAMS, row({"webhook_url": WEBHOOK}), TeamsConfig(WEBHOOK)),
        (TEAMS, row(endpoint_url=f" {WEBHOOK} "), TeamsConfig(WEBHOOK)),
        (TEAMS, row({"webhook_url": WEBHOOK}, endpoint_url="https://example.com/"), TeamsConfig(WEBHOOK)),
        (TEAMS, row("no JSON", endpoint_url=WEBHOOK), TeamsConfig(WEBHOOK)),
        (LINE_WORKS, row(LINE_WORKS_AUTH, BOT), LineWorksConfig(bot_id="2000001", **LINE_WORKS_AUTH)),
        (LINE_WORKS, row(LINE_WORKS_AUTH | BOT), LineWorksConfig(bot_id="2000001", **LINE_WORKS_AUTH)),
        (
            LINE_WORKS,
            row(LINE_WORKS_AUTH, BOT | {"auth_url": "http://127.0.0.1/t", "base_url": "http://127.0.0.1/"}),
            LineWorksConfig(
                bot_id="2000001",
                auth_url="http://127.0.0.1/t",
                base_url="http://127.0.0.1/",
                **LINE_WORKS_AUTH,
            ),
        ),
    ],
)
def test_a_row_is_a_configuration(
    channel: Channel, given: dict[str, str | None], expected: ChannelConfig
) -> None:
    assert config_of(channel, given) == expected


@pytest.mark.parametrize(
    "auth",
    [
        None,
        "",
        "   ",
        "xoxb-very-secret",
        '{"bot_token": "xoxb-very-secret"',
        "{'bot_token': 'xoxb-very-secret', 'webhook_url': 'x'}",
        "null",
        "true",
        "7",
        '"xoxb-very-secret"',
        '["xoxb-very-secret"]',
        "[]",
        "{}",
        {"bot_token": None, "webhook_url": None},
        {"bot_token": 7, "webhook_url": 7},
        {"bot_token": True, "webhook_url": True},
        {"bot_token": ["xoxb-very-secret"], "webhook_url": [WEBHOOK]},
        {"bot_token": {"value": "xoxb-very-secret"}, "webhook_url": {"value": WEBHOOK}},
        {"bot_token": "  ", "webhook_url": "\n"},
        {"Bot_Token": "xoxb-very-secret", "url": WEBHOOK},
        {"auth": {"bot_token": "xoxb-very-secret", "webhook_url": WEBHOOK}},
    ],
    ids=str,
)
@pytest.mark.parametrize("channel", [SLACK, TEAMS, LINE_WORKS])
def test_a_row_without_credentials_is_none_and_says_nothing(
    channel: Channel, auth: object, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert config_of(channel, row(auth, BOT)) is None
    assert caplog.text == "".join(capsys.readouterr()) == ""


@pytest.mark.parametrize("missing", [*LINE_WORKS_AUTH, "bot_id"])
@pytest.mark.parametrize("instead", [None, "", 7, [], {}])
def test_line_works_needs_all_its_parts(missing: str, instead: object) -> None:
    whole = LINE_WORKS_AUTH | BOT
    partly = {name: value for name, value in whole.items() if name != missing}

    assert config_of(LINE_WORKS, row(whole)) is not None
    assert config_of(LINE_WORKS, row(partly)) is None
    assert config_of(LINE_WORKS, row({**partly, missing: instead})) is None


def test_a_row_without_an_endpoint_is_no_mail_server() -> None:
    assert config_of(EMAIL, row({"host": "smtp.example.jp", "bot_token": "x", "webhook_url": "x"})) is None


@pytest.mark.parametrize(
    ("channel", "given", "secrets"),
    [
        (SLACK, row(SLACK_AUTH), ["xoxb-very-secret"]),
        (SLACK, row({"webhook_url": "https://hooks.slack.com/services/very-secret"}), ["very-secret"]),
        (SLACK, row(endpoint_url=SLACK_WEBHOOK), ["very-secret"]),
        (TEAMS, row({"webhook_url": WEBHOOK}), ["teams-very-secret", "sig="]),
        (LINE_WORKS, row(LINE_WORKS_AUTH, BOT), ["client-very-secret", "PRIVATE KEY", "very-secret"]),
    ],
)
def test_no_configuration_shows_a_secret(
    channel: Channel, given: dict[str, str | None], secrets: list[str]
) -> None:
    config = config_of(channel, given)

    assert config is not None
    for shown in (repr(config), str(config), f"{config}", repr({"a": [config]})):
        assert not [secret for secret in secrets if secret in shown]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["bot_token", "token", "webhook_url", "bot_id", "base_url", *LINE_WORKS_AUTH]),
            children,
            max_size=7,
        )
    ),
    max_leaves=10,
)


WHOLE_BOTS = st.fixed_dictionaries(
    {name: st.text(min_size=1, max_size=5) | JSON for name in ["bot_id", *LINE_WORKS_AUTH]}
)


@given(
    channel=st.sampled_from(list(CHANNELS.values())),
    auth=st.none() | st.text(max_size=20) | (WHOLE_BOTS | JSON).map(json.dumps),
    connection=st.none() | st.text(max_size=20) | JSON.map(json.dumps),
    endpoint_url=st.none() | st.text(max_size=10),
)
def test_any_row_is_a_whole_configuration_or_none(
    channel: Channel, auth: str | None, connection: str | None, endpoint_url: str | None
) -> None:
    match config_of(channel, row(auth, connection, endpoint_url)):
        case SlackConfig() as slack:
            assert channel is SLACK
            assert slack.token or slack.webhook_url
        case TeamsConfig() as teams:
            assert channel is TEAMS
            assert teams.webhook_url
        case LineWorksConfig() as bot:
            assert channel is LINE_WORKS
            assert all(isinstance(value, str) for value in vars(bot).values())
            assert all(value for name, value in vars(bot).items() if name != "domain_id")


# Many rows -----------------------------------------------------------------------------------------------------------------


def test_every_channel_of_a_tenant_is_found(host: psycopg.Connection, connection: psycopg.Connection) -> None:
    integration(host, "A", "SLACK", SLACK_AUTH)
    integration(host, "A", "ms-teams", endpoint_url=WEBHOOK)
    integration(host, "A", "notify", LINE_WORKS_AUTH | BOT, integration_type="LINE WORKS")
    integration(host, "A", "salesforce", {"token": "x"}, integration_type="CRM")

    assert configs(connection, "A") == {
        Lane("A", SLACK): SlackConfig("xoxb-very-secret"),
        Lane("A", TEAMS): TeamsConfig(WEBHOOK),
        Lane("A", LINE_WORKS): LineWorksConfig(bot_id="2000001", **LINE_WORKS_AUTH),
    }


def test_the_newest_row_of_a_channel_counts(host: psycopg.Connection, connection: psycopg.Connection) -> None:
    integration(host, "A", "slack", {"bot_token": "xoxb-new"}, updated_at=datetime(2026, 10, 2))
    integration(host, "A", "Slack", {"bot_token": "xoxb-old"}, updated_at=datetime(2026, 10, 1))
    integration(host, "A", "teams", endpoint_url="https://old", updated_at=datetime(2026, 10, 1))
    integration(host, "A", "ms_teams", endpoint_url="https://new", updated_at=datetime(2026, 10, 2))

    assert configs(connection, "A") == {
        Lane("A", SLACK): SlackConfig("xoxb-new"),
        Lane("A", TEAMS): TeamsConfig("https://new"),
    }


def test_an_unusable_newer_row_does_not_replace_an_older_one(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    integration(host, "A", "slack", SLACK_AUTH)
    integration(host, "A", "Slack", "{broken", updated_at=datetime(2026, 10, 2))
    integration(host, "A", "SLACK", SLACK_AUTH, updated_at=datetime(2026, 10, 3), is_enabled=False)
    integration(host, "A", "s-lack", SLACK_AUTH, updated_at=datetime(2026, 10, 4), is_deleted=True)

    assert configs(connection, "A") == {Lane("A", SLACK): SlackConfig("xoxb-very-secret")}


def test_the_limit_of_the_used_row_counts(host: psycopg.Connection, connection: psycopg.Connection) -> None:
    integration(host, "A", "slack", SLACK_AUTH, rate_limit_per_minute=30)
    newer = datetime(2026, 10, 2)
    integration(host, "A", "Slack", "{broken", rate_limit_per_minute=600, updated_at=newer)
    integration(host, "A", "teams", endpoint_url=WEBHOOK, rate_limit_per_minute=10)
    integration(host, "A", "ms_teams", endpoint_url=WEBHOOK, updated_at=newer)

    with tenant_transaction(connection, ["A"]):
        assert rate_limits_of(load_channel_rows(connection)) == {Lane("A", SLACK): 30}


def test_the_applications_webhooks_are_found(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    integration(
        host,
        "A",
        "slack_webhook",
        integration_type="WEBHOOK",
        auth_type="NONE",
        endpoint_url=SLACK_WEBHOOK,
        connection_config=_text({"channel": "#general", "username": "SkillBot", "icon_emoji": ":bell:"}),
    )
    integration(
        host,
        "A",
        "teams_connector",
        integration_type="WEBHOOK",
        auth_type="NONE",
        endpoint_url=WEBHOOK,
        connection_config=_text({"title": "通知", "theme_color": "0076D7"}),
    )

    assert configs(connection, "A") == {
        Lane("A", SLACK): SlackConfig(webhook_url=SLACK_WEBHOOK),
        Lane("A", TEAMS): TeamsConfig(WEBHOOK),
    }


def test_a_row_with_a_key_of_the_batches_counts_before_the_applications(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    integration(host, "A", "slack", SLACK_AUTH, updated_at=datetime(2026, 10, 1))
    integration(host, "A", "slack_webhook", endpoint_url=SLACK_WEBHOOK, updated_at=datetime(2026, 10, 2))

    assert configs(connection, "A") == {Lane("A", SLACK): SlackConfig("xoxb-very-secret")}

    host.execute(
        "UPDATE \"SYS_IntegrationConfig\" SET auth_config = '{broken' WHERE integration_key = 'slack'"
    )

    assert configs(connection, "A") == {Lane("A", SLACK): SlackConfig(webhook_url=SLACK_WEBHOOK)}


# Webhooks of settings ------------------------------------------------------------------------------------------------------


def teams_setting(host: psycopg.Connection, **values: Any) -> None:
    """The application's setting with the URL of Teams."""
    values = {"setting_category": "NOTIFICATION", "updated_at": datetime(2026, 10, 1)} | values
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id=f"setting_{next(_ids)}",
        tenant_id="A",
        setting_key="TEAMS_WEBHOOK_URL",
        **values,
    )


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({"setting_value": WEBHOOK}, WEBHOOK),
        ({"setting_value": None, "default_value": WEBHOOK}, WEBHOOK),
        ({"setting_value": " ", "default_value": f" {WEBHOOK} "}, WEBHOOK),
        ({"setting_value": WEBHOOK, "default_value": "https://default"}, WEBHOOK),
        ({"setting_value": None, "default_value": None}, None),
        ({"setting_value": WEBHOOK, "is_deleted": True}, None),
        ({"setting_value": WEBHOOK, "setting_category": "UI"}, None),
        ({"setting_value": WEBHOOK, "effective_until": datetime(2026, 1, 1)}, None),
        ({"setting_value": WEBHOOK, "effective_from": datetime(9999, 1, 1)}, None),
    ],
)
def test_the_teams_url_of_the_tenants_settings_is_used(
    host: psycopg.Connection, connection: psycopg.Connection, values: dict[str, Any], url: str | None
) -> None:
    teams_setting(host, **values)

    assert configs(connection, "A") == ({Lane("A", TEAMS): TeamsConfig(url)} if url else {})
    assert configs(connection, "B") == {}


def test_an_integration_counts_before_a_setting(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    teams_setting(host, setting_value=WEBHOOK, updated_at=datetime(2026, 10, 9))
    integration(host, "A", "teams_connector", endpoint_url="https://row", updated_at=datetime(2026, 10, 1))

    assert configs(connection, "A") == {Lane("A", TEAMS): TeamsConfig("https://row")}

    host.execute('UPDATE "SYS_IntegrationConfig" SET endpoint_url = NULL')

    assert configs(connection, "A") == {Lane("A", TEAMS): TeamsConfig(WEBHOOK)}


def test_the_webhook_of_a_notification_setting_is_used_last(
    host: psycopg.Connection, connection: psycopg.Connection
) -> None:
    for key, kind in (("goal_deadline_reminder", "SLACK"), ("other", "TEAMS"), ("mail", "EMAIL")):
        host_rows.insert(
            host,
            "MST_NotificationSettings",
            id=f"notify_{key}",
            tenant_id="A",
            setting_key=key,
            notification_type=kind,
            channel_config=_text({"webhook_url": f"https://{key}.example", "channel": "#goals"}),
            is_enabled=True,
            updated_at=datetime(2026, 10, 1),
        )
    of_settings = {
        Lane("A", SLACK): SlackConfig(webhook_url="https://goal_deadline_reminder.example"),
        Lane("A", TEAMS): TeamsConfig("https://other.example"),
    }
    assert configs(connection, "A") == of_settings

    integration(host, "A", "slack", SLACK_AUTH)
    teams_setting(host, setting_value=WEBHOOK)

    assert configs(connection, "A") == {
        Lane("A", SLACK): SlackConfig("xoxb-very-secret"),
        Lane("A", TEAMS): TeamsConfig(WEBHOOK),
    }


@pytest.mark.parametrize(
    ("flags", "used"),
    [
        ({"is_enabled": True}, True),
        ({"is_enabled": None}, True),
        ({"is_enabled": False}, False),
        ({"is_deleted": True}, False),
        ({"is_enabled": None, "is_deleted": True}, False),
    ],
)
def test_a_row_that_is_switched_off_or_deleted_is_not_used(
    host: psycopg.Connection, connection: psycopg.Connection, flags: dict[str, Any], used: bool
) -> None:
    integration(host, "A", "slack", SLACK_AUTH, **flags)

    assert bool(configs(connection, "A")) is used


def test_another_tenants_row_stays_out(host: psycopg.Connection, connection: psycopg.Connection) -> None:
    integration(host, "A", "slack", {"bot_token": "xoxb-a"})
    integration(host, "B", "slack", {"bot_token": "xoxb-b"}, updated_at=datetime(2026, 10, 2))
    integration(host, "B", "teams", endpoint_url=WEBHOOK)

    of_a, of_b = Lane("A", SLACK), Lane("B", SLACK)
    assert configs(connection, "A") == {of_a: SlackConfig("xoxb-a")}
    assert configs(connection, "B") == {of_b: SlackConfig("xoxb-b"), Lane("B", TEAMS): TeamsConfig(WEBHOOK)}
    assert configs(connection, "A", "B").keys() == {of_a, of_b, Lane("B", TEAMS)}
    assert configs(connection, "C") == {}
    assert load_configs(connection) == {}
