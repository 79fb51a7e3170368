"""Whose is a row? ``batch.all_person_key`` and ``batch.placement`` on rows of every spelling, in both variants of the host."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from include.skillreport.core.execution.people import keep_known_keys, keep_people
from include.skillreport.core.execution.settings import IdentitySettings
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.shared_database import database

__all__ = ["database"]


def employee(host: psycopg.Connection, employee_id: str, code: str, tenant_id: str, **values: Any) -> None:
    host_rows.insert(
        host,
        "MST_Employee",
        id=employee_id,
        employee_code=code,
        tenant_id=tenant_id,
        updated_at=host_rows.UPDATED_AT,
        **values,
    )


def account(host: psycopg.Connection, user_id: str, **values: Any) -> None:
    """An account as the application makes it: without a tenant, so that it has the column's default."""
    host_rows.insert(host, "MST_UserAuth", user_id=user_id, updated_at=host_rows.UPDATED_AT, **values)


@pytest.fixture
def host(database: Database) -> Any:
    """Tenants A, B, the default one, and a deleted one."""
    with database.connect() as connection:
        for tenant_id in ("A", "B", "default-tenant"):
            host_rows.tenant(connection, tenant_id)
        host_rows.tenant(connection, "gone", status="deleted")
        yield connection


def owner(database: Database, key: str) -> tuple[str | None, str | None, str | None]:
    """The person, tenant and reason of a key as rows use it; nothing for an unknown key."""
    with database.connect("batch_platform") as platform:
        keep_known_keys(platform, IdentitySettings.load())
        row = platform.execute(
            "SELECT person_id, tenant_id, reason FROM batch.all_person_key WHERE person_key = %s AND is_decisive",
            [key],
        ).fetchall()
    assert len(row) <= 1
    return row[0] if row else (None, None, None)


def place(database: Database, key: str | None, stated: str | None) -> tuple[str | None, str | None]:
    """How a row with this key and stated tenant is assigned, and to which tenant."""
    with database.connect("batch_platform") as platform:
        keep_known_keys(platform, IdentitySettings.load())
        row = platform.execute(
            """
            SELECT placement, batch.placed_tenant(placement, tenant_id, stated)
            FROM (
                SELECT
                    person.tenant_id,
                    tenant.tenant_id AS stated,
                    batch.placement(given.key, person.tenant_id, person.reason, given.stated, tenant.status) AS placement
                FROM (VALUES (%s::text, %s::text)) AS given (key, stated)
                LEFT JOIN batch.all_person_key AS person ON given.key = person.person_key AND person.is_decisive
                LEFT JOIN batch.all_tenant AS tenant ON given.stated = tenant.tenant_id
            ) AS placed
            """,
            [key, stated],
        ).fetchone()
    assert row is not None
    return row


def test_each_spelling_names_the_same_employee(database: Database, host: psycopg.Connection) -> None:
    employee(host, "emp_7", "000007", "A", email="Seven@Example.jp")
    account(host, "USER000007", login_id="000007", employee_id="000007")

    for key in ("emp_7", "000007", "USER000007", "seven@example.jp", "Seven@Example.jp"):
        assert owner(database, key) == ("emp_7", "A", None), key


@pytest.mark.parametrize(
    "names",
    [
        {"employee_id": "emp_7", "login_id": "seven"},
        {"employee_id": "000007", "login_id": "seven"},
        {"employee_id": None, "login_id": "000007"},
        {"employee_id": "unknown", "login_id": "SEVEN@example.jp"},
        {"employee_id": "", "login_id": "emp_7"},
    ],
)
def test_an_account_is_its_employees_however_it_names_them(
    database: Database, host: psycopg.Connection, names: dict[str, str | None]
) -> None:
    employee(host, "emp_7", "000007", "A", email="seven@example.jp")
    account(host, "u", **names)

    assert owner(database, "u") == ("emp_7", "A", None)
    if names["login_id"]:
        assert owner(database, names["login_id"]) == ("emp_7", "A", None)


def test_login_ids_that_differ_only_in_blanks_identify_no_person(
    database: Database, host: psycopg.Connection
) -> None:
    for number in range(2):
        employee(host, f"e{number}", f"c{number}", "A")
        account(host, f"u{number}", employee_id=f"c{number}", login_id="same" + " " * number)

    assert owner(database, "same") == (None, None, None)
    assert owner(database, "u1") == ("e1", "A", None)
    with database.connect("batch_platform") as platform, platform.transaction():
        keep_people(platform)


def test_an_id_precedes_a_code_and_a_code_a_user_id(database: Database, host: psycopg.Connection) -> None:
    employee(host, "k1", "c1", "A")
    employee(host, "e2", "k1", "B")
    employee(host, "e3", "u9", "B")
    account(host, "u9", login_id="other", employee_id="k1")

    assert owner(database, "k1") == ("k1", "A", None)
    assert owner(database, "u9") == ("e3", "B", None)
    with database.connect("batch_platform") as platform:
        # The account itself stays its employee's.
        assert platform.execute(
            "SELECT person_id FROM batch.all_person_key WHERE named_by = 'user_id' AND person_key = 'u9'"
        ).fetchone() == ("k1",)


