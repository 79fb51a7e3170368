"""What Airflow itself costs: each batch through real Airflow (LocalExecutor) with 9, 100, 1,000 and 10,000 tenants.

A run lasts from its start to its end in Airflow's database. At some of these moments a task works: Airflow's share is the rest, in which
processes start, import, and wait for the scheduler. Airflow adds rows to its database with each run. A size that is given as
``100/1`` runs 100 tenants with ``max_mapped_tenants: 1``, so in shards.

The ports of the local stack must be free.

    python -m benchmarks.airflow_share [TENANTS[/MAX_MAPPED_TENANTS] ...]
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scale_world import World
from benchmarks.through_airflow import RunningAirflow, running_airflow
from include.skillreport.core.catalog import BATCHES, MONTHLY_REPORT, TENANT_BILLING
from include.skillreport.core.database import Statements
from include.skillreport.core.run_spec import RunSpec
from local_stack.data_management import plant_log_files
from local_stack.demo.runs import DEMO_RUNS
from local_stack.stack import DEMO_SETTINGS, LocalStack
from local_stack.stand_ins import StandIns

SIZES = ("9", "100", "1000", "10000")

# In the order of the demo: what one batch needs comes before it.
_ORDER = [spec for spec in dict.fromkeys(run.spec for run in DEMO_RUNS) if spec in BATCHES]
# Typesetting the reports of 10,000 tenants takes a quarter of an hour on two cores.
_WITHOUT_DOCUMENTS = 1_000
_DOCUMENTS = (TENANT_BILLING, MONTHLY_REPORT)

# The night after the last day of the data, and no moment of a schedule.
_LOGICAL_DATE = "2026-11-01T02:00:01+09:00"
_LIMIT_SECONDS = 1_800
# Of the billed month only the last day is closed.
_CONF: Mapping[RunSpec, str] = {TENANT_BILLING: '{"allow_incomplete": true}'}
REQUESTS_PER_TENANT = 20

_SQL = Statements(Path(__file__).parent)


@dataclass(frozen=True)
class Share:
    """A run: its seconds, those in which a task worked, all task instances, and the rows that it added to Airflow's database."""

    state: str
    seconds: float
    work_seconds: float
    instances: int
    metadata_rows: int

    @property
    def airflow_seconds(self) -> float:
        """Airflow's own share."""
        return self.seconds - self.work_seconds


def union_seconds(intervals: Iterable[tuple[float, float]]) -> float:
    """The length of what the intervals (start and end, in seconds) cover together."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def measure_share(airflow: RunningAirflow, batch: RunSpec) -> Share:
    """Run the batch for the last day."""
    airflow.unpause(batch.dag_id, _LIMIT_SECONDS)
    before = _rows(airflow)
    options = ["--logical-date", _LOGICAL_DATE, "--conf", _CONF.get(batch, "{}")]
    airflow.run(batch.dag_id, options, _LIMIT_SECONDS)
    state, seconds, _, _ = _SQL.row(airflow.metadata, "scale_run", dag_id=batch.dag_id)
    ended = {
        (task_id, map_index): end
        for task_id, map_index, end in _SQL.execute(airflow.metadata, "share_instances", dag_id=batch.dag_id)
    }
    with airflow.stack.database() as connection:
        worked = _SQL.execute(connection, "share_work", dag_id=batch.dag_id).fetchall()
    # A task records its time when it ends.
    intervals = [
        (ended[task_id, map_index] - wall, ended[task_id, map_index]) for task_id, map_index, wall in worked
    ]
    return Share(state, float(seconds), union_seconds(intervals), len(ended), _rows(airflow) - before)


def _rows(airflow: RunningAirflow) -> int:
    """The rows of Airflow's database, as its statistics count them."""
    (rows,) = _SQL.column(airflow.metadata, "share_metadata_rows")
    return int(rows)


@contextmanager
def settings_with(most_mapped: str) -> Iterator[Path]:
    """The settings of the demo, with this ``execution.max_mapped_tenants`` unless it is empty."""
    if not most_mapped:
        yield DEMO_SETTINGS
        return
    with tempfile.TemporaryDirectory(prefix="airflow-share-") as directory:
        # The settings name other files beside them.
        shutil.copytree(
            DEMO_SETTINGS.parent, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py")
        )
        settings = Path(directory, DEMO_SETTINGS.name)
        with settings.open("a", encoding="utf-8") as file:
            file.write(f"execution:\n  max_mapped_tenants: {most_mapped}\n")
        yield settings


def _services(stack: LocalStack) -> StandIns:
    """The services of the settings file, on their ports."""
    return StandIns(stack.ports.http, stack.ports.smtp, imap_port=stack.ports.imap)


def measure_size(size: str) -> bool:
    """Run all batches with this many tenants, and print a line for each. Returns whether all have succeeded."""
    states = set()
    tenants, _, most = size.partition("/")
    world = World(tenants=int(tenants), requests=int(tenants) * REQUESTS_PER_TENANT)
    with (
        settings_with(most) as settings,
        running_airflow(world, settings) as airflow,
        _services(airflow.stack),
    ):
        # BATCH-002 fails without its log folders.
        plant_log_files(airflow.stack.application_logs)
        for batch in _ORDER:
            if batch in _DOCUMENTS and world.tenants > _WITHOUT_DOCUMENTS:
                continue
            share = measure_share(airflow, batch)
            states.add(share.state)
            print(
                f"{size:>9} {batch.id:<13} {share.state:<8} {share.instances:>9} {share.seconds:>8.1f} {share.work_seconds:>8.1f}"
                f" {share.airflow_seconds:>8.1f} {share.airflow_seconds / share.instances:>13.2f} {share.metadata_rows:>9,}",
                flush=True,
            )
    return states == {"success"}


def main(sizes: Sequence[str]) -> int:
    """Measure each size; returns 1 if a run has failed."""
    print(
        f"{'tenants':>9} {'batch':<13} {'ended':<8} {'instances':>9} {'run s':>8} {'work s':>8} {'rest s':>8}"
        f" {'rest/instance':>13} {'rows':>9}"
    )
    # A failed run stops no further size.
    succeeded = [measure_size(size) for size in sizes]
    return int(not all(succeeded))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or SIZES))
