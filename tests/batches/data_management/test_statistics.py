"""BATCH-003 against real rows: what counts, on which day, and that no small group can be read or worked out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from include.skillreport.batches import tenant_usage
from include.skillreport.batches.statistics import create_batch
from include.skillreport.batches.statistics.batch import StatisticsBatch
from include.skillreport.core.catalog import (
    STATISTICS,
    TENANT_USAGE,
)
from include.skillreport.core.execution.batch import Run, UnitResult, Work
from include.skillreport.core.execution.shard_work import prepare
from local_stack.batch_runs import LOCAL, open_run, process_tenants, run_batch
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds import host_rows
from tests.worlds.statistics_rows import DAY, LONG_AGO, NOON, run, skill, transaction

# The first and the last instant of the Japanese day in UTC, as the host stores it.
FIRST_INSTANT, LAST_INSTANT = datetime(2026, 10, 30, 15), datetime(2026, 10, 31, 14, 59, 59, 999_000)


def work_on(database: Database, a_run: Run, *tenant_ids: str, batch: StatisticsBatch | None = None) -> None:
    """A shard's try, as a worker does it."""
    with database.working() as (platform, connection):
        report = process_tenants(connection, platform, batch or create_batch(LOCAL), a_run, tenant_ids)
    assert report.failures == []


def days(host: psycopg.Connection, tenant_id: str = "T1") -> list[dict[str, Any]]:
    with host.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "SELECT * FROM batch.statistics_day WHERE tenant_id = %s ORDER BY statistics_date", [tenant_id]
        ).fetchall()


def groups(host: psycopg.Connection, dimension: str, tenant_id: str = "T1") -> list[tuple[Any, ...]]:
    return host.execute(
        """
        SELECT CASE WHEN is_rest THEN '*' ELSE group_key END, people, records
        FROM batch.statistics_group
        WHERE tenant_id = %s AND dimension = %s
        ORDER BY is_rest, group_key
        """,
        [tenant_id, dimension],
    ).fetchall()


def employee(host: psycopg.Connection, person: str, tenant_id: str = "T1", **values: Any) -> str:
    """An employee of the tenant, by id; the code is the id behind a hash."""
    host_rows.insert(
        host,
        "MST_Employee",
        id=person,
        employee_code=f"#{person}",
        tenant_id=tenant_id,
        updated_at=LONG_AGO,
        **values,
    )
    return person


def requirement(host: psycopg.Connection, job: str, item: str, level: int, **values: Any) -> None:
    host_rows.insert(
        host,
        "MST_JobTypeSkill",
        id=f"{job}/{item}",
        job_type_id=job,
        skill_item_id=item,
        required_level=level,
        updated_at=LONG_AGO,
        **values,
    )


def assignment(host: psycopg.Connection, person: str, job: str, **values: Any) -> None:
    """The person's job beside that of their own row."""
    host_rows.insert(
        host,
        "MST_EmployeeJobType",
        id=f"{person}/{job}",
        employee_id=person,
        job_type_id=job,
        assignment_status="active",
        updated_at=LONG_AGO,
        **values,
    )


