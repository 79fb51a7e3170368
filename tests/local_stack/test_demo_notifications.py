"""The broken settings of the demo: BATCH-019-05 finds all of them without sending a message."""

from __future__ import annotations

from datetime import date

from include.skillreport.core.catalog import NOTIFICATION_SETTINGS_CHECK
from local_stack.generator import DataShape, load_demo_data
from local_stack.notifications import REFUSED_BY_STAND_INS, plant_notifications
from local_stack.stand_ins import StandIns
from local_stack.tenants import DEMO_TENANTS
from tests.conftest import Database
from tests.worlds.outbox_rows import run_notifications

SHAPE = DataShape(
    tenants=len(DEMO_TENANTS),
    users_per_tenant=20,
    first_day=date(2026, 10, 31),
    days=1,
    requests_per_day=0,
)

PLANTED = [
    ('O\'Hara/../"X"', "Slack", "incomplete"),
    ('O\'Hara/../"X"', "通知の設定「通知しない時間帯」", "invalid_setting"),
    ('O\'Hara/../"X"', "通知設定「REPORT_READY」（メール）", "duplicate"),
    ('O\'Hara/../"X"', "通知設定「reports_1」", "invalid_address"),
    ("TKH-DSN", "接続先 Slack", "invalid_auth"),
    ("TKH-FND", "テンプレート「monthly」（Slack、日本語）", "template_refused"),
    ("TKH-FND", "テンプレート「目標の期限の通知」（メール、日本語）", "template_refused"),
    ("TKH-FND", "接続先 Teams", "refused_address"),
    ("TKH-HD", "通知設定「monthly_mail」", "recipient_left"),
    ("TKH-MFG", "接続先 Slack", "is_archived"),
    ("TKH-MFG", "通知設定「monthly_slack」", "no_template"),
    ("TKH-SOL", "接続先 Teams", "retired_connector"),
    ("TKH-SOL", "通知設定「goals_line」", "not_configured"),
    ("YMZ-LOG", "テンプレート「monthly」（メール、日本語）", "bad_sample"),
    ("YMZ-LOG", "接続先 LINE WORKS", "no_bot_permission"),
]


def test_every_broken_setting_is_found_and_nothing_is_sent(database: Database) -> None:
    with StandIns() as services, database.connect() as connection:
        load_demo_data(connection, SHAPE)
        plant_notifications(connection, services.http_port)
        for recipient, code in REFUSED_BY_STAND_INS.items():
            services.refuse_recipient(recipient, code)

        result = run_notifications(database, services, spec=NOTIFICATION_SETTINGS_CHECK)

        assert result.status == "completed"
        assert (
            sorted(
                connection.execute(
                    """
                SELECT tenant.tenant_code, finding.subject, finding.code
                FROM batch.setting_finding AS finding INNER JOIN batch.all_tenant AS tenant USING (tenant_id)
                """
                ).fetchall()
            )
            == PLANTED
        )
        assert services.messages == []
