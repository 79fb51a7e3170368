"""BATCH-018-01 as ``airflow dags test`` runs it: real PostgreSQL, a Slack that records."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest
from airflow.sdk import get_current_context
from airflow.sdk.exceptions import ParamValidationError

from skill_batch.batch_flow import BatchFlow
from skill_batch.notifiers.failure_alert import batch_of_key
from include.skillreport.batches.tenant_usage.batch import TenantUsageBatch
from include.skillreport.core.catalog import TENANT_USAGE
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.failure_kinds import kind_of
from include.skillreport.schema.deploy import detach
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.dags.dag_runs import DagRuns, log_of_runs
from tests.worlds import host_rows

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


def counted_tenants(database: Database) -> list[str]:
    """The tenants that have a usage row."""
    with database.connect() as connection:
        rows = connection.execute('SELECT tenant_id FROM "SYS_TenantUsage" ORDER BY tenant_id').fetchall()
    return [tenant_id for (tenant_id,) in rows]


def usage_days(database: Database) -> list[tuple[Any, ...]]:
    """The closed days."""
    with database.connect() as connection:
        return connection.execute("SELECT * FROM batch.usage_day ORDER BY tenant_id").fetchall()


def test_a_run_counts_yesterday_and_exits_0(
    runs: DagRuns, database: Database, tenants: list[str], slack: StandIns
) -> None:
    runs.post_results_to(slack)

    done = runs.test(DAG_ID, RUN_DATE)

    assert done.state == "success"
    assert log_of_runs(database) == [("completed", date(2026, 10, 31))]
    assert counted_tenants(database) == tenants
    (message,) = slack.messages
    result = message.rich
    assert (message.channel, result["type"], result["status"]) == ("alerts", "result", "completed")
    assert (result["run_id"], result["total_tenants"], result["success_count"]) == (done.run_id, 3, 3)
    with database.connect() as connection:
        metric = connection.execute(
            "SELECT execution_seconds > 0, cpu_seconds > 0, peak_memory_bytes > 0, records_processed"
            " FROM batch.performance_metric"
        ).fetchone()
    assert metric == (True, True, True, 3)


def test_a_tenant_code_that_is_longer_than_airflows_label_is_cut(runs: DagRuns, database: Database) -> None:
    with database.connect() as host:
        host_rows.tenant(host, "T001", tenant_code="長" * 300)

    done = runs.test(DAG_ID, RUN_DATE)

    assert done.state == "success"
    labels = runs.metadata.execute(
        "SELECT rendered_map_index FROM task_instance WHERE run_id = %s AND map_index >= 0", [done.run_id]
    ).fetchall()
    assert labels == [("長" * 99 + "…",)]


@pytest.mark.slow("runs whole DAGs")
@pytest.mark.own_database
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("is_cleared", [False, True])
def test_connections_that_were_used_up_in_all_attempts_are_the_reason(
    runs: DagRuns,
    database: Database,
    tenants: list[str],
    slack: StandIns,
    monkeypatch: pytest.MonkeyPatch,
    is_cleared: bool,
) -> None:
    """No attempt can record its failure. ``close_run`` can, because the server is back."""
    process = BatchFlow._process
    limit = "ALTER ROLE batch_platform CONNECTION LIMIT {}"

    def without_connections(*arguments: Any) -> dict[str, int]:
        with database.connect() as admin:
            if is_cleared:  # an earlier attempt has succeeded
                admin.execute("UPDATE batch.tenant_outcome SET status = 'success'")
            admin.execute(limit.format(0).encode())
            try:
                return process(*arguments)
            finally:
                admin.execute(limit.format(-1).encode())

    monkeypatch.setattr(BatchFlow, "_process", without_connections)
    done = runs.test(DAG_ID, RUN_DATE)

    assert done.state == "failed"
    (message,) = slack.messages
    lines = message.text.splitlines()
    reason = "too many connections for role"
    if is_cleared:
        assert reason in lines[1]
    else:
        assert [reason in line for line in lines if line.startswith("• ")] == [True] * len(tenants)
    assert kind_of(TENANT_USAGE, "DatabaseUnavailableError").action in message.text
    assert "強制終了" not in message.text


@pytest.mark.own_database
def test_an_instance_that_fails_after_its_work_is_named_with_its_log(
    runs: DagRuns, database: Database, tenants: list[str], slack: StandIns
) -> None:
    with database.connect() as host:
        host.execute(
            """
            CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''the disk is full''; END';
            CREATE TRIGGER fails BEFORE INSERT ON batch.task_metric
            FOR EACH ROW WHEN (new.map_index = 1) EXECUTE FUNCTION fails()
            """
        )

    done = runs.test(DAG_ID, RUN_DATE)

    assert done.state == "failed"
    assert counted_tenants(database) == tenants
    (message,) = slack.messages
    assert "エラー: aggregate_usage [T002] が失敗しました。テナントの結果は成功です" in message.text
    assert "この実行の aggregate_usage [T002] を下流ごと消去（Clear）" in message.text
    assert "/tasks/aggregate_usage/mapped/1\n" in message.text
    assert "close_run" not in message.text


@pytest.mark.own_database
@pytest.mark.usefixtures("tenants")
def test_a_broken_tenant_ends_in_partial_with_one_alert_that_names_it(
    runs: DagRuns, database: Database, slack: StandIns
) -> None:
    with database.connect() as host:
        host_rows.break_settings_of(host, "T002")

    done = runs.test(DAG_ID, RUN_DATE)

    assert done.state == "failed"
    assert log_of_runs(database) == [("partial", date(2026, 10, 31))]
    assert counted_tenants(database) == ["T001", "T003"]
    (message,) = slack.messages
    assert message.destination == "#night-duty"
    assert "バッチ実行失敗: BATCH-018-01" in message.text
    assert "T002 ㈱T002: 数値が扱える範囲を超えました（bigint out of range、SQLSTATE 22003）" in message.text
    assert "T001" not in message.text.replace("BATCH-018-01", "")


@pytest.mark.usefixtures("tenants")
def test_a_malformed_date_is_refused_before_anything_runs(runs: DagRuns, database: Database) -> None:
    with pytest.raises(ParamValidationError, match=r"business_date: '31\.10\.2026' is not a 'date'"):
        runs.test(DAG_ID, RUN_DATE, business_date="31.10.2026")

    assert log_of_runs(database) == []
    assert counted_tenants(database) == []


@pytest.mark.slow("runs whole DAGs")
@pytest.mark.usefixtures("tenants")
def test_an_unknown_parameter_is_named_in_one_alert_before_writing(
    runs: DagRuns, database: Database, slack: StandIns
) -> None:
    """Among them an operation of another batch, which a family's form does not have."""
    misspelt = runs.test(DAG_ID, RUN_DATE, tenant=["T001"])
    operation = runs.test(FAMILY_DAG_ID, RUN_DATE, action="void", batches=["BATCH-018-01"])

    assert (misspelt.state, operation.state) == ("failed", "failed")
    assert [
        line
        for message in slack.messages
        for line in message.text.splitlines()
        if "フォームにありません" in line
    ] == [
        "エラー: パラメータ tenant は、この DAG のフォームにありません。使えるのは business_date、dry_run、tenants です。",
        "エラー: パラメータ action は、この DAG のフォームにありません。"
        "使えるのは allow_incomplete、batches、business_date、dry_run、tenants です。",
    ]
    assert log_of_runs(database) == []
    assert counted_tenants(database) == []


