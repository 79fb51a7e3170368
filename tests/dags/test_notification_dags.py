"""BATCH-019 through ``airflow dags test``: real processes, real PostgreSQL, real sockets."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.core.failure_kinds import kind_of
from local_stack.stand_ins import StandInDirectory, StandIns
from tests.airflow_installation import smtp_connection
from tests.conftest import Database
from tests.dags.dag_runs import DagRuns
from tests.worlds import directory_rows, host_rows, outbox_rows

RUN_DATE = "2026-11-01"


@pytest.fixture
def runs(runs: DagRuns, slack: StandIns, tmp_path: Path) -> DagRuns:
    """Runs with this test's services and folder for files."""
    runs.set_variable("skill_batch_storage_url", f"file://{tmp_path / 'storage'}")
    runs.set_variable("skill_batch_allowed_hosts", ",".join(slack.allowed_hosts))
    runs.set_connection("skill_batch_smtp", smtp_connection(slack))
    return runs


@pytest.mark.slow("runs whole DAGs")
def test_a_night_of_the_family_checks_sends_tries_again_and_cleans_up(
    runs: DagRuns, database: Database, slack: StandIns, tmp_path: Path
) -> None:
    with database.connect() as host:
        for tenant_id in ("T001", "T002"):
            host_rows.tenant(host, tenant_id, admin_email=f"admin@{tenant_id}.example.jp")
        slack.show_directory("slack", "xoxb-T001", StandInDirectory([[directory_rows.member(1)]]))
        directory_rows.employees(host, [1], "T001", email="e1@a.example.jp")
        outbox_rows.slack(host, "T001", slack)
        outbox_rows.waiting(host, "T001", "SLACK", recipient_address="C1", message_body="極秘の本文")
        outbox_rows.waiting(host, "T002", recipient_address="member@t002.example.jp")
        outbox_rows.waiting(
            host,
            "T002",
            id="old",
            send_status="SUCCESS",
            scheduled_at=datetime(2026, 7, 1),
            updated_at=datetime(2026, 7, 1),
        )

    done = runs.test("batch_019_notification", RUN_DATE)

    assert done.state == "success"
    assert sorted(arrived.destination for arrived in slack.messages) == ["C1", "member@t002.example.jp"]
    with database.connect() as host:
        assert outbox_rows.statuses(host) == {("slack", "sent"): 1, ("email", "sent"): 1}
        assert host.execute(
            """SELECT count(*) FROM "HIS_NotificationLog" WHERE send_status = 'SUCCESS'"""
        ).fetchone() == (2,)
        assert host.execute(
            "SELECT batch_id, status FROM batch.execution_log ORDER BY batch_id"
        ).fetchall() == [
            ("BATCH-019-01", "completed"),
            ("BATCH-019-02", "completed"),
            ("BATCH-019-03", "completed"),
            ("BATCH-019-04", "completed"),
            ("BATCH-019-05", "completed"),
        ]
        assert directory_rows.links(host, "T001") == [("U0001", "T001-E1", "active")]
    assert len(list((tmp_path / "storage" / "notification_log").rglob("*.jsonl.gz"))) == 1
    for secret in ("xoxb-T001", "極秘の本文", "member@t002.example.jp", "e1@a.example.jp"):
        assert secret not in done.log


def test_without_a_mail_server_nothing_opens_and_the_alert_says_so(
    runs: DagRuns, database: Database, slack: StandIns
) -> None:
    with database.connect() as host:
        host_rows.tenant(host, "T001")
        outbox_rows.waiting(host, "T001")
    runs.set_connection("skill_batch_smtp", None)

    done = runs.test("batch_019_01_scheduled_notifications", RUN_DATE)

    assert done.state == "failed"
    (alert,) = slack.messages
    assert "Airflow の接続 'skill_batch_smtp' が定義されていません" in alert.text
    with database.connect() as host:
        assert host.execute("SELECT count(*) FROM batch.execution_log").fetchone() == (0,)
        assert outbox_rows.statuses(host) == {}


def test_final_failures_fail_the_hourly_run_and_are_reported_by_tenant(
    runs: DagRuns, database: Database, slack: StandIns
) -> None:
    with database.connect() as host:
        for tenant_id in ("T001", "T002"):
            host_rows.tenant(host, tenant_id)
            outbox_rows.waiting(host, tenant_id, recipient_address=f"{tenant_id}@example.jp")
    slack.refuse_recipient("T002@example.jp", "5.1.1")
    outbox_rows.run_notifications(database, slack)

    done = runs.test("batch_019_02_notification_retry", RUN_DATE)

    assert done.state == "failed"
    alert = slack.messages[-1]
    assert "バッチ実行失敗: BATCH-019-02" in alert.text
    assert "T002: 送信できなかった通知 1 件（email 1 件: 宛先のメールアドレスがありません" in alert.text
    assert f"対処: {kind_of(NOTIFICATION_RETRY, 'NOTIFICATIONS_FAILED').remedy()}" in alert.text
    assert "T001" not in alert.text
    assert "example.jp" not in alert.text.replace("airflow.example", "")
