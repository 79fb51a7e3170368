"""Rules for every DAG, and a snapshot of each one's structure, so that a review shows changes."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from dataclasses import MISSING, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import DAG, CronTriggerTimetable
from airflow.utils.file import list_py_file_paths
from airflow.utils.types import DagRunType

from skill_batch.dag_factory import OPEN_APPROVALS
from skill_batch.retry_policy import RecoverableErrorsOnly
from include.skillreport.approvals import APPROVE, DISCARD_ALL, HOLD, SEND_ALL, SEND_NEW
from include.skillreport.core.catalog import (
    BATCHES,
    FAMILIES,
    FAMILY_BATCHES,
)
from include.skillreport.core.docstrings import docstring_of
from include.skillreport.core.operation_catalog import (
    APPROVALS,
    APPROVE_CONTRACTS,
    APPROVE_INVOICES,
    APPROVE_RESUMPTION,
    IMPORT_PAYMENTS,
    OPERATIONS,
    RUN_SPECS,
)
from include.skillreport.core.run_plan import plan_of
from include.skillreport.core.run_spec import BatchSpec, OperationSpec
from include.skillreport.core.worker_slots import CONCURRENCY
from include.skillreport.operations.forms import FORMS
from tests.airflow_installation import PROJECT
from tests.worlds.own_settings import change_billing

SNAPSHOTS = Path(__file__).with_name("snapshots")
UPDATE_SNAPSHOTS = "UPDATE_SNAPSHOTS"

DAG_FILES = sorted((PROJECT / "dags").rglob("*.py"))
SECTIONS = ("目的", "処理の流れ", "入力", "出力", "障害対応")
TRIAGE = ("朝まで待てるか", "どこを見るか", "対処")


def batch_dags(dags: dict[str, DAG]) -> list[tuple[BatchSpec, DAG]]:
    """The scheduled DAGs with their registry entries."""
    return [(spec, dags[spec.dag_id]) for spec in BATCHES if spec.dag_id in dags]


def test_each_dag_file_holds_exactly_its_own_dag(dags: dict[str, DAG]) -> None:
    assert {dag.dag_id: Path(dag.fileloc) for dag in dags.values()} == {path.stem: path for path in DAG_FILES}


def test_the_customers_batches_families_and_operations_are_all_there() -> None:
    assert len({spec.id for spec in BATCHES}) >= 14
    assert (len(FAMILIES), len(OPERATIONS)) == (3, 12)


def test_operators_read_only_what_somebody_wrote_about_the_batch() -> None:
    texts = {BatchSpec: {"can_wait", "missed_runs", "sent_late"}, OperationSpec: {"can_wait"}}
    for entry, names in texts.items():
        without = {field.name for field in fields(entry) if field.default is MISSING}
        assert names <= without


def test_every_dag_is_in_the_registry_and_in_its_family_folder(dags: dict[str, DAG]) -> None:
    expected = {spec.dag_id: spec.family.slug for spec in BATCHES} | {
        family.dag_id: family.slug for family in FAMILIES
    }
    expected |= {spec.dag_id: "operations" for spec in OPERATIONS}
    assert dags.keys() == expected.keys()
    assert {dag_id: Path(dag.fileloc).parent.name for dag_id, dag in dags.items()} == {
        dag_id: expected[dag_id] for dag_id in dags
    }


def test_the_scheduled_dags_follow_the_registry(dags: dict[str, DAG]) -> None:
    assert batch_dags(dags)
    for spec, dag in batch_dags(dags):
        assert dag.schedule == CronTriggerTimetable(spec.cron, timezone="Asia/Tokyo")
        assert str(dag.timezone) == "Asia/Tokyo"
        assert dag.dag_display_name == f"{spec.id} {spec.name}"
        assert {spec.id, spec.family.slug} <= dag.tags
        assert {task.execution_timeout for task in dag.tasks} == {spec.time_limit}
        assert {task.retries for task in dag.tasks} == {2}
        assert {task.priority_weight for task in dag.tasks} == {spec.priority_weight}


def test_every_task_retries_recoverable_errors_only_and_no_run_catches_up(dags: dict[str, DAG]) -> None:
    for dag in dags.values():
        waits_for_people = dag.dag_id in {spec.dag_id for spec in APPROVALS.values()}
        assert (dag.catchup, dag.max_active_runs) == (False, OPEN_APPROVALS if waits_for_people else 1)
        assert all(isinstance(task.retry_policy, RecoverableErrorsOnly) for task in dag.tasks)


def test_attempts_outlast_a_minute_without_the_api_server(dags: dict[str, DAG]) -> None:
    """A worker that cannot reach the API server ends without an exception, so that no retry policy decides."""
    for dag in dags.values():
        for task in dag.tasks:
            assert (task.retries or 0) * task.retry_delay >= timedelta(minutes=1), task.task_id
            assert not task.retry_exponential_backoff


def test_no_run_keeps_to_the_dag_files_of_its_begin(dags: dict[str, DAG]) -> None:
    """They would refuse the wheel of the next release, which no bundle keeps versions of."""
    assert {dag_id for dag_id, dag in dags.items() if not dag.disable_bundle_versioning} == set()


def test_the_registry_says_which_dags_a_backfill_may_run(dags: dict[str, DAG]) -> None:
    types: dict[str, Any] = {dag_id: dag.allowed_run_types for dag_id, dag in dags.items()}
    allowed = {dag_id for dag_id, each in types.items() if each is None or DagRunType.BACKFILL_JOB in each}
    assert allowed == {spec.dag_id for spec in BATCHES if spec.backfills}
    # Everything else is as without the setting.
    assert {each for each in types.values() if each is not None} == {
        frozenset(each for each in DagRunType if each is not DagRunType.BACKFILL_JOB)
    }


def test_an_approval_waits_without_limit_before_it_opens_a_run(
    dags: dict[str, DAG],
) -> None:
    assert OPEN_APPROVALS > 1
    for spec in APPROVALS.values():
        dag = dags[spec.dag_id]
        # Its requests would stay hidden.
        assert dag.is_paused_upon_creation is False
        ask = dag.task_dict["ask"]
        assert isinstance(ask, HITLOperator)
        assert (ask.execution_timeout, ask.response_timeout, ask.defaults) == (None, None, None)
        assert (dag.deadline, dag.dagrun_timeout) == (None, None)
        options = [SEND_ALL, SEND_NEW, DISCARD_ALL] if spec is APPROVE_RESUMPTION else [APPROVE, HOLD]
        assert ask.options == options
        # What Airflow itself writes in the form is in the reader's language; what is ours is Japanese.
        params = ask.serialized_params.values()
        texts = [text for each in params for text in (each["schema"]["title"], each["description"])]
        assert all(
            re.search("[ぁ-ん一-龥ァ-ヶ]", text) for text in (*ask.options, *texts, ask.task_display_name)
        )
        assert (ask.upstream_task_ids, ask.downstream_task_ids) == ({"list_held"}, {"record_answer"})
        assert dag.task_dict["open_run"].upstream_task_ids == {"record_answer"}


@pytest.mark.parametrize("setting", ["required", "none"])
def test_a_request_shows_the_confirmation_only_where_it_counts(
    dags: dict[str, DAG], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str
) -> None:
    change_billing(monkeypatch, tmp_path, second_person=setting)
    for spec in (APPROVE_CONTRACTS, APPROVE_INVOICES):
        ask = dags[spec.dag_id].task_dict["ask"]
        assert isinstance(ask, HITLOperator)
        # Airflow's form hides a constant, and sends its value.
        schema = ask.serialized_params["confirmed"]["schema"]
        assert schema.get("const") == ([] if setting == "required" else None)
        # Airflow needs all fields; a useless confirmation is ignored.
        answer = {"tenants": [], "confirmed": ["60000"], "note": ""}
        deepcopy(ask).validate_params_input(answer)
        with pytest.raises(ValueError, match="does not match params"):
            deepcopy(ask).validate_params_input({"tenants": [], "note": ""})


def test_approval_is_asked_after_the_tenants_and_close_run_decides(
    dags: dict[str, DAG],
) -> None:
    asking = {
        dag_id for dag_id, dag in dags.items() if any("request_approval" in name for name in dag.task_dict)
    }
    batches = [spec for spec in BATCHES if spec.id in APPROVALS]
    operations = [spec.dag_id for spec in OPERATIONS if spec.id in APPROVALS]
    assert asking == {*operations, *(name for spec in batches for name in (spec.dag_id, spec.family.dag_id))}
    for spec in batches:
        tasks = dags[spec.dag_id].task_dict
        assert tasks["request_approval"].trigger_rule == "all_done"
        assert tasks["request_approval"].upstream_task_ids == {spec.mapped_task}
        assert tasks["request_approval"].downstream_task_ids == {"close_run"}
        assert tasks["close_run"].downstream_task_ids == ({"announce"} if spec.makes else set())


def test_announcing_never_decides_about_the_next_batch(dags: dict[str, DAG]) -> None:
    announcing = {
        dag_id: dag for dag_id, dag in dags.items() if any("announce" in name for name in dag.task_dict)
    }
    makers = [spec for spec in BATCHES if spec.makes]
    assert announcing.keys() == {name for spec in makers for name in (spec.dag_id, spec.family.dag_id)}
    for dag in announcing.values():
        for task in dag.tasks:
            is_announcing = task.task_id.endswith("announce")
            # Airflow fails a task with an inactive asset. With a teardown, it shows a run as a success that a person marks as failed.
            assert bool(task.inlets or task.outlets) <= is_announcing
            assert not task.is_teardown
            if is_announcing:
                assert not task.downstream_task_ids
                assert {name.rpartition(".")[2] for name in task.upstream_task_ids} == {"close_run"}


def test_only_families_and_operations_have_no_schedule(dags: dict[str, DAG]) -> None:
    assert {dag.dag_id for dag in dags.values() if dag.schedule is None} == {
        *(family.dag_id for family in FAMILIES),
        *(spec.dag_id for spec in OPERATIONS if spec is not IMPORT_PAYMENTS),
    }
    scheduled = dags[IMPORT_PAYMENTS.dag_id]
    assert scheduled.schedule == CronTriggerTimetable(IMPORT_PAYMENTS.cron, timezone="Asia/Tokyo")
    assert [each.name for each in scheduled.deadline or []] == ["制限時間", "いつもの 1.5 倍"]  # type: ignore[union-attr]
    assert {dag.dag_id for dag in dags.values() if "operation" in dag.tags} == {
        spec.dag_id for spec in OPERATIONS
    }


def test_the_alerts_of_operations_alone_go_to_the_user_who_triggered_them(dags: dict[str, DAG]) -> None:
    operations = {spec.dag_id for spec in OPERATIONS}
    for dag_id, dag in dags.items():
        # The first deadline is the time limit. DAGs that wait for people have none.
        late: Any = next(iter(dag.deadline or []), None)  # type: ignore[arg-type]
        alerts: list[Any] = [late.callback.kwargs] if late else []
        for task in dag.tasks:
            alerts += [vars(callback) for callback in task.on_failure_callback or []]  # type: ignore[union-attr]
        assert {alert["is_operation"] for alert in alerts} == {dag_id in operations}, dag_id


def test_each_dag_makes_the_tasks_of_its_plan_in_their_order(dags: dict[str, DAG]) -> None:
    for spec in RUN_SPECS.values():
        made = [(task.task_id, task.task_display_name, task.is_mapped) for task in dags[spec.dag_id].tasks]
        assert made == [(step.id, step.title, step.is_mapped) for step in plan_of(spec)], spec.id


@pytest.mark.parametrize("path", DAG_FILES, ids=lambda path: path.stem)
def test_a_page_lists_the_steps_of_the_plan_in_their_order(path: Path) -> None:
    """A reader of the DAG file learns there what happens."""
    families = {family.dag_id: [spec.slug for spec in FAMILY_BATCHES[family]] for family in FAMILIES}
    plans = {spec.dag_id: [step.id for step in plan_of(spec)] for spec in RUN_SPECS.values()}
    _, _, after = docstring_of(str(path)).partition("### 処理の流れ\n")
    listed = re.findall(r"(?m)^(\d+)\. `(\w+)`", after.partition("\n###")[0])
    expected = (families | plans)[path.stem]
    assert listed == [(str(number), name) for number, name in enumerate(expected, 1)]


def test_a_batch_has_the_same_tasks_in_its_family_dag(dags: dict[str, DAG]) -> None:
    for spec in BATCHES:
        own = {name: task.upstream_task_ids for name, task in dags[spec.dag_id].task_dict.items()}
        prefix = f"{spec.slug}."
        in_family = {
            name.removeprefix(prefix): {
                upstream.removeprefix(prefix)
                for upstream in task.upstream_task_ids
                if upstream.startswith(prefix)
            }
            for name, task in dags[spec.family.dag_id].task_dict.items()
            if name.startswith(prefix)
        }
        # A batch need not run with its family. The snapshots contain those that do.
        assert in_family in (own, {})


@pytest.mark.parametrize("dag_id", FORMS)
def test_an_operations_dag_has_the_fields_and_the_table_of_its_form(
    dags: dict[str, DAG], dag_id: str
) -> None:
    dag, form = dags[dag_id], FORMS[dag_id]
    assert set(dag.params) - {"operation", "business_date", "dry_run"} == set(form.shown_fields)
    # The heading or the help of a field names the operations that use it, unless all do.
    for name in form.shown_fields:
        param = dag.params.get_param(name)
        texts = f"{param.schema.get('section')} {param.description}"
        others = [each.title for each in form.operations if each not in form.users(name)]
        named = (
            [each.title for each in form.users(name)] if len(others) > len(form.operations) / 4 else others
        )
        assert all(title in texts for title in named), name
    assert dag.doc_md is not None
    assert "{operations}" not in dag.doc_md
    assert ("operation" in dag.params) == (form.table() in dag.doc_md) == (len(form.operations) > 1)


def test_batch_forms_have_only_their_own_parameters_and_no_operation(
    dags: dict[str, DAG],
) -> None:
    own = {
        spec.dag_id: set(dags[spec.dag_id].params) - {"business_date", "tenants", "dry_run"}
        for spec in BATCHES
    }
    assert {dag_id: names for dag_id, names in own.items() if names} == {
        "batch_001_data_backup": {"accept_smaller"},
        "batch_018_02_tenant_billing": {"allow_incomplete"},
        "batch_019_03_external_sync": {"allow_many"},
    }


def test_every_dag_has_the_common_parameters_with_japanese_titles(dags: dict[str, DAG]) -> None:
    for dag in dags.values():
        assert "dry_run" in dag.params
        spec = next((each for each in RUN_SPECS.values() if each.dag_id == dag.dag_id), None)
        assert ("tenants" in dag.params) == (spec is None or spec.takes_tenants)
        assert "business_date" in dag.params or "operation" in dag.tags
        for name in dag.params:
            assert re.search(r"[ぁ-んァ-ヶ一-龠]", dag.params.get_param(name).schema["title"])


def test_the_form_of_a_scheduled_dag_warns_in_a_heading_about_unpausing(dags: dict[str, DAG]) -> None:
    """Airflow's form unpauses a paused DAG by a box that is ticked at first. Airflow then starts the last missed run."""
    headings = {dag_id: _heading_of_dry_run(dag) for dag_id, dag in dags.items()}
    families = {spec.dag_id: spec.family.dag_id for spec in BATCHES}
    # Without a schedule no run was missed.
    assert {dag_id for dag_id, heading in headings.items() if "一時停止中" in heading} == families.keys()
    assert [dag_id for dag_id, family in families.items() if f"DAG {family} で" not in headings[dag_id]] == []


