"""BATCH-018-03 against real rows: measures, judgements and incidents. Each incident is reported once."""

from __future__ import annotations

import threading
from datetime import date, datetime, timedelta
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from include.skillreport.batches.tenant_monitoring import create_batch
from include.skillreport.batches.tenant_monitoring.orphans import (
    RunState,
    close_orphan,
    orphan_reason,
    running_rows,
)
from include.skillreport.core.catalog import (
    TENANT_BILLING,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.batch import Run, Work
from include.skillreport.core.execution.shard_work import prepare
from include.skillreport.core.operation_catalog import OPERATE_INVOICES
from local_stack.batch_runs import LOCAL, process_tenants
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds import host_rows
from tests.worlds.traffic import HOUR, TEN, TOKYO, check, close_check, open_check, tenant, traffic, utc

WEEK = timedelta(weeks=1)

# The other figures of a closed day, without its API calls.
_OTHER_FIGURES = (
    "registered_users",
    "active_users",
    "total_logins",
    "error_count",
    "peak_concurrent_users",
    "storage_bytes",
    "reports_generated",
    "skill_assessments",
    "notifications_sent",
)


def usual_traffic(
    host: psycopg.Connection, *calls: int, check_at: datetime = TEN, tenant_id: str = "T001"
) -> None:
    """Calls in the same hour of the weeks before, newest first; the log begins some hours before them."""
    for weeks, count in enumerate(calls, start=1):
        traffic(host, check_at - weeks * WEEK, count, tenant_id=tenant_id)
    if calls:
        traffic(host, check_at - len(calls) * WEEK - 3 * HOUR, 1, tenant_id=tenant_id)


def incidents(host: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Tenant, check, severity, hour of opening and of closing."""
    rows = host.execute(
        """
        SELECT tenant_id, check_name, severity, opened_at, closed_at FROM batch.incident
        ORDER BY tenant_id, check_name, opened_at
        """
    ).fetchall()
    return [
        (*names, opened.astimezone(TOKYO).hour, closed and closed.astimezone(TOKYO).hour)
        for *names, opened, closed in rows
    ]


def newest(host: psycopg.Connection, column: LiteralString, tenant_id: str = "T001") -> Any:
    """Of the tenant's newest outcome."""
    row = host.execute(
        "SELECT details, notes FROM batch.tenant_outcome WHERE tenant_id = %s ORDER BY recorded_at DESC LIMIT 1",
        [tenant_id],
    ).fetchone()
    assert row is not None
    return {"details": row[0], "notes": row[1]}[column]


def measured(host: psycopg.Connection, tenant_id: str = "T001") -> dict[datetime, tuple[int, ...]]:
    rows = host.execute(
        "SELECT hour_at, api_calls, errors, failed_logins FROM batch.hourly_measure WHERE tenant_id = %s",
        [tenant_id],
    ).fetchall()
    return {hour.astimezone(TOKYO): tuple(figures) for hour, *figures in rows}


def override(host: psycopg.Connection, name: str, value: str, tenant_id: str = "T001") -> None:
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id=f"{name} of {tenant_id}",
        tenant_id=tenant_id,
        setting_key=f"batch.{name}",
        setting_value=value,
        updated_at=datetime(2026, 11, 1),
    )


def everything_written(host: psycopg.Connection) -> list[Any]:
    """All rows that the batch writes, except the log of its runs."""
    return [
        host.execute(query).fetchall()
        for query in (
            "SELECT * FROM batch.hourly_measure ORDER BY tenant_id, hour_at",
            "SELECT * FROM batch.monitored_tenant ORDER BY tenant_id",
            "SELECT * FROM batch.incident ORDER BY tenant_id, check_name, opened_at",
            "SELECT * FROM batch.platform_check ORDER BY check_name",
            "SELECT * FROM batch.platform_incident ORDER BY check_name, opened_at",
            "SELECT * FROM batch.orphan_notice ORDER BY execution_id",
            "SELECT * FROM batch.monitoring_signal",
        )
    ]


# Measuring --------------------------------------------------------------------------------------------------------------


def test_the_first_run_measures_four_weeks_and_finds_anomalies(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    usual_traffic(host, 120, 118, 125, 122)
    traffic(host, TEN, 110)
    check(database)

    hours = measured(host)
    assert hours[TEN - HOUR] == (110, 0, 0)
    assert hours[TEN - HOUR - WEEK] == (120, 0, 0)
    assert hours[TEN - 5 * HOUR] == (0, 0, 0)  # quiet, and known to be
    # The hour in which the log begins may be half of one.
    assert min(hours) == TEN - 4 * WEEK - 3 * HOUR
    assert newest(host, "details")["breaching"] == ["api_calls"]


def test_the_usual_value_is_none(database: Database, host: psycopg.Connection) -> None:
    tenant(host)
    usual_traffic(host, 120, 118, 125, 122)
    traffic(host, TEN, 121)
    check(database)
    assert newest(host, "details")["breaching"] == []


@pytest.mark.parametrize(
    ("past", "calls"),
    [((100, 100, 100, 100), 100), ((), 250), ((120, 118), 250), ((120, 118, 125, 122), 0)],
    ids=["MAD 0", "no history", "two weeks", "zero traffic"],
)
def test_too_little_history_or_no_traffic_is_no_incident(
    database: Database, host: psycopg.Connection, past: tuple[int, ...], calls: int
) -> None:
    tenant(host)
    hours = [TEN + hour * HOUR for hour in range(3)]
    for check_at in hours:
        usual_traffic(host, *past, check_at=check_at)
        traffic(host, check_at, calls)
    assert [check(database, check_at) for check_at in hours] == [[], [], []]
    assert incidents(host) == []


def test_accounts_of_another_tenant_and_unknown_accounts_count_for_no_other_tenant(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    tenant(host, "T002")
    traffic(host, TEN, 100, 50, tenant_id="T002")
    host_rows.request(host, "nobody", utc(TEN - timedelta(minutes=5)))
    host_rows.request(host, None, utc(TEN - timedelta(minutes=5)))
    traffic(host, TEN, 7, url=None)  # no request
    check(database)
    assert measured(host)[TEN - HOUR] == (0, 0, 0)
    assert measured(host, "T002")[TEN - HOUR] == (100, 50, 0)
    assert newest(host, "details")["breaching"] == []
    with database.connect("batch_tenant") as connection, tenant_transaction(connection, ["T001"]):
        assert connection.execute("SELECT DISTINCT tenant_id FROM batch.hourly_measure").fetchall() == [
            ("T001",)
        ]


def test_an_hour_ends_with_its_last_millisecond(database: Database, host: psycopg.Connection) -> None:
    user = tenant(host)
    for moment in (TEN - HOUR, TEN - timedelta(milliseconds=1), TEN, TEN - HOUR - timedelta(milliseconds=1)):
        host_rows.request(host, user, utc(moment))
    check(database)
    assert measured(host) == {TEN - HOUR: (2, 0, 0)}


def test_the_first_logins_of_an_installation_are_judged(database: Database, host: psycopg.Connection) -> None:
    host_rows.tenant(host, "T001", created_at=datetime(2020, 4, 1))
    user = host_rows.user(host, "T001", "user of T001")
    host_rows.audit(host, user, utc(TEN - 3 * HOUR))
    traffic(host, TEN - 5 * HOUR, 1)
    check(database, TEN - HOUR)
    assert newest(host, "details")["failedLogins"] is None
    for minute in range(30):
        at = utc(TEN - HOUR + minute * timedelta(minutes=1))
        host_rows.audit(host, user, at, action_type="LOGIN", result_status="FAILURE")
    check(database)
    assert newest(host, "details")["failedLogins"] == 30


def test_failed_logins_and_the_last_activity_come_from_the_audit_log(
    database: Database, host: psycopg.Connection
) -> None:
    user = tenant(host)
    for minute in range(30):
        host_rows.audit(
            host,
            user,
            utc(TEN - HOUR + minute * timedelta(minutes=1)),
            action_type="LOGIN",
            result_status="FAILURE",
        )
    host_rows.audit(host, user, utc(TEN - timedelta(hours=3)))
    host_rows.audit(host, user, None)
    traffic(host, TEN - 5 * HOUR, 1)
    check(database)
    details = newest(host, "details")
    assert details["failedLogins"] == 30
    assert details["breaching"] == ["failed_logins"]
    assert datetime.fromisoformat(details["lastActivityAt"]) == TEN - timedelta(hours=3)
    check(database, TEN + HOUR)  # no activity since
    assert newest(host, "details")["lastActivityAt"] == details["lastActivityAt"]


def test_missed_hours_are_measured_afterwards_and_not_judged(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    traffic(host, TEN, 100)
    check(database)
    for missed in (1, 2, 3):
        traffic(host, TEN + missed * HOUR, 100, 50)
    traffic(host, TEN + 4 * HOUR, 100)
    assert check(database, TEN + 4 * HOUR) == []
    assert measured(host)[TEN + HOUR] == (100, 50, 0)
    assert incidents(host) == []


def test_hours_before_the_log_begins_are_a_gap_and_no_quiet_time(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    traffic(host, TEN, 300)
    # The log was cleaned: of the weeks before nothing is left.
    assert check(database) == []
    assert measured(host) == {TEN - HOUR: (300, 0, 0)}
    assert newest(host, "details")["breaching"] == []


def test_rows_logged_late_are_counted_by_the_next_run(database: Database, host: psycopg.Connection) -> None:
    tenant(host)
    traffic(host, TEN, 100)
    check(database)
    traffic(host, TEN, 5)
    check(database, TEN + HOUR)
    assert measured(host)[TEN - HOUR] == (105, 0, 0)


def test_measures_are_kept_five_weeks_for_departed_tenants_too(
    database: Database, host: psycopg.Connection
) -> None:
    for tenant_id in ("T001", "T002"):
        tenant(host, tenant_id)
        traffic(host, TEN, 100, tenant_id=tenant_id)
    check(database)
    host.execute("""UPDATE "MST_Tenant" SET status = 'SUSPENDED' WHERE tenant_id = 'T002'""")
    later = TEN + 5 * WEEK - HOUR
    traffic(host, later, 100)
    check(database, later)
    assert TEN - HOUR in measured(host, "T002")
    assert TEN - HOUR in measured(host)
    check(database, later + HOUR)
    assert min(measured(host)) == later - HOUR
    assert measured(host, "T002") == {}


# Incidents and their reports ---------------------------------------------------------------------------------------------


def test_an_incident_is_reported_at_begin_and_end_with_its_calculation(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host, tenant_name="㈱髙橋")
    digests = []
    for hour, errors in enumerate([31, 31, 31, 0, 0, 0, 0]):
        traffic(host, TEN + hour * HOUR, 250, errors)
        digests.append(check(database, TEN + hour * HOUR))
    assert digests == [
        [],
        [
            "テナント監視 11-25 11:00: 新規 1（重大 1）",
            "【重大】T001 ㈱髙橋: エラー率 12.4 % = 31 / 250 件（警告 5 %、重大 10 %）",
            "→ エラー率: SYS_SystemLog で 5xx の URL を確認し、アプリ担当へ連絡",
        ],
        [],
        [],
        [],
        [
            "テナント監視 11-25 15:00: 回復 1",
            "回復（対応は不要です）: T001 エラー率（11-25 11:00〜11-25 15:00）",
        ],
        [],
    ]
    assert incidents(host) == [("T001", "error_rate", "critical", 11, 15)]


def test_a_value_that_flips_hourly_opens_one_incident(database: Database, host: psycopg.Connection) -> None:
    tenant(host)
    digests = []
    for hour in range(12):
        traffic(host, TEN + hour * HOUR, 100, 20 * (hour % 2))
        digests.append(check(database, TEN + hour * HOUR))
    assert [bool(digest) for digest in digests] == [False] * 3 + [True] + [False] * 8
    assert incidents(host) == [("T001", "error_rate", "critical", 13, None)]


def test_a_breach_that_returns_soon_is_reported_as_the_same_incident(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    titles = []
    for hour, errors in enumerate([6, 6, 0, 0, 0, 6, 6, 30]):
        traffic(host, TEN + hour * HOUR, 100, errors)
        titles += [digest.split(": ")[1] for digest in check(database, TEN + hour * HOUR)[:1]]
    assert titles == ["新規 1", "回復 1", "再発 1", "悪化 1（重大 1）"]
    assert incidents(host) == [("T001", "error_rate", "critical", 11, None)]


def test_an_open_incident_is_reported_again_once_a_day_from_nine_on(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host, contract_end_date=utc(datetime(2026, 12, 1, tzinfo=TOKYO)))
    # Around the begin, midnight, nine, and a day after the report before.
    hours = (0, 1, 2, 3, 13, 14, 15, 22, 23, 24, 25, 26, 37, 38, 39, 46, 47, 48, 49)
    told = [
        check_at.strftime("%d %H")
        for check_at in (TEN + hour * HOUR for hour in hours)
        if check(database, check_at)
    ]
    assert told == ["25 11", "26 09", "27 09"]
    reminder = check(database, TEN + timedelta(days=3))
    assert reminder == [
        "テナント監視 11-28 10:00: 継続 1",
        "継続中【警告】T001 T001: 契約終了まで 3 日 = 2026-12-01 − 2026-11-28（警告 30 日以内）、11-25 11:00 から",
        "→ 契約終了: 営業担当へ更新の有無を確認",
    ]


@pytest.mark.parametrize("never", ["infinity", "-infinity", "294276-12-31", "9999-12-31 23:59:59"])
def test_a_contract_whose_end_is_no_date_does_not_end(
    database: Database, host: psycopg.Connection, never: str
) -> None:
    tenant(host, contract_end_date=never)

    assert check(database) == check(database, TEN + HOUR) == []

    assert host.execute("SELECT tenant_id FROM batch.monitored_tenant").fetchall() == [("T001",)]


def test_a_tenant_that_is_no_longer_active_ends_its_incidents(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host, contract_end_date=utc(datetime(2026, 11, 20, tzinfo=TOKYO)))
    tenant(host, "T002")
    check(database)
    assert "【重大】" in check(database, TEN + HOUR)[1]
    host.execute("""UPDATE "MST_Tenant" SET status = 'EXPIRED' WHERE tenant_id = 'T001'""")
    assert check(database, TEN + 2 * HOUR) == [
        "テナント監視 11-25 12:00: 回復 1",
        "稼働中でなくなったテナント（対応は不要です）: T001 契約終了（11-25 11:00〜11-25 12:00）",
    ]


def test_a_second_run_of_an_hour_changes_nothing_and_reports_nothing_twice(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    for hour in range(2):
        traffic(host, TEN + hour * HOUR, 250, 31)
        check(database, TEN + hour * HOUR)
    before = everything_written(host)
    assert check(database, TEN + HOUR) == []
    assert everything_written(host) == before


def test_an_older_hour_after_a_newer_one_disturbs_no_incident(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    for hour, errors in enumerate([0, 31, 31]):
        traffic(host, TEN + hour * HOUR, 250, errors)
    check(database, TEN + HOUR)
    check(database, TEN + 2 * HOUR)
    before = everything_written(host)
    assert check(database, TEN) == []
    assert newest(host, "details")["breaching"] == []
    assert everything_written(host)[1:] == before[1:]


def test_an_earlier_business_date_is_looked_at_as_of_its_end() -> None:
    earlier = Run("x", date(2026, 11, 24), date(2026, 11, 25), run_at=TEN)
    assert earlier.as_of == datetime(2026, 11, 25, tzinfo=TOKYO)
    assert Run("x", TEN.date(), TEN.date(), run_at=TEN).as_of == TEN


def test_the_next_run_reports_what_could_not_be_delivered(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    for hour in range(3):
        traffic(host, TEN + hour * HOUR, 250, 31)
    check(database)
    lost = check(database, TEN + HOUR, is_delivered=False)
    assert lost[0].endswith("新規 1（重大 1）")
    assert check(database, TEN + 2 * HOUR)[0].endswith("新規 1（重大 1）")


def test_a_dry_run_shows_and_writes_nothing(database: Database, host: psycopg.Connection) -> None:
    tenant(host)
    traffic(host, TEN, 250, 31)
    traffic(host, TEN + HOUR, 250, 31)
    check(database)
    before = everything_written(host)
    with database.working() as (platform, connection):
        run, tenant_ids = open_check(platform, TEN + HOUR, dry_run=True)
        report = process_tenants(connection, platform, create_batch(LOCAL), run, tenant_ids)
        close_check(platform, run)
    assert report.results[0].report == (
        "T001: critical: エラー率 12.4 % = 31 / 250 件（警告 5 %、重大 10 %）",
    )
    assert report.results[0].details["openedIncidents"] == 1
    assert everything_written(host) == before


def test_two_concurrent_runs_open_one_incident_and_report_it_once(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    for hour in range(2):
        traffic(host, TEN + hour * HOUR, 250, 31)
    check(database)
    batch = create_batch(LOCAL)
    digests: list[list[str]] = []
    with (
        database.connect("batch_platform") as platform,
        database.working() as (other_platform, connection),
        database.connect("batch_tenant") as other_connection,
    ):
        first, tenant_ids = open_check(platform, TEN + HOUR)
        second, _ = open_check(other_platform, TEN + HOUR)
        prepare(batch, Work(first, platform, tenant_ids))
        prepare(batch, Work(second, other_platform, tenant_ids))

        def second_run() -> None:
            process_tenants(other_connection, other_platform, create_batch(LOCAL), second, tenant_ids)

        thread = threading.Thread(target=second_run)
        with tenant_transaction(connection, tenant_ids):
            batch.process(Work(first, connection, tenant_ids))
            thread.start()
            wait_for_blocked_statement(database)
        thread.join()
        host.execute(
            "UPDATE batch.tenant_outcome SET status = 'success' WHERE execution_id = %s", [first.execution_id]
        )

        def second_digest() -> None:
            digests.append(close_check(other_platform, second))

        thread = threading.Thread(target=second_digest)
        with platform.transaction():
            digests.append(list(batch.digest(Work(first, platform)).lines))
            thread.start()
            wait_for_blocked_statement(database)
        thread.join()
    assert incidents(host) == [("T001", "error_rate", "critical", 11, None)]
    assert sorted(map(len, digests)) == [0, 3]


# The platform -----------------------------------------------------------------------------------------------------------


def many_tenants(host: psycopg.Connection, count: int) -> None:
    """``T000``, ``T001`` … with one account each."""
    host.execute(
        """
        INSERT INTO "MST_Tenant" (tenant_id, tenant_code, tenant_name, status, created_at, updated_at)
        SELECT id, id, id, 'ACTIVE', '2020-04-01', '2026-10-01'
        FROM (SELECT 'T' || lpad(number::text, 3, '0') AS id FROM generate_series(0, %(count)s - 1) AS number) AS tenant
        """,
        {"count": count},
    )
    host.execute(
        """
        INSERT INTO "MST_UserAuth" (user_id, login_id, employee_id, tenant_id, created_at, updated_at)
        SELECT 'user of ' || tenant_id, tenant_id, tenant_id, tenant_id, '2020-04-01', '2026-10-01' FROM "MST_Tenant"
        """
    )


def traffic_of_all(host: psycopg.Connection, check_at: datetime, failing: int) -> None:
    """30 calls of every tenant in the hour before the check; of the first ``failing`` tenants a third are errors."""
    host.execute(
        """
        INSERT INTO "SYS_SystemLog" (
            id, user_id, request_url, response_status, response_time, log_level, created_at, updated_at
        )
        SELECT
            gen_random_uuid(), 'user of ' || tenant_id, '/api/skills',
            CASE WHEN call <= 10 AND substr(tenant_id, 2)::integer < %(failing)s THEN 500 ELSE 200 END, 100, 'INFO', moment, moment
        FROM "MST_Tenant"
        CROSS JOIN generate_series(1, 30) AS call
        CROSS JOIN LATERAL (SELECT %(start)s + call * interval '1 minute' AS moment) AS at
        """,
        {"failing": failing, "start": utc(check_at - HOUR)},
    )


def test_20_of_50_tenants_at_once_are_one_platform_incident(
    database: Database, host: psycopg.Connection
) -> None:
    many_tenants(host, 50)
    digests = []
    for hour, failing in enumerate([20, 20, 20, 3, 3, 3, 0, 0, 0]):
        traffic_of_all(host, TEN + hour * HOUR, failing)
        digests.append(check(database, TEN + hour * HOUR))
    began = [
        "テナント監視 11-25 11:00: 全体障害 発生 1",
        "【全体障害】エラー率: 40 % = 20 / 50 テナント（30 % 超で全体障害。T000、T001、T002、T003、T004 ほか）。"
        "テナント別の通知は回復まで止めます",
        "→ アプリとデータベースの障害を疑い、アプリ担当へ直ちに連絡",
    ]
    ended = [
        "テナント監視 11-25 15:00: 全体障害 回復 1、新規 3（重大 3）",
        "【全体障害 回復】エラー率（11-25 11:00〜11-25 15:00）。続いているテナントは個別に通知します",
        *[f"【重大】T00{n} T00{n}: エラー率 33.3 % = 10 / 30 件（警告 5 %、重大 10 %）" for n in range(3)],
        "→ エラー率: SYS_SystemLog で 5xx の URL を確認し、アプリ担当へ連絡",
    ]
    recovered = [
        "テナント監視 11-25 18:00: 回復 3",
        "回復（対応は不要です）: "
        + "、".join(f"T00{n} エラー率（11-25 11:00〜11-25 18:00）" for n in range(3)),
    ]
    assert digests == [[], began, [], [], [], ended, [], [], recovered]


@pytest.mark.parametrize(("tenants", "failing"), [(2, 1), (4, 4), (20, 6)])
def test_few_tenants_or_a_small_share_are_no_platform_incident(
    database: Database, host: psycopg.Connection, tenants: int, failing: int
) -> None:
    many_tenants(host, tenants)
    for hour in range(2):
        traffic_of_all(host, TEN + hour * HOUR, failing)
        digest = check(database, TEN + hour * HOUR)
    assert digest[0] == f"テナント監視 11-25 11:00: 新規 {failing}（重大 {failing}）"
    assert host.execute("SELECT count(*) FROM batch.platform_incident").fetchone() == (0,)


def test_contracts_that_end_together_are_each_tenants_own_matter(
    database: Database, host: psycopg.Connection
) -> None:
    many_tenants(host, 12)
    host.execute('UPDATE "MST_Tenant" SET contract_end_date = %s', [datetime(2026, 12, 1)])
    check(database)
    digest = check(database, TEN + HOUR)
    assert digest[0] == "テナント監視 11-25 11:00: 新規 12"
    assert digest[11] == "ほか 2 件"


def test_tenants_whose_incidents_open_together_are_the_platforms_whenever_their_breaches_began(
    database: Database, host: psycopg.Connection
) -> None:
    many_tenants(host, 10)
    for hour, errors in enumerate([{0, 1, 2}, {3, 4, 5}, {0, 1, 2, 3, 4, 5}]):
        for number in range(10):
            traffic(host, TEN + hour * HOUR, 30, 10 * (number in errors), tenant_id=f"T{number:03}")
        digest = check(database, TEN + hour * HOUR)
    assert digest[0] == "テナント監視 11-25 12:00: 全体障害 発生 1"


def test_a_run_of_some_tenants_says_nothing_about_the_platform(
    database: Database, host: psycopg.Connection
) -> None:
    many_tenants(host, 6)
    codes = tuple(f"T00{number}" for number in range(6))
    for hour in range(2):
        traffic_of_all(host, TEN + hour * HOUR, 6)
        digest = check(database, TEN + hour * HOUR, codes=codes)
    assert digest[0] == "テナント監視 11-25 11:00: 新規 6（重大 6）"


# Figures from the batches' own tables ------------------------------------------------------------------------------------


def execution(
    host: psycopg.Connection,
    execution_id: str,
    batch_id: str,
    outcome: str,
    started_at: datetime,
    **values: Any,
) -> None:
    """A finished run of a batch, with what became of T001."""
    has_failed = outcome != "success"
    row = {
        "status": "partial" if has_failed else "completed",
        "ended_at": started_at,
        "error_count": int(has_failed),
        "dry_run": False,
        "parameters": Jsonb({}),
    } | values
    insert(
        host,
        "execution_log",
        execution_id=execution_id,
        batch_id=batch_id,
        dag_id="dag",
        run_id="run",
        business_date=started_at.date(),
        execution_host="host",
        started_at=started_at,
        total_tenants=1,
        **row,
    )
    insert(
        host,
        "tenant_outcome",
        execution_id=execution_id,
        tenant_id="T001",
        part="",
        status=outcome,
        error_message="0 で割ろうとしました" if outcome == "failed" else None,
    )


def insert(host: psycopg.Connection, table: str, **values: Any) -> None:
    host.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier("batch", table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(sql.Placeholder() * len(values)),
        ),
        list(values.values()),
    )


def test_a_batch_is_failing_until_a_later_run_succeeds(database: Database, host: psycopg.Connection) -> None:
    tenant(host)
    tenant(host, "T002")
    execution(host, "usage 1", TENANT_USAGE.id, "failed", TEN - 30 * HOUR)
    execution(host, "usage 2", TENANT_USAGE.id, "success", TEN - 6 * HOUR)
    execution(host, "billing 1", TENANT_BILLING.id, "failed", TEN - 9 * HOUR)
    execution(host, "billing 2", TENANT_BILLING.id, "success", TEN - 5 * HOUR, dry_run=True)
    execution(host, "own", TENANT_MONITORING.id, "failed", TEN - 2 * HOUR)
    check(database)
    digest = check(database, TEN + HOUR)
    assert digest[1] == (
        "【警告】T001 T001: 失敗中のバッチ 1 件: BATCH-018-02（業務日 11-25）: 0 で割ろうとしました"
        "（警告 1 件、重大 3 件）"
    )
    execution(host, "billing 3", TENANT_BILLING.id, "success", TEN + HOUR)
    check(database, TEN + 2 * HOUR)
    assert newest(host, "details")["breaching"] == []


@pytest.mark.parametrize("operation", ["approve", "reissue"])
def test_only_settling_the_month_by_hand_ends_a_failing_billing(
    database: Database, host: psycopg.Connection, operation: str
) -> None:
    tenant(host)
    execution(host, "billing 1", TENANT_BILLING.id, "failed", TEN - 9 * HOUR)
    payment = Jsonb({"operation": "record_payment"})
    execution(host, "op 1", OPERATE_INVOICES.id, "success", TEN - 8 * HOUR, parameters=payment)
    check(database)
    assert newest(host, "details")["breaching"] == ["failing_batches"]
    settled = Jsonb({"operation": operation})
    execution(host, "op 2", OPERATE_INVOICES.id, "success", TEN - 6 * HOUR, parameters=settled)
    check(database, TEN + HOUR)
    assert newest(host, "details")["breaching"] == []
    # It says nothing about the tenant's usage.
    execution(host, "usage 1", TENANT_USAGE.id, "failed", TEN - 7 * HOUR)
    check(database, TEN + 2 * HOUR)
    assert newest(host, "details")["breaching"] == ["failing_batches"]


def test_a_tenant_a_failed_run_skipped_is_failing_unless_reopened(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    execution(host, "usage 1", TENANT_USAGE.id, "pending", TEN - 6 * HOUR)
    check(database)
    assert check(database, TEN + HOUR)[1].startswith(
        "【警告】T001 T001: 失敗中のバッチ 1 件: BATCH-018-01（業務日 11-25）: 処理されませんでした"
    )
    host.execute("UPDATE batch.execution_log SET reopened_at = now() WHERE execution_id = 'usage 1'")
    check(database, TEN + 2 * HOUR)
    assert newest(host, "details")["breaching"] == []


def message(host: psycopg.Connection, message_id: str, due: datetime, **values: Any) -> None:
    """A message in the outbox, of T001 and pending unless said otherwise."""
    row = {"tenant_id": "T001", "status": "pending"} | values
    insert(
        host,
        "outbox",
        message_id=message_id,
        dedupe_key=message_id,
        channel="email",
        destination="x",
        subject="x",
        body="x",
        due_at=due,
        next_attempt_at=due,
        created_by="x",
        **row,
    )


def test_messages_that_wait_too_long_are_counted_once(database: Database, host: psycopg.Connection) -> None:
    tenant(host)
    for number, hours in enumerate([1, 13, 27, 27]):
        host_rows.insert(
            host,
            "HIS_NotificationLog",
            id=f"n{number}",
            tenant_id="T001",
            notification_type="EMAIL",
            send_status="PENDING",
            scheduled_at=utc(TEN - hours * HOUR),
            created_at=utc(TEN),
            updated_at=utc(TEN),
        )
    for number, (status, hours) in enumerate(
        [("pending", 13), ("ambiguous", 30), ("retry", 2), ("sent", 40)]
    ):
        due = TEN - hours * HOUR
        message(
            host,
            f"m{number}",
            due,
            host_log_id="n3" if number == 1 else None,
            status=status,
            finished_at=due if status == "sent" else None,
        )
    check(database)
    digest = check(database, TEN + HOUR)
    assert digest[1].endswith(
        "滞留中の通知 3 件 = 送信箱で 12 時間以上 2 件 + 通知ログで 26 時間以上 1 件（警告 1 件、重大 100 件）"
    )


def test_held_and_stopped_messages_are_not_stuck(database: Database, host: psycopg.Connection) -> None:
    tenant(host)
    tenant(host, "T002")
    due = TEN - 20 * HOUR
    for number, deferred_for in enumerate([None, None, "BATCH-019-01"]):
        message(host, f"m{number}", due, deferred_for=deferred_for)
    # Its letters still leave.
    insert(host, "message_stop", tenant_id="T002", still_sent=["invoice"], reason="移行中", entered_by="sato")
    for kind in ("invoice", "reminder"):
        message(host, kind, due, tenant_id="T002", template_key=kind)
    message(host, "of no kind", due, tenant_id="T002")
    check(database)
    digest = check(database, TEN + HOUR)
    assert [line.split(" = ")[0] for line in digest[1:3]] == [
        "【警告】T001 T001: 滞留中の通知 2 件",
        "【警告】T002 T002: 滞留中の通知 1 件",
    ]


def test_quotas_come_from_contract_plan_and_tenant_settings(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host, max_storage_gb=1, subscription_plan="STANDARD")
    host_rows.report(host, "T001", utc(TEN - 50 * HOUR), file_size=900 * 1024**2)
    override(host, "usage.api_calls_per_month", "1000")
    insert(
        host,
        "usage_day",
        tenant_id="T001",
        usage_date=date(2026, 11, 24),
        api_calls=700,
        closed_by="x",
        **dict.fromkeys(_OTHER_FIGURES, 0),
    )
    traffic(host, TEN - 11 * HOUR, 500)  # on the 24th, which is closed
    traffic(host, TEN, 250)
    check(database)
    digest = check(database, TEN + HOUR)
    assert digest[1:3] == [
        "【重大】T001 T001: 今月の API 呼び出し 95 % = 950 / 1,000 件（警告 80 %、重大 95 %）",
        "【警告】T001 T001: 保存容量 87.9 % = 0.88 / 1 GB（警告 80 %、重大 95 %）",
    ]


def test_a_tenants_thresholds_apply_to_it_and_invalid_ones_are_named(
    database: Database, host: psycopg.Connection
) -> None:
    for tenant_id in ("T001", "T002", "T003"):
        tenant(host, tenant_id)
        traffic(host, TEN, 100, 8, tenant_id=tenant_id)
    override(host, "monitoring.error_rate_warning_percent", "9")
    override(host, "monitoring.error_rate_warning_percent", "many", "T003")
    check(database)
    assert [newest(host, "details", tenant_id)["breaching"] for tenant_id in ("T001", "T002", "T003")] == [
        [],
        ["error_rate"],
        ["error_rate"],
    ]
    (note,) = newest(host, "notes", "T003")
    assert note.startswith("テナントの設定 batch.monitoring.error_rate_warning_percent: ")
    assert note.endswith("（既定値を使いました）")


# Orphans ----------------------------------------------------------------------------------------------------------------


def test_a_row_whose_run_has_ended_is_closed_and_reported_once(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    started = TEN - timedelta(hours=9)
    for name, batch_id in (
        ("ended", TENANT_BILLING.id),
        ("alive", TENANT_USAGE.id),
        ("foreign", TENANT_USAGE.id),
    ):
        execution(host, name, batch_id, "success", started, status="running", ended_at=None, error_count=None)
    states = {"ended": RunState.ENDED, "alive": RunState.ALIVE, "foreign": RunState.UNKNOWN}
    with database.connect("batch_platform") as platform:
        run, _ = open_check(platform, TEN)
        rows = running_rows(platform, run.execution_id)
        assert {row.execution_id for _, row in rows} == states.keys()
        reasons = {
            row.execution_id: orphan_reason(spec, row, states[row.execution_id], now=TEN)
            for spec, row in rows
        }
        # Another Airflow may have the foreign run. After twice its limit it counts as an orphan.
        assert reasons == {
            "ended": "Airflow の実行が、ログを閉じずに終わっていました",
            "alive": None,
            "foreign": "Airflow にこの実行がなく、制限時間（1:00:00）の 2 倍を過ぎていました",
        }
        early = started + timedelta(hours=1)
        assert all(orphan_reason(spec, row, RunState.UNKNOWN, now=early) is None for spec, row in rows)
        (ended,) = [(spec, row) for spec, row in rows if row.execution_id == "ended"]
        assert close_orphan(platform, *ended, "理由") is True
        assert close_orphan(platform, *ended, "理由") is False
    closed = host.execute(
        "SELECT execution_id, status, error_message FROM batch.execution_log WHERE status <> 'running'"
    ).fetchall()
    assert closed == [("ended", "failed", "孤立した実行として失敗にしました: 理由")]
    digest = check(database)
    assert digest[0] == "テナント監視 11-25 10:00: バッチ 1"
    assert digest[1].startswith(
        "【孤立した実行】BATCH-018-02 テナント課金計算バッチ（11-25 01:00 開始、実行ID ended）: 理由。失敗にしました。"
    )
    assert check(database, TEN + HOUR) == []


def test_the_digest_says_nothing_about_an_orphan_whose_user_gets_an_alert(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    row = {"status": "running", "ended_at": None, "error_count": None, "triggered_by": "keiri", "attempt": 2}
    execution(host, "lost", OPERATE_INVOICES.id, "success", TEN - timedelta(hours=9), **row)
    with database.connect("batch_platform") as platform:
        run, _ = open_check(platform, TEN)
        ((spec, lost),) = running_rows(platform, run.execution_id)
        assert (lost.attempt, lost.dry_run, lost.triggered_by) == (2, False, "keiri")
        assert close_orphan(platform, spec, lost, "理由", in_digest=False) is True
    assert check(database) == []
