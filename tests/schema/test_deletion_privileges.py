"""An installation that may delete: who gets what, that the choice is kept, and that taking it back leaves nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import LiteralString

import psycopg
import pytest
from psycopg import errors, sql

from include.skillreport.__main__ import main
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.errors import ConnectionMissingError, SchemaError
from include.skillreport.schema.checks.report import CheckReport, check_database
from include.skillreport.schema.deletion import Rule, deletion_list, is_with_deletion, require_deletion
from include.skillreport.schema.deploy import CLEANUP, PLATFORM, attach, detach, upgrade
from include.skillreport.schema.deployment_check import check_deployment
from include.skillreport.schema.host_contract import HostVariant
from include.skillreport.schema.leaving import view_of
from local_stack.batch_runs import LocalInstallation
from local_stack.host_fixture import create_host_schema
from local_stack.postgres_server import EmbeddedPostgres
from tests.conftest import PASSWORDS, Database, Server, copied_database
from tests.schema.catalogue import Snapshot, relations, snapshot
from tests.schema.conftest import as_deployer, create_deployer

# The batch roles exist and belong to another role (the superuser), unless a test says otherwise.
pytestmark = pytest.mark.usefixtures("templates")

# Behind the views of deleted tenants' rows.
KEYS = ("leaving_key", "leaving_person")


@pytest.fixture(params=HostVariant)
def deployed_deletable(
    request: pytest.FixtureRequest, deletable_templates: dict[HostVariant, Database]
) -> Database:
    """A database of each variant, deployed with deletion. The tests only read its catalogue."""
    return deletable_templates[request.param]


@pytest.fixture
def deletable(deployed_deletable: Database, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A copy of it."""
    with copied_database(deployed_deletable.server, deployed_deletable.name, request.node.name) as copy:
        yield copy


def without_roles(found: Snapshot) -> Snapshot:
    """The role itself stays: roles belong to the server."""
    return {name: rows for name, rows in found.items() if name not in ("roles", "memberships")}


# What the role may do ----------------------------------------------------------------------------------------------------


def test_the_role_has_the_views_and_adds_to_the_record_of_archives(
    deployed_deletable: Database,
) -> None:
    with deployed_deletable.connect() as connection:
        accessible = connection.execute(
            """
            SELECT relation.oid::regclass::text, privilege
            FROM pg_class AS relation CROSS JOIN unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) AS privilege
            WHERE relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND relkind <> 'i'
            AND CASE
                WHEN relkind = 'S' THEN false
                WHEN privilege IN ('DELETE', 'TRUNCATE', 'TRIGGER')
                THEN has_table_privilege('batch_cleanup', relation.oid, privilege)
                ELSE has_any_column_privilege('batch_cleanup', relation.oid, privilege)
            END
            """
        ).fetchall()
        views = set(relations(connection, "v"))
        powers = connection.execute(
            """
            SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication FROM pg_roles
            WHERE rolname = 'batch_cleanup'
            """
        ).fetchone()
        creates = connection.execute(
            """
            SELECT has_schema_privilege('batch_cleanup', 'batch', 'CREATE') OR EXISTS (
                SELECT FROM pg_proc WHERE
                    pronamespace = 'batch'::regnamespace AND (prosecdef OR prokind = 'p')
                    AND has_function_privilege('batch_cleanup', oid, 'EXECUTE')
            )
            """
        ).fetchone()
    tables = [table for table in deletion_list() if table.is_host and table.rule is not Rule.KEEP]
    rules = {f"batch.{view_of(table)}": table.rule for table in tables if view_of(table) in views}
    assert len(tables) - len(rules) <= 1  # before the migration the permissions of roles belong to nobody
    assert set(accessible) == {
        *((name, "SELECT") for name in rules),
        *((name, "DELETE" if rule is Rule.DELETE else "UPDATE") for name, rule in rules.items()),
        ("batch.deleted_row_archive", "INSERT"),
    }
    assert {name for name in views if name.startswith("leaving_")} == {
        *KEYS,
        *(name.removeprefix("batch.") for name in rules),
    }
    assert (powers, creates) == ((False,), (False,))