def test_a_day_counts_each_row_once_and_agrees_with_its_usage(
    shared_database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "T1")
    host_rows.tenant(host, "EMPTY")
    old = host_rows.user(host, "T1", "old", last_login_at=NOON)
    host_rows.user(host, "T1", "first", created_at=FIRST_INSTANT)
    host_rows.user(host, "T1", "last", created_at=LAST_INSTANT)
    host_rows.user(host, "T1", "the day after", created_at=datetime(2026, 10, 31, 15))
    for at, status in (
        (FIRST_INSTANT, 200),
        (LAST_INSTANT, 500),
        (NOON, 404),
        (datetime(2026, 10, 31, 15), 500),
    ):
        host_rows.request(host, old, at, response_status=status)

    assert run(shared_database).status == "completed"

    (day,) = days(host)
    assert (day["users_total"], day["users_active"], day["users_new"], day["logins"]) == (3, 1, 2, 1)
    assert (day["api_calls"], day["api_errors"], round(day["api_error_rate"], 4)) == (
        3,
        1,
        Decimal("33.3333"),
    )
    (nothing,) = days(host, "EMPTY")
    assert (nothing["users_total"], nothing["employees"], nothing["skill_records"]) == (0, 0, 0)
    assert (nothing["api_error_rate"], nothing["mean_level"], nothing["coverage_rate"]) == (None, None, None)

    # The application overwrites the last login before BATCH-018-01 counts the day half an hour later.
    host.execute("""UPDATE "MST_UserAuth" SET last_login_at = '2026-11-01 00:00' WHERE user_id = 'old'""")
    with (
        shared_database.working() as (platform, tenant),
    ):
        run_batch(platform, tenant, TENANT_USAGE, tenant_usage.create_batch(LOCAL), DAY)
    assert (
        host.execute(
            """
        SELECT users_total - registered_users, users_active - active_users, logins - total_logins,
            statistics.api_calls - usage.api_calls, api_errors - error_count
        FROM batch.statistics_day AS statistics
        INNER JOIN batch.usage_day AS usage ON usage_date = statistics_date AND usage.tenant_id = statistics.tenant_id
        """
        ).fetchall()
        == [(0, 0, 0, 0, 0)] * 2
    )

    # Once more: the same rows. With another row of the host: the same day, revised.
    run(shared_database)
    assert days(host) == [day]
    host_rows.request(host, old, NOON)
    run(shared_database, codes=["T1"])
    assert [(row["api_calls"], row["revision"]) for row in days(host)] == [(4, 2)]
    for staging in ("statistics_signal", "usage_signal"):
        assert host.execute(f"SELECT count(*) FROM batch.{staging}").fetchone() == (0,)


def test_skills_are_held_against_what_is_required(
    shared_database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "T1")
    host_rows.tenant(host, "T2")
    employee(host, "e1", job_type_id="J1")
    employee(host, "e2", job_type_id="J2")  # of whom nothing is required
    employee(host, "left", job_type_id="J1", employment_status="RETIRED")
    employee(host, "elsewhere", "T2")
    for item, target in (("S1", 3), ("S2", 3), ("S3", 4), ("S4", 0)):
        requirement(host, "J1", item, target)
    requirement(host, "J2", "S1", 0)
    for item, level in (("S1", 3), ("S2", 1), ("S3", 5)):
        skill(host, "e1", item, level)
    # The same person by code, at a lower level: one record, the higher level.
    skill(host, "#e1", "S3", 2)
    skill(host, "e2", "S1", None)
    skill(host, "left", "S1", 5)
    skill(host, "nobody", "S1", 5)
    skill(host, "e2", "S2", 4, created_at=datetime(2026, 10, 31, 15))  # the day after

    run(shared_database)

    (day,) = days(host)
    assert (day["coverage_met"], day["coverage_target"], day["coverage_rate"]) == (8, 10, 80)
    assert (day["employees"], day["skill_records"], day["rated_records"], day["mean_level"]) == (2, 4, 3, 3)
    assert (day["rated_people"], day["required_people"]) == (1, 1)
    (other,) = days(host, "T2")
    assert (other["employees"], other["coverage_target"], other["coverage_rate"]) == (1, 0, None)
    # A person without any of the required skills lowers the coverage. A second job's higher level lowers it too, once.
    employee(host, "e3")
    assignment(host, "e3", "J1", effective_start_date=datetime(2026, 10, 31, 14))
    run(shared_database)
    assert [(row["coverage_met"], row["coverage_target"]) for row in days(host)] == [(8, 20)]
    assert [row["required_people"] for row in days(host)] == [2]


def test_assignments_and_requirements_count_on_the_days_of_their_validity(
    shared_database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "T1")
    employee(host, "e1")
    assignment(host, "e1", "always")
    # Each assignment adds its number to the sum, each requirement a hundred times its number.
    for number, start, end in (
        (1, datetime(2026, 10, 31, 15), None),  # from the day after
        (2, LAST_INSTANT, None),
        (4, None, datetime(2026, 10, 30, 14, 59, 59)),  # until the day before
        (8, None, FIRST_INSTANT),
    ):
        assignment(host, "e1", f"J{number}", effective_start_date=start, effective_end_date=end)
        requirement(host, f"J{number}", f"S{number}", number)
        requirement(host, "always", f"R{number}", 100 * number, effective_date=start, expiry_date=end)

    run(shared_database)

    (day,) = days(host)
    assert day["coverage_target"] == 2 + 8 + 200 + 800


