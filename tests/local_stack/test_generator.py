"""The demo data: the same bytes every time, and every oddity that the batches have to cope with."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from local_stack.generator import (
    DEMO_SHAPE,
    TABLES,
    DataShape,
    LoadedCounts,
    benchmark_shape,
    load_demo_data,
)
from local_stack.host_fixture import HostVariant, create_host_schema
from local_stack.postgres_server import EmbeddedPostgres

Rows = list[tuple[object, ...]]
NewDatabase = Callable[..., str]

SMALL = DataShape(tenants=3, users_per_tenant=30, first_day=date(2026, 10, 1), days=3, requests_per_day=300)

LOAD_SMALL = """
import sys, psycopg
from tests.local_stack.test_generator import SMALL
from local_stack.generator import load_demo_data
with psycopg.connect(sys.argv[1]) as conn:
    load_demo_data(conn, SMALL)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("generator") / "postgres", durable=False)
    server.start()
    yield server
    server.reset()


@pytest.fixture(scope="module")
def new_database(server: EmbeddedPostgres) -> NewDatabase:
    """Makes a database with the host's empty tables and returns its connection string."""
    names = (f"host_{number}" for number in range(1_000))

    def make(variant: HostVariant = HostVariant.MULTI_TENANT) -> str:
        name = next(names)
        with psycopg.connect(server.admin_dsn(), autocommit=True) as conn:
            conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with psycopg.connect(server.admin_dsn(name)) as conn:
            create_host_schema(conn, variant)
        return server.admin_dsn(name)

    return make


@pytest.fixture(scope="module")
def demo(new_database: NewDatabase) -> Iterator[psycopg.Connection]:
    """The demo's database."""
    with psycopg.connect(new_database()) as conn:
        load_demo_data(conn, DEMO_SHAPE)
        conn.commit()
        yield conn


def rows(conn: psycopg.Connection, query: LiteralString) -> Rows:
    return conn.execute(query).fetchall()


def load(dsn: str, shape: DataShape, variant: HostVariant = HostVariant.MULTI_TENANT) -> LoadedCounts:
    with psycopg.connect(dsn) as conn:
        return load_demo_data(conn, shape, variant)


def content_hashes(dsn: str) -> dict[str, str]:
    """A hash over all rows of every table, in the order they were loaded."""
    hashes = {}
    with psycopg.connect(dsn) as conn, conn.cursor() as cursor:
        for table in TABLES:
            content = hashlib.sha256()
            with cursor.copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table.name))) as copy:
                for block in copy:
                    content.update(block)
            hashes[table.name] = content.hexdigest()
    return hashes


def test_the_same_shape_gives_the_same_bytes_in_another_process_and_time_zone(
    new_database: NewDatabase,
) -> None:
    here, there = new_database(), new_database()
    load(here, SMALL)
    elsewhere = {**os.environ, "PYTHONHASHSEED": "1", "TZ": "America/New_York", "PGTZ": "America/New_York"}
    subprocess.run([sys.executable, "-c", LOAD_SMALL, there], env=elsewhere, check=True)
    assert content_hashes(here) == content_hashes(there)


def test_another_seed_gives_other_people_and_other_events(new_database: NewDatabase) -> None:
    one, other = new_database(), new_database()
    load(one, SMALL)
    load(other, replace(SMALL, seed=7))
    ones, others = content_hashes(one), content_hashes(other)
    unchanged = {table for table in ones if ones[table] == others[table]}
    assert unchanged == {
        *("MST_Tenant", "MST_TenantSettings", "MST_Department"),
        *("MST_SkillCategory", "MST_SkillItem", "MST_JobTypeSkill"),
    }


def test_a_database_that_holds_tenants_is_not_loaded_again(new_database: NewDatabase) -> None:
    dsn = new_database()
    load(dsn, SMALL)
    before = content_hashes(dsn)
    with pytest.raises(ValueError, match="holds tenants already"):
        load(dsn, SMALL)
    assert content_hashes(dsn) == before


def test_the_base_variant_refuses_two_tenants_and_takes_one(new_database: NewDatabase) -> None:
    dsn = new_database(HostVariant.BASE)
    with pytest.raises(
        ValueError, match="no tenant_id on MST_Employee and can hold one tenant's people only: 3 tenants"
    ):
        load(dsn, SMALL, HostVariant.BASE)
    one = DataShape(tenants=1, users_per_tenant=30, first_day=date(2026, 10, 1), days=2, requests_per_day=50)
    counts = load(dsn, one, HostVariant.BASE)
    assert counts["MST_Tenant"] == 1
    assert counts["MST_Employee"] == 63  # the holding company has a size of its own
    with psycopg.connect(dsn) as conn:
        assert rows(conn, """SELECT count(*) FROM "MST_Employee" WHERE employee_code ~ '^[0-9]{6}$'""") == [
            (63,)
        ]


