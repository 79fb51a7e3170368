"""The demo data: the same bytes every time, and every oddity that the batches have to cope with."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any, LiteralString, get_args

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from local_stack.generator import (
    DEMO_SHAPE,
    TABLES,
    DataShape,
    LoadedCounts,
    Spelling,
    load_demo_data,
)
from local_stack.host_fixture import HostVariant, create_host_schema
from tests.conftest import Server, administer

Rows = list[tuple[object, ...]]
NewDatabase = Callable[..., str]

SMALL = DataShape(tenants=3, users_per_tenant=30, first_day=date(2026, 10, 1), days=3, requests_per_day=300)

LOAD_SMALL = f"""
import datetime, sys, psycopg
from local_stack.generator import DataShape, load_demo_data
with psycopg.connect(sys.argv[1]) as conn:
    load_demo_data(conn, {SMALL!r})
"""


@pytest.fixture(scope="module")
def new_database(server: Server) -> Iterator[NewDatabase]:
    """Makes a database with the host's empty tables and returns its connection string."""
    names: list[str] = []

    def make(variant: HostVariant = HostVariant.MULTI_TENANT) -> str:
        names.append(f"generated_{os.urandom(6).hex()}")
        administer(server, "CREATE DATABASE {}", names[-1])
        with psycopg.connect(server.dsn(names[-1])) as conn:
            create_host_schema(conn, variant)
        return server.dsn(names[-1])

    yield make
    for name in names:
        administer(server, "DROP DATABASE {} WITH (FORCE)", name)


class World(psycopg.Connection[tuple[Any, ...]]):
    """A loaded database that nobody changes: its rows and people are read once."""

    @cached_property
    def people(self) -> People:
        """Its people."""
        return People(self)

    @cached_property
    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of the tables that were read."""
        return {}


@pytest.fixture(scope="module")
def demo(new_database: NewDatabase) -> Iterator[World]:
    """The demo's database."""
    with World.connect(new_database()) as conn:
        load_demo_data(conn, DEMO_SHAPE)
        conn.commit()
        yield conn


@pytest.fixture(scope="module")
def small(new_database: NewDatabase) -> tuple[str, LoadedCounts]:
    """A small database and what was loaded, for all tests that only read it."""
    dsn = new_database()
    return dsn, load(dsn, SMALL)


def rows(conn: psycopg.Connection, query: LiteralString) -> Rows:
    return conn.execute(query).fetchall()


class People:
    """Who is meant by a key, and whose a row is, worked out from the rows of the employees and accounts alone."""

    def __init__(self, conn: World) -> None:
        self.tenants = {row["tenant_id"] for row in dicts(conn, "MST_Tenant")}
        employees = dicts(conn, "MST_Employee")
        # The base variant has one tenant and no tenant_id.
        self.tenant_of: dict[str, str] = {
            row["id"]: row.get("tenant_id") or min(self.tenants) for row in employees
        }
        self.employee_of = {row["id"]: row["id"] for row in employees}
        self.employee_of |= {row["employee_code"]: row["id"] for row in employees}
        accounts = dicts(conn, "MST_UserAuth")
        self.account_of = {self.employee_of[row["employee_id"]]: row for row in accounts}
        logins = {row["login_id"]: self.employee_of[row["employee_id"]] for row in accounts}
        users = {row["user_id"]: self.employee_of[row["employee_id"]] for row in accounts}
        self.employee_of = logins | users | self.employee_of

    def tenant(self, key: str | None, stamp: str | None) -> str | None:
        """The tenant of the person, else the row's own if there is such a tenant."""
        if key in self.employee_of:
            return self.tenant_of[self.employee_of[key]]
        return stamp if stamp in self.tenants else None

    def kind(self, key: str) -> str:
        """The kind of key that names the person; the key itself if it identifies no person."""
        if key not in self.employee_of:
            return key
        return "user_id" if key.startswith("USER") else "employee_id" if key in self.tenant_of else "code"


def dicts(conn: World, table: str) -> list[dict[str, Any]]:
    if table not in conn.tables:
        query = sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))
        conn.tables[table] = conn.cursor(row_factory=dict_row).execute(query).fetchall()
    return conn.tables[table]


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


