"""A floor and a batch, measured in the same run, and the databases that both start from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from statistics import median

import psycopg
from psycopg import sql

from benchmarks.measurement import Databases, Measurement
from benchmarks.scale import settle
from benchmarks.scale_world import World, plant
from local_stack.postgres_server import EmbeddedPostgres
from local_stack.stand_ins import StandIns

_NAMES = count()
_SHOWN = 500


@dataclass(frozen=True)
class Comparison:
    """The measured floor and batch, one of each for a round. ``goal``: the ratio that the batch should not exceed."""

    label: str
    amount: str
    goal: float | None
    floor: Sequence[Measurement]
    ours: Sequence[Measurement]

    @property
    def ratio(self) -> float:
        """The median of the batch divided by the median of the floor."""
        return _median(self.ours) / _median(self.floor)

    @property
    def is_above_goal(self) -> bool:
        """Whether the ratio, rounded as it is shown, exceeds the goal."""
        return self.goal is not None and round(self.ratio, 1) > self.goal

    def joined(self, other: Comparison) -> Comparison:
        """With the measurements of another round."""
        return Comparison(
            self.label, self.amount, self.goal, [*self.floor, *other.floor], [*self.ours, *other.ours]
        )

    def __str__(self) -> str:
        memory = max(measured.peak_memory_bytes for measured in self.ours)
        return (
            f"{self.label:<40} {self.amount:>15} {_spread(self.floor):>21} {_spread(self.ours):>21} {self.ratio:>6.1f}"
            f" {'' if self.goal is None else f'{self.goal:.1f}':>5} {memory / 2**20:>10.0f}"
            f"{'  ABOVE' if self.is_above_goal else ''}"
        )


HEADER = (
    f"{'batch':<40} {'amount':>15} {'floor s':>21} {'ours s':>21} {'ratio':>6} {'goal':>5} {'memory MB':>10}"
)


def _median(measurements: Sequence[Measurement]) -> float:
    return median(measured.seconds for measured in measurements)


def _spread(measurements: Sequence[Measurement]) -> str:
    seconds = [measured.seconds for measured in measurements]
    span = f" ({min(seconds):.2f}-{max(seconds):.2f})" if len(seconds) > 1 else ""
    return f"{median(seconds):.2f}{span}"


class Site:
    """The server, the stand-ins, and a folder. ``planted`` and ``settled`` are databases to copy: they stay unchanged."""

    def __init__(self, server: EmbeddedPostgres, services: StandIns, folder: Path, tenants: int) -> None:
        self.databases = Databases(server)
        self.services = services
        self.tenants = tenants
        self._server = server
        self._folder = folder

    @property
    def amount(self) -> str:
        """The number of tenants, for the table."""
        return f"{self.tenants:,} tenants"

    @cached_property
    def planted(self) -> str:
        """Tenants with 20 people and 100 requests each; no batch has run."""
        plant(self._server, "planted", World(tenants=self.tenants, requests=100 * self.tenants))
        return "planted"

    @cached_property
    def settled(self) -> str:
        """The same after the runs of the days before."""
        dsn = self.databases.copy("settled", self.planted)
        settle(dsn, self._folder)
        return "settled"

    @contextmanager
    def copied(self, source: str) -> Iterator[str]:
        """A copy of a database, which is deleted afterwards; the connection string of its owner."""
        name = self.new_name()
        dsn = self.databases.copy(name, source)
        try:
            yield dsn
        finally:
            with psycopg.connect(self._server.admin_dsn(), autocommit=True) as admin:
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @staticmethod
    def new_name() -> str:
        """A name for a database or a folder."""
        return f"number_{next(_NAMES)}"

    def new_folder(self) -> Path:
        """An empty folder."""
        path = self._folder / self.new_name()
        path.mkdir()
        return path


def require_equal(label: str, floor: object, ours: object) -> None:
    """:raises SystemExit: the floor and the batch have left different results."""
    if floor != ours:
        found = f"{str(floor)[:_SHOWN]} and {str(ours)[:_SHOWN]}"
        raise SystemExit(f"{label}: the floor and the batch have left different results: {found}")
