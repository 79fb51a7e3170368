"""BATCH-019-05: every broken setting is found and reported once, and no message is sent to the channels."""

from __future__ import annotations

import json
import logging
import socket
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest

from include.skillreport.batches.notification_settings_check.rules import setting_names
from include.skillreport.core.catalog import (
    NOTIFICATION_RETRY,
    NOTIFICATION_SETTINGS_CHECK,
)
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.messaging.channels import CHANNELS
from include.skillreport.messaging.notices import NOBODY_TO_TELL
from include.skillreport.messaging.settings import NotificationSettings
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.messaging.sending import key_pair
from tests.worlds import host_rows
from tests.worlds.outbox_rows import (
    integration,
    make_due,
    network,
    run_notifications,
    slack,
    statuses,
    waiting,
)

pytestmark = pytest.mark.tenants("A", admin_email="admin@example.jp")

UPDATED_AT = datetime(2026, 10, 1)

LABELS = {"slack": "Slack", "teams": "Teams", "line_works": "LINE WORKS", "line-works": "LINE WORKS"}


def check(database: Database, services: StandIns, **arguments: Any) -> RunResult:
    """One whole run of the check."""
    return run_notifications(database, services, spec=NOTIFICATION_SETTINGS_CHECK, **arguments)


def found(host: psycopg.Connection, tenant_id: str = "A") -> list[tuple[str, str]]:
    """The findings of the tenant: subject and code."""
    return host.execute(
        "SELECT subject, code FROM batch.setting_finding WHERE tenant_id = %s ORDER BY subject, code",
        [tenant_id],
    ).fetchall()


def health(host: psycopg.Connection) -> list[tuple[str, str | None, bool]]:
    """The health of A's integrations in the application."""
    return host.execute(
        """
        SELECT integration_key, health_status, is_enabled FROM "SYS_IntegrationConfig"
        WHERE tenant_id = 'A' ORDER BY integration_key
        """
    ).fetchall()


def letters(host: psycopg.Connection) -> list[str]:
    """The texts that wait for the administrators."""
    rows = host.execute(
        "SELECT body FROM batch.outbox WHERE status = 'pending' ORDER BY created_at"
    ).fetchall()
    return [body for (body,) in rows]


def line_works(host: psycopg.Connection, services: StandIns, **auth: str) -> None:
    """A's LINE WORKS."""
    integration(
        host,
        "A",
        "line-works",
        auth={
            "client_id": "c",
            "client_secret": "s",
            "service_account": "bot@a",
            "private_key": key_pair()[0],
        }
        | auth,
        connection={
            "bot_id": "1001",
            "auth_url": services.line_works_auth_url,
            "base_url": services.line_works_base_url,
        },
    )


def webhook(host: psycopg.Connection, key: str, url: str) -> None:
    """A webhook of A in the application's form."""
    host_rows.insert(
        host,
        "SYS_IntegrationConfig",
        id=f"integration_{key}",
        tenant_id="A",
        integration_key=key,
        integration_type="WEBHOOK",
        auth_type="NONE",
        endpoint_url=url,
        is_enabled=True,
        updated_at=UPDATED_AT,
    )


def teams_setting(host: psycopg.Connection, url: str) -> None:
    """The URL of Teams in A's settings."""
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id="teams",
        tenant_id="A",
        setting_category="NOTIFICATION",
        setting_key="TEAMS_WEBHOOK_URL",
        setting_value=url,
        updated_at=UPDATED_AT,
    )


def setting(host: psycopg.Connection, key: str, kind: str, config: object, **values: Any) -> None:
    """A row of MST_NotificationSettings of A."""
    text = config if isinstance(config, str) else json.dumps(config)
    host_rows.insert(
        host,
        "MST_NotificationSettings",
        **(
            {
                "id": f"setting_{key}",
                "tenant_id": "A",
                "setting_key": key,
                "notification_type": kind,
                "trigger_event": "REPORT_READY",
                "channel_config": text,
                "is_enabled": True,
                "updated_at": UPDATED_AT,
            }
            | values
        ),
    )