def test_benchmark_tenants_are_alike_and_make_a_hundred_requests_each(new_database: NewDatabase) -> None:
    dsn = new_database()
    counts = load(dsn, benchmark_shape(30))
    assert counts["MST_UserAuth"] == 30 * 20
    with psycopg.connect(dsn) as conn:
        per_tenant = rows(
            conn,
            """SELECT (created_at AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date, count(*)
               FROM "SYS_SystemLog" WHERE request_url IS NOT NULL GROUP BY 1""",
        )
        assert per_tenant == [(date(2026, 10, 31), 3_000)]
        assert rows(conn, """SELECT count(*) FROM "MST_UserAuth" WHERE employee_id !~ '^emp_'""") > [(90,)]


@pytest.mark.parametrize(
    "wrong", [{"tenants": 0}, {"days": 0}, {"users_per_tenant": -1}, {"requests_per_day": -1}]
)
def test_an_impossible_shape_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be at least"):
        replace(SMALL, **wrong)


def test_counts_are_those_of_the_rows(demo: psycopg.Connection, new_database: NewDatabase) -> None:
    dsn = new_database()
    counts = load(dsn, SMALL)
    with psycopg.connect(dsn) as conn:
        for table in TABLES:
            found = conn.execute(
                sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table.name))
            ).fetchone()
            assert found == (counts[table.name],)
    assert counts.total == sum(counts.values())
    assert rows(demo, 'SELECT count(*) FROM "SYS_TenantUsage"') == [(0,)]


def test_every_odd_tenant_is_there(demo: psycopg.Connection) -> None:
    assert rows(
        demo,
        """SELECT tenant_id, status, is_deleted, subscription_plan, timezone, currency_code, max_users, max_storage_gb
           FROM "MST_Tenant" ORDER BY ctid""",
    ) == [
        ("default-tenant", "ACTIVE", False, "ENTERPRISE", "Asia/Tokyo", "JPY", 500, 500),
        ("tenant_1735689600000", "active", False, "ENTERPRISE", "Asia/Tokyo", "JPY", 12_000, 2_000),
        ("TENANT001", "ACTIVE", False, "PREMIUM", "Asia/Tokyo", "JPY", 100, 20),
        ("TENANT002", "ACTIVE", False, "STANDARD", "Asia/Tokyo", "JPY", 100, 10),
        ("tenant_1704067200000", None, False, None, None, None, None, None),
        ("TENANT003", "deleted", False, "BASIC", "Asia/Tokyo", "JPY", 100, 100),
        ("tenant_1790780400000", "TRIAL", False, "FREE", "Asia/Tokyo", "JPY", 10, 1),
        ("TENANT004", "SUSPENDED", False, "BASIC", "Asia/Tokyo", "JPY", 100, 100),
        ("tenant_1719792000000", "ACTIVE", True, "FREE", "Asia/Tokyo", "JPY", 100, 100),
        ("tenant_1793372400000", "ACTIVE", False, "BASIC", "Asia/Tokyo", "JPY", 100, 100),
        ("tenant_1751328000000", "ACTIVE", False, "STANDARD", "Asia/Tokyo", "USD", 100, 100),
        ("TENANT005", "ACTIVE", False, "PREMIUM", "Asia/Tokyo", "JPY", 0, 0),
    ]
    assert ('O\'Hara/../"X"',) in rows(demo, 'SELECT tenant_code FROM "MST_Tenant"')
    names = {name for (name,) in rows(demo, 'SELECT tenant_name FROM "MST_Tenant"')}
    assert {"髙橋﨑ホールディングス株式会社", "㈱髙橋﨑ソリューションズ"} < names


def test_one_tenant_has_ten_thousand_employees_and_one_has_none(demo: psycopg.Connection) -> None:
    heads = rows(
        demo,
        """SELECT tenant_id, count(id) FROM "MST_Tenant" LEFT JOIN "MST_Employee" USING (tenant_id) GROUP BY 1""",
    )
    assert ("tenant_1735689600000", 10_000) in heads
    assert ("tenant_1793372400000", 0) in heads


def test_storage_stands_above_95_percent_for_one_tenant_and_between_80_and_95_for_another(
    demo: psycopg.Connection,
) -> None:
    filled = rows(
        demo,
        """WITH stored AS (
               SELECT tenant_id, file_size / 1048576.0 AS mb FROM "HIS_ReportGeneration" WHERE NOT is_deleted
               UNION ALL
               SELECT tenant_id, file_size_kb / 1024.0 FROM "TRN_SkillEvidence" WHERE NOT is_deleted
           )
           SELECT tenant_id, round(100 * sum(mb) / (max_storage_gb * 1024))::int
           FROM stored JOIN "MST_Tenant" USING (tenant_id)
           WHERE max_storage_gb > 0 GROUP BY tenant_id, max_storage_gb HAVING sum(mb) > max_storage_gb * 512
           ORDER BY 1""",
    )
    assert filled == [("TENANT001", 97), ("TENANT002", 86)]


