"""A whole Airflow of the tests' own (scheduler, triggerer, DAG processor, API server, LocalExecutor), and its REST API."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psutil
from psycopg import sql

from include.skillreport.core.operation_catalog import APPROVE_CONTRACTS, APPROVE_INVOICES
from local_stack.airflow_processes import API_SERVER, AirflowProcesses
from local_stack.stand_ins import StandIns
from tests.airflow_installation import AirflowInstallation, connect_metadata, smtp_connection
from tests.conftest import Database

# Only reached by a test that fails.
RUN_SECONDS = 300

# Only the runs that the test starts: the schedule must start none in between.
NO_SCHEDULE = {"AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False"}

# The user as whom the simple auth manager lets every visitor in.
ADMIN = "Anonymous"

ALERT_SECONDS = 120

USAGE = "batch_018_01_tenant_usage"

CONF = {"business_date": "2026-10-31"}

# One try and two retries.
TRIES = 3

# The approvals in which the author of an entry may confirm it alone.
_CONFIRMED = (APPROVE_CONTRACTS.dag_id, APPROVE_INVOICES.dag_id)


@dataclass
class Api:
    """Airflow's REST API, as the UI uses it."""

    url: str
    token: str = ""
    dag_id: str = ""
    airflow: AirflowProcesses = field(default_factory=lambda: AirflowProcesses({}, Path()), repr=False)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the tests' own server
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=RUN_SECONDS) as answer:  # noqa: S310
            return json.loads(answer.read() or b"null")

    def printed(self) -> str:
        """What Airflow's processes have printed."""
        return "".join(self.airflow.log(name).read_text(errors="replace") for name in self.airflow.processes)

    def logged(self) -> str:
        """What they have printed, and the logs of the tasks and of the callbacks."""
        logs = Path(self.airflow.environment["AIRFLOW_HOME"], "logs").rglob("*.log")
        return "".join([self.printed(), *(log.read_text(errors="replace") for log in logs)])

    @contextmanager
    def server_away(self) -> Iterator[None]:
        """The API server is killed for the length of the block, and started again; the other processes go on."""
        self.airflow.kill(API_SERVER)
        try:
            yield
        finally:
            self.airflow.start(API_SERVER)
            wait_for_api(self.url, self.airflow.log(API_SERVER))

    def unpause(self) -> None:
        """As soon as the DAG is there. Also starts the latest scheduled run that was missed."""
        self._call_when_known("PATCH", "", {"is_paused": False})

    def wait_until_parsed(self, since: datetime) -> None:
        """Until the DAG processor that started after ``since`` (aware) has parsed the DAG. Before that, it takes the DAG for deleted."""
        deadline = time.monotonic() + RUN_SECONDS
        while time.monotonic() < deadline:
            parsed = self._call_when_known("GET", "", None)["last_parsed_time"]
            if parsed and datetime.fromisoformat(parsed) > since:
                return
            time.sleep(0.5)
        raise AssertionError(f"{self.dag_id} is not parsed")

    def _call_when_known(self, method: str, path: str, body: Any) -> Any:
        """Call about the DAG. A new DAG processor has not parsed it yet, or takes it for deleted until then."""
        deadline = time.monotonic() + RUN_SECONDS
        while True:
            try:
                return self.call(method, f"/api/v2/dags/{self.dag_id}{path}", body)
            except urllib.error.HTTPError as error:
                if error.code != HTTPStatus.NOT_FOUND or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def rest(self) -> None:
        """Start the scheduled run that was missed, and wait until it and all others have ended. Once for a DAG: then none is missed."""
        self.unpause()
        deadline = time.monotonic() + RUN_SECONDS
        while time.monotonic() < deadline:
            runs = self.call("GET", f"/api/v2/dags/{self.dag_id}/dagRuns")["dag_runs"]
            scheduled = any(run["run_type"] == "scheduled" for run in runs)
            if scheduled and all(run["state"] in ("success", "failed") for run in runs):
                return
            time.sleep(0.5)
        raise AssertionError(f"{self.dag_id} does not come to rest")

    def trigger(self, **conf: Any) -> str:
        body = {"logical_date": None, "conf": conf}
        return str(self._call_when_known("POST", "/dagRuns", body)["dag_run_id"])

    def state(self, run_id: str) -> str:
        return str(self.call("GET", f"/api/v2/dags/{self.dag_id}/dagRuns/{quote(run_id)}")["state"])

    def seconds(self, run_id: str) -> float:
        """How long the run took from the queue to its end."""
        run = self.call("GET", f"/api/v2/dags/{self.dag_id}/dagRuns/{quote(run_id)}")
        began, ended = (datetime.fromisoformat(run[name]) for name in ("queued_at", "end_date"))
        return (ended - began).total_seconds()

    def wait(self, run_id: str) -> str:
        """The run's final state."""
        deadline = time.monotonic() + RUN_SECONDS
        while time.monotonic() < deadline:
            state = self.state(run_id)
            if state in ("success", "failed"):
                return str(state)
            time.sleep(0.5)
        raise AssertionError(f"{run_id} did not end within {RUN_SECONDS} s")

    def instances(self, run_id: str) -> list[dict[str, Any]]:
        path = f"/api/v2/dags/{self.dag_id}/dagRuns/{quote(run_id)}/taskInstances"
        return list(self.call("GET", path)["task_instances"])

    def states(self, run_id: str) -> dict[str, str]:
        """State by task, mapped instances under the name that the UI shows."""
        return {ti["rendered_map_index"] or ti["task_id"]: ti["state"] for ti in self.instances(run_id)}

    def clear(self, run_id: str, tenant_code: str) -> None:
        """Clear one tenant's instance with downstream, like an operator. An instance that still runs has only its index."""
        instances = [ti for ti in self.instances(run_id) if ti["map_index"] >= 0]
        ((task_id, index),) = (
            (ti["task_id"], ti["map_index"])
            for ti in instances
            if ti["rendered_map_index"] == tenant_code or (ti["state"] == "running" and len(instances) == 1)
        )
        self._clear(run_id, [task_id, index])

    def clear_task(self, run_id: str, task_id: str) -> None:
        """Clear a task that is not mapped, with downstream."""
        self._clear(run_id, task_id)

    def define_connection(self, conn_id: str, uri: str, *, port: int) -> None:
        """Store a connection in Airflow's database, with another port than the URI's."""
        url = urlsplit(uri)
        self.call(
            "POST",
            "/api/v2/connections",
            {
                "connection_id": conn_id,
                "conn_type": url.scheme,
                "host": url.hostname,
                "port": port,
                "login": url.username,
                "password": url.password,
                "schema": url.path.strip("/"),
            },
        )

    def _clear(self, run_id: str, task: object) -> None:
        self.call(
            "POST",
            f"/api/v2/dags/{self.dag_id}/clearTaskInstances",
            {
                "dag_run_id": run_id,
                "task_ids": [task],
                "include_downstream": True,
                "only_failed": False,
                "dry_run": False,
            },
        )


