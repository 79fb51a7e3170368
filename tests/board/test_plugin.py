"""The modules of the board that Airflow's processes import."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from airflow.sdk import BaseOperator
from airflow.sdk.types import TaskInstanceKey

from skill_batch.operator_links import BoardLink
from local_stack.stack import PROJECT
from tests.board.conftest import Board


def test_the_plugin_loads_the_database_drivers_and_not_the_board() -> None:
    code = (
        "import sys, skill_batch_plugin; plugin = skill_batch_plugin.SkillBatchPlugin();"
        "assert plugin.external_views; print([name for name in sys.modules if name.startswith('skill_batch.board')"
        " or name in ('psycopg', 'airflow.providers.postgres.hooks.postgres')])"
    )
    path = f"{PROJECT}:{PROJECT / 'plugins'}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": path, "PATH": ""},
    )
    assert sorted(ast.literal_eval(done.stdout.splitlines()[-1])) == [
        "airflow.providers.postgres.hooks.postgres",
        "psycopg",
    ]


def test_airflow_starts_without_a_board_that_cannot_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    import skill_batch_plugin

    from skill_batch.board import application

    def broken() -> None:
        raise ImportError("no jinja2 here")

    monkeypatch.setattr(application, "create_app", broken)
    assert skill_batch_plugin.SkillBatchPlugin().fastapi_apps == []


def test_the_navigation_has_the_board_below_any_path_prefix(board: Board) -> None:
    plugins = board.api("GET", "/plugins").json()["plugins"]
    (plugin,) = [each for each in plugins if each["name"] == "skill_batch"]
    (view,) = plugin["external_views"]
    assert view["name"] == "バッチ運用ボード"
    # Relative to the base of Airflow's UI.
    assert view["href"] == "skill-batch-board/"
    assert [each["url_prefix"] for each in plugin["fastapi_apps"]] == ["/skill-batch-board"]


def test_the_board_calls_the_app_that_serves_it_and_makes_no_other(board: Board) -> None:
    from airflow.api_fastapi.app import cached_app

    started = board.post("/operations/operate_notifications/list", {})
    assert started.status_code == 200
    assert cached_app.cache_info().currsize == 1


@pytest.mark.parametrize(
    ("dag_id", "task"),
    [("batch_018_01_tenant_usage", "aggregate_usage"), ("approve_invoices", "ask")],
    ids=["mapped", "waits for a user"],
)
def test_each_task_of_a_run_leads_to_the_board(board: Board, dag_id: str, task: str) -> None:
    with board.living_run(dag_id, "manual__a+b"):
        links = board.api("GET", f"/dags/{dag_id}/dagRuns/manual__a%2Bb/taskInstances/{task}/links").json()
    # Relative to the base of Airflow's UI.
    assert links["extra_links"]["ボードで見る"] == f"skill-batch-board/runs/{dag_id}/manual__a%2Bb"


def test_the_tasks_of_other_teams_have_no_link_to_the_board() -> None:
    key = TaskInstanceKey("their_dag", "task", "run", 1, -1)
    assert BoardLink().get_link(BaseOperator(task_id="task"), ti_key=key) == ""
