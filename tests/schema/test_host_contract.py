"""The check names all missing parts of the host, and the contract contains exactly the columns that the views use."""

from __future__ import annotations

import psycopg
import pytest

from include.skillreport.core.errors import SchemaError
from include.skillreport.schema.checks.findings import FindingSeverity
from include.skillreport.schema.checks.host import find_several_tenants
from include.skillreport.schema.deploy import upgrade
from include.skillreport.schema.host_contract import HostVariant, check_host, load_contract
from tests.conftest import Database
from tests.schema.conftest import MakeHost
from tests.worlds import host_rows


@pytest.mark.parametrize("variant", HostVariant)
def test_a_complete_host_passes_and_its_variant_is_returned(
    make_host: MakeHost, variant: HostVariant
) -> None:
    with make_host(variant).connect() as connection:
        assert check_host(connection) is variant


def test_a_role_without_any_privilege_on_the_host_can_check_it(database: Database) -> None:
    with database.connect("batch_platform") as connection:
        assert check_host(connection) is HostVariant.MULTI_TENANT
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute('SELECT FROM "MST_Tenant"')


def test_everything_that_the_host_lacks_is_named_in_one_error(host: Database) -> None:
    with host.connect() as connection:
        connection.execute('DROP TABLE "HIS_AuditLog"')
        connection.execute('DROP TABLE "TRN_PDU"')
        connection.execute('ALTER TABLE "SYS_SystemLog" DROP COLUMN request_url')
        connection.execute('ALTER TABLE "MST_UserAuth" DROP COLUMN employee_id')
        connection.execute('ALTER TABLE "MST_Tenant" ALTER COLUMN max_users TYPE text')
        connection.execute('ALTER TABLE "SYS_TenantUsage" ALTER COLUMN usage_date TYPE timestamptz')

        with pytest.raises(SchemaError) as raised:
            check_host(connection)

    message = str(raised.value)
    assert '表 "HIS_AuditLog" がない' in message
    assert '表 "TRN_PDU" がない' in message
    assert '列 "SYS_SystemLog"."request_url" がない' in message
    assert '列 "MST_UserAuth"."employee_id" がない' in message
    assert '列 "MST_Tenant"."max_users" の型が text（必要なのは integer）' in message
    assert (
        '列 "SYS_TenantUsage"."usage_date" の型が timestamp with time zone（必要なのは timestamp without time zone）'
        in message
    )
    assert message.count("がない") == 4
    assert message.count("の型が") == 2


@pytest.mark.parametrize(
    ("column", "kinds"),
    [
        ("tenant_id", ["text", "varchar(255)", "varchar", "char(36)", "identifier"]),
        ("email", ["varchar(320)"]),
    ],
)
def test_a_text_is_a_text_whatever_its_width(host: Database, column: str, kinds: list[str]) -> None:
    with host.connect() as connection:
        connection.execute("CREATE DOMAIN identifier AS varchar(50)")
        for kind in kinds:
            connection.execute(f'ALTER TABLE "MST_Employee" ALTER COLUMN {column} TYPE {kind}')
            assert check_host(connection) is HostVariant.MULTI_TENANT


@pytest.mark.parametrize(
    ("table", "column", "kinds"),
    [
        ("MST_Tenant", "max_users", ["smallint", "bigint", "numeric(10, 2)"]),
        ("SYS_SystemLog", "response_time", ["bigint"]),
        ("HIS_TenantBilling", "total_amount", ["numeric(12, 2)", "bigint"]),
    ],
)
def test_a_number_is_a_number_whatever_its_width(
    host: Database, table: str, column: str, kinds: list[str]
) -> None:
    with host.connect() as connection:
        for kind in kinds:
            connection.execute(f'ALTER TABLE "{table}" ALTER COLUMN {column} TYPE {kind}')
            assert check_host(connection) is HostVariant.MULTI_TENANT


def test_figures_of_a_host_with_other_widths_keep_their_python_types(host: Database) -> None:
    with host.connect() as connection:
        connection.execute('ALTER TABLE "MST_Tenant" ALTER COLUMN max_users TYPE numeric(10, 2)')
        connection.execute('ALTER TABLE "MST_Employee" ALTER COLUMN tenant_id TYPE char(36)')
    upgrade(host.dsn)
    with host.connect() as connection:
        host_rows.tenant(connection, "T1", max_users=20)
        host_rows.user(connection, "T1", "u1")
        assert connection.execute(
            "SELECT max_users, tenant_id FROM batch.all_tenant INNER JOIN batch.all_employee USING (tenant_id)"
        ).fetchone() == (20, "T1")
        assert connection.execute("SELECT pg_typeof(max_users)::text FROM batch.all_tenant").fetchone() == (
            "integer",
        )


