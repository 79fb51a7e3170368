"""The growth of the batches' cost with the history, with the tenants, and with one very large tenant.

Each batch runs without Airflow's start-up, in a separate process. The fastest of three runs counts, or a single long one. The figures are
seconds, peak memory, and rows of the application's tables that the run has read (PostgreSQL's own counters). No messages are sent:
``throttling`` measures that. Compare ratios: they do not depend on the machine.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from time import perf_counter

import psycopg

from benchmarks.measurement import Measurement, connected, measure, run_once
from benchmarks.place import Found, Place
from benchmarks.scale_world import LAST_DAY, TODAY, World, month_of, plant_years, vacuum, years_of
from include.skillreport.batches.log_cleanup.rows import ROW_CLASSES, cutoff, delete_old
from include.skillreport.batches.log_cleanup.settings import LogCleanupSettings
from include.skillreport.core import catalog
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.run_spec import BatchSpec, WorksOn
from include.skillreport.messaging import outbox
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.outbox import Exchange, Lane
from include.skillreport.messaging.retry import Status
from include.skillreport.schema.host_indexes.creation import create_indexes

HISTORY_DAYS = 40
ALLOWED_GROWTH, ALLOWED_MEMORY_RATIO = 1.2, 1.5
_ROUNDS = 3
# A run that takes longer is not repeated.
_REPEATED_BELOW_SECONDS = 20
_HOUR = timedelta(hours=1)
_MIDNIGHT = datetime.combine(LAST_DAY + timedelta(days=1), time(), JAPAN)
_SQL = Statements(Path(__file__).parent)
ALLOWED_YEARS_GROWTH = 1.5
_HOURS = 5
_LAST_MIDNIGHT = datetime.combine(TODAY, datetime.min.time(), JAPAN)


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

HOURLY = Case(catalog.TENANT_MONITORING, _MIDNIGHT - 8 * _HOUR, remark="one hour")
ALONE = (
    Case(catalog.TENANT_USAGE, before=(_NO_HOURS,), remark="reads the logs"),
    Case(catalog.STATISTICS, before=(_NO_HOURS,), remark="reads the logs"),
    Case(catalog.INACTIVE_TENANTS, before=(_NO_HOURS, _JUDGED_YESTERDAY), remark="reads the logs"),
)
SHARED = (
    Case(catalog.TENANT_USAGE, remark="hours are counted"),
    Case(catalog.STATISTICS, remark="hours are counted"),
    Case(catalog.INACTIVE_TENANTS, before=(_JUDGED_YESTERDAY,), remark="hours are counted"),
)
# Documents and files take the same time for each tenant, and too long for the largest world.
DOCUMENTS = (Case(catalog.MONTHLY_REPORT), Case(catalog.TENANT_BILLING))
_MOST_DOCUMENTS = 1_000
_LISTED = {catalog.TENANT_MONITORING, catalog.DATA_BACKUP, *(case.spec for case in (*ALONE, *DOCUMENTS))}
OTHERS = tuple(Case(spec) for spec in catalog.BATCHES if spec not in _LISTED)


def cost_of(dsn: str, case: Case, folder: Path) -> Measurement:
    """The fastest of three runs after one that warms the server's cache, or a single long run. Its value: the rows that it read."""
    measured: list[Measurement] = []
    for number in range(1 + _ROUNDS):
        if measured and measured[0].seconds > _REPEATED_BELOW_SECONDS:
            break
        # Each hour is judged once.
        run_at = case.run_at + number * _HOUR if case.spec is catalog.TENANT_MONITORING else case.run_at
        with psycopg.connect(dsn, autocommit=True) as connection:
            for statement in case.before:
                connection.execute(statement.encode())
        work = partial(run_once, case.spec, run_at=run_at, store=ObjectStore(folder))
        measured.append(measure(work, dsn, _business_date(case.spec, run_at)))
    with psycopg.connect(dsn) as connection:
        (rows,) = _SQL.row(connection, "scale_rows_read")
    return replace(min(measured[1:] or measured, key=lambda each: each.seconds), value=int(rows))


def _business_date(spec: BatchSpec, run_at: datetime) -> date:
    match spec.works_on:
        case WorksOn.RUN_DATE:
            return run_at.astimezone(JAPAN).date()
        case WorksOn.PREVIOUS_MONTH:
            return LAST_DAY.replace(day=1)
        case WorksOn.YESTERDAY:
            return LAST_DAY


def settle(dsn: str) -> Measurement:
    """The runs of the days before: the first hourly run, which is measured, covers four weeks; the first inactivity run reads all rows."""
    first = measure(partial(run_once, catalog.TENANT_MONITORING, run_at=HOURLY.run_at - _HOUR), dsn, LAST_DAY)
    run_once(catalog.INACTIVE_TENANTS, dsn, LAST_DAY, run_at=_MIDNIGHT)
    vacuum(dsn)
    return first