def test_no_other_role_of_the_batches_reads_the_views(deployed_deletable: Database) -> None:
    with deployed_deletable.connect() as connection:
        readers = connection.execute(
            """
            SELECT relname, role FROM pg_class CROSS JOIN unnest('{batch_tenant,batch_platform,batch_board,public}'::text[]) AS role
            WHERE relnamespace = 'batch'::regnamespace AND relname LIKE 'leaving%' AND has_any_column_privilege(role, oid, 'SELECT, UPDATE')
            """
        ).fetchall()
    assert readers == []


@pytest.mark.parametrize(
    "statement",
    [
        'DELETE FROM public."MST_Employee"',
        'SELECT FROM public."TRN_SkillRecord"',
        'UPDATE public."HIS_AuditLog" SET old_values = null',
        "SELECT FROM batch.person_key",
        "SELECT FROM batch.deleted_row_archive",
        "INSERT INTO batch.deleted_row_archive VALUES ('T2', 'x', '2026-11-01', 'x')",
        "DELETE FROM batch.deleted_row_archive",
        "SELECT FROM batch.leaving_person",
        "SELECT FROM batch.all_tenant",
        "DELETE FROM batch.outbox",
        "UPDATE batch.deployment SET with_deletion = true",
        "INSERT INTO batch.leaving_mst_employee (id) VALUES ('x')",
        "UPDATE batch.leaving_mst_employee SET is_deleted = true",
        "DELETE FROM batch.leaving_his_auditlog",
        "UPDATE batch.leaving_his_auditlog SET user_id = null",
        "UPDATE batch.leaving_mst_tenant SET tenant_id = 'x'",
    ],
)
def test_the_role_is_refused_everything_else(deployed_deletable: Database, statement: LiteralString) -> None:
    with (
        deployed_deletable.connect(CLEANUP) as connection,
        pytest.raises(errors.InsufficientPrivilege),
        tenant_transaction(connection, ["T1"]),
    ):
        connection.execute(statement)


# The stored choice ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow("upgrades earlier schemas")
def test_later_upgrades_keep_the_choice_and_the_privileges(deletable: Database) -> None:
    with deletable.connect() as connection:
        deployed = snapshot(connection)
        upgrade(deletable.dsn)
        assert snapshot(connection) == deployed
        detach(deletable.dsn)
        assert [name for name in relations(connection, "v") if name.startswith("leaving")] == []
        attach(deletable.dsn)
        assert snapshot(connection) == deployed
        assert is_with_deletion(connection)
    with deletable.connect(PLATFORM) as platform:
        require_deletion(platform)
        check_deployment(platform)


@pytest.mark.slow("deploys the schema as another login or by commands")
@pytest.mark.parametrize("variant", HostVariant)
def test_taking_it_back_leaves_nothing(
    deletable_templates: dict[HostVariant, Database],
    templates: dict[HostVariant, str],
    variant: HostVariant,
    request: pytest.FixtureRequest,
) -> None:
    template = deletable_templates[variant]
    with Database(templates[variant], template.server).connect() as connection:
        never = without_roles(snapshot(connection))
        assert connection.execute(
            "SELECT has_table_privilege('batch_owner', '\"MST_Employee\"', 'DELETE')"
        ).fetchone() == (False,)
    with copied_database(template.server, template.name, request.node.name) as database:
        _take_back(database, never)


def _take_back(database: Database, never: Snapshot) -> None:
    with database.connect() as connection:
        assert without_roles(snapshot(connection)) != never

        upgrade(database.dsn, with_deletion=False)

        assert without_roles(snapshot(connection)) == never
        assert not is_with_deletion(connection)
        upgrade(database.dsn)
        assert without_roles(snapshot(connection)) == never
    with (
        database.connect(CLEANUP) as connection,
        pytest.raises(errors.InsufficientPrivilege, match=r"(schema|スキーマ) batch"),
    ):
        connection.execute("SELECT batch.current_tenants()")


