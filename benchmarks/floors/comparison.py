"""Each batch beside its floor: the least work on the same data, measured in the same run.

Rows: a few set-based statements that leave the same final rows. Invoices: COPY of the rows that billing has written. Documents: bare
typesetting of the same PDFs, with one process per core. Messages: a raw socket for each permitted connection. ``backup`` has pg_dump. Each
comparison asserts that both results are equal. Batches run without Airflow, in one process unless it says so. The table has the median of
the rounds and, in parentheses, the fastest and the slowest. A run whose floor is another run of the same batch says which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from statistics import median

import psycopg
from psycopg import sql

from benchmarks.growth import settle
from benchmarks.measurement import Measurement
from benchmarks.place import Found, Place
from benchmarks.scale_world import World
from local_stack.stand_ins import StandIns

_NAMES = count()
_SHOWN = 500
LATENCY_SECONDS = 0.02


@dataclass(frozen=True)
class Comparison:
    """The measured floor and batch, one of each for a round. ``goal``: the ratio that we want. ``bound``: the ratio that it may have."""

    label: str
    amount: str
    goal: float | None
    bound: float | None
    floor: Sequence[Measurement]
    ours: Sequence[Measurement]

    @property
    def ratio(self) -> float:
        """The median of the batch divided by the median of the floor."""
        return _median(self.ours) / _median(self.floor)

    def joined(self, other: Comparison) -> Comparison:
        """With the measurements of another round."""
        return replace(self, floor=[*self.floor, *other.floor], ours=[*self.ours, *other.ours])

    def __str__(self) -> str:
        memory = max(measured.peak_memory_bytes for measured in self.ours)
        return (
            f"{self.label:<40} {self.amount:>15} {_spread(self.floor):>21} {_spread(self.ours):>21} {self.ratio:>6.1f}"
            f" {self.goal or '':>5} {self.bound or '':>6} {memory / 2**20:>10.0f}"
        )


HEADER = f"{'batch':<40} {'amount':>15} {'floor s':>21} {'ours s':>21} {'ratio':>6} {'goal':>5} {'bound':>6} {'memory MB':>10}"


def _median(measurements: Sequence[Measurement]) -> float:
    return median(measured.seconds for measured in measurements)


def _spread(measurements: Sequence[Measurement]) -> str:
    seconds = [measured.seconds for measured in measurements]
    span = f" ({min(seconds):.2f}-{max(seconds):.2f})" if len(seconds) > 1 else ""
    return f"{median(seconds):.2f}{span}"


class Site:
    """The place, the stand-ins, and databases to copy that stay unchanged: ``planted`` and ``settled``."""

    def __init__(self, place: Place, services: StandIns) -> None:
        self.services = services
        self.place = place
        self.tenants = place.size(10_000, 40)

    @property
    def amount(self) -> str:
        """The number of tenants, for the table."""
        return f"{self.tenants:,} tenants"

    @cached_property
    def planted(self) -> str:
        """Tenants with 20 people and 100 requests each; no batch has run."""
        self.place.plant("planted", World(tenants=self.tenants, requests=100 * self.tenants))
        return "planted"

    @cached_property
    def settled(self) -> tuple[str, Measurement]:
        """The same after the runs of the days before, of which the first hourly one is measured."""
        self.place.plant("settled", World(tenants=self.tenants, requests=100 * self.tenants))
        return "settled", settle(self.place.server.admin_dsn("shock_settled"))

    @contextmanager
    def copied(self, source: str) -> Iterator[str]:
        """A copy of a database, which is deleted afterwards; the connection string of its owner."""
        name = self.new_name()
        try:
            yield self.place.copy(name, source)
        finally:
            with psycopg.connect(self.place.server.admin_dsn(), autocommit=True) as admin:
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @staticmethod
    def new_name() -> str:
        """A name for a database or a folder."""
        return f"number_{next(_NAMES)}"

    def new_folder(self) -> Path:
        """An empty folder."""
        path = self.place.folder / self.new_name()
        path.mkdir()
        return path


def require_equal(label: str, floor: object, ours: object) -> None:
    """:raises SystemExit: the floor and the batch have left different results."""
    if floor != ours:
        found = f"{str(floor)[:_SHOWN]} and {str(ours)[:_SHOWN]}"
        raise SystemExit(f"{label}: the floor and the batch have left different results: {found}")


def batches(place: Place) -> Found:
    """No batch is above its bound, which is its distance of November 2026 and some slack."""
    from benchmarks.floors import outputs, tables  # they import this module

    floors: Mapping[str, Callable[[Site], Iterator[Comparison]]] = {
        "usage": tables.usage,
        "statistics": tables.statistics,
        "monitoring": tables.monitoring,
        "inactivity": tables.inactivity,
        "settings": tables.settings,
        "billing": outputs.billing,
        "sending": outputs.sending,
    }
    found = Found(f"{len(floors)} batches", "a ratio to each floor")
    compared: dict[str, Comparison] = {}
    with StandIns() as stand_ins:
        stand_ins.latency("slack", LATENCY_SECONDS)
        site = Site(place, stand_ins)
        for floor in place.chosen(floors).values():
            for _ in range(place.size(3, 1)):
                for each in floor(site):
                    compared[each.label] = (
                        compared[each.label].joined(each) if each.label in compared else each
                    )
    print(HEADER)
    for each in compared.values():
        print(each, flush=True)
        # Of few tenants, the start of a run takes most of the time.
        is_above = not place.is_small and each.bound is not None and each.ratio > each.bound
        found.require(not is_above, f"{each.label}: {each.ratio:.1f} times its floor")
    above = [each.label for each in compared.values() if each.goal is not None and each.ratio > each.goal]
    found.result = f"above their goal: {', '.join(above) or 'none'}"
    return found
