"""Runs of all batches: each task connects by itself, and is retried after 2 s and 4 s if its error may pass."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import psycopg
from psycopg import sql

from benchmarks.backup import TOOLS
from benchmarks.measurement import Databases
from benchmarks.place import Place
from benchmarks.scale_world import LAST_DAY, World
from benchmarks.shocks.world import (
    SQL,
    SQL_OF_BENCHMARKS,
    Services,
    fill,
    give_workspaces,
    last_nine,
)
from include.skillreport.batches.data_backup.server import CONNECTION
from include.skillreport.core.catalog import (
    BATCHES,
    NOTIFICATION_RETRY,
    SCHEDULED_NOTIFICATIONS,
)
from include.skillreport.core.database import set_up_session
from include.skillreport.core.errors import is_recoverable
from include.skillreport.core.execution.business_date import JAPAN, period_of
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.openings import TaskKey
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.execution.settings import ExecutionSettings
from include.skillreport.core.postgres_programs import BIN_VARIABLE
from include.skillreport.core.run_spec import BatchSpec, WorksOn
from include.skillreport.messaging.channels.slack import SLACK
from local_stack.batch_runs import LocalInstallation, request_of
from local_stack.local_run import LocalRun
from local_stack.stand_ins import Arrived, StandInDirectory, StandIns

Rows: TypeAlias = Mapping[str, tuple[int, str]]

USERS, MESSAGES = 5, 10
ROLES = ("batch_platform", "batch_tenant")
PASSWORD = "of-the-shock"  # noqa: S105 - of a server that lives for minutes
# As in the retry policy of the DAGs.
RETRY_SECONDS = (2.0, 4.0)
_CONNECT_SECONDS = 10
_BY_ID = {spec.id: spec for spec in BATCHES}
_SENDING = (SCHEDULED_NOTIFICATIONS, NOTIFICATION_RETRY)
# Tables that say when and how the runs worked, not what they made.
_ABOUT_RUNS = (
    *("execution_log", "tenant_outcome", "task_metric", "performance_metric", "rows_scanned", "run_remark"),
    *("limit_sender", "service_limit", "backup", "SYS_BackupHistory", "deployment", "started_tick"),
    *("host_index", "reconciliation", "sync_plan"),
)


@dataclass(frozen=True)
class Night:
    """A database with its services, and how the runs reach them."""

    dsn: str
    services: Services
    folder: Path
    logins: Mapping[str, str] = field(default_factory=dict)
    backup: str = ""

    def installation(self, moment: datetime) -> LocalInstallation:
        """What the runs of this night work with. Each step connects by itself, as in production."""
        return LocalInstallation(
            object_store=ObjectStore(self.folder),
            services=self.services.network(),
            moment=moment,
            databases={CONNECTION: self.backup or self.dsn},
            variables={BIN_VARIABLE: str(TOOLS)},
            connect=self._connect,
        )

    @contextmanager
    def _connect(self, role: str, time_limit: timedelta) -> Iterator[psycopg.Connection]:
        login = self.logins.get(role, self.dsn)
        connection = psycopg.connect(
            login, autocommit=True, connect_timeout=_CONNECT_SECONDS, application_name="shock"
        )
        try:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
            set_up_session(connection, statement_timeout=f"{int(time_limit.total_seconds() * 1000)}ms")
            yield connection
        finally:
            connection.close()


@dataclass
class Attempts:
    """The failed attempts of the tasks of a run, by the class of the error, and the errors after which an operator cleared a task."""

    retried: list[str] = field(default_factory=list)
    cleared: list[str] = field(default_factory=list)


def plant_night(place: Place, name: str, tenants: int, stand_ins: StandIns) -> str:
    """A template: tenants with people, a day of logs, a closed month, a Slack workspace with a directory, and due notifications."""
    dsn = place.plant(name, World(tenants, users=USERS, requests=100 * tenants))
    with psycopg.connect(dsn, autocommit=True) as connection:
        SQL_OF_BENCHMARKS.execute(connection, "billing_month")
        tenant_ids = SQL.column(connection, "tenant_ids")
    give_workspaces(dsn, stand_ins.slack_base_url)
    fill(dsn, SQL["application_notifications"], messages=MESSAGES, due_at=last_nine())
    show_directories(stand_ins, tenant_ids)
    return dsn


def show_directories(stand_ins: StandIns, tenant_ids: Sequence[str]) -> None:
    """Each tenant's people in its Slack workspace."""
    for place_of, tenant_id in enumerate(tenant_ids):
        directory = StandInDirectory()
        directory.fill([_member(place_of * USERS + number) for number in range(1, USERS + 1)], 200)
        stand_ins.show_directory(SLACK, f"xoxb-{tenant_id}", directory)


def _member(number: int) -> dict[str, object]:
    return {
        "id": f"U{number}",
        "profile": {"real_name": f"社員 {number}", "email": f"e{number}@example.jp"},
    }


@dataclass(frozen=True)
class Left:
    """What a run leaves: the number and a hash of the rows of each table, and how often each message has arrived."""

    rows: Rows
    messages: Counter[tuple[str, str]]

    def problems(self, batch_id: str, expected: Left) -> list[str]:
        """What differs from the expected."""
        tables = sorted(
            name for name in {*self.rows, *expected.rows} if self.rows.get(name) != expected.rows.get(name)
        )
        lost, more = expected.messages - self.messages, self.messages - expected.messages
        return [
            *([f"{batch_id}: rows differ in {', '.join(tables)}"] if tables else []),
            *([f"{batch_id}: {lost.total()} messages lost, {more.total()} too many"] if lost or more else []),
        ]


