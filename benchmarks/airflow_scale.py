"""BATCH-018-01 through real Airflow (LocalExecutor) with 10,000 and 100,000 tenants: time per tenant, memory of a task, size of the XComs.

Compare the figures of two sizes. The ports of the local stack must be free.

    python -m benchmarks.airflow_scale [TENANTS ...]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scale_world import LAST_DAY, World
from benchmarks.through_airflow import running_airflow
from include.skillreport.core.catalog import TENANT_USAGE
from include.skillreport.core.database import Statements

SIZES = (10_000, 100_000)
REQUESTS_PER_TENANT = 20
REQUIRED_TIME_RATIO = 1.2
REQUIRED_MEMORY_RATIO = 1.5
REQUIRED_XCOM_BYTES = 100_000
_LIMIT_SECONDS = 3600
_SQL = Statements(Path(__file__).parent)


@dataclass(frozen=True)
class Figures:
    """A run: its seconds from start to end, the largest memory of a task, and the bytes of its XComs. ``steps`` are seconds by task."""

    tenants: int
    seconds: float
    peak_memory_bytes: int
    xcom_bytes: int
    instances: int
    steps: dict[str, float]

    @property
    def seconds_per_tenant(self) -> float:
        """The average additional time per tenant."""
        return self.seconds / self.tenants


def run_through_airflow(tenants: int) -> Figures:
    """One run of the last day, with this many tenants."""
    world = World(tenants=tenants, requests=tenants * REQUESTS_PER_TENANT)
    dag_id = TENANT_USAGE.dag_id
    with running_airflow(world) as airflow:
        airflow.unpause(dag_id, _LIMIT_SECONDS)
        airflow.run(dag_id, ["--conf", json.dumps({"business_date": f"{LAST_DAY}"})], _LIMIT_SECONDS)
        state, seconds, instances, xcom_bytes = _SQL.row(airflow.metadata, "scale_run", dag_id=dag_id)
        assert state == "success", state
        with airflow.stack.database() as connection:
            steps = dict(_SQL.execute(connection, "scale_steps").fetchall())
            (peak,) = _SQL.column(connection, "scale_peak_memory")
            assert _SQL.column(connection, "scale_closed_days", day=LAST_DAY) == [tenants]
    return Figures(tenants, float(seconds), int(peak), int(xcom_bytes), int(instances), steps)


def main(sizes: Sequence[int]) -> int:
    """Measure each size; returns 0 if the requirements hold between the smallest and the largest."""
    print(
        f"{'tenants':>8} {'log rows':>10} {'instances':>9} {'seconds':>8} {'ms/tenant':>9} {'task peak':>10} {'XCom':>9}"
    )
    figures = []
    for tenants in sizes:
        found = run_through_airflow(tenants)
        figures.append(found)
        steps = ", ".join(f"{task} {seconds:.1f} s" for task, seconds in found.steps.items())
        print(
            f"{tenants:>8,} {tenants * REQUESTS_PER_TENANT:>10,} {found.instances:>9} {found.seconds:>8.1f}"
            f" {1000 * found.seconds_per_tenant:>9.2f} {found.peak_memory_bytes / 2**20:>7.0f} MB"
            f" {found.xcom_bytes / 1000:>6.1f} kB   ({steps})",
            flush=True,
        )
    first, last = figures[0], figures[-1]
    time_ratio = last.seconds_per_tenant / first.seconds_per_tenant
    memory_ratio = last.peak_memory_bytes / first.peak_memory_bytes
    print(
        f"time per tenant: {time_ratio:.2f} times (allowed {REQUIRED_TIME_RATIO}); memory of a task: {memory_ratio:.2f} times"
        f" (allowed {REQUIRED_MEMORY_RATIO}); XCom {last.xcom_bytes:,} bytes (allowed {REQUIRED_XCOM_BYTES:,})"
    )
    holds = (
        time_ratio <= REQUIRED_TIME_RATIO
        and memory_ratio <= REQUIRED_MEMORY_RATIO
        and last.xcom_bytes <= REQUIRED_XCOM_BYTES
    )
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main(tuple(int(argument) for argument in sys.argv[1:]) or SIZES))
