"""Reminders: one per event and threshold, on whichever days the batch runs."""

from __future__ import annotations

import json
import string
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.skillreport.batches.scheduled_notifications.reminders import (
    Occasion,
    Reminders,
    Route,
    reminders,
)
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.written_dates import day_in_words
from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.line_works import LINE_WORKS
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.channels.teams import TEAMS
from include.skillreport.messaging.destinations import destinations_for
from include.skillreport.messaging.outbox import MessageDraft, enqueue
from include.skillreport.messaging.reminder_names import CERTIFICATE_EXPIRY, GOAL_DUE
from include.skillreport.messaging.settings import ServiceSettings
from include.skillreport.messaging.template_store import default_template
from include.skillreport.messaging.templates import Template
from tests.conftest import Database
from tests.worlds import host_rows

ENDS_ON = date(2026, 12, 1)
DUE_AT = datetime(2026, 11, 1, tzinfo=UTC)
SERVICE = ServiceSettings(
    sample=False, name="スキル報告", company="サンプル株式会社", contact="support@example.jp", url=""
)
DAYS_BEFORE = {CERTIFICATE_EXPIRY: (30, 7, 1), GOAL_DUE: (7, 1)}

CERTIFICATE = Occasion(
    CERTIFICATE_EXPIRY,
    "record-1",
    "hanako@example.jp",
    ENDS_ON,
    {"full_name": "山田 花子", "certificate_name": "基本情報技術者", "expires_on": ENDS_ON},
)
GOAL = Occasion(
    GOAL_DUE,
    "goal-1",
    "taro@example.jp",
    ENDS_ON,
    {"full_name": "山田 太郎", "goal_title": "英語", "due_on": ENDS_ON},
)


def written(
    *occasions: Occasion,
    days_left: int = 30,
    language: str = "ja",
    templates: Mapping[str, Template] | None = None,
    routes: Mapping[str, Sequence[Route]] | None = None,
) -> Reminders:
    """The messages that a run writes this many days before the end."""
    return reminders(
        "T1",
        occasions,
        ENDS_ON - timedelta(days_left),
        days_before=DAYS_BEFORE,
        routes={key: [Route(default_template(key, language))] for key in DAYS_BEFORE}
        | {key: [Route(template)] for key, template in (templates or {}).items()}
        | dict(routes or {}),
        due_at=DUE_AT,
        service=SERVICE,
    )


def keys(written: Reminders) -> list[str]:
    """The keys of the messages."""
    return [draft.dedupe_key for draft in written.drafts]


@pytest.mark.parametrize(
    ("days_left", "threshold"),
    [
        (400, None),
        (31, None),
        (30, 30),
        (29, 30),
        (8, 30),
        (7, 7),
        (6, 7),
        (2, 7),
        (1, 1),
        (0, 1),
        (-1, None),
        (-30, None),
    ],
)
def test_the_nearest_threshold_that_was_reached_is_the_reminder_of_the_day(
    days_left: int, threshold: int | None
) -> None:
    expected = [] if threshold is None else [f"certificate_expiry:record-1:2026-12-01:{threshold}"]

    assert keys(written(CERTIFICATE, days_left=days_left)) == expected


@settings(max_examples=50)
@given(missed=st.sets(st.integers(0, 40)))
def test_each_threshold_is_written_once_whichever_days_are_missed(missed: set[int]) -> None:
    days_of: defaultdict[str, list[int]] = defaultdict(list)
    for days_left in range(40, -5, -1):
        if days_left not in missed:
            for key in keys(written(CERTIFICATE, days_left=days_left)):
                days_of[key].append(days_left)

    # A missed threshold is caught up until the next one is due.
    windows = {30: range(8, 31), 7: range(2, 8), 1: range(2)}
    expected = {
        f"certificate_expiry:record-1:2026-12-01:{threshold}": max(set(window) - missed)
        for threshold, window in windows.items()
        if set(window) - missed
    }
    assert {key: days[0] for key, days in days_of.items()} == expected


def test_goals_have_thresholds_of_their_own() -> None:
    assert keys(written(GOAL, CERTIFICATE, days_left=20)) == ["certificate_expiry:record-1:2026-12-01:30"]
    assert keys(written(GOAL, CERTIFICATE, days_left=5)) == [
        "goal_due:goal-1:2026-12-01:7",
        "certificate_expiry:record-1:2026-12-01:7",
    ]


def test_a_second_run_repeats_keys_unless_the_certificate_has_a_new_end() -> None:
    renewed = replace(CERTIFICATE, ends_on=ENDS_ON + timedelta(1))

    assert keys(written(CERTIFICATE)) == keys(written(CERTIFICATE))
    assert not set(keys(written(CERTIFICATE, days_left=7))) & set(keys(written(renewed, days_left=6)))


def test_two_events_never_share_a_key() -> None:
    other = replace(CERTIFICATE, reference="record-2")

    assert len(set(keys(written(CERTIFICATE, other, GOAL, days_left=7)))) == 3


