"""The counts of the hourly batch give the daily batches the same figures, without reading the logs again."""

from __future__ import annotations

import threading
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from include.skillreport.activity import hours
from include.skillreport.batches import inactive_tenants, statistics, tenant_monitoring, tenant_usage
from include.skillreport.core.catalog import (
    INACTIVE_TENANTS,
    STATISTICS,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from include.skillreport.core.execution.batch import Batch
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.run_spec import BatchSpec
from local_stack.batch_runs import LOCAL, run_batch
from tests.conftest import Database
from tests.waiting import wait_until
from tests.worlds import host_rows

pytestmark = pytest.mark.tenants("A", "B")

TOKYO = ZoneInfo("Asia/Tokyo")
DAY = date(2026, 10, 31)
MIDNIGHT = datetime(2026, 11, 1, tzinfo=TOKYO)
ONE = MIDNIGHT + timedelta(hours=1)
NOON = datetime(2026, 10, 31, 3)  # UTC
FIRST, LAST = datetime(2026, 10, 30, 15), datetime(2026, 10, 31, 14, 59, 59, 999_000)  # UTC
LOGS = ("SYS_SystemLog", "HIS_AuditLog", "TRN_SkillRecord")

# The figure of the active people in an outcome.
ACTIVE = {TENANT_USAGE: "active_users", STATISTICS: "users_active"}
BATCHES: dict[BatchSpec, Batch] = {
    TENANT_USAGE: tenant_usage.create_batch(LOCAL),
    STATISTICS: statistics.create_batch(LOCAL),
    INACTIVE_TENANTS: inactive_tenants.create_batch(LOCAL),
    TENANT_MONITORING: tenant_monitoring.create_batch(LOCAL),
}


@pytest.fixture(autouse=True)
def day(host: psycopg.Connection) -> None:
    """A day with everything that the logs can hold."""
    for tenant_id in ("A", "B"):
        for name in ("1", "2"):
            host_rows.user(host, tenant_id, f"user {tenant_id}{name}")
    requests: list[tuple[str | None, datetime, dict[str, Any]]] = [
        ("user A1", FIRST, {}),
        ("user A1", NOON, {"response_status": 503, "response_time": 900}),
        ("user A2", NOON + timedelta(minutes=59), {"response_time": None}),
        ("user B1", LAST, {}),
        ("emp_001", NOON, {}),
        ("somebody", NOON, {}),
        (None, NOON, {}),
    ]
    for user_id, at, values in requests:
        host_rows.request(host, user_id, at, **values)
    actions: list[tuple[str, datetime, dict[str, Any]]] = [
        ("user A1", NOON, {"action_type": "LOGIN"}),
        ("user A1", NOON + timedelta(hours=2), {"action_type": "LOGIN"}),
        ("user A2", NOON, {"action_type": "LOGIN", "result_status": "FAILURE"}),
        ("user B1", NOON - timedelta(days=3), {}),
        ("nobody known", NOON, {"tenant_id": "B"}),
        ("user B2", NOON, {"tenant_id": "A"}),
        ("system", NOON, {}),
    ]
    for actor, at, values in actions:
        host_rows.audit(host, actor, at, **values)


def run(database: Database, spec: BatchSpec, run_at: datetime = ONE, **options: Any) -> RunResult:
    with database.working() as (platform, connection):
        return run_batch(platform, connection, spec, BATCHES[spec], DAY, run_at=run_at, **options)


def check(database: Database, check_at: datetime) -> None:
    """The hourly pass at this time. The first one reads four weeks."""
    with database.working() as (platform, connection):
        batch = BATCHES[TENANT_MONITORING]
        day = check_at.astimezone(TOKYO).date()
        run_batch(platform, connection, TENANT_MONITORING, batch, day, run_at=check_at)


def empty_logs(host: psycopg.Connection) -> None:
    """The logs are empty, so a batch that reads a log finds no rows."""
    for table in LOGS:
        host.execute(f'DELETE FROM "{table}"')


def written(host: psycopg.Connection, spec: BatchSpec) -> list[Any]:
    """The figures of a batch, and its remarks about unplaced rows."""
    table, columns = {
        TENANT_USAGE: ("usage_day", "- '{closed_by,closed_at}'::text[]"),
        STATISTICS: (
            "statistics_day",
            "- '{execution_id,recorded_at,recorded_by,computed_at,computed_by,revision}'::text[]",
        ),
        INACTIVE_TENANTS: ("tenant_inactivity", "- '{entered_by,judged_by}'::text[]"),
    }[spec]
    rows = host.execute(
        f"SELECT to_jsonb(kept) {columns} FROM batch.{table} AS kept ORDER BY tenant_id"
    ).fetchall()
    tallies = host.execute(
        """
        SELECT source, placement, row_count FROM batch.reconciliation
        WHERE execution_id = (
            SELECT execution_id FROM batch.execution_log WHERE batch_id = %s ORDER BY started_at DESC LIMIT 1
        )
        ORDER BY source, placement
        """,
        [spec.id],
    ).fetchall()
    return [rows, tallies]


def scans(host: psycopg.Connection, result: RunResult) -> dict[str, dict[str, int]]:
    row = host.execute(
        "SELECT result -> 'scans' FROM batch.execution_log WHERE execution_id = %s", [result.execution_id]
    ).fetchone()
    assert row is not None
    found: dict[str, dict[str, int]] = row[0]
    return found


@pytest.mark.parametrize("spec", [TENANT_USAGE, STATISTICS, INACTIVE_TENANTS], ids=lambda spec: spec.id)
def test_a_daily_batch_counts_the_same_from_hours_as_from_logs(
    database: Database, host: psycopg.Connection, spec: BatchSpec
) -> None:
    read = run(database, spec)
    from_logs = written(host, spec)
    host.execute(
        "TRUNCATE batch.usage_day, batch.statistics_day, batch.login_day, batch.tenant_inactivity CASCADE"
    )
    host.execute("UPDATE \"MST_Tenant\" SET created_at = '2026-10-30'")
    run(database, spec)
    since_creation = written(host, spec)
    host.execute(
        "TRUNCATE batch.usage_day, batch.statistics_day, batch.login_day, batch.tenant_inactivity CASCADE"
    )
    check(database, ONE)
    empty_logs(host)

    shared = run(database, spec)

    assert written(host, spec) == since_creation
    if spec is not INACTIVE_TENANTS:  # the time before a tenant's creation is not read
        assert since_creation == from_logs
    assert scans(host, read)["HIS_AuditLog"]["read"] >= 7
    for table in ("SYS_SystemLog", "HIS_AuditLog"):
        if table in scans(host, shared):
            assert scans(host, shared)[table]["read"] == 0
            assert scans(host, shared)[table]["used"] == scans(host, read)[table]["used"] > 0


def test_a_day_that_the_hourly_pass_left_unfinished_is_read_from_logs(
    database: Database, host: psycopg.Connection
) -> None:
    check(database, MIDNIGHT - timedelta(hours=1))
    host_rows.request(host, "user B1", LAST)
    result = run(database, TENANT_USAGE)
    assert scans(host, result)["SYS_SystemLog"] == {"read": 8, "used": 8}


def test_the_last_hour_is_read_twice_before_it_is_billed(
    database: Database, host: psycopg.Connection
) -> None:
    check(database, MIDNIGHT)
    # Written late, with a time before midnight.
    host_rows.request(host, "user B1", LAST)
    assert scans(host, run(database, TENANT_USAGE))["SYS_SystemLog"] == {"read": 8, "used": 8}
    check(database, ONE)
    assert scans(host, run(database, TENANT_USAGE))["SYS_SystemLog"] == {"read": 0, "used": 8}


def test_statistics_wait_for_the_pass_that_starts_with_them(
    database: Database, host: psycopg.Connection
) -> None:
    """Outside of a transaction, for which an upgrade would wait."""
    check(database, MIDNIGHT)
    host_rows.request(host, "user B1", LAST)
    results: list[RunResult] = []
    thread = threading.Thread(target=lambda: results.append(run(database, STATISTICS)))
    thread.start()
    wait_until(
        lambda: (
            host.execute(
                "SELECT count(*) > 0 FROM pg_stat_activity WHERE state = 'idle' AND query LIKE %s",
                ["%batch.activity_reading%"],
            ).fetchone()
            == (True,)
        ),
        "the run of BATCH-003 waits",
    )
    check(database, ONE)
    thread.join()
    assert scans(host, results[0])["SYS_SystemLog"] == {"read": 0, "used": 8}


def test_statistics_read_the_logs_if_the_pass_does_not_come(
    database: Database, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hours, "_PATIENCE", timedelta(0))
    check(database, MIDNIGHT)
    assert scans(host, run(database, STATISTICS))["SYS_SystemLog"] == {"read": 7, "used": 7}


def test_the_first_pass_of_a_day_reads_the_day_before_again(
    database: Database, host: psycopg.Connection
) -> None:
    for hour in (14, 15, 16):
        check(database, MIDNIGHT - timedelta(hours=24 - hour))
    host_rows.request(host, "user B1", NOON)  # hours late
    for check_at in (MIDNIGHT, ONE):
        check(database, check_at)
    assert scans(host, run(database, TENANT_USAGE))["SYS_SystemLog"] == {"read": 0, "used": 8}
    measured = host.execute(
        "SELECT sum(api_calls) FROM batch.hourly_measure WHERE tenant_id = 'B' AND hour_at < %s",
        [MIDNIGHT - timedelta(hours=1)],
    ).fetchone()
    assert measured == (0,)  # the judged days do not change


def test_the_edits_of_a_row_that_was_edited_again_are_kept(
    database: Database, host: psycopg.Connection
) -> None:
    def edit(user_id: str, at: datetime) -> None:
        host.execute('UPDATE "TRN_GoalProgress" SET updated_by = %s, updated_at = %s', [user_id, at])

    host_rows.insert(
        host,
        "TRN_GoalProgress",
        id="goal",
        tenant_id="A",
        created_at=NOON,
        updated_at=NOON,
        created_by="user A1",
        updated_by="user A1",
    )
    host.execute('DELETE FROM "HIS_AuditLog"')
    host.execute('DELETE FROM "SYS_SystemLog"')
    edit("user A1", NOON + timedelta(minutes=5))
    for check_at in (MIDNIGHT, ONE):
        check(database, check_at)
    users = "SELECT active_users FROM batch.usage_day WHERE tenant_id = 'A'"
    run(database, TENANT_USAGE)
    assert host.execute(users).fetchone() == (1,)
    # The application keeps only the last edit, which is now one of the next day.
    edit("user A2", NOON + timedelta(days=1))
    run(database, TENANT_USAGE, triggered_by="operator")
    assert host.execute(users).fetchone() == (1,)


def test_sources_without_a_row_are_looked_for_once_a_day(
    database: Database, host: psycopg.Connection
) -> None:
    for number in range(5):
        host_rows.insert(
            host,
            "TRN_SkillRecord",
            id=f"skill {number}",
            tenant_id="A",
            created_at=datetime(2026, 4, 1),
            updated_at=datetime(2026, 4, 1),
            created_by="user A1",
            updated_by="user A1",
        )
    read = []
    for check_at in (MIDNIGHT, ONE, ONE + timedelta(hours=1)):
        check(database, check_at)
        rows = host.execute(
            """
            SELECT coalesce(sum(row_count), 0)::integer FROM batch.rows_scanned
            WHERE relation = 'TRN_SkillRecord' AND execution_id = (
                SELECT execution_id FROM batch.execution_log ORDER BY started_at DESC LIMIT 1
            )
            """
        ).fetchone()
        assert rows is not None
        read.append(rows[0])
    # Once for the edits, and the first time for the dates of assessments as well.
    assert read == [10, 5, 5]


def test_a_person_who_triggers_a_run_gets_the_logs_as_they_are(
    database: Database, host: psycopg.Connection
) -> None:
    check(database, ONE)
    run(database, TENANT_USAGE)
    host_rows.request(host, "user B1", NOON)
    run(database, TENANT_USAGE)
    calls = "SELECT api_calls FROM batch.usage_day WHERE tenant_id = 'B'"
    assert host.execute(calls).fetchone() == (1,)
    run(database, TENANT_USAGE, triggered_by="operator")
    assert host.execute(calls).fetchone() == (2,)


def test_two_passes_at_once_count_each_row_once(database: Database, host: psycopg.Connection) -> None:
    threads = [threading.Thread(target=check, args=(database, ONE)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted = host.execute("SELECT sum(row_count) FROM batch.activity_hour WHERE source = 'SYS_SystemLog'")
    assert counted.fetchone() == (7,)


def test_a_pass_drops_the_hours_that_no_batch_needs(database: Database, host: psycopg.Connection) -> None:
    check(database, ONE)
    assert host.execute("SELECT count(*) FROM batch.activity_reading").fetchone() == (72,)
    check(database, ONE + timedelta(days=4))
    oldest = host.execute(
        "SELECT min(hour_at), (SELECT count(*) FROM batch.activity_hour) FROM batch.activity_reading"
    ).fetchone()
    assert oldest == (ONE + timedelta(days=1), 0)


def test_an_action_counts_when_its_person_is_known_later(
    database: Database, host: psycopg.Connection
) -> None:
    def last_activity() -> list[Any]:
        return host.execute(
            "SELECT tenant_id, last_activity_on FROM batch.tenant_inactivity ORDER BY tenant_id"
        ).fetchall()

    empty_logs(host)
    host_rows.audit(host, "user of B3", NOON)
    with database.working() as (platform, connection):
        for days in (0, 1, 2):
            if days == 2:
                host_rows.user(host, "B", "user of B3")
            batch, day = BATCHES[INACTIVE_TENANTS], DAY + timedelta(days=days)
            run_batch(platform, connection, INACTIVE_TENANTS, batch, day)
            assert last_activity() == [("A", None), ("B", DAY if days == 2 else None)]


def test_activity_before_the_last_judgement_is_remembered_and_not_read_again(
    database: Database, host: psycopg.Connection
) -> None:
    run(database, INACTIVE_TENANTS)
    empty_logs(host)
    with database.working() as (platform, connection):
        next_day = DAY + timedelta(days=1)
        run_batch(platform, connection, INACTIVE_TENANTS, BATCHES[INACTIVE_TENANTS], next_day)
    assert host.execute(
        "SELECT tenant_id, last_activity_on, judged_on FROM batch.tenant_inactivity ORDER BY tenant_id"
    ).fetchall() == [("A", DAY, next_day), ("B", DAY, next_day)]


def test_the_scheduled_judgement_of_the_present_day_reads_no_log(
    database: Database, host: psycopg.Connection
) -> None:
    def judge(day: date) -> RunResult:
        run_at = datetime.combine(day, time(4), TOKYO)
        with database.working() as (platform, connection):
            batch = BATCHES[INACTIVE_TENANTS]
            return run_batch(platform, connection, INACTIVE_TENANTS, batch, day, run_at=run_at)

    judge(DAY)
    host_rows.audit(host, "user B2", datetime(2026, 10, 31, 16))  # 01:00 on the next day
    # The passes until the hour before; the one of 04:00 starts with the run.
    for hour in (0, 1, 2, 3):
        check(database, MIDNIGHT + timedelta(hours=hour))
    empty_logs(host)

    result = judge(DAY + timedelta(days=1))

    assert "HIS_AuditLog" not in {table for table, count in scans(host, result).items() if count["read"]}
    days = host.execute("SELECT last_activity_on FROM batch.tenant_inactivity ORDER BY tenant_id").fetchall()
    assert days == [(DAY,), (DAY + timedelta(days=1),)]


@pytest.mark.parametrize("spec", [TENANT_USAGE, STATISTICS], ids=lambda spec: spec.id)
def test_a_login_counts_although_the_next_one_has_overwritten_it(
    database: Database, host: psycopg.Connection, spec: BatchSpec
) -> None:
    for table in ("SYS_SystemLog", "HIS_AuditLog"):
        host.execute(f'DELETE FROM "{table}"')
    overwrite = """UPDATE "MST_UserAuth" SET last_login_at = %s WHERE user_id = 'user A1'"""
    host.execute(overwrite, [LAST])
    check(database, MIDNIGHT)
    host.execute(overwrite, [LAST + timedelta(minutes=30)])
    # The same logins are found again.
    check(database, ONE)
    assert host.execute(
        "SELECT tenant_id, login_date, user_ids FROM batch.login_day ORDER BY login_date"
    ).fetchall() == [("A", DAY, ["emp_user A1"]), ("A", DAY + timedelta(days=1), ["emp_user A1"])]

    run(database, spec)

    (active,) = host.execute(
        "SELECT details ->> %s FROM batch.tenant_outcome WHERE tenant_id = 'A' AND details ? %s",
        [ACTIVE[spec], ACTIVE[spec]],
    ).fetchall()
    assert active == ("1",)
