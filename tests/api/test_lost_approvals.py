"""A whole Airflow with the roles of docs/install/rights.md: a clear in another's name, a request that Airflow has lost, and the advice."""

from __future__ import annotations

import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from skill_batch.notifiers.alert_kinds import LOST_REQUEST
from include.skillreport.approvals import APPROVE
from include.skillreport.core.catalog import TENANT_BILLING, TENANT_MONITORING
from include.skillreport.core.operation_catalog import APPROVE_INVOICES, OPERATE_INVOICES
from local_stack.stack import PROJECT
from local_stack.stand_ins import StandIns
from tests.airflow_installation import AirflowInstallation, connect_metadata, folder_of_dags
from tests.conftest import Database, Server, metadata_database
from tests.dags.running_airflow import NO_SCHEDULE, Api, answer_request, open_request, running_airflow
from tests.deploy.cleanup import cleanup_commands
from tests.fab_installation import PASSWORD, commands_of, fab_installation, run_command
from tests.worlds import billing_rows

pytestmark = [pytest.mark.long, pytest.mark.exclusive]

DAGS = [spec.dag_id for spec in (OPERATE_INVOICES, TENANT_BILLING, APPROVE_INVOICES, TENANT_MONITORING)]
# Tanaka has two roles, so that Tanaka may also clear.
USERS: dict[str, tuple[str, ...]] = {
    "suzuki": ("Viewer", "BatchAccountant"),
    "tanaka": ("Viewer", "BatchAccountant", "BatchOperator"),
}
LINE = {"line_date": "2026-10-15", "line_text": "特別対応費"}


class Person:
    """What a user does with Airflow's REST API."""

    def __init__(self, api: Api, name: str) -> None:
        login = {"username": name, "password": PASSWORD}
        token = api.call("POST", "/auth/token", login)["access_token"]
        self._api = replace(api, token=token)

    def on(self, dag_id: str) -> Api:
        return replace(self._api, dag_id=dag_id)


@pytest.fixture
def airflow_metadata(server: Server) -> Iterator[str]:
    """Without the runs of other tests, which Airflow would list and clean too."""
    with metadata_database(server) as url:
        yield url


@pytest.fixture
def fab(airflow_metadata: str, tmp_path: Path) -> AirflowInstallation:
    commands = commands_of(PROJECT / "docs" / "install" / "rights.md", "bash")
    return fab_installation(tmp_path / "home", airflow_metadata, commands, USERS)


@pytest.fixture
def services() -> Iterator[StandIns]:
    with StandIns() as services:
        yield services


@pytest.fixture
def api(
    fab: AirflowInstallation, database: Database, services: StandIns, unused_port: int, tmp_path: Path
) -> Iterator[Api]:
    variables = {
        **NO_SCHEDULE,
        **folder_of_dags(tmp_path / "dags", *DAGS),
        "AIRFLOW_CONN_SKILL_BATCH_BOARD_DB": database.airflow_connection("batch_board"),
    }
    with running_airflow(
        fab, database, services, tmp_path, unused_port, variables, login=("tanaka", PASSWORD)
    ) as api:
        yield api


def test_a_clear_and_a_lost_request_as_people_meet_them(
    api: Api, fab: AirflowInstallation, airflow_metadata: str, database: Database, services: StandIns
) -> None:
    suzuki, tanaka = Person(api, "suzuki"), Person(api, "tanaka")
    with database.connect() as host:
        billing_rows.jump(database, host)
    _nobody_brings_back_a_line_in_another_name(suzuki, tanaka, database, services)
    asked = _asked(tanaka)
    _the_command_of_the_page_keeps_it(suzuki, fab, airflow_metadata, asked)
    again = _the_watch_starts_it_again(suzuki, tanaka, fab, database, services)
    _an_answer_to_a_dead_run_is_noticed(suzuki, tanaka, services, again)
    _the_advice_ends_it(suzuki, tanaka, database, services)


def _nobody_brings_back_a_line_in_another_name(
    suzuki: Person, tanaka: Person, database: Database, services: StandIns
) -> None:
    mine, other = suzuki.on(OPERATE_INVOICES.dag_id), tanaka.on(OPERATE_INVOICES.dag_id)
    entered = mine.trigger(operation="extra_line", tenants=["C"], line_price="9000000", **LINE)
    assert mine.wait(entered) == "success", services.messages[-1].text
    assert mine.wait(mine.trigger(operation="remove_line", tenants=["C"], **LINE)) == "success"
    with refused():
        mine.clear_task(entered, "open_run")

    other.clear_task(entered, "open_run")

    assert other.wait(entered) == "failed"
    assert "もう済んでいます" in services.messages[-1].text
    with database.connect() as host:
        assert host.execute("SELECT count(*) FROM batch.extra_charge").fetchone() == (0,)


def _asked(tanaka: Person) -> str:
    """The run that asks about the held invoices, once it waits."""
    billing, approval = tanaka.on(TENANT_BILLING.dag_id), tanaka.on(APPROVE_INVOICES.dag_id)
    assert billing.wait(billing.trigger(business_date="2026-10-31")) == "failed"
    (run,) = approval.call("GET", f"/api/v2/dags/{APPROVE_INVOICES.dag_id}/dagRuns")["dag_runs"]
    open_request(approval, run["dag_run_id"])
    return str(run["dag_run_id"])