StartAirflow = Callable[[Mapping[str, str]], AbstractContextManager[Api]]
"""The fixture ``start_airflow``: takes environment variables."""


def kill_tasks_of(database: Database, waiting_for: str = "Lock") -> None:
    """``kill -9`` the processes whose connections wait for a lock, or for the next statement of the client."""
    with database.connect() as connection:
        ports = {
            port
            for (port,) in connection.execute(
                "SELECT client_port FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = %s",
                [waiting_for],
            )
        }
    pids = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.laddr and connection.laddr.port in ports and connection.pid not in (None, os.getpid())
    }
    clients = [pid for pid in pids if not psutil.Process(pid).name().startswith("postgres")]
    assert clients
    for pid in clients:
        os.kill(pid, signal.SIGKILL)


def forget_runs(metadata_url: str) -> None:
    """Delete the runs that other tests have left in Airflow, and pause all DAGs: a scheduler would run them in this test's database."""
    with connect_metadata(metadata_url) as airflow:
        airflow.execute("UPDATE dag SET is_paused = true")
        airflow.execute("DELETE FROM dag_run")


def unpause_all(metadata_url: str) -> None:
    """Let all DAGs run that another test has stored or paused."""
    with connect_metadata(metadata_url) as airflow:
        airflow.execute("UPDATE dag SET is_paused = false")


def forget_connections(metadata_url: str) -> None:
    """Delete the connections that a test has stored in Airflow's database."""
    with connect_metadata(metadata_url) as airflow:
        airflow.execute("DELETE FROM connection")


def copy_run(
    metadata_url: str,
    dag_id: str,
    run_id: str,
    logical_date: datetime,
    *,
    ended_at: datetime | None = None,
    like: str | None = None,
) -> None:
    """Insert a successful run of the DAG into Airflow's tables, copied from an existing one (of the DAG ``like``)."""
    with connect_metadata(metadata_url) as airflow:
        changed = ("id", "dag_id", "run_id", "logical_date", "start_date", "end_date", "conf", "clear_number")
        columns = [
            column
            for (column,) in airflow.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = 'dag_run' AND column_name <> ALL (%s)",
                [list(changed)],
            )
        ]
        airflow.execute(
            sql.SQL(
                """
                INSERT INTO dag_run (dag_id, run_id, logical_date, start_date, end_date, conf, clear_number, {names})
                SELECT %s, %s, %s, %s, %s, '{{}}', 0, {names} FROM dag_run WHERE dag_id = %s AND state = 'success'
                LIMIT 1
                """
            ).format(names=sql.SQL(", ").join(map(sql.Identifier, columns))),
            [dag_id, run_id, logical_date, logical_date, ended_at or logical_date, like or dag_id],
        )


