"""A tenant's directory has 60,000 people."""

from __future__ import annotations

from functools import partial

import psycopg

from benchmarks.external_sync import DAY, links, load, sync
from benchmarks.measurement import Databases, measure
from benchmarks.shocks.world import SQL, Found, Place
from include.skillreport.core.catalog import EXTERNAL_SYNC
from include.skillreport.messaging.channels.line_works import LINE_WORKS
from local_stack.stand_ins import StandIns

_MEMORY = 400 << 20


def shock(place: Place) -> Found:
    """Within the limits of the service and the time limit; a second run changes nothing."""
    people, limit = place.size(60_000, 3_000), EXTERNAL_SYNC.time_limit.total_seconds()
    found = Found(f"{people:,} people, LINE WORKS", f"{limit:,.0f} s, {_MEMORY >> 20} MB")
    with StandIns(rate_limits=True) as stand_ins:
        dsn = load(Databases(place.server), people, stand_ins, LINE_WORKS)
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
        (number,) = SQL.row(connection, "directory_changes")
    return int(number)