class Nights:
    """Copies of a template, and what runs on them leave."""

    def __init__(self, place: Place, tenants: int, stand_ins: StandIns) -> None:
        self.stand_ins = stand_ins
        self._place = place
        self._copies = 0
        plant_night(place, "night", tenants, stand_ins)

    def copy(self, batch_id: str) -> Night:
        """A new copy of the template with a folder of its own."""
        self._copies += 1
        name = f"copy_{self._copies}_{_BY_ID[batch_id].slug}"
        folder = self._place.folder / name
        folder.mkdir()
        dsn = Databases(self._place.server).copy(name, "shock_night")
        return Night(dsn, Services.of(self.stand_ins), folder)

    def undisturbed(self, batch_id: str) -> Left:
        """What an undisturbed run leaves. :raises AssertionError: it is not complete."""
        night, before = self.copy(batch_id), self.arrived()
        result, attempts = run_night(night, batch_id, clears=0)
        assert result.status == "completed", result.sentence()
        assert not attempts.retried, attempts.retried
        return self.left(night, before)

    def arrived(self) -> int:
        """The number of messages until now."""
        return len(self.stand_ins.messages)

    def left(self, night: Night, before: int) -> Left:
        """What the runs on a copy have left since ``before``."""
        return left(night, self.stand_ins.messages[before:])


def left(night: Night, arrived: Sequence[Arrived]) -> Left:
    """What the runs of a night have left."""
    return Left(fingerprint(night.dsn), Counter((each.destination, each.subject) for each in arrived))


def run_night(
    night: Night,
    batch_id: str,
    *,
    middle: Callable[[], object] = lambda: None,
    before_clear: Callable[[], object] = lambda: None,
    clears: int = 3,
    day: date | None = None,
    run_id: str = "shock",
    attempt: int = 0,
) -> tuple[RunResult, Attempts]:
    """One run. ``middle`` is called in the middle of its tasks. ``attempt``: how often the run was cleared before.

    A task that fails for good is cleared, at most ``clears`` times, after ``before_clear``, as an operator does. :raises Exception: it
    still fails.
    """
    spec, attempts = _BY_ID[batch_id], Attempts()
    moment, business_date = _moment_of(spec, day)
    request = request_of(spec, business_date, run_at=moment, run_id=run_id)
    sharding = ExecutionSettings.load().model_copy(update={"max_mapped_tenants": 1, "shards": 6})
    run = LocalRun(spec, request, night.installation(moment), sharding=sharding, attempt=attempt)

    def do(task: TaskKey) -> None:
        _attempted(lambda: run.do(task), attempts, before_clear, clears)

    tasks = run.tasks()
    do(next(tasks))  # opens the run
    rest = list(tasks)
    for place_of, task in enumerate(rest):
        if place_of == len(rest) // 2:
            middle()
        do(task)
    assert run.closed is not None
    return run.closed.result, attempts


def _moment_of(spec: BatchSpec, day: date | None) -> tuple[datetime, date]:
    """The time of the run, and its business date."""
    if spec in _SENDING:
        return last_nine(), last_nine().date()
    known = day or LAST_DAY
    wanted = known if spec.works_on is not WorksOn.RUN_DATE else known + timedelta(days=1)
    first, last = period_of(wanted, spec.works_on)
    hour = 1 if spec.works_on is not WorksOn.RUN_DATE else 6
    start = last + timedelta(days=1) if spec.works_on is not WorksOn.RUN_DATE else last
    return datetime(start.year, start.month, start.day, hour, tzinfo=JAPAN), first


def _attempted(
    work: Callable[[], None], attempts: Attempts, before_clear: Callable[[], object], clears: int
) -> None:
    for cleared in range(clears + 1):
        for delay in (*RETRY_SECONDS, None):
            try:
                return work()
            except Exception as error:
                last = error
                if not is_recoverable(error) or delay is None:
                    break
                attempts.retried.append(type(error).__name__)
            time.sleep(delay)
        if cleared < clears:
            attempts.cleared.append(f"{type(last).__name__}: {str(last)[:200]}")
            before_clear()
    raise last


def fingerprint(dsn: str) -> Rows:
    """The number and a hash of the rows of each table with rows, without ids that are random and without times."""
    found = {}
    with psycopg.connect(dsn, autocommit=True) as connection:
        for schema, table, columns in SQL.execute(connection, "stable_columns", about_runs=list(_ABOUT_RUNS)):
            row = sql.SQL(", ").join(map(sql.Identifier, columns))
            query = sql.SQL(
                "SELECT count(*), coalesce(sum(hashtextextended(row({})::text, 0)), 0)::text FROM {}"
            )
            counted = connection.execute(query.format(row, sql.Identifier(schema, table))).fetchone()
            assert counted is not None
            if counted[0]:
                found[table] = (int(counted[0]), str(counted[1]))
    return found


def allow_tcp(connection: psycopg.Connection) -> None:
    """Let the roles of the batches log in with ``PASSWORD``, as a superuser."""
    for role in ROLES:
        connection.execute(
            sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(PASSWORD))
        )
