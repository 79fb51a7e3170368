"""A whole Airflow whose schedule goes on after a pause, the daily alert about it, and the check of the approvals' DAGs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from skill_batch.notifiers.alert_kinds import LOST_REQUEST
from include.skillreport.approvals import SEND_ALL
from include.skillreport.core.catalog import (
    NOTIFICATION_RETRY,
    SCHEDULED_NOTIFICATIONS,
    TENANT_MONITORING,
)
from include.skillreport.core.execution.schedule import firings_before
from include.skillreport.core.operation_catalog import APPROVE_RESUMPTION
from include.skillreport.schema.checks import airflow_dags
from include.skillreport.schema.checks.airflow_dags import ALERT_CONNECTION, MAC_CONNECTION, check_airflow
from local_stack.stand_ins import StandIns
from local_stack.stand_ins.alert_receiver import RECEIVER_KEY
from tests.airflow_installation import AirflowInstallation, folder_of_dags
from tests.conftest import Database
from tests.dags.dag_runs import DagRuns
from tests.dags.running_airflow import Api, StartAirflow, answer_request, open_request
from tests.waiting import wait_until
from tests.worlds import host_rows
from tests.worlds.outbox_rows import slack as slack_of
from tests.worlds.outbox_rows import statuses, waiting

SENDING, RETRY, APPROVAL = (
    spec.dag_id for spec in (SCHEDULED_NOTIFICATIONS, NOTIFICATION_RETRY, APPROVE_RESUMPTION)
)


@pytest.mark.slow("starts all of Airflow's processes")
def test_a_lost_resumption_starts_again_and_is_reported_once_a_day(
    runs: DagRuns,
    airflow: AirflowInstallation,
    database: Database,
    slack: StandIns,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with database.connect() as host:
        host.execute(
            """
            INSERT INTO batch.approval_request (request_id, kind, business_date, asked_by, dag_id, run_id, asked_at)
            VALUES ('r', 'resumption', '2026-11-04', 'run', 'approve_resumption', 'r', now() - interval '1 hour');
            INSERT INTO batch.approval_item (
                request_id, tenant_id, item_id, tenant_code, tenant_name, held_by, fingerprint, figures, reason
            ) VALUES ('r', 'BATCH-019-01', 'BATCH-019-01', 'BATCH-019-01', '', 'run', 'f', '{}', '止まっていました');
            INSERT INTO batch.outbox (
                message_id, tenant_id, dedupe_key, channel, destination, subject, body, due_at, next_attempt_at, created_by, deferred_for
            ) VALUES ('m', 'A', 'k', 'email', 'a@example.jp', '', '', now(), now(), 'run', 'BATCH-019-01')
            """
        )
    for hour in (10, 11):
        assert runs.test(TENANT_MONITORING.dag_id, f"2026-11-04 {hour}:00+09:00").state == "success"

    with database.connect() as host:
        ((again,),) = host.execute("SELECT run_id FROM batch.approval_request").fetchall()
    assert again.startswith("r_again_")
    assert runs.metadata.execute(
        "SELECT state, conf FROM dag_run WHERE dag_id = %s AND run_id = %s", [APPROVAL, again]
    ).fetchall() == [("queued", {"request": "r"})]
    (lost,) = (each.text for each in slack.messages if each.text.startswith(LOST_REQUEST.name))
    assert "承認依頼の実行 r が Airflow にありません" in lost
    assert f"/dags/{APPROVAL}/runs/{again}/required_actions" in lost

    (told,) = (each.text for each in slack.messages if each.text.startswith("再開の承認"))
    assert told.startswith("再開の承認: BATCH-019-01 定期通知送信バッチ（通知 1 件）\n待っている通知: 1 件")
    assert "\n理由: 止まっていました\n重要度: HIGH\n" in told
    assert f"/dags/{APPROVAL}/runs/{again}/required_actions" in told

    for name, value in airflow.environment.items():
        monkeypatch.setenv(name, value)
    runs.metadata.execute("UPDATE dag SET is_paused = dag_id = %s", [APPROVAL])
    assert [(each.code, each.subject) for each in check_airflow()] == [
        ("backup-mac", MAC_CONNECTION),
        ("approval-paused", APPROVAL),
    ]
    runs.metadata.execute("UPDATE dag SET is_paused = false")
    monkeypatch.setenv(f"AIRFLOW_CONN_{MAC_CONNECTION.upper()}", '{"conn_type": "generic", "password": "x"}')
    receiver = f"AIRFLOW_CONN_{ALERT_CONNECTION.upper()}"
    monkeypatch.setenv(receiver, '{"conn_type": "http", "host": "alerts.example.jp", "password": "weak"}')
    assert [each.code for each in airflow_dags._unusable_signing_key()] == ["alert-key"]
    monkeypatch.setenv(receiver, f'{{"conn_type": "http", "password": "{RECEIVER_KEY}"}}')
    assert check_airflow() == []
    monkeypatch.delenv(f"AIRFLOW_CONN_{MAC_CONNECTION.upper()}")
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql+psycopg2://nobody@127.0.0.1:1/none")
    assert [each.code for each in check_airflow()] == ["approvals-unchecked"]


@pytest.fixture
def api(start_airflow: StartAirflow, tmp_path: Path) -> Iterator[Api]:
    dags = folder_of_dags(tmp_path / "dags", SENDING, RETRY, APPROVAL)
    with start_airflow(dags) as api:
        replace(api, dag_id=APPROVAL).unpause()
        yield api


@pytest.mark.exclusive
@pytest.mark.long
def test_an_old_schedule_goes_on_and_surprises_nobody(api: Api, database: Database, slack: StandIns) -> None:
    sending, retry, approval = (replace(api, dag_id=dag_id) for dag_id in (SENDING, RETRY, APPROVAL))
    (tick,) = firings_before(SCHEDULED_NOTIFICATIONS.cron, datetime.now(UTC), 1)
    due = (tick - timedelta(hours=1)).astimezone(UTC).replace(tzinfo=None)
    with database.connect() as host:
        host_rows.tenant(host, "T001")
        slack_of(host, "T001", slack)
        waiting(
            host, "T001", "SLACK", recipient_address="C1", message_body="長い停止のあと", scheduled_at=due
        )

    # Un-pausing starts the missed run at once.
    sending.rest()

    with database.connect() as host:
        assert statuses(host) == {("slack", "pending"): 1}
        ((asked,),) = host.execute("SELECT run_id FROM batch.approval_request").fetchall()
    (run,) = sending.call("GET", f"/api/v2/dags/{SENDING}/dagRuns")["dag_runs"]
    assert (run["run_type"], run["state"]) == ("scheduled", "success")
    (told,) = (each.text for each in slack.messages)
    assert told.startswith("再開の承認: BATCH-019-01 定期通知送信バッチ（通知 ")
    assert open_request(approval, asked)["subject"] == "再開の承認: BATCH-019-01（通知 1 件）"

    # A clear keeps the decision, and a run by hand sends only what is not held.
    sending.clear_task(run["dag_run_id"], "open_run")
    assert sending.wait(run["dag_run_id"]) == "success"
    assert sending.wait(sending.trigger()) == "success"
    assert len(slack.messages) == 1

    answer_request(approval, asked, SEND_ALL, hours=24)
    assert approval.wait(asked) == "success"
    retry.unpause()
    wait_until(lambda: any("長い停止のあと" in each.text for each in slack.messages), "the message arrives")
    with database.connect() as host:
        assert host.execute("SELECT answered_by, result_text FROM batch.approval_item").fetchall() == [
            ("Anonymous", "送る通知 1 件、破棄した通知 0 件")
        ]
