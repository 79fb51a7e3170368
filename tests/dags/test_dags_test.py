"""``airflow dags test``, as a developer types it: real processes, real PostgreSQL, a Slack that records."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import psycopg
import pytest

from include.demo.stand_ins import StandIns
from tests import host_rows
from tests.airflow_installation import AirflowInstallation, kill_group
from tests.conftest import Database, wait_for_blocked_statement

DAG_ID = "batch_018_01_tenant_usage"
FAMILY_DAG_ID = "batch_018_tenant_management"
RUN_DATE = "2026-11-01"
NOON = datetime(2026, 10, 31, 3, 0)


@pytest.fixture
def tenants(database: Database) -> list[str]:
    """Three tenants with a user, a request and a report each."""
    names = ["T001", "T002", "T003"]
    with database.connect() as host:
        for name in names:
            host_rows.tenant(host, name, tenant_name=f"㈱{name}")
            host_rows.user(host, name, f"user_{name}")
            host_rows.request(host, f"user_{name}", NOON)
            host_rows.report(host, name, NOON)
    return names


def log_of_runs(database: Database) -> list[tuple[str, date]]:
    """Status and business date of each logged run, oldest first."""
    with database.connect() as connection:
        return connection.execute(
            "SELECT status, business_date FROM batch.execution_log ORDER BY started_at"
        ).fetchall()


def counted_tenants(database: Database) -> list[str]:
    """The tenants that have a usage row."""
    with database.connect() as connection:
        rows = connection.execute('SELECT tenant_id FROM "SYS_TenantUsage" ORDER BY tenant_id').fetchall()
    return [tenant_id for (tenant_id,) in rows]


def test_a_run_counts_yesterday_and_exits_0(
    airflow: AirflowInstallation, database: Database, tenants: list[str], slack: StandIns
) -> None:
    done = airflow.with_connections(database, slack.slack_base_url).run("dags", "test", DAG_ID, RUN_DATE)

    assert done.returncode == 0, done.stdout
    assert log_of_runs(database) == [("completed", date(2026, 10, 31))]
    assert counted_tenants(database) == tenants
    assert slack.messages == []
    with database.connect() as connection:
        metric = connection.execute(
            "SELECT execution_seconds > 0, cpu_seconds > 0, peak_memory_bytes > 0, records_processed"
            " FROM batch.performance_metric"
        ).fetchone()
    assert metric == (True, True, True, 3)


@pytest.mark.usefixtures("tenants")
def test_a_broken_tenant_ends_in_partial_with_one_alert_that_names_it(
    airflow: AirflowInstallation, database: Database, slack: StandIns
) -> None:
    with database.connect() as host:
        host_rows.break_reports_of(host, "T002")

    done = airflow.with_connections(database, slack.slack_base_url).run("dags", "test", DAG_ID, RUN_DATE)

    assert done.returncode != 0
    assert log_of_runs(database) == [("partial", date(2026, 10, 31))]
    assert counted_tenants(database) == ["T001", "T003"]
    (message,) = slack.messages
    assert message.destination == "#night-duty"
    assert "バッチ実行失敗: BATCH-018-01" in message.text
    assert "T002 ㈱T002: 数値が扱える範囲を超えました（bigint out of range、SQLSTATE 22003）" in message.text
    assert "T001" not in message.text.replace("BATCH-018-01", "")


def test_a_kill_of_the_whole_tree_leaves_an_orphan_that_the_next_run_closes_and_completes(
    airflow: AirflowInstallation, database: Database, tenants: list[str], slack: StandIns, tmp_path: Path
) -> None:
    installation = airflow.with_connections(database, slack.slack_base_url)
    with psycopg.connect(database.dsn) as blocker:
        # The first tenant's step waits for this table, and so the run is in its middle.
        blocker.execute('LOCK TABLE "SYS_TenantUsage" IN ACCESS EXCLUSIVE MODE')
        process = installation.start("dags", "test", DAG_ID, RUN_DATE, log=tmp_path / "killed.log")
        wait_for_blocked_statement(database)
        kill_group(process)
    assert log_of_runs(database) == [("running", date(2026, 10, 31))]
    assert counted_tenants(database) == []

    done = installation.run("dags", "test", DAG_ID, RUN_DATE)

    assert done.returncode == 0, done.stdout
    assert [status for status, _ in log_of_runs(database)] == ["failed", "completed"]
    with database.connect() as connection:
        (orphan,) = connection.execute(
            "SELECT error_message FROM batch.execution_log WHERE status = 'failed'"
        ).fetchall()
    assert "孤立した実行" in orphan[0]
    assert counted_tenants(database) == tenants


def test_two_runs_of_one_day_at_once_end_with_one_set_of_rows(
    airflow: AirflowInstallation, database: Database, tenants: list[str], slack: StandIns, tmp_path: Path
) -> None:
    installation = airflow.with_connections(database, slack.slack_base_url)
    day = '"business_date": "2026-10-31"'
    confs = {DAG_ID: f"{{{day}}}", FAMILY_DAG_ID: f'{{{day}, "batches": ["BATCH-018-01"]}}'}
    processes = [
        installation.start("dags", "test", dag_id, RUN_DATE, "--conf", conf, log=tmp_path / f"{dag_id}.log")
        for dag_id, conf in confs.items()
    ]

    codes = [process.wait(timeout=120) for process in processes]

    assert codes == [0, 0], "\n".join(log.read_text() for log in tmp_path.glob("*.log"))
    assert log_of_runs(database) == [("completed", date(2026, 10, 31))] * 2
    with database.connect() as connection:
        assert connection.execute('SELECT count(*) FROM "SYS_TenantUsage"').fetchone() == (len(tenants),)
        assert connection.execute("SELECT count(*), max(revision) FROM batch.usage_day").fetchone() == (
            len(tenants),
            1,
        )


@pytest.mark.usefixtures("tenants")
def test_a_malformed_date_is_refused_before_anything_runs(
    airflow: AirflowInstallation, database: Database, slack: StandIns
) -> None:
    done = airflow.with_connections(database, slack.slack_base_url).run(
        "dags", "test", DAG_ID, RUN_DATE, "--conf", '{"business_date": "31.10.2026"}'
    )

    assert done.returncode != 0
    assert "Invalid input for param business_date: '31.10.2026' is not a 'date'" in done.stdout
    assert log_of_runs(database) == []
    assert counted_tenants(database) == []


@pytest.mark.usefixtures("tenants")
def test_an_unknown_tenant_code_is_named_in_one_alert_and_nothing_is_written(
    airflow: AirflowInstallation, database: Database, slack: StandIns
) -> None:
    done = airflow.with_connections(database, slack.slack_base_url).run(
        "dags", "test", DAG_ID, RUN_DATE, "--conf", '{"tenants": ["T001", "T9", "../../etc"]}'
    )

    assert done.returncode != 0
    (message,) = slack.messages
    assert "テナントコード 'T9'、'../../etc' は存在しません" in message.text
    assert log_of_runs(database) == []
    assert counted_tenants(database) == []


@pytest.mark.usefixtures("tenants")
def test_a_missing_host_column_is_named_in_one_alert_and_nothing_is_written(
    airflow: AirflowInstallation, database: Database, slack: StandIns
) -> None:
    with database.connect() as host:
        host.execute('ALTER TABLE "SYS_SystemLog" RENAME COLUMN response_time TO duration')

    done = airflow.with_connections(database, slack.slack_base_url).run("dags", "test", DAG_ID, RUN_DATE)

    assert done.returncode != 0
    (message,) = slack.messages
    assert '列 "SYS_SystemLog"."response_time" がない' in message.text
    assert log_of_runs(database) == []


@pytest.mark.usefixtures("tenants")
def test_a_log_that_cannot_be_read_at_all_fails_the_run_with_one_alert_that_says_why(
    airflow: AirflowInstallation, database: Database, slack: StandIns
) -> None:
    with database.connect() as host:
        host.execute("REVOKE SELECT ON batch.all_api_request FROM batch_platform")

    done = airflow.with_connections(database, slack.slack_base_url).run("dags", "test", DAG_ID, RUN_DATE)

    assert done.returncode != 0
    (message,) = slack.messages
    assert "permission denied for view all_api_request" in message.text
    assert "prepare を下流ごと消去（Clear）" in message.text
    assert log_of_runs(database) == [("failed", date(2026, 10, 31))]
    assert counted_tenants(database) == []


@pytest.mark.usefixtures("tenants")
def test_a_missing_connection_is_named_in_one_alert(
    airflow: AirflowInstallation, database: Database, slack: StandIns
) -> None:
    environment = airflow.with_connections(database, slack.slack_base_url).environment
    del environment["AIRFLOW_CONN_BATCH_PLATFORM_DB"]

    done = AirflowInstallation(environment).run("dags", "test", DAG_ID, RUN_DATE)

    assert done.returncode != 0
    (message,) = slack.messages
    assert "Airflow の接続 'batch_platform_db' が定義されていません" in message.text


@pytest.mark.usefixtures("tenants")
def test_a_database_that_is_down_is_tried_three_times_and_then_named_in_one_alert(
    airflow: AirflowInstallation, database: Database, slack: StandIns, unused_port: int
) -> None:
    environment = airflow.with_connections(database, slack.slack_base_url).environment
    down = f"postgres://batch_platform:x@127.0.0.1:{unused_port}/{database.name}"

    done = AirflowInstallation(environment | {"AIRFLOW_CONN_BATCH_PLATFORM_DB": down}).run(
        "dags", "test", DAG_ID, RUN_DATE
    )

    assert done.returncode != 0
    assert done.stdout.count("starting task_id=open_run") == 3
    (message,) = slack.messages
    assert f"PostgreSQL 127.0.0.1:{unused_port} に接続できません（接続 'batch_platform_db'）" in message.text
    assert counted_tenants(database) == []


def test_a_host_without_tenants_in_use_is_no_failure(
    airflow: AirflowInstallation, database: Database, slack: StandIns
) -> None:
    with database.connect() as host:
        host_rows.tenant(host, "T001", status="SUSPENDED")

    done = airflow.with_connections(database, slack.slack_base_url).run("dags", "test", DAG_ID, RUN_DATE)

    assert done.returncode == 0, done.stdout
    assert log_of_runs(database) == [("completed", date(2026, 10, 31))]


@pytest.mark.usefixtures("tenants")
def test_the_familys_dag_skips_what_was_not_chosen(
    airflow: AirflowInstallation, database: Database, slack: StandIns
) -> None:
    done = airflow.with_connections(database, slack.slack_base_url).run(
        "dags", "test", FAMILY_DAG_ID, RUN_DATE, "--conf", '{"batches": []}'
    )

    assert done.returncode == 0, done.stdout
    assert log_of_runs(database) == []
    assert slack.messages == []