def test_the_command_stores_the_choice(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*options: str) -> bool:
        monkeypatch.setattr(sys, "argv", ["include.skillreport", "upgrade", "--dsn", database.dsn, *options])
        assert main() == 0
        with database.connect() as connection:
            return is_with_deletion(connection)

    assert [run("--with-deletion"), run(), run("--without-deletion")] == [True, True, False]


def test_after_the_multi_tenant_migration_the_choice_is_kept(base_database: Database) -> None:
    upgrade(base_database.dsn, with_deletion=True)
    detach(base_database.dsn)
    with base_database.connect() as connection:
        for table in ("MST_Employee", "MST_Department", "MST_UserAuth", "MST_RolePermission"):
            connection.execute(
                sql.SQL("ALTER TABLE {} ADD COLUMN tenant_id varchar(255)").format(sql.Identifier(table))
            )
        assert attach(base_database.dsn) is HostVariant.MULTI_TENANT
        assert "leaving_mst_rolepermission" in relations(connection, "v")


def test_a_table_without_the_column_that_shows_its_owner_is_named(database: Database) -> None:
    with database.connect() as connection:
        connection.execute('ALTER TABLE "MST_CareerPlan" DROP COLUMN employee_id')
        before = snapshot(connection)

        with pytest.raises(SchemaError, match=r'"MST_CareerPlan" に、主キーか列 "employee_id" が'):
            upgrade(database.dsn, with_deletion=True)

        assert without_roles(snapshot(connection)) == without_roles(before)
        upgrade(database.dsn)


def test_a_table_without_the_mark_of_deleted_rows_is_named(database: Database) -> None:
    with database.connect() as connection:
        connection.execute('ALTER TABLE "TRN_EmployeeSkillGrade" DROP COLUMN is_deleted')

    with pytest.raises(SchemaError, match='"TRN_EmployeeSkillGrade" に、列 is_deleted がありません'):
        upgrade(database.dsn, with_deletion=True)


# Changes of the application's columns ------------------------------------------------------------------------------------


def test_a_column_that_only_the_content_shows_can_change_at_any_time(deletable: Database) -> None:
    with deletable.connect() as connection:
        connection.execute('ALTER TABLE "TRN_PDU" ALTER COLUMN activity_description TYPE varchar(900)')
        connection.execute('ALTER TABLE "TRN_PDU" DROP COLUMN instructor_name, ADD COLUMN mood text')
        connection.execute(
            """INSERT INTO "MST_Tenant" (tenant_id, updated_at) VALUES ('T1', now());
            INSERT INTO "TRN_PDU" (id, tenant_id, mood, created_by, updated_by, updated_at) VALUES ('p', 'T1', 'good', 'x', 'x', now())"""
        )
    with deletable.connect(CLEANUP) as cleanup, tenant_transaction(cleanup, ["T1"]):
        ((content,),) = cleanup.execute("SELECT content FROM batch.leaving_trn_pdu").fetchall()
    assert (content["mood"], "instructor_name" in content) == ("good", False)


def test_a_column_that_a_view_names_changes_between_detach_and_attach(deletable: Database) -> None:
    alter: LiteralString = 'ALTER TABLE "MST_CareerPlan" ALTER COLUMN employee_id TYPE varchar(50)'
    with deletable.connect() as connection:
        with pytest.raises(errors.FeatureNotSupported, match=r'_RETURN.*"employee_id"'):
            connection.execute(alter)
        detach(deletable.dsn)
        connection.execute(alter)
        attach(deletable.dsn)
        assert "leaving_mst_careerplan" in relations(connection, "v")


# What check says -----------------------------------------------------------------------------------------------------------


def check(dsn: str) -> CheckReport:
    return check_database(dsn, with_passwords=PASSWORDS)


def codes(report: CheckReport) -> set[tuple[str, str]]:
    return {(finding.code, finding.subject) for finding in report.findings}


def test_check_says_whether_rows_can_be_deleted(database: Database) -> None:
    before = check(database.dsn)
    assert (before.fits, before.with_deletion) == (True, False)
    assert "、削除の権限なし、" in before.as_text()

    upgrade(database.dsn, with_deletion=True)

    after = check(database.dsn)
    assert (after.fits, after.with_deletion) == (True, True)
    assert after.findings == before.findings
    assert "、削除の権限あり、" in after.as_text()
    assert '"with_deletion": true' in after.as_json()


