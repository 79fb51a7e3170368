"""BATCH-018-04 against real rows: activity and its day. Each stage is reported once."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, LiteralString
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg.rows import dict_row

from include.skillreport.batches.inactive_tenants import create_batch
from include.skillreport.core.catalog import INACTIVE_TENANTS
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution import run_log
from include.skillreport.core.execution.batch import Work
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.flow import run_step
from include.skillreport.core.execution.openings import TaskKey
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.execution.settings import ExecutionSettings
from include.skillreport.core.execution.shard_work import prepare
from local_stack.batch_runs import LOCAL, LocalInstallation, open_run, process_tenants, run_batch
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds import host_rows
from tests.worlds.billing_rows import insert
from tests.worlds.digests import take_digest
from tests.worlds.logins import DAY, NOON, tenant

# The end of the Japanese day in UTC, as the host stores it.
LAST_INSTANT = datetime(2026, 10, 31, 14, 59, 59, 999_000)


def run(
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
            INACTIVE_TENANTS,
            create_batch(LOCAL),
            day,
            codes=codes,
            dry_run=dry_run,
            sharding=ExecutionSettings(
                max_mapped_tenants=1, shards=shards, tenants_per_shard=1000, seconds_per_shard=5
            ),
        )


def tell(
    database: Database, day: date = DAY, *, codes: tuple[str, ...] = (), is_delivered: bool = True
) -> list[str]:
    """One whole run that closes like ``close_run``; returns the operators' digest, delivered or not."""
    batch = create_batch(LOCAL)
    with database.working() as (platform, connection):
        opened, tenants = open_run(platform, INACTIVE_TENANTS, batch, day, codes=codes)
        process_tenants(connection, platform, batch, opened, tenants)
        run_log.close_execution(platform, opened)
        return take_digest(platform, batch, opened, is_delivered=is_delivered)


def setting(host: psycopg.Connection, tenant_id: str, name: str, value: str | None) -> None:
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id=f"{name} of {tenant_id}",
        tenant_id=tenant_id,
        setting_key=f"batch.inactivity.{name}",
        setting_value=value,
        updated_at=NOON,
    )


def edit(host: psycopg.Connection, tenant_id: str, user_id: str, at: datetime) -> None:
    host_rows.insert(
        host,
        "TRN_SkillRecord",
        id=f"record of {user_id} at {at}",
        employee_id=f"employee of {user_id}",
        skill_item_id="skill",
        tenant_id=tenant_id,
        created_at=at,
        updated_at=at,
        created_by=user_id,
        updated_by=user_id,
    )


def log_in(host: psycopg.Connection, tenant_id: str, at: datetime) -> None:
    host.execute('UPDATE "MST_UserAuth" SET last_login_at = %s WHERE tenant_id = %s', [at, tenant_id])


def stages(host: psycopg.Connection) -> dict[str, str]:
    return dict(host.execute("SELECT tenant_id, stage FROM batch.tenant_inactivity").fetchall())


def since(host: psycopg.Connection) -> dict[str, date]:
    return dict(host.execute("SELECT tenant_id, inactive_since FROM batch.tenant_inactivity").fetchall())


def steps(host: psycopg.Connection) -> list[tuple[Any, ...]]:
    return host.execute(
        "SELECT tenant_id, changed_on, from_stage, to_stage, reason FROM batch.inactivity_change"
        " ORDER BY tenant_id, changed_on, from_stage = 'none'"
    ).fetchall()


def letters(host: psycopg.Connection) -> list[tuple[str, str]]:
    return host.execute(
        "SELECT tenant_id, dedupe_key FROM batch.outbox ORDER BY tenant_id, dedupe_key"
    ).fetchall()


def details(host: psycopg.Connection, tenant_id: str) -> dict[str, Any]:
    """Of the newest run."""
    row = host.execute(
        "SELECT details FROM batch.tenant_outcome WHERE tenant_id = %s ORDER BY recorded_at DESC LIMIT 1",
        [tenant_id],
    ).fetchone()
    assert row is not None
    found: dict[str, Any] = row[0]
    return found


def notes(host: psycopg.Connection, tenant_id: str) -> list[str]:
    row = host.execute(
        "SELECT notes FROM batch.tenant_outcome WHERE tenant_id = %s ORDER BY recorded_at DESC LIMIT 1",
        [tenant_id],
    ).fetchone()
    assert row is not None
    return list(row[0])


