"""Send the metrics of a run to StatsD or OpenTelemetry, with Airflow's metrics (``[metrics]`` in its configuration).

Airflow adds its prefix (``airflow.`` by default) to the names. docs/metrics.md lists them with their units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.observability.stats import Stats

if TYPE_CHECKING:
    from include.execution.run_log import RunResult

PREFIX = "skill_batch"


def record_metrics(result: RunResult) -> None:
    """Send the counts and the duration of the run; each metric has the tag ``batch_id``."""
    tags = {"batch_id": result.batch_id}
    Stats.incr(f"{PREFIX}.runs.{result.status}", tags=tags)
    Stats.incr(f"{PREFIX}.tenants.succeeded", count=result.success_count, tags=tags)
    Stats.incr(f"{PREFIX}.tenants.failed", count=result.error_count, tags=tags)
    Stats.incr(f"{PREFIX}.records", count=result.records, tags=tags)
    Stats.timing(f"{PREFIX}.run.duration", float(result.execution_seconds) * 1000, tags=tags)