def read_hours(dsn: str) -> None:
    """The hourly runs of the whole day, and the one after it."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("TRUNCATE batch.hourly_measure")
    for check_at in (_MIDNIGHT, _MIDNIGHT + _HOUR):
        run_once(catalog.TENANT_MONITORING, dsn, check_at.date(), run_at=check_at)


def costs(dsn: str, folder: Path, others: Sequence[Case] = ()) -> dict[str, Measurement]:
    """The cost of a usual hour and of a usual day in this world, by case."""
    settle(dsn)
    found = {case.label: cost_of(dsn, case, folder) for case in (HOURLY, *ALONE)}
    read_hours(dsn)
    return found | {case.label: cost_of(dsn, case, folder) for case in (*SHARED, *others)}


def history(place: Place, found: Found) -> None:
    """Forty days of history instead of one, without and with the recommended indexes; and ten times the rows of a day."""
    world = World(tenants=place.size(1_000, 20), requests=place.size(100_000, 2_000))
    one = place.plant("one_day", world)
    many = place.plant("many_days", replace(world, days=HISTORY_DAYS))
    rich = place.plant("rich_day", replace(world, requests=10 * world.requests))
    print(f"\nHistory: {world.tenants:,} tenants, {world.requests:,} requests a day")
    base, plain = costs(one, place.folder), costs(many, place.folder)
    list(create_indexes(many))
    vacuum(many)
    indexed = costs(many, place.folder)
    _print_growth(base, {f"{HISTORY_DAYS} days": plain, f"{HISTORY_DAYS} days, indexes": indexed}, "1 day")
    label = ALONE[0].label
    more = cost_of(rich, ALONE[0], place.folder)
    print(f"{label}: {_shown(base[label])}, {10 * world.requests:,} requests a day: {_shown(more)}")
    grown = max(indexed[each].seconds / cost.seconds for each, cost in base.items())
    found.result += f"with the history and indexes {grown:.2f}; "
    found.require(place.is_small or grown <= ALLOWED_GROWTH, "the runs grow with the history")
    _require_memory(found, "rows of a day", base[label], more)


def tenants(place: Place, found: Found) -> None:
    """Ten and a hundred times as many tenants, with as many more people and rows. All batches but BATCH-001; documents ten times only."""
    worlds: dict[str, dict[str, Measurement]] = {}
    print("\nTenants: each with 20 people and 100 requests a day")
    for size in place.size((100, 1_000, 10_000), (10, 20)):
        dsn = place.plant(f"tenants_{size}", World(tenants=size, requests=100 * size))
        with psycopg.connect(dsn, autocommit=True) as connection:
            _SQL.execute(connection, "billing_month")
        stored = place.folder / str(size)
        stored.mkdir()
        cases = costs(dsn, stored, OTHERS)
        if size <= _MOST_DOCUMENTS:
            cases |= {case.label: cost_of(dsn, case, stored) for case in DOCUMENTS}
        worlds[f"{size:,}"] = cases
    (first, base), *others = worlds.items()
    _print_growth(base, dict(others), first)
    for name, world in others:
        for label, cost in world.items():
            _require_memory(found, f"{name} tenants, {label}", base[label], cost)


def skew(place: Place, _: Found) -> None:
    """One of a thousand tenants has half of the requests."""
    world = World(tenants=place.size(1_000, 20), requests=place.size(200_000, 4_000))
    base = costs(place.plant("even", world), place.folder)
    skewed = costs(place.plant("skewed", replace(world, skew=True)), place.folder)
    print(f"\nSkew: {world.tenants:,} tenants, {world.requests:,} requests a day")
    _print_growth(base, {"skewed": skewed}, "even")


def _require_memory(found: Found, name: str, base: Measurement, cost: Measurement) -> None:
    ratio = cost.peak_memory_bytes / base.peak_memory_bytes
    found.require(ratio <= ALLOWED_MEMORY_RATIO, f"{name}: {ratio:.2f} times the memory")


def _shown(cost: Measurement) -> str:
    return f"{cost} {cost.value:>10,} rows"


def _print_growth(
    base: dict[str, Measurement], others: dict[str, dict[str, Measurement]], first: str
) -> None:
    width = max(map(len, base))
    print(f"{'':<{width}} {first:>35}" + "".join(f"  {name:>41}" for name in others))
    for label, cost in base.items():
        line = f"{label:<{width}} {_shown(cost)}"
        for costs_of_world in others.values():
            other = costs_of_world.get(label)
            line += f"  {_shown(other)} {other.seconds / cost.seconds:>5.1f}" if other else ""
        print(line, flush=True)


_PARTS: Mapping[str, Callable[[Place, Found], None]] = {"history": history, "tenants": tenants, "skew": skew}


def measurement(place: Place) -> Found:
    """Runs do not grow with the history, and memory not with the tenants."""
    found = Found("history, tenants, skew", f"{ALLOWED_GROWTH} times, memory {ALLOWED_MEMORY_RATIO} times")
    for part in place.chosen(_PARTS).values():
        part(place, found)
    return found


def plant(place: Place, name: str, tenants: int, years: int) -> str:
    """A database with the tenants and the rows of a month (``years`` 0) or of these years. Returns its owner's connection string."""
    dsn = place.plant(name, World(tenants, users=2, requests=1_000))
    plant_years(dsn, years_of(tenants, years) if years else month_of(tenants))
    return dsn


