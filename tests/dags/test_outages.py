"""The alerts when a task is finally killed, and when Airflow's own API server is not available."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from threading import Event, Thread

import psycopg
import pytest

from include.skillreport.schema.deploy import upgrade
from include.skillreport.schema.host_contract import HostVariant
from local_stack.host_fixture import create_host_schema
from local_stack.stand_ins import StandIns
from tests.airflow_installation import AirflowInstallation
from tests.conftest import PASSWORDS, Database, Server, wait_for_blocked_statement
from tests.dags.running_airflow import (
    CONF,
    NO_SCHEDULE,
    TRIES,
    USAGE,
    StartAirflow,
    end_waiting_statements,
    forget_connections,
    forget_runs,
    kill_tasks_of,
    running_airflow,
    wait_until,
)
from tests.failover_server import demote, promote, replicating_server
from tests.worlds import host_rows

# The supervisor's log line if it could not reach the API server.
UNANSWERED = "Unhandled exception while handling task request"

# The line of a task that waits for its database.
WAITING = "The database is not available yet"


# As by default: the scheduler gives a task up after five minutes without a heartbeat, and not while the API server is away.
PATIENT = {**NO_SCHEDULE, "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "300"}

pytestmark = [pytest.mark.long, pytest.mark.exclusive]


@pytest.fixture
def one_tenant(database: Database, migrated_metadata: str) -> Iterator[None]:
    """One tenant. Rows of other tests in Airflow are deleted before and after."""
    forget_runs(migrated_metadata)
    with database.connect() as host:
        host_rows.tenant(host, "T001")
        host_rows.report(host, "T001", datetime(2026, 10, 31, 3, 0))
    yield
    forget_connections(migrated_metadata)


@dataclass
class Proxy:
    """A TCP proxy of the database. It holds the connection of this number (the first is 1) until it is released."""

    host: str
    port: int
    held: int
    reached: Event = field(default_factory=Event)
    release: Event = field(default_factory=Event)

    @contextmanager
    def listening(self) -> Iterator[int]:
        """Gives the proxy's port."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            Thread(target=self._accept, args=(listener,), daemon=True).start()
            yield listener.getsockname()[1]
            self.release.set()
            listener.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        number = 0
        with suppress(OSError):  # the listener is closed
            while True:
                client = listener.accept()[0]
                number += 1
                Thread(target=self._relay, args=(client, number), daemon=True).start()

    def _relay(self, client: socket.socket, number: int) -> None:
        if number == self.held:
            self.reached.set()
            self.release.wait()
        with suppress(OSError), client, socket.create_connection((self.host, self.port)) as server:
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65_536)
                    if not data:
                        return
                    (server if source is client else client).sendall(data)


@pytest.mark.usefixtures("one_tenant")
def test_a_run_survives_an_api_server_away_during_a_connection_lookup(
    airflow: AirflowInstallation, database: Database, slack: StandIns, unused_port: int, tmp_path: Path
) -> None:
    # As batch_platform open_run has three connections, and read_logs has one; aggregate_usage has the fifth before it looks for
    # skill_batch_tenant_db.
    proxy = Proxy(database.server.host, database.server.port, held=5)
    with (
        proxy.listening() as proxy_port,
        running_airflow(
            airflow, database, slack, tmp_path, unused_port, PATIENT, stored_connections=True
        ) as api,
    ):
        # In Airflow's database, as in production: an environment variable would need no request.
        api = replace(api, dag_id=USAGE)
        for role, port in (("batch_platform", proxy_port), ("batch_tenant", database.server.port)):
            api.define_connection(f"skill_{role}_db", database.airflow_connection(role), port=port)
        api.unpause()
        run_id = api.trigger(**CONF)
        assert proxy.reached.wait(120)

        with api.server_away():
            proxy.release.set()
            # The SDK treats this as "not defined".
            wait_until(lambda: UNANSWERED in api.printed(), seconds=240)

        assert api.wait(run_id) == "success"
    assert slack.messages == []
    with database.connect() as host:
        assert host.execute("SELECT status FROM batch.execution_log").fetchall() == [("completed",)]