def template(host: psycopg.Connection, key: str, body: str, **values: Any) -> None:
    """A row of MST_NotificationTemplate of A."""
    host_rows.insert(
        host,
        "MST_NotificationTemplate",
        **(
            {
                "id": f"template_{key}",
                "tenant_id": "A",
                "template_key": key,
                "notification_type": "EMAIL",
                "language_code": "ja",
                "subject_template": "件名",
                "body_template": body,
                "sample_data": "{}",
                "is_active": True,
                "updated_at": UPDATED_AT,
            }
            | values
        ),
    )


def test_settings_that_work_are_healthy_and_nothing_is_sent(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    slack(host, "A", services)
    integration(host, "A", "teams", auth={"webhook_url": services.teams_webhook_url})
    line_works(host, services)
    setting(host, "s1", "SLACK", {"channel": "C0123456789"})
    setting(host, "s2", "EMAIL", {"recipients": ["hanako@example.jp"]})
    template(host, "t1", "{{full_name}} 様", sample_data='{"full_name": "花子"}')

    result = check(database, services)

    assert (result.status, found(host)) == ("completed", [])
    assert health(host) == [
        ("line-works", "HEALTHY", True),
        ("slack", "HEALTHY", True),
        ("teams", "HEALTHY", True),
    ]
    assert (services.messages, statuses(host)) == ([], {})


@pytest.mark.parametrize(
    ("key", "auth", "connection", "code"),
    [
        ("slack", {"bot_token": "revoked"}, "slack", "invalid_auth"),
        ("teams", {"webhook_url": "https://x.webhook.office.com/webhookb2/1"}, "", "retired_connector"),
        ("teams", {"webhook_url": "https://outlook.office.com/webhook/1"}, "", "retired_connector"),
        ("teams", {"webhook_url": "https://169.254.169.254/?sig=x"}, "", "refused_address"),
        ("teams", {"webhook_url": "https://hooks.example.com/?sig=x"}, "", "refused_address"),
        ("slack", {"webhook_url": "https://10.0.0.8/services/T/B/x"}, "", "refused_address"),
    ],
)
def test_an_unusable_channel_is_unhealthy_and_the_administrator_is_notified(
    database: Database,
    host: psycopg.Connection,
    services: StandIns,
    key: str,
    auth: dict[str, str],
    connection: str,
    code: str,
) -> None:
    base = {"base_url": services.slack_base_url} if connection else {}
    integration(host, "A", key, auth=auth, connection=base)

    result = check(database, services)

    assert result.status == "completed"
    assert found(host) == [(f"接続先 {LABELS[key]}", code)]
    assert health(host) == [(key, "UNHEALTHY", True)]
    (letter,) = letters(host)
    assert f"接続先 {LABELS[key]}" in letter
    assert not any(secret in letter for secret in auth.values())
    assert services.messages == []


@pytest.mark.parametrize("in_setting", [False, True])
def test_a_retired_connector_of_the_application_is_found(
    database: Database, host: psycopg.Connection, services: StandIns, in_setting: bool
) -> None:
    url = "https://company.webhook.office.com/webhookb2/retired-secret"
    if in_setting:
        teams_setting(host, url)
    else:
        webhook(host, "teams_connector", url)

    result = check(database, services)

    assert (result.status, found(host)) == ("completed", [("接続先 Teams", "retired_connector")])
    assert health(host) == ([] if in_setting else [("teams_connector", "UNHEALTHY", True)])
    (letter,) = letters(host)
    assert "廃止された Office 365 コネクタの URL です" in letter
    assert "retired-secret" not in letter


def test_the_applications_webhooks_are_healthy(
    database: Database, host: psycopg.Connection, services: StandIns, caplog: pytest.LogCaptureFixture
) -> None:
    webhook(host, "slack_webhook", services.slack_webhook_url)
    teams_setting(host, services.teams_webhook_url)
    setting(host, "s1", "SLACK", {"channel": "#general"})
    setting(host, "s2", "TEAMS", {}, trigger_event="OTHER")

    assert check(database, services).status == "completed"

    assert found(host) == []
    assert health(host) == [("slack_webhook", "HEALTHY", True)]
    assert "stand-in" not in caplog.text


def test_the_url_of_a_setting_is_never_switched_off(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    teams_setting(host, "https://company.webhook.office.com/webhookb2/1")
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id="off",
        tenant_id="A",
        setting_key="batch.notification.auto_disable",
        setting_value="true",
        updated_at=UPDATED_AT,
    )

    check(database, services)

    notes = host.execute("SELECT notes FROM batch.tenant_outcome").fetchall()
    assert notes == [(["接続先 Teams: 廃止された Office 365 コネクタの URL です。設定を直してください"],)]


@pytest.mark.parametrize("in_setting", [False, True])
def test_a_closed_channel_opens_when_the_applications_url_has_changed(
    database: Database, host: psycopg.Connection, services: StandIns, in_setting: bool
) -> None:
    if in_setting:
        teams_setting(host, "https://company.webhook.office.com/webhookb2/1")
    else:
        webhook(host, "teams_connector", "https://company.webhook.office.com/webhookb2/1")
    waiting(host, "A", "TEAMS", recipient_address="")
    run_notifications(database, services)
    assert host.execute("SELECT error_code FROM batch.channel_circuit").fetchall() == [("retired_connector",)]

    changed = {"now": datetime.now(UTC).replace(tzinfo=None), "url": services.teams_webhook_url}
    host.execute('UPDATE "MST_TenantSettings" SET setting_value = %(url)s, updated_at = %(now)s', changed)
    host.execute('UPDATE "SYS_IntegrationConfig" SET endpoint_url = %(url)s, updated_at = %(now)s', changed)
    run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert [arrived.channel for arrived in services.messages] == ["teams"]


@pytest.mark.parametrize(
    ("fault", "code"), [("is_archived", "is_archived"), ("not_in_channel", "not_in_channel")]
)
def test_a_slack_channel_that_the_bot_cannot_post_to_is_found(
    database: Database, host: psycopg.Connection, services: StandIns, fault: str, code: str
) -> None:
    slack(host, "A", services)
    services.refuse_recipient("C0404", fault)
    setting(host, "s1", "SLACK", {"channel": "C0404"})

    check(database, services)

    assert found(host) == [("接続先 Slack", code)]


def test_an_archived_channel_does_not_keep_a_repaired_token_closed(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    slack(host, "A", services)
    waiting(host, "A", "SLACK")
    services.fail_next("slack", "token_revoked")
    run_notifications(database, services)
    assert host.execute("SELECT error_code FROM batch.channel_circuit").fetchall() == [("token_revoked",)]
    services.refuse_recipient("C0404", "is_archived")
    setting(host, "s1", "SLACK", {"channel": "C0404"})

    check(database, services)

    assert found(host) == [("接続先 Slack", "is_archived")]
    assert host.execute("SELECT error_code FROM batch.channel_circuit").fetchall() == []


def test_an_address_that_will_stop_is_a_warning(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    integration(host, "A", "teams", auth={"webhook_url": "https://prod-1.westus.logic.azure.com/x?sig=x"})

    check(database, services)

    assert found(host) == [("接続先 Teams", "old_address")]
    assert host.execute('SELECT health_status FROM "SYS_IntegrationConfig"').fetchall() == [("HEALTHY",)]
    (letter,) = letters(host)
    assert "早めに設定を変えてください" in letter


def test_line_works_is_asked_for_its_token_and_its_bot(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    line_works(host, services, private_key="no key")
    check(database, services)
    assert found(host) == [("接続先 LINE WORKS", "token_refused")]

    host.execute('DELETE FROM "SYS_IntegrationConfig"')
    line_works(host, services)
    services.refuse_recipient("1001", "NOT_FOUND")
    check(database, services)
    assert found(host) == [("接続先 LINE WORKS", "not_configured")]


def wrong_rows(host: psycopg.Connection) -> None:
    """One row of A for each problem that rows can have."""
    host_rows.user(host, "A", "gone")
    host.execute("""UPDATE "MST_Employee" SET employment_status = '退職' WHERE id = 'emp_gone'""")
    integration(host, "A", "slack", auth={})
    setting(host, "broken", "EMAIL", "{")
    setting(host, "gone", "EMAIL", {"recipients": ["Gone@example.jp", "no address"]}, trigger_event="X")
    setting(host, "line", "LINE_WORKS", {"destination": "users/1"}, trigger_event="Y")
    setting(host, "pigeon", "PIGEON", {})
    setting(host, "template", "EMAIL", {}, template_id="template_nowhere", trigger_event="Z")
    for key in ("twice_1", "twice_2"):
        setting(host, key, "EMAIL", {"recipients": ["a@example.jp"]}, trigger_event="TWICE")
    template(host, "unknown", "{{no_such}}")
    template(host, "loop", "{% for n in range(9) %}x{% endfor %}")
    template(host, "sample", "本文", sample_data="[1]")
    template(host, "long", "長" * 2_001, notification_type="lineWorks")
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id="quiet",
        tenant_id="A",
        setting_key="batch.notification.quiet_hours",
        setting_value="22-7",
        updated_at=UPDATED_AT,
    )


def test_invalid_settings_and_templates_in_rows_are_found(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    wrong_rows(host)

    check(database, services)

    assert found(host) == sorted(
        [
            ("通知の設定「通知しない時間帯」", "invalid_setting"),
            ("Slack", "incomplete"),
            ("テンプレート「long」（LINE WORKS、日本語）", "too_long"),
            ("テンプレート「loop」（メール、日本語）", "template_refused"),
            ("テンプレート「sample」（メール、日本語）", "bad_sample"),
            ("テンプレート「unknown」（メール、日本語）", "template_refused"),
            ("通知設定「broken」", "bad_config"),
            ("通知設定「gone」", "invalid_address"),
            ("通知設定「gone」", "recipient_left"),
            ("通知設定「line」", "not_configured"),
            ("通知設定「pigeon」", "unknown_channel"),
            ("通知設定「template」", "no_template"),
            ("通知設定「TWICE」（メール）", "duplicate"),
        ]
    )
    assert health(host) == [("slack", "UNHEALTHY", True)]


# Another channel is one more name.
_OTHERS = [channel.label for channel in CHANNELS.values()][4:]
JAPANESE_CHANNELS = "、".join(("メール", "Slack", "Teams", "LINE WORKS", *_OTHERS))
ENGLISH_CHANNELS = ", ".join(("e-mail", "Slack", "Teams", "LINE WORKS", *_OTHERS))

JAPANESE_LINES = f"""
・Slack: 外部連携「slack」の認証情報が足りないか、読めません。入れ直してください。
・テンプレート「long」（LINE WORKS、日本語）: 見本データで 2,000 文字を超えます。短くしてください。
・テンプレート「loop」（メール、日本語）: 使えません。For は使えません（置き換え、条件、一部のフィルターだけです）。直してください。
・テンプレート「sample」（メール、日本語）: 見本データを読めません。JSON の形にしてください。
・テンプレート「unknown」（メール、日本語）: 使えません。変数 no_such はありません。直してください。
・通知の設定「通知しない時間帯」: 「22-7」は使えません。22:00-07:00 のように書くか、空にしてください。それまでは標準の設定を使います。
・通知設定「TWICE」（メール）: 同じ宛先への設定が 2 件あり、同じ通知が重複します。1 件にしてください。
・通知設定「broken」: 宛先を読めません。JSON の形にしてください。
・通知設定「gone」: メールアドレスの形式が正しくない宛先が 1 件あります。直してください。
・通知設定「gone」: 退職した社員の宛先が 1 件あります。外してください。
・通知設定「line」: LINE WORKS の外部連携がありません。設定してください。
・通知設定「pigeon」: 通知の種類が分かりません。{JAPANESE_CHANNELS} のどれかにしてください。
・通知設定「template」: テンプレート 'template_nowhere' がないか無効です。選び直してください。
"""
ENGLISH_LINES = f"""
- The credentials of the integration "slack" are incomplete or cannot be read. Please enter them again.
- Template “long” (LINE WORKS, Japanese) gives more than 2,000 characters with the sample data. Please shorten it.
- Template “loop” (e-mail, Japanese) cannot be used: For is not allowed (placeholders, conditions and a few filters are). Please correct it.
- Template “sample” (e-mail, Japanese): the sample data cannot be read. Please write them as JSON.
- Template “unknown” (e-mail, Japanese) cannot be used: there is no variable no_such. Please correct it.
- Setting “quiet hours”: the value 22-7 cannot be used; write them like 22:00-07:00, or leave them empty. Until then the default applies.
- 2 notification settings “TWICE” (e-mail) have the same destination, which gets each message several times. Please keep one.
- Notification setting “broken”: the destinations cannot be read. Please write them as JSON.
- Notification setting “gone”: destinations that are no valid e-mail address: 1. Please correct them.
- Notification setting “gone”: destinations of employees who have left: 1. Please remove them.
- Notification setting “line”: there is no integration with LINE WORKS. Please set it up.
- Notification setting “pigeon”: the type of the notification is unknown. It must be one of {ENGLISH_CHANNELS}.
- Notification setting “template”: the template "template_nowhere" does not exist or is not active. Please choose another.
"""


@pytest.mark.parametrize(("language", "lines"), [("ja", JAPANESE_LINES), ("en", ENGLISH_LINES)])
def test_the_letter_speaks_of_settings_in_the_tenants_language(
    database: Database, host: psycopg.Connection, services: StandIns, language: str, lines: str
) -> None:
    host.execute("""UPDATE "MST_Tenant" SET locale = %s""", [language])
    wrong_rows(host)

    check(database, services)

    (letter,) = letters(host)
    assert lines in letter


@pytest.mark.parametrize(
    ("language", "end"),
    [("ja", "トークンが正しくありません。認証情報か権限を直してください。"), ("en", "answer: invalid_auth.")],
)
def test_the_letter_says_what_a_service_answers(
    database: Database, host: psycopg.Connection, services: StandIns, language: str, end: str
) -> None:
    host.execute("""UPDATE "MST_Tenant" SET locale = %s""", [language])
    integration(
        host, "A", "slack", auth={"bot_token": "revoked"}, connection={"base_url": services.slack_base_url}
    )

    check(database, services)

    (letter,) = letters(host)
    start = {"ja": "・接続先 Slack: ", "en": "- Slack: the service refuses the login"}[language]
    (line,) = [line for line in letter.splitlines() if line.startswith(start)]
    assert line.endswith(end)


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        (
            "no_such",
            "1",
            "・通知の設定「no_such」: 「1」は使えません。この名前の設定はありません。名前を直すか、消してください",
        ),
        (
            "fallback_hours",
            "80",
            "・通知の設定「停止中のチャネルの通知をメールで送るまでの時間」: 再送の期限より短くしてください",
        ),
    ],
)
def test_the_letter_names_a_setting_that_does_not_exist_or_contradicts_another(
    database: Database, host: psycopg.Connection, services: StandIns, key: str, value: str, line: str
) -> None:
    own = {"setting_key": f"batch.notification.{key}", "setting_value": value, "updated_at": UPDATED_AT}
    host_rows.insert(host, "MST_TenantSettings", id="own", tenant_id="A", **own)

    check(database, services)

    (letter,) = letters(host)
    assert line in letter


def test_every_setting_has_a_name_in_letters() -> None:
    assert {*NotificationSettings.model_fields, "timezone", "together", "unknown"} == {*setting_names()}


def test_the_applications_templates_are_understood(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    template(
        host,
        "goal_deadline_reminder",
        "{{employee_name}} {{goal_title}} {{deadline_date}} {% if remaining_days <= 7 %}!{% endif %}"
        " {{progress_rate}} {{goal_detail_url}}",
        sample_data=None,
        format_type="MARKDOWN",
    )
    template(
        host,
        "skill_update_notification",
        "{{employee_name}} {{skill_name}} {{updated_at}} {{updated_by}} {{skill_detail_url}} {{more}}",
        sample_data='{"more": "x"}',
        notification_type="SLACK",
    )
    template(host, "skillExpiry", "{{userName}} {{certificationName}} {{expiryDate}} {{daysLeft}}")
    slack(host, "A", services)
    setting(host, "s1", "SLACK", {"channel": "C1"}, template_id="template_skill_update_notification")

    check(database, services)

    assert found(host) == []


def test_sample_data_hide_no_variable_that_a_reminder_does_not_have(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    template(host, "goal_due", "{{no_such}}", sample_data='{"no_such": "x"}')

    check(database, services)

    assert found(host) == [("テンプレート「目標の期限の通知」（メール、日本語）", "template_refused")]


def test_sample_data_hide_no_variable_that_a_notice_does_not_have(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    template(host, "usage_warning", "{{tenant}}", sample_data='{"tenant": "x"}')
    template(host, "monthly_report", "{{month}} {{files}} {{summary}} {{service_name}}", sample_data=None)

    check(database, services)

    assert found(host) == [("テンプレート「利用量の通知」（メール、日本語）", "template_refused")]


def test_the_length_of_an_html_template_is_that_of_its_text(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    for key, page in (("short", "<p>短</p>" * 900), ("long", f"<p>{'長' * 2_001}</p>")):
        template(host, key, page, notification_type="LINE_WORKS", format_type="HTML")

    check(database, services)

    assert found(host) == [("テンプレート「long」（LINE WORKS、日本語）", "too_long")]


def test_two_keys_of_one_reminder_are_two_findings(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    template(host, "goal_due", "{{no_such}}")
    template(host, "goalReminder", "{{no_such}}")

    check(database, services)

    assert found(host) == [
        ("テンプレート「目標の期限の通知: goalReminder」（メール、日本語）", "template_refused"),
        ("テンプレート「目標の期限の通知: goal_due」（メール、日本語）", "template_refused"),
    ]


def test_two_settings_of_a_reminder_with_one_destination_send_it_once(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    slack(host, "A", services)
    for key, event in (
        ("goals_1", "goal_deadline_approaching"),
        ("goals_2", "goal_deadline_approaching"),
        ("skillExpiry", "CERTIFICATE"),
        ("skill_expiry", "CERTIFICATE"),
        ("other_1", "OTHER"),
        ("other_2", "OTHER"),
    ):
        setting(host, key, "SLACK", {"channel": "C0123456789"}, trigger_event=event)

    check(database, services)

    assert found(host) == [("通知設定「OTHER」（Slack）", "duplicate")]


def test_a_finding_is_reported_once_and_again_only_if_it_returns(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    template(host, "t1", "{{no_such}}")
    slack(host, "A", services)
    services.fail_next("slack", "token_revoked")
    check(database, services)
    assert len(letters(host)) == 1

    services.fail_next("slack", "token_revoked")
    check(database, services)
    assert len(letters(host)) == 1

    check(database, services)
    assert found(host) == [("テンプレート「t1」（メール、日本語）", "template_refused")]
    assert len(letters(host)) == 1

    services.fail_next("slack", "token_revoked")
    check(database, services)
    assert len(letters(host)) == 2


def test_a_service_that_does_not_answer_is_no_broken_setting(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    slack(host, "A", services)
    services.fail_next("slack", "token_revoked")
    check(database, services)
    services.fail_next("slack", 503)

    check(database, services)

    assert found(host) == [("接続先 Slack", "token_revoked")]
    assert health(host) == [("slack", "UNKNOWN", True)]
    assert len(letters(host)) == 1


def test_a_channel_whose_token_works_again_is_opened_again(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    slack(host, "A", services)
    waiting(host, "A", "SLACK", recipient_address="C1")
    services.fail_next("slack", "token_revoked")
    run_notifications(database, services)
    assert host.execute("SELECT channel FROM batch.channel_circuit").fetchall() == [("slack",)]

    check(database, services)

    assert host.execute("TABLE batch.channel_circuit").fetchall() == []
    run_notifications(database, services, spec=NOTIFICATION_RETRY)
    assert [arrived.destination for arrived in services.messages] == ["C1"]


def test_a_mail_server_that_refuses_us_is_the_operators_matter(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    slack(host, "A", services)
    mail = network(services)
    assert mail.email is not None
    locked = replace(mail, email=replace(mail.email, login="batch", password="wrong"))
    services.fail_next("email", "535 5.7.8 Bad credentials", times=9)

    result = check(database, services, through=locked)

    assert result.status == "failed"
    assert "メールサーバーを使えません: メールサーバーの認証に失敗しました" in result.failed_tenants[0].reason
    assert health(host) == [("slack", "HEALTHY", True)]


@pytest.mark.usefixtures("host")
def test_operators_learn_that_the_login_to_exchange_online_will_stop(
    database: Database,
    services: StandIns,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    here = socket.getaddrinfo("127.0.0.1", services.smtp_port, type=socket.SOCK_STREAM)
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda name, *a, **k: here if name == "smtp.office365.com" else resolve(name, *a, **k),
    )
    mail = network(services)
    assert mail.email is not None
    exchange = replace(
        mail, email=replace(mail.email, host="smtp.office365.com", login="batch", password="secret")
    )

    def warnings(on: date) -> int:
        caplog.clear()
        assert check(database, services, on=on, through=exchange).status == "completed"
        return caplog.text.count("接続 'skill_batch_smtp': Exchange Online はパスワードでのログインを")

    caplog.set_level(logging.INFO)
    sunday, monday, tuesday = (date(2026, 11, day) for day in (1, 2, 3))
    assert [warnings(sunday), warnings(monday), warnings(tuesday)] == [1, 1, 0]
    assert services.messages == []


def test_a_mail_server_that_works_again_opens_every_tenants_mail(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    waiting(host, "A")
    services.fail_next("email", "550 5.7.1 Not your domain", command="MAIL")
    run_notifications(database, services)
    closed = "SELECT closed_at IS NOT null FROM batch.service_limit"
    assert host.execute(closed).fetchall() == [(True,)]
    make_due(host)

    check(database, services)
    run_notifications(database, services, spec=NOTIFICATION_RETRY)

    assert [arrived.destination for arrived in services.messages] == ["member@example.jp"]


def test_a_broken_channel_is_switched_off_only_where_the_setting_says_so(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    slack(host, "A", services)
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id="off",
        tenant_id="A",
        setting_key="batch.notification.auto_disable",
        setting_value="true",
        updated_at=UPDATED_AT,
    )
    services.fail_next("slack", "token_revoked")

    check(database, services)

    assert health(host) == [("slack", "UNHEALTHY", False)]


@pytest.mark.parametrize(
    ("token", "status", "findings"),
    [("xoxb-A", "HEALTHY", []), ("revoked", "UNHEALTHY", [("接続先 Slack", "invalid_auth")])],
)
def test_the_row_that_messages_use_is_checked(
    database: Database,
    host: psycopg.Connection,
    services: StandIns,
    token: str,
    status: str,
    findings: list[tuple[str, str]],
) -> None:
    integration(
        host, "A", "slack", auth={"bot_token": token}, connection={"base_url": services.slack_base_url}
    )
    integration(host, "A", "slack_2", auth={})
    host.execute(
        """UPDATE "SYS_IntegrationConfig" SET updated_at = '2026-10-02' WHERE integration_key = 'slack_2'"""
    )

    check(database, services)

    assert found(host) == [("Slack", "duplicate"), ("Slack", "incomplete"), *findings]
    assert health(host) == [("slack", status, True), ("slack_2", "UNHEALTHY", True)]


def test_looking_at_the_url_does_not_reopen_a_closed_webhook(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    integration(host, "A", "slack", auth={"webhook_url": services.slack_webhook_url})
    waiting(host, "A", "SLACK")
    services.fail_next("slack", "no_service")
    run_notifications(database, services)

    check(database, services)

    assert host.execute("SELECT error_code FROM batch.channel_circuit").fetchall() == [("no_service",)]


def test_an_unreachable_mail_server_is_reported_before_nine(
    database: Database, host: psycopg.Connection, services: StandIns, unused_port: int
) -> None:
    mail = network(services)
    assert mail.email is not None
    gone = replace(mail, email=replace(mail.email, port=unused_port))

    result = check(database, services, through=gone)

    assert result.status == "failed"
    assert "メールサーバーに接続できません" in result.failed_tenants[0].reason
    assert letters(host) == []


def test_a_finding_without_recipient_is_reported_once_there_is_a_recipient(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host.execute('UPDATE "MST_Tenant" SET admin_email = NULL')
    template(host, "t1", "{{no_such}}")
    check(database, services)
    assert letters(host) == []
    assert host.execute("SELECT %s = any(notes) FROM batch.tenant_outcome", [NOBODY_TO_TELL]).fetchall() == [
        (True,)
    ]

    host.execute("""UPDATE "MST_Tenant" SET admin_email = 'admin@example.jp'""")
    check(database, services)
    check(database, services)

    assert len(letters(host)) == 1
