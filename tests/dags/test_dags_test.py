"""``airflow dags test`` as a developer types it: processes that are killed, that run at the same time, and their exit codes."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import psycopg
import pytest

from local_stack.airflow_processes import AirflowProcesses
from local_stack.stand_ins import StandIns
from tests.airflow_installation import AirflowInstallation, folder_of_dags
from tests.conftest import Database, wait_for_blocked_statement
from tests.dags.dag_runs import log_of_runs
from tests.worlds import host_rows

DAG_ID = "batch_018_01_tenant_usage"
FAMILY_DAG_ID = "batch_018_tenant_management"
RUN_DATE = "2026-11-01"
TENANTS = ["T001", "T002", "T003"]


@pytest.fixture
def installation(
    airflow: AirflowInstallation, database: Database, slack: StandIns, tmp_path: Path
) -> AirflowInstallation:
    """Airflow with this test's database and Slack, and three tenants with a report each."""
    with database.connect() as host:
        for name in TENANTS:
            host_rows.tenant(host, name)
            host_rows.report(host, name, datetime(2026, 10, 31, 3, 0))
    installation = airflow.with_connections(database, slack.slack_base_url)
    installation.environment.update(folder_of_dags(tmp_path / "dags", DAG_ID))
    return installation


@pytest.mark.exclusive
@pytest.mark.long
def test_after_a_kill_two_concurrent_runs_leave_one_set_of_rows(
    installation: AirflowInstallation, database: Database, slack: StandIns, tmp_path: Path
) -> None:
    installation.environment.update(folder_of_dags(tmp_path / "both", DAG_ID, FAMILY_DAG_ID))
    day = date(2026, 10, 31)
    confs = {
        DAG_ID: f'{{"business_date": "{day}"}}',
        FAMILY_DAG_ID: f'{{"business_date": "{day}", "batches": ["BATCH-018-01"]}}',
    }
    commands = {dag_id: ["dags", "test", dag_id, RUN_DATE, "--conf", conf] for dag_id, conf in confs.items()}
    commands["killed"] = ["dags", "test", DAG_ID, RUN_DATE]
    runs = AirflowProcesses(installation.environment, tmp_path, commands=commands)
    with psycopg.connect(database.dsn) as blocker:
        # The first tenant's step waits for this table, and so the run is in its middle.
        blocker.execute('LOCK TABLE "SYS_TenantUsage" IN ACCESS EXCLUSIVE MODE')
        runs.start("killed")
        wait_for_blocked_statement(database)
        runs.kill("killed")
    assert log_of_runs(database) == [("running", day)]

    for dag_id in confs:
        runs.start(dag_id)
    codes = [process.wait() for process in runs.processes.values()]

    assert codes == [0, 0], "\n".join(log.read_text() for log in tmp_path.glob("*.log"))
    assert log_of_runs(database) == [("failed", day), ("completed", day), ("completed", day)]
    assert slack.messages == []
    with database.connect() as connection:
        (orphan,) = connection.execute(
            "SELECT error_message FROM batch.execution_log WHERE status = 'failed'"
        ).fetchall()
        assert "孤立した実行" in orphan[0]
        assert connection.execute(
            'SELECT tenant_id FROM "SYS_TenantUsage" ORDER BY tenant_id'
        ).fetchall() == [(name,) for name in TENANTS]
        assert connection.execute("SELECT count(*), max(revision) FROM batch.usage_day").fetchone() == (3, 1)


@pytest.mark.exclusive
def test_a_family_that_failed_exits_with_1_and_says_why(
    installation: AirflowInstallation, database: Database, slack: StandIns, tmp_path: Path
) -> None:
    installation.environment.update(folder_of_dags(tmp_path / "family", FAMILY_DAG_ID))
    with database.connect() as host:
        host_rows.break_settings_of(host, "T002")

    conf = '{"business_date": "2026-10-31", "batches": ["BATCH-018-01"]}'
    done = installation.run("dags", "test", FAMILY_DAG_ID, RUN_DATE, "--conf", conf)

    assert done.returncode == 1
    assert "T002: 数値が扱える範囲を超えました（bigint out of range、SQLSTATE 22003）" in done.stdout
    assert "Callback failed" not in done.stdout
    assert log_of_runs(database) == [("partial", date(2026, 10, 31))]
    assert len(slack.messages) == 1
