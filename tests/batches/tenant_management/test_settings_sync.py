"""BATCH-018-05 against real rows: written settings, and settings that are never written."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings

from include.skillreport.batches import settings_sync
from include.skillreport.core.catalog import SETTINGS_SYNC
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution import run_log
from include.skillreport.core.execution.batch import Work
from include.skillreport.core.execution.run_log import RunResult
from local_stack.batch_runs import LOCAL, open_run, process_tenants, run_batch
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds import host_rows
from tests.worlds.digests import take_digest
from tests.worlds.flow_run import FlowRun, kill
from tests.worlds.settings_rows import (
    BASIC,
    DAY,
    NOON,
    STANDARD,
    change,
    counts,
    create_batch,
    everything_written,
    history,
    host_settings,
    move,
    notes,
    outcome,
    protected_spellings,
    run,
    setting,
    tenant,
    undo,
    values,
)


def tell(
    database: Database,
    day: date = DAY,
    *,
    codes: tuple[str, ...] = (),
    sample: bool = False,
    is_delivered: bool = True,
    clear_with: Callable[[], object] | None = None,
) -> list[str]:
    """One whole run that closes like ``close_run``; returns the operators' digest, delivered or not."""
    batch = create_batch(sample=sample)
    with database.working() as (platform, connection):
        opened, tenants = open_run(platform, SETTINGS_SYNC, batch, day, codes=codes)

        def finish() -> list[str]:
            process_tenants(connection, platform, batch, opened, tenants)
            assert run_log.close_execution(platform, opened).status == "completed"
            return take_digest(platform, batch, opened, is_delivered=is_delivered)

        lines = finish()
        if clear_with is not None:
            clear_with()
            lines = finish()
    return lines


# Written settings ------------------------------------------------------------------------------------------------------