@pytest.mark.usefixtures("tenants")
def test_an_unknown_tenant_code_is_named_in_one_alert_before_writing(
    runs: DagRuns, database: Database, slack: StandIns
) -> None:
    done = runs.test(DAG_ID, RUN_DATE, tenants=["T001", "T9", "../../etc"])

    assert done.state == "failed"
    (message,) = slack.messages
    assert "テナントコード 'T9'、'../../etc' は存在しません" in message.text
    assert log_of_runs(database) == []
    assert counted_tenants(database) == []


@pytest.mark.own_database
@pytest.mark.usefixtures("tenants")
def test_a_missing_host_column_is_named_in_one_alert_before_writing(
    runs: DagRuns, database: Database, slack: StandIns
) -> None:
    with database.connect() as host:
        host.execute('ALTER TABLE "SYS_SystemLog" RENAME COLUMN response_time TO duration')

    done = runs.test(DAG_ID, RUN_DATE)

    assert done.state == "failed"
    (message,) = slack.messages
    assert '列 "SYS_SystemLog"."response_time" がない' in message.text
    assert log_of_runs(database) == []


@pytest.mark.own_database
@pytest.mark.usefixtures("tenants")
def test_an_unreadable_log_fails_the_run_with_one_alert(
    runs: DagRuns, database: Database, slack: StandIns
) -> None:
    with database.connect() as host:
        host.execute("REVOKE SELECT ON batch.all_api_request FROM batch_platform")

    done = runs.test(DAG_ID, RUN_DATE)

    assert done.state == "failed"
    (message,) = slack.messages
    assert "permission denied for view all_api_request" in message.text
    assert "read_logs を下流ごと消去（Clear）" in message.text
    assert log_of_runs(database) == [("failed", date(2026, 10, 31))]
    assert counted_tenants(database) == []


