"""Through its views ``batch_cleanup`` reaches exactly the rows of the tenants that its transaction names, and finds them by their keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import errors, sql

from include.skillreport.batches.data_backup.ownership import find_owners
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.people import keep_known_keys, keep_people
from include.skillreport.core.execution.settings import IdentitySettings
from include.skillreport.schema.deletion import ListedTable, Rule, blanking, deletion_list
from include.skillreport.schema.deploy import CLEANUP, PLATFORM
from include.skillreport.schema.host_contract import HostVariant
from include.skillreport.schema.leaving import view_of
from local_stack import generator
from local_stack.generator import DataShape, load_demo_data
from local_stack.tenants import DEMO_TENANTS
from tests.conftest import Database, Server, copied_database
from tests.schema.catalogue import relations
from tests.schema.statement_plans import reads
from tests.worlds import host_rows

AT = datetime(2026, 10, 31)
REACHED = tuple(table for table in deletion_list() if table.is_host and table.rule is not Rule.KEEP)


def know_people(database: Database) -> None:
    """Bring ``batch.person_key`` up to date, as the opening of a run does."""
    with database.connect(PLATFORM) as platform:
        keep_known_keys(platform, IdentitySettings.load())
        with platform.transaction():
            keep_people(platform)


@contextmanager
def acting_for(database: Database, *tenant_ids: str) -> Iterator[psycopg.Connection]:
    with database.connect(CLEANUP) as connection, tenant_transaction(connection, tenant_ids):
        yield connection


def contents(connection: psycopg.Connection, table: ListedTable) -> list[Any]:
    """All rows that the view of the table shows, in a stable order."""
    query = sql.SQL("SELECT content FROM {} ORDER BY content::text")
    return [row for (row,) in connection.execute(query.format(sql.Identifier("batch", view_of(table))))]


def ids(connection: psycopg.Connection, table: str) -> set[str]:
    return {row for (row,) in connection.execute(sql.SQL("SELECT id FROM {}").format(sql.Identifier(table)))}


# The same rule as in exports ---------------------------------------------------------------------------------------------


def shape(variant: HostVariant) -> DataShape:
    return DataShape(
        tenants=1 if variant is HostVariant.BASE else 5,
        users_per_tenant=12,
        first_day=date(2026, 10, 30),
        days=1,
        requests_per_day=100,
        odd_tenants=variant is HostVariant.MULTI_TENANT,
    )


@pytest.fixture(scope="module", params=HostVariant)
def demo(
    server: Server, deletable_templates: dict[HostVariant, Database], request: pytest.FixtureRequest
) -> Iterator[Database]:
    """Demo data of the variant. The tests only read them."""
    variant: HostVariant = request.param
    with copied_database(server, deletable_templates[variant].name, f"leaving {variant}") as database:
        with database.connect() as host, pytest.MonkeyPatch.context() as patched:
            # One of the odd tenants has ten thousand people.
            few = tuple(replace(each, users=shape(variant).users_per_tenant) for each in DEMO_TENANTS)
            patched.setattr(generator, "DEMO_TENANTS", few)
            load_demo_data(host, shape(variant), variant)
            if variant is HostVariant.MULTI_TENANT:
                host.execute(
                    """UPDATE "MST_Tenant" SET status = 'deleted' WHERE tenant_id = (SELECT min(tenant_id) FROM "MST_Tenant")"""
                )
        know_people(database)
        yield database


def test_the_views_show_exactly_the_rows_that_an_export_holds(demo: Database) -> None:
    found = 0
    with demo.connect() as host, host.transaction():
        owned = {each.table.name: each for each in find_owners(host) if each.table.schema == "public"}
        tenants = [row for (row,) in host.execute('SELECT tenant_id FROM "MST_Tenant"')]
        views = relations(host, "v")
        tables = [
            table for table in REACHED if view_of(table) in views and table.name != "MST_RolePermission"
        ]
        exported: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
        for table in tables:
            each = owned[table.name] if table.name != "MST_Tenant" else None
            rows = host.execute(
                sql.SQL("SELECT {}, to_jsonb(own) FROM {} AS own ORDER BY to_jsonb(own)::text").format(
                    each.owner("own") if each else sql.Identifier("own", "tenant_id"),
                    sql.Identifier(table.name),
                )
            )
            for tenant_id, row in rows:
                exported[tenant_id, table.name].append(row)
    for tenant_id in tenants:
        with acting_for(demo, tenant_id) as cleanup:
            for table in tables:
                shown = contents(cleanup, table)
                assert shown == exported[tenant_id, table.name], (tenant_id, table.name)
                found += len(shown)
    assert found > 150


# One world, row by row ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted_world(server: Server, deletable_templates: dict[HostVariant, Database]) -> Iterator[Database]:
    """A deleted tenant A and a tenant B, whose people stand in each other's rows."""
    template = deletable_templates[HostVariant.MULTI_TENANT].name
    with copied_database(server, template, "leaving world") as database:
        with database.connect() as connection:
            _plant_world(connection)
        know_people(database)
        yield database