def everything_written(host: psycopg.Connection) -> list[Any]:
    """All rows that the batch writes, except the log of its runs."""
    return [
        host.execute(query).fetchall()
        for query in (
            "SELECT * FROM batch.tenant_inactivity ORDER BY tenant_id",
            "SELECT * FROM batch.inactivity_change ORDER BY tenant_id, changed_on, from_stage, to_stage",
            "SELECT * FROM batch.outbox ORDER BY tenant_id, dedupe_key",
            "SELECT * FROM batch.inactivity_signal",
        )
    ]


# Days and stages -------------------------------------------------------------------------------------------------------


def test_inactivity_stages_begin_on_days_30_60_and_90(database: Database, host: psycopg.Connection) -> None:
    for days in (29, 30, 59, 60, 89, 90):
        tenant(host, f"{days}", days)
    tenant(host, "created yesterday", created_at=NOON - timedelta(days=1))

    result = run(database)

    assert stages(host) == {
        "29": "none",
        "30": "attention",
        "59": "attention",
        "60": "warning",
        "89": "warning",
        "90": "critical",
        "created yesterday": "none",
    }
    assert result.status == "completed"
    assert details(host, "60") == {
        "stage": "warning",
        "inactiveDays": 60,
        "lastActivityOn": "2026-09-01",
        "newStage": 1,
        "excluded": 0,
        "attention": 0,
        "warning": 1,
        "critical": 0,
    }
    (totals,) = host.execute("SELECT result -> 'totals' FROM batch.execution_log").fetchone() or ({},)
    assert {name: totals[name] for name in ("attention", "warning", "critical", "newStage")} == {
        "attention": 2,
        "warning": 2,
        "critical": 1,
        "newStage": 5,
    }


def test_the_days_are_japanese_ones_to_the_millisecond(database: Database, host: psycopg.Connection) -> None:
    # 2026-09-30 ends at 15:00 UTC: the first login is of that day (31 days), the second one of October 1 (30 days).
    midnight = datetime(2026, 9, 30, 15, 0)
    for tenant_id, at in {"before": midnight - timedelta(milliseconds=1), "at": midnight}.items():
        tenant(host, tenant_id)
        log_in(host, tenant_id, at)

    run(database)

    assert since(host) == {"before": date(2026, 9, 30), "at": date(2026, 10, 1)}
    assert (details(host, "before")["inactiveDays"], details(host, "at")["inactiveDays"]) == (31, 30)


@pytest.mark.parametrize(
    ("business_date", "last_login", "days"),
    [
        (date(2028, 3, 30), datetime(2028, 2, 29, 3, 0), 30),
        (date(2028, 3, 30), datetime(2028, 2, 28, 14, 59), 31),
        (date(2027, 3, 30), datetime(2027, 2, 28, 3, 0), 30),
        (date(2026, 8, 30), datetime(2026, 7, 31, 14, 59), 30),
    ],
)
def test_month_ends_and_leap_days(
    database: Database, host: psycopg.Connection, business_date: date, last_login: datetime, days: int
) -> None:
    tenant(host, "A")
    log_in(host, "A", last_login)

    run(database, business_date)

    assert details(host, "A")["inactiveDays"] == days


def test_activity_counts_up_to_the_end_of_the_business_date(
    database: Database, host: psycopg.Connection
) -> None:
    user = tenant(host, "A")
    host_rows.audit(host, user, LAST_INSTANT)
    host_rows.audit(host, user, LAST_INSTANT + timedelta(milliseconds=1))

    run(database)

    assert since(host) == {"A": DAY}


def test_an_unused_tenant_counts_from_its_contract_or_its_creation(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host, "created", created_at=datetime(2026, 8, 1))
    tenant(
        host,
        "under contract",
        created_at=datetime(2026, 8, 1),
        contract_start_date=datetime(2026, 9, 29, 15, 0),
    )
    tenant(host, "begins later", contract_start_date=datetime(2027, 1, 1))
    tenant(host, "endless", contract_start_date="infinity")
    tenant(host, "moved here", created_at=datetime(2026, 10, 30), contract_start_date=datetime(2020, 1, 1))

    run(database)

    assert since(host) == {
        "created": date(2026, 8, 1),
        "under contract": date(2026, 9, 30),
        "begins later": DAY,
        "endless": DAY,
        "moved here": date(2026, 10, 30),
    }
    assert stages(host)["created"] == "critical"
    assert details(host, "created")["lastActivityOn"] is None