def test_a_reminder_is_a_letter_to_the_employee() -> None:
    (draft,) = written(CERTIFICATE, days_left=28).drafts

    assert (draft.tenant_id, draft.channel, draft.destination, draft.due_at) == (
        "T1",
        EMAIL,
        "hanako@example.jp",
        DUE_AT,
    )
    assert draft.subject == "【資格更新のお知らせ】基本情報技術者 の期限は 28 日後です"
    assert "山田 花子 様" in draft.body
    assert "2026年12月1日" in draft.body
    assert "山田 花子 様<br>" in draft.rich


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize("occasion", [CERTIFICATE, GOAL], ids=lambda occasion: occasion.template_key)
def test_the_built_in_templates_name_everything_in_both_languages(language: str, occasion: Occasion) -> None:
    result = written(occasion, days_left=7, language=language)

    (draft,) = result.drafts
    assert result.notes == []
    assert "7" in draft.subject
    assert draft.language == language
    for value in occasion.variables.values():
        shown = day_in_words(value, language) if isinstance(value, date) else value
        assert shown in draft.subject + draft.body
    assert "{" not in draft.subject + draft.body
    template = default_template(occasion.template_key, language)
    assert (template.key, template.language, template.channel) == (
        occasion.template_key,
        language,
        EMAIL,
    )
    assert set(template.subject).issubset(string.printable) is (language == "en")


@pytest.mark.parametrize(
    ("days_left", "ja", "en"),
    [
        (0, "本日", "today"),
        (1, "明日", "tomorrow"),
        (2, "2 日後", "in 2 days"),
        (30, "30 日後", "in 30 days"),
    ],
)
def test_a_reminder_says_in_words_when_the_end_is(days_left: int, ja: str, en: str) -> None:
    (certificate,) = written(CERTIFICATE, days_left=days_left, language="en").drafts
    assert certificate.subject == f"Your certificate 基本情報技術者 ends {en}"
    assert f"is valid until 1 December 2026 ({en})." in certificate.body

    for occasion in (CERTIFICATE, GOAL):
        (draft,) = written(occasion, days_left=min(days_left, 7), language="ja").drafts
        shown = ja if days_left < 30 else "7 日後"
        assert f"期限は{' ' if shown[0].isdigit() else ''}{shown}です" in draft.subject
        assert f"2026年12月1日です（{shown}）。" in draft.body


@pytest.mark.parametrize("email", [None, ""])
def test_who_has_no_address_is_counted_in_a_note(email: str | None) -> None:
    result = written(
        replace(CERTIFICATE, email=email), replace(GOAL, email=email), replace(CERTIFICATE, reference="r2"),
        days_left=7,
    )  # fmt: skip

    assert keys(result) == ["certificate_expiry:r2:2026-12-01:7"]
    assert result.notes == ["メールアドレスのない宛先 2 件に通知できません"]


def test_employees_whose_day_has_not_come_are_not_counted() -> None:
    assert written(replace(CERTIFICATE, email=None), days_left=31).notes == []
    assert written(replace(CERTIFICATE, email=None), days_left=-1).notes == []


def test_a_refused_template_is_reported_once_and_delays_no_other() -> None:
    broken = Template(CERTIFICATE_EXPIRY, EMAIL, "ja", "件名", "{{ full_nam }}")

    result = written(
        CERTIFICATE,
        replace(CERTIFICATE, reference="r2"),
        GOAL,
        replace(CERTIFICATE, reference="r3"),
        days_left=7,
        templates={CERTIFICATE_EXPIRY: broken},
    )

    assert keys(result) == ["goal_due:goal-1:2026-12-01:7"]
    (note,) = result.notes
    assert "'certificate_expiry'" in note
    assert "変数 full_nam はありません" in note


def test_a_tenants_own_template_is_used_with_its_variables() -> None:
    own = Template(GOAL_DUE, EMAIL, "ja", "{{goal_title}}", "<p>{{full_name}} {{days_left}}</p>", True)

    (draft,) = written(replace(GOAL, variables={**GOAL.variables, "full_name": "<b>"}), days_left=1,
                       templates={GOAL_DUE: own}).drafts  # fmt: skip

    assert (draft.subject, draft.body, draft.rich) == ("英語", "<b> 1", "<p>&lt;b&gt; 1</p>")


APPLICATIONS = "{{employee_name}}|{{goal_title}}|{{deadline_date}}|{{remaining_days}}|{{progress_rate}}|{{goal_detail_url}}"


def test_the_applications_variables_stand_in_for_ours() -> None:
    own = Template("goal_deadline_reminder", EMAIL, "ja", "あと{{remaining_days}}日", APPLICATIONS)

    result = written(GOAL, days_left=7, templates={GOAL_DUE: own})

    (draft,) = result.drafts
    assert result.notes == []
    assert (draft.subject, draft.body) == ("あと7日", "山田 太郎|英語|2026年12月1日|7||")
    assert keys(result) == ["goal_due:goal-1:2026-12-01:7"]


def test_a_template_can_name_the_service() -> None:
    own = Template(
        GOAL_DUE, SLACK, "en", "{{service_name}}", "{{service_company}} {{service_contact}} {{due_on}}"
    )

    (draft,) = written(GOAL, days_left=7, routes={GOAL_DUE: [Route(own, "#goals")]}).drafts

    assert "サンプル株式会社 support@example.jp 1 December 2026" in draft.body


