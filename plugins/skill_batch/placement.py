"""Where Airflow runs a task, and with how much: the settings ``placement`` of the deployment."""

from __future__ import annotations

import logging
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from include.skillreport.core.execution.settings import Resources
    from include.skillreport.core.run_spec import RunSpec

log = logging.getLogger(__name__)


def placement_of(spec: RunSpec, task_id: str) -> dict[str, Any]:
    """The arguments of an operator; empty if the deployment places no tasks.

    A wrong setting must not take the DAGs away, and with them the alert about it. So the task stays where Airflow's own configuration has
    it, and ``open_run`` fails with the sentence.
    """
    if not _are_written(os.environ.get("SKILL_BATCH_SETTINGS")):
        return {}
    from include.skillreport.core.errors import SettingsError
    from include.skillreport.core.execution.settings import PlacementSettings

    try:
        placement = PlacementSettings.load_alone().of(spec, task_id)
    except SettingsError as error:
        log.warning("%s is placed as Airflow's configuration says: %s", task_id, error)
        return {}
    chosen = {"queue": placement.queue, "pool": placement.pool}
    arguments: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    if placement.resources is not None:
        arguments["executor_config"] = {"pod_override": _pod(placement.resources)}
    return arguments


@cache
def _are_written(file: str | None) -> bool:
    """Whether the deployment's settings have this section. Their reader needs imports that no other parse of a DAG file needs."""
    try:
        return file is not None and b"placement" in Path(file).read_bytes()
    except OSError:
        return False  # `open_run` says it


def _pod(resources: Resources) -> Any:
    """The part of a pod that KubernetesExecutor lays over its template: its container is named ``base``.

    Source: https://airflow.apache.org/docs/apache-airflow-providers-cncf-kubernetes/stable/kubernetes_executor.html (pod_override), read
    November 2026.
    """
    from kubernetes.client import models as k8s

    amounts = k8s.V1ResourceRequirements(requests=resources.requests or None, limits=resources.limits or None)
    return k8s.V1Pod(spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base", resources=amounts)]))
