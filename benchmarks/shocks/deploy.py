"""Somebody deploys the schema, again and again, while each batch runs."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from time import perf_counter

import psycopg

from benchmarks.shocks.night import Nights, run_night
from benchmarks.shocks.world import Found, Place
from include.skillreport.core.catalog import BATCHES
from include.skillreport.core.errors import BatchError
from include.skillreport.schema.deploy import upgrade
from include.skillreport.schema.deployment_check import check_deployment
from local_stack.stand_ins import StandIns

_MOST_DEPLOYS = 3


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


def shock(place: Place) -> Found:
    """A run or a deployment waits, or fails with a clear message and completes after it is repeated. Nothing is half."""
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
