"""What grows with the people of one tenant: its monthly report (BATCH-004), its directory (BATCH-019-03), and its deletion.

The memory of the largest tenant is compared with that of the smallest. The directory is listed within the rate limits of LINE WORKS
(240 requests per minute) and Slack (20), which the stand-ins enforce. A deletion works in short transactions, so that others do not wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial

import psycopg

from benchmarks import leaving
from benchmarks.measurement import Measurement, measure, run_once
from benchmarks.place import Found, Place, integrate
from benchmarks.scale_world import LAST_DAY, World, Years, plant_years, vacuum
from benchmarks.throttling import LINE_WORKS_CLIENT, line_works_bot, slack_bot
from include.skillreport.core.catalog import EXTERNAL_SYNC, MONTHLY_REPORT
from include.skillreport.core.database import count_of
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.network import Network
from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.channels.line_works import LINE_WORKS
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.schema.deploy import upgrade
from local_stack.stand_ins import StandInDirectory, StandIns

ALLOWED_MEMORY_RATIO = 1.25
LONGEST_SECONDS = 1.0
DAY = date(2026, 11, 1)
PROCESSES = 2
_MEMORY = 400 << 20
# The days of the seven months that a report of October reads.
_REPORTED_DAYS = 214
_MONTH = LAST_DAY.replace(day=1)


def reports(place: Place, found: Found) -> None:
    """All tenants' workbooks and PDFs in one process per core; then one tenant with few and with many people."""
    tenants = place.size(200, 10)
    dsn = _with_statistics(place, World(tenants))
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT tenant_code FROM batch.all_tenant").fetchall()
    codes = [code for (code,) in rows]
    store, start = ObjectStore(place.folder / "all"), time.perf_counter()
    works = [
        partial(run_once, MONTHLY_REPORT, codes=codes[first::PROCESSES], store=store)
        for first in range(PROCESSES)
    ]
    with ThreadPoolExecutor(PROCESSES) as pool:
        list(pool.map(lambda work: measure(work, dsn, _MONTH), works))
    seconds = time.perf_counter() - start
    files = [path for path in (place.folder / "all").rglob("*") if path.is_file()]
    found.require(len(files) == 2 * tenants, f"{len(files)} files of {tenants} tenants")
    print(f"reports of {tenants} tenants, {PROCESSES} processes: {seconds:.1f} s", flush=True)

    def one(people: int) -> Measurement:
        work = partial(run_once, MONTHLY_REPORT, store=ObjectStore(place.folder / f"{people}"))
        return measure(work, _with_statistics(place, World(1, users=people, requests=0)), _MONTH)

    _compare("report", place.size((100, 10_000), (10, 1_000)), one, found)


def _with_statistics(place: Place, world: World) -> str:
    dsn = place.plant(f"reports_{world.tenants}_{world.users}", world)
    plant_years(dsn, Years(world.tenants, log_days=0, hour_days=0, year_days=_REPORTED_DAYS))
    return dsn


def directory(place: Place, found: Found) -> None:
    """A tenant's first listing. Slack takes the time of its limit."""

    def one(people: int, provider: Channel = LINE_WORKS) -> Measurement:
        with StandIns(rate_limits=True) as stand_ins:
            dsn = directory_world(place, people, stand_ins, provider)
            measured = measure(partial(sync, stand_ins.allowed_hosts), dsn, DAY)
            refused = stand_ins.refused_for_rate
        found.require(links(dsn) == people and not refused, f"{links(dsn)} links, {refused} requests refused")
        return measured

    sizes = place.size((1_000, 10_000), (100, 1_000))
    _compare("directory at LINE WORKS", sizes, one, found)
    print(f"directory at Slack, {sizes[-1]:>6,} people: {one(sizes[-1], SLACK)}", flush=True)


def directory_world(place: Place, people: int, stand_ins: StandIns, provider: Channel) -> str:
    """One tenant with this many employees, who all have an account at the provider."""
    dsn = place.plant(f"directory_{provider}_{people}", World(1, users=people, requests=0))
    numbers, shown = range(1, people + 1), StandInDirectory()
    if provider is SLACK:
        account, integration = "xoxb-tenant-000001", slack_bot(stand_ins)
        profiles = [{"real_name": f"社員 {n}", "email": _email(n)} for n in numbers]
        shown.fill([{"id": f"U{n}", "profile": profile} for n, profile in enumerate(profiles)], 200)
    else:
        account, integration = LINE_WORKS_CLIENT, line_works_bot(stand_ins)
        names = [{"userName": {"lastName": f"社員 {n}"}, "email": _email(n)} for n in numbers]
        shown.fill([{"userId": f"L{n}", **name} for n, name in enumerate(names)], 100)
    integrate(dsn, provider, *integration)
    vacuum(dsn)
    stand_ins.show_directory(provider, account, shown)
    return dsn