def test_goals_certificates_and_trainings(shared_database: Database, host: psycopg.Connection) -> None:
    host_rows.tenant(host, "T1")
    employee(host, "e1")
    for number, status in enumerate(
        ("ACHIEVED", " completed", "IN_PROGRESS", None, "NOT_STARTED", "ON_HOLD")
    ):
        transaction(
            host, "TRN_GoalProgress", f"g{number}", "e1", goal_id=f"g{number}", achievement_status=status
        )
    transaction(host, "TRN_GoalProgress", "gone", "e1", goal_id="gone", is_deleted=True)
    # Whoever has left counts nowhere, nor does what was entered after the day.
    employee(host, "left", employment_status="RETIRED")
    later = datetime(2026, 10, 31, 15)
    for row_id, person, entered in (("of left", "left", LONG_AGO), ("later", "e1", later)):
        transaction(host, "TRN_GoalProgress", row_id, person, goal_id=row_id, created_at=entered)
        transaction(host, "TRN_PDU", row_id, person, activity_type="certification", created_at=entered)
    # The host's midnight in Japan is 15:00 UTC of the day before.
    for row_id, expires in (
        ("for ever", None),
        ("today", datetime(2026, 10, 30, 15)),
        ("yesterday", datetime(2026, 10, 29, 15)),
        ("in 90 days", datetime(2027, 1, 28, 15)),
        ("in 91 days", datetime(2027, 1, 29, 15)),
    ):
        transaction(
            host,
            "TRN_PDU",
            row_id,
            "e1",
            activity_type="certification",
            activity_name="C",
            expiry_date=expires,
        )
    for row_id, person, ended, status in (
        ("t1", "e1", LAST_INSTANT, "COMPLETED"),
        ("t2", "e1", later, "COMPLETED"),
        ("t3", "e1", NOON, "CANCELLED"),
        ("t4", "left", NOON, "COMPLETED"),
    ):
        transaction(
            host,
            "TRN_TrainingHistory",
            row_id,
            person,
            training_history_id=row_id,
            end_date=ended,
            attendance_status=status,
            duration_hours=Decimal("1.5"),
        )

    run(shared_database)

    (day,) = days(host)
    goals = ("goals_completed", "goals_in_progress", "goals_not_started", "goals_other")
    assert [day[name] for name in goals] == [2, 1, 2, 1]
    certificates = ("certificates_held", "certificates_expiring", "certificates_expired")
    assert [day[name] for name in certificates] == [4, 2, 1]
    assert (day["trainings_completed"], day["training_hours"]) == (1, Decimal("1.5"))


def test_no_small_group_is_kept_or_can_be_worked_out(
    shared_database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "T1")
    host_rows.tenant(host, "T2")
    # Departments of 4, 6, 7 and 8 people: without the department of 4, the difference to the total would reveal it.
    for department, size in (("A", 4), ("B", 6), ("C", 7), ("D", 8)):
        host_rows.insert(
            host,
            "MST_Department",
            department_code=department,
            department_name=f"部署{department}",
            tenant_id="T1",
            updated_at=LONG_AGO,
        )
        for number in range(size):
            person = employee(host, f"{department}{number}", department_id=department)
            skill(host, person, "S1", 1 + number % 5, "language")
    # Two small categories whose people are the same four: together they are still too few.
    for number in range(4):
        skill(host, f"A{number}", "S2", 3, "small 1")
        skill(host, f"A{number}", "S3", 5, "small 2")
    for number in range(5):
        skill(host, f"D{number}", "S4", 9, "five")
    # A tenant that is too small to be broken down at all.
    for number in range(4):
        employee(host, f"T2-{number}", "T2", department_id="A")
        transaction(
            host, "TRN_SkillRecord", f"T2-{number}", f"T2-{number}", "T2", skill_item_id="S1", skill_level=2
        )

    run(shared_database)

    assert groups(host, "department") == [("C", 7, 7 + 0), ("D", 8, 13), ("*", 10, 10 + 8)]
    assert groups(host, "category") == [("language", 25, 25), ("*", 9, 4 + 4 + 5)]
    assert groups(host, "department", "T2") == groups(host, "category", "T2") == []
    (day,) = days(host)
    assert sum(records for _, _, records in groups(host, "department")) == day["skill_records"] == 38
    assert host.execute(
        "SELECT group_name, level_sum, level_1, level_2, level_3, level_4, level_5 FROM batch.statistics_group"
        " WHERE group_key = 'C'"
    ).fetchone() == ("部署C", 18, 2, 2, 1, 1, 1)
    with pytest.raises(psycopg.errors.CheckViolation):
        host.execute("UPDATE batch.statistics_group SET people = 4 WHERE group_key = 'C'")

    # The next run of the day finds one fewer in B and another in A: its groups take the place of the former ones.
    host.execute("""UPDATE "MST_Employee" SET department_id = 'A' WHERE id = 'B5'""")
    run(shared_database)
    assert groups(host, "department") == [("A", 5, 13), ("B", 5, 5), ("C", 7, 7), ("D", 8, 13)]


