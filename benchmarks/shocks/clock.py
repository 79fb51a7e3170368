"""Clocks jump by ten minutes, forwards and backwards: that of the tasks in the middle of each batch, and PostgreSQL's during a letter.

It needs libfaketime (Debian: faketime).
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from time import perf_counter
from unittest.mock import patch

import psycopg

from benchmarks.measurement import connected
from benchmarks.place import Found, Place
from benchmarks.scale_world import World
from benchmarks.shocks.night import Night, Nights, run_night
from benchmarks.shocks.world import SQL, Services, fill, last_nine, statuses
from include.skillreport.core.catalog import BATCHES, NOTIFICATION_RETRY, SCHEDULED_NOTIFICATIONS
from include.skillreport.core.execution.batch import create_batch
from include.skillreport.core.run_spec import BatchSpec
from local_stack.batch_runs import LOCAL, run_batch
from local_stack.postgres_server import EmbeddedPostgres
from local_stack.stand_ins import StandIns

_LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
)
_JUMPS = ("+600", "-600")
_LATENCY_SECONDS = 30.0
_WAIT_SECONDS = 120


def _library() -> str:
    for library in _LIBRARIES:
        if Path(library).exists():
            return library
    raise SystemExit("libfaketime is missing: install the package faketime")


def _fake(file: Path) -> Mapping[str, str]:
    """The environment of a process whose clock is the system's plus the seconds in the file."""
    file.write_text("+0")
    return {
        "LD_PRELOAD": _library(),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        # A clock that is set does not change the time that programs wait by.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def _jumping_run(night: Night, batch_id: str, file: Path, jump: str) -> str:
    """One run whose clock jumps in its middle; returns its status."""
    before = time.time()
    file.write_text("+0")

    def middle() -> None:
        file.write_text(jump)
        assert abs(time.time() - before) > 300, "the clock has not jumped"

    result, _ = run_night(night, batch_id, middle=middle, clears=0)
    return result.status


def _tasks_clock(place: Place, found: Found) -> int:
    """Each batch, with both jumps; returns the number of runs."""
    runs = 0
    spawn = multiprocessing.get_context("spawn")
    file = place.folder / "tasks-clock"
    with StandIns() as stand_ins:
        nights = Nights(place, place.size(24, 12), stand_ins)
        with patch.dict(os.environ, _fake(file)):
            # The process starts with the first run.
            pool = ProcessPoolExecutor(1, spawn)
            pool.submit(time.time).result()
        with pool:
            for spec in BATCHES:
                expected = nights.undisturbed(spec.id)
                for jump in _JUMPS:
                    night, before = nights.copy(spec.id), nights.arrived()
                    status = pool.submit(_jumping_run, night, spec.id, file, jump).result()
                    runs += 1
                    found.require(status == "completed", f"{spec.id} {jump}: {status}")
                    problems = nights.left(night, before).problems(spec.id, expected)
                    found.problems += [f"{jump} {problem}" for problem in problems]
    return runs


def _send(services: Services, spec: BatchSpec, dsn: str) -> None:
    with connected(dsn) as (platform, connection):
        nine, network = last_nine(), services.network()
        # The letter in flight may be a failure of the run beside it.
        batch = create_batch(spec, LOCAL)
        run_batch(platform, connection, spec, batch, nine.date(), run_at=nine, network=network)


def _databases_clock(place: Place, jump: str) -> tuple[Counter[str], Counter[str]]:
    """How often each letter in flight has arrived after PostgreSQL's clock has jumped, and the messages by status."""
    file = place.folder / f"clock{jump}"
    spawn = multiprocessing.get_context("spawn")
    server = EmbeddedPostgres(place.folder / f"server{jump}", durable=False)
    # The user of the server reads the file.
    with patch.dict(os.environ, _fake(file)):
        server.start()
    file.chmod(0o644)
    place.folder.chmod(0o755)
    try:
        dsn = Place(server, place.folder, place.is_small).plant("clock", World(1, users=1, requests=100))
        fill(dsn, SQL["application_notifications"], messages=1, due_at=last_nine())
        with StandIns() as stand_ins, ProcessPoolExecutor(2, spawn) as pool:
            stand_ins.latency("email", _LATENCY_SECONDS)
            sending = pool.submit(_send, Services.of(stand_ins), SCHEDULED_NOTIFICATIONS, dsn)
            _wait_for_flight(dsn)
            file.write_text(jump)
            pool.submit(_send, Services.of(stand_ins), NOTIFICATION_RETRY, dsn).result()
            sending.result()
            pool.submit(_send, Services.of(stand_ins), NOTIFICATION_RETRY, dsn).result()
            arrived = Counter(each.destination for each in stand_ins.messages)
        return arrived, statuses(dsn)
    finally:
        server.reset()


def _wait_for_flight(dsn: str) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    with psycopg.connect(dsn, autocommit=True) as connection:
        while SQL.column(connection, "sending") == [0]:
            assert time.monotonic() < deadline, "no letter is in flight"
            time.sleep(0.1)


def measurement(place: Place) -> Found:
    """The tasks' clock changes no row and no message. PostgreSQL's clock loses no letter, and sends none twice."""
    found = Found(f"{len(BATCHES)} batches, 10 minutes both ways", "nothing lost or doubled")
    start = perf_counter()
    told = []
    for jump in _JUMPS:
        arrived, counts = _databases_clock(place, jump)
        told.append(
            f"PostgreSQL {jump} s: a letter in flight arrived {max(arrived.values(), default=0)} times"
        )
        found.require(set(arrived.values()) == {1}, told[-1])
        found.require(set(counts) == {"sent"}, f"PostgreSQL {jump} s: {dict(counts)}")
    runs = _tasks_clock(place, found)
    found.seconds = perf_counter() - start
    found.result = f"{runs} runs with a jump; {'; '.join(told)}"
    return found
