"""Alerts repeat limits and escapes of the tenants' channels, because they may not import them. Both sides agree."""

from __future__ import annotations

import json

from skill_batch.notifiers.alert import Alert, escape_slack
from skill_batch.notifiers.http_bodies import teams_body
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.channels.slack.blocks import control_escaped
from include.skillreport.messaging.channels.teams import TEAMS, is_small_enough
from local_stack.stand_ins import StandIns
from tests.messaging.sending import Tenant, message

LONG = Alert("題名" * 500, tuple("長い行です。" * 1_000 for _ in range(100)))


def test_the_client_of_slack_accepts_the_blocks_of_a_long_alert() -> None:
    tenant = Tenant(StandIns())
    assert tenant.check(tenant.slack, message(SLACK, rich=LONG.as_blocks())) is None


def test_a_long_alert_fits_into_a_card_of_teams() -> None:
    body = teams_body(LONG)
    assert len(body) > 8_000
    assert is_small_enough(json.loads(body)["attachments"][0])


def test_cards_of_alerts_escape_as_the_channel_teams_does() -> None:
    text = r"\ ` * _ [銀行](http://evil.example) # + - ! | ~ < > ."
    card = json.loads(teams_body(Alert(text, ())))["attachments"][0]["content"]
    assert card["body"][0]["text"] == TEAMS.escape_of(is_markdown=False)(text)


def test_alerts_escape_as_the_channel_slack_does() -> None:
    text = "<!channel> & <https://example.jp|here> &amp;"
    assert escape_slack(text) == control_escaped(text)
