"""The growth of the batches' cost with the history, with the tenants, and with one very large tenant.

The rows are created inside the database. Each batch runs without Airflow's start-up, in a separate process. The fastest of three runs
counts, or a single long one. The figures are seconds, rows of the application's tables that the run has read (PostgreSQL's own counters),
and peak memory. The floor is one scan of the rows of the day, and for BATCH-001 a bare pg_dump. No messages are sent:
``benchmarks.throttling`` measures that. Compare ratios: they do not depend on the machine.

    python -m benchmarks.scale [history] [tenants] [skew]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from time import perf_counter

import psycopg

from benchmarks.backup import bare_dump, run_backup
from benchmarks.measurement import Measurement, connected, measure, vacuum
from benchmarks.scale_world import LAST_DAY, World, plant
from include.skillreport.core.catalog import (
    DATA_BACKUP,
    EXTERNAL_SYNC,
    INACTIVE_TENANTS,
    LOG_CLEANUP,
    MONTHLY_REPORT,
    NOTIFICATION_LOG_CLEANUP,
    NOTIFICATION_RETRY,
    NOTIFICATION_SETTINGS_CHECK,
    SCHEDULED_NOTIFICATIONS,
    SETTINGS_SYNC,
    STATISTICS,
    TENANT_BILLING,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.batch import create_batch
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.operation_catalog import RUN_SPECS
from include.skillreport.core.run_spec import BatchSpec, WorksOn
from include.skillreport.schema.host_indexes.creation import create_indexes
from local_stack.batch_runs import LOCAL, run_batch
from local_stack.postgres_server import EmbeddedPostgres

HISTORY_DAYS = 40
REQUIRED_GROWTH = 1.2
SIZES = (100, 1_000, 10_000)
_ROUNDS = 3
# A run that takes longer is not repeated.
_REPEATED_BELOW_SECONDS = 20
_HOUR = timedelta(hours=1)
_MIDNIGHT = datetime.combine(LAST_DAY + timedelta(days=1), time(), JAPAN)
_SQL = Statements(Path(__file__).parent)


@dataclass(frozen=True)
class Case:
    """A run to measure: the batch, its time, and the statements that bring the tables into the state before a usual run."""

    spec: BatchSpec
    run_at: datetime = _MIDNIGHT + _HOUR
    before: tuple[str, ...] = ()
    remark: str = ""

    @property
    def label(self) -> str:
        """The batch and the remark."""
        return f"{self.spec.id} {self.remark}".strip()


_NO_HOURS = "TRUNCATE batch.activity_hour, batch.activity_reading"
_JUDGED_YESTERDAY = "UPDATE batch.tenant_inactivity SET judged_on = judged_on - 1"

HOURLY = Case(TENANT_MONITORING, _MIDNIGHT - 8 * _HOUR, remark="one hour")
ALONE = (
    Case(TENANT_USAGE, before=(_NO_HOURS,), remark="reads the logs"),
    Case(STATISTICS, before=(_NO_HOURS,), remark="reads the logs"),
    Case(INACTIVE_TENANTS, before=(_NO_HOURS, _JUDGED_YESTERDAY), remark="reads the logs"),
)
SHARED = (
    Case(TENANT_USAGE, remark="hours are read"),
    Case(STATISTICS, remark="hours are read"),
    Case(INACTIVE_TENANTS, before=(_JUDGED_YESTERDAY,), remark="hours are read"),
)
# Documents and files take the same time for each tenant, and too long for the largest world.
DOCUMENTS = (Case(MONTHLY_REPORT), Case(TENANT_BILLING))
_MOST_DOCUMENTS = 1_000
OTHERS = (
    Case(LOG_CLEANUP),
    Case(SETTINGS_SYNC),
    Case(SCHEDULED_NOTIFICATIONS),
    Case(NOTIFICATION_RETRY),
    Case(EXTERNAL_SYNC),
    Case(NOTIFICATION_LOG_CLEANUP),
    Case(NOTIFICATION_SETTINGS_CHECK),
)


@dataclass(frozen=True)
class Cost:
    """The cost of a run: time, peak memory, and the rows that it read."""

    seconds: float
    peak_memory_bytes: int
    rows_read: int

    def __str__(self) -> str:
        return f"{self.seconds:>7.2f} s {self.peak_memory_bytes / 2**20:>5.0f} MB {self.rows_read:>10,} rows"


def run_case(spec_id: str, run_at: datetime, folder: str, dsn: str, day: date) -> None:
    """One run, as the DAG's tasks do it, with a folder as the object store."""
    with connected(dsn) as (platform, connection):
        spec = RUN_SPECS[spec_id]
        store = ObjectStore(Path(folder))
        result = run_batch(
            platform, connection, spec, create_batch(spec, LOCAL), day, run_at=run_at, store=store
        )
        assert result.status == "completed", result