@pytest.mark.slow("loads the demo's data several times")
def test_the_same_shape_gives_the_same_bytes_in_any_process(
    new_database: NewDatabase, small: tuple[str, LoadedCounts]
) -> None:
    (here, _), there = small, new_database()
    elsewhere = {**os.environ, "PYTHONHASHSEED": "1", "TZ": "America/New_York", "PGTZ": "America/New_York"}
    subprocess.run([sys.executable, "-c", LOAD_SMALL, there], env=elsewhere, check=True)
    assert content_hashes(here) == content_hashes(there)


@pytest.mark.slow("loads the demo's data several times")
def test_another_seed_gives_other_people_and_other_events(
    new_database: NewDatabase, small: tuple[str, LoadedCounts]
) -> None:
    (one, _), other = small, new_database()
    load(other, replace(SMALL, seed=7))
    ones, others = content_hashes(one), content_hashes(other)
    unchanged = {table for table in ones if ones[table] == others[table]}
    assert unchanged == {
        *("MST_Tenant", "MST_TenantSettings", "MST_Department"),
        *("MST_SkillCategory", "MST_SkillItem", "MST_JobTypeSkill"),
    }


def test_a_database_that_holds_tenants_is_not_loaded_again(small: tuple[str, LoadedCounts]) -> None:
    dsn, _ = small
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
    assert counts["MST_Employee"] == 63  # the holding company has its own size
    with psycopg.connect(dsn) as conn:
        assert rows(conn, """SELECT count(*) FROM "MST_Employee" WHERE employee_code ~ '^[0-9]{6}$'""") == [
            (63,)
        ]


@pytest.mark.parametrize(
    "wrong",
    [{"tenants": 0}, {"days": 0}, {"users_per_tenant": -1}, {"requests_per_day": -1}, {"spelling": "name"}],
)
def test_an_impossible_shape_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be "):
        replace(SMALL, **wrong)


def test_counts_are_those_of_the_rows(demo: World, small: tuple[str, LoadedCounts]) -> None:
    dsn, counts = small
    with psycopg.connect(dsn) as conn:
        for table in TABLES:
            found = conn.execute(
                sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table.name))
            ).fetchone()
            assert found == (counts[table.name],)
    assert counts.total == sum(counts.values())
    assert rows(demo, 'SELECT count(*) FROM "SYS_TenantUsage"') == [(0,)]


def test_every_odd_tenant_is_there(demo: World) -> None:
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


def test_one_tenant_has_ten_thousand_employees_and_one_has_none(demo: World) -> None:
    heads = rows(
        demo,
        """SELECT tenant_id, count(id) FROM "MST_Tenant" LEFT JOIN "MST_Employee" USING (tenant_id) GROUP BY 1""",
    )
    assert ("tenant_1735689600000", 10_000) in heads
    assert ("tenant_1793372400000", 0) in heads


def test_one_tenant_uses_storage_above_95_percent_and_another_above_80(
    demo: World,
) -> None:
    people = demo.people
    quotas = {row["tenant_id"]: row["max_storage_gb"] for row in dicts(demo, "MST_Tenant")}
    used = dict.fromkeys(quotas, 0)
    for report in dicts(demo, "HIS_ReportGeneration"):
        size = 0 if report["is_deleted"] else report["file_size"] or 0
        used[people.tenant(report["requested_by"], report["tenant_id"])] += size
    for evidence in dicts(demo, "TRN_SkillEvidence"):
        size = 0 if evidence["is_deleted"] else evidence["file_size_kb"] or 0
        used[people.tenant(evidence["employee_id"], evidence["tenant_id"])] += 1_024 * size
    filled = {tenant: round(100 * used[tenant] / (quota << 30)) for tenant, quota in quotas.items() if quota}
    assert {tenant: share for tenant, share in filled.items() if share > 50} == {
        "TENANT001": 97,
        "TENANT002": 86,
    }