def test_people_without_a_level_do_not_make_a_group_large_enough(
    shared_database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "T1")
    for number in range(15):
        department = "D" if number < 5 else "X"
        person = employee(host, f"e{number}", department_id=department)
        # Of the five of D only one has a level, which would be the mean.
        level = 1 if department == "X" else 4 if number == 0 else None
        skill(host, person, "S1", level, department)

    run(shared_database)

    assert groups(host, "department") == groups(host, "category") == []
    (day,) = days(host)
    assert (day["skill_records"], day["rated_records"], day["rated_people"]) == (15, 11, 11)
    for number in range(1, 5):
        host.execute(
            """UPDATE "TRN_SkillRecord" SET skill_level = 4 WHERE employee_id = %s""", [f"e{number}"]
        )
    run(shared_database)
    assert groups(host, "department") == groups(host, "category") == [("D", 5, 5), ("X", 10, 10)]


def counts_of(skills: Iterable[tuple[str, int]]) -> tuple[int, int, int]:
    """People, skills and the levels' sum."""
    listed = list(skills)
    return len({person for person, _ in listed}), len(listed), sum(level for _, level in listed)


def test_the_saved_groups_never_reveal_fewer_than_five_people(
    shared_database: Database, host: psycopg.Connection
) -> None:
    """Small random tenants. The total less the shown groups is either no people or at least five."""
    random = Random(4)  # noqa: S311 - they are to be the same each time
    # By tenant and dimension: the people and levels of each group, of skills that have a level.
    groups_of: dict[tuple[str, str], dict[str, list[tuple[str, int]]]] = {}
    for number in range(60):
        tenant_id = host_rows.tenant(host, f"R{number}")
        for dimension in ("department", "category"):
            groups_of[tenant_id, dimension] = {}
        departments, categories = random.randint(1, 5), random.randint(1, 4)
        for place in range(random.randint(1, 22)):
            # Skewed, so that some groups are small.
            department = f"D{int(departments * random.random() ** 2)}"
            person = employee(host, f"{tenant_id}-{place}", tenant_id, department_id=department)
            for item in range(random.randint(0, 3)):
                category = f"C{int(categories * random.random() ** 2)}"
                level = random.choice([None, 1, 2, 3, 4, 5])
                skill(host, person, f"S{item}", level, category, tenant_id=tenant_id)
                if level:
                    for dimension, key in (("department", department), ("category", category)):
                        groups_of[tenant_id, dimension].setdefault(key, []).append((person, level))

    run(shared_database)

    kept: defaultdict[tuple[str, str], dict[str, tuple[int, int, int]]] = defaultdict(dict)
    for tenant_id, dimension, key, people, records, level_sum in host.execute(
        """
        SELECT tenant_id, dimension, CASE WHEN is_rest THEN '*' ELSE group_key END, people, records, level_sum
        FROM batch.statistics_group
        """
    ):
        kept[tenant_id, dimension][key] = (people, records, level_sum)
    met = set()
    for (tenant_id, dimension), members in groups_of.items():
        shown = kept[tenant_id, dimension]
        (total,) = days(host, tenant_id)
        assert total["rated_people"] == counts_of(each for group in members.values() for each in group)[0]
        if not shown:
            met.add("not broken down")
            continue
        hidden = [each for key, group in members.items() if key not in shown for each in group]
        met.add("with a rest" if hidden else "all apart")
        assert counts_of(hidden)[0] not in range(1, 5)
        for key, counts in shown.items():
            assert counts == counts_of(hidden if key == "*" else members[key])
            assert counts[0] >= 5
        # The remainder of the total is exactly the rest.
        _, records, level_sum = shown.pop("*", (0, 0, 0))
        assert total["rated_records"] - sum(counts[1] for counts in shown.values()) == records
        assert total["level_sum"] - sum(counts[2] for counts in shown.values()) == level_sum
    assert met == {"not broken down", "with a rest", "all apart"}