# Activity --------------------------------------------------------------------------------------------------------------


def test_logins_and_edits_of_accounts_are_activity(database: Database, host: psycopg.Connection) -> None:
    recently = NOON - timedelta(days=3)
    tenant(host, "last login", 3)
    host_rows.audit(host, tenant(host, "audited login"), recently, action_type="LOGIN")
    host_rows.audit(host, tenant(host, "audited edit"), recently, is_deleted=None, result_status=None)
    edit(host, "edit", tenant(host, "edit"), recently)

    run(database)

    assert since(host) == dict.fromkeys(
        ("last login", "audited login", "audited edit", "edit"), DAY - timedelta(days=3)
    )


def test_requests_batches_and_failed_logins_are_no_activity(
    database: Database, host: psycopg.Connection
) -> None:
    requests = tenant(host, "requests", 90)
    for hours in range(5):
        host_rows.request(host, requests, NOON - timedelta(hours=hours))
    for tenant_id, user in {"batch": "system", "unknown": "key_123", "nobody": None}.items():
        tenant(host, tenant_id, 90)
        host_rows.audit(host, user, NOON, tenant_id=tenant_id)
        if user:
            edit(host, tenant_id, user, NOON)
    for result in ("FAILURE", "failed", "ERROR", "DENIED"):
        host_rows.audit(
            host, tenant(host, f"attempt {result}", 90), NOON, action_type="Login", result_status=result
        )
    host_rows.audit(host, tenant(host, "deleted row", 90), NOON, is_deleted=True)

    run(database)

    assert {tenant_id for tenant_id, stage in stages(host).items() if stage != "critical"} == {
        "unknown",
        "nobody",
    }
    assert len(stages(host)) == 9


def test_another_tenants_people_do_not_count(database: Database, host: psycopg.Connection) -> None:
    tenant(host, "A", 90)
    user = tenant(host, "B", 90)
    # Whatever tenant the row names: it belongs to the user's tenant.
    host_rows.audit(host, user, NOON, tenant_id="A")

    run(database)

    assert stages(host) == {"A": "critical", "B": "none"}


def test_activity_is_remembered_after_the_host_has_deleted_it(
    database: Database, host: psycopg.Connection
) -> None:
    host_rows.audit(host, tenant(host, "log cleaned"), NOON - timedelta(days=40))
    tenant(host, "account deleted", 40)
    tenant(host, "kept by the usage batch", 90)
    host.execute(
        "INSERT INTO batch.login_day (tenant_id, login_date, user_ids) VALUES (%s, %s, '{x}'), (%s, %s, '{}')",
        ["kept by the usage batch", DAY - timedelta(days=40), "kept by the usage batch", DAY],
    )
    run(database)
    host.execute('DELETE FROM "HIS_AuditLog"')
    host.execute('UPDATE "MST_UserAuth" SET is_deleted = true')

    run(database, DAY + timedelta(days=1))

    assert set(since(host).values()) == {DAY - timedelta(days=40)}
    assert set(stages(host).values()) == {"attention"}
    assert len(steps(host)) == 3


def test_a_moment_that_is_no_date_is_no_activity(database: Database, host: psycopg.Connection) -> None:
    for tenant_id, moment in {"A": "infinity", "B": "-infinity", "C": "9999-01-01"}.items():
        tenant(host, tenant_id, 90)
        host.execute(
            'UPDATE "MST_UserAuth" SET last_login_at = %s::timestamp WHERE tenant_id = %s',
            [moment, tenant_id],
        )

    assert run(database).status == "completed"

    assert set(stages(host).values()) == {"critical"}
    assert details(host, "A")["lastActivityOn"] is None
    assert len(letters(host)) == 3


def test_the_base_host_gives_everybody_to_its_one_tenant(base_database: Database) -> None:
    with base_database.connect() as host:
        host_rows.tenant(host, "only", created_at=datetime(2020, 1, 1))
        host_rows.insert(
            host,
            "MST_UserAuth",
            user_id="user",
            last_login_at=NOON - timedelta(days=60),
            created_at=NOON,
            updated_at=NOON,
        )

        run(base_database)

        assert stages(host) == {"only": "warning"}


# Who is looked at ------------------------------------------------------------------------------------------------------


