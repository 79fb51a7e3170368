"""The execution log: which tenants a run is for, how it opens, how it closes (twice if need be), and what becomes of orphans."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from include.skillreport.core.catalog import (
    TENANT_BILLING,
    TENANT_USAGE,
)
from include.skillreport.core.errors import ParameterError, SettingsError, is_recoverable
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.execution.resource_usage import ResourceUsage
from include.skillreport.core.execution.run_log import (
    FailedTenant,
    RecordsDeletedError,
    RunFailedError,
    RunningExecution,
    RunResult,
    close_execution,
    close_orphan,
    open_execution,
    orphan_reason,
    record_task_metric,
    running_executions,
)
from include.skillreport.core.execution.shard_log import begin_shard, fail_shard
from include.skillreport.core.execution.sharding import Shard, Tenant
from include.skillreport.core.execution.tenant_selection import select_tenants
from include.skillreport.core.run_spec import BatchSpec
from tests.worlds import host_rows

DAY = date(2026, 10, 31)
RUN_DATE = date(2026, 11, 1)
NOW = datetime(2026, 11, 1, 3, 0, tzinfo=UTC)


# Which tenants ---------------------------------------------------------------------------------------------------------


def test_active_tenants_are_selected_however_their_status_is_spelled(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    spelled: dict[str, str | None] = {
        "active": "ACTIVE",
        "lower": "active",
        "mixed": " Active ",
        "null": None,
        "empty": "",
        "blank": "  ",
        "trial": "TRIAL",
        "trial-lower": "trial",
    }
    for tenant_id, status in spelled.items():
        host_rows.tenant(host, tenant_id, status=status)
    left_out = ["SUSPENDED", "suspended", "INACTIVE", "EXPIRED", "deleted", "DELETED", " Deleted"]
    for number, status in enumerate(left_out):
        host_rows.tenant(host, f"out-{number}", status=status)
    host_rows.tenant(host, "soft-deleted", status="ACTIVE", is_deleted=True)
    host_rows.tenant(host, "soft-deleted-null", status=None, is_deleted=True)
    host_rows.tenant(host, "odd", status="ARCHIVED")
    host_rows.tenant(host, "odd-deleted", status="ARCHIVED", is_deleted=True)

    selection = select_tenants(platform, [])

    assert {tenant.id for tenant in selection.tenants} == set(spelled)
    assert [(tenant.id, status) for tenant, status in selection.left_out] == [("odd", "UNKNOWN")]


@pytest.mark.parametrize(
    ("status", "tenant_status", "differs"),
    [
        ("active", "ACTIVE", None),
        ("active", " active ", None),
        ("SUSPENDED", "ACTIVE", None),
        (None, None, None),
        ("TRIAL", " ", None),
        ("trial", "Trial", None),
        ("deleted", "SUSPENDED", None),
        ("active", "suspended", ("ACTIVE", "SUSPENDED")),
        (None, "EXPIRED", ("ACTIVE", "EXPIRED")),
        ("SUSPENDED", "TRIAL", ("SUSPENDED", "TRIAL")),
    ],
)
def test_the_status_decides_and_another_tenant_status_is_a_remark(
    host: psycopg.Connection,
    platform: psycopg.Connection,
    status: str | None,
    tenant_status: str | None,
    differs: tuple[str, str] | None,
) -> None:
    host_rows.tenant(host, "t1", status=status, tenant_status=tenant_status)

    selection = select_tenants(platform, [])

    assert bool(selection.tenants) is (status in ("active", "TRIAL", "trial", None))
    assert [(tenant.id, *statuses) for tenant, *statuses in selection.differing] == (
        [("t1", *differs)] if differs else []
    )


def test_only_the_remarks_of_chosen_tenants_are_given(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    for tenant_id in ("t1", "t2"):
        host_rows.tenant(host, tenant_id, tenant_status="SUSPENDED")

    assert [tenant.id for tenant, *_ in select_tenants(platform, ["t2"]).differing] == ["t2"]


def test_an_id_that_no_transaction_can_hold_is_left_out_and_reported(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    for tenant_id in ("t1", "", "t\x1f2"):
        host_rows.tenant(host, tenant_id, tenant_code=f"code of {tenant_id!r}")

    selection = select_tenants(platform, [])

    assert [tenant.id for tenant in selection.tenants] == ["t1"]
    assert {tenant.id for tenant, _ in selection.left_out} == {"", "t\x1f2"}


def test_a_code_goes_before_another_tenants_id(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    host_rows.tenant(host, "HD001", tenant_code="OLD", is_deleted=True)
    host_rows.tenant(host, "t2", tenant_code="HD001")

    assert [tenant.id for tenant in select_tenants(platform, ["HD001"]).tenants] == ["t2"]


def test_tenants_are_ordered_by_id_with_code_and_name_or_their_defaults(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    host_rows.tenant(host, "t3", tenant_code="HD001", tenant_name="山田商事")
    host_rows.tenant(host, "t1", tenant_code="HD003", tenant_name=None)
    host_rows.tenant(host, "t2", tenant_code=None, tenant_name=" ")

    assert select_tenants(platform, []).tenants == [
        Tenant("t1", "HD003", "HD003"),
        Tenant("t2", "t2", "t2"),
        Tenant("t3", "HD001", "山田商事"),
    ]


def test_a_host_without_tenants_selects_none(platform: psycopg.Connection) -> None:
    selection = select_tenants(platform, [])
    assert (selection.tenants, selection.left_out) == ([], [])


@pytest.mark.parametrize(
    ("asked", "selected"),
    [
        (["HD002"], ["t2"]),
        (["HD003", "HD001"], ["t1", "t3"]),
        (["HD001", "HD001"], ["t1"]),
        (["t2"], ["t2"]),
        (["t1", "HD001"], ["t1"]),
        (["ＨＤ００２", "ｔ３"], ["t2", "t3"]),
    ],
    ids=[
        "one",
        "in the order of the ids",
        "a code twice",
        "an id instead of a code",
        "id and code of one",
        "in full-width letters",
    ],
)
def test_tenants_are_chosen_by_code_or_id(
    host: psycopg.Connection, platform: psycopg.Connection, asked: list[str], selected: list[str]
) -> None:
    for number in (1, 2, 3):
        host_rows.tenant(host, f"t{number}", tenant_code=f"HD00{number}")
    host_rows.tenant(host, "odd", status="ARCHIVED")

    selection = select_tenants(platform, asked)

    assert [tenant.id for tenant in selection.tenants] == selected
    assert selection.left_out == []


def test_a_code_with_full_width_letters_selects_its_own_tenant_first(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    host_rows.tenant(host, "t1", tenant_code="HD001")
    host_rows.tenant(host, "t2", tenant_code="ＨＤ００１")

    for code, selected in (
        ("HD001", "t1"),
        ("ＨＤ００１", "t2"),
        ("Ｈ\N{FULLWIDTH LATIN CAPITAL LETTER D}001", "t1"),
    ):
        assert [tenant.id for tenant in select_tenants(platform, [code]).tenants] == [selected]


def test_unknown_codes_are_all_named(host: psycopg.Connection, platform: psycopg.Connection) -> None:
    host_rows.tenant(host, "t1", tenant_code="HD001")
    with pytest.raises(ParameterError) as raised:
        select_tenants(platform, ["HD001", "HD999", "hd001"])
    assert "'HD999'、'hd001' は存在しません" in str(raised.value)
    assert "'HD001'" not in str(raised.value)


def test_tenants_that_are_not_active_are_all_named_with_their_status(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    host_rows.tenant(host, "t1", tenant_code="HD001")
    host_rows.tenant(host, "t2", tenant_code="HD002", status="suspended")
    host_rows.tenant(host, "t3", tenant_code="HD003", is_deleted=True)
    host_rows.tenant(host, "t4", tenant_code="HD004", status="ARCHIVED")

    with pytest.raises(ParameterError) as raised:
        select_tenants(platform, ["HD001", "HD002", "t3", "HD004"])

    assert "HD002（SUSPENDED）、HD003（DELETED）、HD004（UNKNOWN）" in str(raised.value)
    assert "HD001" not in str(raised.value)


# Opening ---------------------------------------------------------------------------------------------------------------


def test_opening_writes_a_running_row_and_pending_outcomes(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    parameters = {"tenants": ["HD001"], "business_date": None}
    run = open_execution(
        platform,
        TENANT_USAGE,
        dag_id="batch_018_01_tenant_usage",
        run_id="manual__1",
        business_date=DAY,
        run_date=RUN_DATE,
        dry_run=True,
        parameters=parameters,
        shards={Shard(0, "HD001"): ["t1"], Shard(1, "HD002"): ["t2"]},
    )

    assert run.execution_id.startswith("BATCH-018-01_20261031_")
    assert (run.business_date, run.dry_run) == (DAY, True)
    row = log_row(host, run)
    assert (row["batch_id"], row["dag_id"], row["run_id"]) == (
        "BATCH-018-01",
        "batch_018_01_tenant_usage",
        "manual__1",
    )
    assert (row["business_date"], row["dry_run"], row["parameters"]) == (DAY, True, parameters)
    assert (row["status"], row["total_tenants"], row["ended_at"]) == ("running", 2, None)
    assert abs(row["started_at"] - datetime.now(UTC)) < timedelta(minutes=5)
    assert host.execute("SELECT tenant_id, status, attempts FROM batch.tenant_outcome").fetchall() == [
        ("t1", "pending", 0),
        ("t2", "pending", 0),
    ]


def test_two_runs_of_one_batch_and_date_are_two_rows(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    assert open_run(platform, "t1").execution_id != open_run(platform, "t1").execution_id
    assert host.execute("SELECT count(*) FROM batch.execution_log").fetchone() == (2,)


# Closing ---------------------------------------------------------------------------------------------------------------


def test_a_run_of_succeeded_tenants_is_completed_with_summed_figures(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    run = open_run(platform, "t1", "t2")
    succeed(host, run, "t1", records=10, details={"users": 3, "gb": 1.5, "plan": "FREE", "warnings": ["a"]})
    succeed(host, run, "t2", records=5, details={"users": 4, "gb": 0.25, "extra": -1})

    result = close_execution(platform, run)

    assert (result.status, result.total_tenants, result.success_count, result.error_count) == (
        "completed",
        2,
        2,
        0,
    )
    assert (result.records, result.failed_tenants) == (15, [])
    row = log_row(host, run)
    assert (row["status"], row["success_count"], row["error_count"]) == ("completed", 2, 0)
    assert row["error_message"] is result.error is None
    assert row["ended_at"] >= row["started_at"]
    assert datetime.fromisoformat(row["result"].pop("executedAt")) == row["started_at"]
    assert row["result"] == {
        "batchId": "BATCH-018-01",
        "totalTenants": 2,
        "successCount": 2,
        "errorCount": 0,
        "results": [],
        "resultsLeftOut": 0,
        "totals": {"users": 7, "gb": 1.75, "extra": -1},
        "codes": [],
    }


def test_a_run_with_failed_tenants_is_partial_and_names_them(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    host_rows.tenant(host, "t1", tenant_code="HD001", tenant_name="山田商事")
    run = open_run(platform, "t1", "t2", "t3")
    fail(host, run, "t1", "division by zero")
    fail(host, run, "t3", "gone")  # the host no longer has this tenant
    succeed(host, run, "t2", details={"users": 4})

    result = close_execution(platform, run)

    assert (result.status, result.success_count, result.error_count) == ("partial", 1, 2)
    assert result.failed_tenants == [
        FailedTenant("HD001", "山田商事", "division by zero", []),
        FailedTenant("t3", "t3", "gone", []),
    ]
    row = log_row(host, run)
    assert (row["status"], row["error_message"]) == ("partial", "3 テナント中 2 件が失敗")
    assert row["result"]["results"] == [
        {"tenantId": "t1", "status": "failed", "error": "division by zero"},
        {"tenantId": "t3", "status": "failed", "error": "gone"},
    ]
    assert row["result"]["totals"] == {"users": 4}


def test_the_result_lists_a_hundred_failures_and_counts_the_others(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    run = open_run(platform, *(f"t{number:04}" for number in range(5_000)))
    host.execute("UPDATE batch.tenant_outcome SET status = 'failed', error_message = repeat('長', 3000)")

    close_execution(platform, run)

    result = log_row(host, run)["result"]
    assert (result["errorCount"], len(result["results"]), result["resultsLeftOut"]) == (5_000, 100, 4_900)
    assert [each["tenantId"] for each in result["results"]] == [f"t{number:04}" for number in range(100)]
    assert {each["error"] for each in result["results"]} == {"長" * 1_000}


def test_a_run_in_which_every_tenant_failed_is_failed(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    run = open_run(platform, "t1")
    fail(host, run, "t1", "division by zero")
    assert close_execution(platform, run).status == "failed"
    assert log_row(host, run)["status"] == "failed"


def test_an_unprocessed_tenant_has_failed(host: psycopg.Connection, platform: psycopg.Connection) -> None:
    run = open_run(platform, "t1", "t2")
    succeed(host, run, "t1")

    result = close_execution(platform, run)

    assert (result.status, result.success_count, result.error_count) == ("partial", 1, 1)
    (lost,) = result.failed_tenants
    assert lost.code == "t2"
    assert lost.reason.startswith(
        "タスクが結果を残さずに止まりました（強制終了、メモリ不足、Airflow の API サーバーの停止など）"
    )
    assert log_row(host, run)["result"]["results"] == [
        {"tenantId": "t2", "status": "failed", "error": lost.reason}
    ]


def test_a_shards_failure_is_kept_for_tenants_without_a_result(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    run = open_run(platform, "t1", "t2", "t3")
    succeed(host, run, "t1")
    fail_shard(platform, run, 0, ConnectionError("Airflow に問い合わせられませんでした"))

    result = close_execution(platform, run)

    assert result.success_count == 1
    assert [(tenant.code, tenant.reason.partition("（")[0]) for tenant in result.failed_tenants] == [
        ("t2", "Airflow に問い合わせられませんでした"),
        ("t3", "タスクが結果を残さずに止まりました"),
    ]


def test_a_later_try_leaves_nothing_of_an_earlier_one(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    run = open_run(platform, "t1", "t2", "t3")
    succeed(host, run, "t1")
    fail(host, run, "t2", "division by zero")
    succeed(host, run, "t3")
    assert close_execution(platform, run).status == "partial"

    # The instance of t1 and t2 is cleared; the new try is killed before it has a result.
    assert begin_shard(platform, run, 0) == ["t1", "t2"]
    result = close_execution(platform, run, attempt=1)

    assert (result.status, result.success_count) == ("partial", 1)
    assert {
        tenant.code: tenant.reason.partition("（")[0] for tenant in result.failed_tenants
    } == dict.fromkeys(("t1", "t2"), "タスクが結果を残さずに止まりました")

    assert begin_shard(platform, run, 0) == ["t1", "t2"]
    fail_shard(platform, run, 0, TimeoutError("制限時間"))
    reasons = [tenant.reason for tenant in close_execution(platform, run, attempt=2).failed_tenants]
    assert reasons == ["制限時間", "制限時間"]


def test_tenants_unprocessed_because_a_step_failed_get_this_reason(platform: psycopg.Connection) -> None:
    run = open_run(platform, "t1")
    result = close_execution(platform, run, SettingsError("前段の prepare が失敗しました"))
    assert result.failed_tenants == [FailedTenant("t1", "t1", "処理されませんでした", [])]


def test_a_run_for_no_tenant_at_all_is_completed(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    result = close_execution(platform, open_run(platform))
    assert (result.status, result.total_tenants, result.records) == ("completed", 0, 0)
    assert result.sentence() == "BATCH-018-01 2026-10-31: 0 テナント中 0 件成功"
    assert host.execute("SELECT result -> 'totals' FROM batch.execution_log").fetchone() == ({},)


@pytest.mark.parametrize(("succeeded", "status"), [(True, "partial"), (False, "failed")])
def test_a_run_with_a_failed_step_keeps_the_error(
    host: psycopg.Connection, platform: psycopg.Connection, succeeded: bool, status: str
) -> None:
    run = open_run(platform, "t1")
    if succeeded:
        succeed(host, run, "t1")

    result = close_execution(platform, run, SettingsError("ログ読込が失敗しました"))
    assert (result.status, result.error) == (status, "ログ読込が失敗しました")
    assert log_row(host, run)["error_message"] == "ログ読込が失敗しました"


def test_a_run_without_tenants_whose_step_failed_is_failed(platform: psycopg.Connection) -> None:
    assert (
        close_execution(platform, open_run(platform), SettingsError("ログ読込が失敗しました")).status
        == "failed"
    )


def test_closing_after_a_repair_completes_the_run_with_its_first_duration(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    run = open_run(platform, "t1", "t2")
    succeed(host, run, "t1", records=10)
    fail(host, run, "t2", "division by zero")
    first = close_execution(platform, run)
    assert first.status == "partial"

    # An hour later an operator clears the instance.
    host.execute("UPDATE batch.execution_log SET started_at = started_at - interval '1 hour'")
    succeed(host, run, "t2", records=7)
    again = close_execution(platform, run)

    assert (again.status, again.success_count, again.error_count, again.failed_tenants) == (
        "completed",
        2,
        0,
        [],
    )
    assert again.execution_seconds == first.execution_seconds < 60
    assert again.records == 17
    row = log_row(host, run)
    assert (row["status"], row["error_message"], row["result"]["results"]) == ("completed", None, [])
    metrics = host.execute(
        "SELECT execution_seconds, records_processed FROM batch.performance_metric"
    ).fetchall()
    assert metrics == [(first.execution_seconds, 17)]


def test_performance_sums_cpu_time_and_takes_the_highest_memory(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    run, other = open_run(platform, "t1"), open_run(platform, "t1")
    succeed(host, run, "t1", records=42)
    record_task_metric(platform, run, "process", 0, ResourceUsage(9.0, 8.0, 900))
    record_task_metric(
        platform, run, "process", 0, ResourceUsage(1.0, 0.25, 300)
    )  # a retry replaces its figures
    record_task_metric(platform, run, "process", 1, ResourceUsage(1.0, 0.5, 200))
    record_task_metric(platform, other, "process", 0, ResourceUsage(1.0, 100.0, 10_000))

    close_execution(platform, run)

    assert host.execute(
        """
        SELECT batch_id, business_date, cpu_seconds::float, peak_memory_bytes, records_processed
        FROM batch.performance_metric
        """
    ).fetchall() == [("BATCH-018-01", DAY, 0.75, 300, 42)]


@pytest.mark.parametrize(
    ("parameters", "is_comparable"),
    [
        ({}, True),
        ({"tenants": None}, True),
        ({"allow_incomplete": True, "tenants": []}, True),
        ({"tenants": ["T1"]}, False),
    ],
)
def test_later_runs_are_measured_by_those_that_worked_on_all_tenants(
    host: psycopg.Connection,
    platform: psycopg.Connection,
    parameters: dict[str, object],
    is_comparable: bool,
) -> None:
    run = open_run(platform, "t1")
    host.execute("UPDATE batch.execution_log SET parameters = %s", [Jsonb(parameters)])
    succeed(host, run, "t1")

    close_execution(platform, run)

    assert host.execute("SELECT is_comparable FROM batch.performance_metric").fetchone() == (is_comparable,)


def test_closing_a_run_that_was_never_opened_says_so(platform: psycopg.Connection) -> None:
    with pytest.raises(RecordsDeletedError):
        close_execution(platform, Run("BATCH-X_1", DAY, RUN_DATE))


# The sentence about a run ------------------------------------------------------------------------------------------------


def result_with(failures: int) -> RunResult:
    return RunResult(
        execution_id="x",
        batch_id="BATCH-018-01",
        business_date=DAY,
        status="partial",
        total_tenants=20,
        success_count=20 - failures,
        error_count=failures,
        execution_seconds=Decimal(1),
        records=0,
        failed_tenants=[FailedTenant(f"HD{number:03}", "名", f"理由{number}") for number in range(failures)],
    )


def test_the_sentence_of_a_completed_run_counts_its_tenants() -> None:
    assert result_with(0).sentence() == "BATCH-018-01 2026-10-31: 20 テナント中 20 件成功"


def test_the_sentence_lists_up_to_ten_failed_tenants_with_their_reasons() -> None:
    assert result_with(2).sentence() == (
        "BATCH-018-01 2026-10-31: 20 テナント中 18 件成功、2 件失敗（HD000: 理由0、HD001: 理由1）"
    )
    assert "ほか" not in result_with(10).sentence()
    assert "HD009: 理由9）" in result_with(10).sentence()


def test_the_sentence_counts_the_failed_tenants_beyond_ten() -> None:
    sentence = result_with(13).sentence()
    assert "13 件失敗（HD000: 理由0、" in sentence
    assert sentence.endswith("、HD009: 理由9、ほか 3 件）")
    assert "HD010" not in sentence


def test_the_failed_tasks_error_is_the_sentence_and_no_try_helps() -> None:
    error = RunFailedError(result_with(1))
    assert str(error) == result_with(1).sentence()
    assert not is_recoverable(error)


# Orphans ---------------------------------------------------------------------------------------------------------------


def orphan(
    *, started: timedelta = timedelta(hours=1), alive: bool = True, run_id: str = "earlier"
) -> str | None:
    """Why a row of run ``run_id``, started that long ago, is an orphan, seen from run ``now`` of the same DAG."""
    asked: list[tuple[str, str]] = []

    def is_alive(dag_id: str, run_id: str) -> bool:
        asked.append((dag_id, run_id))
        return alive

    reason = orphan_reason(
        RunningExecution("x", "dag", run_id, NOW - started, started),
        reopened_by=("dag", "now"),
        is_alive=is_alive,
        time_limit=timedelta(hours=1),
    )
    assert asked in ([], [("dag", run_id)])
    return reason


def test_a_row_of_the_run_that_opens_again_is_an_orphan() -> None:
    assert "やり直されました" in str(orphan(run_id="now"))


def test_a_row_whose_run_has_ended_in_airflow_is_an_orphan() -> None:
    assert "ログを閉じずに終わっていました" in str(orphan(alive=False))


def test_a_running_row_is_an_orphan_after_twice_its_limit() -> None:
    assert orphan(started=timedelta(hours=2)) is None
    assert "1:00:00" in str(orphan(started=timedelta(hours=2, seconds=1)))


def test_a_row_whose_run_may_still_be_working_is_left_alone() -> None:
    assert orphan() is None


def test_a_run_of_another_dag_with_this_name_is_not_reopened() -> None:
    reason = orphan_reason(
        RunningExecution("x", "family", "now", NOW, timedelta(0)),
        reopened_by=("dag", "now"),
        is_alive=lambda dag_id, run_id: (dag_id, run_id) == ("family", "now"),
        time_limit=timedelta(hours=1),
    )
    assert reason is None


def test_only_the_batchs_own_running_rows_are_looked_at_oldest_first(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    newer, older, closed = (open_run(platform) for _ in range(3))
    open_run(platform, spec=TENANT_BILLING)
    close_execution(platform, closed)
    host.execute(
        "UPDATE batch.execution_log SET started_at = started_at - interval '1 day' WHERE execution_id = %s",
        [older.execution_id],
    )

    found = running_executions(platform, TENANT_USAGE.id)

    assert [execution.execution_id for execution in found] == [older.execution_id, newer.execution_id]
    assert {(execution.dag_id, execution.run_id) for execution in found} == {("dag", "run")}


def test_an_orphan_is_closed_as_failed_with_the_sentence(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    run, other = open_run(platform, "t1"), open_run(platform, "t1")

    close_orphan(platform, run.execution_id, "理由")

    row = log_row(host, run)
    assert (row["status"], row["error_message"]) == ("failed", "理由")
    assert row["ended_at"] is not None
    assert log_row(host, other)["status"] == "running"


def test_closing_an_orphan_never_touches_a_row_that_is_closed(
    host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    run = open_run(platform, "t1")
    succeed(host, run, "t1")
    close_execution(platform, run)
    before = log_row(host, run)

    close_orphan(platform, run.execution_id, "理由")

    assert before["status"] == "completed"
    assert log_row(host, run) == before


# -----------------------------------------------------------------------------------------------------------------------


def open_run(platform: psycopg.Connection, *tenant_ids: str, spec: BatchSpec = TENANT_USAGE) -> Run:
    return open_execution(
        platform,
        spec,
        dag_id="dag",
        run_id="run",
        business_date=DAY,
        run_date=RUN_DATE,
        dry_run=False,
        parameters={},
        shards={Shard(0, "two"): list(tenant_ids[:2]), Shard(1, "others"): list(tenant_ids[2:])},
    )


def succeed(
    host: psycopg.Connection,
    run: Run,
    tenant_id: str,
    *,
    records: int = 0,
    details: dict[str, Any] | None = None,
) -> None:
    """Record the tenant's outcome, like its step."""
    host.execute(
        """
        UPDATE batch.tenant_outcome
        SET status = 'success', records = %s, details = %s, error_message = NULL, attempts = attempts + 1
        WHERE execution_id = %s AND tenant_id = %s
        """,
        [records, Jsonb(details or {}), run.execution_id, tenant_id],
    )


def fail(host: psycopg.Connection, run: Run, tenant_id: str, reason: str) -> None:
    """The same of a tenant that failed."""
    host.execute(
        """
        UPDATE batch.tenant_outcome SET status = 'failed', error_message = %s, attempts = attempts + 1
        WHERE execution_id = %s AND tenant_id = %s
        """,
        [reason, run.execution_id, tenant_id],
    )


def log_row(host: psycopg.Connection, run: Run) -> dict[str, Any]:
    """The run's row of the execution log."""
    with host.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "SELECT * FROM batch.execution_log WHERE execution_id = %s", [run.execution_id]
        ).fetchone()
    assert row is not None
    return row
