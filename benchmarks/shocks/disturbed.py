"""Nights that something disturbs: a second run, deployments, little memory, and a month that is cleared afterwards."""

from __future__ import annotations

import multiprocessing
import resource
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from datetime import date, timedelta
from functools import partial
from time import perf_counter

import psycopg

from benchmarks.measurement import measure
from benchmarks.place import Found, Place
from benchmarks.scale_world import LAST_DAY, World
from benchmarks.shocks.night import Night, Nights, fingerprint, run_night
from benchmarks.shocks.world import SQL, Services, give_workspaces
from include.skillreport.core.catalog import BATCHES, MONTHLY_REPORT, STATISTICS, TENANT_BILLING, TENANT_USAGE
from include.skillreport.core.errors import BatchError
from include.skillreport.schema.deploy import upgrade
from include.skillreport.schema.deployment_check import check_deployment
from local_stack.stand_ins import StandIns

_MOST_DEPLOYS = 3
_MEMORY = 512 << 20
_LAST_MONTH, _THIS_MONTH = date(2026, 9, 30), LAST_DAY
_RUNS = (TENANT_USAGE, STATISTICS, TENANT_BILLING, MONTHLY_REPORT)


def _end_of(night: Night, batch_id: str, run_id: str) -> str:
    """How the run ended: its status, or the reason for which it refused."""
    try:
        result, _ = run_night(night, batch_id, clears=0, run_id=run_id)
    except BatchError as error:
        return f"{batch_id}: {error}"[:200]
    return result.status


def two_runs(place: Place) -> Found:
    """An operator starts the family DAG while the scheduled run works: two runs of each batch for the same day at the same time.

    The rows are those of one run, each message arrives once, and a run that does not complete says why.
    """
    tenants = place.size(60, 12)
    found = Found(f"{len(BATCHES)} batches, {tenants} tenants", "rows and messages of one run")
    refused: list[str] = []
    start = perf_counter()
    spawn = multiprocessing.get_context("spawn")
    with StandIns() as stand_ins, ProcessPoolExecutor(2, spawn) as pool:
        nights = Nights(place, tenants, stand_ins)
        for spec in BATCHES:
            expected = nights.undisturbed(spec.id)
            night, before = nights.copy(spec.id), nights.arrived()
            ends = list(pool.map(partial(_end_of, night, spec.id), ("scheduled", "family")))
            found.require("completed" in ends, f"{spec.id}: {ends}")
            refused += [end for end in ends if end != "completed"]
            found.problems += nights.left(night, before).problems(spec.id, expected)
    found.seconds = perf_counter() - start
    found.result = f"both runs complete, except {'; '.join(refused) or 'none'}"
    return found


