"""The maximum number of connections to PostgreSQL of one task: two, and in BATCH-001 those of pg_dump and of the snapshot in addition."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from skill_batch.connections import required_connection
from skill_batch.hooks import tenant_db
from skill_batch.installation import AirflowInstallation
from skill_batch.notifiers.alert_outbox import open_database
from include.skillreport.batches import notification_retry, tenant_monitoring
from include.skillreport.batches.data_backup.server import DatabaseServer
from include.skillreport.batches.data_backup.settings import BackupSettings
from include.skillreport.batches.notification_retry.batch import NotificationRetryBatch
from include.skillreport.batches.tenant_monitoring.batch import TenantMonitoringBatch
from include.skillreport.core.catalog import (
    NOTIFICATION_RETRY,
    TENANT_MONITORING,
)
from include.skillreport.core.database import count_of
from include.skillreport.core.execution.batch import Outcome, UnitResult, Work
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.digest import Digest
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.schema.checks.findings import Finding
from include.skillreport.schema.checks.sessions import find_lost_sessions
from local_stack.batch_runs import LOCAL, request_of
from local_stack.local_run import LocalRun
from local_stack.stand_ins import StandIns
from tests.conftest import PASSWORDS, Database
from tests.waiting import wait_until
from tests.worlds import host_rows
from tests.worlds.backups import Backups
from tests.worlds.outbox_rows import network

# The idle backends of a shared database would count.
pytestmark = pytest.mark.own_database

DAY = date(2026, 10, 31)
AT = datetime(2026, 11, 1, 1, tzinfo=JAPAN)


@dataclass
class Observer:
    """Counts the connections to the test's database; ``seen`` has the largest number by step."""

    connection: psycopg.Connection
    seen: dict[str, int] = field(default_factory=dict)

    def count(self) -> int:
        return count_of(
            self.connection,
            """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
            """,
        )

    def look(self, step: str) -> None:
        self.seen[step] = max(self.seen.get(step, 0), self.count())


@pytest.fixture
def observer(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Observer]:
    for role in PASSWORDS:
        monkeypatch.setenv(f"AIRFLOW_CONN_SKILL_{role.upper()}_DB", database.airflow_connection(role))
    with database.connect() as connection:
        yield Observer(connection)


class ObservedInstallation(AirflowInstallation):
    """Airflow's installation with the real hooks. A digest opens the connection of the alerts, and is not sent."""

    def __init__(self, observer: Observer, stand_ins: StandIns) -> None:
        self._observer = observer
        self._stand_ins = stand_ins

    def store(self) -> Any:
        return None

    def network(self, *, with_mail: bool) -> Any:  # noqa: ARG002
        return network(self._stand_ins)

    def mailbox(self) -> None:
        return None

    def report(self, digest: Digest, result: RunResult) -> bool:  # noqa: ARG002
        with open_database(required_connection("skill_batch_platform_db", "Postgres")):
            self._observer.look("report")
        return True


@contextmanager
def run_of(batch: Any, spec: Any, observer: Observer) -> Iterator[None]:
    """A whole run."""
    with StandIns() as stand_ins:
        installation = ObservedInstallation(observer, stand_ins)
        run = LocalRun(spec, request_of(spec, DAY, run_at=AT), installation, lambda: batch)
        run.execute()
        assert run.failed == {}
        yield


def test_a_task_of_a_batch_holds_two_connections(observer: Observer) -> None:
    class Observed(TenantMonitoringBatch):
        def prepare(self, work: Work) -> None:
            observer.look("prepare")
            super().prepare(work)

        def process(self, work: Work) -> list[UnitResult]:
            observer.look("process")
            return super().process(work)

        def digest(self, work: Work) -> Digest:
            observer.look("digest")
            return Digest(["news", *super().digest(work).lines])

    host_rows.tenant(observer.connection, "A")
    real = tenant_monitoring.create_batch(LOCAL)
    batch = Observed.__new__(Observed)
    batch.__dict__.update(real.__dict__)
    with run_of(batch, TENANT_MONITORING, observer):
        pass
    assert observer.seen == {"prepare": 1, "process": 2, "digest": 1, "report": 2}


def test_the_check_of_the_logins_holds_two_connections(
    observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []

    def observed(first: psycopg.Connection, second: psycopg.Connection) -> list[Finding]:
        # A session that was closed before is listed for another moment.
        wait_until(lambda: observer.count() == 2, "two connections are open")
        checked.append(first.info.user)
        return find_lost_sessions(first, second)

    monkeypatch.setattr(tenant_db, "find_lost_sessions", observed)
    AirflowInstallation().check_logins(with_tenants=True)
    assert checked == ["batch_platform", "batch_tenant"]


def test_a_task_that_sends_holds_two_connections_however_many_lanes_it_has(observer: Observer) -> None:
    class Observed(NotificationRetryBatch):
        def send(self, work: Work, results: Any) -> Any:
            observer.look("before")
            try:
                return super().send(work, results)
            finally:
                observer.look("after")

        def process(self, work: Work) -> list[Outcome]:  # type: ignore[override]
            outcomes: list[Outcome] = [*super().process(work)]
            observer.look("process")
            return outcomes

    for tenant_id in ("A", "B", "C"):
        host_rows.tenant(observer.connection, tenant_id)
        observer.connection.execute(
            """
            INSERT INTO batch.outbox (
                message_id, tenant_id, dedupe_key, channel, destination, subject, body, due_at, next_attempt_at, created_by
            ) VALUES (%(id)s, %(id)s, 'k', 'email', 'a@example.jp', 's', 'b', now(), now() - interval '1 hour', 'test')
            """,
            {"id": tenant_id},
        )
    real = notification_retry.create_batch(LOCAL)
    batch = Observed.__new__(Observed)
    batch.__dict__.update(real.__dict__)
    with run_of(batch, NOTIFICATION_RETRY, observer):
        sent = observer.connection.execute(
            "SELECT count(*) FROM batch.outbox WHERE status = 'sent'"
        ).fetchone()
        assert sent == (3,)
    assert {step: observer.seen[step] for step in ("before", "after", "process")} == dict.fromkeys(
        ("before", "after", "process"), 2
    )


@pytest.mark.slow("takes and restores whole backups")
def test_the_dump_holds_two_connections_and_those_of_pg_dump(
    observer: Observer, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host_rows.tenant(observer.connection, "A")
    backups = Backups(database, tmp_path)
    run, _ = backups.open()
    dump = DatabaseServer.dump
    opened: list[int] = []

    def observed(
        self: DatabaseServer, snapshot: str, folder: Path, jobs: int
    ) -> Generator[Path | None, None, None]:
        observer.look("before pg_dump")
        opened.append(sessions(observer))
        yield from dump(self, snapshot, folder, jobs)
        # The statistics of a session arrive a moment after its end.
        wait_until(lambda: sessions(observer) >= opened[0] + 2 + 1 + jobs, "pg_dump's sessions are counted")
        opened.append(sessions(observer))

    monkeypatch.setattr(DatabaseServer, "dump", observed)
    backups.first_steps(run)
    assert observer.seen == {"before pg_dump": 2}
    # Before pg_dump begins, two short sessions ask what the login may set, and which large objects it can read.
    assert opened[1] - opened[0] == 2 + 1 + BackupSettings.load().jobs


def sessions(observer: Observer) -> int:
    """How many sessions the database has had."""
    observer.connection.execute("SELECT pg_stat_clear_snapshot()")
    row = observer.connection.execute(
        "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    assert row is not None
    return int(row[0])
