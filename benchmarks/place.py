"""Where a measurement works, and what it finds."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TypeVar

import psycopg

from benchmarks.measurement import Databases
from benchmarks.scale_world import World, plant, vacuum
from include.skillreport.core.database import Statements
from include.skillreport.messaging.channels.channel import Channel
from local_stack.postgres_server import EmbeddedPostgres

T = TypeVar("T")

_LONGEST_PROBLEM = 300

_SQL = Statements(Path(__file__).parent)


@dataclass(frozen=True)
class Place:
    """A running server, an empty folder, whether the sizes are small, and the parts to measure (none: all)."""

    server: EmbeddedPostgres
    folder: Path
    is_small: bool
    only: Sequence[str] = ()

    def size(self, full: T, small: T) -> T:
        """One of the two sizes."""
        return small if self.is_small else full

    def chosen(self, parts: Mapping[str, T]) -> Mapping[str, T]:
        """The parts to measure. :raises SystemExit: there is no such part."""
        if unknown := set(self.only) - set(parts):
            raise SystemExit(f"unknown: {', '.join(sorted(unknown))}. Choose from {', '.join(parts)}")
        return {name: part for name, part in parts.items() if not self.only or name in self.only}

    def plant(self, name: str, world: World) -> str:
        """Create a database with these tenants; returns the connection string of its owner."""
        return plant(self.server, f"shock_{name}", world)

    def copy(self, name: str, source: str) -> str:
        """Copy a planted database; returns the connection string of its owner."""
        return Databases(self.server).copy(name, f"shock_{source}")


@dataclass
class Found:
    """The line of a measurement. Without ``problems`` it is OK. ``peak_memory_bytes`` is that of the process that ran the batch."""

    size: str
    bound: str
    result: str = ""
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    problems: list[str] = field(default_factory=list)

    def require(self, holds: bool, problem: str) -> None:
        """Record a problem unless ``holds``."""
        if not holds:
            self.problems.append(problem)


def measurement_of(module: str) -> Callable[[Place], Found]:
    """The function of a module, which is ``measurement`` unless its name follows a colon."""
    file, _, function = module.partition(":")
    found: Callable[[Place], Found] = getattr(import_module(f"benchmarks.{file}"), function or "measurement")
    return found


def measure_in(module: str, is_small: bool, only: Sequence[str]) -> Found:
    """The measurement of a module, with a server and a folder of its own. The shocks need no durable server."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        # The user of the server enters the folder.
        Path(directory).chmod(0o755)
        server = EmbeddedPostgres(Path(directory, "postgres"), durable="shocks" not in module)
        server.start()
        folder = Path(directory, "files")
        folder.mkdir()
        try:
            return measurement_of(module)(Place(server, folder, is_small, only))
        except (Exception, SystemExit) as error:
            return Found("", "", problems=[f"{type(error).__name__}: {error}"[:_LONGEST_PROBLEM]])
        finally:
            server.reset()


def integrate(dsn: str, channel: Channel, auth: Mapping[str, str], config: Mapping[str, str]) -> None:
    """Give each tenant the channel. ``{}`` in the values of ``auth`` stands for the tenant."""
    with psycopg.connect(dsn) as connection:
        about = {"auth_config": json.dumps(auth), "connection_config": json.dumps(config)}
        _SQL.execute(connection, "integrate", channel=channel, **about)


def queue(
    dsn: str,
    channel: Channel,
    destination: str,
    messages: int,
    *,
    tenants: int | None = None,
    destinations: int | None = None,
    status: str = "pending",
) -> None:
    """Put this many messages of each tenant, or of each of the first ones, into the outbox, and collect statistics.

    In ``destination``, ``{tenant}`` stands for the tenant, and ``{}`` for the number of the message, modulo ``destinations``.
    """
    about = {"destination": destination, "destinations": destinations or messages + 1, "status": status}
    with psycopg.connect(dsn) as connection:
        _SQL.execute(connection, "queue", channel=channel, messages=messages, tenants=tenants, **about)
    vacuum(dsn)