def _email(number: int) -> str:
    return f"e{number}@example.jp"


def sync(allowed_hosts: frozenset[str], dsn: str, day: date) -> None:
    """One run of BATCH-019-03."""
    run_once(EXTERNAL_SYNC, dsn, day, network=Network(allowed_hosts=allowed_hosts))


def links(dsn: str) -> int:
    """The number of linked accounts."""
    with psycopg.connect(dsn) as connection:
        return count_of(connection, "SELECT count(*) FROM batch.account_link")


def offboarding(place: Place, found: Found) -> None:
    """The export and the deletion of one of two tenants with a month of requests."""
    longest = []

    def one(people: int) -> Measurement:
        world = World(2, users=people, days=30, requests=people * 4)
        dsn, tenant = place.plant(f"leaving_{people}", world), "tenant-000001"
        upgrade(dsn, with_deletion=True)
        with psycopg.connect(dsn) as admin:
            admin.execute("""UPDATE "MST_Tenant" SET status = 'INACTIVE' WHERE tenant_id = %s""", [tenant])
        vacuum(dsn)
        folder = str(place.folder / f"leaving_{people}")
        _, exported, deleted = (
            measure(partial(stage, folder, tenant), dsn, DAY)
            for stage in (leaving.begin, leaving.export, leaving.delete)
        )
        longest.append(deleted.value)
        with psycopg.connect(dsn) as admin:
            done = count_of(admin, "SELECT sum(done) FROM batch.offboarding_table")
        print(
            f"leaving, {people:>6,} people: export {exported}, {done:,} rows deleted, longest transaction {longest[-1]:.2f} s"
        )
        return deleted

    _compare("deletion", place.size((1_000, 10_000), (50, 500)), one, found)
    found.require(max(longest) <= LONGEST_SECONDS, f"a transaction took {max(longest):.2f} s")


def _compare(name: str, sizes: tuple[int, int], one: Callable[[int], Measurement], found: Found) -> None:
    few, many = (one(people) for people in sizes)
    for people, measured in zip(sizes, (few, many), strict=True):
        print(f"{name}, {people:>6,} people: {measured}", flush=True)
    ratio = many.peak_memory_bytes / few.peak_memory_bytes
    found.result += f"{name} {ratio:.2f} times the memory; "
    found.require(ratio <= ALLOWED_MEMORY_RATIO, f"{name}: {ratio:.2f} times the memory")


_PARTS: Mapping[str, Callable[[Place, Found], None]] = {
    "reports": reports,
    "directory": directory,
    "offboarding": offboarding,
}


def measurement(place: Place) -> Found:
    """Memory does not grow with the people, and no transaction of a deletion is long."""
    found = Found("one tenant", f"{ALLOWED_MEMORY_RATIO} times the memory, {LONGEST_SECONDS:.0f} s")
    for part in place.chosen(_PARTS).values():
        part(place, found)
    return found


def large_directory(place: Place) -> Found:
    """A directory of 60,000 people, within the limits of the service and the time limit; a second run changes nothing."""
    people, limit = place.size(60_000, 3_000), EXTERNAL_SYNC.time_limit.total_seconds()
    found = Found(f"{people:,} people, LINE WORKS", f"{limit:,.0f} s, {_MEMORY >> 20} MB")
    with StandIns(rate_limits=True) as stand_ins:
        dsn = directory_world(place, people, stand_ins, LINE_WORKS)
        measured = measure(partial(sync, stand_ins.allowed_hosts), dsn, DAY)
        linked, before = links(dsn), _changes(dsn)
        # The second run knows nothing of the requests that the first has just made. It waits where the service asks for it.
        refused = stand_ins.refused_for_rate
        measure(partial(sync, stand_ins.allowed_hosts), dsn, DAY)
    found.seconds, found.peak_memory_bytes = measured.seconds, measured.peak_memory_bytes
    found.result = (
        f"{linked:,} links, {refused} refused requests, second run {_changes(dsn) - before} changes"
    )
    found.require(linked == links(dsn) == people, "links are missing or doubled")
    found.require(_changes(dsn) == before == people, "the second run changes something")
    found.require(not refused, "requests exceed the limit of the service")
    found.require(measured.peak_memory_bytes <= _MEMORY, "too much memory")
    found.require(measured.seconds <= limit, "over the time limit")
    return found


def _changes(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        return count_of(connection, "SELECT count(*) FROM batch.directory_change")
