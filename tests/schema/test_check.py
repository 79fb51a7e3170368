"""``check`` names everything that does not fit, each with what to do, and changes nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg import sql
from psycopg.conninfo import make_conninfo

from include.skillreport.__main__ import main
from include.skillreport.batches.data_backup.server import DatabaseServer
from include.skillreport.core.errors import SchemaError, SettingsError
from include.skillreport.core.settings import SETTINGS_VARIABLE
from include.skillreport.schema.checks import server as server_check
from include.skillreport.schema.checks.findings import FindingSeverity
from include.skillreport.schema.checks.report import CheckReport, check_database
from include.skillreport.schema.checks.sessions import connect, find_pooler_name
from include.skillreport.schema.deploy import BOARD, PLATFORM, TENANT, attach, detach, upgrade
from include.skillreport.schema.host_contract import HostVariant, load_contract
from include.skillreport.schema.host_indexes.creation import list_indexes
from local_stack.stack import DEMO_SETTINGS, EXTERNAL_DATABASE, postgres_programs
from tests.conftest import PASSWORDS, Database, Server, administer
from tests.schema.catalogue import relations, rows_of, snapshot
from tests.schema.conftest import MakeHost, as_deployer
from tests.schema.session_pooler import session_pooler
from tests.schema.transaction_pooler import transaction_pooler
from tests.worlds import host_rows
from tests.worlds.own_settings import change_billing, demo_issuer
from tests.worlds.session_limits import limit_sessions, limits_of

# The batch roles exist and belong to another role (the superuser), unless a test says otherwise.
pytestmark = pytest.mark.usefixtures("templates")

AT = datetime(2026, 10, 31)
BIN = postgres_programs()


def check(dsn: str, bin_dir: str = BIN, **options: Any) -> CheckReport:
    """The report without the findings of every empty or unfit host; with a pg_dump that is new enough."""
    report = check_database(dsn, bin_dir=bin_dir, **options)
    findings = [each for each in report.findings if each.code not in ("no-source", "people-unchecked")]
    return replace(report, findings=tuple(findings))


def texts(dsn: str, code: str) -> list[str]:
    """The texts of the findings with this code."""
    return [each.text for each in check_database(dsn, bin_dir=BIN).findings if each.code == code]


def codes(report: CheckReport) -> list[tuple[str, str]]:
    """Code and subject of each finding."""
    return [(finding.code, finding.subject) for finding in report.findings]


# Suitable hosts ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow("deploys the schema as another login or by commands")
@pytest.mark.parametrize("variant", HostVariant)
def test_a_host_before_and_after_the_deployment_fits(make_host: MakeHost, variant: HostVariant) -> None:
    host = make_host(variant)
    before = check(host.dsn)
    assert (before.fits, before.variant) == (True, variant)
    assert codes(before) == [("not-deployed", "batch")]

    upgrade(host.dsn)

    assert check(host.dsn) == CheckReport(variant, ())


def test_letters_without_a_signature_are_a_remark(
    shared_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert texts(shared_database.dsn, "service-unnamed") == []

    # The defaults alone.
    monkeypatch.delenv(SETTINGS_VARIABLE)

    assert check(shared_database.dsn).fits
    (text,) = texts(shared_database.dsn, "service-unnamed")
    assert text.startswith("メールに署名がありません。")
    assert "service に name、company、contact を書き" in text


def test_a_company_of_one_is_a_remark(
    shared_database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert texts(shared_database.dsn, "no-second-person") == []

    change_billing(monkeypatch, tmp_path, second_person="none")

    (text,) = texts(shared_database.dsn, "no-second-person")
    assert text.startswith("登録を見るほかの人がいません")


@pytest.mark.slow("deploys the schema as another login or by commands")
@pytest.mark.parametrize(
    ("issuer", "problem"),
    [
        ({"registration_number": "T1234567890123"}, "法人番号の検査数字が合いません"),
        ({"registration_number": "7123456789012"}, "登録番号 '7123456789012'"),
        ({"registration_number": "T1234567890123", "corporate": False}, None),
        ({"name": " "}, "発行事業者の名称"),
        ({"address": "東京都\U0010ffff"}, "U+10FFFF"),
        ({"bank_account": "普通\u0007 1234567"}, "U+0007"),
        ({"contact": "\U0002f9f4", "sample": True}, None),
    ],
)
def test_an_issuer_that_would_stop_each_invoice_does_not_fit(
    shared_database: Database,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    issuer: dict[str, Any],
    problem: str | None,
) -> None:
    change_billing(monkeypatch, tmp_path, issuer=demo_issuer(**issuer))
    found = texts(shared_database.dsn, "settings")
    assert check(shared_database.dsn).fits == (problem is None)
    assert [problem in text for text in found if problem] == ([True] if problem else [])


def test_an_unprintable_name_in_the_price_list_does_not_fit(
    shared_database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    prices = yaml.safe_load((DEMO_SETTINGS.parent / "pricing_plans.yaml").read_text(encoding="utf-8"))
    newest = max(prices["versions"], key=lambda version: version["effective_from"])
    next(plan for plan in newest["plans"].values() if plan.get("billable", True))["name"] = "\U0010ffff"
    (tmp_path / "prices.yaml").write_text(yaml.safe_dump(prices, allow_unicode=True), encoding="utf-8")
    change_billing(monkeypatch, tmp_path, price_list="prices.yaml")
    (found,) = texts(shared_database.dsn, "settings")
    assert "U+10FFFF" in found


def test_a_check_changes_nothing(database: Database) -> None:
    with database.connect() as connection:
        connection.execute('ALTER TABLE "SYS_SystemLog" ENABLE ROW LEVEL SECURITY')
        host_rows.tenant(connection, "T1")
        before = snapshot(connection)
        rows = {name: rows_of(connection, name) for name in relations(connection, "rv")}

        check(database.dsn, logins={TENANT: database.dsn, PLATFORM: database.dsn})

        assert snapshot(connection) == before
        assert {name: rows_of(connection, name) for name in relations(connection, "rv")} == rows


def test_new_columns_and_tables_of_the_host_break_nothing(database: Database) -> None:
    with database.connect() as connection:
        for table in load_contract():
            name = sql.Identifier("public", table.name)
            # Names that the views use for other columns, too.
            for column in ("tenant_code_2", "employee_key", "is_login", "status_2", "acted_at_utc"):
                connection.execute(
                    sql.SQL("ALTER TABLE {} ADD COLUMN {} text").format(name, sql.Identifier(column))
                )
        connection.execute("CREATE TABLE public.a_new_table (tenant_id text)")
        host_rows.tenant(connection, "T1")
        host_rows.user(connection, "T1", "u1")

        upgrade(database.dsn)

        assert check(database.dsn) == CheckReport(HostVariant.MULTI_TENANT, ())
        for view in relations(connection, "v"):
            rows_of(connection, view)


# The host's schema ----------------------------------------------------------------------------------------------------


def test_all_findings_are_listed_at_once(host: Database) -> None:
    with host.connect() as connection:
        connection.execute('DROP TABLE "TRN_PDU"')
        connection.execute('ALTER TABLE "SYS_SystemLog" DROP COLUMN request_url')
        connection.execute('ALTER TABLE "MST_Tenant" ALTER COLUMN max_users TYPE text')
        connection.execute('ALTER TABLE "MST_Employee" ALTER COLUMN full_name TYPE varchar(30)')
        connection.execute('ALTER TABLE "HIS_AuditLog" ENABLE ROW LEVEL SECURITY')

    report = check(host.dsn)

    assert not report.fits
    assert set(codes(report)) == {
        ("table-missing", "TRN_PDU"),
        ("column-missing", '"SYS_SystemLog"."request_url"'),
        ("column-type", '"MST_Tenant"."max_users"'),
        ("row-security", "HIS_AuditLog"),
        ("not-deployed", "batch"),
    }


@pytest.mark.parametrize("column_of", ["MST_Employee", "MST_UserAuth"])
def test_a_multi_tenant_migration_that_stopped_half_way_is_named(make_host: MakeHost, column_of: str) -> None:
    host = make_host(HostVariant.BASE)
    with host.connect() as connection:
        connection.execute(f'ALTER TABLE "{column_of}" ADD COLUMN tenant_id varchar(255)')

    (finding, _) = check(host.dsn).findings

    assert finding.code == "variant-half-applied"
    assert f'列 "{column_of}"."tenant_id" はあり' in finding.text
    assert '"MST_Department"."tenant_id"' in finding.text.partition("はあり、")[2]


# Tenants --------------------------------------------------------------------------------------------------------------


def test_only_tenants_that_are_not_deleted_need_a_tenant_column(make_host: MakeHost) -> None:
    host = make_host(HostVariant.BASE)
    with host.connect() as connection:
        host_rows.tenant(connection, "T1", status=None)
        host_rows.tenant(connection, "T2", status=" Deleted ")
        host_rows.tenant(connection, "T3", is_deleted=True)
        assert check(host.dsn).fits
        upgrade(host.dsn)
        host_rows.tenant(connection, "T4", status="SUSPENDED")

    (finding,) = check(host.dsn).findings

    assert finding.code == "several-tenants"
    assert "2 テナント" in finding.text


def test_tenants_that_only_rows_name_are_remarked_by_table(host: Database) -> None:
    with host.connect() as connection:
        host_rows.tenant(connection, "T1")
        for tenant_id, rows in {
            "T1": 2,
            "tenant_001": 3,
            "default": 1,
            "a": 1,
            "b": 1,
            "c": 1,
            "d": 1,
        }.items():
            for _ in range(rows):
                host_rows.report(connection, tenant_id, datetime(2026, 10, 31))

    report = check(host.dsn)

    assert report.fits
    (finding,) = [finding for finding in report.findings if finding.code == "unknown-tenant"]
    assert finding.subject == "HIS_ReportGeneration"
    assert "'tenant_001'（3 行）、'a'（1 行）" in finding.text
    assert "ほか 1 テナント" in finding.text
    assert "'T1'" not in finding.text


# People ---------------------------------------------------------------------------------------------------------------


def test_accounts_that_belong_to_no_tenant_are_remarked_on_with_their_number(
    shared_database: Database,
) -> None:
    with shared_database.connect() as connection:
        host_rows.tenant(connection, "T1")
        host_rows.tenant(connection, "T2", status="deleted")
        host_rows.user(connection, "T1", "placed")
        host_rows.user(connection, "T2", "of_a_deleted_tenant")
        for number in range(7):
            host_rows.user(connection, "default-tenant", f"u{number}", employee_id=f"nobody_{number}")
        host_rows.user(connection, "default-tenant", "gone", employee_id="nobody", is_deleted=True)

    assert check(shared_database.dsn).fits
    (text,) = texts(shared_database.dsn, "accounts-without-employee")
    assert text.startswith("7 件のアカウント（'u0'、'u1'、'u2' など）は、従業員が見つからないため")


def test_employees_of_a_tenant_that_does_not_exist_are_remarked_on_once(shared_database: Database) -> None:
    with shared_database.connect() as connection:
        host_rows.tenant(connection, "T1")
        host_rows.user(connection, "T9", "u1", account_tenant_id="T1")

    assert codes(check(shared_database.dsn)) == [("unknown-tenant", "MST_Employee")]


def test_codes_that_several_employees_share_are_remarked_on(database: Database) -> None:
    with database.connect() as connection:
        connection.execute('DROP INDEX IF EXISTS "MST_Employee_employee_code_key"')
        for tenant_id in ("T1", "T2"):
            host_rows.tenant(connection, tenant_id)
            host_rows.user(connection, tenant_id, f"u_{tenant_id}")
        assert texts(database.dsn, "shared-codes") == []
        connection.execute("UPDATE \"MST_Employee\" SET employee_code = 'shared'")

    (text,) = texts(database.dsn, "shared-codes")
    assert text.startswith("1 個の従業員コード（'shared'）を、合わせて 2 人の従業員が持っています")


def test_rows_of_no_tenant_are_remarked_by_column_and_reason(shared_database: Database) -> None:
    with shared_database.connect() as connection:
        host_rows.tenant(connection, "T1")
        host_rows.user(connection, "T1", "known")
        host_rows.insert(
            connection, "MST_UserAuth", user_id="alone", login_id="alone", employee_id="nobody", updated_at=AT
        )
        for key, rows in {"known": 4, "who": 3, "whose": 1, "system": 2, "emp_001": 2, "alone": 1}.items():
            for _ in range(rows):
                host_rows.audit(connection, key, AT)
        host_rows.request(connection, "who", AT)
        host_rows.request(connection, None, AT)
        host_rows.report(connection, "default", AT, requested_by="who")
        host_rows.report(connection, "T1", AT, requested_by="who")  # the row's own tenant counts

    report = check(shared_database.dsn)

    assert report.fits
    assert sorted(codes(report)) == [
        ("accounts-without-employee", "MST_UserAuth"),
        ("placeholder", "HIS_AuditLog.user_id"),
        ("rows-without-employee", "HIS_AuditLog.user_id"),
        ("unknown-people", "HIS_AuditLog.user_id"),
        ("unknown-people", "HIS_ReportGeneration.requested_by"),
        ("unknown-people", "SYS_SystemLog.user_id"),
        ("unknown-tenant", "HIS_ReportGeneration"),
        ("unknown-tenant", "MST_UserAuth"),
    ]
    found = {each.code + " " + each.subject: each.text for each in report.findings}
    assert "の 4 行（キー 'who'、'whose'）は、該当者がない" in found["unknown-people HIS_AuditLog.user_id"]
    assert "の 1 行（キー 'who'）" in found["unknown-people HIS_ReportGeneration.requested_by"]
    assert "の 2 行は仮のキー 'emp_001' を持つ" in found["placeholder HIS_AuditLog.user_id"]
    assert (
        "の 1 行（キー 'alone'）は、アカウントに従業員がなく"
        in found["rows-without-employee HIS_AuditLog.user_id"]
    )


def test_a_key_that_screens_write_for_everybody_is_remarked(
    shared_database: Database,
) -> None:
    with shared_database.connect() as connection:
        host_rows.tenant(connection, "T1")
        host_rows.user(connection, "T1", "u1")
        connection.execute("UPDATE \"MST_Employee\" SET employee_code = '000001'")
        host_rows.audit(connection, "000001", AT)

    assert texts(shared_database.dsn, "unknown-people") == []
    (text,) = texts(shared_database.dsn, "watched-key")
    assert text.startswith("HIS_AuditLog.user_id の 1 行は '000001' を持ちます。")


def test_a_source_without_rows_is_remarked_with_its_absent_figures(shared_database: Database) -> None:
    with shared_database.connect() as connection:
        sources = [name for (name,) in connection.execute("SELECT source FROM batch.all_host_source")]
        assert len(texts(shared_database.dsn, "no-source")) == len(sources)
        host_rows.tenant(connection, "T1")
        host_rows.request(connection, None, AT)
        host_rows.audit(connection, "system", AT)

    left = texts(shared_database.dsn, "no-source")
    assert len(left) == len(sources) - 2
    assert left[0].startswith(
        "HIS_AuditLog LOGIN に行が 1 件もありません。ログイン失敗は 0 ではなく、値なしになります。"
    )


def test_people_are_checked_only_on_views_of_this_code(database: Database, host: Database) -> None:
    assert len(texts(host.dsn, "people-unchecked")) == 1
    assert texts(database.dsn, "people-unchecked") == []
    detach(database.dsn)
    assert len(texts(database.dsn, "people-unchecked")) == 1


def test_a_deployer_that_is_no_superuser_checks_the_people_too(server: Server, deployer: str) -> None:
    with psycopg.connect(server.dsn(deployer), autocommit=True) as admin:
        admin.execute(sql.SQL("GRANT batch_owner TO {}").format(sql.Identifier(deployer)))
    dsn = as_deployer(server.dsn(deployer), deployer)
    upgrade(dsn)

    assert texts(dsn, "people-unchecked") == []
    assert texts(dsn, "no-source")


# Row-level security ---------------------------------------------------------------------------------------------------


def test_row_level_security_is_an_error_until_views_see_all(database: Database) -> None:
    with database.connect() as connection:
        host_rows.tenant(connection, "T1")
        connection.execute('ALTER TABLE "MST_Tenant" ENABLE ROW LEVEL SECURITY')
        assert codes(check(database.dsn)) == [("row-security", "MST_Tenant")]

        # The second remedy that the finding names.
        connection.execute('CREATE POLICY batch_owner ON public."MST_Tenant" TO batch_owner USING (true)')
        assert check(database.dsn).fits
        connection.execute("SET ROLE batch_platform")
        assert connection.execute("SELECT tenant_id FROM batch.all_tenant").fetchall() == [("T1",)]
        connection.execute("RESET ROLE")

        connection.execute("CREATE POLICY partly ON \"MST_Tenant\" AS RESTRICTIVE USING (tenant_id = 'T2')")
        assert not check(database.dsn).fits


@pytest.mark.parametrize(
    "policy",
    [
        "USING (tenant_id = current_setting('app.tenant', true))",
        "FOR SELECT USING (true)",
        "TO pg_monitor USING (true)",
    ],
)
def test_a_policy_that_hides_rows_from_batch_owner_is_no_remedy(database: Database, policy: str) -> None:
    with database.connect() as connection:
        connection.execute('ALTER TABLE "MST_Tenant" ENABLE ROW LEVEL SECURITY')
        connection.execute(f'CREATE POLICY partly ON "MST_Tenant" {policy}')
    assert codes(check(database.dsn)) == [("row-security", "MST_Tenant")]


def test_row_level_security_hides_nothing_from_a_role_that_bypasses_it(database: Database) -> None:
    with database.connect() as connection:
        connection.execute('ALTER TABLE "MST_Tenant" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY')
        connection.execute("ALTER ROLE batch_owner BYPASSRLS")
        try:
            assert check(database.dsn).fits
        finally:
            connection.execute("ALTER ROLE batch_owner NOBYPASSRLS")


def test_the_tables_owner_sees_every_row_unless_it_is_forced_on_it(database: Database) -> None:
    with database.connect() as connection:
        connection.execute('ALTER TABLE "MST_Tenant" OWNER TO batch_owner')
        connection.execute('ALTER TABLE "MST_Tenant" ENABLE ROW LEVEL SECURITY')
        assert check(database.dsn).fits
        connection.execute('ALTER TABLE "MST_Tenant" FORCE ROW LEVEL SECURITY')
        assert not check(database.dsn).fits


# Privileges -----------------------------------------------------------------------------------------------------------


def test_every_privilege_that_the_deployer_lacks_is_named(server: Server, deployer: str) -> None:
    dsn = as_deployer(server.dsn(deployer), deployer)
    with psycopg.connect(server.dsn(deployer), autocommit=True) as admin:
        for statement in (
            'ALTER TABLE "HIS_AuditLog" OWNER TO CURRENT_USER',
            'ALTER TABLE "SYS_SystemLog" OWNER TO CURRENT_USER',
            "ALTER DATABASE {} OWNER TO CURRENT_USER",
            "ALTER ROLE {} NOCREATEROLE",
            "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
        ):
            admin.execute(sql.SQL(statement).format(sql.Identifier(deployer)))

        report = check(dsn, with_passwords=[TENANT])

        assert set(codes(report)) == {
            ("deployer-table", "HIS_AuditLog"),
            ("deployer-table", "SYS_SystemLog"),
            ("deployer-create", deployer),
            ("deployer-public", "public"),
            ("deployer-createrole", deployer),
            ("deployer-membership", deployer),
            ("not-deployed", "batch"),
        }
        # After the remedies of the findings, the deployment succeeds.
        with admin.transaction(force_rollback=False):
            for finding in report.findings:
                for statement in finding.text.split("`")[1::2]:
                    if statement.startswith(("GRANT", "ALTER")):
                        admin.execute(statement.encode())
            for table in ("HIS_AuditLog", "SYS_SystemLog"):
                admin.execute(
                    sql.SQL("GRANT ALL ON {} TO {} WITH GRANT OPTION").format(
                        sql.Identifier(table), sql.Identifier(deployer)
                    )
                )
    assert check(dsn, with_passwords=[TENANT]).fits
    upgrade(dsn, passwords={TENANT: PASSWORDS[TENANT]})


def test_a_login_without_any_privilege_still_gets_a_full_report(login: str) -> None:
    report = check(login)

    assert {finding.code for finding in report.findings} == {
        "deployer-table",
        "deployer-create",
        "deployer-membership",
    }
    assert {finding.subject for finding in report.findings} >= {table.name for table in load_contract()}


def test_a_table_that_the_host_created_anew_lacks_the_owners_privileges(database: Database) -> None:
    with database.connect() as connection:
        connection.execute('REVOKE SELECT (request_url) ON "SYS_SystemLog" FROM batch_owner')
        connection.execute('REVOKE DELETE ON "SYS_TokenStore" FROM batch_owner')

    report = check(database.dsn)

    assert codes(report) == [("owner-table", "SYS_SystemLog"), ("owner-table", "SYS_TokenStore")]
    assert "SELECT 権限がありません（列 request_url）" in report.findings[0].text


@pytest.fixture
def login(database: Database) -> Iterator[str]:
    """The connection string of a login without any privilege."""
    name = f"login_{os.urandom(4).hex()}"
    with database.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'login'").format(sql.Identifier(name)))
        yield make_conninfo(
            host=database.server.host,
            port=database.server.port,
            dbname=database.name,
            user=name,
            password="login",
        )
        connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.mark.skipif(EXTERNAL_DATABASE in os.environ, reason="an external server may trust its clients")
def test_a_login_without_its_role_is_named_with_the_grant(database: Database, login: str) -> None:
    name = psycopg.conninfo.conninfo_to_dict(login)["user"]

    (finding,) = check(database.dsn, logins={PLATFORM: login}).findings

    assert (finding.code, finding.subject) == ("login-not-member", name)
    grant = f'GRANT batch_platform TO "{name}"'
    assert f"`{grant}`" in finding.text
    with database.connect() as connection:
        connection.execute(grant.encode())
    assert check(database.dsn, logins={PLATFORM: login}).fits


@pytest.mark.skipif(EXTERNAL_DATABASE in os.environ, reason="an external server may trust its clients")
def test_the_rights_that_backups_and_restores_lack_are_named(database: Database, login: str) -> None:
    name = psycopg.conninfo.conninfo_to_dict(login)["user"]

    def found() -> dict[str, str]:
        return {each.code: each.text for each in check(database.dsn, backup=login).findings}

    lacking = found()
    assert list(lacking) == ["backup-rows", "backup-createdb", "restore-rights"]
    assert "BYPASSRLS" in lacking["backup-rows"]
    assert "CREATEDB" in lacking["backup-createdb"]
    assert "pg_write_all_data" in lacking["restore-rights"]
    with database.connect() as connection:
        connection.execute(f'ALTER ROLE "{name}" BYPASSRLS CREATEDB'.encode())
        connection.execute(f'GRANT pg_read_all_data, pg_write_all_data TO "{name}"'.encode())
        connection.execute(f'GRANT CREATE ON DATABASE "{connection.info.dbname}" TO "{name}"'.encode())
    assert list(found()) == ["restore-owners"]
    assert "スーパーユーザー" in found()["restore-owners"]
    assert check(database.dsn, backup=login).fits
    assert check(database.dsn, backup=database.dsn).findings == ()


def test_a_login_that_cannot_connect_is_named_by_its_role(
    shared_database: Database, unused_port: int
) -> None:
    nobody = f"host=127.0.0.1 port={unused_port} user=x dbname=x password=hidden"

    (finding,) = check(shared_database.dsn, logins={TENANT: nobody}).findings

    assert finding.code == "no-connection"
    assert "batch_tenant 用" in finding.text
    assert "hidden" not in finding.text


# The server -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dsn", "found"),
    [
        ("postgresql://u:p@ep-cool-1-pooler.ap-southeast-1.aws.neon.tech/neondb?sslmode=require", "pooler"),
        ("host=db.example.com port=6543 dbname=postgres", "pooler-port"),
        ("postgresql://u:p@ep-cool-1.ap-southeast-1.aws.neon.tech/neondb", None),
        ("postgresql://u:p@pooler.example.com/db", None),
    ],
)
def test_a_pooler_is_known_by_its_name(dsn: str, found: str | None) -> None:
    assert [finding.code for finding in find_pooler_name(dsn)] == ([found] if found else [])


def test_a_deployment_through_neons_pooler_is_refused_before_it_connects() -> None:
    for deploy in (upgrade, detach):
        with pytest.raises(Exception, match=r"ep-1-pooler\.neon\.tech.*直接のホスト"):
            deploy("postgresql://u:p@ep-1-pooler.neon.tech/neondb")


@pytest.mark.skipif(EXTERNAL_DATABASE in os.environ, reason="an external server may want TLS")
@pytest.mark.parametrize("refuses", [True, False])
def test_a_session_pooler_suits_batches_but_not_deployment_or_backup(
    database: Database, login: str, *, refuses: bool
) -> None:
    with session_pooler(database.server.host, database.server.port, refuses=refuses) as port:
        logins = {
            role: make_conninfo(database.airflow_connection(role), port=port) for role in (TENANT, PLATFORM)
        }
        assert check(database.dsn, logins=logins) == CheckReport(HostVariant.MULTI_TENANT, ())

        through_pooler = make_conninfo(login, port=port)
        assert ("pooler", "127.0.0.1") in codes(check(through_pooler))
        for action in (upgrade, detach, attach, list_indexes):
            with pytest.raises(SchemaError, match=r"^ホスト .*PgBouncer.*直接のホスト"):
                action(through_pooler)
        with pytest.raises(SettingsError, match=r"'skill_batch_backup_db': ホスト .*PgBouncer.*直接のホスト"):
            DatabaseServer(through_pooler).check()


@pytest.mark.skipif(EXTERNAL_DATABASE in os.environ, reason="an external server may want TLS")
@pytest.mark.parametrize("takes_newest", [True, False])
@pytest.mark.parametrize("role", [TENANT, PLATFORM])
def test_a_pooler_in_transaction_mode_is_known_by_its_sessions(
    shared_database: Database, role: str, *, takes_newest: bool
) -> None:
    server = shared_database.server
    with transaction_pooler(server.host, server.port, takes_newest=takes_newest) as port:
        dsn = make_conninfo(shared_database.airflow_connection(role), host="127.0.0.1", port=port)
        report = check(shared_database.dsn, logins={role: dsn})

    assert codes(report) == [("pooler", "127.0.0.1")]
    assert f'ログイン "{role}" の接続プーラー' in report.findings[0].text
    assert "トランザクションモード" in report.findings[0].text


def test_a_login_whose_transactions_cannot_write_is_named_with_the_statement(
    database: Database, login: str
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(login)["user"]
    with database.connect() as connection:
        connection.execute(f'GRANT batch_platform, batch_board TO "{name}"'.encode())
        connection.execute(f'ALTER ROLE "{name}" SET default_transaction_read_only = on'.encode())

    (finding,) = check(database.dsn, logins={PLATFORM: login, BOARD: login}).findings

    assert (finding.severity, finding.code, finding.subject) == (
        FindingSeverity.ERROR,
        "login-read-only",
        name,
    )
    assert ("login-read-only", name) in codes(check(login))
    with pytest.raises(SchemaError, match="default_transaction_read_only"):
        upgrade(login)
    with database.connect() as connection:
        connection.execute(finding.text.split("`")[1].encode())
    assert check(database.dsn, logins={PLATFORM: login, BOARD: login}).fits


def test_a_database_that_cannot_hold_every_text_is_refused(server: Server) -> None:
    name = f"latin_{os.urandom(4).hex()}"
    administer(server, "CREATE DATABASE {} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0", name)
    try:
        (text,) = texts(server.dsn(name), "server-encoding")
        with pytest.raises(SchemaError, match="LATIN1"):
            upgrade(server.dsn(name))
    finally:
        administer(server, "DROP DATABASE {} WITH (FORCE)", name)
    assert text.startswith(f'データベース "{name}" の文字コードは LATIN1 です。')


def test_an_old_server_is_named_with_the_version_that_is_needed(
    shared_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_check, "MINIMUM_VERSION", 99)
    (finding,) = check(shared_database.dsn).findings
    assert finding.code == "server-version"
    assert "PostgreSQL 99 以上" in finding.text


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (None, "pg-dump-missing"),
        ("exit 1", "pg-dump-missing"),
        ("echo 'pg_dump (PostgreSQL) 9.6.24'", "pg-dump-old"),
    ],
)
def test_a_pg_dump_that_cannot_back_up_this_server_is_a_remark(
    shared_database: Database, tmp_path: Path, script: str | None, code: str
) -> None:
    for name in ("pg_dump", "pg_restore") if script else ():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    report = check(shared_database.dsn, bin_dir=str(tmp_path))

    assert report.fits
    assert codes(report) == [(code, "pg_dump")]
    assert "skill_batch_postgres_bin" in report.findings[0].text


# The deployment -------------------------------------------------------------------------------------------------------


def test_detached_or_outdated_views_are_remarks_with_the_command(
    database: Database, base_database: Database
) -> None:
    detach(database.dsn)
    (finding,) = check(database.dsn).findings
    assert (finding.severity, finding.code) == (FindingSeverity.REMARK, "detached")
    assert "include.skillreport attach" in finding.text

    with base_database.connect() as connection:
        connection.execute("UPDATE batch.deployment SET host_variant = 'multi_tenant'")
    (finding,) = check(base_database.dsn).findings
    assert (finding.severity, finding.code) == (FindingSeverity.REMARK, "outdated")
    assert "multi_tenant 版" in finding.text
    assert "include.skillreport upgrade" in finding.text


# The command ----------------------------------------------------------------------------------------------------------


def test_the_command_prints_a_line_per_finding_and_then_the_verdict(
    host: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with host.connect() as connection:
        connection.execute('ALTER TABLE "MST_Tenant" DROP COLUMN status')
    assert _run(monkeypatch, "check", "--dsn", host.dsn, "--bin", BIN) == 1

    assert capsys.readouterr().out.splitlines() == [
        '不適合: ホストに列 "MST_Tenant"."status" がない。ホストのスキーマを更新するか、接続先のデータベースを直してください。'
        "Prisma の `prisma db push` で列を変えるときは、detach、prisma db push、attach の順に実行します（docs/install/database.md）。",
        "注意: このデータベースにスキーマ batch がありません。`python -m include.skillreport upgrade` を実行してください。",
        "注意: 利用者と行がどのテナントのものかは、まだ調べていません。"
        "上の指摘を解消し、upgrade か attach のあとにもう一度 check を実行してください。",
        "判定: 不適合（ホストは multi_tenant 版、削除の権限なし、不適合 1 件、注意 2 件）",
    ]


def test_the_command_prints_findings_for_programs(
    host: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SKILL_BATCH_ADMIN_DSN", host.dsn)
    monkeypatch.setenv("SKILL_BATCH_TENANT_DSN", "host=nowhere.invalid")
    assert _run(monkeypatch, "check", "--json", "--bin", BIN) == 1

    report = json.loads(capsys.readouterr().out)

    assert (report["fits"], report["variant"]) == (False, "multi_tenant")
    assert [(finding["severity"], finding["code"]) for finding in report["findings"]] == [
        ("error", "no-connection"),
        ("remark", "not-deployed"),
        ("remark", "people-unchecked"),
    ]
    assert report["findings"][1] == {
        "severity": "remark",
        "code": "not-deployed",
        "subject": "batch",
        "problem": "このデータベースにスキーマ batch がありません。",
        "remedy": "`python -m include.skillreport upgrade` を実行してください。",
        "text": "このデータベースにスキーマ batch がありません。`python -m include.skillreport upgrade` を実行してください。",
    }


@pytest.mark.parametrize("dsn", ["nonsense", "postgresql://u@h/d?schema=public"])
def test_the_command_says_that_the_connection_string_is_none(
    dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, "check", "--dsn", dsn) == 1
    assert "Prisma の ?schema= や pgbouncer= は除く" in capsys.readouterr().out


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["include.skillreport", *arguments])
    # Here is no Airflow to ask for paused DAGs.
    monkeypatch.delenv("AIRFLOW_HOME")
    return main()


@pytest.mark.parametrize(
    "broken",
    [
        '"postgresql://owner:Secr3t@host:5432/db"',
        "postgresql+psycopg://owner:Secr3t@host/db",
        "postgresql://owner:50%Secr3t!@host/db",
    ],
)
@pytest.mark.parametrize("option", ["--dsn", "--tenant-dsn", "--backup-dsn"])
def test_a_connection_string_that_cannot_be_read_is_never_printed(
    host: Database,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    broken: str,
) -> None:
    # Here is no Airflow to ask for paused DAGs.
    monkeypatch.delenv("AIRFLOW_HOME")
    commands = [["check", "--json", "--dsn", host.dsn, option, broken]]
    if option == "--dsn":
        commands += [[action, option, broken] for action in ("upgrade", "attach", "indexes")]
    for command in commands:
        assert main(command) == 1
        printed = "".join(capsys.readouterr())
        assert "Secr3t" not in printed
        assert "接続文字列を読めません" in printed


def test_limits_of_the_server_do_not_end_the_check(host: Database) -> None:
    with host.connect() as administrator:
        known = limit_sessions(administrator)
    connection, _ = connect(host.dsn)
    with connection:
        limits = limits_of(connection)
    assert {limit: limits[limit] for limit in known} == dict.fromkeys(known, "0")


def test_limits_of_our_logins_are_remarks_that_say_what_they_do(database: Database) -> None:
    """A limit of the database counts for all logins, one of a role for it alone. Only the roles of the batches are known."""
    name = f"backup_{database.name}"
    with database.connect() as administrator:
        role, backup = sql.Identifier(name), make_conninfo(database.dsn, user=name, password="x")
        administrator.execute(sql.SQL("CREATE ROLE {} LOGIN BYPASSRLS PASSWORD 'x'").format(role))
        try:
            own = sql.Identifier(database.name)
            administrator.execute(sql.SQL("ALTER DATABASE {} SET lock_timeout = '5s'").format(own))
            administrator.execute(
                sql.SQL("ALTER ROLE {} SET idle_in_transaction_session_timeout = '1min'").format(role)
            )
            for login, limit, value in (
                (PLATFORM, "idle_session_timeout", "10min"),
                (TENANT, "statement_timeout", "0"),
                (TENANT, "work_mem", "8MB"),
            ):
                administrator.execute(
                    sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} = {}").format(
                        sql.Identifier(login), own, sql.Identifier(limit), sql.Literal(value)
                    )
                )

            without_backup = codes(check(database.dsn))
            report = check_database(database.dsn, backup=backup)
        finally:
            administrator.execute(sql.SQL("DROP ROLE {}").format(role))

    found = {finding.subject: finding.text for finding in report.findings if finding.code == "session-limit"}
    assert set(without_backup) == {("session-limit", database.name), ("session-limit", PLATFORM)}
    assert set(found) == {database.name, PLATFORM, name}
    assert found[PLATFORM].startswith(
        f"ロール {PLATFORM} に idle_session_timeout = 10min があります。バッチの接続には効きません。"
    )
    assert "SQLSTATE 57P05" in found[PLATFORM]
    assert found[PLATFORM].endswith(
        f"`ALTER ROLE {PLATFORM} IN DATABASE {database.name} RESET idle_session_timeout` で外せます。"
    )
    assert f"`ALTER DATABASE {database.name} RESET lock_timeout`" in found[database.name]
    assert f"`ALTER ROLE {name} RESET idle_in_transaction_session_timeout`" in found[name]
