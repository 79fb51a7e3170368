"""Runs through real Airflow (LocalExecutor): what Airflow itself costs, and what a run of many tenants takes.

A run lasts from its start to its end in Airflow's database. At some of these moments a task works: Airflow's share is the rest, in which
processes start, import, and wait for the scheduler. Airflow adds rows to its database with each run. The size ``100/1`` runs 100 tenants
with ``max_mapped_tenants: 1``, so in shards. A run in shards is repeated, because the number of shards follows the work of the first one.
100,000 tenants run BATCH-018-01 only: its time for a tenant, the memory of a task and the XComs are compared with those of 10,000.

Airflow's metadata and the application's data are in a server that uses the ports of the local stack, so `make up` must not run.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import httpx
import psycopg

from benchmarks.measurement import own_stack
from benchmarks.place import Found, Place
from benchmarks.scale_world import LAST_DAY, World, plant_host, plant_years, vacuum, years_of
from include.skillreport.core.catalog import BATCHES, MONTHLY_REPORT, TENANT_BILLING, TENANT_USAGE
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.settings import ExecutionSettings
from include.skillreport.core.run_spec import RunSpec
from include.skillreport.core.settings import SETTINGS_VARIABLE
from include.skillreport.schema.deploy import upgrade
from local_stack.airflow_processes import API_SERVER, COMMANDS, SupervisedAirflow
from local_stack.airflow_settings import BACKUP_CONNECTION
from local_stack.data_management import create_backup_login, plant_log_files
from local_stack.demo.runs import DEMO_RUNS
from local_stack.stack import AIRFLOW_METADATA, DEMO_SETTINGS, LocalStack
from local_stack.stand_ins import StandIns

ALLOWED_TIME_RATIO, ALLOWED_MEMORY_RATIO, ALLOWED_XCOM_BYTES = 1.2, 1.5, 100_000
# In the order of the demo: what one batch needs comes before it.
_ORDER = [spec for spec in dict.fromkeys(run.spec for run in DEMO_RUNS) if spec in BATCHES]
_WITHOUT_DOCUMENTS = [spec for spec in _ORDER if spec not in (TENANT_BILLING, MONTHLY_REPORT)]
# Typesetting the reports of 10,000 tenants takes a quarter of an hour on two cores.
SIZES: Mapping[str, Sequence[RunSpec]] = {
    "9": _ORDER,
    "100": _ORDER,
    "100/1": _ORDER,
    "1000": _ORDER,
    "10000": _WITHOUT_DOCUMENTS,
    "100000": [TENANT_USAGE],
}
_SMALL = {"9": [TENANT_USAGE]}
# The night after the last day of the data, and no moments of a schedule, by the id of the run.
_LOGICAL_DATES = {"first": "2026-11-01T02:00:01+09:00", "again": "2026-11-01T02:00:02+09:00"}
_LIMIT_SECONDS = 3_600
# Of the billed month only the last day is closed.
_CONF: Mapping[RunSpec, str] = {TENANT_BILLING: '{"allow_incomplete": true}'}
REQUESTS_PER_TENANT = 20
_SQL = Statements(Path(__file__).parent)
ALLOWED_PAGE_SECONDS = 0.3
ROUNDS = 15
_START_SECONDS = 300
_PAGES = (
    "/",
    f"/batches/{TENANT_USAGE.id}",
    f"/runs/{TENANT_USAGE.dag_id}/failed",
    "/tenants",
    "/tenants/tenant-000001",
    "/invoices",
    "/messages",
    "/durations",
    "/findings",
)


@dataclass(frozen=True)
class Figures:
    """A run: its seconds, those in which a task worked, all task instances, and the rows that it added to Airflow's database.

    ``peak_memory_bytes`` is that of the largest task.
    """

    state: str
    seconds: float
    work_seconds: float
    instances: int
    metadata_rows: int
    peak_memory_bytes: int
    xcom_bytes: int

    def __str__(self) -> str:
        rest = self.seconds - self.work_seconds
        return (
            f"{self.state:<8} {self.instances:>9} {self.seconds:>8.1f} {self.work_seconds:>8.1f} {rest:>8.1f}"
            f" {rest / self.instances:>13.2f} {self.metadata_rows:>9,} {self.peak_memory_bytes / 2**20:>7.0f} MB"
            f" {self.xcom_bytes / 1000:>7.1f} kB"
        )


@dataclass(frozen=True)
class RunningAirflow:
    """Airflow's processes run. ``metadata`` is a connection to Airflow's database, in autocommit mode."""

    stack: LocalStack
    metadata: psycopg.Connection

    def measure(self, spec: RunSpec, run_id: str) -> Figures:
        """Run the batch for the last day. :raises SystemExit: the run has not ended within an hour."""
        self._wait("dag_is_known", dag_id=spec.dag_id)
        self.stack.airflow("dags", "unpause", spec.dag_id)
        # Airflow starts a run for the last moment of the schedule.
        self._wait("dag_is_idle", dag_id=spec.dag_id)
        before = self._rows()
        options = ["--logical-date", _LOGICAL_DATES[run_id], "--conf", _CONF.get(spec, "{}")]
        self.stack.airflow("dags", "trigger", spec.dag_id, "--run-id", run_id, *options)
        about = {"dag_id": spec.dag_id, "run_id": run_id}
        self._wait("run_has_ended", **about)
        state, seconds, xcom_bytes = _SQL.row(self.metadata, "airflow_run", **about)
        instances = _SQL.execute(self.metadata, "airflow_instances", **about).fetchall()
        ended = {(task_id, map_index): end for task_id, map_index, end in instances}
        with self.stack.database() as connection:
            worked = _SQL.execute(connection, "worked", **about).fetchall()
        # A task records its time when it ends.
        intervals = [(ended[task, index] - wall, ended[task, index]) for task, index, wall, _ in worked]
        peak = max(memory for *_, memory in worked)
        return Figures(
            *(state, float(seconds), union_seconds(intervals), len(ended), self._rows() - before),
            *(int(peak), int(xcom_bytes or 0)),
        )

    def _rows(self) -> int:
        """The rows of Airflow's database, as its statistics count them."""
        (rows,) = _SQL.column(self.metadata, "metadata_rows")
        return int(rows)

    def _wait(self, statement: str, **about: str) -> None:
        deadline = time.monotonic() + _LIMIT_SECONDS
        while not _SQL.column(self.metadata, statement, **about):
            if time.monotonic() > deadline:
                raise SystemExit(f"{about}: waited in vain for {statement}")
            time.sleep(1)


