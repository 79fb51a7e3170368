"""The workers and resources of tasks: the settings ``placement`` of the deployment."""

from __future__ import annotations

import logging
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from include.skillreport.core.execution.settings import PlacementSettings, Resources
    from include.skillreport.core.run_spec import RunSpec

log = logging.getLogger(__name__)


def placement_of(spec: RunSpec, task_id: str) -> dict[str, Any]:
    """The placement arguments of an operator; empty if the deployment places no tasks.

    A wrong setting must not remove the DAGs, or the alert about it. The tasks then use Airflow's defaults, and ``open_run`` fails with
    the reason.
    """
    settings = _settings(os.environ.get("SKILL_BATCH_SETTINGS"))
    if settings is None:
        return {}
    placement = settings.of(spec, task_id)
    chosen = {"queue": placement.queue, "pool": placement.pool}
    arguments: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    if placement.resources is not None:
        arguments["executor_config"] = {"pod_override": _pod(placement.resources)}
    return arguments


@cache
def _settings(file: str | None) -> PlacementSettings | None:
    """The settings; None if the section is missing or invalid, so that the other tasks do not read it again."""
    try:
        # The reader needs imports that DAG files otherwise do not need.
        if file is None or b"placement" not in Path(file).read_bytes():
            return None
    except OSError:
        return None  # `open_run` reports it
    from include.skillreport.core.errors import SettingsError
    from include.skillreport.core.execution.settings import PlacementSettings

    try:
        return PlacementSettings.load_alone()
    except SettingsError as error:
        log.warning("The tasks are placed as Airflow's configuration says: %s", error)
        return None


def _pod(resources: Resources) -> Any:
    """The pod override that KubernetesExecutor merges into its template. Its container is named ``base``.

    Source: https://airflow.apache.org/docs/apache-airflow-providers-cncf-kubernetes/stable/kubernetes_executor.html (pod_override),
    read November 2026.
    """
    from kubernetes.client import models as k8s

    amounts = k8s.V1ResourceRequirements(requests=resources.requests or None, limits=resources.limits or None)
    return k8s.V1Pod(spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base", resources=amounts)]))
