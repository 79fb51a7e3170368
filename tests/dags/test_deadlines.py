"""Deadlines in a whole Airflow: late and slow runs are reported once, while they run, whatever is killed. Good runs send no alert."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from include.skillreport.core.execution.business_date import JAPAN
from local_stack.stand_ins import StandIns
from local_stack.stand_ins.recorder import Arrived
from tests.airflow_installation import AirflowInstallation
from tests.conftest import Database, Server, administer, wait_for_blocked_statement
from tests.dags.running_airflow import ALERT_SECONDS, Api, copy_run, forget_runs, running_airflow, wait_until
from tests.worlds import host_rows

USAGE = "batch_018_01_tenant_usage"
CONF = {"business_date": "2026-10-31"}
DEADLINE_SECONDS = 15
# Of a run that has to fail, and to be cleared, before its deadline passes, on a busy machine too.
DISTANT_SECONDS = 60
USUAL_SECONDS = 22
SLOW_SECONDS = 1.5 * USUAL_SECONDS
LATE, SLOW = "バッチ制限時間超過: BATCH-018-01", "バッチ性能低下: BATCH-018-01"

# The batch's own DAG; its deadline is shortened once it has run. The tasks keep their time limit, so that a late run goes on.
DAG_FILE = f"""
from dataclasses import replace
from datetime import timedelta

from airflow.sdk import DAG

from skill_batch.dag_factory import batch_dag
from skill_batch.deadlines import deadlines_of
from include.skillreport.core.catalog import TENANT_USAGE

# Twelve hours from now: no run of the schedule's own may come in between.
SPEC = replace(TENANT_USAGE, cron="30 %(hour)d * * *")

{USAGE}: DAG = batch_dag(SPEC, file=__file__)
{USAGE}.deadline = deadlines_of(SPEC.id, SPEC.name, SPEC.run_severity.name, timedelta(hours=1))
{USAGE}.description = None
"""


@pytest.fixture
def folder(tmp_path: Path, database: Database) -> Path:
    """A DAG folder of the test's own; one tenant is there."""
    with database.connect() as host:
        host_rows.tenant(host, "T001", subscription_plan="BASIC")
    dags = tmp_path / "dags"
    dags.mkdir()
    far_away = (datetime.now(JAPAN) + timedelta(hours=12)).hour
    (dags / f"{USAGE}.py").write_text(DAG_FILE % {"hour": far_away}, encoding="utf-8")
    return tmp_path


@contextmanager
def blocked(database: Database) -> Iterator[None]:
    """The lock prevents writes to the usage until the end of the block."""
    with psycopg.connect(database.dsn) as blocker:
        block(blocker)
        yield
        blocker.rollback()


def kill_and_restart(server: Server, after_seconds: float) -> None:
    """``kill -9`` PostgreSQL; an external server is left alone."""
    if server.postgres:
        # Without synchronous commits, it would lose rows that a server of production has written.
        administer(server, "CHECKPOINT")
        pid = (server.postgres.directory / "data" / "postmaster.pid").read_text().splitlines()[0]
        os.kill(int(pid), signal.SIGKILL)
    time.sleep(after_seconds)
    if server.postgres:
        server.postgres.start()


def block(blocker: psycopg.Connection) -> None:
    blocker.execute('LOCK TABLE "SYS_TenantUsage" IN ACCESS EXCLUSIVE MODE')


def wait_until_blocked(api: Api, run_id: str, database: Database) -> None:
    """Until the run's own work waits for the lock."""
    wait_until(
        lambda: (
            ("aggregate_usage", "running") in {(ti["task_id"], ti["state"]) for ti in api.instances(run_id)}
        )
    )
    wait_for_blocked_statement(database)


def told(slack: StandIns, title: str) -> list[Arrived]:
    return [message for message in slack.messages if message.text.startswith(title)]


def remember_runs(metadata: str, database: Database, seconds: int) -> None:
    """Five earlier runs with this duration, copied from an existing one, for Airflow and for the execution log."""
    now = datetime.now(UTC)
    for day in range(1, 6):
        began_at = now - timedelta(days=day)
        copy_run(metadata, USAGE, f"earlier_{day}", began_at, ended_at=began_at + timedelta(seconds=seconds))
    with database.connect("batch_platform") as platform:
        platform.execute(
            """
            INSERT INTO batch.performance_metric (
                execution_id, batch_id, run_id, business_date, execution_seconds, cpu_seconds, peak_memory_bytes, records_processed,
                is_comparable
            )
            SELECT 'earlier_' || day, 'BATCH-018-01', 'earlier_' || day, '2026-10-31', %s, 1, 1, 1, true
            FROM generate_series(1, 5) AS day
            """,
            [seconds],
        )
        platform.execute(
            "UPDATE batch.performance_metric SET is_comparable = false WHERE execution_id NOT LIKE 'earlier%'"
        )