def test_trials_are_left_out_unless_a_setting_says_otherwise(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host, "trial", 90, status="TRIAL")
    tenant(host, "asked for", 90, status="trial")
    setting(host, "asked for", "include_trial", "true")
    tenant(host, "left", 90, status="EXPIRED")

    run(database)

    assert stages(host) == {"trial": "none", "asked for": "critical"}
    assert details(host, "trial")["excluded"] == 1
    assert [tenant_id for tenant_id, _ in letters(host)] == ["asked for"]


def test_a_tenant_changed_to_trial_and_back_is_not_notified_again(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host, "A", 70)
    for day, status in ((0, "ACTIVE"), (1, "TRIAL"), (2, "ACTIVE")):
        host.execute('UPDATE "MST_Tenant" SET status = %s', [status])
        run(database, DAY + timedelta(days=day))

    assert [step[2:] for step in steps(host)] == [
        ("none", "warning", "inactivity"),
        ("warning", "none", "excluded"),
        ("none", "warning", "inactivity"),
    ]
    assert letters(host) == [("A", "inactivity_warning:2026-08-22")]


def test_a_tenants_own_days_hold_for_it_alone(database: Database, host: psycopg.Connection) -> None:
    tenant(host, "patient", 90)
    setting(host, "patient", "critical_days", "120")
    tenant(host, "other", 90)

    run(database)

    assert stages(host) == {"patient": "warning", "other": "critical"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("warning_days", "sixty"), ("warning_days", "20"), ("no_such_setting", "1"), ("critical_days", "")],
)
def test_a_setting_that_does_not_hold_is_reported_and_the_installations_hold(
    database: Database, host: psycopg.Connection, name: str, value: str
) -> None:
    tenant(host, "A", 60)
    setting(host, "A", name, value)

    assert run(database).status == "completed"

    assert stages(host) == {"A": "warning"}
    assert f"batch.inactivity.{name}" in notes(host, "A")[0] or name in notes(host, "A")[0]
    assert notes(host, "A")[0].endswith("（既定値を使いました）")


# Once ------------------------------------------------------------------------------------------------------------------


# Every day runs the same code. The days around the stages and a few between them take a quarter of the time.
_DAYS_AROUND_STAGES = {
    0,
    1,
    2,
    3,
    4,
    15,
    31,
    32,
    33,
    45,
    61,
    62,
    63,
    69,
    70,
    71,
    85,
    99,
    100,
    101,
    115,
    129,
    130,
    131,
}


@pytest.mark.parametrize(
    "days",
    [_DAYS_AROUND_STAGES, pytest.param(set(range(132)), marks=pytest.mark.long)],
    ids=["days around the stages", "each day"],
)
def test_each_stage_is_notified_once_until_a_user_is_active_again(
    database: Database, host: psycopg.Connection, days: set[int]
) -> None:
    user = tenant(host, "A", 28)
    told: list[tuple[int, int]] = []
    for day in sorted(day for day in days if day < 70):
        run(database, DAY + timedelta(days=day))
        if details(host, "A")["newStage"]:
            told.append((day, details(host, "A")["inactiveDays"]))

    assert told == [(2, 30), (32, 60), (62, 90)]
    assert letters(host) == [("A", "inactivity_critical:2026-10-03"), ("A", "inactivity_warning:2026-10-03")]

    host_rows.audit(host, user, NOON + timedelta(days=70), action_type="LOGIN")
    for day in sorted(day for day in days if day >= 70):
        run(database, DAY + timedelta(days=day))

    assert [(step[1] - DAY, *step[2:]) for step in steps(host)] == [
        (timedelta(days=2), "none", "attention", "inactivity"),
        (timedelta(days=32), "attention", "warning", "inactivity"),
        (timedelta(days=62), "warning", "critical", "inactivity"),
        (timedelta(days=70), "critical", "none", "activity"),
        (timedelta(days=100), "none", "attention", "inactivity"),
        (timedelta(days=130), "attention", "warning", "inactivity"),
    ]
    assert [key for _, key in letters(host)] == [
        "inactivity_critical:2026-10-03",
        "inactivity_warning:2026-10-03",
        "inactivity_warning:2027-01-09",
    ]


def test_after_a_long_outage_a_stage_of_a_new_period_is_notified(
    database: Database, host: psycopg.Connection
) -> None:
    user = tenant(host, "A", 95)
    run(database)
    host_rows.audit(host, user, NOON + timedelta(days=10))

    run(database, DAY + timedelta(days=110))

    assert [step[2:] for step in steps(host)] == [
        ("none", "critical", "inactivity"),
        ("critical", "none", "activity"),
        ("none", "critical", "inactivity"),
    ]
    assert len(letters(host)) == 2
    assert details(host, "A")["newStage"] == 1


