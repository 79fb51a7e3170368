"""A whole Airflow in which a batch asks, a person answers in Airflow, and the answer is applied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from include.skillreport.approvals import APPROVE, HOLD
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.dags.dag_runs import DagRuns
from tests.dags.running_airflow import (
    ADMIN,
    NO_SCHEDULE,
    Api,
    StartAirflow,
    answer_request,
    open_request,
)
from tests.worlds import billing_rows

BILLING, APPROVAL = "batch_018_02_tenant_billing", "approve_invoices"


@pytest.fixture
def runs(runs: DagRuns, tmp_path: Path) -> DagRuns:
    """Runs with this test's folder for files."""
    runs.set_variable("skill_batch_storage_url", f"file://{tmp_path / 'storage'}")
    return runs


def test_a_batch_starts_the_approval_run_without_waiting_for_it(
    runs: DagRuns, database: Database, slack: StandIns
) -> None:
    with database.connect() as host:
        billing_rows.jump(database, host)

    done = runs.test(BILLING, "2026-11-01")

    # Two of three tenants are held.
    assert done.state == "failed"
    assert [runs.tries(done, task_id) for task_id in ("request_approval", "close_run")] == [[1], [1]]
    with database.connect() as host:
        ((run_id, close_reason),) = host.execute(
            "SELECT run_id, close_reason FROM batch.approval_request"
        ).fetchall()
        ((status, result),) = host.execute(
            "SELECT status, result FROM batch.execution_log WHERE run_id = %s", [done.run_id]
        ).fetchall()
    assert (close_reason, status) == (None, "partial")
    assert result["steps"]["request_approval"] == {
        "request": run_id,
        "dag_id": APPROVAL,
        "run_id": run_id,
        "items": 2,
    }
    assert runs.metadata.execute(
        "SELECT state, conf FROM dag_run WHERE dag_id = %s AND run_id = %s", [APPROVAL, run_id]
    ).fetchall() == [("queued", {"request": run_id})]
    alert = next(message.text for message in slack.messages if "バッチ実行失敗" in message.text)
    assert f"/dags/{APPROVAL}/runs/{run_id}/required_actions" in alert


def test_an_approval_without_held_items_shows_no_request_and_succeeds(
    runs: DagRuns, database: Database, slack: StandIns
) -> None:
    done = runs.test(APPROVAL, "2026-11-01", business_date="2026-10-01")

    assert done.state == "success"
    assert [runs.tries(done, task_id) for task_id in ("list_held", "ask")] == [[1], [0]]
    assert slack.messages == []
    with database.connect() as host:
        assert host.execute("SELECT count(*) FROM batch.execution_log").fetchone() == (0,)


@pytest.fixture
def api(start_airflow: StartAirflow) -> Iterator[Api]:
    with start_airflow(NO_SCHEDULE) as api:
        for dag_id in (BILLING, APPROVAL):
            replace(api, dag_id=dag_id).unpause()
        yield api


@pytest.mark.exclusive
@pytest.mark.long
def test_a_person_approves_what_a_run_has_held(api: Api, database: Database, slack: StandIns) -> None:
    with database.connect() as host:
        billing_rows.jump(database, host)
    billing, approval = replace(api, dag_id=BILLING), replace(api, dag_id=APPROVAL)

    run_id = billing.trigger(business_date="2026-10-31")

    assert billing.wait(run_id) == "failed"
    assert billing.states(run_id)["request_approval"] == "success"
    (open_run,) = approval.call("GET", f"/api/v2/dags/{APPROVAL}/dagRuns")["dag_runs"]
    asked = open_run["dag_run_id"]
    alert = next(message.text for message in slack.messages if "バッチ実行失敗" in message.text)
    assert f"{api.url}/dags/{APPROVAL}/runs/{quote(asked, safe='')}/required_actions" in alert

    shown = open_request(approval, asked)
    assert shown["subject"] == "保留中の請求書 2 件の承認（2026-10 分）"
    assert "| HD001 |" in shown["body"]
    answer_request(approval, asked, APPROVE, tenants=["HD001"], note="確認済み")

    assert approval.wait(asked) == "success"
    with database.connect() as host:
        issued = billing_rows.invoice(host, "A")
        assert (issued["status"], issued["approved_by"]) == ("finalized", ADMIN)
        assert billing_rows.invoice(host, "B")["status"] == "draft"
        assert host.execute(
            "SELECT triggered_by, status FROM batch.execution_log WHERE run_id = %s", [asked]
        ).fetchall() == [(ADMIN, "completed")]
        assert host.execute(
            "SELECT tenant_id, answer, answered_by, note, result FROM batch.approval_item ORDER BY 1"
        ).fetchall() == [
            ("A", "approve", ADMIN, "確認済み", "approved"),
            ("B", "hold", ADMIN, "確認済み", "held"),
        ]

    # Airflow shows the old list after a clear. Approved items stay approved, and the rest can be answered again.
    approval.clear_task(asked, "ask")
    open_request(approval, asked, attempt=2)
    answer_request(approval, asked, HOLD)
    assert approval.wait(asked) == "success"
    assert approval.states(asked)["close_run"] == "success"
    with database.connect() as host:
        assert billing_rows.invoice(host, "A") == issued
        assert host.execute(
            "SELECT answer, result FROM batch.approval_item ORDER BY tenant_id"
        ).fetchall() == [
            ("approve", "approved"),
            ("hold", "held"),
        ]

    by_hand = approval.trigger(business_date="2026-10-31", tenants=["HD001"])
    assert approval.wait(by_hand) == "success"
    assert set(approval.states(by_hand).values()) == {"skipped"}