def test_check_finds_what_a_deletion_lacks(deletable: Database) -> None:
    fit = codes(check(deletable.dsn))
    with deletable.connect() as connection:
        connection.execute('REVOKE DELETE ON "MST_CareerPlan" FROM batch_owner')
        connection.execute('REVOKE UPDATE ON "HIS_AuditLog" FROM batch_owner')
        connection.execute('ALTER TABLE "SYS_SkillIndex" ENABLE ROW LEVEL SECURITY')
        connection.execute("CREATE TABLE public.a_new_table (tenant_id text)")

    assert codes(check(deletable.dsn)) - fit >= {
        ("owner-table", "MST_CareerPlan"),
        ("owner-table", "HIS_AuditLog"),
        ("row-security", "SYS_SkillIndex"),
        ("deletion-unlisted", "public.a_new_table"),
    }


# Deployers and connections ----------------------------------------------------------------------------------------------


@pytest.mark.slow("deploys the schema as another login or by commands")
def test_the_owner_of_host_tables_allows_deletion_with_createrole_alone(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("fresh"), durable=False)
    server.start()
    try:
        with psycopg.connect(server.admin_dsn(), autocommit=True) as admin:
            create_deployer(admin, "deployer")
            dsn = as_deployer(server.admin_dsn("deployer"), "deployer")
            with psycopg.connect(dsn) as connection:
                create_host_schema(connection, HostVariant.MULTI_TENANT)
        upgrade(dsn, passwords=PASSWORDS, with_deletion=True)
        report = check_database(dsn, with_passwords=PASSWORDS)
        assert (report.fits, report.with_deletion) == (True, True)
        with psycopg.connect(dsn, autocommit=True) as connection:
            schema = snapshot(connection)
            upgrade(dsn, passwords=PASSWORDS)
            assert snapshot(connection) == schema
            login = f"host=127.0.0.1 port={server.port} dbname=deployer user={CLEANUP} password={PASSWORDS[CLEANUP]}"
            with psycopg.connect(login, autocommit=True) as cleanup, tenant_transaction(cleanup, ["T1"]):
                assert cleanup.execute("DELETE FROM batch.leaving_mst_employee").rowcount == 0
            upgrade(dsn, with_deletion=False)
            assert not is_with_deletion(connection)
    finally:
        server.reset()


def test_a_table_that_the_deployer_cannot_let_delete_from_is_named(server: Server, deployer: str) -> None:
    dsn = as_deployer(server.dsn(deployer), deployer)
    with psycopg.connect(server.dsn(deployer), autocommit=True) as admin:
        admin.execute(sql.SQL("GRANT batch_owner TO {}").format(sql.Identifier(deployer)))
        admin.execute('ALTER TABLE "MST_CareerPlan" OWNER TO CURRENT_USER')
        upgrade(dsn)
        before = without_roles(snapshot(admin))

        with pytest.raises(SchemaError, match=r"権限が足りません: .*MST_CareerPlan"):
            upgrade(dsn, with_deletion=True)

        assert without_roles(snapshot(admin)) == before


def test_an_installation_opens_the_role_only_with_choice_and_connection(database: Database) -> None:
    minute = timedelta(minutes=1)
    with database.connect(PLATFORM) as platform:
        installation = LocalInstallation(platform)
        with (
            pytest.raises(SchemaError, match=r"まだ与えられていません。.*upgrade --with-deletion"),
            installation.cleanup(minute),
        ):
            pytest.fail("opened without the choice")
        upgrade(database.dsn, with_deletion=True)
        with (
            pytest.raises(ConnectionMissingError, match="skill_batch_cleanup_db"),
            installation.cleanup(minute),
        ):
            pytest.fail("opened without a connection")
        with (
            database.connect(CLEANUP) as connection,
            LocalInstallation(platform, cleanup_connection=connection).cleanup(minute) as opened,
        ):
            assert opened.execute("SELECT current_user").fetchone() == (CLEANUP,)
