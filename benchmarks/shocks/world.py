"""What all shocks share: the server, the sizes, the tenants, and the line that a shock prints."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import LiteralString, TypeAlias

import psycopg

from benchmarks.measurement import connected, vacuum
from benchmarks.scale_world import World, plant
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.batch import Batch, create_batch
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.network import EmailConfig, Network
from include.skillreport.core.run_spec import BatchSpec
from local_stack.batch_runs import LOCAL, run_batch
from local_stack.postgres_server import EmbeddedPostgres
from local_stack.stand_ins import StandIns

SQL = Statements(Path(__file__).parent)
SQL_OF_BENCHMARKS = Statements(Path(__file__).parents[1])


@dataclass(frozen=True)
class Place:
    """Where a shock works: a running server, an empty folder, and whether the sizes are small."""

    server: EmbeddedPostgres
    folder: Path
    is_small: bool

    def size(self, full: int, small: int) -> int:
        """One of the two sizes."""
        return small if self.is_small else full

    def plant(self, name: str, world: World) -> str:
        """Create a database with these tenants; returns the connection string of its owner."""
        return plant(self.server, f"shock_{name}", world)


@dataclass
class Found:
    """The line of a shock. Without ``problems`` it is OK. ``peak_memory_bytes`` is that of the process that ran the batch."""

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


Shock: TypeAlias = Callable[[Place], Found]


def batch_of(spec: BatchSpec) -> Batch:
    """The batch with the settings of the environment."""
    return create_batch(spec, LOCAL)


def last_nine() -> datetime:
    """The last 9:00 in Japan, when BATCH-019-01 runs."""
    now = datetime.now(JAPAN)
    nine = datetime.combine(now.date(), time(9), JAPAN)
    return nine if nine <= now else nine - timedelta(days=1)


def today() -> date:
    """The day in Japan."""
    return datetime.now(UTC).astimezone(JAPAN).date()


@dataclass(frozen=True)
class Services:
    """The addresses of the stand-ins, for a process that sends to them."""

    smtp_port: int
    allowed_hosts: frozenset[str]

    @classmethod
    def of(cls, stand_ins: StandIns) -> Services:
        """Those of running stand-ins."""
        return cls(stand_ins.smtp_port, stand_ins.allowed_hosts)

    def network(self) -> Network:
        """An installation whose mail server and services are the stand-ins."""
        email = EmailConfig("127.0.0.1", self.smtp_port, "no-reply@cloud-service.example", security="none")
        return Network(email, self.allowed_hosts)


def send(services: Services, specs: Sequence[BatchSpec], dsn: str, day: date) -> None:
    """The runs of these batches of notifications at the last 9:00, one after the other. :raises AssertionError: one has failures."""
    with connected(dsn) as (platform, connection):
        for spec in specs:
            result = run_batch(
                platform,
                connection,
                spec,
                batch_of(spec),
                day,
                run_at=last_nine(),
                network=services.network(),
            )
            assert result.status == "completed", result.sentence()


def give_workspaces(dsn: str, slack_base_url: str) -> None:
    """A Slack workspace for each tenant."""
    with psycopg.connect(dsn) as connection:
        SQL_OF_BENCHMARKS.execute(
            connection, "workspaces", connection_config=json.dumps({"base_url": slack_base_url})
        )


def fill(dsn: str, statement: LiteralString, **about: object) -> None:
    """Insert rows, and collect the planner's statistics."""
    with psycopg.connect(dsn) as connection:
        connection.execute(statement, about)
    vacuum(dsn)


def value(dsn: str, statement: LiteralString, **about: object) -> int:
    """The one number of a statement."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(statement, about or None).fetchone()
    assert row is not None
    return int(row[0])


def statuses(dsn: str) -> Counter[str]:
    """The messages of the outbox by status."""
    with psycopg.connect(dsn) as connection:
        return Counter(dict(SQL.execute(connection, "statuses").fetchall()))


def arrivals(stand_ins: StandIns) -> tuple[int, int]:
    """The number of different messages that have arrived, and of those that arrived again. Each has a destination of its own."""
    counts = Counter(arrived.destination for arrived in stand_ins.messages)
    return len(counts), sum(counts.values()) - len(counts)