def test_one_tenant_calls_more_than_twice_its_mean_on_the_last_day(demo: World) -> None:
    jumps = rows(
        demo,
        """WITH daily AS (
               SELECT employee.tenant_id, count(*) AS calls,
                      (log.created_at AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date AS day
               FROM "SYS_SystemLog" AS log JOIN "MST_UserAuth" AS account USING (user_id)
               JOIN "MST_Employee" AS employee ON employee_code = login_id
               WHERE request_url IS NOT NULL GROUP BY employee.tenant_id, day
           )
           SELECT tenant_id FROM daily GROUP BY tenant_id
           HAVING max(calls) FILTER (WHERE day = '2026-10-31') > 2 * avg(calls) FILTER (WHERE day < '2026-10-31')""",
    )
    assert jumps == [("tenant_1751328000000",)]


def test_a_day_has_rows_on_its_first_and_its_last_millisecond(demo: World) -> None:
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
           WHERE user_id IN ('USER000001', 'USER000002') ORDER BY user_id""",
    )
    assert logins == [first[-1], last[-1]]


def test_a_row_is_just_outside_the_period_at_each_end(demo: World) -> None:
    outside = rows(
        demo,
        """SELECT created_at FROM "SYS_SystemLog"
           WHERE created_at < '2026-09-30 15:00' OR created_at >= '2026-10-31 15:00' ORDER BY created_at""",
    )
    assert outside == [(datetime(2026, 9, 30, 14, 59, 59, 999_000),), (datetime(2026, 10, 31, 15),)]


def test_working_days_are_busy_and_weekends_quiet(demo: World) -> None:
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


def test_the_request_log_has_errors_strangers_and_other_lines(demo: World) -> None:
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


def test_accounts_are_those_that_the_application_and_seeds_make(demo: World) -> None:
    people = demo.people
    accounts = dicts(demo, "MST_UserAuth")
    assert len(people.account_of) == len(accounts)  # no two accounts name the same employee
    assert {account["user_id"][:4] for account in accounts} == {"USER"}
    assert all(
        people.employee_of[row["login_id"]] == people.employee_of[row["employee_id"]] for row in accounts
    )
    assert all(people.kind(row["login_id"]) == "code" for row in accounts)
    kinds = Counter(people.kind(row["employee_id"]) for row in accounts)
    assert kinds["code"] + kinds["employee_id"] == len(accounts)
    assert kinds["employee_id"] == pytest.approx(len(accounts) / 5, rel=0.02)

    elsewhere = [row for row in accounts if people.tenant(row["employee_id"], None) != "default-tenant"]
    at_home = [row for row in elsewhere if row["tenant_id"] == people.tenant(row["employee_id"], None)]
    assert {row["tenant_id"] for row in elsewhere if row not in at_home} == {"default-tenant"}
    assert len(at_home) == pytest.approx(len(elsewhere) / 4, rel=0.02)
    assert "000001" not in people.employee_of  # a placeholder of the application's screens


TRANSACTIONS = (
    *("TRN_SkillRecord", "TRN_SkillEvidence", "TRN_GoalProgress"),
    *("TRN_PDU", "TRN_TrainingHistory", "TRN_ProjectRecord"),
)


def owner(row: dict[str, Any]) -> str | None:
    """The id of the employee for whom the generator created the row, from the row's id."""
    _, company, person, *_ = row["id"].split("_")
    return None if company == "nobody" else f"emp_{company}_{0 if person == 'film' else int(person):05d}"


@pytest.mark.parametrize("variant", HostVariant)
def test_each_transaction_names_its_person_in_some_way(
    new_database: NewDatabase, small: tuple[str, LoadedCounts], variant: HostVariant
) -> None:
    if variant is HostVariant.BASE:
        dsn = new_database(variant)
        load(dsn, replace(SMALL, tenants=1), variant)
    else:
        dsn, _ = small
    with World.connect(dsn) as conn:
        people = conn.people
        for table in TRANSACTIONS:
            transactions = dicts(conn, table)
            assert len(transactions) > 10
            assert [people.employee_of.get(row["employee_id"]) for row in transactions] == [
                owner(row) for row in transactions
            ]
            nobodys = [row for row in transactions if owner(row) is None]
            assert {row["employee_id"] for row in nobodys} <= {"emp_001"}
            assert len(nobodys) <= len(transactions) / 1_000
            editors = {
                row["updated_by"] for row in transactions if row["updated_by"] not in people.employee_of
            }
            assert editors - {"emp_001"} == {"system"}