@pytest.mark.long
@pytest.mark.exclusive
def test_late_and_slow_runs_are_reported_once_despite_kills(
    airflow: AirflowInstallation,
    migrated_metadata: str,
    server: Server,
    database: Database,
    slack: StandIns,
    folder: Path,
    unused_port: int,
) -> None:
    start = partial(
        running_airflow,
        airflow,
        database,
        slack,
        folder,
        unused_port,
        {
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "2",
            "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "1",
        },
    )
    forget_runs(migrated_metadata)
    with start() as api:
        api = replace(api, dag_id=USAGE)
        api.unpause()
        assert api.wait(api.trigger(**CONF)) == "success"
        api.rest()
        assert slack.messages == []  # a success sends no alert

        _edit(api, folder, "hours=1", f"seconds={DEADLINE_SECONDS}")
        remember_runs(migrated_metadata, database, seconds=USUAL_SECONDS)
        with blocked(database):
            run_id = api.trigger(**CONF)
            wait_until_blocked(api, run_id, database)
            wait_until(lambda: told(slack, LATE))
            assert api.state(run_id) == "running"
            # One deadline has passed, and the other one is pending: clearing works.
            api.clear(run_id, "T001")
            wait_until_blocked(api, run_id, database)
            wait_until(lambda: told(slack, SLOW))
            assert api.state(run_id) == "running"
        assert api.wait(run_id) == "success"

        # Something else: the deadlines stay as they are, and have to work in the DAG's new version.
        _edit(api, folder, "description = None", "description = 'edited'")
        blocker = psycopg.connect(database.dsn)
        block(blocker)
        killed = api.trigger(**CONF)
        wait_until_blocked(api, killed, database)
    # Scheduler, triggerer and worker were killed while it ran, and now the database. The deadline passes during the outage.
    kill_and_restart(server, after_seconds=DEADLINE_SECONDS)
    with start() as api:
        api = replace(api, dag_id=USAGE)
        wait_until(lambda: len(told(slack, LATE)) == 2)
        assert api.wait(killed) == "success", api.states(killed)

        with database.connect() as host:
            host_rows.report(host, "T001", datetime(2026, 10, 31, 3, 0))
            mend = host_rows.break_settings_of(host, "T001")
        failed = _a_failed_run_is_told_once_and_its_deadlines_say_nothing(api, slack)
        _edit(api, folder, f"seconds={DEADLINE_SECONDS}", f"seconds={DISTANT_SECONDS}")
        cleared = _a_failed_run_that_is_cleared_has_its_time_again(api, database, slack, mend)

    late_runs = [run_of(message) for message in told(slack, LATE)]
    assert [run for run in late_runs if run != failed] == [run_id, killed, cleared]
    late = told(slack, LATE)[0]
    (slow,) = (message for message in told(slack, SLOW) if run_of(message) == run_id)
    for message in (late, slow):
        assert (
            f"実行を開く: http://127.0.0.1:{unused_port}/dags/{USAGE}/runs/{quote(run_id, safe='')}"
            in message.text
        )
    assert "（制限時間 15.0秒）" in late.text
    assert "平均: 22.0秒（直近 5 回の成功した実行）" in slow.text
    with database.connect() as host:
        assert host.execute(
            "SELECT run_id, status FROM batch.execution_log WHERE run_id = ANY (%s) ORDER BY started_at",
            [[run_id, killed]],
        ).fetchall() == [(run_id, "completed"), (killed, "completed")]


def run_of(message: Arrived) -> str:
    """The run that an alert is about."""
    (line,) = (line for line in message.text.splitlines() if line.startswith("実行ID: "))
    return line.removeprefix("実行ID: ")


def _edit(api: Api, folder: Path, before: str, after: str) -> None:
    """Change the DAG's file, and wait until Airflow has the new version."""
    path = f"/api/v2/dags/{USAGE}/dagVersions"
    versions = api.call("GET", path)["total_entries"]
    file = folder / "dags" / f"{USAGE}.py"
    file.write_text(file.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    wait_until(lambda: api.call("GET", path)["total_entries"] > versions)


def _a_failed_run_is_told_once_and_its_deadlines_say_nothing(api: Api, slack: StandIns) -> str:
    before = len(slack.messages)
    run_id = api.trigger(**CONF)
    assert api.wait(run_id) == "failed"
    time.sleep(DEADLINE_SECONDS + 5)
    message, *others = sorted(
        slack.messages[before:], key=lambda message: message.text.startswith((LATE, SLOW))
    )
    assert message.text.startswith("バッチ実行失敗: BATCH-018-01")
    assert "T001" in message.text
    # On a busy machine it fails after its deadlines. Then the alert may have been sent before.
    assert len(others) <= sum(api.seconds(run_id) > deadline for deadline in (DEADLINE_SECONDS, SLOW_SECONDS))
    return run_id


def _a_failed_run_that_is_cleared_has_its_time_again(
    api: Api, database: Database, slack: StandIns, mend: str
) -> str:
    run_id = api.trigger(**CONF)
    assert api.wait(run_id) == "failed"
    with database.connect() as host:
        host.execute(mend.encode())
    with blocked(database):
        api.clear(run_id, "T001")
        wait_until_blocked(api, run_id, database)
        assert run_id not in map(run_of, told(slack, LATE))
        wait_until(lambda: run_id in map(run_of, told(slack, LATE)), DISTANT_SECONDS + ALERT_SECONDS)
        assert api.state(run_id) == "running"
    assert api.wait(run_id) == "success"
    return run_id


PLAIN_DEADLINE = """
from datetime import timedelta

from airflow.sdk import DAG, task
from skill_batch.deadlines import late_deadline

with DAG("plain", deadline=late_deadline("X", "X", "HIGH", timedelta(hours=1))):

    @task
    def succeed() -> None:
        pass

    succeed()
"""


@pytest.mark.long
@pytest.mark.exclusive
def test_airflow_still_needs_our_dag_class_to_test_deadlines(
    airflow: AirflowInstallation, tmp_path: Path
) -> None:
    """If this test fails, Airflow is fixed, and ``BatchDag`` can be deleted."""
    (tmp_path / "plain.py").write_text(PLAIN_DEADLINE, encoding="utf-8")
    installation = AirflowInstallation(airflow.environment | {"AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path)})
    tested = installation.run("dags", "test", "plain")
    assert tested.returncode == 1
    assert "deadline_alert" in tested.stdout, tested.stdout[-3000:]
