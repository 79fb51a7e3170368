"""The settings ``placement``: the queue, the pool and the pod of the tasks, as the DAGs of a DAG processor have them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from include.skillreport.core.catalog import (
    FAMILY_BATCHES,
    NOTIFICATION,
)
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.execution.settings import PlacementSettings
from include.skillreport.core.operation_catalog import APPROVE_INVOICES
from include.skillreport.core.settings import SETTINGS_VARIABLE, parse_settings
from tests.airflow_installation import PROJECT

PAGE = PROJECT / "docs" / "install" / "helm.md"

PODS = """
placement:
  families:
    data_management:
      resources:
        requests: {cpu: 250m, memory: 512Mi}
  tasks:
    dump:
      resources:
        requests: {cpu: "1", memory: 2Gi, ephemeral-storage: 20Gi}
        limits: {memory: 4Gi}
    bill_tenant:
      resources:
        requests: {memory: 1Gi}
"""


def example() -> str:
    """The example of the page."""
    (found,) = re.findall(r"```yaml\n(placement:.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


def placed_dags(settings: Path, monkeypatch: pytest.MonkeyPatch) -> list[DAG]:
    """All DAGs as they are with these settings."""
    monkeypatch.setenv(SETTINGS_VARIABLE, str(settings))
    bag = DagBag(dag_folder=str(PROJECT / "dags"))
    assert bag.import_errors == {}
    return list(bag.dags.values())


def places(dags: Iterable[Any]) -> dict[str, Any]:
    """Queue, pool and resources of all tasks, by DAG and task."""
    return {
        f"{dag.dag_id}:{task.task_id}": [task.queue, task.pool, amounts_of(task.executor_config)]
        for dag in dags
        for task in dag.tasks
    }


def amounts_of(executor_config: Any) -> dict[str, Any] | None:
    """What the containers of a task's pod request, and their limits."""
    pod = (executor_config or {}).get("pod_override")
    return pod and {
        each.name: [each.resources.requests, each.resources.limits] for each in pod.spec.containers
    }


@pytest.fixture
def everywhere(dags: dict[str, DAG]) -> dict[str, Any]:
    """All tasks as Airflow's own configuration places them."""
    return {
        f"{dag.dag_id}:{task.task_id}": ["default", "default_pool", None]
        for dag in dags.values()
        for task in dag.tasks
    }


def test_the_example_of_the_page_places_tasks_and_families(
    everywhere: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(example(), encoding="utf-8")
    expected = dict(everywhere)
    mail = {spec.dag_id for spec in FAMILY_BATCHES[NOTIFICATION]} | {NOTIFICATION.dag_id}
    mail |= {"operate_notifications", "approve_directory_changes", "approve_resumption"}
    for name in expected:
        dag_id, _, task_id = name.partition(":")
        match task_id.rpartition(".")[2]:
            case "dump":
                expected[name] = ["skill-batch-heavy", "skill_batch_backup", None]
            case "bill_tenant":
                expected[name] = ["default", "default_pool", {"base": [{"memory": "1Gi"}, None]}]
            case _ if dag_id in mail:
                expected[name] = ["skill-batch-mail", "default_pool", None]
    assert places(placed_dags(settings, monkeypatch)) == expected


def test_a_family_and_a_task_give_the_container_its_resources(
    everywhere: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(PODS, encoding="utf-8")
    dags = placed_dags(settings, monkeypatch)
    heaviest = (
        "batch_001_data_backup",
        "batch_0xx_data_management",
        "restore_backup",
        "batch_018_02_tenant_billing",
    )
    # As the scheduler has them: from Airflow's database.
    stored = [json.dumps(DagSerialization.to_dict(dag)) for dag in dags if dag.dag_id in heaviest]
    found = places(DagSerialization.from_dict(json.loads(text)) for text in stored)
    dump = {"base": [{"cpu": "1", "memory": "2Gi", "ephemeral-storage": "20Gi"}, {"memory": "4Gi"}]}
    assert found["batch_001_data_backup:dump"] == ["default", "default_pool", dump]
    assert found["batch_0xx_data_management:data_backup.dump"][2] == dump
    assert found["restore_backup:restore"][2] == {"base": [{"cpu": "250m", "memory": "512Mi"}, None]}
    assert found["batch_018_02_tenant_billing:bill_tenant"][2] == {"base": [{"memory": "1Gi"}, None]}
    assert found["batch_018_02_tenant_billing:open_run"] == everywhere["batch_018_02_tenant_billing:open_run"]


def test_resources_without_the_client_are_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    # So Python finds no such package.
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(
        SettingsError,
        match=r"placement\.families\.data_management\.resources: .* kubernetes が必要です",
    ):
        parse_settings(PODS, "settings.yaml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "families: {mail: {queue: q}}",
            "mail はありません。data_management、notification、tenant_management のどれか",
        ),
        ("tasks: {dmup: {queue: q}}", "dmup はありません"),
        ("tasks: {dump: {que: q}}", "この名前の設定はありません"),
        ("tasks: {dump: {queue: ''}}", "1 文字以上にしてください"),
        ("tasks: {dump: {resources: {requests: {memory: 2 GB}}}}", "の形にしてください（今の値は '2 GB'）"),
        ("tasks: {dump: {resources: {requests: {gpu: '1'}}}}", "cpu、memory、ephemeral-storage のどれか"),
    ],
)
def test_a_wrong_placement_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_settings(f"placement:\n  {text}\n", "own.yaml")
    message = str(refused.value)
    assert sentence in message
    assert message.startswith("own.yaml の 2 行目 placement.")
    assert "\n" not in message


def test_a_wrong_value_leaves_the_dags_as_they_were(
    everywhere: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run fails when it opens, and its alert has the sentence."""
    settings = tmp_path / "settings.yaml"
    settings.write_text("placement:\n  tasks: {dump: {queue: 1}}\n", encoding="utf-8")
    assert places(placed_dags(settings, monkeypatch)) == everywhere


def test_another_wrong_section_does_not_move_the_tasks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "billing: {nothing: 1}\nplacement:\n  tasks: {approve_invoice: {queue: q}}\n", encoding="utf-8"
    )
    monkeypatch.setenv(SETTINGS_VARIABLE, str(settings))
    placement = PlacementSettings.load_alone()
    assert placement.of(APPROVE_INVOICES, "approve_invoice").queue == "q"
    assert placement.of(APPROVE_INVOICES, "ask").queue is None
    with pytest.raises(SettingsError, match=r"billing\.nothing"):
        PlacementSettings.load()