@pytest.mark.usefixtures("tenants")
def test_a_missing_connection_is_named_in_one_alert(runs: DagRuns, slack: StandIns) -> None:
    runs.set_connection("skill_batch_platform_db", None)

    done = runs.test(DAG_ID, RUN_DATE)

    assert done.state == "failed"
    (message,) = slack.messages
    assert "Airflow の接続 'skill_batch_platform_db' が定義されていません" in message.text


@pytest.mark.slow("runs whole DAGs")
@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize("role", ["batch_platform", "batch_tenant"])
def test_a_login_without_its_role_is_named_with_the_missing_grant(
    runs: DagRuns, database: Database, slack: StandIns, role: str
) -> None:
    # The longest name that PostgreSQL takes: the alert must hold it twice.
    login = "l" * 63
    with database.connect() as admin:
        admin.execute(f"CREATE ROLE {login} LOGIN PASSWORD 'login'")
        try:
            runs.set_connection(
                f"skill_{role}_db",
                f"postgres://{login}:login@{database.server.host}:{database.server.port}/{database.name}",
            )

            done = runs.test(DAG_ID, RUN_DATE)
        finally:
            admin.execute(f"DROP ROLE {login}")

    assert done.state == "failed"
    (message,) = slack.messages
    assert f'ログイン "{login}" はロール {role} になれません' in message.text
    assert f'`GRANT {role} TO "{login}"` を実行してください' in message.text
    assert "open_run を下流ごと消去（Clear）" in message.text
    assert log_of_runs(database) == []


@pytest.mark.usefixtures("tenants")
def test_without_the_tenants_connection_no_run_opens(
    runs: DagRuns, database: Database, slack: StandIns
) -> None:
    runs.set_connection("skill_batch_tenant_db", None)

    done = runs.test(DAG_ID, RUN_DATE)

    assert done.state == "failed"
    (message,) = slack.messages
    assert "Airflow の接続 'skill_batch_tenant_db' が定義されていません" in message.text
    assert log_of_runs(database) == []


@pytest.mark.slow("runs whole DAGs")
@pytest.mark.own_database
@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ('ALTER TABLE "MST_UserAuth" ENABLE ROW LEVEL SECURITY', "ALTER ROLE batch_owner BYPASSRLS"),
        (
            'ALTER TABLE "MST_UserAuth" RENAME last_login_at TO last_login',
            '"MST_UserAuth"."last_login_at" がない',
        ),
        (None, "python -m include.skillreport attach"),
    ],
)
def test_a_day_that_is_closed_stays_when_the_host_no_longer_fits(
    runs: DagRuns, database: Database, slack: StandIns, change: str | None, named: str
) -> None:
    assert runs.test(DAG_ID, RUN_DATE).state == "success"
    closed = usage_days(database)
    if change is None:
        detach(database.dsn)
    else:
        with database.connect() as host:
            host.execute(change.encode())

    assert runs.test(DAG_ID, RUN_DATE).state == "failed"

    (message,) = slack.messages
    assert named in message.text
    assert usage_days(database) == closed