def test_one_tenant_calls_more_than_twice_its_mean_on_the_last_day(demo: psycopg.Connection) -> None:
    jumps = rows(
        demo,
        """WITH daily AS (
               SELECT split_part(user_id, '_', 2)::int AS company, count(*) AS calls,
                      (created_at AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date AS day
               FROM "SYS_SystemLog" WHERE request_url IS NOT NULL AND user_id LIKE 'usr\\_0%' GROUP BY company, day
           )
           SELECT company FROM daily GROUP BY company
           HAVING max(calls) FILTER (WHERE day = '2026-10-31') > 2 * avg(calls) FILTER (WHERE day < '2026-10-31')""",
    )
    assert jumps == [(10,)]


def test_a_day_has_rows_on_its_first_and_its_last_millisecond(demo: psycopg.Connection) -> None:
    edges = rows(
        demo,
        """SELECT DISTINCT created_at FROM "SYS_SystemLog"
           WHERE request_url IS NOT NULL AND created_at::time IN ('14:59:59.999', '15:00:00.000')""",
    )
    first = [(datetime(2026, 9, 30, 15),), *((datetime(2026, 10, day, 15),) for day in range(1, 31))]
    last = [(datetime(2026, 10, day, 14, 59, 59, 999_000),) for day in range(1, 32)]
    assert {*first, *last} < set(edges)

    logins = rows(
        demo,
        """SELECT last_login_at FROM "MST_UserAuth"
           WHERE user_id IN ('usr_00000_00000', 'usr_00000_00001') ORDER BY user_id""",
    )
    assert logins == [first[-1], last[-1]]


def test_a_row_lies_just_outside_the_period_at_each_end(demo: psycopg.Connection) -> None:
    outside = rows(
        demo,
        """SELECT created_at FROM "SYS_SystemLog"
           WHERE created_at < '2026-09-30 15:00' OR created_at >= '2026-10-31 15:00' ORDER BY created_at""",
    )
    assert outside == [(datetime(2026, 9, 30, 14, 59, 59, 999_000),), (datetime(2026, 10, 31, 15),)]


def test_working_days_are_busy_and_weekends_quiet(demo: psycopg.Connection) -> None:
    [(working_day, weekend)] = rows(
        demo,
        """WITH daily AS (
               SELECT (created_at AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date AS day, count(*) AS calls
               FROM "SYS_SystemLog" WHERE request_url IS NOT NULL GROUP BY day
           )
           SELECT (avg(calls) FILTER (WHERE extract(isodow FROM day) < 6))::int,
                  (avg(calls) FILTER (WHERE extract(isodow FROM day) > 5))::int
           FROM daily WHERE day BETWEEN '2026-10-01' AND '2026-10-30'""",
    )
    assert isinstance(working_day, int)
    assert isinstance(weekend, int)
    assert 2_700 < working_day < 3_300
    assert weekend < working_day / 4


def test_the_request_log_has_errors_strangers_and_other_lines(demo: psycopg.Connection) -> None:
    [(errors, nameless, unknown, other, deleted, median)] = rows(
        demo,
        """SELECT avg((response_status >= 400)::int) FILTER (WHERE request_url IS NOT NULL),
                  avg((log.user_id IS NULL)::int) FILTER (WHERE request_url IS NOT NULL),
                  count(*) FILTER (WHERE log.user_id IS NOT NULL AND account.user_id IS NULL),
                  avg((request_url IS NULL)::int),
                  count(*) FILTER (WHERE log.is_deleted),
                  percentile_cont(0.5) WITHIN GROUP (ORDER BY response_time)
           FROM "SYS_SystemLog" AS log LEFT JOIN "MST_UserAuth" AS account USING (user_id)""",
    )
    assert 0.01 < float(str(errors)) < 0.02
    assert 0.005 < float(str(nameless)) < 0.02
    assert int(str(unknown)) > 100
    assert 0.03 < float(str(other)) < 0.07
    assert int(str(deleted)) > 50
    assert 60 < float(str(median)) < 110
    levels = {level for (level,) in rows(demo, 'SELECT DISTINCT log_level FROM "SYS_SystemLog"')}
    assert levels == {"DEBUG", "INFO", "WARN", "ERROR"}


