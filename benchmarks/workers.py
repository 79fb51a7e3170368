"""The share of their time in which several workers wait for each other's locks in PostgreSQL.

1, 4 and 20 processes do the same run. They take its shards from one queue, like Airflow's worker slots. Every 20 ms the benchmark asks
PostgreSQL which sessions wait for a lock of which session. The share is the time in lock waits divided by the time in which the processes
work. With more processes than cores the seconds grow, but the share does not grow if no process waits for a lock.

    python -m benchmarks.workers [PROCESSES ...] [BATCH-ID ...]
"""

from __future__ import annotations

import json
import multiprocessing
import queue
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import psycopg

from benchmarks.measurement import Databases, connected, vacuum
from include.skillreport.core.catalog import (
    NOTIFICATION_RETRY,
    TENANT_BILLING,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from include.skillreport.core.database import Statements
from include.skillreport.core.execution import flow
from include.skillreport.core.execution.batch import Run, create_batch
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.flow import TaskKey
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.sharding import Shard
from include.skillreport.core.network import EmailConfig, Network
from include.skillreport.core.operation_catalog import RUN_SPECS
from include.skillreport.core.run_spec import BatchSpec
from local_stack.batch_runs import LOCAL, LocalInstallation, request_of
from local_stack.generator import benchmark_shape
from local_stack.local_run import LocalRun
from local_stack.postgres_server import EmbeddedPostgres
from local_stack.stand_ins import StandIns

TENANTS = 2_000
MESSAGES_PER_TENANT = 5
PROCESSES = (1, 4, 20)
ALLOWED_SHARE = 0.05
DAY = date(2026, 10, 31)
_MORNING = datetime.combine(DAY + timedelta(days=1), time(1), JAPAN)
_PERIOD = 0.02
_LISTED = 6
_SQL = Statements(Path(__file__).parent)


@dataclass(frozen=True)
class Case:
    """A run to do: its batch, its date and time, and whether it sends messages."""

    spec: BatchSpec
    business_date: date
    run_at: datetime
    sends: bool = False


def _case(batch_id: str) -> Case:
    """The case of a batch."""
    cases = (
        Case(TENANT_USAGE, DAY, _MORNING),
        Case(TENANT_MONITORING, DAY, _MORNING - timedelta(hours=2)),
        Case(TENANT_BILLING, DAY.replace(day=1), _MORNING),
        Case(NOTIFICATION_RETRY, DAY, _MORNING, sends=True),
    )
    return next(case for case in cases if case.spec.id == batch_id)


BATCHES = (TENANT_USAGE.id, TENANT_MONITORING.id, TENANT_BILLING.id, NOTIFICATION_RETRY.id)


@dataclass
class Waits:
    """Seconds in lock waits: the sum, and by waiting and blocking statement."""

    seconds: float = 0.0
    by_pair: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))


@contextmanager
def lock_waits(dsn: str) -> Iterator[Waits]:
    """Ask PostgreSQL which session waits for which, until the end of the block."""
    waits, is_over = Waits(), threading.Event()

    def look() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            before = perf_counter()
            while not is_over.wait(_PERIOD):
                rows = _SQL.execute(connection, "lock_waits").fetchall()
                now = perf_counter()
                for waiter, event, blocker in rows:
                    waits.seconds += now - before
                    waits.by_pair[f"{_title(waiter)} waits ({event}) for {_title(blocker)}"] += now - before
                before = now

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield waits
    finally:
        is_over.set()
        watcher.join()


def _title(statement: str | None) -> str:
    return " ".join((statement or "nobody").split())[:70]


def work(
    batch_id: str,
    dsn: str,
    run: Run,
    network: Network | None,
    folder: Path,
    shards: Any,
    ready: Any,
    done: Any,
) -> None:
    """A worker process: take shards from the queue until there are none, and report the seconds in which it worked."""
    case = _case(batch_id)
    batch, seconds = create_batch(case.spec, LOCAL), 0.0
    ready.wait()
    while True:
        try:
            index, shard = shards.get(timeout=0.5)
        except queue.Empty:
            break
        start = perf_counter()
        with connected(dsn) as (platform, connection):
            installation = LocalInstallation(
                platform, connection, ObjectStore(folder), network, moment=case.run_at
            )
            flow.process_shard(case.spec, batch, run, shard, installation, TaskKey("process", index))
        seconds += perf_counter() - start
    done.put(seconds)


