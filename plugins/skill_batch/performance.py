"""Detects slow runs: over 1.5 times the average of the batch's last 20 comparable runs (batch list, section 6.3).

A comparable run completed, worked on all tenants, and was no dry run. The scheduler and the triggerer import this module, sometimes
without ``include``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from skill_batch.statements import SQL

if TYPE_CHECKING:
    import psycopg

FACTOR = Decimal("1.5")
# The number of runs in an average, which is also the minimum.
LAST_RUNS = 20
LEAST_RUNS = 5
# A shorter run is never slow: Airflow's start-up time alone varies by more than half of it.
LEAST_SECONDS = 30


@dataclass(frozen=True)
class Slowness:
    """A run that takes ``seconds``, although ``runs`` earlier runs took ``average_seconds`` on average."""

    seconds: Decimal
    average_seconds: Decimal
    runs: int

    @property
    def ratio(self) -> Decimal:
        """The duration divided by the average, to two decimal places."""
        return (self.seconds / self.average_seconds).quantize(Decimal("0.01"))


def slowness(seconds: Decimal, history: Sequence[Decimal]) -> Slowness | None:
    """The slowness of a run, compared with earlier durations; None if it is not slow, or if there are too few."""
    if len(history) < LEAST_RUNS or seconds <= LEAST_SECONDS:
        return None
    average = sum(history, Decimal(0)) / len(history)
    return Slowness(seconds, average, len(history)) if seconds > FACTOR * average > 0 else None


def load_history(platform: psycopg.Connection, batch_id: str, run_id: str) -> list[Decimal]:
    """The durations in seconds of the batch's last comparable runs, newest first, except this run."""
    about = {"batch_id": batch_id, "run_id": run_id, "last_runs": LAST_RUNS}
    return [seconds for (seconds,) in platform.execute(SQL["comparable_runs"], about)]