def test_a_run_for_an_older_day_changes_nothing_and_sends_no_notification(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host, "back again", 100)
    run(database, DAY - timedelta(days=1))
    log_in(host, "back again", NOON)
    tenant(host, "away", 90)
    run(database)
    before = everything_written(host)

    for days in (40, 5, 1):
        assert run(database, DAY - timedelta(days=days)).status == "completed"

    assert everything_written(host) == before
    assert stages(host) == {"back again": "none", "away": "critical"}
    assert details(host, "away") == details(host, "away") | {"stage": "warning", "newStage": 0}


def test_a_late_run_does_not_notify_tenants_that_are_active_again(
    database: Database, host: psycopg.Connection
) -> None:
    user = tenant(host, "A", 90)
    host_rows.audit(host, user, NOON + timedelta(days=1))  # on the day on which the run is done
    tenant(host, "B", 90)
    # A clock that is wrong by years must not silence anything.
    host_rows.audit(host, tenant(host, "C", 90), NOON + timedelta(days=9_999))

    run(database)

    assert set(stages(host).values()) == {"critical"}
    assert [tenant_id for tenant_id, _ in letters(host)] == ["B", "C"]


def test_an_action_written_after_the_run_of_its_day_is_activity(
    database: Database, host: psycopg.Connection
) -> None:
    user = tenant(host, "A", 59)
    tenant(host, "B", 59)
    run(database)
    host_rows.audit(host, user, NOON)

    run(database, DAY + timedelta(days=1))

    assert since(host) == {"A": DAY, "B": DAY - timedelta(days=59)}
    assert [tenant_id for tenant_id, _ in letters(host)] == ["B"]


@pytest.mark.parametrize("is_backfill", [False, True])
def test_logs_that_are_read_days_later_show_who_is_active_again(
    database: Database, host: psycopg.Connection, is_backfill: bool
) -> None:
    host_rows.audit(host, tenant(host, "A", 90), NOON + timedelta(days=3))
    tenant(host, "B", 90)
    batch, cleared_at = create_batch(LOCAL), datetime.combine(DAY, time(4), JAPAN) + timedelta(days=5)
    with database.working() as (platform, connection):
        opened, tenants = open_run(platform, INACTIVE_TENANTS, batch, DAY, is_backfill=is_backfill)
        later = LocalInstallation(platform, connection, moment=cleared_at)
        run_step(INACTIVE_TENANTS, batch, opened, later, TaskKey("read_logs"))
        process_tenants(connection, platform, batch, opened, tenants)

    assert set(stages(host).values()) == {"critical"}
    assert [tenant_id for tenant_id, _ in letters(host)] == ["B"]


def test_two_runs_at_once_end_with_one_set_of_rows(database: Database, host: psycopg.Connection) -> None:
    for number in range(30):
        tenant(host, f"T{number:02}", 60 + number)
    results: list[RunResult] = []
    start = threading.Barrier(3)

    def work(day: date) -> None:
        start.wait()
        results.append(run(database, day, shards=6))

    days = (DAY, DAY, DAY + timedelta(days=1))
    threads = [threading.Thread(target=work, args=(day,)) for day in days]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [result.status for result in results] == ["completed"] * 3
    assert host.execute(
        "SELECT count(*), min(judged_on), max(judged_on) FROM batch.tenant_inactivity"
    ).fetchone() == (
        30,
        DAY + timedelta(days=1),
        DAY + timedelta(days=1),
    )
    # Whichever came first, the steps of each tenant lead from one stage to the next, and end where it is.
    reached = dict.fromkeys(stages(host), "none")
    for tenant_id, _, from_stage, to_stage, _ in steps(host):
        assert reached[tenant_id] == from_stage
        reached[tenant_id] = to_stage
    assert reached == stages(host)
    # Two stages were reached on two days. Both may have been reported, but none of them twice.
    assert 30 <= len(letters(host)) <= 31
    assert host.execute("SELECT count(*) FROM batch.inactivity_signal").fetchone() == (0,)