def monitor(dsn: str) -> float:
    """Seconds of an hourly run of BATCH-018-03: the median of several, after a run that warms the cache."""
    hours = [_LAST_MIDNIGHT + timedelta(hours=hour) for hour in range(_HOURS + 1)]
    seconds = [
        _seconds(partial(run_once, catalog.TENANT_MONITORING, dsn, LAST_DAY, run_at=at)) for at in hours
    ]
    return statistics.median(seconds[1:])


def claim(dsn: str, tenants: int) -> float:
    """Seconds of one claim from the outbox: the median over many tenants."""
    now, statuses = _LAST_MIDNIGHT + timedelta(days=1), [Status.PENDING, Status.RETRY]
    claimed = partial(outbox.exchange, statuses=statuses, owner="benchmark", started_at=now, now=now)
    lanes = [Lane(f"tenant-{number:06}", SLACK) for number in range(1, tenants + 1)]
    with connected(dsn) as (_, connection):
        return statistics.median(
            _seconds(partial(claimed, connection, [Exchange(lane, (), 5)])) for lane in lanes[:100]
        )


def clean_up(dsn: str, week: int) -> tuple[float, int]:
    """Seconds and rows of a clean-up that finds about a week of old rows.

    ``week``: days by which the business date is after ``TODAY``, so that both databases have a week of old rows.
    """
    settings = LogCleanupSettings.load()
    rows, start = 0, perf_counter()
    with connected(dsn) as (platform, _):
        for row_class in ROW_CLASSES.values():
            if not row_class.is_host:
                before = cutoff(TODAY + timedelta(days=week), row_class, settings.row_days)
                rows += sum(delete_old(platform, row_class, before, settings.chunk_rows))
    return perf_counter() - start, rows


def _seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def years(place: Place) -> Found:
    """The cost of the batches' own tables after five years, compared with one month of rows.

    Both databases have the same tenants and almost no rows of the application, so the time is that of statements on the batches' tables.
    The database with years is in the state just before the weekly clean-up.
    """
    tenants, number = place.size((1_000, 5), (20, 1))
    month, long = plant(place, "month", tenants, 0), plant(place, "long", tenants, number)
    with psycopg.connect(long) as connection:
        for name, count, size in _SQL.execute(connection, "years_sizes"):
            print(f"{name:<20} {count:>12,} rows {size:>10}")
    compared = {
        "one hour of BATCH-018-03": (monitor(month), monitor(long)),
        "one claim of the outbox": (claim(month, tenants), claim(long, tenants)),
    }
    # A month has no row that is old enough. With a later business date, its first week is old.
    kept = LogCleanupSettings.load().row_days.execution_log
    (short_seconds, short_rows), (long_seconds, long_rows) = clean_up(month, kept - 30 + 7), clean_up(long, 0)
    print(f"deleted: {short_rows:,} rows in {short_seconds:.1f} s, {long_rows:,} in {long_seconds:.1f} s")
    compared["clean-up, per row"] = (short_seconds / short_rows, long_seconds / long_rows)
    print(f"{'':<26} {'month':>10} {f'{number} years':>10} {'growth':>7}")
    for label, (short, after) in compared.items():
        print(f"{label:<26} {short * 1000:>7.3f} ms {after * 1000:>7.3f} ms {after / short:>7.2f}")
    growth = max(after / short for short, after in compared.values())
    found = Found(
        f"{tenants:,} tenants, {number} years", f"{ALLOWED_YEARS_GROWTH} times a month", f"{growth:.2f} times"
    )
    # With few rows, a clean-up is its statements.
    found.require(place.is_small or growth <= ALLOWED_YEARS_GROWTH, "a statement grows with the years")
    return found