def cost_of(dsn: str, case: Case, folder: Path) -> Cost:
    """The fastest of three runs after one that warms the server's cache, or a single long run."""
    measured: list[Measurement] = []
    for number in range(1 + _ROUNDS):
        if measured and measured[0].seconds > _REPEATED_BELOW_SECONDS:
            break
        # Each hour is judged once.
        run_at = case.run_at + number * _HOUR if case.spec is TENANT_MONITORING else case.run_at
        with psycopg.connect(dsn, autocommit=True) as connection:
            for statement in case.before:
                connection.execute(statement.encode())
        work = partial(run_case, case.spec.id, run_at, str(folder))
        measured.append(measure(work, dsn, _business_date(case.spec, run_at)))
    with psycopg.connect(dsn) as connection:
        (rows,) = _SQL.row(connection, "scale_rows_read")
    best = min(measured[1:] or measured, key=lambda measurement: measurement.seconds)
    return Cost(best.seconds, best.peak_memory_bytes, int(rows))


def _business_date(spec: BatchSpec, run_at: datetime) -> date:
    match spec.works_on:
        case WorksOn.RUN_DATE:
            return run_at.astimezone(JAPAN).date()
        case WorksOn.PREVIOUS_MONTH:
            return LAST_DAY.replace(day=1)
        case WorksOn.YESTERDAY:
            return LAST_DAY