class _Deploys:
    """Deployments in a thread, from ``start`` until the end of the block. ``refused``: why one of them was refused."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._deploy)
        self.number, self.refused = 0, list[str]()

    def _deploy(self) -> None:
        while not self._is_over.is_set() and self.number < _MOST_DEPLOYS:
            self.number += 1
            try:
                upgrade(self._dsn)
            except BatchError as error:
                self.refused.append(str(error)[:150])
            except psycopg.Error as error:
                self.refused.append(f"UNCLEAR {error}"[:150])

    def start(self) -> None:
        """Begin, without waiting."""
        self._thread.start()

    def end(self) -> None:
        """Wait for the last one."""
        self._is_over.set()
        self._thread.join()


def deploy(place: Place) -> Found:
    """Somebody deploys the schema, again and again, while each batch runs.

    A run or a deployment waits, or fails with a clear message and completes after it is repeated. Nothing is half.
    """
    tenants = place.size(60, 12)
    found = Found(f"{len(BATCHES)} batches, {tenants} tenants", "waits or a clear message, nothing half")
    start, deploys_done, retried, cleared = perf_counter(), 0, 0, list[str]()
    with StandIns() as stand_ins:
        nights = Nights(place, tenants, stand_ins)
        for spec in BATCHES:
            expected = nights.undisturbed(spec.id)
            night, before = nights.copy(spec.id), nights.arrived()
            deploys = _Deploys(night.dsn)
            with ExitStack() as stack:
                stack.callback(deploys.end)
                result, attempts = run_night(night, spec.id, middle=deploys.start, before_clear=deploys.end)
            deploys_done += deploys.number
            retried += len(attempts.retried)
            cleared += [f"{spec.id} {error}" for error in attempts.cleared]
            found.require(result.status == "completed", result.sentence()[:200])
            found.require(not any("UNCLEAR" in each for each in deploys.refused), f"{deploys.refused}")
            found.problems += nights.left(night, before).problems(spec.id, expected)
            with psycopg.connect(night.dsn) as connection:
                check_deployment(connection)
    found.seconds = perf_counter() - start
    found.result = (
        f"{deploys_done} deployments, {retried} tasks retried, cleared: {'; '.join(cleared) or 'none'}"
    )
    return found


def run_in_little(night: Night, batch_id: str, dsn: str, day: date) -> None:  # noqa: ARG001 - the signature of Work
    """One run under the limit."""
    # The memory that a process can write to, as a container counts it, without the files that it maps.
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    result, attempts = run_night(night, batch_id, clears=0)
    assert result.status == "completed", result.sentence()
    assert not attempts.retried, attempts.retried


def low_memory(place: Place) -> Found:
    """A task has 512 MB of memory: each batch completes in a process that cannot get more."""
    tenants = place.size(300, 12)
    found = Found(f"{len(BATCHES)} batches, {tenants} tenants", f"{_MEMORY >> 20} MB of data")
    peaks: dict[str, int] = {}
    with StandIns() as stand_ins:
        nights = Nights(place, tenants, stand_ins)
        for spec in BATCHES:
            night = nights.copy(spec.id)
            try:
                measured = measure(partial(run_in_little, night, spec.id), night.dsn, LAST_DAY)
            except SystemExit as error:
                found.problems.append(f"{spec.id}: {error}")
                continue
            found.seconds += measured.seconds
            peaks[spec.id] = measured.peak_memory_bytes
    largest = max(peaks, key=lambda batch_id: peaks[batch_id])
    found.peak_memory_bytes = peaks[largest]
    found.result = f"{len(peaks)} complete, most memory: {largest}"
    found.require(found.peak_memory_bytes <= _MEMORY, "too much memory")
    return found


def _run_month(night: Night, last_day: date, found: Found, *, is_cleared: bool = False) -> None:
    for spec in _RUNS:
        result, _ = run_night(
            night, spec.id, clears=0, day=last_day, run_id=f"scheduled {last_day}", attempt=int(is_cleared)
        )
        found.require(result.status == "completed", result.sentence()[:200])


def cleared_month(place: Place) -> Found:
    """Last month's usage, statistics, billing and reports are cleared after this month's. No row of either month changes."""
    tenants = place.size(200, 12)
    found = Found(f"{tenants} tenants, 4 runs of a month", "no row changes, 1 invoice a month")
    start = perf_counter()
    with StandIns() as stand_ins:
        # The logs reach back to the last day of the last month.
        dsn = place.plant("cleared", World(tenants, users=5, days=32, requests=20 * tenants))
        give_workspaces(dsn, stand_ins.slack_base_url)
        with psycopg.connect(dsn) as connection:
            SQL.execute(connection, "closed_days", first=_LAST_MONTH.replace(day=1), last=_LAST_MONTH)
            SQL.execute(
                connection, "closed_days", first=_THIS_MONTH.replace(day=1), last=_THIS_MONTH - timedelta(1)
            )
        night = Night(dsn, Services.of(stand_ins), place.folder)
        for last_day in (_LAST_MONTH, _THIS_MONTH):
            _run_month(night, last_day, found)
        before = fingerprint(dsn)
        _run_month(night, _LAST_MONTH, found, is_cleared=True)
        after = fingerprint(dsn)
    with psycopg.connect(dsn) as connection:
        invoices, months = SQL.row(connection, "invoices_of_months")
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    found.seconds = perf_counter() - start
    found.result = f"{invoices} invoices of {months} months, changed tables: {', '.join(changed) or 'none'}"
    found.require(invoices == months == 2 * tenants, "a month is billed twice or not at all")
    found.require(not changed, f"{changed} changed")
    return found