@contextmanager
def running_airflow(
    airflow: AirflowInstallation,
    database: Database,
    services: StandIns,
    folder: Path,
    port: int,
    variables: Mapping[str, str] | None = None,
    *,
    stored_connections: bool = False,
    login: tuple[str, str] | None = None,
    prefix: str = "",
) -> Iterator[Api]:
    """Airflow's processes, as `make up` starts them, until the end of the block, where they are killed with all that they started.

    ``variables`` are further environment variables. With ``stored_connections`` those of the database are left to the test. ``login`` is
    the user and the password of the API, where not every visitor is an administrator. ``prefix`` is the path of its base URL.
    """
    installation = airflow.with_connections(database, services.slack_base_url)
    if stored_connections:
        for role in ("TENANT", "PLATFORM"):
            del installation.environment[f"AIRFLOW_CONN_SKILL_BATCH_{role}_DB"]
    installation.environment.update(
        {
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL": f"file://{folder / 'storage'}",
            "AIRFLOW_VAR_SKILL_BATCH_UPLOAD_URL": f"file://{folder / 'storage'}",
            "AIRFLOW_VAR_SKILL_BATCH_ALLOWED_HOSTS": ",".join(services.allowed_hosts),
            "AIRFLOW_CONN_SKILL_BATCH_SMTP": smtp_connection(services),
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
            # A killed worker's task is noticed after this many seconds without a heartbeat (by default 300).
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            # A killed scheduler's tasks go over to the next one, if this many seconds apart a look finds them (by default 300). A scheduler
            # counts as killed after 30 s without a heartbeat. With less, a slow scheduler takes its own tasks away from itself.
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
        }
        | dict(variables or {})
    )
    processes = AirflowProcesses(installation.environment, folder)
    try:
        for name in processes.commands:
            processes.start(name)
        api = wait_for_api(f"http://127.0.0.1:{port}{prefix}", processes.log(API_SERVER), login)
        yield replace(api, airflow=processes)
    finally:
        processes.kill_all()


def wait_for_api(url: str, log: Path, login: tuple[str, str] | None = None) -> Api:
    """Until the API server answers. ``login`` as in ``running_airflow``."""
    api = Api(url)
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        try:
            named = {"username": login[0], "password": login[1]} if login else None
            api.token = api.call("POST" if login else "GET", "/auth/token", named)["access_token"]
            return api
        except (urllib.error.URLError, OSError, ValueError):
            time.sleep(1)
    raise AssertionError(f"Airflow did not come up: {log.read_text()[-3000:]}")


def open_request(api: Api, run_id: str, attempt: int = 1) -> dict[str, Any]:
    """The open request of the run, once its task waits and the scheduler has recorded this.

    If a task is resumed earlier, within a second, Airflow treats it as killed and runs it again.
    """
    path = f"/api/v2/dags/{api.dag_id}/dagRuns/{quote(run_id)}/hitlDetails?response_received=false"
    parked = re.compile(
        rf"TaskInstance Finished: .*task_id=ask, run_id={re.escape(run_id)}, .*try_number={attempt}, "
    )
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        found = api.call("GET", path)["hitl_details"]
        if found and parked.search(api.printed()):
            return dict(found[0])
        time.sleep(0.3)
    raise AssertionError(f"{run_id} asks nobody")


def answer_request(api: Api, run_id: str, option: str, **fields: Any) -> None:
    path = f"/api/v2/dags/{api.dag_id}/dagRuns/{quote(run_id)}/taskInstances/ask/-1/hitlDetails"
    # Airflow accepts only the fields of the request, and needs all of them.
    entered: dict[str, Any] = {} if "hours" in fields else {"tenants": []}
    if api.dag_id in _CONFIRMED:
        entered["confirmed"] = []
    entered |= {"note": ""} | fields
    api.call("PATCH", path, {"chosen_options": [option], "params_input": entered})


def wait_until(happened: Callable[[], object], seconds: float = ALERT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"nothing within {seconds} s"
        time.sleep(0.5)


def end_waiting_statements(database: Database) -> None:
    """Those whose client is gone: a backend that waits for a lock does not notice."""
    with database.connect() as connection:
        connection.execute(
            """
            SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'
            """
        )