def test_accounts_name_their_employee_by_id_or_by_code_and_always_just_one(demo: psycopg.Connection) -> None:
    matches = rows(
        demo,
        """SELECT account.employee_id LIKE 'emp\\_%' AS by_id, employees, count(*) > 3
           FROM "MST_UserAuth" AS account
           CROSS JOIN LATERAL (
               SELECT count(*) AS employees FROM "MST_Employee" AS employee
               WHERE employee.id = account.employee_id
                  OR (employee.employee_code = account.employee_id AND employee.tenant_id = account.tenant_id)
           ) GROUP BY by_id, employees ORDER BY by_id""",
    )
    assert matches == [(False, 1, True), (True, 1, True)]
    assert rows(
        demo, """SELECT count(DISTINCT tenant_id) > 5 FROM "MST_Employee" WHERE employee_code = '000001'"""
    ) == [(True,)]


def test_a_few_accounts_kept_the_default_tenant_of_the_migration(demo: psycopg.Connection) -> None:
    misplaced = rows(
        demo,
        """SELECT employee.tenant_id, count(*) FROM "MST_UserAuth" AS account
           JOIN "MST_Employee" AS employee ON employee.id = account.employee_id
           WHERE account.tenant_id <> employee.tenant_id AND account.tenant_id = 'default-tenant'
           GROUP BY 1 ORDER BY 1""",
    )
    assert ("TENANT001", 1) in misplaced
    assert ("tenant_1735689600000", 191) in misplaced
    assert rows(
        demo,
        """SELECT count(*) FROM "MST_UserAuth" WHERE tenant_id = 'TENANT001'""",
    ) == [(39,)]


@pytest.mark.parametrize("table", ["TRN_SkillRecord", "TRN_SkillEvidence", "TRN_GoalProgress"])
def test_transactions_name_employees_by_id_and_by_code_and_are_changed_by_users_and_by_the_system(
    demo: psycopg.Connection, table: str
) -> None:
    kinds = demo.execute(
        sql.SQL(
            """SELECT employee_id LIKE 'emp\\_%', updated_by = 'system', count(*) > 0 FROM {}
               GROUP BY 1, 2 ORDER BY 1, 2"""
        ).format(sql.Identifier(table))
    ).fetchall()
    assert kinds == [(False, False, True), (False, True, True), (True, False, True), (True, True, True)]


def test_audit_rows_have_gaps_and_hold_every_last_login(demo: psycopg.Connection) -> None:
    [gaps] = rows(
        demo,
        """SELECT count(*) FILTER (WHERE user_id IS NULL) > 50, count(*) FILTER (WHERE is_deleted IS NULL) > 50,
                  count(*) FILTER (WHERE created_at IS NULL) > 20, count(*) FILTER (WHERE updated_at IS NULL) > 50,
                  count(*) FILTER (WHERE is_deleted) > 20
           FROM "HIS_AuditLog" """,
    )
    assert gaps == (True, True, True, True, True)
    assert rows(
        demo,
        """SELECT count(*) FROM "HIS_AuditLog" AS login JOIN "MST_UserAuth" AS account USING (user_id)
           WHERE action_type = 'LOGIN' AND login.created_at > last_login_at""",
    ) == [(0,)]
    assert rows(
        demo,
        """SELECT count(*) FROM "MST_UserAuth" AS account
           WHERE last_login_at >= '2026-09-30 15:00' AND NOT EXISTS (
               SELECT FROM "HIS_AuditLog" WHERE target_id = account.user_id
               AND coalesce(created_at, updated_at) = last_login_at
           )""",
    ) == [(0,)]


def test_reports_succeed_and_fail_and_notifications_spell_their_status_in_every_way(
    demo: psycopg.Connection,
) -> None:
    outcomes = rows(
        demo,
        """SELECT generation_status, output_format,
                  bool_and((file_size IS NULL) = (completed_at IS NULL)), min(file_size) > 0
           FROM "HIS_ReportGeneration" GROUP BY 1, 2 ORDER BY 1, 2""",
    )
    assert outcomes == [
        ("COMPLETED", "excel", True, True),
        ("COMPLETED", "pdf", True, True),
        ("FAILED", "excel", True, None),
        ("FAILED", "pdf", True, None),
    ]
    sent = rows(
        demo,
        """SELECT send_status, bool_and(sent_at IS NULL) FROM "HIS_NotificationLog" GROUP BY 1 ORDER BY 1""",
    )
    assert sent == [
        ("FAILED", True),
        ("PENDING", True),
        ("SENT", False),
        ("SUCCESS", False),
        ("sent", False),
        ("success", False),
    ]


def test_nothing_happens_in_tenants_that_are_gone(demo: psycopg.Connection) -> None:
    latest = rows(
        demo,
        """SELECT tenant_id, max(last_login_at) < '2026-09-30 15:00' FROM "MST_UserAuth"
           WHERE tenant_id IN ('TENANT003', 'TENANT004', 'tenant_1719792000000') GROUP BY 1 ORDER BY 1""",
    )
    assert latest == [("TENANT003", True), ("TENANT004", True), ("tenant_1719792000000", True)]
