"""What the shocks share: the time, the services, and the messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import LiteralString

import psycopg

from benchmarks.measurement import run_once
from benchmarks.place import integrate
from benchmarks.scale_world import vacuum
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.network import EmailConfig, Network
from include.skillreport.core.run_spec import BatchSpec
from include.skillreport.messaging.channels.slack import SLACK
from local_stack.stand_ins import StandIns

SQL = Statements(Path(__file__).parent)
SQL_OF_BENCHMARKS = Statements(Path(__file__).parents[1])


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
    for spec in specs:
        run_once(spec, dsn, day, run_at=last_nine(), network=services.network())


def give_workspaces(dsn: str, slack_base_url: str) -> None:
    """A Slack workspace for each tenant."""
    integrate(dsn, SLACK, {"bot_token": "xoxb-{}"}, {"base_url": slack_base_url})


def fill(dsn: str, statement: LiteralString, **about: object) -> None:
    """Insert rows, and collect the planner's statistics."""
    with psycopg.connect(dsn) as connection:
        connection.execute(statement, about)
    vacuum(dsn)


def statuses(dsn: str) -> Counter[str]:
    """The messages of the outbox by status."""
    with psycopg.connect(dsn) as connection:
        return Counter(dict(SQL.execute(connection, "statuses").fetchall()))


def arrivals(stand_ins: StandIns) -> tuple[int, int]:
    """The number of different messages that have arrived, and of those that arrived again. Each has a destination of its own."""
    counts = Counter(arrived.destination for arrived in stand_ins.messages)
    return len(counts), sum(counts.values()) - len(counts)