def test_the_designs_variables_stand_in_for_ours() -> None:
    own = Template(
        "skill_expiry",
        EMAIL,
        "ja",
        "{{certificationName}}",
        "{{userName}}|{{expiryDate}}|{% if daysLeft <= 7 %}{{daysLeft}}{% endif %}",
    )

    (draft,) = written(CERTIFICATE, days_left=7, templates={CERTIFICATE_EXPIRY: own}).drafts

    assert (draft.subject, draft.body) == ("基本情報技術者", "山田 花子|2026年12月1日|7")


def test_a_reminder_takes_the_route_of_its_kind() -> None:
    own = Template(GOAL_DUE, SLACK, "ja", "{{goal_title}}", "{{full_name}} <{{days_left}}>")

    result = written(
        replace(GOAL, email=None), CERTIFICATE, days_left=7, routes={GOAL_DUE: [Route(own, "#goals")]}
    )

    assert [(draft.channel, draft.destination) for draft in result.drafts] == [
        (SLACK, "#goals"),
        (EMAIL, "hanako@example.jp"),
    ]
    assert "山田 太郎" in result.drafts[0].body
    # A missing address matters only to e-mail.
    assert result.notes == []


def test_several_routes_have_keys_of_their_own_and_show_no_destination() -> None:
    mail = default_template(GOAL_DUE, "ja")
    slack = replace(mail, channel=SLACK)

    found = keys(
        written(GOAL, days_left=7, routes={GOAL_DUE: [Route(mail), Route(slack, "#a"), Route(slack, "#b")]})
    )

    assert found[0] == "goal_due:goal-1:2026-12-01:7"
    assert len(set(found)) == 3
    assert all(key.startswith("goal_due:goal-1:2026-12-01:7:slack:") for key in found[1:])
    assert not any("#" in key for key in found)


def test_without_a_route_there_is_no_reminder() -> None:
    assert keys(written(GOAL, CERTIFICATE, days_left=7, routes={GOAL_DUE: []})) == [
        "certificate_expiry:record-1:2026-12-01:7"
    ]


def setting(key: str, kind: str, *, enabled: bool = True, event: str = "", **config: str) -> dict[str, Any]:
    """A row of MST_NotificationSettings."""
    return {
        "setting_key": key,
        "notification_type": kind,
        "trigger_event": event or None,
        "channel_config": json.dumps(config),
        "is_enabled": enabled,
    }


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], [(EMAIL, "")]),
        ([setting("goal_deadline_reminder", "EMAIL", from_address="x@example.jp")], [(EMAIL, "")]),
        ([setting("goal_deadline_reminder", "EMAIL", enabled=False)], []),
        (
            [setting("goal_deadline_reminder", "SLACK", webhook_url="https://x", channel="#goals")],
            [(SLACK, "#goals")],
        ),
        ([setting("goal_deadline_reminder", "TEAMS")], [(TEAMS, "")]),
        ([setting("any", "Slack", event="goal_deadline_approaching", channel="C1")], [(SLACK, "C1")]),
        ([setting("goalReminder", "email")], [(EMAIL, "")]),
        ([setting("goal_due", "lineWorks", destination="users/1")], [(LINE_WORKS, "users/1")]),
        ([setting("goal_deadline_reminder", "PIGEON")], []),
        ([setting("skill_update_notification", "SLACK", enabled=False)], [(EMAIL, "")]),
        (
            [
                setting("goal_deadline_reminder", "SLACK", channel="#a"),
                setting("goal_due", "SLACK", channel="#a"),
                setting("goal_reminder", "EMAIL"),
                setting("goalReminder", "EMAIL", enabled=False),
            ],
            [(SLACK, "#a"), (EMAIL, "")],
        ),
    ],
)
def test_the_notification_settings_decide_about_the_route(
    rows: list[dict[str, Any]], expected: list[tuple[Channel, str]]
) -> None:
    assert destinations_for(GOAL_DUE, rows) == expected
    assert destinations_for(CERTIFICATE_EXPIRY, rows) == [(EMAIL, "")]


def test_without_events_no_message_is_written() -> None:
    assert written() == Reminders([], [])


def put(connection: psycopg.Connection, drafts: list[MessageDraft]) -> int:
    """Into the outbox."""
    with tenant_transaction(connection, ["T1"]):
        return enqueue(connection, drafts, created_by="test")


def test_the_outbox_takes_each_threshold_once_and_a_new_end_again(shared_database: Database) -> None:
    with shared_database.connect() as host, shared_database.connect("batch_tenant") as connection:
        host_rows.tenant(host, "T1")

        new = [
            put(connection, written(occasion, days_left=days_left).drafts)
            for occasion, days_left in [
                (CERTIFICATE, 30),
                (CERTIFICATE, 30),
                (CERTIFICATE, 29),
                (CERTIFICATE, 5),
                (CERTIFICATE, 4),
                (replace(CERTIFICATE, ends_on=ENDS_ON + timedelta(365)), -345),
            ]
        ]

    assert new == [1, 0, 0, 1, 0, 1]