@pytest.mark.slow("runs whole DAGs")
@pytest.mark.usefixtures("tenants", "impatient")
def test_a_database_that_is_down_is_tried_three_times_then_reported(
    runs: DagRuns, database: Database, slack: StandIns, unused_port: int
) -> None:
    down = f"postgres://batch_platform:x@127.0.0.1:{unused_port}/{database.name}"
    runs.set_connection("skill_batch_platform_db", down)

    done = runs.test(DAG_ID, RUN_DATE)

    assert done.state == "failed"
    assert runs.tries(done, "open_run") == [3]
    (message,) = slack.messages
    assert (
        f"PostgreSQL 127.0.0.1:{unused_port} に接続できません（接続 'skill_batch_platform_db'）"
        in message.text
    )
    assert counted_tenants(database) == []


def test_a_host_without_tenants_in_use_is_no_failure(runs: DagRuns, database: Database) -> None:
    with database.connect() as host:
        host_rows.tenant(host, "T001", status="SUSPENDED")

    done = runs.test(DAG_ID, RUN_DATE)

    assert done.state == "success"
    assert log_of_runs(database) == [("completed", date(2026, 10, 31))]


@pytest.mark.slow("runs whole DAGs")
@pytest.mark.usefixtures("tenants")
def test_the_family_dag_skips_what_was_not_chosen(runs: DagRuns, database: Database, slack: StandIns) -> None:
    done = runs.test(FAMILY_DAG_ID, RUN_DATE, batches=[])

    assert done.state == "success"
    assert log_of_runs(database) == []
    assert slack.messages == []


@pytest.mark.slow("runs whole DAGs")
@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize("batches", [["BATCH-018-01"], ["BATCH-018-01", "BATCH-018-02", "BATCH-018-04"]])
def test_a_failed_batch_is_reported_once_for_those_that_wait_for_it(
    runs: DagRuns, database: Database, slack: StandIns, batches: list[str]
) -> None:
    done = runs.test(FAMILY_DAG_ID, RUN_DATE, batches=batches, tenants=["NOBODY"])

    assert done.state == "failed"
    (message,) = slack.messages
    assert "BATCH-018-01" in message.text
    assert "NOBODY" in message.text
    # The DAG's callback sends the alerts that are not stored.
    with database.connect() as connection:
        stored = connection.execute("SELECT alert_key FROM batch.operator_alert").fetchall()
    assert {batch_of_key(key) for (key,) in stored} == {"BATCH-018-01", "BATCH-018-02", "BATCH-018-04"}


@pytest.mark.slow("runs whole DAGs")
@pytest.mark.usefixtures("tenants")
def test_a_partial_batch_is_reported_once_for_each_run_of_its_family(
    runs: DagRuns, database: Database, slack: StandIns
) -> None:
    with database.connect() as host:
        host_rows.break_settings_of(host, "T002")

    for count, run_at in enumerate((RUN_DATE, "2026-11-01 01:00"), start=1):
        done = runs.test(FAMILY_DAG_ID, run_at, batches=["BATCH-018-01", "BATCH-018-04"])

        assert done.state == "failed"
        assert len(slack.messages) == count
        assert "BATCH-018-01" in slack.messages[-1].text


def test_a_shard_whose_batch_cannot_be_created_leaves_the_reason(
    runs: DagRuns, database: Database, tenants: list[str], slack: StandIns
) -> None:
    """Every task except that of the shard can read the settings."""
    create = TenantUsageBatch.__init__

    def breaks_in_a_shard(self: TenantUsageBatch, *arguments: Any) -> None:
        if get_current_context()["ti"].task_id == "aggregate_usage":
            raise SettingsError("settings.yaml が読めません。")
        create(self, *arguments)

    runs.environment.setattr(TenantUsageBatch, "__init__", breaks_in_a_shard)

    done = runs.test(DAG_ID, RUN_DATE, tenants=tenants[:1])

    assert done.state == "failed"
    with database.connect() as connection:
        assert connection.execute("SELECT status, error_message FROM batch.tenant_outcome").fetchall() == [
            ("failed", "settings.yaml が読めません。")
        ]
    (message,) = slack.messages
    assert "T001 ㈱T001: settings.yaml が読めません。" in message.text