def test_a_run_that_meets_another_goes_on_from_where_that_one_ends(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host, "A", 59)
    run(database)
    batch, results = create_batch(LOCAL), list[RunResult]()
    next_day = threading.Thread(target=lambda: results.append(run(database, DAY + timedelta(days=2))))
    with database.working() as (platform, connection):
        opened, _ = open_run(platform, INACTIVE_TENANTS, batch, DAY + timedelta(days=1))
        prepare(batch, Work(opened, platform, ["A"]))
        with tenant_transaction(connection, ["A"]):
            batch.process(Work(opened, connection, ["A"]))
            next_day.start()
            wait_for_blocked_statement(database)
        next_day.join()

    assert [result.status for result in results] == ["completed"]
    assert [(step[1], step[3]) for step in steps(host)] == [
        (DAY, "attention"),
        (DAY + timedelta(days=1), "warning"),
    ]
    assert details(host, "A")["newStage"] == 0


# Letters ---------------------------------------------------------------------------------------------------------------


def test_the_contact_is_told_days_date_and_action_at_nine(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host, "A", 60, tenant_name="さくら商事", admin_email="admin@a.example.jp")
    tenant(
        host,
        "BB",
        95,
        locale="en-US",
        tenant_name_en="Berlin Trading",
        contact_email=None,
        admin_email="admin@b.example.jp",
    )
    tenant(host, "CCC", created_at=datetime(2026, 8, 1))
    tenant(host, "DDDD", 30)

    run(database)

    with host.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute("SELECT * FROM batch.outbox ORDER BY tenant_id").fetchall()
    ours, english, never = found
    assert [letter["destination"] for letter in found] == [
        "contact@1.example.jp",
        "admin@b.example.jp",
        "contact@3.example.jp",
    ]
    assert ours["subject"] == "【ご利用状況の確認】60 日間ご利用が確認できておりません"
    for part in (
        "さくら商事 ご担当者様",
        "最後のご利用: 2026年9月1日",
        "2026年10月31日の時点",
        "ログインしてください",
    ):
        assert part in ours["body"]
    assert english["subject"] == "Please let us know: no activity for 95 days"
    assert english["body"].startswith("Dear Berlin Trading team,")
    assert "Last activity: 28 July 2026" in english["body"]
    assert "最後のご利用: まだご利用がありません（2026年8月1日から）" in never["body"]
    run_date = DAY + timedelta(days=1)
    nine = datetime(run_date.year, run_date.month, run_date.day, 9, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert {letter["due_at"].astimezone(UTC) for letter in found} == {nine.astimezone(UTC)}


def test_a_tenant_without_an_address_is_noted(database: Database, host: psycopg.Connection) -> None:
    tenant(host, "A", 60, contact_email=" ", admin_email=None)

    assert run(database).status == "completed"

    assert letters(host) == []
    assert notes(host, "A") == [
        "非アクティブの段階が警告（60 日、最終利用 2026-09-01）になりました",
        "連絡先（contact_email、admin_email）がないため、お知らせを送れません",
    ]


def test_no_tenant_is_disabled_or_deleted(database: Database, host: psycopg.Connection) -> None:
    tenant(host, "A", 9_000)
    rows = 'SELECT * FROM "MST_Tenant", "MST_UserAuth", "MST_Employee"'
    before = host.execute(rows).fetchall()

    run(database)

    assert host.execute(rows).fetchall() == before


# The operators' digest ---------------------------------------------------------------------------------------------------

_WARNED = "→ 警告: 営業担当へ利用状況の確認を依頼"


def test_the_digest_of_a_run_lists_what_is_new(database: Database, host: psycopg.Connection) -> None:
    tenant(host, "old", 91, tenant_code="OLD", tenant_name="旧社")
    tell(database, DAY - timedelta(days=1))
    tenant(host, "warned", 60, tenant_code="WARN", tenant_name="警告社")
    tenant(host, "fine", 1)

    assert tell(database) == [
        "非アクティブテナント（2026-10-31）: 重大 1、警告 1、注意 0、うち新規 1",
        "・【警告】WARN 警告社: 60 日（最終利用 2026-09-01）",
        _WARNED,
    ]


def test_a_second_run_of_the_day_reports_no_stage_again(database: Database, host: psycopg.Connection) -> None:
    for tenant_id in ("A", "B"):
        tenant(host, tenant_id, 60)
    assert tell(database)[0].endswith("うち新規 2")

    assert tell(database) == []
    assert tell(database, codes=("A",)) == []

    tenant(host, "C", 30)
    assert tell(database, codes=("C",)) == [
        "非アクティブテナント（2026-10-31）: 重大 0、警告 2、注意 1、うち新規 1",
        "・【注意】C C: 30 日（最終利用 2026-10-01）",
        "→ 注意: 対応は不要です",
    ]


@pytest.mark.parametrize("is_killed", [True, False])
def test_the_next_run_reports_an_unreported_stage_whatever_its_tenants(
    database: Database, host: psycopg.Connection, is_killed: bool
) -> None:
    tenant(host, "A", 60)
    tenant(host, "B", 1)
    if is_killed:
        run(database)
    else:
        tell(database, is_delivered=False)

    next_day = DAY + timedelta(days=1)
    assert tell(database, next_day, codes=("B",)) == [
        "非アクティブテナント（2026-10-31）: 重大 0、警告 1、注意 0、うち新規 1",
        "・【警告】A A: 60 日（最終利用 2026-09-01）",
        _WARNED,
    ]
    assert tell(database, next_day) == []


def test_a_stage_is_reported_as_it_was_judged_last(database: Database, host: psycopg.Connection) -> None:
    tenant(host, "A", 59)
    tenant(host, "back again", 95)
    run(database)
    log_in(host, "back again", NOON + timedelta(days=1))
    run(database, DAY + timedelta(days=2))

    assert tell(database) == [
        "非アクティブテナント（2026-11-02）: 重大 0、警告 1、注意 0、うち新規 1",
        "・【警告】A A: 61 日（最終利用 2026-09-02）",
        _WARNED,
    ]
    assert tell(database, DAY + timedelta(days=2)) == []


def test_news_of_a_tenant_that_is_not_active_waits_until_it_is(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host, "A", 60)
    run(database)
    host.execute("UPDATE \"MST_Tenant\" SET status = 'SUSPENDED'")
    assert tell(database) == []

    host.execute("UPDATE \"MST_Tenant\" SET status = 'ACTIVE'")
    assert tell(database)[1:] == ["・【警告】A A: 60 日（最終利用 2026-09-01）", _WARNED]


def test_of_two_digests_at_once_one_tells(database: Database, host: psycopg.Connection) -> None:
    tenant(host, "A", 60)
    run(database)
    digests: list[list[str]] = []
    later = threading.Thread(target=lambda: digests.append(tell(database)))
    with database.connect("batch_platform") as platform:
        opened, _ = open_run(platform, INACTIVE_TENANTS, create_batch(LOCAL), DAY)
        with platform.transaction():
            digests.append(list(create_batch(LOCAL).digest(Work(opened, platform)).lines))
            later.start()
            wait_for_blocked_statement(database)
        later.join()

    assert [len(lines) for lines in digests] == [3, 0]


# One tenant and the others ---------------------------------------------------------------------------------------------


def test_a_tenant_id_is_only_a_value(database: Database, host: psycopg.Connection) -> None:
    for tenant_id in ("../../etc", "'; DROP TABLE batch.outbox; --", "%s {{x}}"):
        tenant(host, tenant_id, 60, tenant_name="{{ 7 * 7 }}")

    assert run(database).status == "completed"

    assert set(stages(host).values()) == {"warning"}
    assert [
        body for (body,) in host.execute("SELECT body FROM batch.outbox") if "{{ 7 * 7 }}" not in body
    ] == []


def test_the_work_on_one_tenant_reaches_no_other(database: Database, host: psycopg.Connection) -> None:
    for tenant_id in ("A", "B"):
        tenant(host, tenant_id, 90)
    batch = create_batch(LOCAL)
    with database.working() as (platform, connection):
        opened, _ = open_run(platform, INACTIVE_TENANTS, batch, DAY)
        prepare(batch, Work(opened, platform, ["A", "B"]))
        process_tenants(connection, platform, batch, opened, ["A"])

    assert stages(host) == {"A": "critical"}
    assert {tenant_id for tenant_id, _ in letters(host)} == {"A"}
    assert host.execute("SELECT tenant_id FROM batch.inactivity_signal").fetchall() == [("B",)]


def test_only_the_chosen_tenants_are_judged(database: Database, host: psycopg.Connection) -> None:
    for tenant_id in ("A", "B"):
        tenant(host, tenant_id, 60)

    run(database, codes=("B",))

    assert stages(host) == {"B": "warning"}


@pytest.mark.parametrize(
    ("view", "column", "broken"),
    [
        ("all_tenant", "contract_start", "to_timestamp(1 / length(left(tenant_id, 0)))::date"),
        ("all_tenant_setting", "setting_value", "(1 / length(left(tenant_id, 0)))::text"),
    ],
)
def test_a_tenant_that_breaks_a_view_fails_alone_until_mended(
    database: Database, host: psycopg.Connection, view: str, column: str, broken: LiteralString
) -> None:
    for tenant_id in ("A", "B", "C", "D"):
        tenant(host, tenant_id, 60)
        setting(host, tenant_id, "critical_days", "91")
    healthy = host_rows.break_view(host, view, column, broken, "C")
    batch, tenant_ids = create_batch(LOCAL), ["A", "B", "C", "D"]
    try:
        with database.working() as (platform, connection):
            opened, _ = open_run(platform, INACTIVE_TENANTS, batch, DAY)
            assert set(prepare(batch, Work(opened, platform, tenant_ids))) == {"C"}
            assert [
                failure.unit_id
                for failure in process_tenants(connection, platform, batch, opened, tenant_ids).failures
            ] == ["C"]
            assert run_log.close_execution(platform, opened).status == "partial"
            assert stages(host) == dict.fromkeys(("A", "B", "D"), "warning")

            host.execute(healthy.encode())
            assert not process_tenants(connection, platform, batch, opened, ["C"]).failures
            assert run_log.close_execution(platform, opened).status == "completed"
            assert stages(host) == dict.fromkeys(tenant_ids, "warning")
            assert len(letters(host)) == 4
    finally:
        host.execute(healthy.encode())


def test_preparing_again_reads_the_logs_no_second_time(database: Database, host: psycopg.Connection) -> None:
    for tenant_id in ("A", "B"):
        tenant(host, tenant_id, 60)
    batch = create_batch(LOCAL)
    with database.connect("batch_platform") as platform:
        opened, _ = open_run(platform, INACTIVE_TENANTS, batch, DAY)
        assert prepare(batch, Work(opened, platform, ["A", "B"])) == {}
        # The host cannot be read any more, so the result proves that it is not read.
        host.execute("ALTER VIEW batch.all_person_key RENAME TO hidden")
        try:
            assert prepare(batch, Work(opened, platform, ["A", "B"])) == {}
        finally:
            host.execute("ALTER VIEW batch.hidden RENAME TO all_person_key")
        # Two tries that both find nothing prepared collect side by side.
        with platform.transaction():
            batch.prepare(Work(opened, platform, ["A", "B"]))
        assert host.execute("SELECT count(*) FROM batch.inactivity_signal").fetchone() == (2,)
        batch.discard(Work(opened, platform))
    assert host.execute("SELECT count(*) FROM batch.inactivity_signal").fetchone() == (0,)


def test_operators_are_reminded_once_before_a_wait_ends(database: Database, host: psycopg.Connection) -> None:
    tenant(host, "A", 1)
    for tenant_id, days in (("soon", 7), ("later", 8)):
        insert(
            host,
            "offboarding",
            offboarding_id=tenant_id,
            tenant_id=tenant_id,
            tenant_code=tenant_id,
            tenant_name="",
            stage="exported",
            open_items="{}",
            reason="",
            begun_by="",
            begun_at="2026-10-01",
            exported_at="2026-10-01",
            waits_until=DAY + timedelta(days=days),
        )
    title = "退会したテナントの待機が終わります。取りやめなければ、DAG offboard_tenant で削除の承認を依頼してください"
    assert tell(database) == [title, f"・soon: {DAY + timedelta(days=7)} から依頼できます"]
    assert tell(database) == []


def test_operators_learn_once_that_no_backup_has_a_deleted_tenant(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host, "A", 1)
    for tenant_id, deleted_at, awaits in (
        ("gone", "2026-10-01", True),
        ("in a backup", "2026-10-03", True),
        ("named no backup", "2026-10-01", False),
    ):
        insert(
            host,
            "deleted_tenant",
            tenant_id=tenant_id,
            offboarding_id=tenant_id,
            deleted_at=deleted_at,
            export_bytes=1,
            awaits_supplement=awaits,
        )
    insert(
        host,
        "backup",
        backup_id="b",
        business_date="2026-10-02",
        status="deleting",
        location="",
        snapshot_at="2026-10-02",
    )
    title = "削除したテナントを含むバックアップがなくなりました。DAG offboard_tenant の「証明書の追補」で証明書を作ってください"
    assert tell(database) == [title, "・テナント ID gone"]
    assert tell(database) == []
    host.execute("UPDATE batch.backup SET status = 'deleted'")
    assert tell(database) == [title, "・テナント ID in a backup"]
