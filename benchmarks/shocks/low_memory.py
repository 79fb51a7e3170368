"""A task has 512 MB of memory: each batch runs in a process that cannot get more."""

from __future__ import annotations

import resource
from datetime import date
from functools import partial

from benchmarks.measurement import measure
from benchmarks.scale_world import LAST_DAY
from benchmarks.shocks.night import Night, Nights, run_night
from benchmarks.shocks.world import Found, Place
from include.skillreport.core.catalog import BATCHES
from local_stack.stand_ins import StandIns

_LIMIT = 512 << 20


def run(night: Night, batch_id: str, dsn: str, day: date) -> None:  # noqa: ARG001 - the signature of Work
    """One run under the limit."""
    # The memory that a process can write to, as a container counts it, without the files that it maps.
    resource.setrlimit(resource.RLIMIT_DATA, (_LIMIT, _LIMIT))
    result, attempts = run_night(night, batch_id, clears=0)
    assert result.status == "completed", result.sentence()
    assert not attempts.retried, attempts.retried


def shock(place: Place) -> Found:
    """All complete."""
    tenants = place.size(300, 12)
    found = Found(f"{len(BATCHES)} batches, {tenants} tenants", f"{_LIMIT >> 20} MB of data")
    peaks: dict[str, int] = {}
    with StandIns() as stand_ins:
        nights = Nights(place, tenants, stand_ins)
        for spec in BATCHES:
            night = nights.copy(spec.id)
            try:
                measured = measure(partial(run, night, spec.id), night.dsn, LAST_DAY)
            except SystemExit as error:
                found.problems.append(f"{spec.id}: {error}")
                continue
            found.seconds += measured.seconds
            peaks[spec.id] = measured.peak_memory_bytes
    largest = max(peaks, key=lambda batch_id: peaks[batch_id])
    found.peak_memory_bytes = peaks[largest]
    found.result = f"{len(peaks)} complete, most memory: {largest}"
    found.require(found.peak_memory_bytes <= _LIMIT, "too much memory")
    return found