def floor(dsn: str) -> float:
    """The seconds of one scan over the request log of the last day, without the rest of the history."""
    with psycopg.connect(dsn, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        _SQL.execute(connection, "scale_day_alone", day=LAST_DAY)
        start = perf_counter()
        _SQL.execute(connection, "scale_scan").fetchall()
        return perf_counter() - start


def settle(dsn: str, folder: Path) -> None:
    """The runs of the days before: the first hourly run measures four weeks, the first inactivity run reads all rows."""
    run_case(TENANT_MONITORING.id, HOURLY.run_at - _HOUR, str(folder), dsn, LAST_DAY)
    run_case(INACTIVE_TENANTS.id, _MIDNIGHT, str(folder), dsn, LAST_DAY)
    vacuum(dsn)


def read_hours(dsn: str, folder: Path) -> None:
    """The hourly runs of the whole day, and the one after it."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("TRUNCATE batch.hourly_measure")
    for check_at in (_MIDNIGHT, _MIDNIGHT + _HOUR):
        run_case(TENANT_MONITORING.id, check_at, str(folder), dsn, check_at.date())


def costs(dsn: str, folder: Path, others: Sequence[Case] = ()) -> dict[str, Cost]:
    """The cost of a usual hour and of a usual day in this world, by case."""
    settle(dsn, folder)
    found = {case.label: cost_of(dsn, case, folder) for case in (HOURLY, *ALONE)}
    read_hours(dsn, folder)
    return found | {case.label: cost_of(dsn, case, folder) for case in (*SHARED, *others)}


def history(server: EmbeddedPostgres, folder: Path) -> bool:
    """Forty days of history instead of one, without and with the recommended indexes."""
    world = World(tenants=1_000)
    one = plant(server, "one_day", world)
    many = plant(server, "many_days", replace(world, days=HISTORY_DAYS))
    print(
        f"\nHistory: {world.tenants:,} tenants, {world.requests:,} requests a day. One scan of the day: {floor(one):.2f} s"
    )
    base, plain = costs(one, folder), costs(many, folder)
    list(create_indexes(many))
    vacuum(many)
    indexed = costs(many, folder)
    _print_growth(base, {f"{HISTORY_DAYS} days": plain, f"{HISTORY_DAYS} days, indexes": indexed}, "1 day")
    grown = max(indexed[label].seconds / cost.seconds for label, cost in base.items())
    print(f"largest growth with indexes: {grown:.2f} (required: {REQUIRED_GROWTH})")
    return grown <= REQUIRED_GROWTH


def tenants(server: EmbeddedPostgres, folder: Path) -> bool:
    """Ten and a hundred times as many tenants, with as many more people and rows. All batches; documents ten times only."""
    found: dict[str, dict[str, Cost]] = {}
    print("\nTenants: each with 20 people and 100 requests a day")
    for size in SIZES:
        dsn = plant(server, f"tenants_{size}", World(tenants=size, requests=100 * size))
        with psycopg.connect(dsn, autocommit=True) as connection:
            _SQL.execute(connection, "billing_month")
        stored = folder / str(size)
        stored.mkdir()
        print(f"{size:>7,} tenants: one scan of the day {floor(dsn):.2f} s", flush=True)
        found[f"{size:,}"] = costs(dsn, stored, OTHERS)
        if size <= _MOST_DOCUMENTS:
            found[f"{size:,}"] |= {case.label: cost_of(dsn, case, stored) for case in DOCUMENTS}
            found[f"{size:,}"] |= _backup_costs(dsn, stored)
    (first, base), *others = found.items()
    _print_growth(base, dict(others), first)
    return True


def _backup_costs(dsn: str, folder: Path) -> dict[str, Cost]:
    bare = measure(partial(bare_dump, str(folder)), dsn, LAST_DAY)
    whole = measure(partial(run_backup, str(folder), True), dsn, LAST_DAY)
    return {
        "bare pg_dump": Cost(bare.seconds, bare.peak_memory_bytes, 0),
        f"{DATA_BACKUP.id} with its check": Cost(whole.seconds, whole.peak_memory_bytes, 0),
    }


def skew(server: EmbeddedPostgres, folder: Path) -> bool:
    """One of a thousand tenants has half of the requests."""
    world = World(tenants=1_000, requests=200_000)
    base = costs(plant(server, "even", world), folder)
    skewed = costs(plant(server, "skewed", replace(world, skew=True)), folder)
    print(f"\nSkew: {world.tenants:,} tenants, {world.requests:,} requests a day")
    _print_growth(base, {"skewed": skewed}, "even")
    return True


def _print_growth(base: dict[str, Cost], others: dict[str, dict[str, Cost]], first: str) -> None:
    width = max(map(len, base))
    print(f"{'':<{width}} {first:>31}" + "".join(f"  {name:>37}" for name in others))
    for label, cost in base.items():
        line = f"{label:<{width}} {cost}"
        for costs_of_world in others.values():
            other = costs_of_world.get(label)
            line += f"  {other} {other.seconds / cost.seconds:>5.1f}" if other else ""
        print(line, flush=True)


def main(parts: Collection[str]) -> int:
    """Run the parts; returns 0 if the requirements hold."""
    holds = True
    with tempfile.TemporaryDirectory(prefix="scale-benchmark-") as directory:
        server = EmbeddedPostgres(Path(directory) / "postgres")
        server.start()
        try:
            for part in (history, tenants, skew):
                if part.__name__ in parts:
                    folder = Path(directory) / part.__name__
                    folder.mkdir()
                    holds &= part(server, folder)
        finally:
            server.reset()
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ("history", "tenants", "skew")))