def _plant_world(connection: psycopg.Connection) -> None:
    host_rows.tenant(connection, "A", status="deleted", tenant_code="a-code", admin_email="a@example.jp")
    host_rows.tenant(connection, "B")
    host_rows.tenant(connection, "default-tenant")
    host_rows.user(connection, "A", "a1", account_tenant_id="default-tenant")
    host_rows.user(connection, "B", "b1")
    host_rows.skill(connection, "own", "emp_a1", "tenant_001", AT)
    host_rows.skill(connection, "by account", "a1", "default", AT)
    host_rows.skill(connection, "stamped A", "emp_b1", "A", AT)
    host_rows.skill(connection, "of A by nobody", "emp_001", "A", AT)
    host_rows.skill(connection, "nobody's", "somebody", "default", AT)
    host_rows.skill(connection, "of B", "b1", "B", AT)
    host_rows.audit(connection, "a1", AT, old_values="secret", ip_address="192.0.2.1", target_id="x")
    host_rows.audit(connection, "b1", AT, old_values="secret", tenant_id="A")
    for tenant_id in ("A", "default-tenant"):
        host_rows.insert(
            connection, "MST_RolePermission", id=f"of {tenant_id}", tenant_id=tenant_id, updated_at=AT
        )


@pytest.fixture
def world(planted_world: Database, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A copy of it."""
    with copied_database(planted_world.server, planted_world.name, request.node.name) as copy:
        yield copy


def test_a_delete_without_condition_takes_the_tenants_rows_only(world: Database) -> None:
    delete = sql.SQL("DELETE FROM {}")
    with acting_for(world, "A") as cleanup:
        for table in REACHED:
            if table.rule is Rule.DELETE:
                cleanup.execute(delete.format(sql.Identifier("batch", view_of(table))))
    with world.connect() as host:
        assert ids(host, "TRN_SkillRecord") == {"stamped A", "nobody's", "of B"}
        assert ids(host, "MST_Employee") == {"emp_b1"}
        assert ids(host, "MST_RolePermission") == {"of default-tenant"}
        assert host.execute('SELECT user_id FROM "MST_UserAuth"').fetchall() == [("b1",)]


def test_the_defaults_tenant_leaves_without_what_the_default_states(planted_world: Database) -> None:
    with acting_for(planted_world, "default-tenant") as cleanup:
        assert cleanup.execute("SELECT FROM batch.leaving_mst_rolepermission").rowcount == 0
        assert cleanup.execute("SELECT FROM batch.leaving_mst_userauth").rowcount == 0


def test_values_are_blanked_in_the_tenants_rows_only(world: Database) -> None:
    with acting_for(world, "A") as cleanup:
        for table in REACHED:
            if table.rule is Rule.BLANK:
                changed = cleanup.execute(
                    sql.SQL("UPDATE {} SET {}").format(
                        sql.Identifier("batch", view_of(table)),
                        blanking(table, table.blanks),
                    )
                )
                assert changed.rowcount == 1
    with world.connect() as host:
        assert host.execute(
            'SELECT user_id, old_values, ip_address, target_id FROM "HIS_AuditLog" ORDER BY user_id'
        ).fetchall() == [("a1", None, None, "x"), ("b1", "secret", None, None)]
        assert host.execute(
            'SELECT tenant_id, tenant_code, tenant_name, status, admin_email FROM "MST_Tenant" ORDER BY tenant_id LIMIT 2'
        ).fetchall() == [("A", None, "退会済みテナント", "deleted", None), ("B", "B", "B", "ACTIVE", None)]


def test_without_a_named_tenant_nothing_is_reached(world: Database) -> None:
    with world.connect(CLEANUP) as cleanup:
        for table in REACHED:
            assert contents(cleanup, table) == [], table.name
            if table.rule is Rule.DELETE:
                delete = sql.SQL("DELETE FROM {}").format(sql.Identifier("batch", view_of(table)))
                assert cleanup.execute(delete).rowcount == 0


@pytest.mark.parametrize("role", [PLATFORM, "batch_owner", "batch_board"])
def test_no_other_role_names_tenants(planted_world: Database, role: str) -> None:
    with (
        planted_world.connect(role) as connection,
        pytest.raises(errors.InsufficientPrivilege, match=f"{CLEANUP} で処理しますが、.*{role}"),
        tenant_transaction(connection, ["A"]),
    ):
        pytest.fail("the transaction was entered")


def test_a_leaky_function_never_sees_another_tenants_row(world: Database) -> None:
    with world.connect(CLEANUP) as cleanup:
        cleanup.execute(
            """
            CREATE FUNCTION pg_temp.leak(value text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
            $$ BEGIN RAISE NOTICE '%', value; RETURN true; END $$
            """
        )
        leaked: list[str | None] = []
        cleanup.add_notice_handler(lambda notice: leaked.append(notice.message_primary))
        with tenant_transaction(cleanup, ["A"]):
            cleanup.execute("SELECT FROM batch.leaving_trn_skillrecord WHERE pg_temp.leak(id)")
            cleanup.execute("DELETE FROM batch.leaving_trn_skillrecord WHERE pg_temp.leak(id)")
    assert set(leaked) == {"own", "by account", "of A by nobody"}


# Rows that are marked as deleted -------------------------------------------------------------------------------------------


def test_marked_rows_have_the_owner_through_whose_view_they_leave(world: Database) -> None:
    with world.connect() as host:
        host.execute("""UPDATE "TRN_SkillRecord" SET is_deleted = true WHERE id <> 'of B'""")
    with world.connect(PLATFORM) as platform:
        found = platform.execute(
            "SELECT table_name, row_id, owner_id, updated_at FROM batch.all_marked_row ORDER BY row_id"
        ).fetchall()
    owners = {"by account": "A", "nobody's": None, "of A by nobody": "A", "own": "A", "stamped A": "B"}
    assert found == [("TRN_SkillRecord", row_id, owner, AT) for row_id, owner in owners.items()]
    for tenant_id in ("A", "B"):
        with acting_for(world, tenant_id) as cleanup:
            leaving = cleanup.execute(
                "SELECT id FROM batch.leaving_trn_skillrecord WHERE is_deleted"
            ).fetchall()
        assert {row_id for (row_id,) in leaving} == {
            row_id for row_id, owner in owners.items() if owner == tenant_id
        }


@pytest.mark.parametrize("role", ["batch_tenant", "batch_board", CLEANUP])
def test_no_other_role_sees_the_marked_rows_of_all_tenants(planted_world: Database, role: str) -> None:
    with (
        planted_world.connect(role) as connection,
        pytest.raises(errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT FROM batch.all_marked_row")


# Before the multi-tenant migration -----------------------------------------------------------------------------------------


@pytest.fixture
def base_world(
    server: Server, deletable_templates: dict[HostVariant, Database], request: pytest.FixtureRequest
) -> Iterator[Database]:
    template = deletable_templates[HostVariant.BASE].name
    with copied_database(server, template, request.node.name) as database:
        with database.connect() as connection:
            _plant_base_world(connection)
        yield database


def _plant_base_world(connection: psycopg.Connection) -> None:
    host_rows.tenant(connection, "T1")
    host_rows.insert(
        connection,
        "MST_Employee",
        id="emp_1",
        employee_code="000100",
        email="a@example.jp",
        updated_at=AT,
    )
    host_rows.insert(connection, "MST_UserAuth", user_id="u1", employee_id="emp_1", updated_at=AT)
    host_rows.insert(connection, "MST_UserAuth", user_id="alone", updated_at=AT)
    host_rows.insert(connection, "MST_Department", department_code="d1", updated_at=AT)
    host_rows.insert(connection, "MST_RolePermission", id="rp1", updated_at=AT)
    host_rows.skill(connection, "by code", "000100", "tenant_001", AT)
    host_rows.skill(connection, "stated", "somebody", "T1", AT)
    host_rows.skill(connection, "placeholder", "emp_001", "default", AT)


def shown(database: Database) -> dict[str, int]:
    with database.connect() as host:
        views = relations(host, "v")
    with acting_for(database, "T1") as cleanup:
        counts = {table.name: len(contents(cleanup, table)) for table in REACHED if view_of(table) in views}
    return {name: count for name, count in counts.items() if count}


def test_the_only_tenants_rows_are_found_whatever_its_status(base_world: Database) -> None:
    for status in ("ACTIVE", "deleted", "EXPIRED"):
        with base_world.connect() as host:
            host.execute('UPDATE "MST_Tenant" SET status = %s', [status])
        know_people(base_world)

        assert shown(base_world) == {
            "MST_UserAuth": 2,
            "TRN_SkillRecord": 2,
            "MST_Department": 1,
            "MST_Employee": 1,
            "MST_Tenant": 1,
        }, status


def test_with_a_second_row_of_a_tenant_nothing_is_reached(base_world: Database) -> None:
    know_people(base_world)
    for status in ("ACTIVE", "deleted"):
        with base_world.connect() as host:
            host.execute("DELETE FROM \"MST_Tenant\" WHERE tenant_id = 'T2'")
            host_rows.tenant(host, "T2", status=status)

        assert shown(base_world) == {}, status


# Plans ---------------------------------------------------------------------------------------------------------------------


def test_a_row_is_deleted_by_the_index_of_its_key(demo: Database) -> None:
    with demo.connect() as host:
        host.execute("ANALYZE")
        views = relations(host, "v")
        keys: dict[str, str] = dict(
            host.execute(
                """
                SELECT indrelid::regclass::text, attname FROM pg_index
                INNER JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
                WHERE indisprimary AND indnatts = 1
                """
            ).fetchall()
        )
    with acting_for(demo, "T1") as cleanup:
        # The tables are small. A condition behind the barrier would be a scan all the same.
        cleanup.execute("SET LOCAL enable_seqscan = off")
        for table in REACHED:
            if view_of(table) not in views:
                continue
            change = (
                sql.SQL("DELETE FROM {}") if table.rule is Rule.DELETE else sql.SQL("UPDATE {} SET {} = null")
            )
            names = [sql.Identifier("batch", view_of(table))]
            if table.rule is Rule.BLANK:
                names.append(sql.Identifier(next(iter(table.blanks))))
            ((explained,),) = cleanup.execute(
                sql.SQL("EXPLAIN (FORMAT JSON) {} WHERE {} = ANY(%s)").format(
                    change.format(*names), sql.Identifier(keys[f'"{table.name}"'])
                ),
                [["x", "y", "z"]],
            ).fetchall()
            found = list(reads(explained[0]["Plan"]))
            assert (table.name, False) in found, explained
            # One row, before the migration.
            assert {name for name, is_whole in found if is_whole} <= {"MST_Tenant"}, explained


def test_a_large_log_is_not_read_as_a_whole(world: Database) -> None:
    with world.connect() as host:
        host.execute(
            """
            INSERT INTO "SYS_SystemLog" (id, user_id, created_at, updated_at)
            SELECT 'l' || n, CASE n % 2 WHEN 0 THEN 'a1' ELSE 'b1' END, now(), now() FROM generate_series(1, 50000) AS n
            """
        )
        host.execute("ANALYZE")
    keys = [[f"l{number}" for number in range(1, 1001)]]
    delete: LiteralString = "DELETE FROM batch.leaving_sys_systemlog WHERE id = ANY(%s)"
    with acting_for(world, "A") as cleanup:
        ((explained,),) = cleanup.execute(f"EXPLAIN (FORMAT JSON) {delete}", keys).fetchall()
        assert cleanup.execute(delete, keys).rowcount == 500
    assert ("SYS_SystemLog", True) not in reads(explained[0]["Plan"])