def _the_command_of_the_page_keeps_it(
    suzuki: Person, fab: AirflowInstallation, metadata_url: str, asked: str
) -> None:
    with connect_metadata(metadata_url) as metadata:
        for table, column in (
            ("dag_run", "start_date"),
            ("task_instance", "start_date"),
            ("xcom", "timestamp"),
        ):
            metadata.execute(f"UPDATE {table} SET {column} = {column} - interval '400 days'")
        metadata.execute(
            "INSERT INTO asset_event (asset_id, extra, source_map_index, timestamp)"
            " VALUES (1, '{}', -1, now() - interval '400 days')"
        )
    for command in cleanup_commands():
        run_command(fab, *command)
    with connect_metadata(metadata_url) as metadata:
        kept = metadata.execute(
            "SELECT DISTINCT dag_id FROM dag_run WHERE run_type <> 'scheduled'"
        ).fetchall()
        tasks = metadata.execute("SELECT DISTINCT dag_id FROM task_instance").fetchall()
        old_events = metadata.execute(
            "SELECT count(*) FROM asset_event WHERE timestamp < now() - interval '90 days'"
        ).fetchone()
    assert (kept, tasks) == ([(APPROVE_INVOICES.dag_id,)], [(APPROVE_INVOICES.dag_id,)])
    assert old_events == (0,)
    waiting = suzuki.on(APPROVE_INVOICES.dag_id)
    assert waiting.state(asked) == "running"
    assert open_request(waiting, asked)["subject"] == "保留中の請求書 2 件の承認（2026-10 分）"


def _the_watch_starts_it_again(
    suzuki: Person, tanaka: Person, fab: AirflowInstallation, database: Database, services: StandIns
) -> str:
    week_ago = datetime.now(UTC) - timedelta(days=7)
    run_command(fab, "db", "clean", "--clean-before-timestamp", f"{week_ago:%F}", "--skip-archive", "--yes")
    with database.connect() as host:
        host.execute("UPDATE batch.approval_request SET asked_at = asked_at - interval '1 hour'")
    _watched(tanaka)

    assert services.messages[-1].text.startswith(LOST_REQUEST.name)
    assert "もう一度出しました" in services.messages[-1].text
    with database.connect() as host:
        ((again,),) = host.execute("SELECT run_id FROM batch.approval_request").fetchall()
    assert "_again_" in again
    waiting = suzuki.on(APPROVE_INVOICES.dag_id)
    assert open_request(waiting, again)["subject"] == "保留中の請求書 2 件の承認（2026-10 分）"
    assert "承認の画面を開く" in _board(suzuki)
    return str(again)


def _an_answer_to_a_dead_run_is_noticed(
    suzuki: Person, tanaka: Person, services: StandIns, run_id: str
) -> None:
    marked = tanaka.on(APPROVE_INVOICES.dag_id)
    path = f"/api/v2/dags/{APPROVE_INVOICES.dag_id}/dagRuns/{quote(run_id)}"
    marked.call("PATCH", path, {"state": "failed"})
    # Airflow says 200, and changes nothing.
    answer_request(suzuki.on(APPROVE_INVOICES.dag_id), run_id, APPROVE)
    assert marked.state(run_id) == "failed"

    _watched(tanaka)

    told = services.messages[-1].text
    assert told.startswith(LOST_REQUEST.name)
    assert "ここで答えても、何も変わりません" in told
    assert f"DAG {APPROVE_INVOICES.dag_id} の権限がある人が、新しく実行" in told
    page = _board(suzuki)
    assert "承認の画面を開く" not in page
    assert "承認依頼が出ていません。承認の DAG を実行してください" in page


def _the_advice_ends_it(suzuki: Person, tanaka: Person, database: Database, services: StandIns) -> None:
    approval, operating = suzuki.on(APPROVE_INVOICES.dag_id), suzuki.on(OPERATE_INVOICES.dag_id)
    # No request of a later run can contain it.
    elsewhere = operating.trigger(operation="approve", tenants=["HD001"], business_date="2026-10-31")
    assert operating.wait(elsewhere) == "success"
    run_id = approval.trigger(business_date="2026-10-31")
    open_request(approval, run_id)
    with refused():
        approval.clear_task(run_id, "ask")
    answer_request(approval, run_id, APPROVE)
    assert approval.wait(run_id) == "success"
    with database.connect() as host:
        assert billing_rows.invoice(host, "B")["approved_by"] == "suzuki"
        # The same alert could be sent again.
        host.execute("DELETE FROM batch.operator_alert")
    seen = len(services.messages)

    _watched(tanaka)

    assert not any(message.text.startswith(LOST_REQUEST.name) for message in services.messages[seen:])
    with database.connect() as host:
        assert host.execute(
            "SELECT close_reason FROM batch.approval_request ORDER BY asked_at"
        ).fetchall() == [("outdated",), ("answered",)]


def _watched(person: Person) -> None:
    watch = person.on(TENANT_MONITORING.dag_id)
    run_id = watch.trigger()
    assert watch.wait(run_id) == "success"


def _board(person: Person) -> str:
    api = person.on("")
    page = httpx.get(
        f"{api.url}/skill-batch-board/invoices?month=2026-10",
        headers={"Authorization": f"Bearer {api.token}"},
    )
    assert page.status_code == HTTPStatus.OK
    return page.text


@contextmanager
def refused() -> Iterator[Any]:
    with pytest.raises(urllib.error.HTTPError) as error:
        yield error
    assert error.value.code == HTTPStatus.FORBIDDEN
