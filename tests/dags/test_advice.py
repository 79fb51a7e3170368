"""A whole Airflow in which the operator does what the alert says: a clear where it helps, and something else where it fails again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.skillreport.approvals import APPROVE
from include.skillreport.core.catalog import (
    NOTIFICATION_RETRY,
    TENANT_BILLING,
    TENANT_USAGE,
)
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.failure_kinds import kind_of
from include.skillreport.core.operation_catalog import (
    APPROVE_INVOICES,
    OPERATE_NOTIFICATIONS,
)
from include.skillreport.core.run_spec import RunSpec
from local_stack.stand_ins import StandIns
from tests.airflow_installation import AirflowInstallation, folder_of_dags
from tests.conftest import Database
from tests.dags.running_airflow import NO_SCHEDULE, Api, StartAirflow, answer_request, open_request
from tests.worlds import billing_rows, host_rows, outbox_rows

pytestmark = [pytest.mark.long, pytest.mark.exclusive]

DAGS = [
    spec.dag_id
    for spec in (TENANT_USAGE, TENANT_BILLING, APPROVE_INVOICES, NOTIFICATION_RETRY, OPERATE_NOTIFICATIONS)
]


@pytest.fixture
def api(start_airflow: StartAirflow, tmp_path: Path) -> Iterator[Api]:
    dags = folder_of_dags(tmp_path / "dags", *DAGS)
    with start_airflow(NO_SCHEDULE | dags) as api:
        for dag_id in DAGS:
            replace(api, dag_id=dag_id).unpause()
        yield api


def advises(slack: StandIns, spec: RunSpec, name: str) -> bool:
    """Whether the newest message to the operators has the advice about this kind of failure."""
    return kind_of(spec, name).action in slack.messages[-1].text


def test_the_operator_does_what_the_alert_says(api: Api, database: Database, slack: StandIns) -> None:
    _wrong_parameters_need_a_new_run(replace(api, dag_id=TENANT_USAGE.dag_id), database, slack)
    _a_run_whose_xcoms_are_gone_is_opened_again(replace(api, dag_id=TENANT_USAGE.dag_id), slack)
    _undelivered_messages_are_decided_and_not_cleared(api, database, slack)
    _a_wrong_answer_is_asked_again(api, database, slack)


def _wrong_parameters_need_a_new_run(usage: Api, database: Database, slack: StandIns) -> None:
    with database.connect() as host:
        host_rows.tenant(host, "T001")
    run_id = usage.trigger(business_date="2026-10-31", tenants=["X"])
    assert usage.wait(run_id) == "failed"
    assert advises(slack, TENANT_USAGE, "parameters")
    usage.clear_task(run_id, "open_run")
    assert usage.wait(run_id) == "failed"

    assert usage.wait(usage.trigger(business_date="2026-10-31", tenants=["T001"])) == "success"


def _a_run_whose_xcoms_are_gone_is_opened_again(usage: Api, slack: StandIns) -> None:
    run_id = usage.trigger(business_date="2026-10-30", tenants=["T001"])
    assert usage.wait(run_id) == "success"
    until = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    cleaning = [
        "db",
        "clean",
        "--tables",
        "xcom",
        "--clean-before-timestamp",
        until,
        "--skip-archive",
        "--yes",
    ]
    cleaned = AirflowInstallation(dict(usage.airflow.environment)).run(*cleaning)
    assert cleaned.returncode == 0, cleaned.stdout
    for clear, task in (
        (usage.clear, "T001"),
        (usage.clear_task, "read_logs"),
        (usage.clear_task, "close_run"),
    ):
        clear(run_id, task)
        assert usage.wait(run_id) == "failed"
        assert advises(slack, TENANT_USAGE, "rows_gone")
        assert "記録が整理されています" in slack.messages[-1].text
        assert "この実行の open_run を下流ごと消去（Clear）してください" in slack.messages[-1].text

    usage.clear_task(run_id, "open_run")
    assert usage.wait(run_id) == "success"


def _undelivered_messages_are_decided_and_not_cleared(api: Api, database: Database, slack: StandIns) -> None:
    retry = replace(api, dag_id=NOTIFICATION_RETRY.dag_id)
    operation = replace(api, dag_id=OPERATE_NOTIFICATIONS.dag_id)
    today = datetime.now(JAPAN).date().isoformat()
    with database.connect() as host:
        outbox_rows.waiting(host, "T001")
        slack.refuse_recipient("member@example.jp", "5.1.1")
        outbox_rows.run_notifications(database, slack)
        ((message_id,),) = host.execute("SELECT message_id FROM batch.outbox").fetchall()
    run_id = retry.trigger(business_date=today)
    assert retry.wait(run_id) == "failed"
    assert advises(slack, NOTIFICATION_RETRY, "undelivered")
    retry.clear(run_id, "T001")
    assert retry.wait(run_id) == "failed"
    assert advises(slack, NOTIFICATION_RETRY, "undelivered")

    decided = operation.trigger(
        operation="discard", messages=[message_id], tenants=["T001"], reason="宛先がないため"
    )
    assert operation.wait(decided) == "success"
    assert retry.wait(retry.trigger(business_date=today)) == "success"


def _a_wrong_answer_is_asked_again(api: Api, database: Database, slack: StandIns) -> None:
    billing = replace(api, dag_id=TENANT_BILLING.dag_id)
    approval = replace(api, dag_id=APPROVE_INVOICES.dag_id)
    with database.connect() as host:
        host.execute('DELETE FROM "MST_Tenant"')
        billing_rows.jump(database, host)
    run_id = billing.trigger(business_date="2026-10-31")
    assert billing.wait(run_id) == "failed"
    (asked,) = approval.call("GET", f"/api/v2/dags/{approval.dag_id}/dagRuns")["dag_runs"]
    request = asked["dag_run_id"]
    open_request(approval, request)
    answer_request(approval, request, APPROVE, tenants=["X"])
    assert approval.wait(request) == "failed"
    assert kind_of(APPROVE_INVOICES, "answer").remedy() in slack.messages[-1].text

    again = approval.trigger(business_date="2026-10-31")
    open_request(approval, again)
    answer_request(approval, again, APPROVE)
    assert approval.wait(again) == "success"

    # As the alert of the batch says: after the approval, the run is cleared.
    billing.clear(run_id, "HD001")
    billing.clear(run_id, "B")
    assert billing.wait(run_id) == "success"
