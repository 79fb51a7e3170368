"""When a run is slow: strictly over 1.5 times the average of the batch's last 20 comparable runs (batch list, section 6.3).

Comparable are runs that completed, wrote, did the batch's own work, and that on all tenants. The scheduler and the triggerer load
this, on some platforms without ``include``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

FACTOR = Decimal("1.5")
# The average is over so many runs; with fewer than the second figure there is none.
LAST_RUNS = 20
LEAST_RUNS = 5
# What the trigger forms' operations are where nobody chooses one: another one (a list, a restore) takes its own time.
ORDINARY_ACTIONS = ("backup", "bill", "send", "sync")
# A run that ends within this is nobody's trouble: Airflow's own start-up varies by more than half of it.
LEAST_SECONDS = 30

_COMPARABLE_RUNS = """
SELECT execution_seconds
FROM batch.performance_metric
WHERE batch_id = %(batch_id)s AND run_id <> %(run_id)s AND is_comparable
ORDER BY recorded_at DESC
LIMIT %(last_runs)s
"""


@dataclass(frozen=True)
class Slowness:
    """A run that takes ``seconds`` where ``runs`` earlier ones took ``average_seconds`` on average."""

    seconds: Decimal
    average_seconds: Decimal
    runs: int

    @property
    def ratio(self) -> Decimal:
        """How many times the average it is, to one hundredth."""
        return (self.seconds / self.average_seconds).quantize(Decimal("0.01"))


def slowness(seconds: Decimal, history: Sequence[Decimal]) -> Slowness | None:
    """How slow a run of ``seconds`` is beside the earlier runs' seconds; None if it is not, or there are too few to say."""
    if len(history) < LEAST_RUNS or seconds <= LEAST_SECONDS:
        return None
    average = sum(history, Decimal(0)) / len(history)
    return Slowness(seconds, average, len(history)) if seconds > FACTOR * average > 0 else None


def load_history(platform: psycopg.Connection, batch_id: str, run_id: str) -> list[Decimal]:
    """Seconds of the batch's last comparable runs, newest first, without the run of this Airflow run id."""
    rows = platform.execute(
        _COMPARABLE_RUNS, {"batch_id": batch_id, "run_id": run_id, "last_runs": LAST_RUNS}
    )
    return [seconds for (seconds,) in rows]
