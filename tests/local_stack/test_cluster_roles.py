"""A server with another owner: its roles do not change."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from include.skillreport.core.errors import BatchError
from include.skillreport.schema.host_contract import HostVariant
from local_stack.cluster_roles import BATCH_ROLES, ForeignRolesError, claim_roles
from local_stack.generator import DEMO_SHAPE
from local_stack.host_fixture import create_host_schema
from local_stack.postgres_server import EmbeddedPostgres
from local_stack.stack import EXTERNAL_DATABASE, LocalStack

ROLES = "SELECT rolname, rolpassword, rolbypassrls, rolcreatedb, rolcanlogin FROM pg_authid WHERE rolname LIKE 'batch%' ORDER BY 1"


@pytest.fixture(scope="module")
def somebodys_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A separate server, because roles belong to a whole server."""
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("theirs"), durable=False)
    postgres.start()
    try:
        yield postgres
    finally:
        postgres.reset()


@pytest.fixture
def admin(somebodys_server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    """Its superuser; the test's roles go afterwards."""
    with psycopg.connect(somebodys_server.admin_dsn(), autocommit=True) as connection:
        yield connection
        connection.execute("DROP SCHEMA IF EXISTS public, batch CASCADE; CREATE SCHEMA public")
        connection.execute("GRANT USAGE ON SCHEMA public TO public")  # as in a new database
        for role, *_ in connection.execute(ROLES).fetchall():
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.fixture
def stack(somebodys_server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStack:
    """The local stack, configured for that server."""
    monkeypatch.setenv(EXTERNAL_DATABASE, somebodys_server.admin_dsn())
    return LocalStack(tmp_path)


@pytest.mark.parametrize("role", ["batch_owner", "batch_tenant", "batch_platform", "batch_backup"])
def test_the_local_stack_refuses_a_server_with_foreign_roles(
    admin: psycopg.Connection, stack: LocalStack, role: str
) -> None:
    admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'of production'")
    before = admin.execute(ROLES).fetchall()

    with pytest.raises(
        ForeignRolesError, match=f"has the roles {role}, which were not made by the local stack"
    ):
        stack.deploy()

    assert admin.execute(ROLES).fetchall() == before
    assert admin.execute("""SELECT to_regclass('public."MST_Tenant"')""").fetchone() == (None,)


@pytest.mark.parametrize("has_used_the_server", [False, True])
def test_the_local_stack_refuses_an_application_that_it_did_not_make(
    admin: psycopg.Connection, stack: LocalStack, has_used_the_server: bool
) -> None:
    if has_used_the_server:
        claim_roles(admin, (*BATCH_ROLES, "batch_backup"), "the local stack")
    before = admin.execute(ROLES).fetchall()
    create_host_schema(admin, HostVariant.MULTI_TENANT)
    admin.execute('COMMENT ON TABLE "MST_Tenant" IS NULL')

    with pytest.raises(BatchError, match="holds an application's tables that the local stack has not made"):
        stack.deploy()

    assert admin.execute(ROLES).fetchall() == before
    assert admin.execute("SELECT to_regnamespace('batch')").fetchone() == (None,)


@pytest.mark.long
def test_demo_data_that_an_interrupt_left_incomplete_are_refused(
    stack: LocalStack, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second start does not repeat what belongs to the creation of the data, so its batches would fail later."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(LocalStack, "_close_days", interrupt)
        with pytest.raises(KeyboardInterrupt):
            stack.deploy()
    with pytest.raises(BatchError, match=r"demo data are incomplete, .* `make db-reset`"):
        stack.deploy()
    assert admin.execute("SELECT count(*) FROM batch.usage_day").fetchone() == (0,)


@pytest.mark.long
def test_a_second_first_start_waits_for_the_other(stack: LocalStack, admin: psycopg.Connection) -> None:
    with ThreadPoolExecutor() as threads:
        starts = [threads.submit(stack.deploy) for _ in range(2)]
    for each in starts:
        each.result()
    days = admin.execute("SELECT count(DISTINCT usage_date) FROM batch.usage_day").fetchone()
    assert days == (DEMO_SHAPE.days - 1,)


def test_who_made_the_roles_may_use_them_again_and_nobody_else(admin: psycopg.Connection) -> None:
    for names in (("batch_owner", "batch_tenant"), BATCH_ROLES, BATCH_ROLES):
        claim_roles(admin, names, "the tests")
    assert [name for name, *_ in admin.execute(ROLES)] == sorted(BATCH_ROLES)
    with pytest.raises(
        ForeignRolesError, match="batch_owner, batch_platform, batch_tenant, which were not made"
    ):
        claim_roles(admin, BATCH_ROLES, "the local stack")
