"""What holds for every DAG, and a snapshot of each one's structure, so that a change shows in review."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from include.catalog import BATCHES, FAMILIES, BatchSpec
from skill_batch.performance import ORDINARY_ACTIONS
from skill_batch.retry_policy import RecoverableErrorsOnly
from skill_batch.tenant_flow import CONCURRENCY
from tests.airflow_installation import PROJECT

SNAPSHOTS = Path(__file__).with_name("snapshots")
UPDATE_SNAPSHOTS = "UPDATE_SNAPSHOTS"

DAG_FILES = sorted((PROJECT / "dags").rglob("batch_*.py"))
SECTIONS = ("目的", "処理の流れ", "入力", "出力", "障害対応")
TRIAGE = ("朝まで待てるか", "どこを見るか", "再実行")


def batch_dags(dags: dict[str, DAG]) -> list[tuple[BatchSpec, DAG]]:
    """The scheduled DAGs with their registry entries."""
    return [(spec, dags[spec.dag_id]) for spec in BATCHES if spec.dag_id in dags]


def test_each_dag_file_holds_exactly_its_own_dag(dags: dict[str, DAG]) -> None:
    assert {dag.dag_id: Path(dag.fileloc) for dag in dags.values()} == {path.stem: path for path in DAG_FILES}


def test_every_dag_is_in_the_registry_and_in_its_familys_folder(dags: dict[str, DAG]) -> None:
    expected = {spec.dag_id: spec.family.slug for spec in BATCHES} | {
        family.dag_id: family.slug for family in FAMILIES
    }
    assert {dag_id: Path(dag.fileloc).parent.name for dag_id, dag in dags.items()} == {
        dag_id: expected[dag_id] for dag_id in dags
    }


def test_what_each_form_does_by_itself_counts_as_the_batchs_own_work(dags: dict[str, DAG]) -> None:
    defaults = {dag.params["action"] for dag in dags.values() if "action" in dag.params}
    assert defaults == set(ORDINARY_ACTIONS)


def test_the_scheduled_dags_follow_the_registry(dags: dict[str, DAG]) -> None:
    assert batch_dags(dags)
    for spec, dag in batch_dags(dags):
        assert dag.schedule == spec.cron  # type: ignore[comparison-overlap]  # the factory gives it a cron
        assert str(dag.timezone) == "Asia/Tokyo"
        assert dag.dag_display_name == f"{spec.id} {spec.name}"
        assert {spec.id, spec.family.slug} <= dag.tags
        assert {task.execution_timeout for task in dag.tasks} == {spec.time_limit}
        assert {task.retries for task in dag.tasks} == {2}
        assert {task.priority_weight for task in dag.tasks} == {spec.priority_weight}


def test_every_task_retries_recoverable_errors_only_and_no_run_catches_up(dags: dict[str, DAG]) -> None:
    for dag in dags.values():
        assert (dag.catchup, dag.max_active_runs) == (False, 1)
        assert all(isinstance(task.retry_policy, RecoverableErrorsOnly) for task in dag.tasks)


def test_only_the_family_dags_have_no_schedule(dags: dict[str, DAG]) -> None:
    assert {dag.dag_id for dag in dags.values() if dag.schedule is None} == {
        family.dag_id for family in FAMILIES if family.dag_id in dags
    }


def test_every_dag_has_the_common_parameters_with_japanese_titles(dags: dict[str, DAG]) -> None:
    for dag in dags.values():
        assert {"business_date", "tenants", "dry_run"} <= dag.params.keys()
        for name in dag.params:
            assert re.search(r"[ぁ-んァ-ヶ一-龠]", dag.params.get_param(name).schema["title"])


def test_a_familys_form_chooses_batches_and_has_no_operation(dags: dict[str, DAG]) -> None:
    """An operation would be obeyed by one of the chosen batches only, and the form would promise it for all of them."""
    common = {"business_date", "tenants", "dry_run", "batches"}
    own = {family.dag_id: set(dags[family.dag_id].params) - common for family in FAMILIES}
    assert own == {
        "batch_0xx_data_management": set(),
        "batch_018_tenant_management": {"allow_incomplete"},
        "batch_019_notification": set(),
    }


def test_every_dags_page_says_its_purpose_and_what_to_do_at_night(dags: dict[str, DAG]) -> None:
    for dag in dags.values():
        assert dag.doc_md is not None
        assert [title for title in SECTIONS if title not in dag.doc_md] == []
        assert [note for note in TRIAGE if f"**{note}**" not in dag.doc_md] == []


def test_mapped_tenants_run_five_at_a_time_under_their_own_names(dags: dict[str, DAG]) -> None:
    mapped = [task for dag in dags.values() for task in dag.tasks if task.is_mapped]
    assert mapped
    for task in mapped:
        assert task.max_active_tis_per_dagrun == CONCURRENCY == 5
        assert task.map_index_template == "{{ tenants_label }}"


def test_no_task_needs_an_airflow_pool(dags: dict[str, DAG]) -> None:
    # A pool that nobody made would hang its tasks for ever.
    assert {task.pool for dag in dags.values() for task in dag.tasks} == {"default_pool"}


PARSE_EACH_FILE_IN_A_FORK = """
import json, os, runpy, sys
import airflow.sdk

