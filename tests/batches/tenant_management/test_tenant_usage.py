"""BATCH-018-01 against real rows: counted activity, its tenant and its day. A second run changes nothing."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from include.skillreport.batches.tenant_usage import create_batch
from include.skillreport.core.catalog import TENANT_USAGE
from include.skillreport.core.entered import EARLIEST_BUSINESS_DATE
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import Work
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.execution.settings import ExecutionSettings
from include.skillreport.core.execution.shard_work import prepare
from include.skillreport.core.setting_types import LONGEST_DAYS
from include.skillreport.core.settings import SETTINGS_VARIABLE
from include.skillreport.messaging.notices import NOBODY_TO_TELL
from local_stack.batch_runs import LOCAL, open_run, run_batch
from tests.conftest import Database
from tests.worlds import billing_rows, host_rows

DAY = date(2026, 10, 31)
# The Japanese day in UTC, as the host stores it.
FIRST_INSTANT = datetime(2026, 10, 30, 15, 0, 0)
LAST_INSTANT = datetime(2026, 10, 31, 14, 59, 59, 999_000)
NOON = datetime(2026, 10, 31, 3, 0)


def run_usage(
    database: Database,
    day: date = DAY,
    *,
    codes: tuple[str, ...] = (),
    dry_run: bool = False,
    shards: int = 1,
) -> RunResult:
    """One whole run, its tenants in this many shards."""
    with database.working() as (platform, connection):
        return run_batch(
            platform,
            connection,
            TENANT_USAGE,
            create_batch(LOCAL),
            day,
            codes=codes,
            dry_run=dry_run,
            sharding=ExecutionSettings(
                max_mapped_tenants=1, shards=shards, tenants_per_shard=1000, seconds_per_shard=5
            ),
        )


def host_usage(connection: psycopg.Connection, tenant_id: str, day: date = DAY) -> dict[str, Any]:
    """The row that the application shows."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            'SELECT * FROM "SYS_TenantUsage" WHERE tenant_id = %s AND usage_date = %s', [tenant_id, day]
        ).fetchone()
    assert row is not None, f"no usage of {tenant_id}"
    return row