def test_columns_of_the_multi_tenant_migration_are_not_required_before_it(make_host: MakeHost) -> None:
    with make_host(HostVariant.BASE).connect() as connection:
        assert check_host(connection) is HostVariant.BASE

        connection.execute("""ALTER TABLE "MST_Employee" ADD COLUMN tenant_id text NOT NULL DEFAULT 'T1'""")
        with pytest.raises(
            SchemaError,
            match=r'途中で止まっています（列 "MST_Employee"."tenant_id" はあり、"MST_Department".*"MST_UserAuth"."tenant_id" がない',
        ):
            check_host(connection)


def test_a_table_of_this_name_in_another_schema_does_not_count(host: Database) -> None:
    with host.connect() as connection:
        connection.execute("CREATE SCHEMA elsewhere")
        connection.execute('ALTER TABLE "MST_Tenant" SET SCHEMA elsewhere')
        with pytest.raises(SchemaError, match='表 "MST_Tenant" がない'):
            check_host(connection)


@pytest.mark.parametrize(
    ("tenants", "variant"), [(0, HostVariant.BASE), (1, HostVariant.BASE), (2, HostVariant.MULTI_TENANT)]
)
def test_one_tenant_needs_no_tenant_column(tenants: int, variant: HostVariant) -> None:
    assert find_several_tenants(tenants, variant) == []


def test_several_tenants_without_a_tenant_column_are_refused_by_number_and_column() -> None:
    (finding,) = find_several_tenants(2, HostVariant.BASE)
    assert finding.severity is FindingSeverity.ERROR
    assert finding.text.startswith("ホストに 2 テナントありますが")
    assert '"MST_Employee"."tenant_id" がありません' in finding.text


def test_the_contract_lists_exactly_the_columns_that_the_views_use(deployed: psycopg.Connection) -> None:
    used = set(
        deployed.execute(
            """
            SELECT host.relname, attname
            FROM pg_class AS view
            INNER JOIN pg_rewrite ON ev_class = view.oid
            INNER JOIN pg_depend ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid
            INNER JOIN pg_class AS host ON refclassid = 'pg_class'::regclass AND refobjid = host.oid
            INNER JOIN pg_attribute ON attrelid = host.oid AND attnum = refobjsubid
            WHERE view.relnamespace = 'batch'::regnamespace AND host.relnamespace = 'public'::regnamespace
            """
        )
    )

    assert used == _contract_columns(HostVariant.MULTI_TENANT)


@pytest.mark.parametrize("variant", HostVariant)
def test_the_views_owner_holds_exactly_the_contracts_privileges_on_the_host(
    variant: HostVariant, request: pytest.FixtureRequest
) -> None:
    deployed: Database = request.getfixturevalue(
        "database" if variant is HostVariant.MULTI_TENANT else "base_database"
    )
    with deployed.connect() as connection:
        # Column privileges from any source: the role's or PUBLIC's, on the column or on the table.
        held = set(
            connection.execute(
                """
                SELECT relname, attname, privilege
                FROM pg_class AS relation
                INNER JOIN pg_attribute AS attribute ON attrelid = relation.oid
                CROSS JOIN unnest('{SELECT,INSERT,UPDATE,REFERENCES}'::text[]) AS privilege
                WHERE
                    relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
                    AND has_column_privilege('batch_owner', relation.oid, attnum, privilege)
                """
            )
        )
        of_whole_tables = connection.execute(
            """
            SELECT relname, privilege
            FROM pg_class AS relation
            CROSS JOIN unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) AS privilege
            WHERE
                relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
                AND has_table_privilege('batch_owner', relation.oid, privilege)
            """
        ).fetchall()

    assert held == {
        (table.name, column, privilege)
        for table in load_contract()
        for column in table.columns_of(variant)
        for privilege in table.privileges
        if privilege != "DELETE"
    }
    # A DELETE on a row deletes all its columns.
    assert sorted(of_whole_tables) == sorted(
        (table.name, "DELETE") for table in load_contract() if "DELETE" in table.privileges
    )


def _contract_columns(variant: HostVariant) -> set[tuple[str, str]]:
    return {(table.name, column) for table in load_contract() for column in table.columns_of(variant)}