def union_seconds(intervals: Iterable[tuple[float, float]]) -> float:
    """The length of what the intervals (start and end, in seconds) cover together."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def plant_stack(stack: LocalStack, world: World) -> None:
    """Fill the stack's empty database with these data and schema ``batch``."""
    plant_host(stack.admin_dsn(), world)
    upgrade(stack.admin_dsn(), passwords=stack.settings.passwords)
    vacuum(stack.admin_dsn())


@contextmanager
def settings_with(most_mapped: str) -> Iterator[Path]:
    """The settings of the demo, with this ``execution.max_mapped_tenants`` unless it is empty."""
    if not most_mapped:
        yield DEMO_SETTINGS
        return
    with tempfile.TemporaryDirectory(prefix="airflow-settings-") as directory:
        # The settings name other files beside them.
        ignored = shutil.ignore_patterns("*.py")
        shutil.copytree(DEMO_SETTINGS.parent, directory, dirs_exist_ok=True, ignore=ignored)
        settings = Path(directory, DEMO_SETTINGS.name)
        with settings.open("a", encoding="utf-8") as file:
            file.write(f"execution:\n  max_mapped_tenants: {most_mapped}\n")
        yield settings


@contextmanager
def running_airflow(size: str) -> Iterator[RunningAirflow]:
    """Airflow over this many tenants, and the services of the settings on their ports."""
    tenants, _, most_mapped = size.partition("/")
    world = World(tenants=int(tenants), requests=int(tenants) * REQUESTS_PER_TENANT)
    with own_stack("airflow-benchmark-") as stack, settings_with(most_mapped) as settings:
        plant_stack(stack, world)
        with stack.database() as connection:
            create_backup_login(connection, stack.settings.connections[BACKUP_CONNECTION])
        # BATCH-002 fails without its log folders.
        plant_log_files(stack.application_logs)
        stack.prepare_airflow()
        environment = os.environ | stack.environment() | {SETTINGS_VARIABLE: str(settings)}
        with (
            StandIns(stack.ports.http, stack.ports.smtp, imap_port=stack.ports.imap),
            SupervisedAirflow(environment, stack.directory, print),
            psycopg.connect(stack.server.admin_dsn(AIRFLOW_METADATA), autocommit=True) as metadata,
        ):
            yield RunningAirflow(stack, metadata)