@pytest.mark.parametrize("table", TRANSACTIONS)
def test_transactions_carry_each_wrong_tenant_beside_each_way_to_name_a_person(
    demo: World, table: str
) -> None:
    people = demo.people
    transactions = [row for row in dicts(demo, table) if owner(row)]
    of_others = [row for row in transactions if people.tenant(row["employee_id"], None) != "default-tenant"]
    found = {(people.kind(row["employee_id"]), row["tenant_id"]) for row in of_others}
    keys, stamps = {key for key, _ in found}, {stamp for _, stamp in found}
    assert {"code", "employee_id"} <= keys
    assert {"default-tenant"} < stamps
    assert stamps & {"default", "tenant_001"}
    assert stamps & people.tenants - {"default-tenant"}
    assert {(key, "default-tenant") for key in keys} <= found
    wrong = [row for row in of_others if row["tenant_id"] != people.tenant(row["employee_id"], None)]
    assert len(wrong) / len(of_others) > 0.4


def test_placeholders_are_few_each_day(demo: World) -> None:
    days = Counter(
        (row["updated_at"] + timedelta(hours=9)).date()
        for table in ("TRN_PDU", "TRN_TrainingHistory")
        for row in dicts(demo, table)
        if row["updated_by"] == "emp_001"
    )
    assert sum(days.values()) >= 4
    assert max(days.values()) <= 2


def test_goals_certificates_and_trainings_have_the_values_of_the_application(
    demo: World,
) -> None:
    goals = dicts(demo, "TRN_GoalProgress")
    assert {"ACTION_PLAN", "CAREER_PATH", "skill", "career", None} < {row["goal_type"] for row in goals}
    statuses = {row["achievement_status"] for row in goals}
    assert {"not_started", "in_progress", "completed", "postponed", "cancelled"} < statuses
    assert {"NOT_STARTED", "IN_PROGRESS", "COMPLETED"} < statuses

    pdus = dicts(demo, "TRN_PDU")
    certificates = [row for row in pdus if row["activity_type"] == "certification"]
    assert len(pdus) > len(certificates) > 3_000
    assert all(row["activity_name"] and row["activity_date"] for row in pdus)
    assert {row["approval_status"] for row in certificates} == {"approved", "pending"}
    ends = [row["expiry_date"] for row in certificates if row["expiry_date"]]
    assert len(certificates) > len(ends)
    assert min(ends) < datetime(2026, 10, 1) < datetime(2026, 12, 15) < max(ends)
    assert not [end for end in ends if datetime(2026, 9, 2) < end < datetime(2026, 12, 15)]

    attendances = {row["attendance_status"] for row in dicts(demo, "TRN_TrainingHistory")}
    assert attendances == {"completed", "COMPLETED", "planned", "REGISTERED"}


PERSON_KEYS = {
    **dict.fromkeys(TRANSACTIONS, ("employee_id", "created_by", "updated_by")),
    "HIS_AuditLog": ("user_id", "created_by"),
    "HIS_ReportGeneration": ("requested_by",),
    "MST_UserAuth": ("employee_id",),
}
"""The columns that name a person. The first one decides whose the row is."""


@pytest.fixture(scope="module")
def spelled(new_database: NewDatabase, small: tuple[str, LoadedCounts]) -> Iterator[dict[Spelling, World]]:
    """The same small world in each spelling."""
    with ExitStack() as stack:
        worlds = {}
        for spelling in get_args(Spelling):
            if spelling == SMALL.spelling:
                dsn, _ = small
            else:
                dsn = new_database()
                load(dsn, replace(SMALL, spelling=spelling))
            worlds[spelling] = stack.enter_context(World.connect(dsn))
        yield worlds


@pytest.mark.slow("loads the demo's data several times")
@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_a_spelling_changes_the_names_and_nothing_else(spelled: dict[Spelling, World], table: str) -> None:
    def resolved(spelling: Spelling) -> set[tuple[object, ...]]:
        people = spelled[spelling].people
        found = [dict(row) for row in dicts(spelled[spelling], table)]
        for row in found:
            if keys := PERSON_KEYS.get(table):
                row["tenant_id"] = people.tenant(row[keys[0]], row["tenant_id"])
                row |= {key: people.employee_of.get(row[key], row[key]) for key in keys}
        return {tuple(row.values()) for row in found}

    mixed, *others = map(resolved, spelled)
    assert mixed
    assert len(others) == 3
    for other in others:
        assert other == mixed