@pytest.mark.own_database
def test_a_code_of_several_employees_identifies_no_person_unless_a_login_does(
    database: Database, host: psycopg.Connection
) -> None:
    host.execute('DROP INDEX "MST_Employee_employee_code_key"')
    for tenant_id in ("A", "B"):
        employee(host, f"emp {tenant_id}", "000001", tenant_id)
        employee(host, f"other {tenant_id}", "000002", tenant_id)
    account(host, "u", login_id="000002", employee_id="emp B")

    assert owner(database, "000001") == (None, None, None)
    assert place(database, "000001", "A") == ("stated", "A")
    assert place(database, "000001", "nowhere") == ("unknown_person", None)
    assert owner(database, "000002") == ("emp B", "B", None)


def test_an_account_without_an_employee_counts_by_its_stated_tenant(
    database: Database, host: psycopg.Connection
) -> None:
    account(host, "forgotten", employee_id="nobody")
    account(host, "stated", employee_id=None, tenant_id="A")
    account(host, "elsewhere", employee_id="x", tenant_id="nowhere")
    account(host, "of the deleted", employee_id="y", tenant_id="gone")

    assert owner(database, "forgotten") == ("forgotten", None, "no_employee")
    assert owner(database, "stated") == ("stated", "A", None)
    assert owner(database, "elsewhere") == ("elsewhere", None, "no_employee")
    assert owner(database, "of the deleted") == ("of the deleted", None, "nobody")


def test_people_of_deleted_and_of_unknown_tenants(database: Database, host: psycopg.Connection) -> None:
    employee(host, "left", "c1", "gone")
    employee(host, "astray", "c2", "nowhere")

    # Whatever the row states: the person is known.
    assert place(database, "left", "A") == ("nobody", None)
    assert place(database, "astray", "A") == ("unknown_tenant", None)


def test_rows_of_a_placeholder_are_unplaced_and_the_system_is_no_person(
    database: Database, host: psycopg.Connection
) -> None:
    employee(host, "emp_001", "000001", "A")
    account(host, "USER000001", login_id="000001", employee_id="000001")

    assert place(database, "emp_001", "B") == ("placeholder", None)
    assert place(database, "system", "B") == ("nobody", None)
    # A real code as well: placed, and counted by the runs.
    assert place(database, "000001", "B") == ("person", "A")
    # The employee keeps the account.
    assert owner(database, "USER000001") == ("emp_001", "A", None)


def test_the_stated_tenant_counts_only_without_a_person(database: Database, host: psycopg.Connection) -> None:
    employee(host, "e", "c", "A")

    assert place(database, "c", "B") == ("person", "A")
    assert place(database, "c", None) == ("person", "A")
    assert place(database, "who", "B") == ("stated", "B")
    assert place(database, "who", "default") == ("unknown_person", None)
    assert place(database, "who", None) == ("unknown_person", None)
    assert place(database, "who", "gone") == ("nobody", None)
    # A row that names no person at all.
    assert place(database, None, "B") == ("stated", "B")
    assert place(database, None, "default") == ("unknown_tenant", None)


def test_the_settings_decide_which_keys_identify_no_person(
    database: Database, host: psycopg.Connection
) -> None:
    employee(host, "e", "c", "A")
    identity = IdentitySettings.load()
    with database.connect("batch_platform") as platform:
        keep_known_keys(platform, identity.model_copy(update={"placeholders": ("c",), "watched_keys": ()}))
        assert platform.execute("SELECT person_key, kind FROM batch.known_key ORDER BY 1").fetchall() == [
            ("SYSTEM", "system"),
            ("c", "placeholder"),
            ("system", "system"),
        ]
        keep_known_keys(platform, identity)
    assert place(database, "c", None) == ("person", "A")


def test_keeping_the_people_touches_only_the_rows_that_differ(
    database: Database, host: psycopg.Connection
) -> None:
    def kept() -> dict[tuple[str, str], tuple[str, str | None]]:
        rows = host.execute(
            "SELECT person_key, named_by, concat(ctid, xmax), person_id FROM batch.person_key"
        ).fetchall()
        return {(key, by): (version, person) for key, by, version, person in rows}

    for number in range(3):
        employee(host, f"emp_{number}", f"code {number}", "A", email=f"{number}@example.jp")
    with database.connect("batch_platform") as platform:
        for _ in range(2):
            with platform.transaction():
                keep_people(platform)
        before = kept()
        host.execute("UPDATE \"MST_Employee\" SET email = 'new@example.jp' WHERE id = 'emp_1'")
        host.execute("UPDATE \"MST_Employee\" SET id = 'emp_9' WHERE id = 'emp_2'")
        with platform.transaction():
            keep_people(platform)
    after = kept()

    assert after.keys() ^ before.keys() == {
        ("1@example.jp", "email"),
        ("new@example.jp", "email"),
        ("emp_2", "id"),
        ("emp_9", "id"),
    }
    changed = {key for key in after.keys() & before.keys() if after[key] != before[key]}
    assert changed == {("code 2", "code"), ("2@example.jp", "email")}