def measurement(place: Place) -> Found:
    """All runs succeed, and BATCH-018-01 grows with the tenants only."""
    found = Found("", f"{ALLOWED_TIME_RATIO} times the time, {ALLOWED_MEMORY_RATIO} the memory for a tenant")
    print(
        f"{'tenants':>9} {'batch':<13} {'run':<6} {'ended':<8} {'instances':>9} {'run s':>8} {'work s':>8} {'rest s':>8}"
        f" {'rest/instance':>13} {'rows':>9} {'task peak':>10} {'XComs':>10}"
    )
    usage: dict[str, Figures] = {}
    sizes = place.chosen(_SMALL if place.is_small else SIZES)
    for size, specs in sizes.items():
        with running_airflow(size) as airflow:
            is_sharded = "/" in size or int(size) > ExecutionSettings.load().max_mapped_tenants
            for spec, run_id in product(specs, list(_LOGICAL_DATES)[: 1 + is_sharded]):
                figures = airflow.measure(spec, run_id)
                print(f"{size:>9} {spec.id:<13} {run_id:<6} {figures}", flush=True)
                found.require(figures.state == "success", f"{size} tenants: {spec.id} has failed")
                found.require(
                    figures.xcom_bytes <= ALLOWED_XCOM_BYTES, f"{size} tenants: {spec.id} has large XComs"
                )
                if spec is TENANT_USAGE:
                    usage[size] = figures
            with airflow.stack.database() as connection:
                closed = _SQL.column(connection, "closed_days", day=LAST_DAY)
            found.require(closed == [int(size.partition("/")[0])], f"{size} tenants: {closed} closed days")
    found.size = f"{', '.join(sizes)} tenants"
    few, many = usage.get("10000"), usage.get("100000")
    if few and many:
        time_ratio = many.seconds / few.seconds / 10
        memory_ratio = many.peak_memory_bytes / few.peak_memory_bytes
        found.result = f"time {time_ratio:.2f}, memory {memory_ratio:.2f} times"
        found.require(time_ratio <= ALLOWED_TIME_RATIO, "the time for a tenant grows")
        found.require(memory_ratio <= ALLOWED_MEMORY_RATIO, "the memory of a task grows")
    return found


def plant_night(stack: LocalStack, tenants: int, years: int) -> None:
    """Create the application's tables, and the rows of the batches up to this hour."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    plant_stack(stack, World(tenants, users=2, requests=1_000))
    plant_years(stack.admin_dsn(), years_of(tenants, years), until=now)
    # The statements are several, so the client fills in the parameters.
    with psycopg.connect(stack.admin_dsn(), cursor_factory=psycopg.ClientCursor) as connection:
        _SQL.execute(connection, "board_night", batch_id=TENANT_USAGE.id, dag_id=TENANT_USAGE.dag_id)


@contextmanager
def board_of(stack: LocalStack) -> Iterator[httpx.Client]:
    """A client that is signed in to the API server of this stack."""
    stack.prepare_airflow()
    stack.airflow("dags", "reserialize")
    commands = {API_SERVER: COMMANDS[API_SERVER]}
    with (
        SupervisedAirflow(os.environ | stack.environment(), stack.directory, print, commands=commands),
        signed_in(f"http://127.0.0.1:{stack.ports.ui}") as client,
    ):
        yield client


def signed_in(url: str) -> httpx.Client:
    """A client that is signed in, as soon as the API server answers."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            token = httpx.get(f"{url}/auth/token").raise_for_status().json()["access_token"]
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return httpx.Client(base_url=url, cookies={"_token": token}, timeout=60)


def _page(client: httpx.Client, path: str) -> float:
    """The first request is not counted."""
    seconds, content = [], b""
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        answer = client.get(f"/skill-batch-board{path}")
        if answer.is_error:
            print(f"{path:48} {answer.status_code}", flush=True)
            return float("inf")
        content = answer.content
        seconds.append(time.perf_counter() - start)
    median, longest = statistics.median(seconds[1:]), max(seconds[1:])
    print(f"{path:48} {1000 * median:>5.0f} ms {1000 * longest:>5.0f} ms {len(content):>9,}", flush=True)
    return median


def board(place: Place) -> Found:
    """The board's pages with years of rows, after a night in which a fifth of the tenants failed: the first is fast, and none fails.

    They come from Airflow's API server over HTTP, one at a time. The rows are those of ``years``, up to the current hour. Airflow's own
    database has no runs.
    """
    tenants, years = place.size((1_000, 5), (20, 1))
    found = Found(f"{tenants:,} tenants, {years} years", f"first page {ALLOWED_PAGE_SECONDS} s")
    print(f"{'page':48} {'median':>8} {'maximum':>8} {'bytes':>9}")
    with own_stack("board-") as stack:
        plant_night(stack, tenants, years)
        with board_of(stack) as client:
            pages = {path: _page(client, path) for path in _PAGES}
    slowest = max(pages, key=lambda path: pages[path])
    found.seconds, found.result = pages["/"], f"slowest {slowest} with {pages[slowest]:.2f} s"
    found.require(pages["/"] <= ALLOWED_PAGE_SECONDS, "the first page is slow")
    found.require(pages[slowest] < float("inf"), "a page fails")
    return found