def test_tenants_are_counted_apart(shared_database: Database, host: psycopg.Connection) -> None:
    for tenant_id, level in (("../../etc", 2), ("T2", 4)):
        host_rows.tenant(host, tenant_id)
        for number in range(5):
            host_rows.insert(
                host,
                "MST_Employee",
                id=f"{tenant_id} {number}",
                employee_code=f"{level}00{number}",
                tenant_id=tenant_id,
                department_id="D",
                updated_at=LONG_AGO,
            )
            transaction(
                host,
                "TRN_SkillRecord",
                f"{tenant_id} {number}",
                f"{level}00{number}",
                tenant_id,
                skill_item_id=f"S{level}",
                skill_level=level,
                skill_category_id="C",
            )
    # It names a person of the other tenant. The person decides, not the tenant in the row.
    transaction(host, "TRN_SkillRecord", "astray", "T2 0", "../../etc", skill_item_id="S9", skill_level=4)

    run(shared_database)
    for tenant_id, level in (("../../etc", 2), ("T2", 4)):
        (day,) = days(host, tenant_id)
        records = 6 if tenant_id == "T2" else 5
        assert (day["employees"], day["skill_records"], day["mean_level"]) == (5, records, level)
        assert groups(host, "department", tenant_id) == [("D", 5, records)]

    # A run of one tenant does not change the other's day, whatever has changed.
    host.execute("""DELETE FROM "TRN_SkillRecord" WHERE employee_id IN ('2004', '4004')""")
    run(shared_database, codes=["T2"])
    assert [len(groups(host, "category", tenant_id)) for tenant_id in ("../../etc", "T2")] == [1, 0]
    assert [days(host, tenant_id)[0]["revision"] for tenant_id in ("../../etc", "T2")] == [1, 2]


def test_two_concurrent_runs_of_a_day_keep_all_rows_and_logins(
    shared_database: Database, host: psycopg.Connection
) -> None:
    host_rows.tenant(host, "T1")
    host_rows.user(host, "T1", "early", last_login_at=NOON)
    for number in range(5):
        skill(host, employee(host, f"e{number}", department_id="D"), "S1", 3)
    runs = []
    for _ in range(2):
        with shared_database.connect("batch_platform") as platform:
            a_run, _ = open_run(platform, STATISTICS, create_batch(LOCAL), DAY)
            prepare(create_batch(LOCAL), Work(a_run, platform, ["T1"]))
        runs.append(a_run)
        # The second run reads a host that has overwritten one login and has another, and one more record.
        host.execute("""UPDATE "MST_UserAuth" SET last_login_at = '2026-11-01' WHERE user_id = 'early'""")
        if len(runs) == 1:
            host_rows.user(host, "T1", "late", last_login_at=LAST_INSTANT)
            skill(host, "e0", "S2", 3)

    others: list[Any] = []
    with ThreadPoolExecutor(1) as pool:

        class Slow(StatisticsBatch):
            def process(self, work: Work) -> list[UnitResult]:
                results = super().process(work)
                others.append(pool.submit(work_on, shared_database, runs[1], "T1"))
                wait_for_blocked_statement(shared_database)
                return results

        work_on(shared_database, runs[0], "T1", batch=Slow())
        others[0].result()

    assert [(row["skill_records"], row["revision"]) for row in days(host)] == [(6, 2)]
    assert groups(host, "department") == [("D", 5, 6)]
    assert host.execute("SELECT user_ids FROM batch.login_day").fetchall() == [(["emp_early", "emp_late"],)]
    for staging in ("statistics_signal", "usage_signal"):
        assert host.execute(f"SELECT count(*) FROM batch.{staging}").fetchone() == (0,)
