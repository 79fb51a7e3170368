"""The rows of the batches' own tables that BATCH-002 deletes and keeps, and the tables that no settings file can include."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta

import psycopg
import pytest

from include.skillreport.batches.log_cleanup import rows
from include.skillreport.batches.log_cleanup.rows import ROW_CLASSES, count_old, delete_old
from include.skillreport.batches.log_cleanup.settings import LogCleanupSettings
from include.skillreport.core.entered import EARLIEST_BUSINESS_DATE
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.setting_types import LONGEST_DAYS
from include.skillreport.core.settings import parse_settings
from tests.conftest import Database
from tests.schema.catalogue import relations
from tests.worlds import host_rows
from tests.worlds.planted_rows import insert, plant, row_of
from tests.worlds.retained_tables import BOUNDED, KEPT_FOR_YEARS

TODAY = date(2026, 11, 22)
LONG_AGO = date(2020, 1, 1)
DELETED_FROM = {old.table for row_class in ROW_CLASSES.values() for old in row_class.tables}

"""The law and the customers want these for seven years, with losses for ten (法人税法), and no row class may touch them."""

"""Tables that BATCH-002 does not clean, and what bounds them."""


@pytest.fixture
def owner(shared_database: Database) -> Iterator[psycopg.Connection]:
    with shared_database.connect() as connection:
        yield connection


@pytest.fixture
def platform(shared_database: Database) -> Iterator[psycopg.Connection]:
    with shared_database.connect("batch_platform") as connection:
        yield connection


def clean(platform: psycopg.Connection, name: str, today: date = TODAY) -> int:
    """Delete the old rows of a class with the default settings; the dry run counts the same."""
    row_class = ROW_CLASSES[name]
    before = rows.cutoff(today, row_class, LogCleanupSettings.load().row_days)
    planned = count_old(platform, row_class, before)
    deleted = sum(delete_old(platform, row_class, before, chunk_rows=2))
    assert deleted == planned
    return deleted


def days_before(days: int) -> date:
    return TODAY - timedelta(days=days)


def planted(owner: psycopg.Connection, table: str, **values: object) -> None:
    """A row of the table with these values."""
    tenant_id = str(values.pop("tenant_id", "A"))
    insert(owner, table, row_of(owner, table, tenant_id) | values)


def left(owner: psycopg.Connection, query: str) -> list[object]:
    return [value for (value,) in owner.execute(query.encode())]


def has_rows(owner: psycopg.Connection, table: str) -> bool:
    return left(owner, f"SELECT EXISTS (SELECT FROM batch.{table})") == [True]


def test_old_login_days_go_but_each_tenants_newest_day_with_a_login(
    owner: psycopg.Connection, platform: psycopg.Connection
) -> None:
    for tenant_id, days, users in (
        ("A", 900, ["u"]),
        ("A", 801, ["u"]),
        ("A", 800, ["u"]),
        ("gone", 1_500, ["u"]),
        ("gone", 1_000, ["u"]),
        ("gone", 900, []),
    ):
        planted(owner, "login_day", tenant_id=tenant_id, login_date=days_before(days), user_ids=users)

    assert clean(platform, "login_day") == 3

    kept = left(
        owner,
        "SELECT tenant_id || ' ' || (date '2026-11-22' - login_date) FROM batch.login_day ORDER BY login_date",
    )
    assert kept == ["gone 1000", "gone 900", "A 800"]


def test_of_old_months_the_groups_of_the_last_day_with_statistics_stay(
    owner: psycopg.Connection, platform: psycopg.Connection
) -> None:
    # June has statistics until the 28th only. Its groups are those of that day.
    for day in ("2026-05-30", "2026-05-31", "2026-06-27", "2026-06-28", "2026-10-30"):
        planted(owner, "statistics_day", statistics_date=day)
        for key in ("java", "go"):
            planted(owner, "statistics_group", statistics_date=day, group_key=key)
    # Another tenant has statistics until the end of June.
    for table in ("statistics_day", "statistics_group"):
        planted(owner, table, tenant_id="B", statistics_date="2026-06-30")

    assert clean(platform, "statistics_group") == 4

    kept = left(owner, "SELECT tenant_id || ' ' || statistics_date FROM batch.statistics_group ORDER BY 1")
    assert kept == ["A 2026-05-31"] * 2 + ["A 2026-06-28"] * 2 + ["A 2026-10-30"] * 2 + ["B 2026-06-30"]
    assert clean(platform, "statistics", TODAY + timedelta(days=1_200 - 170)) == 4
    days = left(owner, "SELECT tenant_id || ' ' || statistics_date FROM batch.statistics_day ORDER BY 1")
    assert days == ["A 2026-06-27", "A 2026-06-28", "A 2026-10-30", "B 2026-06-30"]


def test_the_newest_change_of_a_setting_and_an_unreported_stage_are_kept(
    owner: psycopg.Connection, platform: psycopg.Connection
) -> None:
    for key, days in (("a", 2_000), ("a", 1_500), ("b", 2_000), ("b", 10)):
        planted(owner, "setting_change", setting_key=key, changed_at=days_before(days))
    planted(owner, "setting_change", tenant_id="B", setting_key="a", changed_at=days_before(1_800))
    planted(owner, "inactivity_change", recorded_at=days_before(1_500), told_at=days_before(1_500))
    planted(
        owner,
        "inactivity_change",
        recorded_at=days_before(1_500),
        told_at=None,
        changed_on=days_before(1_500),
    )

    assert clean(platform, "setting_change") == 2
    assert clean(platform, "inactivity_change") == 1

    kept = left(
        owner,
        "SELECT concat_ws(' ', tenant_id, setting_key, changed_at::date) FROM batch.setting_change ORDER BY 1",
    )
    assert kept == [f"A a {days_before(1_500)}", f"A b {days_before(10)}", f"B a {days_before(1_800)}"]
    assert left(owner, "SELECT told_at FROM batch.inactivity_change") == [None]


def test_ended_suppressions_warnings_changes_and_limits_go(
    owner: psycopg.Connection, platform: psycopg.Connection
) -> None:
    for address, until in (("ended", days_before(401)), ("for good", None), ("lately", days_before(10))):
        planted(owner, "suppressed_address", address=address, suppressed_until=until)
    for metric, days in (("old", 401), ("new", 400)):
        planted(owner, "usage_warning", metric=metric, raised_at=days_before(days))
    for subject, days in (("old", 802), ("new", 10)):
        planted(owner, "directory_change", subject_id=subject, changed_at=days_before(days))
    for key, days in (("old", 31), ("new", 1)):
        planted(owner, "service_limit", limit_key=key, learnt_at=days_before(days))

    names = ("ended_suppression", "usage_warning", "directory_change", "service_limit")
    assert [clean(platform, name) for name in names] == [1, 1, 1, 1]

    assert left(owner, "SELECT address FROM batch.suppressed_address ORDER BY 1") == ["for good", "lately"]
    assert left(owner, "SELECT metric FROM batch.usage_warning") == ["new"]
    assert left(owner, "SELECT subject_id FROM batch.directory_change") == ["new"]
    assert left(owner, "SELECT limit_key FROM batch.service_limit") == ["new"]


def assert_a_newer_row_stays(
    owner: psycopg.Connection, platform: psycopg.Connection, table: str, renew: str
) -> None:
    """Of two old rows of the table, the second one gets newer before its chunk is deleted."""
    ((row_class, old),) = [
        (row_class, old)
        for row_class in ROW_CLASSES.values()
        for old in row_class.tables
        if old.table == table
    ]
    before = rows.cutoff(TODAY, row_class, LogCleanupSettings.load().row_days)
    steps = delete_old(platform, replace(row_class, tables=(old,)), before, chunk_rows=1)
    assert next(steps) == 1

    owner.execute(renew.encode(), [TODAY])

    assert list(steps) == [0]
    assert has_rows(owner, table)


@pytest.mark.parametrize(
    ("table", "column", "values"),
    [
        ("sync_plan", "planned_at", {}),
        ("orphan_notice", "told_at", {}),
        ("execution_log", "started_at", {"status": "completed", "ended_at": LONG_AGO}),
        ("incident", "closed_at", {"closed_because": "recovered"}),
        ("platform_incident", "closed_at", {}),
        ("performance_metric", "recorded_at", {}),
        ("operator_alert", "delivered_at", {}),
        ("suppressed_address", "suppressed_until", {}),
        ("service_limit", "learnt_at", {}),
    ],
)
def test_a_row_that_gets_newer_before_its_chunk_stays(
    owner: psycopg.Connection,
    platform: psycopg.Connection,
    table: str,
    column: str,
    values: dict[str, object],
) -> None:
    for tenant_id in "AB":
        planted(owner, table, tenant_id=tenant_id, **values, **{column: LONG_AGO})
    assert_a_newer_row_stays(owner, platform, table, f"UPDATE batch.{table} SET {column} = %s")


@pytest.mark.parametrize(
    ("view", "table", "column"),
    [
        ("all_system_log", "SYS_SystemLog", "created_at"),
        ("all_token", "SYS_TokenStore", "expires_at"),
    ],
)
def test_a_host_row_that_gets_newer_before_its_chunk_stays(
    owner: psycopg.Connection, platform: psycopg.Connection, view: str, table: str, column: str
) -> None:
    for row_id in ("first", "second"):
        host_rows.insert(owner, table, id=row_id, updated_at=LONG_AGO, **{column: LONG_AGO})
    assert_a_newer_row_stays(owner, platform, view, f'UPDATE "{table}" SET {column} = %s')


def test_nothing_is_left_to_the_cascade_of_an_old_run(
    owner: psycopg.Connection, platform: psycopg.Connection
) -> None:
    rows_of_a_run: dict[str, bool] = dict(
        owner.execute(
            """
            SELECT
                relname,
                EXISTS (SELECT FROM pg_index WHERE indrelid = conrelid AND indpred IS NULL AND indkey[0] = conkey[1])
            FROM pg_constraint INNER JOIN pg_class ON pg_class.oid = conrelid
            WHERE confrelid = 'batch.execution_log'::regclass AND contype = 'f'
            """
        ).fetchall()
    )
    # The deletion of a run looks for rows in each of them.
    assert all(rows_of_a_run.values())
    children = list(rows_of_a_run)
    assert {"tenant_outcome", "reconciliation", "run_remark", "rows_scanned", "task_metric"} <= set(children)
    for table in children:
        plant(owner, table, "A")
    owner.execute(
        "UPDATE batch.execution_log SET started_at = '2020-01-01', status = 'completed', ended_at = '2020-01-02'"
    )
    row_class = ROW_CLASSES["execution_log"]
    before = rows.cutoff(TODAY, row_class, LogCleanupSettings.load().row_days)

    assert row_class.tables[-1].table == "execution_log"
    list(delete_old(platform, replace(row_class, tables=row_class.tables[:-1]), before, chunk_rows=1))

    assert {table for table in children if has_rows(owner, table)} == set()
    assert clean(platform, "execution_log") == 1


def test_no_class_of_rows_touches_what_has_to_stay(
    owner: psycopg.Connection, platform: psycopg.Connection
) -> None:
    assert set(relations(owner, "r")) >= KEPT_FOR_YEARS
    assert not DELETED_FROM & KEPT_FOR_YEARS

    # All settings as short as they can be, and everything is old.
    for table in KEPT_FOR_YEARS:
        plant(owner, table, "A")
    settings = LogCleanupSettings.load().row_days
    shortest = settings.model_copy(update=dict.fromkeys(type(settings).model_fields, 1))
    for row_class in ROW_CLASSES.values():
        list(delete_old(platform, row_class, rows.cutoff(date(2060, 1, 1), row_class, shortest), 1_000))
    assert {table for table in KEPT_FOR_YEARS if not has_rows(owner, table)} == set()


def test_every_table_is_deleted_from_kept_or_bounded(owner: psycopg.Connection) -> None:
    known = DELETED_FROM | KEPT_FOR_YEARS | BOUNDED.keys()
    assert set(relations(owner, "r")) - known == set()
    assert not BOUNDED.keys() & (DELETED_FROM | KEPT_FOR_YEARS)


@pytest.mark.parametrize("role", ["batch_platform", "batch_tenant"])
def test_the_database_itself_refuses_to_delete_what_an_invoice_was_made_of(
    owner: psycopg.Connection, role: str
) -> None:
    tables = ("invoice", "invoice_document", "invoice_counter", "payment", "usage_day", "metered_amount")
    deletable = [
        table
        for table in tables
        if left(owner, f"SELECT has_table_privilege('{role}', 'batch.{table}', 'DELETE')") == [True]
    ]
    assert deletable == []


def test_the_longest_retention_is_within_the_calendar(owner: psycopg.Connection) -> None:
    settings = LogCleanupSettings.load().row_days
    longest = settings.model_copy(update=dict.fromkeys(type(settings).model_fields, LONGEST_DAYS))
    for row_class in rows.ROW_CLASSES.values():
        before = rows.cutoff(EARLIEST_BUSINESS_DATE, row_class, longest)
        assert rows.count_old(owner, row_class, before) == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("log_cleanup: {row_days: {invoice: 1}}", "invoice"),
        ("log_cleanup: {row_days: {usage_day: 30}}", "usage_day"),
        ("log_cleanup: {row_days: {statistics: 799}}", "statistics"),
        ("log_cleanup: {row_days: {statistics_group: 61}}", "statistics_group"),
        ("log_cleanup: {row_days: {login_day: 399}}", "login_day"),
    ],
)
def test_a_settings_file_cannot_shorten_retention_that_a_batch_still_needs(text: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        parse_settings(text, "own.yaml")
