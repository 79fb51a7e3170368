"""Several reminders of one kind for one recipient become one message; each event is sent once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from html.parser import HTMLParser
from itertools import count

import psycopg
import pytest
from typing_extensions import override

from include.skillreport.batches.scheduled_notifications import create_batch
from include.skillreport.batches.scheduled_notifications.digests import digests
from include.skillreport.core.catalog import SCHEDULED_NOTIFICATIONS
from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.channels.line_works import LINE_WORKS, LONGEST_TEXT
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.channels.slack.blocks import LONGEST_TEXT as LONGEST_SLACK_TEXT
from include.skillreport.messaging.channels.slack.blocks import fit
from include.skillreport.messaging.channels.teams import TEAMS, card_of, is_small_enough
from include.skillreport.messaging.outbox import MessageDraft
from include.skillreport.messaging.reminder_names import CERTIFICATE_EXPIRY, GOAL_DUE
from local_stack.batch_runs import LOCAL, run_batch
from local_stack.stand_ins import Arrived, StandIns
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.outbox_rows import TODAY, line_works, network, slack
from tests.worlds.queued_letters import DUE_AT, reminder_of_goal

BOTH = (CERTIFICATE_EXPIRY, GOAL_DUE)

_ids = count(1)


def sent(drafts: Sequence[MessageDraft]) -> list[MessageDraft]:
    """The messages that are sent."""
    return [each for each in digests(drafts, BOTH) if not each.is_merged]


class WellFormed(HTMLParser):
    """Collects the open elements of a page, and the names of all."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.names = list[str](), list[str]()
        self.feed(page)
        self.close()
        assert self.open == []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        if tag not in ("hr", "br", "meta", "img"):
            self.open.append(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_single_reminder_stays_as_it_was() -> None:
    drafts = [
        reminder_of_goal(1),
        reminder_of_goal(2, destination="other"),
        reminder_of_goal(3, template_key=CERTIFICATE_EXPIRY),
    ]

    assert digests(drafts, BOTH) == drafts


def test_other_messages_and_kinds_stay_as_they_were() -> None:
    drafts = [reminder_of_goal(number, template_key=None) for number in range(3)]

    assert digests(drafts, BOTH) == drafts
    assert digests([reminder_of_goal(1), reminder_of_goal(2)], ()) == [
        reminder_of_goal(1),
        reminder_of_goal(2),
    ]


@pytest.mark.parametrize(
    ("language", "subject"), [("ja", "件名1（ほか 2 件）"), ("en", "件名1 (and 2 more)")]
)
def test_the_digest_contains_all_events_and_each_keeps_its_key(language: str, subject: str) -> None:
    drafts = [
        reminder_of_goal(1, language=language),
        reminder_of_goal(2, language=language, priority=1),
        reminder_of_goal(3, language=language),
    ]

    first, *merged = digests(drafts, BOTH)

    assert (first.subject, first.priority, first.template_key) == (subject, 1, GOAL_DUE)
    assert first.dedupe_until == DUE_AT + timedelta(days=3)
    assert [f"本文{number}" in first.body for number in (1, 2, 3)] == [True] * 3
    assert [each.dedupe_key for each in merged] == [each.dedupe_key for each in drafts]
    assert all(each.is_merged and not each.body and each.rich is None for each in merged)
    # The same reminders, in whatever order, are the same digest.
    assert digests(drafts[::-1], BOTH)[0].dedupe_key == first.dedupe_key


def test_a_digest_has_at_most_ten_reminders() -> None:
    assert [each.body.count("本文") for each in sent([reminder_of_goal(number) for number in range(21)])] == [
        10,
        10,
        1,
    ]


def test_a_page_is_one_page_whatever_the_pages_are() -> None:
    pages = [
        "<!DOCTYPE html><html lang='ja'><head><meta charset='utf-8'><title>題</title><style>p{}</style></head>"
        "<BODY style='color: red'><p>一</p></BODY></html>",
        "<html><body><p>二</p>",
        "<p>三</p>",
        str(reminder_of_goal(4).rich),
    ]

    (digest,) = sent([reminder_of_goal(number, rich=page) for number, page in enumerate(pages)])

    names = WellFormed(digest.rich).names
    assert {name: names.count(name) for name in ("html", "head", "body", "title", "style", "hr", "div")} == {
        "html": 1,
        "head": 1,
        "body": 1,
        "title": 0,
        "style": 1,
        "hr": 3,
        "div": 4,
    }
    assert "<div style='color: red'><p>一</p></div>" in digest.rich


def test_slack_gets_no_more_blocks_than_it_takes() -> None:
    messages = sent([reminder_of_goal(number, SLACK, "あ" * 5_000) for number in range(6)])

    assert [len(each.rich) for each in messages] == [7, 7, 7]
    assert all(fit(each.rich) and len(each.body) <= LONGEST_SLACK_TEXT for each in messages)


def test_a_card_stays_below_the_size_that_teams_takes() -> None:
    messages = sent([reminder_of_goal(number, TEAMS, "あ" * 3_000) for number in range(7)])

    assert len(messages) == 4
    assert all(is_small_enough(card_of(each.rich)) for each in messages)
    assert [element.get("separator") for element in messages[0].rich] == [None, None, True, None]


@pytest.mark.parametrize(("length", "messages"), [(400, 2), (990, 3), (995, 5), (2_500, 5)])
def test_line_works_gets_no_text_above_its_limit(length: int, messages: int) -> None:
    parts = sent([replace(reminder_of_goal(number, LINE_WORKS), body="あ" * length) for number in range(5)])

    assert len(parts) == messages
    assert all(len(each.body) <= max(LONGEST_TEXT, length) for each in parts)
    assert sum(each.body.count("あ") for each in parts) == 5 * length


# A whole run.


def goal(host: psycopg.Connection, tenant_id: str, user_id: str, title: str, due_on: date) -> None:
    """A goal of an employee."""
    host_rows.insert(
        host,
        "TRN_GoalProgress",
        id=f"goal_{next(_ids)}",
        tenant_id=tenant_id,
        employee_id=f"emp_{user_id}",
        goal_title=title,
        goal_type="SKILL",
        target_date=datetime.combine(due_on, datetime.min.time()),
        achievement_status="in_progress",
        updated_at=host_rows.UPDATED_AT,
        created_by=user_id,
        updated_by=user_id,
    )


@pytest.fixture
def goals(host: psycopg.Connection) -> None:
    """Three goals of Hanako (tenant A) and two of Jiro (tenant B) are due in seven days."""
    for tenant_id, user_id, titles in (("A", "hanako", ("英語", "Java", "SQL")), ("B", "jiro", ("Go", "C"))):
        host_rows.tenant(host, tenant_id, admin_email=f"{tenant_id}@example.jp")
        host_rows.user(host, tenant_id, user_id)
        for title in titles:
            goal(host, tenant_id, user_id, title, TODAY + timedelta(days=7))


def run(database: Database, services: StandIns, day: date = TODAY) -> list[Arrived]:
    """The messages that a run on this day sends."""
    before = len(services.messages)
    with database.working() as (platform, connection):
        result = run_batch(
            platform,
            connection,
            SCHEDULED_NOTIFICATIONS,
            create_batch(LOCAL),
            day,
            network=network(services),
        )
    assert result.status == "completed"
    return services.messages[before:]


def route(host: psycopg.Connection, kind: str, **config: str) -> None:
    """The setting of tenant A for the reminders of goals."""
    host_rows.insert(
        host,
        "MST_NotificationSettings",
        id="route",
        tenant_id="A",
        setting_key="goal_due",
        notification_type=kind,
        channel_config=json.dumps(config),
        is_enabled=True,
        updated_at=host_rows.UPDATED_AT,
    )


@pytest.mark.usefixtures("goals")
def test_each_person_gets_one_digest_a_day_with_each_goal_once(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    letters = {arrived.destination: arrived for arrived in run(database, services)}

    assert set(letters) == {"hanako@example.jp", "jiro@example.jp"}
    assert len(services.messages) == 2
    hanako = letters["hanako@example.jp"]
    assert hanako.subject.endswith("（ほか 2 件）")
    assert all(title in hanako.text and title in hanako.rich for title in ("英語", "Java", "SQL"))
    assert not any(title in hanako.text for title in ("「Go」", "「C」"))
    WellFormed(hanako.rich)

    assert run(database, services) == []
    goal(host, "A", "hanako", "Rust", TODAY + timedelta(days=8))
    (next_day,) = run(database, services, TODAY + timedelta(days=1))
    assert "Rust" in next_day.text
    assert "英語" not in next_day.text
    assert "ほか" not in next_day.subject


@pytest.mark.usefixtures("goals")
def test_a_tenant_may_want_single_letters(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id="digest",
        tenant_id="A",
        setting_key="batch.notification.digest",
        setting_value="",
        updated_at=host_rows.UPDATED_AT,
    )

    arrived = run(database, services)

    assert sorted(each.destination for each in arrived) == [*["hanako@example.jp"] * 3, "jiro@example.jp"]
    assert run(database, services) == []


@pytest.mark.usefixtures("goals")
@pytest.mark.parametrize("channel", [SLACK, TEAMS, LINE_WORKS])
def test_a_chat_service_takes_the_digest(
    database: Database, host: psycopg.Connection, services: StandIns, channel: Channel
) -> None:
    if channel == SLACK:
        slack(host, "A", services)
        route(host, "SLACK", channel="C1")
    elif channel == TEAMS:
        route(host, "TEAMS", webhook_url=services.teams_webhook_url)
    else:
        line_works(host, "A", services)
        route(host, "LINE_WORKS", destination="users/1")

    (arrived,) = [each for each in run(database, services) if each.channel == channel]

    assert all(title in arrived.text for title in ("英語", "Java", "SQL"))
    assert len(arrived.text) <= LONGEST_TEXT