def closed_day(connection: psycopg.Connection, tenant_id: str, day: date = DAY) -> dict[str, Any]:
    """The row that billing accepts."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "SELECT * FROM batch.usage_day WHERE tenant_id = %s AND usage_date = %s", [tenant_id, day]
        ).fetchone()
    assert row is not None, f"{tenant_id} has no closed day"
    return row


def everything_written(connection: psycopg.Connection) -> list[Any]:
    """All rows that the batch writes, except the log of its runs."""
    return [
        connection.execute(query).fetchall()
        for query in (
            'SELECT * FROM "SYS_TenantUsage" ORDER BY tenant_id, usage_date',
            "SELECT * FROM batch.usage_day ORDER BY tenant_id, usage_date",
            "SELECT * FROM batch.login_day ORDER BY tenant_id, login_date",
            "SELECT * FROM batch.usage_warning ORDER BY tenant_id, kind, metric, threshold_percent",
            "SELECT * FROM batch.usage_signal",
        )
    ]


def test_requests_count_for_the_tenant_of_their_user(database: Database, host: psycopg.Connection) -> None:
    for tenant_id in ("A", "B"):
        host_rows.tenant(host, tenant_id)
        host_rows.user(host, tenant_id, f"user_{tenant_id}")
    for _ in range(3):
        host_rows.request(host, "user_A", NOON)
    host_rows.request(host, "user_B", NOON)
    host_rows.request(host, "nobody", NOON)
    host_rows.request(host, None, NOON)

    run_usage(database)

    assert host_usage(host, "A")["api_requests"] == 3
    assert host_usage(host, "B")["api_requests"] == 1


def test_the_day_is_the_japanese_one_to_the_millisecond(database: Database, host: psycopg.Connection) -> None:
    host_rows.tenant(host, "A")
    host_rows.user(host, "A", "user")
    millisecond = timedelta(milliseconds=1)
    for at in (FIRST_INSTANT - millisecond, FIRST_INSTANT, LAST_INSTANT, LAST_INSTANT + millisecond):
        host_rows.request(host, "user", at)

    run_usage(database)

    assert host_usage(host, "A")["api_requests"] == 2
    assert host_usage(host, "A")["usage_date"] == datetime(2026, 10, 31, 0, 0)


def test_lines_without_a_url_and_deleted_lines_are_no_requests(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A")
    host_rows.user(host, "A", "user")
    host_rows.request(host, "user", NOON, request_url=None)
    host_rows.request(host, "user", NOON, is_deleted=True)

    run_usage(database)

    assert host_usage(host, "A")["api_requests"] == 0
    assert host_usage(host, "A")["active_users"] == 0


def test_errors_are_the_servers_and_the_mean_leaves_out_missing_times(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A")
    host_rows.user(host, "A", "user")
    host_rows.request(host, "user", NOON, response_status=500, response_time=300)
    host_rows.request(host, "user", NOON, response_status=404, response_time=100)
    host_rows.request(host, "user", NOON, response_status=None, log_level="error", response_time=None)

    run_usage(database)

    usage = host_usage(host, "A")
    assert usage["error_count"] == 2
    assert usage["response_time_avg_ms"] == Decimal(200)


def test_active_users_are_distinct_accounts_with_any_activity(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A")
    for name in ("requests", "logs_in", "edits", "acts", "sleeps"):
        host_rows.user(host, "A", name, last_login_at=NOON if name == "logs_in" else None)
    host_rows.request(host, "requests", NOON)
    host_rows.request(host, "requests", NOON + timedelta(hours=1))
    host_rows.audit(host, "requests", NOON)
    host_rows.audit(host, "acts", NOON, is_deleted=None)
    host_rows.audit(host, "sleeps", None)
    host_rows.audit(host, "system", NOON)
    host_rows.insert(
        host,
        "TRN_SkillRecord",
        id="record",
        employee_id="000001",
        skill_item_id="skill",
        tenant_id="A",
        created_at=NOON,
        updated_at=NOON,
        created_by="edits",
        updated_by="edits",
    )

    run_usage(database)

    assert host_usage(host, "A")["active_users"] == 4
    assert closed_day(host, "A")["registered_users"] == 5


def test_a_login_counts_once_even_if_only_the_last_login_records_it(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A")
    host_rows.user(host, "A", "audited", last_login_at=NOON)
    host_rows.user(host, "A", "unaudited", last_login_at=NOON)
    host_rows.user(host, "A", "failed")
    for _ in range(3):
        host_rows.audit(host, "audited", NOON, action_type="login")
    host_rows.audit(host, "failed", NOON, action_type="LOGIN", result_status="FAILURE")

    run_usage(database)

    assert host_usage(host, "A")["total_logins"] == 4


def test_a_login_that_the_host_has_overwritten_since_still_counts(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A")
    host_rows.user(host, "A", "user", last_login_at=NOON)
    run_usage(database)
    host.execute('UPDATE "MST_UserAuth" SET last_login_at = %s', [NOON + timedelta(days=1)])

    run_usage(database)

    assert host_usage(host, "A")["total_logins"] == 1
    assert host_usage(host, "A")["active_users"] == 1
    assert closed_day(host, "A")["revision"] == 1


@pytest.mark.parametrize("is_audited", [False, True])
def test_a_login_of_somebody_who_has_moved_counts_where_they_are_now(
    database: Database, host: psycopg.Connection, is_audited: bool
) -> None:
    for tenant_id in "AB":
        host_rows.tenant(host, tenant_id)
    host_rows.user(host, "A", "user", last_login_at=NOON)
    if is_audited:
        host_rows.audit(host, "user", NOON, action_type="LOGIN")
    run_usage(database)
    for table in ("MST_Employee", "MST_UserAuth"):
        host.execute(sql.SQL("UPDATE {} SET tenant_id = 'B'").format(sql.Identifier(table)))

    run_usage(database)

    figures = [
        (closed_day(host, each)["registered_users"], host_usage(host, each)["active_users"]) for each in "AB"
    ]
    assert figures == [(0, 0), (1, 1)]


def test_the_peak_is_the_earliest_of_the_fullest_japanese_hours(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A")
    for number in range(3):
        host_rows.user(host, "A", f"user{number}")
    # 00:30 and 10:00 JST have two users each, 09:00 JST one user three times.
    for user_id, at in (
        ("user0", datetime(2026, 10, 30, 15, 30)),
        ("user1", datetime(2026, 10, 30, 15, 59)),
        ("user0", datetime(2026, 10, 31, 1, 0)),
        ("user2", datetime(2026, 10, 31, 1, 5)),
        *[("user0", datetime(2026, 10, 31, 0, 10))] * 3,
    ):
        host_rows.request(host, user_id, at)

    run_usage(database)

    usage = host_usage(host, "A")
    assert (usage["peak_concurrent_users"], usage["peak_time"]) == (2, datetime(2026, 10, 30, 15, 0))


def test_storage_is_the_snapshot_at_the_end_of_the_day(database: Database, host: psycopg.Connection) -> None:
    host_rows.tenant(host, "A")
    host_rows.report(host, "A", NOON - timedelta(days=40), file_size=1_048_576)
    host_rows.report(host, "A", NOON, file_size=524_288)
    host_rows.report(host, "A", NOON, file_size=99, is_deleted=True)
    host_rows.report(host, "A", NOON, file_size=None, generation_status="FAILED")
    host_rows.report(host, "A", NOON + timedelta(days=1), file_size=1_048_576)
    host_rows.insert(
        host,
        "TRN_SkillEvidence",
        id="evidence",
        tenant_id="A",
        file_size_kb=512,
        created_at=NOON,
        updated_at=NOON,
        created_by="system",
        updated_by="system",
    )

    run_usage(database)

    usage = host_usage(host, "A")
    assert usage["file_storage_mb"] == Decimal(2)
    assert usage["report_generations"] == 1
    assert closed_day(host, "A")["storage_bytes"] == 2 * 1_048_576


def test_an_account_left_at_the_default_tenant_belongs_to_its_employees_tenant(
    database: Database, host: psycopg.Connection
) -> None:
    for tenant_id in ("default-tenant", "B"):
        host_rows.tenant(host, tenant_id)
    host_rows.user(host, "B", "forgotten", account_tenant_id="default-tenant")
    host_rows.request(host, "forgotten", NOON)

    run_usage(database)

    assert host_usage(host, "B")["api_requests"] == 1
    assert host_usage(host, "default-tenant")["api_requests"] == 0


def test_a_tenant_without_anybody_gets_zeros_and_a_closed_day(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A", subscription_plan=None, max_storage_gb=None, timezone=None)
    host_rows.tenant(host, "B")
    host_rows.request(host, host_rows.user(host, "B", "u"), NOON)

    assert run_usage(database).status == "completed"

    usage = host_usage(host, "A")
    assert (usage["active_users"], usage["api_requests"], usage["peak_time"]) == (0, 0, None)
    assert usage["response_time_avg_ms"] is None
    assert closed_day(host, "A")["closed_by"].startswith("BATCH-018-01_20261031_")


def test_only_tenants_in_use_are_counted(database: Database, host: psycopg.Connection) -> None:
    for status in ("ACTIVE", "active", None, "TRIAL", "deleted", "SUSPENDED", "EXPIRED", "???"):
        host_rows.tenant(host, f"is {status}", status=status)
    host_rows.tenant(host, "soft-deleted", is_deleted=True)

    run_usage(database)

    counted = host.execute('SELECT tenant_id FROM "SYS_TenantUsage" ORDER BY tenant_id').fetchall()
    assert counted == [("is ACTIVE",), ("is None",), ("is TRIAL",), ("is active",)]


def test_tenants_that_left_are_counted_until_their_contract_ends(
    database: Database, host: psycopg.Connection
) -> None:
    # Contract days in UTC: until the end of October 31 in Japan, of October 30, from November 1 on, and without an end.
    for tenant_id, values in {
        "today is the last": {"contract_end_date": datetime(2026, 10, 31, 14, 59)},
        "yesterday was": {"contract_end_date": datetime(2026, 10, 30, 14, 59)},
        "tomorrow is the first": {
            "contract_start_date": datetime(2026, 10, 31, 15, 0),
            "contract_end_date": datetime(2026, 12, 1),
        },
        "nobody knows": {},
    }.items():
        host_rows.tenant(host, tenant_id, status="EXPIRED", **values)
    host_rows.user(host, "today is the last", "u1")
    host_rows.request(host, "u1", NOON)

    assert run_usage(database).status == "completed"

    assert host.execute("SELECT tenant_id, api_calls, active_users FROM batch.usage_day").fetchall() == [
        ("today is the last", 1, 1)
    ]


def counted_days(database: Database, host: psycopg.Connection) -> list[int]:
    """The days of October, of those worth a question, that a run closes for tenant A, by all tenants and by its code."""
    for day in (2, 3, 9, 10, 20, 21):
        run_usage(database, date(2026, 10, day))
    closed = [
        day.day
        for (day,) in host.execute("SELECT usage_date FROM batch.usage_day ORDER BY usage_date").fetchall()
    ]
    for day in closed:
        assert run_usage(database, date(2026, 10, day), codes=("A",)).success_count == 1
    return closed


@pytest.mark.parametrize(
    ("contract_end", "changes", "counted"),
    [
        (None, {21: None}, [2, 3, 9, 10, 20]),
        (None, {3: None, 10: "BASIC", 21: None}, [2, 10, 20]),
        # The plan began again, and nobody knows until when.
        (None, {3: None, 10: "BASIC"}, [2]),
        # The earlier end counts, of the contract and of the plan.
        (datetime(2026, 10, 9, 14, 59), {21: None}, [2, 3, 9]),
        (datetime(2026, 10, 20, 14, 59), {10: None}, [2, 3, 9]),
        (datetime(2026, 10, 20, 14, 59), {3: None, 10: "BASIC"}, [2, 10, 20]),
    ],
)
def test_tenants_that_left_are_counted_until_their_plan_ends(
    database: Database,
    host: psycopg.Connection,
    contract_end: datetime | None,
    changes: dict[int, str | None],
    counted: list[int],
) -> None:
    host_rows.tenant(host, "A", status="SUSPENDED", contract_end_date=contract_end)
    billing_rows.plan_change(host, "A", date(2026, 4, 1), "STANDARD")
    for day, plan in changes.items():
        billing_rows.plan_change(host, "A", date(2026, 10, day), plan)

    assert counted_days(database, host) == counted


def test_the_usage_of_a_tenant_that_left_can_be_billed(database: Database, host: psycopg.Connection) -> None:
    billing_rows.customer(host, "A", months=(), tenant_code="A", status="SUSPENDED")
    billing_rows.close_month(host, "A", last=19)
    billing_rows.plan_change(host, "A", date(2026, 4, 1), "BASIC")
    assert billing_rows.run_billing(database).failed_tenants
    billing_rows.plan_change(host, "A", date(2026, 10, 21), None)

    run_usage(database, date(2026, 10, 20))

    assert billing_rows.run_billing(database).status == "completed"
    assert billing_rows.invoice(host, "A")["content"]["lines"][0]["service_to"] == "2026-10-20"


def test_days_of_a_deleted_tenant_are_not_counted_again(database: Database, host: psycopg.Connection) -> None:
    billing_rows.customer(host, "A", months=(), status="deleted")
    billing_rows.close_month(host, "A", last=20, api_calls=7)
    billing_rows.plan_change(host, "A", date(2026, 4, 1), "BASIC")
    billing_rows.plan_change(host, "A", date(2026, 10, 21), None)
    billing_rows.insert(
        host,
        "deleted_tenant",
        tenant_id="A",
        offboarding_id="left",
        deleted_at=datetime(2026, 11, 30, tzinfo=UTC),
        export_bytes=1,
    )

    assert run_usage(database, date(2026, 10, 20)).total_tenants == 0

    assert closed_day(host, "A", date(2026, 10, 20))["api_calls"] == 7


def test_the_base_host_gives_everybody_to_its_one_tenant(base_database: Database) -> None:
    with base_database.connect() as host:
        host_rows.tenant(host, "only")
        host_rows.insert(
            host, "MST_UserAuth", user_id="user", employee_id="000001", created_at=NOON, updated_at=NOON
        )
        host_rows.request(host, "user", NOON)

        run_usage(base_database)

        assert host_usage(host, "only")["api_requests"] == 1


def test_a_late_log_line_raises_the_revision_of_the_closed_day(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A")
    host_rows.user(host, "A", "user")
    run_usage(database)
    host_rows.request(host, "user", NOON)

    run_usage(database)

    assert (closed_day(host, "A")["api_calls"], closed_day(host, "A")["revision"]) == (1, 2)


def test_only_the_chosen_tenants_are_written(database: Database, host: psycopg.Connection) -> None:
    for tenant_id in ("A", "B"):
        host_rows.tenant(host, tenant_id)

    run_usage(database, codes=("B",))

    assert host.execute('SELECT tenant_id FROM "SYS_TenantUsage"').fetchall() == [("B",)]


def test_each_quota_threshold_warns_once_a_month_and_again_the_next_month(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A", max_storage_gb=1)
    host_rows.report(host, "A", datetime(2026, 10, 1), file_size=900_000_000)
    for day in (date(2026, 10, 30), DAY, date(2026, 11, 1), date(2026, 11, 2)):
        run_usage(database, day)

    warned = host.execute(
        "SELECT window_start, business_date, threshold_percent FROM batch.usage_warning ORDER BY window_start"
    ).fetchall()
    assert warned == [
        (date(2026, 10, 1), date(2026, 10, 30), 80),
        (date(2026, 11, 1), date(2026, 11, 1), 80),
    ]
    # The tenant has no address. Only the runs that warn say so.
    notes = host.execute(
        "SELECT log.business_date FROM batch.tenant_outcome AS outcome INNER JOIN batch.execution_log AS log USING (execution_id)"
        " WHERE %s = any(outcome.notes) ORDER BY 1",
        [NOBODY_TO_TELL],
    ).fetchall()
    assert notes == [(date(2026, 10, 30),), (date(2026, 11, 1),)]


def test_the_months_calls_add_up_over_the_closed_days(database: Database, host: psycopg.Connection) -> None:
    host_rows.tenant(host, "A")
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id="setting",
        tenant_id="A",
        setting_key="batch.usage.api_calls_per_month",
        setting_value="5",
        updated_at=NOON,
    )
    host_rows.user(host, "A", "user")
    for days_ago in (2, 2, 1, 0):
        host_rows.request(host, "user", NOON - timedelta(days=days_ago))
    for days_ago in (2, 1, 0):
        run_usage(database, DAY - timedelta(days=days_ago))

    warned = host.execute("SELECT business_date, observed, reference FROM batch.usage_warning").fetchall()
    assert warned == [(DAY, 4, 5)]


def test_a_day_above_twice_the_usual_mean_is_flagged_without_a_letter(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A", admin_email="admin@a.example.jp")
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id="setting",
        tenant_id="A",
        setting_key="batch.usage.surge_min_api_calls",
        setting_value="0",
        updated_at=NOON,
    )
    host_rows.user(host, "A", "user")
    for days_ago in range(1, 8):
        host_rows.request(host, "user", NOON - timedelta(days=days_ago))
    for _ in range(3):
        host_rows.request(host, "user", NOON)
    for days_ago in range(7, -1, -1):
        run_usage(database, DAY - timedelta(days=days_ago))

    surges = host.execute(
        "SELECT metric, business_date, observed, reference FROM batch.usage_warning"
    ).fetchall()
    assert surges == [("api_calls", DAY, 3, 1)]
    assert host.execute("SELECT subject FROM batch.outbox").fetchall() == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("quota_warning_percent", "eighty"),
        ("no_such_setting", "1"),
        ("quota_warning_percent", ""),
        ("surge_history_days", "7"),
    ],
)
def test_an_invalid_tenant_setting_is_reported_and_the_default_used(
    database: Database, host: psycopg.Connection, key: str, value: str | None
) -> None:
    host_rows.tenant(host, "A", max_storage_gb=1)
    host_rows.report(host, "A", NOON, file_size=900_000_000)
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id="setting",
        tenant_id="A",
        setting_key=f"batch.usage.{key}",
        setting_value=value,
        updated_at=NOON,
    )

    assert run_usage(database).status == "completed"

    assert host.execute("SELECT threshold_percent FROM batch.usage_warning").fetchall() == [(80,)]
    (notes,) = host.execute("SELECT notes FROM batch.tenant_outcome").fetchone() or ([],)
    assert key in notes[0]


def test_the_longest_history_is_within_the_calendar(
    database: Database, host: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(f"usage: {{surge_history_days: {LONGEST_DAYS}}}", encoding="utf-8")
    monkeypatch.setenv(SETTINGS_VARIABLE, str(own))
    host_rows.tenant(host, "A")
    assert run_usage(database, EARLIEST_BUSINESS_DATE).status == "completed"


def test_preparing_again_reads_the_logs_no_second_time(database: Database, host: psycopg.Connection) -> None:
    for tenant_id in ("A", "B"):
        host_rows.tenant(host, tenant_id)
    batch = create_batch(LOCAL)
    with database.connect("batch_platform") as platform:
        run, _ = open_run(platform, TENANT_USAGE, batch, DAY)
        assert prepare(batch, Work(run, platform, ["A", "B"])) == {}
        # The host cannot be read any more, so the result proves that it is not read.
        host.execute("ALTER VIEW batch.all_person_key RENAME TO hidden")
        assert prepare(batch, Work(run, platform, ["A", "B"])) == {}
        host.execute("ALTER VIEW batch.hidden RENAME TO all_person_key")
        # Two tries that both find nothing prepared collect side by side.
        batch.prepare(Work(run, platform, ["A", "B"]))
    assert host.execute("SELECT count(*) FROM batch.usage_signal").fetchone() == (2,)


def test_two_runs_at_once_end_with_one_set_of_rows(database: Database, host: psycopg.Connection) -> None:
    for number in range(30):
        host_rows.tenant(host, f"T{number:02}")
        host_rows.user(host, f"T{number:02}", f"user{number}", last_login_at=NOON)
    results: list[RunResult] = []
    start = threading.Barrier(2)

    def work() -> None:
        start.wait()
        results.append(run_usage(database, shards=6))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [result.status for result in results] == ["completed", "completed"]
    assert host.execute('SELECT count(*), count(DISTINCT tenant_id) FROM "SYS_TenantUsage"').fetchone() == (
        30,
        30,
    )
    assert host.execute("SELECT count(*), max(revision) FROM batch.usage_day").fetchone() == (30, 1)


def test_a_closed_day_stays_after_its_tenant_was_deleted(
    database: Database, host: psycopg.Connection
) -> None:
    for tenant_id in ("A", "B"):
        host_rows.tenant(host, tenant_id, contract_end_date=datetime(2026, 11, 30))
        host_rows.user(host, tenant_id, f"user_{tenant_id}")
        host_rows.request(host, f"user_{tenant_id}", NOON)
    run_usage(database)
    before = everything_written(host)
    host.execute("""UPDATE "MST_Tenant" SET status = 'deleted' WHERE tenant_id = 'A'""")

    run_usage(database)
    run_usage(database, DAY - timedelta(days=1))

    assert host_usage(host, "A")["api_requests"] == 1
    assert closed_day(host, "A")["revision"] == 1
    assert closed_day(host, "A", DAY - timedelta(days=1))["api_calls"] == 0
    noted = host.execute(
        "SELECT count(*) FROM batch.tenant_outcome WHERE tenant_id = 'A' AND notes::text LIKE '%削除されたテナント%'"
    ).fetchone()
    assert noted == (1,)
    host.execute('DELETE FROM "SYS_TenantUsage" WHERE usage_date < %s', [DAY])
    assert everything_written(host)[0] == before[0]


def test_a_day_whose_log_was_cleaned_up_is_not_counted_as_0(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "A")
    host_rows.user(host, "A", "user")
    host_rows.request(host, "user", NOON)
    run_usage(database)
    before = everything_written(host)
    host.execute('DELETE FROM "SYS_SystemLog"')
    host_rows.request(host, "user", NOON + timedelta(days=200))

    with pytest.raises(ParameterError, match=r"2026-10-31 は数え直せません.*API 呼び出しが 1 件"):
        run_usage(database)

    assert everything_written(host) == before
