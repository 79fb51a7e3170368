"""BATCH-018-03 through ``airflow dags test``: the operators get alerts about an incident, a lost run, and a run that never began."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from skill_batch.notifiers.alert_kinds import MISSED_RUN
from include.skillreport.core.catalog import (
    INACTIVE_TENANTS,
    SETTINGS_SYNC,
    TENANT_BILLING,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.schedule import GRACE, firings_before
from include.skillreport.core.operation_catalog import OPERATE_INVOICES
from local_stack.stand_ins import StandIns
from local_stack.stand_ins.recorder import Arrived
from tests.airflow_installation import email_connection
from tests.conftest import Database
from tests.dags.dag_runs import DagRuns
from tests.dags.running_airflow import copy_run
from tests.worlds import host_rows
from tests.worlds.billing_rows import insert

# Full hours, in UTC.
CHECKS = (datetime(2026, 11, 4, 1), datetime(2026, 11, 4, 2))


@pytest.mark.slow("runs whole DAGs")
def test_the_operators_read_who_is_in_trouble_and_which_run_was_lost(
    runs: DagRuns, airflow_metadata: str, database: Database, slack: StandIns
) -> None:
    with database.connect() as host:
        host_rows.tenant(host, "T001", tenant_name="㈱髙橋 <!channel>")
        host_rows.user(host, "T001", "hanako")
        for check_at in CHECKS:
            for call in range(30):
                at = check_at - timedelta(minutes=call + 1)
                host_rows.request(host, "hanako", at, response_status=500 if call < 10 else 200)
        runs.set_connection("skill_batch_alert_email", email_connection(slack))

        first = runs.test(TENANT_MONITORING.dag_id, f"{CHECKS[0]}+00:00")
        # The first run has ended. The execution log says that it and a run of another batch are still running.
        host.execute(
            """
            INSERT INTO batch.execution_log (
                execution_id, batch_id, dag_id, run_id, business_date, dry_run, parameters, execution_host, status, total_tenants
            )
            SELECT 'lost', %s, dag_id, run_id, business_date, false, '{}', execution_host, 'running', 1
            FROM batch.execution_log
            """,
            [TENANT_USAGE.id],
        )
        # A run whose worker was killed before it sent its alert, and a run that did send it.
        for run_id in ("untold", "told"):
            host.execute(
                """
                INSERT INTO batch.execution_log (
                    execution_id, batch_id, dag_id, run_id, attempt, business_date, dry_run, parameters, execution_host, status, started_at,
                    ended_at, total_tenants, success_count, error_count
                )
                SELECT %(run_id)s, 'BATCH-018-02', 'batch_018_02_tenant_billing', %(run_id)s, 0, '2026-10-01', false, '{}', 'h',
                    'partial', now() - interval '1 hour', now() - interval '30 minutes', 2, 1, 1
                """,
                {"run_id": run_id},
            )
        host.execute(
            """
            INSERT INTO batch.tenant_outcome (execution_id, tenant_id, status, error_code, error_message)
            VALUES ('untold', 'T001', 'failed', 'X', '税率が決まっていません');
            INSERT INTO batch.operator_alert (alert_key, channel, severity, message, delivered_at)
            VALUES ('failure:batch_018_02_tenant_billing:told:BATCH-018-02:0', 'slack', 'CRITICAL', '{}', now())
            """
        )
        # Two schedules that were in use two weeks before, and have started no run since. One DAG is paused.
        last, next_to_last, *_, before = firings_before(INACTIVE_TENANTS.cron, datetime.now(UTC) - GRACE, 15)
        in_between = next_to_last + timedelta(hours=1)
        for spec, fired_at in (
            (INACTIVE_TENANTS, before),
            (INACTIVE_TENANTS, in_between),  # by hand
            (SETTINGS_SYNC, before - timedelta(minutes=30)),
        ):
            copy_run(
                airflow_metadata,
                spec.dag_id,
                f"copy of {fired_at}",
                fired_at,
                like=TENANT_MONITORING.dag_id,
            )
        runs.metadata.execute(
            "UPDATE dag SET is_paused = dag_id = %s WHERE dag_id = ANY (%s)",
            [SETTINGS_SYNC.dag_id, [INACTIVE_TENANTS.dag_id, SETTINGS_SYNC.dag_id]],
        )
        # A cleared run whose close_run was killed: Airflow's run has ended, and the row was never closed again.
        host.execute(
            """
            INSERT INTO batch.execution_log (
                execution_id, batch_id, dag_id, run_id, attempt, reopened_at, business_date, dry_run, parameters, execution_host, status,
                started_at, ended_at, total_tenants, success_count, error_count
            )
            SELECT 'unclosed', %s, dag_id, run_id, 0, now() - interval '30 minutes', business_date, false, '{}', execution_host, 'failed',
                now() - interval '2 days', now() - interval '2 days', 1, 0, 1
            FROM batch.execution_log WHERE run_id = %s AND status = 'completed'
            """,
            [TENANT_USAGE.id, first.run_id],
        )
        second = runs.test(TENANT_MONITORING.dag_id, f"{CHECKS[1]}+00:00")
        lost = host.execute("SELECT status FROM batch.execution_log WHERE execution_id = 'lost'").fetchone()

    assert (first.state, second.state) == ("success", "success")
    # Other tests' runs may be in the metadata database, so other schedules may have missed starts too.
    missed = "バッチ未開始: "
    messages = [
        message
        for message in slack.messages
        if missed not in message.text or message.text.startswith(f"{missed}{INACTIVE_TENANTS.id}")
    ]
    untold, unclosed, not_started, digest = (message for message in messages if message.channel == "slack")
    # Critical alerts are mailed too: an invoice run that failed, and the tenant's incident.
    assert [message.subject for message in messages if message.channel == "email"] == [
        "[CRITICAL] バッチ実行失敗: BATCH-018-02 テナント課金計算バッチ（2 件中 1 件が失敗）",
        "[CRITICAL] テナント監視 11-04 11:00: 新規 1（重大 1）、バッチ 1",
    ]
    assert untold.text.startswith("バッチ実行失敗: BATCH-018-02")
    assert "• T001 ㈱髙橋 &lt;!channel&gt;: 税率が決まっていません" in untold.text
    assert "アラートの前にワーカーが止まったため" in untold.text
    assert unclosed.text.startswith("バッチ実行失敗: BATCH-018-01")
    assert "消去（Clear）してやり直した実行が、結果をまとめる前に止まりました" in unclosed.text
    assert "この実行の close_run を下流ごと消去（Clear）" in unclosed.text
    lines = digest.text.splitlines()
    assert lines[:3] == [
        "テナント監視 11-04 11:00: 新規 1（重大 1）、バッチ 1",
        "【重大】T001 ㈱髙橋 &lt;!channel&gt;: エラー率 33.3 % = 10 / 30 件（警告 5 %、重大 10 %）",
        "→ エラー率: SYS_SystemLog で 5xx の URL を確認し、アプリ担当へ連絡",
    ]
    assert lines[3].startswith("【孤立した実行】BATCH-018-01 テナント使用量集計バッチ（")
    assert "Airflow の実行が、ログを閉じずに終わっていました。失敗にしました。" in lines[3]
    assert lost == ("failed",)
    *alert, paused, severity, cause, action, _ = not_started.text.splitlines()
    assert alert == [
        f"バッチ未開始: BATCH-018-04 {INACTIVE_TENANTS.name}（14 回）",
        f"予定: {minute(before + timedelta(days=1))} から {minute(last)} までの 14 回（日本時間）の実行がありません",
        f"その前に始まった予定: {minute(before)}",
    ]
    assert paused.startswith("ほかに、一時停止中で始まっていないバッチ: ")
    assert f"BATCH-018-05（{minute(before + timedelta(days=1, minutes=-30))} から）" in paused
    assert (severity, cause) == ("重要度: HIGH", MISSED_RUN.action)
    assert action == "対処: batch_018_04_inactive_tenants を 1 回 Trigger してください（業務日は空欄）。"


@pytest.mark.slow("runs whole DAGs")
def test_the_user_of_a_lost_run_is_mailed_and_operators_not(
    runs: DagRuns, database: Database, slack: StandIns
) -> None:
    runs.set_connection(
        "skill_batch_alert_email", email_connection(slack, people={"keiri": "hanako@example.jp"})
    )
    now = datetime.now(UTC)
    with database.connect() as host:
        host_rows.tenant(host, "T001", tenant_name="㈱髙橋")
        # A dry run whose worker was killed before it sent its alert. Without a known user no alert is sent.
        failed = {"status": "failed", "ended_at": now - timedelta(minutes=30), "error_count": 1}
        for execution_id, user in (("untold", "keiri"), ("of nobody", None)):
            lost_run(host, TENANT_BILLING.id, execution_id, user, dry_run=True, success_count=0, **failed)
        # An operation that is running in the execution log, and that Airflow does not know.
        lost_run(host, OPERATE_INVOICES.id, "orphan", "keiri", status="running")
        first = runs.test(TENANT_MONITORING.dag_id, f"{CHECKS[0]}+00:00")
        told_by_first = about_runs(slack)
        second = runs.test(TENANT_MONITORING.dag_id, f"{CHECKS[1]}+00:00")
        notices = host.execute("SELECT FROM batch.orphan_notice").fetchall()

    assert (first.state, second.state) == ("success", "success")
    assert about_runs(slack) == told_by_first
    assert {(message.channel, message.destination) for message in told_by_first} == {
        ("email", "hanako@example.jp")
    }
    orphan, untold = (message.text.splitlines() for message in told_by_first)
    title, error, *who = orphan[:4]
    assert title == "バッチ実行失敗: OPERATE-INVOICES 請求書の操作"
    assert error.startswith("エラー: Airflow にこの実行がなく")
    assert error.endswith("失敗にしました")
    assert who == ["重要度: MEDIUM", "実行した人: keiri（操作）"]
    assert "実行ID: orphan" in orphan
    assert untold[0].startswith("バッチ実行失敗: BATCH-018-02 テナント課金計算バッチ")
    assert "重要度: MEDIUM\n実行した人: keiri（ドライラン）" in "\n".join(untold)
    assert notices == []


def minute(moment: datetime) -> str:
    return f"{moment.astimezone(JAPAN):%Y-%m-%d %H:%M}"


def about_runs(slack: StandIns) -> list[Arrived]:
    """All messages but those about schedules: another test's runs of a schedule may be in the metadata database."""
    return [message for message in slack.messages if not message.text.startswith("バッチ未開始")]


def lost_run(
    host: psycopg.Connection, batch_id: str, execution_id: str, user: str | None, **values: Any
) -> None:
    """A row of the execution log of a run that ``user`` triggered nine hours ago."""
    row = {"dry_run": False, **values}
    insert(
        host,
        "execution_log",
        execution_id=execution_id,
        batch_id=batch_id,
        dag_id="operate_invoices",
        run_id=execution_id,
        attempt=0,
        triggered_by=user,
        business_date="2026-10-01",
        parameters="{}",
        execution_host="h",
        started_at=datetime.now(UTC) - timedelta(hours=9),
        total_tenants=1,
        **row,
    )
