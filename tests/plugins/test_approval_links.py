"""The text of an alert about a request to approve what a run holds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from skill_batch.notifiers.approval_links import approval_links, approval_of, approval_problem

ASKED = {"dag_id": "approve_invoices", "run_id": "BATCH-018-02_20261001_1+1", "problem": None}


def close_run(task_id: str, pulled: Any) -> Any:
    """The task instance that sends the alert."""

    def pull(*, task_ids: str) -> Any:
        found = pulled[task_ids]
        if isinstance(found, Exception):
            raise found
        return found

    return SimpleNamespace(task_id=task_id, xcom_pull=pull)


@pytest.mark.parametrize(
    "base_url", ["https://airflow.example/team/deployment", "https://airflow.example/team/deployment/"]
)
def test_the_link_keeps_the_path_of_the_base_url(monkeypatch: pytest.MonkeyPatch, base_url: str) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    ((_, url),) = approval_links(ASKED)
    assert url == (
        "https://airflow.example/team/deployment/dags/approve_invoices"
        "/runs/BATCH-018-02_20261001_1%2B1/required_actions"
    )
    assert approval_problem(ASKED) == ""


def test_a_request_that_is_not_shown_has_no_link_and_a_reason() -> None:
    refused = ASKED | {"problem": "DAG がありません"}
    assert approval_links(refused) == ()
    assert "DAG がありません。DAG approve_invoices の権限がある人が手で実行" in approval_problem(refused)


def test_a_request_of_a_paused_dag_has_link_and_advice() -> None:
    paused = ASKED | {"is_paused": True}
    assert len(approval_links(paused)) == 1
    assert "DAG approve_invoices が一時停止中" in approval_problem(paused)


def test_the_request_is_that_of_the_same_batch_in_a_family_dag() -> None:
    assert approval_of(close_run("close_run", {"request_approval": ASKED})) == ASKED
    in_family = close_run("tenant_billing.close_run", {"tenant_billing.request_approval": ASKED})
    assert approval_of(in_family) == ASKED


@pytest.mark.parametrize("pulled", [None, RuntimeError("no API server")])
def test_an_alert_without_a_request_is_sent_without_a_link(pulled: Any) -> None:
    asked = approval_of(close_run("close_run", {"request_approval": pulled}))
    assert (asked, approval_links(asked), approval_problem(asked)) == ({}, (), "")
