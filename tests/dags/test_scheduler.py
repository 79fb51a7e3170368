"""A whole Airflow (scheduler, API server, DAG processor, LocalExecutor): trigger, kill a task, clear one tenant, re-run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from pathlib import Path
from urllib.parse import quote, urlsplit

import psutil
import psycopg
import pytest

from include.skillreport.core.execution.business_date import JAPAN
from local_stack.stand_ins import StandIns
from tests.airflow_installation import folder_of_dags
from tests.conftest import Database, wait_for_blocked_statement
from tests.dags.running_airflow import NO_SCHEDULE, Api, StartAirflow, kill_tasks_of
from tests.worlds import host_rows
from tests.worlds.billing_rows import close_month
from tests.worlds.outbox_rows import slack as slack_of
from tests.worlds.outbox_rows import statuses, wait_for, waiting

USAGE, BILLING = "batch_018_01_tenant_usage", "batch_018_02_tenant_billing"
SENDING, RETRY = "batch_019_01_scheduled_notifications", "batch_019_02_notification_retry"
OPERATE_INVOICES = "operate_invoices"
# The user as whom the simple auth manager lets every visitor in.
ADMIN = "Anonymous"
TENANTS = ["T001", "T002", "T003"]
OCTOBER = date(2026, 10, 1)
CONF = {"business_date": "2026-10-31"}


@pytest.fixture
def tenants(database: Database) -> None:
    """Three tenants with a plan and a report each."""
    with database.connect() as host:
        for name in TENANTS:
            host_rows.tenant(host, name, subscription_plan="BASIC")
            host_rows.report(host, name, datetime(2026, 10, 31, 3, 0))


@pytest.fixture
def api(start_airflow: StartAirflow, tmp_path: Path) -> Iterator[Api]:
    dags = folder_of_dags(tmp_path / "dags", USAGE, BILLING, SENDING, RETRY, OPERATE_INVOICES)
    with start_airflow(NO_SCHEDULE | dags) as api:
        yield api


@pytest.fixture
def usage(start_airflow: StartAirflow, tmp_path: Path) -> Iterator[Api]:
    """With one DAG Airflow does less."""
    with start_airflow(NO_SCHEDULE | folder_of_dags(tmp_path / "dags", USAGE)) as api:
        api = replace(api, dag_id=USAGE)
        api.unpause()
        yield api


@pytest.mark.slow("starts all of Airflow's processes")
@pytest.mark.exclusive
@pytest.mark.usefixtures("tenants")
def test_an_operator_triggers_kills_clears_and_reruns(
    usage: Api, database: Database, slack: StandIns
) -> None:
    _nobody_outside_this_machine_reaches_it(usage)
    _a_killed_task_of_a_run_for_some_tenants_is_tried_again(usage, database)
    _a_broken_tenant_is_cleared_alone_after_it_was_mended(usage, database, slack)


@pytest.mark.exclusive
@pytest.mark.long
@pytest.mark.usefixtures("tenants")
def test_an_operator_bills_voids_and_ends_what_was_in_doubt(
    api: Api, database: Database, slack: StandIns
) -> None:
    _a_tenant_with_an_open_day_is_invoiced_after_a_clear(replace(api, dag_id=BILLING), database, slack)
    _what_a_killed_worker_was_sending_is_never_sent_twice(api, database, slack)


def _nobody_outside_this_machine_reaches_it(api: Api) -> None:
    """Every user is an administrator, so Airflow and the stand-ins listen only on loopback."""
    listening = [
        (connection.laddr, connection.pid)
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.pid
    ]
    api_port = urlsplit(api.url).port
    (airflow,) = {os.getpgid(pid) for address, pid in listening if address.port == api_port}
    ours = {address.ip for address, pid in listening if pid == os.getpid() or os.getpgid(pid) == airflow}
    assert ours == {"127.0.0.1"}


def _a_killed_task_of_a_run_for_some_tenants_is_tried_again(api: Api, database: Database) -> None:
    with psycopg.connect(database.dsn) as blocker:
        blocker.execute('LOCK TABLE "SYS_TenantUsage" IN ACCESS EXCLUSIVE MODE')
        run_id = api.trigger(**CONF, tenants=["T003", "T001"])
        wait_for_blocked_statement(database)
        kill_tasks_of(database)
    assert api.wait(run_id) == "success"
    done = dict.fromkeys(("open_run", "read_logs", "T001", "T003", "close_run"), "success")
    assert api.states(run_id) == done | {"announce": "skipped"}
    assert max(ti["try_number"] for ti in api.instances(run_id) if ti["task_id"] == "aggregate_usage") == 2
    with database.connect() as connection:
        assert connection.execute(
            "SELECT status, success_count FROM batch.execution_log WHERE run_id = %s", [run_id]
        ).fetchall() == [("completed", 2)]
        assert connection.execute(
            "SELECT tenant_id FROM batch.usage_day WHERE usage_date = '2026-10-31' ORDER BY tenant_id"
        ).fetchall() == [("T001",), ("T003",)]


def _a_broken_tenant_is_cleared_alone_after_it_was_mended(
    api: Api, database: Database, slack: StandIns
) -> None:
    with database.connect() as host:
        healthy = host_rows.break_settings_of(host, "T002")
        run_id = api.trigger(**CONF)
        assert api.wait(run_id) == "failed"
        assert api.states(run_id) == {
            "open_run": "success",
            "read_logs": "success",
            "T001": "success",
            "T002": "failed",
            "T003": "success",
            "close_run": "failed",
            "announce": "upstream_failed",
        }
        (message,) = slack.messages
        assert "T002" in message.text
        host.execute(healthy.encode())

    api.clear(run_id, "T002")

    assert api.wait(run_id) == "success"
    tries = {
        ti["rendered_map_index"]: ti["try_number"]
        for ti in api.instances(run_id)
        if ti["task_id"] == "aggregate_usage"
    }
    assert tries == {"T001": 1, "T002": 2, "T003": 1}
    assert set(api.states(run_id).values()) == {"success"}
    with database.connect() as connection:
        assert connection.execute(
            "SELECT status, success_count, error_count FROM batch.execution_log WHERE run_id = %s", [run_id]
        ).fetchall() == [("completed", 3, 0)]
    assert len(slack.messages) == 1


def _a_tenant_with_an_open_day_is_invoiced_after_a_clear(
    api: Api, database: Database, slack: StandIns
) -> None:
    with database.connect() as host:
        for name in TENANTS:
            close_month(host, name, OCTOBER, without=[9] if name == "T002" else [])
    api.unpause()
    run_id = api.trigger(**CONF)
    assert api.wait(run_id) == "failed"
    assert api.states(run_id) == {
        "open_run": "success",
        "wait_for_usage": "success",
        "T001": "success",
        "T002": "failed",
        "T003": "success",
        "request_approval": "skipped",
        "close_run": "failed",
        "announce": "upstream_failed",
    }
    # The other message about the run says that its tenants have no address.
    about_run = [message for message in slack.messages if quote(run_id) in message.text]
    (message,) = (each for each in about_run if not each.text.startswith("請求の確認事項"))
    assert "T002: 使用量が締まっていない日があります（1 日: 2026-10-09）" in message.text

    with database.connect() as host:
        close_month(host, "T002", OCTOBER, first=9, last=9)
    api.clear(run_id, "T002")

    assert api.wait(run_id) == "success"
    with database.connect() as connection:
        numbers = connection.execute("SELECT number FROM batch.invoice ORDER BY number").fetchall()
        last = connection.execute("SELECT number FROM batch.invoice WHERE tenant_id = 'T002'").fetchall()
    assert [number for (number,) in numbers] == [f"INV-2026-10-00{count}" for count in (1, 2, 3)]
    assert last == [("INV-2026-10-003",)]

    invoices = replace(api, dag_id=OPERATE_INVOICES)
    invoices.unpause()
    run_id = invoices.trigger(
        operation="void", business_date="2026-10-01", tenants=["T002"], reason="宛名の訂正"
    )
    assert invoices.wait(run_id) == "success"
    with database.connect() as connection:
        assert connection.execute(
            "SELECT status FROM batch.invoice WHERE tenant_id = 'T002' AND number = 'INV-2026-10-003'"
        ).fetchall() == [("void",)]
        assert connection.execute(
            "SELECT batch_id, triggered_by FROM batch.execution_log WHERE run_id = %s", [run_id]
        ).fetchall() == [("OPERATE-INVOICES", ADMIN)]
    _a_failed_operation_is_told_to_the_person_who_triggered_it(invoices, slack)


def _a_failed_operation_is_told_to_the_person_who_triggered_it(api: Api, slack: StandIns) -> None:
    run_id = api.trigger(operation="void", business_date="2026-10-01", tenants=["T999"], reason="宛名の訂正")
    assert api.wait(run_id) == "failed"
    alert = slack.messages[-1]
    assert alert.text.startswith("バッチ実行失敗: OPERATE-INVOICES 請求書の操作\nエラー: ")
    assert "\n重要度: MEDIUM\n" in alert.text
    assert f"実行した人: {ADMIN}（操作）" in alert.text
    assert (
        f"ボードで見る: {api.url}/skill-batch-board/runs/{OPERATE_INVOICES}/{quote(run_id, safe='')}"
        in alert.text
    )


def _what_a_killed_worker_was_sending_is_never_sent_twice(
    api: Api, database: Database, slack: StandIns
) -> None:
    sending, retry = replace(api, dag_id=SENDING), replace(api, dag_id=RETRY)
    sending.unpause()
    retry.unpause()
    today = datetime.now(JAPAN).date()
    # Ten o'clock of the day before, in Japan: it has waited for less than a day, whatever time it is now.
    yesterday = datetime.combine(today - timedelta(days=1), clock_time(1, 0))
    with database.connect() as host:
        slack_of(host, "T001", slack)
        for number in range(3):
            waiting(host, "T001", "SLACK", recipient_address=f"C{number}", scheduled_at=yesterday)
    alerts = len(slack.messages)
    with slack.held("slack"):
        run_id = sending.trigger(business_date=str(today), tenants=["T001"])
        wait_for(slack, alerts + 3)
        kill_tasks_of(database, waiting_for="Client")

    assert sending.wait(run_id) == "success"
    with database.connect() as host:
        assert statuses(host) == {("slack", "sending"): 3}
        host.execute("UPDATE batch.outbox SET lease_until = now() - interval '1 second'")
    run_id = retry.trigger(business_date=str(today))

    assert retry.wait(run_id) == "failed"
    with database.connect() as host:
        assert statuses(host) == {("slack", "ambiguous"): 3}
    *posts, alert = slack.messages[alerts:]
    assert sorted(post.destination for post in posts) == ["C0", "C1", "C2"]
    assert "T001: 届いたか分からない通知 3 件" in alert.text