def _heading_of_dry_run(dag: DAG) -> str:
    return str(dag.params.get_param("dry_run").schema.get("section", ""))


def test_a_family_form_chooses_batches_and_has_no_operation(dags: dict[str, DAG]) -> None:
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
    # A missing pool would make its tasks wait for ever.
    assert {task.pool for dag in dags.values() for task in dag.tasks} == {"default_pool"}


RUN_DAG_FILES = """
import json, runpy, sys
import airflow.sdk

for path in sys.argv[1:]:
    before = set(sys.modules)
    defined = runpy.run_path(path)
    docs = {each.dag_id: each.doc_md for each in defined.values() if isinstance(each, airflow.sdk.DAG)}
    print(json.dumps([path, sorted(set(sys.modules) - before), docs]))
"""


@pytest.fixture(scope="module")
def files_without_docstrings() -> dict[str, tuple[list[str], dict[str, str]]]:
    """What a process loads for each DAG file, one after the other, and the pages of the file's DAGs.

    Python drops docstrings with PYTHONOPTIMIZE=2.
    """
    ran = subprocess.run(
        [sys.executable, "-c", RUN_DAG_FILES, *map(str, DAG_FILES)],
        env=os.environ | {"PYTHONOPTIMIZE": "2", "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    # Airflow logs to the standard output as well.
    printed = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("[")]
    return {path: (modules, docs) for path, modules, docs in printed}


def test_parsing_a_dag_loads_no_driver_provider_or_rule(
    files_without_docstrings: dict[str, tuple[list[str], dict[str, str]]],
) -> None:
    """Tasks import what they need. Otherwise every parse of the DAG processor would load it."""
    heavy = (
        "psycopg",
        "slack_sdk",
        "sqlalchemy",
        "yaml",
        "include.skillreport.core.execution",
        "include.skillreport.messaging",
        "include.skillreport.schema",
        "include.skillreport.core.settings",
    )
    assert list(files_without_docstrings) == [str(path) for path in DAG_FILES]
    first, *_ = files_without_docstrings.values()
    assert "include.skillreport.core.catalog" in first[0]
    assert {
        path: [module for module in modules if module.startswith(heavy)]
        for path, (modules, _) in files_without_docstrings.items()
    } == {path: [] for path in files_without_docstrings}


def test_the_pages_survive_without_docstrings(
    files_without_docstrings: dict[str, tuple[list[str], dict[str, str]]], dags: dict[str, DAG]
) -> None:
    """The tables of the operations are made from docstrings as well."""
    found = {dag_id: text for _, docs in files_without_docstrings.values() for dag_id, text in docs.items()}
    assert found == {dag_id: dag.doc_md for dag_id, dag in dags.items()}


@pytest.mark.parametrize("layout", ["include beside dags", "include inside dags"])
def test_airflow_finds_every_dag_by_its_import_of_airflow(tmp_path: Path, layout: str) -> None:
    """Airflow parses a file only if the words "airflow" and "dag" occur in it, so the code has to have them, without comments."""
    shutil.copytree(PROJECT / "dags", tmp_path / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    for file in (tmp_path / "dags").rglob("*.py"):
        file.write_text(re.sub(r"(?m)^#.*$", "", file.read_text(encoding="utf-8")), encoding="utf-8")
        assert "from airflow.sdk import" in file.read_text(encoding="utf-8")
    if layout == "include inside dags":
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / "include", tmp_path / "dags" / "include", ignore=ignored)
    found = list_py_file_paths(tmp_path / "dags", safe_mode=True)
    assert sorted(Path(path).stem for path in found) == sorted(path.stem for path in DAG_FILES)


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
        name
        for name in imported
        if not re.match(r"(__future__|typing|airflow\.sdk|skill_batch|include)(\.|$)", name)
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
    """The parts of a DAG that an operator would notice: schedule, parameters, tasks and their order."""
    return {
        "schedule": schedule(dag),
        "tags": sorted(dag.tags),
        "params": {name: dag.params.get_param(name).schema for name in sorted(dag.params)},
        "tasks": {
            task.task_id: {
                "upstream": sorted(task.upstream_task_ids),
                "trigger_rule": task.trigger_rule.value,
                "mapped": task.is_mapped,
                "alerts": bool(task.on_failure_callback),
                **({"inlets": names_of(task.inlets)} if task.inlets else {}),
                **({"outlets": names_of(task.outlets)} if task.outlets else {}),
            }
            for task in sorted(dag.tasks, key=lambda task: task.task_id)
        },
    }


def names_of(assets: list[Any]) -> list[str]:
    """The names of the assets, in the order of the alphabet."""
    return sorted(asset.name for asset in assets)


def schedule(dag: DAG) -> dict[str, str] | None:
    """The timetable of a scheduled DAG."""
    if dag.schedule is None:
        return None
    assert isinstance(dag.schedule, CronTriggerTimetable)
    timetable = dag.schedule
    return {
        "timetable": type(timetable).__name__,
        "cron": timetable.expression,
        "timezone": str(timetable.timezone),
    }
