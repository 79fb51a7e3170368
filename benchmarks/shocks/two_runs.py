"""An operator starts the family DAG while the scheduled run works: two runs of each batch for the same day at the same time."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from time import perf_counter

from benchmarks.shocks.night import Night, Nights, run_night
from benchmarks.shocks.world import Found, Place
from include.skillreport.core.catalog import BATCHES
from include.skillreport.core.errors import BatchError
from local_stack.stand_ins import StandIns


def _run(night: Night, batch_id: str, run_id: str) -> str:
    """How the run ended: its status, or the reason for which it refused."""
    try:
        result, _ = run_night(night, batch_id, clears=0, run_id=run_id)
    except BatchError as error:
        return f"{batch_id}: {error}"[:200]
    return result.status


def shock(place: Place) -> Found:
    """The rows are those of one run, each message arrives once, and a run that does not complete says why."""
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
            ends = list(pool.map(partial(_run, night, spec.id), ("scheduled", "family")))
            found.require("completed" in ends, f"{spec.id}: {ends}")
            refused += [end for end in ends if end != "completed"]
            found.problems += nights.left(night, before).problems(spec.id, expected)
    found.seconds = perf_counter() - start
    found.result = f"both runs complete, except {'; '.join(refused) or 'none'}"
    return found