def test_settings_that_are_missing_are_added_with_old_new_reason_and_actor(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    setting(host, "ui.theme", "dark")

    result = run(database)

    assert result.status == "completed"
    assert values(host) == {**BASIC, "ui.theme": "dark"}
    assert counts(host, "missing", "drifted", "fixed", "reported") == (6, 0, 6, 0)
    assert ("limits.max_users", "inserted", None, "20", "プラン BASIC の設定がない") in history(host)
    assert host.execute("SELECT DISTINCT execution_id, changed_by FROM batch.setting_change").fetchall() == [
        (result.execution_id, f"batch:{result.execution_id}")
    ]
    row = host.execute(
        'SELECT setting_category, setting_name, data_type, last_modified_by, is_encrypted FROM "MST_TenantSettings"'
        " WHERE setting_key = 'features.report_pdf'"
    ).fetchone()
    assert row == ("FEATURES", "PDF 帳票", "BOOLEAN", f"batch:{result.execution_id}", False)


def test_a_plan_change_moves_what_is_still_as_applied(database: Database, host: psycopg.Connection) -> None:
    tenant(host)
    run(database)
    change(host, "limits.api_calls_per_month", "123456")
    move(host, "STANDARD")

    run(database, DAY + timedelta(days=1))

    assert values(host) == STANDARD | {"limits.api_calls_per_month": "123456"}
    assert history(host)[-1] == ("limits.storage_gb", "updated", "10", "50", "プラン変更 BASIC → STANDARD")
    assert counts(host, "drifted", "fixed", "medium") == (4, 3, 1)
    assert (
        "limits.api_calls_per_month: このバッチ以外が決めた値です（現在 123456、あるべき値 500000）"
        in notes(host)
    )


def test_a_plan_change_leaves_other_tenants_of_the_shard_alone(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    tenant(host, "B")
    run(database)
    move(host, "STANDARD")

    run(database, DAY + timedelta(days=1))

    assert (values(host), values(host, "B")) == (STANDARD, BASIC)
    plans = host.execute("SELECT tenant_id, plan FROM batch.setting_plan ORDER BY tenant_id").fetchall()
    assert plans == [("A", "STANDARD"), ("B", "BASIC")]


def test_correct_settings_are_adopted_and_follow_the_plan_afterwards(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    for key, value in BASIC.items():
        setting(host, key, value.upper() if value in ("true", "false") else f"{value}.0")
    before = host_settings(host)
    run(database)
    assert host_settings(host) == before
    assert history(host) == []

    move(host, "STANDARD")
    run(database, DAY + timedelta(days=1))

    assert values(host)["limits.max_users"] == "50"
    assert values(host)["features.report_pdf"] == "TRUE"


def test_no_twin_is_made(database: Database, host: psycopg.Connection) -> None:
    tenant(host)
    setting(host, "limits.storageGB", "99")

    run(database)

    assert values(host) == {
        **{key: value for key, value in BASIC.items() if key != "limits.storage_gb"},
        "limits.storageGB": "99",
    }
    assert "別の綴り（limits.storageGB）で登録されているため、追加しません" in notes(host)


def test_a_tenant_on_trial_without_a_plan_has_the_trials(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host, plan=None, status="TRIAL")
    run(database)
    assert values(host)["limits.max_users"] == "10"


DELETED = "limits.max_users: このバッチ以外が削除した設定のため、追加しません"
MARK = """UPDATE "MST_TenantSettings" SET is_deleted = true WHERE setting_key = 'limits.max_users'"""
DELETE = """DELETE FROM "MST_TenantSettings" WHERE setting_key = 'limits.max_users'"""


@pytest.mark.parametrize("statement", [MARK, DELETE])
def test_a_setting_that_somebody_deleted_does_not_return(
    database: Database, host: psycopg.Connection, statement: str
) -> None:
    tenant(host)
    run(database)
    host.execute(statement.encode())

    for number, plan in enumerate(("BASIC", "STANDARD", "PREMIUM")):
        move(host, plan)
        run(database, DAY + timedelta(days=number))
        assert "limits.max_users" not in values(host)
        assert DELETED in notes(host)

    # Somebody enters it again.
    host.execute("""DELETE FROM "MST_TenantSettings" WHERE setting_key = 'limits.max_users'""")
    setting(host, "limits.max_users", "200")
    run(database, DAY + timedelta(days=4))
    assert DELETED not in notes(host)


def test_a_setting_that_was_deleted_before_the_first_run_does_not_return(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    setting(host, "limits.max_users", "7", is_deleted=True)
    run(database)
    assert values(host) == {key: value for key, value in BASIC.items() if key != "limits.max_users"}
    assert DELETED in notes(host)


@pytest.mark.parametrize("statement", [MARK, DELETE])
def test_a_deletion_after_an_undone_update_counts(
    database: Database, host: psycopg.Connection, statement: str
) -> None:
    tenant(host)
    run(database)
    move(host, "STANDARD")
    undo(database, run(database, DAY + timedelta(days=1)).execution_id)
    host.execute(statement.encode())
    move(host, "PREMIUM")
    run(database, DAY + timedelta(days=2))
    assert "limits.max_users" not in values(host)
    assert DELETED in notes(host)


# Decisions of people ---------------------------------------------------------------------------------------------------


def test_a_negotiated_limit_is_never_overwritten(database: Database, host: psycopg.Connection) -> None:
    tenant(host, max_users=500)
    tenant(host, "B")
    setting(host, "limits.max_users", "300")
    setting(host, "limits.max_users", "80", "B")

    for day, plan in enumerate(("BASIC", "STANDARD", "FREE", "PREMIUM")):
        for tenant_id in ("A", "B"):
            move(host, plan, tenant_id)
        run(database, DAY + timedelta(days=day))
        assert (values(host)["limits.max_users"], values(host, "B")["limits.max_users"]) == ("300", "80")
        assert "契約で決めた上限です（現在 300、あるべき値 500）。上書きしません" in notes(host)
        assert "このバッチ以外が決めた値です（現在 80、" in notes(host, "B")


def test_a_contract_that_is_written_once_outlives_its_own_change(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host, max_users=500, max_storage_gb=70)
    run(database)
    assert values(host) == BASIC | {"limits.max_users": "500", "limits.storage_gb": "70"}

    host.execute('UPDATE "MST_Tenant" SET max_users = 900, max_storage_gb = NULL')
    run(database, DAY + timedelta(days=1))

    assert values(host) == BASIC | {"limits.max_users": "500", "limits.storage_gb": "70"}
    assert counts(host, "drifted", "fixed", "medium") == (2, 0, 2)


def test_a_limit_of_nothing_or_less_was_not_negotiated(database: Database, host: psycopg.Connection) -> None:
    tenant(host, max_users=0, max_storage_gb=-5)

    run(database)

    assert values(host) == BASIC
    assert {row[1:4] for row in everything_written(host)[2] if row[1].startswith("limits.max")} == {
        ("limits.max_users", "20", "plan")
    }
    assert counts(host, "medium", "low") == (1, 1)
    assert outcome(host)["notes"] == [
        "【中】limits.storage_gb: 契約の max_storage_gb が -5 のため、プランの値を使います。"
        "上限を決めたなら MST_Tenant に 1 以上の値を、決めていないなら空にしてください"
    ]


def test_the_operators_overrides_are_never_touched_nor_looked_at(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    for name in (
        "batch.usage.storage_gb",
        "batch.usage.limits",
        "batch.notification.language",
        "batch.inactivity.warning_days",
    ):
        setting(host, name, "odd", data_type="INTEGER", is_system_managed=True, validation_rules="{")
    before = host_settings(host)

    run(database)

    assert [row for row in host_settings(host) if row in before] == before
    assert counts(host, "reported", "protectedSettings") == (0, 0)


# Protected settings ----------------------------------------------------------------------------------------------------


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=protected_spellings())
def test_protected_settings_are_never_written_and_their_values_never_kept(
    database: Database, host: psycopg.Connection, key: str
) -> None:
    for table in ("MST_Tenant", "MST_TenantSettings"):
        host.execute(f'DELETE FROM "{table}"')
    tenant(host)
    setting(
        host,
        key,
        "hunter2",
        data_type="INTEGER",
        is_system_managed=True,
        validation_rules="{",
        is_required=True,
    )
    query = 'SELECT * FROM "MST_TenantSettings" WHERE setting_key = %s'
    before = host.execute(query, [key]).fetchall()

    for day, plan in enumerate(("BASIC", "PREMIUM")):
        move(host, plan)
        assert run(database, DAY + timedelta(days=day)).status == "completed"

    assert host.execute(query, [key]).fetchall() == before
    assert counts(host, "protectedSettings", "critical") == (1, 2)
    kept = [
        host.execute(query).fetchall()
        for query in (
            "SELECT t::text FROM batch.setting_change AS t",
            "SELECT t::text FROM batch.applied_setting AS t",
            "SELECT t::text FROM batch.tenant_outcome AS t",
        )
    ]
    assert "hunter2" not in str(kept)
    host.execute("DELETE FROM batch.execution_log")


@pytest.mark.parametrize("values_of_row", [{"setting_category": "SECURITY"}, {"is_encrypted": True}])
def test_a_plans_key_in_a_protected_row_is_reported_only(
    database: Database, host: psycopg.Connection, values_of_row: dict[str, Any]
) -> None:
    tenant(host)
    setting(host, "limits.max_users", "secret", **values_of_row)
    setting(host, "limits.storage_gb", "secret", is_deleted=True, **values_of_row)

    run(database)

    assert values(host)["limits.max_users"] == "secret"
    assert "limits.storage_gb" not in values(host)
    assert notes(host).count("保護された区分か暗号化された設定のため、同期しません") == 2
    assert "secret" not in notes(host)


# Reports ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "text"),
    [("GOLD", "プラン GOLD は"), (None, "プランがありません"), ("a\nb", "プラン A B は")],
)
def test_an_unknown_plan_is_reported_and_nothing_is_written(
    database: Database, host: psycopg.Connection, plan: str | None, text: str
) -> None:
    tenant(host, plan=plan)
    setting(host, "limits.max_users", "5", data_type="BOOLEAN")
    before = host_settings(host)

    assert run(database).status == "completed"

    assert host_settings(host) == before
    assert notes(host).startswith(f"【高】{text}")
    assert counts(host, "high", "fixed") == (2, 0)


def test_broken_rules_wrong_types_and_changed_system_settings_are_reported_by_severity(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    setting(host, "ui.rules", "x", validation_rules="{broken")
    setting(host, "ui.typed", "x", data_type="INTEGER")
    setting(host, "ui.managed", "x", is_system_managed=True)
    setting(host, "ui.reversed", "x", effective_from=NOON, effective_until=NOON - timedelta(days=1))
    setting(host, "ui.endless", "x", effective_from="-infinity", effective_until="infinity")
    setting(host, "limits.max_users", "20", effective_until=NOON - timedelta(days=1))
    setting(host, "ui.line\nbreak", "x", data_type="odd")

    run(database)

    assert counts(host, "critical", "high", "medium", "low") == (0, 2, 3, 1)
    assert outcome(host)["notes"] == [
        "【高】ui.managed: システム管理の設定が利用者に変更されています",
        "【高】ui.typed: 値が data_type（INTEGER）の形ではありません",
        "【中】limits.max_users: 有効期間の外です",
        "【中】ui.reversed: 有効期間の終わりが始まりより前です",
        "【中】ui.rules: validation_rules が JSON ではありません",
    ]


def test_a_long_list_of_problems_is_cut(database: Database, host: psycopg.Connection) -> None:
    tenant(host)
    for number in range(100):
        setting(host, f"ui.number{number}", "x", data_type="INTEGER")
    run(database)
    assert outcome(host)["notes"][-1] == "ほか 70 件"
    assert counts(host, "high") == (100,)


# The operators' digest -------------------------------------------------------------------------------------------------

SETTINGS_ACTION = (
    "→ 設定: テナントの設定の値か規則を直してください。"
    "利用者が変えたシステム管理の設定は、その人に意図を確かめて元に戻してください"
)
PLAN_ACTION = (
    "→ プラン: MST_Tenant の subscription_plan を直すか、plan_settings.yaml にプランを加えてください"
)
ALL_OF_THEM = "→ 全件は batch.tenant_outcome の details（seriousProblems）にあります。同じ問題は直るまで再び知らせません"


def broken(host: psycopg.Connection, key: str, tenant_id: str = "A") -> None:
    """A setting with a serious problem."""
    setting(host, key, " ", tenant_id, is_required=True)


def test_serious_problems_are_reported_tenant_by_tenant(database: Database, host: psycopg.Connection) -> None:
    tenant(host, tenant_code="AAA", tenant_name="高社")
    setting(host, "ui.managed", "x", is_system_managed=True)
    setting(host, "ui.rules", "x", validation_rules="{broken")
    tenant(host, "B", "GOLD", tenant_code="BBB", tenant_name="重大社")
    broken(host, "security.mfa", "B")
    tenant(host, "C")

    assert tell(database) == [
        "テナント設定の問題（2026-10-31）: 新規 重大 1、高 2（2 テナント）",
        "・BBB 重大社: 【重大】security.mfa: 必須の設定に値がありません、"
        "【高】プラン GOLD は plan_settings.yaml にありません（設定は変更しません）",
        "・AAA 高社: 【高】ui.managed: システム管理の設定が利用者に変更されています",
        SETTINGS_ACTION,
        PLAN_ACTION,
        ALL_OF_THEM,
    ]


@pytest.mark.parametrize(("key", "is_critical"), [("ui.first", False), ("security.mfa", True)])
def test_critical_problems_make_the_digest_critical(
    database: Database, host: psycopg.Connection, key: str, is_critical: bool
) -> None:
    tenant(host)
    broken(host, key)
    batch = create_batch()
    with database.working() as (platform, connection):
        opened, _ = open_run(platform, SETTINGS_SYNC, batch, DAY)
        process_tenants(connection, platform, batch, opened, ["A"])
        assert batch.digest(Work(opened, platform)).is_critical is is_critical


def test_a_problem_is_reported_once_until_it_is_fixed_and_occurs_again(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    tenant(host, "B")
    broken(host, "ui.first")
    assert tell(database)[1] == "・A A: 【高】ui.first: 必須の設定に値がありません"

    assert tell(database) == []
    assert tell(database, DAY + timedelta(days=1)) == []
    broken(host, "ui.second")
    assert tell(database, DAY + timedelta(days=2), codes=("B",)) == []
    assert tell(database, DAY + timedelta(days=2))[1] == "・A A: 【高】ui.second: 必須の設定に値がありません"

    change(host, "ui.first", "x")
    change(host, "ui.second", "x")
    assert tell(database, DAY + timedelta(days=3)) == []
    change(host, "ui.first", " ")
    assert tell(database, DAY + timedelta(days=4))[1] == "・A A: 【高】ui.first: 必須の設定に値がありません"


@pytest.mark.parametrize("how", ["killed", "not delivered", "dry run"])
def test_the_next_run_reports_a_problem_that_was_not_reported(
    database: Database, host: psycopg.Connection, how: str
) -> None:
    tenant(host)
    broken(host, "ui.first")
    if how == "not delivered":
        tell(database, is_delivered=False)
    else:
        run(database, dry_run=how == "dry run")

    assert tell(database, DAY + timedelta(days=1))[1] == "・A A: 【高】ui.first: 必須の設定に値がありません"
    assert tell(database, DAY + timedelta(days=2)) == []


@pytest.mark.parametrize("is_after_another_run", [False, True])
def test_a_cleared_run_reports_only_new_problems(
    database: Database, host: psycopg.Connection, is_after_another_run: bool
) -> None:
    tenant(host)
    broken(host, "ui.first")

    def something_else_breaks() -> None:
        if is_after_another_run:
            assert tell(database) == []
        broken(host, "ui.second")

    again = tell(database, clear_with=something_else_breaks)

    assert again[1:-2] == ["・A A: 【高】ui.second: 必須の設定に値がありません"]
    assert tell(database, DAY + timedelta(days=1)) == []


def test_differences_from_sample_plans_are_not_serious(database: Database, host: psycopg.Connection) -> None:
    tenant(host, plan="GOLD")
    tenant(host, "B")
    setting(host, "limits.max_users", "many", "B")
    setting(host, "limits.storage_gb", "x", "B", is_encrypted=True)
    broken(host, "security.mfa", "B")

    lines = tell(database, sample=True)

    assert lines[1:] == [
        "・B B: 【重大】security.mfa: 必須の設定に値がありません",
        SETTINGS_ACTION,
        ALL_OF_THEM,
    ]
    assert counts(host, "high", tenant_id="A") == (1,)
    assert tell(database, sample=True) == []
    # Once the list is the customer's, what differs from it is news.
    assert tell(database)[0] == "テナント設定の問題（2026-10-31）: 新規 高 3（2 テナント）"


def test_of_two_digests_at_once_one_tells(database: Database, host: psycopg.Connection) -> None:
    tenant(host)
    broken(host, "ui.first")
    batch, digests = create_batch(), list[list[str]]()
    later = threading.Thread(target=lambda: digests.append(tell(database)))
    with database.working() as (platform, connection):
        opened, _ = open_run(platform, SETTINGS_SYNC, batch, DAY)
        process_tenants(connection, platform, batch, opened, ["A"])
        run_log.close_execution(platform, opened)
        with platform.transaction():
            digests.append(list(batch.digest(Work(opened, platform)).lines))
            later.start()
            wait_for_blocked_statement(database)
        later.join()

    assert [bool(lines) for lines in digests] == [True, False]


# Dry run ---------------------------------------------------------------------------------------------------------------


def test_a_dry_run_shows_the_plan_and_writes_nothing(database: Database, host: psycopg.Connection) -> None:
    tenant(host)
    batch = create_batch()
    with database.working() as (platform, connection):
        opened, _ = open_run(platform, SETTINGS_SYNC, batch, DAY, dry_run=True)
        report = process_tenants(connection, platform, batch, opened, ["A"])

    assert everything_written(host) == [[], [], [], []]
    assert (
        "A: 予定: 追加 limits.max_users: （なし） → 20（プラン BASIC の設定がない）"
        in report.results[0].report
    )
    assert counts(host, "fixed") == (6,)


# Others ----------------------------------------------------------------------------------------------------------------


def test_a_tenant_id_that_looks_like_a_path_is_only_an_id(
    database: Database, host: psycopg.Connection
) -> None:
    for tenant_id in ("../../etc", "it's", "%s {x}"):
        tenant(host, tenant_id)
    assert run(database, shards=3).status == "completed"
    assert values(host, "../../etc") == values(host, "it's") == values(host, "%s {x}") == BASIC


def test_a_clear_after_midnight_in_japan_works_on_that_day(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    noon = datetime(2026, 10, 31, 3, tzinfo=UTC)
    cleared = FlowRun(
        *(database, SETTINGS_SYNC, DAY),
        run_at=noon,
        create_batch=create_batch,
        before={"sync_settings[0]": kill},
    )

    cleared.later = timedelta(hours=13)
    cleared.clear()

    applied = host.execute("SELECT DISTINCT applied_on FROM batch.applied_setting").fetchall()
    assert applied == [(date(2026, 11, 1),)]


def test_two_runs_at_once_do_everything_once(database: Database, host: psycopg.Connection) -> None:
    for number in range(20):
        tenant(host, f"T{number}")
    results: list[RunResult] = []
    threads = [threading.Thread(target=lambda: results.append(run(database, shards=4))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [result.status for result in results] == ["completed"] * 3
    assert host.execute("SELECT count(*) FROM batch.setting_change").fetchone() == (120,)
    assert host.execute('SELECT count(*) FROM "MST_TenantSettings"').fetchone() == (120,)


def test_a_run_that_meets_another_goes_on_from_where_that_one_ends(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    run(database)
    host.execute('DELETE FROM "MST_TenantSettings"')
    host.execute("DELETE FROM batch.applied_setting")
    batch, results = create_batch(), list[RunResult]()
    later = threading.Thread(target=lambda: results.append(run(database)))
    with database.working() as (platform, connection):
        opened, _ = open_run(platform, SETTINGS_SYNC, batch, DAY)
        with tenant_transaction(connection, ["A"]):
            batch.process(Work(opened, connection, ["A"]))
            later.start()
            wait_for_blocked_statement(database)
        later.join()

    assert [result.status for result in results] == ["completed"]
    assert counts(host, "missing", "fixed", "reported") == (0, 0, 0)
    assert len(history(host)) == 12


def test_a_row_that_the_application_adds_meanwhile_is_its_own(
    database: Database, host: psycopg.Connection
) -> None:
    tenant(host)
    results: list[RunResult] = []
    ours = threading.Thread(target=lambda: results.append(run(database)))
    with host.transaction():
        setting(host, "limits.max_users", "77")
        ours.start()
        wait_for_blocked_statement(database)
    ours.join()

    assert values(host) == BASIC | {"limits.max_users": "77"}
    assert len(history(host)) == 5
    assert "同時に登録されたため" in notes(host)
    assert "limits.max_users" not in {row[1] for row in everything_written(host)[2]}


def test_a_sample_of_plans_is_never_applied(database: Database, host: psycopg.Connection) -> None:
    host_rows.tenant(host, "A", subscription_plan="BASIC")
    with database.working() as (platform, connection):
        result = run_batch(
            platform, connection, SETTINGS_SYNC, settings_sync.create_batch(LOCAL), date(2026, 11, 1)
        )

    assert result.status == "completed"
    assert host.execute('SELECT count(*) FROM "MST_TenantSettings"').fetchone() == (0,)
    assert host.execute("SELECT count(*) FROM batch.applied_setting").fetchone() == (0,)
    assert "見本の一覧のため書き込みません" in notes(host)
