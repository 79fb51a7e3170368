"""The clean-up did not run for months: the outbox has 3 million finished messages when the hourly run claims the due ones."""

from __future__ import annotations

from functools import partial
from time import sleep

import psycopg

from benchmarks.measurement import Measurement, measure
from benchmarks.scale_world import World
from benchmarks.shocks.world import (
    SQL,
    Found,
    Place,
    Services,
    arrivals,
    fill,
    give_workspaces,
    last_nine,
    send,
    statuses,
    value,
)
from include.skillreport.core.catalog import NOTIFICATION_RETRY
from local_stack.stand_ins import StandIns

_TENANTS = 20
_DUE = 60
_GROWTH = 1.5


def _run(place: Place, name: str, old: int, found: Found) -> Measurement:
    with StandIns() as stand_ins:
        dsn = place.plant(name, World(_TENANTS, users=1, requests=1_000))
        give_workspaces(dsn, stand_ins.slack_base_url)
        if old:
            fill(dsn, SQL["slack_messages"], messages=old, status="sent")
        fill(dsn, SQL["slack_messages"], messages=_DUE, status="pending")
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("SELECT pg_stat_reset()")
        measured = measure(
            partial(send, Services.of(stand_ins), (NOTIFICATION_RETRY,)), dsn, last_nine().date()
        )
        once, again = arrivals(stand_ins)
    sleep(1)  # the sessions have written their counters
    scans = value(dsn, SQL["scans_of_outbox"])
    found.require((once, again) == (_TENANTS * _DUE, 0), f"{name}: messages are lost or doubled")
    found.require(
        statuses(dsn) == {"sent": _TENANTS * (old + _DUE)}, f"{name}: an old message has another status"
    )
    if old:
        found.require(scans == 0, f"{scans} sequential scans of the outbox")
        found.result = f"{scans} sequential scans"
    return measured


def shock(place: Place) -> Found:
    """No statement scans the outbox, and the run takes as long as with an empty one."""
    old = place.size(150_000, 5_000)
    found = Found(f"{_TENANTS * old:,} finished messages", f"no scan, {_GROWTH} times an empty outbox")
    short = _run(place, "short", 0, found)
    long = _run(place, "long", old, found)
    found.seconds, found.peak_memory_bytes = long.seconds, long.peak_memory_bytes
    growth = long.seconds / short.seconds
    found.result = f"{growth:.2f} times the {short.seconds:.1f} s of an empty outbox, {found.result}"
    found.require(growth <= _GROWTH, "the run grows with the old messages")
    return found