def measure_run(
    batch_id: str, dsn: str, processes: int, network: Network | None, folder: Path
) -> tuple[float, float, Waits]:
    """One run with this many processes: its seconds (elapsed, and summed over the processes), and the lock waits."""
    case = _case(batch_id)
    with connected(dsn) as (platform, connection):
        installation = LocalInstallation(platform, connection, services=network, moment=case.run_at)
        run = LocalRun(case.spec, request_of(case.spec, case.business_date, run_at=case.run_at), installation)
        for task in run.tasks():
            if task.map_index < 0:
                run.do(task)
            elif task.map_index == 0:
                with lock_waits(dsn) as waits:
                    elapsed, worked = _work_on(batch_id, dsn, run.run, run.shards, processes, network, folder)
        assert run.closed is not None
        if run.closed.failure:
            raise SystemExit(run.closed.result.sentence())
    return elapsed, worked, waits


def _work_on(
    batch_id: str,
    dsn: str,
    run: Run,
    shards: list[Shard],
    processes: int,
    network: Network | None,
    folder: Path,
) -> tuple[float, float]:
    context = multiprocessing.get_context("spawn")
    tasks, done, ready = context.Queue(), context.Queue(), context.Barrier(processes + 1)
    for index, shard in enumerate(shards):
        tasks.put((index, shard))
    workers = [
        context.Process(target=work, args=(batch_id, dsn, run, network, folder, tasks, ready, done))
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    ready.wait()
    start = perf_counter()
    seconds = [done.get() for _ in workers]
    # The last get of each worker has waited half a second for nothing.
    elapsed = perf_counter() - start - 0.5
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise SystemExit(f"a worker of {RUN_SPECS[batch_id].id} failed")
    return elapsed, sum(seconds)


def prepare(databases: Databases, services: StandIns) -> str:
    """Tenants with people, requests, a closed month, a Slack workspace, and messages that are due."""
    shape = replace(benchmark_shape(TENANTS), users_per_tenant=5, requests_per_day=5 * TENANTS)
    dsn = databases.load("template", shape)
    with psycopg.connect(dsn, autocommit=True) as connection:
        _SQL.execute(connection, "billing_month")
        _SQL.execute(
            connection, "workspaces", connection_config=json.dumps({"base_url": services.slack_base_url})
        )
        _SQL.execute(connection, "notification_queue", messages=MESSAGES_PER_TENANT)
        _SQL.execute(connection, "letter_queue")
    vacuum(dsn)
    return dsn


def main(numbers: tuple[int, ...], batch_ids: tuple[str, ...]) -> int:
    """Measure; returns 0 if the share of lock waits is small enough for the largest number of processes."""
    shares: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory(prefix="workers-benchmark-") as directory, StandIns() as services:
        services.latency("slack", _PERIOD)
        server = EmbeddedPostgres(Path(directory) / "postgres")
        server.start()
        databases = Databases(server)
        email = EmailConfig("127.0.0.1", services.smtp_port, "sender@example.jp", security="none")
        network = Network(allowed_hosts=services.allowed_hosts, email=email)
        try:
            prepare(databases, services)
            print(
                f"{'batch':<13} {'processes':>9} {'tenants/s':>10} {'working s':>10} {'waits s':>8} {'share':>7}"
            )
            for batch_id in batch_ids:
                for processes in numbers:
                    sleep(1)  # the template must have no connections
                    dsn = databases.copy(f"w{len(shares)}", "template")
                    sends = _case(batch_id).sends
                    folder = Path(directory) / f"store-{len(shares)}"
                    elapsed, worked, waits = measure_run(
                        batch_id, dsn, processes, network if sends else None, folder
                    )
                    shares.append((processes, waits.seconds / worked))
                    print(
                        f"{batch_id:<13} {processes:>9} {TENANTS / elapsed:>10,.0f} {worked:>10.1f}"
                        f" {waits.seconds:>8.2f} {waits.seconds / worked:>7.1%}",
                        flush=True,
                    )
                    for pair, seconds in sorted(waits.by_pair.items(), key=lambda each: -each[1])[:_LISTED]:
                        print(f"    {seconds:>6.2f} s  {pair}")
        finally:
            server.reset()
    largest = max(share for processes, share in shares if processes == max(numbers))
    print(
        f"largest share of lock waits with {max(numbers)} processes: {largest:.1%} (allowed: {ALLOWED_SHARE:.0%})"
    )
    return int(largest > ALLOWED_SHARE)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(
        main(
            tuple(int(each) for each in arguments if each.isdecimal()) or PROCESSES,
            tuple(each for each in arguments if not each.isdecimal()) or BATCHES,
        )
    )
