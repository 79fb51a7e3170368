"""A run that a user marks as failed in Airflow is recorded and reported once. Airflow runs no callback then."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from skill_batch.notifiers.alert import Alert
from skill_batch.notifiers.alert_outbox import send_alert
from skill_batch.notifiers.channels import load_channels
from skill_batch.notifiers.failure_alert import failure_key
from include.skillreport.core.catalog import TENANT_BILLING, TENANT_MANAGEMENT, TENANT_USAGE
from include.skillreport.core.operation_catalog import OPERATE_NOTIFICATIONS
from include.skillreport.core.run_spec import RunSpec
from local_stack.stand_ins import StandIns
from tests.airflow_installation import email_connection, slack_connection
from tests.board.conftest import Board
from tests.waiting import wait_until
from tests.worlds.night_rows import run

MARKED = "ユーザーがこの実行を失敗にしました（画面または API）"


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIns]:
    with StandIns() as stand_ins:
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_SLACK", slack_connection(stand_ins.slack_base_url))
        people = email_connection(stand_ins, people={"admin": "admin@example.jp"})
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_EMAIL", people)
        yield stand_ins


def mark(board: Board, dag_id: str, run_id: str) -> None:
    answer = board.api("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}", json={"state": "failed"})
    assert answer.json()["state"] == "failed"


@pytest.mark.parametrize(
    ("spec", "dag_id", "receiver"),
    [
        (TENANT_USAGE, TENANT_USAGE.dag_id, "#night-duty"),
        (TENANT_USAGE, TENANT_MANAGEMENT.dag_id, "#night-duty"),
        (OPERATE_NOTIFICATIONS, OPERATE_NOTIFICATIONS.dag_id, "admin@example.jp"),
    ],
    ids=["batch", "family", "operation"],
)
def test_a_marked_run_is_closed_and_reported_once_with_a_low_severity(
    board: Board, host: psycopg.Connection, services: StandIns, spec: RunSpec, dag_id: str, receiver: str
) -> None:
    execution = run(
        host, spec, minutes=None, status="running", run_id="marked", dag_id=dag_id, business_date="2026-10-31"
    )
    with board.living_run(dag_id, "marked"):
        mark(board, dag_id, "marked")
        wait_until(lambda: bool(services.messages), "the alert arrives")
        mark(board, dag_id, "marked")
        # The callback of a killed task would send an alert with the same key to the same receiver.
        person = "admin" if spec is OPERATE_NOTIFICATIONS else None
        key = failure_key(dag_id, "marked", spec.id, 0)
        assert send_alert(Alert("from the callback", (), triggering_user=person), key, load_channels())

    (message,) = services.messages
    assert message.destination == receiver
    user = "実行した人: admin（操作）\n" if person else ""
    assert message.text.startswith(f"バッチ実行失敗: {spec.id} {spec.name}\nエラー: {MARKED}\n")
    assert f"\n業務日: 2026-10-31\n重要度: MEDIUM\n{user}" in message.text
    assert f"\n実行ID: {execution}\n" in message.text
    (row,) = host.execute("SELECT status, error_message FROM batch.execution_log").fetchall()
    assert row == ("failed", MARKED)


def test_a_run_that_has_not_begun_is_reported(board: Board, services: StandIns) -> None:
    with board.living_run(TENANT_USAGE.dag_id, "queued"):
        mark(board, TENANT_USAGE.dag_id, "queued")
        wait_until(lambda: bool(services.messages), "the alert arrives")
    assert "実行ID: queued" in services.messages[0].text


@pytest.mark.parametrize("dag_id", [TENANT_BILLING.dag_id, TENANT_MANAGEMENT.dag_id], ids=["batch", "family"])
def test_a_marked_run_whose_work_is_done_has_no_remedy(
    board: Board, host: psycopg.Connection, services: StandIns, dag_id: str
) -> None:
    execution = run(host, TENANT_BILLING, run_id="done", dag_id=dag_id)
    with board.living_run(dag_id, "done"):
        mark(board, dag_id, "done")
        wait_until(lambda: bool(services.messages), "the alert arrives")
        page = board.get(f"/runs/{dag_id}/done").text

    (message,) = services.messages
    title = f"バッチ実行失敗: {TENANT_BILLING.id} {TENANT_BILLING.name}"
    assert message.text.startswith(f"{title}\nエラー: {MARKED}\n記録: 処理は終わっています。\n")
    assert "\n重要度: MEDIUM\n" in message.text
    assert f"\n実行ID: {execution}\n" in message.text
    assert "対処" not in message.text
    assert MARKED in page
    assert "対処" not in page