before = set(sys.modules)
for path in sys.argv[1:]:
    if os.fork() == 0:
        runpy.run_path(path)
        print(json.dumps([path, sorted(set(sys.modules) - before)]), flush=True)
        os._exit(0)
    os.wait()
"""


def test_parsing_a_dag_loads_no_driver_provider_or_rule() -> None:
    """What tasks need, tasks import; otherwise every parse of the DAG processor pays for it."""
    parsed = subprocess.run(
        [sys.executable, "-c", PARSE_EACH_FILE_IN_A_FORK, *map(str, DAG_FILES)],
        env=os.environ | {"PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    # Airflow logs to the standard output as well.
    loaded = dict(json.loads(line) for line in parsed.stdout.splitlines() if line.startswith("["))
    assert list(loaded) == [str(path) for path in DAG_FILES]
    heavy = (
        "psycopg",
        "slack_sdk",
        "sqlalchemy",
        "yaml",
        "include.execution",
        "include.migrations",
        "include.settings",
    )
    assert all("include.catalog" in modules for modules in loaded.values())
    assert {
        path: [module for module in modules if module.startswith(heavy)] for path, modules in loaded.items()
    } == {path: [] for path in loaded}


@pytest.mark.parametrize("path", DAG_FILES, ids=lambda path: path.stem)
def test_a_dag_file_imports_only_airflow_sdk_skill_batch_and_include(path: Path) -> None:
    imported = {
        name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    assert imported
    assert {
        name for name in imported if not re.match(r"(airflow\.sdk|skill_batch|include)(\.|$)", name)
    } == set()
    assert {name for name in imported if name.startswith("local_stack")} == set()


@pytest.mark.parametrize("dag_id", [path.stem for path in DAG_FILES])
def test_the_structure_is_the_one_of_the_snapshot(dags: dict[str, DAG], dag_id: str) -> None:
    actual = structure(dags[dag_id])
    file = SNAPSHOTS / f"{dag_id}.json"
    if os.environ.get(UPDATE_SNAPSHOTS):
        file.write_text(json.dumps(actual, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    assert actual == json.loads(file.read_text(encoding="utf-8")), f"{UPDATE_SNAPSHOTS}=1 renews {file.name}"


def structure(dag: DAG) -> dict[str, Any]:
    """What an operator would notice: schedule, parameters, tasks and their order."""
    return {
        "schedule": dag.schedule,
        "tags": sorted(dag.tags),
        "params": {name: dag.params.get_param(name).schema for name in sorted(dag.params)},
        "tasks": {
            task.task_id: {
                "upstream": sorted(task.upstream_task_ids),
                "trigger_rule": task.trigger_rule.value,
                "mapped": task.is_mapped,
                "alerts": bool(task.on_failure_callback),
            }
            for task in sorted(dag.tasks, key=lambda task: task.task_id)
        },
    }
