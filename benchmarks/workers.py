"""The share of their time in which several workers wait for each other's locks in PostgreSQL.

1, 4 and 20 processes do the same run. They take its shards from one queue, like Airflow's worker slots. Every 20 ms the program asks
PostgreSQL which sessions wait for a lock of which session. The share is the time in lock waits divided by the time of work. With more
processes than cores the seconds grow, but the share does not grow if no process waits for a lock.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from queue import Empty
from time import perf_counter, sleep
from typing import Any

import psycopg

from benchmarks.measurement import connected
from benchmarks.place import Found, Place, integrate, queue
from benchmarks.scale_world import LAST_DAY, World
from benchmarks.throttling import slack_bot
from include.skillreport.core import catalog
from include.skillreport.core.database import Statements
from include.skillreport.core.execution import flow
from include.skillreport.core.execution.batch import Run, create_batch
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.flow import RunRequest
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.openings import TaskKey
from include.skillreport.core.execution.sharding import Shard
from include.skillreport.core.network import EmailConfig, Network
from include.skillreport.core.run_spec import RunSpec
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.slack import SLACK
from local_stack.batch_runs import LOCAL, LocalInstallation, request_of
from local_stack.local_run import LocalRun
from local_stack.stand_ins import StandIns

ALLOWED_SHARE = 0.05
_MORNING = datetime.combine(LAST_DAY + timedelta(days=1), time(1), JAPAN)
_EVENING = _MORNING - timedelta(hours=2)
_PERIOD = 0.02
_LISTED = 6
_SQL = Statements(Path(__file__).parent)

# The runs with their business date and time. BATCH-019-02 sends.
_RUNS = {
    spec.id: (spec, day, moment)
    for spec, day, moment in (
        (catalog.TENANT_USAGE, LAST_DAY, _MORNING),
        (catalog.TENANT_MONITORING, LAST_DAY, _EVENING),
        (catalog.TENANT_BILLING, LAST_DAY.replace(day=1), _MORNING),
        (catalog.NOTIFICATION_RETRY, LAST_DAY, _MORNING),
    )
}
_NOTHING_LEFT_SECONDS = 0.5


@dataclass(frozen=True)
class Site:
    """The run's database, its time, its store, and its services."""

    dsn: str
    spec: RunSpec
    moment: datetime
    folder: Path
    network: Network | None = None

    @contextmanager
    def installation(self) -> Iterator[LocalInstallation]:
        """What the steps of the run work with."""
        with connected(self.dsn) as (platform, connection):
            store = ObjectStore(self.folder)
            yield LocalInstallation(platform, connection, store, self.network, moment=self.moment)


def work(site: Site, run: Run, shards: Any, ready: Any, done: Any) -> None:
    """A process: take shards from the queue until there are none, and report the seconds in which it worked."""
    batch, seconds = create_batch(site.spec, LOCAL), 0.0
    ready.wait()
    while True:
        try:
            index, shard = shards.get(timeout=_NOTHING_LEFT_SECONDS)
        except Empty:
            break
        start = perf_counter()
        with site.installation() as installation:
            key = TaskKey(site.spec.mapped_task, index)
            flow.process_shard(site.spec, batch, run, shard, installation, key)
        seconds += perf_counter() - start
    done.put(seconds)


def run_side_by_side(
    site: Site,
    request: RunRequest,
    processes: int,
    watch: AbstractContextManager[object] | None = None,
) -> tuple[float, float]:
    """A whole run, and its shards within ``watch``; returns their seconds: those that passed, and those in which the processes worked."""
    with site.installation() as installation:
        run = LocalRun(site.spec, request, installation)
        for task in run.tasks():
            if task.map_index < 0:
                run.do(task)
            elif task.map_index == 0:
                with watch or nullcontext():
                    seconds = _work_side_by_side(site, run.run, run.shards, processes)
    assert run.closed is not None
    assert run.closed.result.status == "completed", run.closed.result.sentence()
    return seconds


def _work_side_by_side(site: Site, run: Run, shards: Sequence[Shard], processes: int) -> tuple[float, float]:
    context = multiprocessing.get_context("spawn")
    tasks, done, ready = context.Queue(), context.Queue(), context.Barrier(processes + 1)
    for task in enumerate(shards):
        tasks.put(task)
    workers = [
        context.Process(target=work, args=(site, run, tasks, ready, done), daemon=True)
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    ready.wait()
    start = perf_counter()
    seconds = [done.get() for _ in workers]
    elapsed = perf_counter() - start - _NOTHING_LEFT_SECONDS
    for worker in workers:
        worker.join()
    return elapsed, sum(seconds)


@contextmanager
def lock_waits(dsn: str, waits: Counter[str]) -> Iterator[None]:
    """Ask PostgreSQL which session waits for which, until the end of the block: the microseconds by waiting and blocking statement."""
    is_over = threading.Event()

    def look() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            before = perf_counter()
            while not is_over.wait(_PERIOD):
                rows = _SQL.execute(connection, "lock_waits").fetchall()
                now = perf_counter()
                for waiter, event, blocker in rows:
                    pair = f"{_title(waiter)} waits ({event}) for {_title(blocker)}"
                    waits[pair] += round(1e6 * (now - before))
                before = now

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def _title(statement: str | None) -> str:
    return " ".join((statement or "unknown").split())[:70]


def measurement(place: Place) -> Found:
    """The share is small for the largest number of processes."""
    tenants, numbers = place.size(2_000, 150), place.size((1, 4, 20), (1, 4))
    found = Found(f"{tenants:,} tenants", f"{ALLOWED_SHARE:.0%} of the time")
    shares = []
    with StandIns() as services:
        services.latency("slack", _PERIOD)
        email = EmailConfig("127.0.0.1", services.smtp_port, "sender@example.jp", security="none")
        network = Network(allowed_hosts=services.allowed_hosts, email=email)
        dsn = place.plant("template", World(tenants, users=5, requests=5 * tenants))
        with psycopg.connect(dsn, autocommit=True) as connection:
            _SQL.execute(connection, "billing_month")
        integrate(dsn, SLACK, *slack_bot(services))
        queue(dsn, SLACK, "C{}", 5)
        # All share the installation's mail server.
        queue(dsn, EMAIL, "admin@{tenant}.example.jp", 1)
        print(
            f"{'batch':<13} {'processes':>9} {'tenants/s':>10} {'working s':>10} {'waits s':>8} {'share':>7}"
        )
        for batch_id, (spec, day, moment) in place.chosen(_RUNS).items():
            for processes in numbers:
                sleep(1)  # the template must have no connections
                name = f"w_{spec.slug}_{processes}"
                of_run = network if spec is catalog.NOTIFICATION_RETRY else None
                site = Site(place.copy(name, "template"), spec, moment, place.folder / name, of_run)
                waits = Counter[str]()
                request = request_of(spec, day, run_at=moment)
                elapsed, worked = run_side_by_side(site, request, processes, lock_waits(site.dsn, waits))
                waited = waits.total() / 1e6
                share = waited / worked
                shares += [share] * (processes == max(numbers))
                print(
                    f"{batch_id:<13} {processes:>9} {tenants / elapsed:>10,.0f} {worked:>10.1f} {waited:>8.2f} {share:>7.1%}",
                    flush=True,
                )
                for pair, microseconds in waits.most_common(_LISTED):
                    print(f"    {microseconds / 1e6:>6.2f} s  {pair}")
    found.result = f"largest share with {max(numbers)} processes: {max(shares):.1%}"
    found.require(max(shares) <= ALLOWED_SHARE, "the processes wait for each other")
    return found