@pytest.mark.slow("loads the demo's data several times")
@pytest.mark.parametrize("spelling", ["user_id", "code", "employee_id"])
def test_one_spelling_is_kept_everywhere_and_its_tenants_are_right(
    spelled: dict[Spelling, World], spelling: Spelling
) -> None:
    people = spelled[spelling].people
    for table, columns in PERSON_KEYS.items():
        for row in dicts(spelled[spelling], table):
            assert people.tenant(row[columns[0]], None) in (row["tenant_id"], None)
            for key in (row[column] for column in columns if row[column] in people.employee_of):
                has_user_id = people.employee_of[key] in people.account_of and table != "MST_UserAuth"
                expected = "code" if spelling == "user_id" and not has_user_id else spelling
                assert people.kind(key) == expected


def test_audit_rows_name_people_as_the_routes_do(demo: World) -> None:
    people = demo.people
    audits = dicts(demo, "HIS_AuditLog")
    kinds = Counter(people.kind(row["user_id"]) for row in audits if row["user_id"])
    assert set(kinds) == {"code", "user_id", "system"}
    assert 50 < kinds["system"] < 200
    edits = [row for row in audits if row["action_type"] != "LOGIN" and row["user_id"]]
    incomplete = [row for row in edits if row["tenant_id"] is None and row["result_status"] is None]
    assert len(incomplete) > 2_000
    complete = [row for row in edits if row["result_status"]]
    assert {(people.kind(row["user_id"]), row["target_table"], row["updated_at"]) for row in complete} == {
        ("user_id", "TrainingHistory", None)
    }
    # A row without a person has its tenant.
    assert None not in {row["tenant_id"] for row in audits if row["user_id"] is None}


@pytest.mark.slow("loads the demo's data several times")
def test_without_logs_the_tables_that_the_application_never_writes_are_empty(
    new_database: NewDatabase, small: tuple[str, LoadedCounts]
) -> None:
    dsn, (full, _) = new_database(), small
    counts = load(dsn, replace(SMALL, empty_logs=True))
    empty = {table for table, count in counts.items() if count == 0}
    assert empty == {"SYS_SystemLog", "TRN_SkillEvidence", "HIS_NotificationLog"}
    with psycopg.connect(dsn) as conn:
        assert rows(conn, 'SELECT count(*) FROM "SYS_TokenStore"') == [(0,)]
        assert rows(
            conn,
            """SELECT count(*) > 0, count(*) FILTER (WHERE action_type = 'LOGIN') FROM "HIS_AuditLog" """,
        ) == [(True, 0)]
    less, more = content_hashes(dsn), content_hashes(full)
    assert {table for table in less if less[table] != more[table]} == {*empty, "HIS_AuditLog"}


def test_audit_rows_have_gaps_and_hold_every_last_login(demo: World) -> None:
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
        """SELECT count(*) FROM "HIS_AuditLog" AS login JOIN "MST_UserAuth" AS account ON target_id = account.user_id
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
    demo: World,
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
        ("PENDING", "excel", True, None),
        ("PENDING", "pdf", True, None),
    ]
    waiting = [row for row in dicts(demo, "HIS_ReportGeneration") if row["generation_status"] == "PENDING"]
    assert "tenant_001" in {row["tenant_id"] for row in waiting}
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


def test_nothing_happens_in_tenants_that_are_gone(demo: World) -> None:
    latest = rows(
        demo,
        """SELECT employee.tenant_id, max(last_login_at) < '2026-09-30 15:00'
           FROM "MST_UserAuth" JOIN "MST_Employee" AS employee ON employee_code = login_id
           WHERE employee.tenant_id IN ('TENANT003', 'TENANT004', 'tenant_1719792000000') GROUP BY 1 ORDER BY 1""",
    )
    assert latest == [("TENANT003", True), ("TENANT004", True), ("tenant_1719792000000", True)]
