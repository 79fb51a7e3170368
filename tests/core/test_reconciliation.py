"""Every run reports the rows that it read and could not assign: each planted row is named once, in the right place."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import psycopg
import pytest

from include.skillreport.batches import (
    inactive_tenants,
    scheduled_notifications,
    statistics,
    tenant_monitoring,
    tenant_usage,
)
from include.skillreport.core.catalog import (
    INACTIVE_TENANTS,
    SCHEDULED_NOTIFICATIONS,
    STATISTICS,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from include.skillreport.core.execution.batch import Batch
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.run_spec import BatchSpec
from local_stack.batch_runs import LOCAL, close_run, open_run, process_tenants, run_batch
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.shared_database import database

__all__ = ["database"]

pytestmark = pytest.mark.tenants("A", "B")

DAY = date(2026, 10, 31)
NOON = datetime(2026, 10, 31, 3, 0)  # UTC
APRIL = datetime(2026, 4, 1)
BATCHES: dict[BatchSpec, Batch] = {
    TENANT_USAGE: tenant_usage.create_batch(LOCAL),
    STATISTICS: statistics.create_batch(LOCAL),
    INACTIVE_TENANTS: inactive_tenants.create_batch(LOCAL),
    TENANT_MONITORING: tenant_monitoring.create_batch(LOCAL),
}


@pytest.fixture(autouse=True)
def people(host: psycopg.Connection) -> None:
    """One person of each tenant."""
    for tenant_id in ("A", "B"):
        host_rows.user(host, tenant_id, f"user {tenant_id}")


def run(database: Database, spec: BatchSpec = TENANT_USAGE) -> RunResult:
    with database.working() as (platform, connection):
        return run_batch(
            platform, connection, spec, BATCHES.get(spec) or scheduled_notifications.create_batch(LOCAL), DAY
        )


def reconciliation(host: psycopg.Connection, result: RunResult) -> dict[str, Any]:
    """The reconciliation in the result of the run."""
    row = host.execute(
        "SELECT result -> 'reconciliation' FROM batch.execution_log WHERE execution_id = %s",
        [result.execution_id],
    ).fetchone()
    assert row is not None
    found: dict[str, Any] = row[0]
    return found


def edit(host: psycopg.Connection, row_id: str, by: str, stated: str, table: str = "TRN_SkillRecord") -> None:
    host_rows.insert(
        host,
        table,
        id=row_id,
        employee_id=by,
        tenant_id=stated,
        created_at=NOON,
        updated_at=NOON,
        created_by=by,
        updated_by=by,
    )


def test_each_planted_row_is_named_once_in_its_place(database: Database, host: psycopg.Connection) -> None:
    host_rows.request(host, "user A", NOON)
    host_rows.request(host, None, NOON)  # before the login
    edit(host, "right", "user A", "default")
    host_rows.insert(host, "MST_UserAuth", user_id="stray", employee_id="nobody", updated_at=NOON)
    host_rows.audit(host, "ghost", NOON)
    host_rows.audit(host, "system", NOON)
    edit(host, "placeholder", "emp_001", "default", "TRN_ProjectRecord")
    edit(host, "unknown", "who", "tenant_001", "TRN_GoalProgress")
    host_rows.insert(
        host,
        "HIS_NotificationLog",
        id="n",
        tenant_id="nowhere",
        send_status="SENT",
        sent_at=NOON,
        created_at=NOON,
        updated_at=NOON,
    )

    result = run(database)

    assert result.status == "completed"
    found = reconciliation(host, result)
    sources = {
        source: (counts["read"], counts["placed"], counts["nobody"], counts["unplaced"])
        for source, counts in found["sources"].items()
    }
    assert sources == {
        "HIS_AuditLog": (2, 0, 1, {"unknown_person": 1}),
        "HIS_NotificationLog": (1, 0, 0, {"unknown_tenant": 1}),
        "MST_UserAuth": (3, 2, 0, {"no_employee": 1}),
        "SYS_SystemLog": (2, 1, 1, {}),
        "TRN_GoalProgress": (1, 0, 0, {"unknown_person": 1}),
        "TRN_ProjectRecord": (1, 0, 0, {"placeholder": 1}),
        "TRN_SkillRecord": (1, 1, 0, {}),
    }
    assert found["sources"]["TRN_SkillRecord"]["overruledTenants"] == 1
    assert (found["read"], found["unplaced"]) == (10, 4)


@pytest.mark.parametrize("spec", BATCHES, ids=lambda spec: spec.id)
@pytest.mark.parametrize(("unknown", "placed", "status"), [(10, 5, "completed"), (11, 5, "partial")])
def test_beyond_the_threshold_a_run_is_partial_and_says_why(
    database: Database, host: psycopg.Connection, spec: BatchSpec, unknown: int, placed: int, status: str
) -> None:
    # The monitoring looks at the hour before its check, at midnight.
    at = datetime(2026, 10, 31, 14, 30) if spec is TENANT_MONITORING else NOON
    for _ in range(placed):
        host_rows.audit(host, "user A", at)
    for number in range(unknown):
        host_rows.audit(host, f"ghost {number}", at)

    result = run(database, spec)

    assert (result.status, result.error_count) == (status, 0)
    assert (f"HIS_AuditLog: 該当者がないか 1 人に決まらない利用者 {unknown} 件" in result.sentence()) is (
        status == "partial"
    )
    logged = host.execute(
        "SELECT status, error_message FROM batch.execution_log WHERE execution_id = %s", [result.execution_id]
    ).fetchone()
    assert logged == (status, "。".join(each.text for each in result.problems) or None)


def test_a_cleared_run_counts_anew_and_a_mended_account_completes_it(
    database: Database, host: psycopg.Connection
) -> None:
    for number in range(11):
        host_rows.insert(
            host,
            "MST_UserAuth",
            user_id=f"u{number}",
            employee_id=f"e{number}",
            created_at=APRIL,
            updated_at=NOON,
        )
        host_rows.insert(
            host,
            "MST_Employee",
            id=f"emp {number}",
            employee_code=f"code {number}",
            tenant_id="A",
            updated_at=NOON,
        )
    batch = tenant_usage.create_batch(LOCAL)
    with database.working() as (platform, connection):
        opened, tenant_ids = open_run(platform, TENANT_USAGE, batch, DAY)
        process_tenants(connection, platform, batch, opened, tenant_ids)
        assert close_run(platform, TENANT_USAGE, batch, opened).result.status == "partial"

        host.execute(
            "UPDATE \"MST_UserAuth\" SET employee_id = 'code ' || substr(user_id, 2) WHERE user_id LIKE 'u_%'"
            " AND user_id NOT LIKE 'user%'"
        )
        process_tenants(connection, platform, batch, opened, tenant_ids)
        closed = close_run(platform, TENANT_USAGE, batch, opened)

    assert closed.result.status == "completed"
    assert reconciliation(host, closed.result)["sources"]["MST_UserAuth"]["unplaced"] == {}
    assert host.execute("SELECT registered_users FROM batch.usage_day WHERE tenant_id = 'A'").fetchone() == (
        12,
    )


def test_many_unplaced_among_a_hundred_times_as_many_are_only_counted(
    database: Database, host: psycopg.Connection
) -> None:
    for number in range(11):
        host_rows.audit(host, f"ghost {number}", NOON)
    host.execute(
        'INSERT INTO "HIS_AuditLog" (id, user_id, created_at) SELECT %s || n, %s, %s FROM generate_series(1, 1100) AS n',
        ["audit ", "user A", NOON],
    )

    result = run(database)

    assert result.status == "completed"
    assert reconciliation(host, result)["unplaced"] == 11


def test_a_watched_key_is_placed_and_counted(database: Database, host: psycopg.Connection) -> None:
    host_rows.insert(host, "MST_Employee", id="e1", employee_code="000001", tenant_id="A", updated_at=NOON)
    edit(host, "w", "000001", "default", "TRN_ProjectRecord")

    counts = reconciliation(host, run(database))["sources"]["TRN_ProjectRecord"]

    assert (counts["placed"], counts["watchedKeys"]) == (1, 1)


def test_remarks_about_one_tenant_are_in_its_outcome(database: Database, host: psycopg.Connection) -> None:
    host_rows.tenant(host, "default-tenant")
    # An account that the application made, at the column's default.
    host_rows.insert(host, "MST_UserAuth", user_id="stray", employee_id="nobody", updated_at=NOON)
    edit(host, "p", "emp_001", "A", "TRN_ProjectRecord")
    host_rows.audit(host, "ghost", NOON, tenant_id="A")

    run(database)

    notes: dict[str, list[str]] = dict(
        host.execute("SELECT tenant_id, notes FROM batch.tenant_outcome").fetchall()
    )
    assert notes == {
        "A": ["このテナントと書かれた操作のうち 2 件は、利用者が特定できません"],
        "B": [],
        "default-tenant": ["従業員のないアカウントが 1 件あり、利用者数に含めていません"],
    }
    closed = host.execute(
        "SELECT tenant_id, registered_users, active_users, unplaced_accounts, unplaced_events FROM batch.usage_day ORDER BY 1"
    ).fetchall()
    assert closed == [("A", 1, 0, 0, 2), ("B", 1, 0, 0, 0), ("default-tenant", 0, 0, 1, 0)]


def test_a_table_never_filled_is_no_source_and_emptied_is_silent(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.audit(host, "user A", NOON)

    def silences(result: RunResult) -> dict[str, tuple[str, str | None]]:
        return {
            each["source"]: (each["state"], each["since"])
            for each in reconciliation(host, result)["silences"]
        }

    assert silences(run(database)) == dict.fromkeys(
        (
            "SYS_SystemLog",
            "HIS_ReportGeneration",
            "HIS_ReportGeneration file_size",
            "TRN_SkillEvidence",
            "TRN_SkillRecord assessment_date",
            "HIS_NotificationLog",
        ),
        ("no_source", None),
    )
    absent = "api_calls, error_count, peak_concurrent_users, storage_bytes, reports_generated, skill_assessments, notifications_sent"
    found = host.execute(f"SELECT {absent} FROM batch.usage_day WHERE tenant_id = 'A'").fetchone()
    assert found == (None,) * 7
    assert host.execute(
        'SELECT active_users, api_requests, file_storage_mb FROM "SYS_TenantUsage" WHERE tenant_id = %s',
        ["A"],
    ).fetchone() == (1, None, None)

    host_rows.request(host, "user A", datetime(2026, 10, 20, 3))
    assert silences(run(database))["SYS_SystemLog"] == ("silent", "2026-10-20")
    host.execute('DELETE FROM "SYS_SystemLog"')
    assert silences(run(database))["SYS_SystemLog"] == ("silent", "2026-10-20")
    assert host.execute("SELECT api_calls FROM batch.usage_day WHERE tenant_id = 'A'").fetchone() == (0,)


def test_unplaced_reminders_and_notifications_are_counted_by_the_batch_that_sends_them(
    database: Database, host: psycopg.Connection
) -> None:
    for row_id, by in (("known", "user A"), ("placeholder", "emp_001")):
        host_rows.insert(
            host,
            "TRN_PDU",
            id=row_id,
            employee_id=by,
            activity_type="certification",
            activity_name="C",
            expiry_date=datetime(2026, 11, 10),
            tenant_id="default",
            created_by=by,
            updated_by=by,
            updated_at=NOON,
        )
    for row_id, tenant_id in (("n1", "A"), ("n2", "nowhere")):
        host_rows.insert(
            host,
            "HIS_NotificationLog",
            id=row_id,
            tenant_id=tenant_id,
            notification_type="EMAIL",
            send_status="PENDING",
            scheduled_at=datetime(2026, 10, 30, 12),
            updated_at=NOON,
        )

    found = reconciliation(host, run(database, SCHEDULED_NOTIFICATIONS))

    assert {
        source: (counts["read"], counts["placed"], counts["unplaced"])
        for source, counts in found["sources"].items()
    } == {
        "HIS_NotificationLog": (2, 1, {"unknown_tenant": 1}),
        "TRN_PDU certificates": (2, 1, {"placeholder": 1}),
    }


def test_the_application_s_accounts_are_counted_for_their_own_tenant(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "default-tenant")
    for number in range(24):
        host_rows.insert(
            host,
            "MST_Employee",
            id=f"emp_{number + 2:03}",
            employee_code=f"{number + 2:06}",
            tenant_id="A",
            updated_at=NOON,
        )
        # As working-seed writes it: the code everywhere, the tenant nowhere.
        host_rows.insert(
            host,
            "MST_UserAuth",
            user_id=f"USER{number + 2:06}",
            login_id=f"{number + 2:06}",
            employee_id=f"{number + 2:06}",
            last_login_at=NOON,
            created_at=datetime(2026, 4, 1),
            updated_at=NOON,
        )

    run(database)
    run(database, INACTIVE_TENANTS)

    counted: dict[str, int] = dict(
        host.execute("SELECT tenant_id, active_users FROM batch.usage_day").fetchall()
    )
    assert counted == {"A": 24, "B": 0, "default-tenant": 0}
    assert host.execute(
        "SELECT last_activity_on FROM batch.tenant_inactivity WHERE tenant_id = 'A'"
    ).fetchone() == (DAY,)
