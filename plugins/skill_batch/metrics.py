"""Sends the metrics of a run to StatsD or OpenTelemetry, with Airflow's metrics (``[metrics]`` in its configuration).

Airflow adds its prefix (``airflow.`` by default) to the names. The table of docs/admin/alerts.md is generated from ``METRICS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from skill_batch.airflow_private.tasks import send_metric

if TYPE_CHECKING:
    from include.skillreport.core.execution.run_log import RunResult

PREFIX = "skill_batch"


@dataclass(frozen=True)
class RunMetric:
    """A metric of a run: its name without prefixes, its kind, its unit, and its value.

    None as the value: the run does not report this metric.
    """

    name: str
    kind: Literal["counter", "timer"]
    unit: str
    meaning: str
    value: Callable[[RunResult], float | None]


def _runs(status: str, meaning: str) -> RunMetric:
    return RunMetric(
        f"runs.{status}", "counter", "runs", meaning, lambda result: 1 if result.status == status else None
    )


METRICS = (
    _runs("completed", "all tenants succeeded, and few rows belong to nobody"),
    _runs("partial", "some tenants failed, or too many rows belong to nobody"),
    _runs("failed", "no tenant succeeded, or a step of the run failed"),
    RunMetric(
        "tenants.succeeded",
        "counter",
        "tenants",
        "tenants that succeeded",
        lambda result: result.success_count,
    ),
    RunMetric(
        "tenants.failed", "counter", "tenants", "tenants that failed", lambda result: result.error_count
    ),
    RunMetric(
        "records",
        "counter",
        "records",
        "records that the batch counts as read or written",
        lambda result: result.records,
    ),
    RunMetric(
        "run.duration",
        "timer",
        "ms",
        "from the opening of the run to its closing",
        lambda result: float(result.execution_seconds) * 1000,
    ),
)


def record_metrics(result: RunResult) -> None:
    """Send the run's metrics, with the tag ``batch_id``."""
    tags = {"batch_id": result.batch_id}
    for metric in METRICS:
        value = metric.value(result)
        if value is not None:
            send_metric(f"{PREFIX}.{metric.name}", metric.kind, value, tags)
