"""Compare each batch with its floor: the least work on the same data, measured in the same run.

Rows: a few set-based statements that leave the same final rows. Invoices: COPY of the rows that billing has written. Documents: bare
typesetting of the same PDFs, with one process per core. Messages: a raw socket for each permitted connection. Backups: pg_dump. Each
comparison asserts that both results are equal. Batches run without Airflow, in one process unless it says so. The table has the median of
the rounds and, in parentheses, the fastest and the slowest. Compare ratios: they do not depend on the machine.

    python -m benchmarks.floors [--rounds N] [TENANTS] [BATCH ...]    # for example: 1000 usage BATCH-018-03
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.floors import documents, services, tables
from benchmarks.floors.comparison import HEADER, Comparison, Site
from benchmarks.notifications import LATENCY_SECONDS
from include.skillreport.core import catalog
from local_stack.postgres_server import EmbeddedPostgres
from local_stack.stand_ins import StandIns

TENANTS = 10_000

Floor = Callable[[Site], Iterator[Comparison]]

# By the names that select them: the batch's id and a word.
FLOORS: Mapping[tuple[str, str], Floor] = {
    (catalog.TENANT_USAGE.id, "usage"): tables.usage,
    (catalog.STATISTICS.id, "statistics"): tables.statistics,
    (catalog.TENANT_MONITORING.id, "monitoring"): tables.monitoring,
    (catalog.INACTIVE_TENANTS.id, "inactivity"): tables.inactivity,
    (catalog.SETTINGS_SYNC.id, "settings"): tables.settings,
    (catalog.TENANT_BILLING.id, "billing"): documents.billing,
    (catalog.SCHEDULED_NOTIFICATIONS.id, "sending"): services.sending,
    (catalog.DATA_BACKUP.id, "backup"): services.backup,
}


def main(arguments: argparse.Namespace) -> int:
    """Print the table; 1 if a batch is above its goal."""
    wanted = {word.lower() for word in arguments.batches}
    chosen = [
        floor
        for names, floor in FLOORS.items()
        if not wanted or wanted.intersection(name.lower() for name in names)
    ]
    with tempfile.TemporaryDirectory(prefix="floor-benchmark-") as folder, StandIns() as stand_ins:
        stand_ins.latency("slack", LATENCY_SECONDS)
        server = EmbeddedPostgres(Path(folder) / "postgres")
        server.start()
        try:
            site = Site(server, stand_ins, Path(folder), arguments.tenants)
            found = [each for floor in chosen for each in _rounds(floor, site, arguments.rounds)]
        finally:
            server.reset()
    above = [comparison.label for comparison in found if comparison.is_above_goal]
    print(f"above their goal: {', '.join(above) or 'none'}")
    return int(bool(above))


def _rounds(floor: Floor, site: Site, rounds: int) -> Sequence[Comparison]:
    """The comparisons over all rounds, printed when they are complete."""
    found: dict[str, Comparison] = {}
    for _ in range(rounds):
        for each in floor(site):
            found[each.label] = found[each.label].joined(each) if each.label in found else each
    for comparison in found.values():
        print(comparison, flush=True)
    return list(found.values())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floors", description=__doc__)
    parser.add_argument("tenants", nargs="?", type=int, default=TENANTS)
    parser.add_argument("batches", nargs="*", metavar="BATCH", help=", ".join(word for _, word in FLOORS))
    parser.add_argument("--rounds", type=int, default=1)
    return parser


if __name__ == "__main__":
    print(HEADER)
    sys.exit(main(_parser().parse_args()))
