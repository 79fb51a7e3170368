"""``detach`` takes the views away, so that the host can alter its columns, and ``attach`` brings them back."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from include.skillreport.core.errors import SchemaError
from include.skillreport.schema import deploy
from include.skillreport.schema.deploy import PLATFORM, attach, detach, upgrade
from include.skillreport.schema.deployment_check import check_deployment
from include.skillreport.schema.host_contract import HostVariant
from tests.conftest import Database
from tests.schema.catalogue import relations, snapshot
from tests.worlds import host_rows

# The statement that `prisma db push` sends when a field's type changes.
ALTER_COLUMN = 'ALTER TABLE "MST_Tenant" ALTER COLUMN tenant_name SET DATA TYPE varchar(200)'


@pytest.mark.slow("upgrades earlier schemas")
@pytest.mark.parametrize("fixture", ["database", "base_database"])
def test_a_detached_host_can_alter_a_column_that_views_use(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    deployed: Database = request.getfixturevalue(fixture)
    with deployed.connect() as host, deployed.connect(PLATFORM) as platform:
        host_rows.tenant(host, "T1", tenant_name="㈱T1")
        with pytest.raises(psycopg.errors.FeatureNotSupported, match=r'_RETURN.*"tenant_name"'):
            host.execute(ALTER_COLUMN)
        before = snapshot(host)

        detach(deployed.dsn)
        detach(deployed.dsn)  # again: nothing is left to drop
        assert relations(host, "v") == []
        host.execute(ALTER_COLUMN)
        with pytest.raises(SchemaError, match=r"detach で取り外され.*include\.skillreport attach"):
            check_deployment(platform)

        variant = attach(deployed.dsn)
        assert attach(deployed.dsn) is variant
        check_deployment(platform)
        assert platform.execute("SELECT tenant_name FROM batch.all_tenant").fetchall() == [("㈱T1",)]
        after = snapshot(host)
    # Views, privileges, owners, policies: only the altered column differs.
    assert [name for name in before if before[name] != after[name]] == ["relations", "columns"]
    assert [row[:-1] for row in before["relations"]] == [row[:-1] for row in after["relations"]]


def test_attach_grants_the_privileges_on_a_table_that_the_host_created_anew(database: Database) -> None:
    with database.connect() as host:
        before = _relation(host, '"SYS_TokenStore"')
        detach(database.dsn)
        host.execute('CREATE TABLE anew (LIKE "SYS_TokenStore" INCLUDING ALL)')
        host.execute('DROP TABLE "SYS_TokenStore"')
        host.execute('ALTER TABLE anew RENAME TO "SYS_TokenStore"')

        attach(database.dsn)

        assert _relation(host, '"SYS_TokenStore"') == before


def test_attach_lets_the_views_use_a_schema_public_made_anew(database: Database) -> None:
    with database.connect() as host, database.connect(PLATFORM) as platform:
        host_rows.tenant(host, "T1")
        detach(database.dsn)
        # What `prisma db push --force-reset` leaves.
        host.execute("REVOKE USAGE ON SCHEMA public FROM public")

        attach(database.dsn)

        assert platform.execute("SELECT tenant_id FROM batch.all_tenant").fetchall() == [("T1",)]


def test_upgrade_attaches_too(database: Database) -> None:
    with database.connect() as host:
        before = snapshot(host)
        detach(database.dsn)
        upgrade(database.dsn)
        assert snapshot(host) == before


def test_attach_refuses_a_host_without_a_column_and_names_the_order(
    database: Database,
) -> None:
    detach(database.dsn)
    with database.connect() as host:
        host.execute('ALTER TABLE "MST_Tenant" DROP COLUMN status')
        before = snapshot(host)

        with pytest.raises(
            SchemaError, match=r'"MST_Tenant"\."status" がない.*detach、prisma db push、attach の順'
        ):
            attach(database.dsn)

        assert snapshot(host) == before


def test_after_the_multi_tenant_migration_attach_makes_the_other_views(base_database: Database) -> None:
    detach(base_database.dsn)
    with base_database.connect() as host, base_database.connect(PLATFORM) as platform:
        for table in ("MST_Employee", "MST_Department", "MST_UserAuth"):
            host.execute(f'ALTER TABLE "{table}" ADD COLUMN tenant_id varchar(255)')

        # This host does not have tenant_status, which the views use only if it exists.
        assert attach(base_database.dsn) is HostVariant.MULTI_TENANT
        check_deployment(platform)
        assert platform.execute("SELECT * FROM batch.all_differing_status").fetchall() == []


@pytest.mark.usefixtures("templates")
@pytest.mark.parametrize("command", [detach, attach])
def test_a_database_without_our_schema_is_named_as_such(
    host: Database, command: Callable[[str], object]
) -> None:
    with pytest.raises(SchemaError, match="スキーマ batch がありません"):
        command(host.dsn)


def test_a_foreign_view_on_a_batch_view_stays_and_keeps_it(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("CREATE VIEW public.tenant_report AS SELECT tenant_code FROM batch.all_tenant")
        before = snapshot(connection)

        with pytest.raises(
            SchemaError, match=r"(view |ビュー)tenant_report.*(view |ビュー)batch\.all_tenant"
        ):
            detach(database.dsn)

        assert snapshot(connection) == before


@pytest.mark.parametrize("command", [detach, attach])
def test_it_waits_for_another_deployment(
    database: Database, command: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "_LOCK_SECONDS", 0.05)
    with database.connect() as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [deploy._DEPLOY_LOCK])
        with pytest.raises(SchemaError, match=r"別のデプロイ.*0\.05 秒以上"):
            command(database.dsn)


def _relation(connection: psycopg.Connection, name: str) -> list[tuple[object, ...]]:
    """A relation and its columns, with owner and privileges."""
    found = snapshot(connection)
    return [row for part in ("relations", "columns") for row in found[part] if row[0] == name]