@pytest.mark.usefixtures("one_tenant")
def test_a_run_survives_a_minute_without_the_api_server(
    start_airflow: StartAirflow, database: Database, slack: StandIns
) -> None:
    """The workers of ``open_run`` end without an exception, one after the other."""
    with start_airflow(NO_SCHEDULE) as api:
        api = replace(api, dag_id=USAGE)
        api.unpause()
        run_id = api.trigger(**CONF)
        with api.server_away():
            time.sleep(60)

        assert api.wait(run_id) == "success"
        assert [each["try_number"] for each in api.instances(run_id) if each["task_id"] == "open_run"] != [1]
    assert slack.messages == []
    with database.connect() as host:
        assert host.execute("SELECT status FROM batch.execution_log").fetchall() == [("completed",)]


def test_a_run_survives_a_standby_of_half_a_minute(
    airflow: AirflowInstallation,
    migrated_metadata: str,
    slack: StandIns,
    unused_port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forget_runs(migrated_metadata)
    with replicating_server(tmp_path / "postgres", monkeypatch) as postgres:
        server = Server(postgres.admin_dsn(), "127.0.0.1", postgres.port, postgres)
        database = Database("postgres", server)
        with database.connect() as host:
            create_host_schema(host, HostVariant.MULTI_TENANT)
            host_rows.tenant(host, "T001")
        upgrade(database.dsn, passwords=PASSWORDS)
        demote(postgres)
        with running_airflow(airflow, database, slack, tmp_path, unused_port, NO_SCHEDULE) as api:
            api = replace(api, dag_id=USAGE)
            api.unpause()
            before = api.logged().count(WAITING)
            run_id = api.trigger(**CONF)
            wait_until(lambda: api.logged().count(WAITING) > before, seconds=120)
            time.sleep(29)
            promote(postgres)

            assert api.wait(run_id) == "success"
            assert {ti["try_number"] for ti in api.instances(run_id)} == {1}
    assert slack.messages == []


@pytest.mark.usefixtures("one_tenant")
def test_a_step_killed_on_its_last_try_is_reported_by_close_run(
    start_airflow: StartAirflow, database: Database, slack: StandIns
) -> None:
    with start_airflow(NO_SCHEDULE) as api:
        api = replace(api, dag_id=USAGE)
        api.unpause()
        with psycopg.connect(database.dsn) as blocker:
            # `read_logs` reads this table.
            blocker.execute('LOCK TABLE "SYS_SystemLog" IN ACCESS EXCLUSIVE MODE')
            run_id = api.trigger(**CONF)
            for _ in range(TRIES):
                wait_for_blocked_statement(database)
                kill_tasks_of(database)
                end_waiting_statements(database)
            assert api.wait(run_id) == "failed"

        (message,) = slack.messages
        assert "バッチ実行失敗: BATCH-018-01" in message.text
        assert "エラー: 前段の read_logs が、理由を通知せずに終わりました" in message.text
        assert "read_logs を下流ごと消去（Clear）" in message.text

        # Cleared, it fails again, and the operators read of this attempt as well.
        with database.connect() as host:
            healthy = host_rows.break_settings_of(host, "T001")
        api.clear_task(run_id, "read_logs")
        assert api.wait(run_id) == "failed"
        assert len(slack.messages) == 2
        with database.connect() as host:
            host.execute(healthy.encode())
        api.clear_task(run_id, "read_logs")
        assert api.wait(run_id) == "success"
    with database.connect() as host:
        assert host.execute("SELECT status, attempt FROM batch.execution_log").fetchall() == [
            ("completed", 2)
        ]
        assert host.execute("SELECT alert_key FROM batch.operator_alert ORDER BY 1").fetchall() == [
            (f"failure:{USAGE}:{run_id}:BATCH-018-01:{attempt}",) for attempt in (0, 1)
        ]
