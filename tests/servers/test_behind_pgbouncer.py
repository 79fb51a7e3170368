"""The batches behind the real PgBouncer: session mode is accepted, transaction mode is refused by a sentence.

``make test-servers`` runs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from skill_batch.hooks.tenant_db import PlatformDbHook, TenantDbHook
from skill_batch.installation import AirflowInstallation as HooksOfAirflow
from include.skillreport.batches.data_backup.server import DatabaseServer
from include.skillreport.batches.tenant_usage import create_batch
from include.skillreport.core.catalog import (
    BATCHES,
    DATA_BACKUP,
    TENANT_USAGE,
)
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.errors import DatabaseUnavailableError, SchemaError, SettingsError
from include.skillreport.core.execution.flow import RunRequest, open_run
from include.skillreport.schema.checks.findings import FindingSeverity
from include.skillreport.schema.checks.report import check_database
from include.skillreport.schema.deploy import upgrade
from local_stack.batch_runs import LOCAL
from tests.airflow_installation import AirflowInstallation, environment_of
from tests.conftest import PASSWORDS, Database, Server, administer
from tests.failover_server import demote, promote, replicating_server
from tests.packaging.all_batches import demo_connections, run_batches
from tests.packaging.production import ProductionEnvironment
from tests.servers.pgbouncer import pgbouncer

pytestmark = pytest.mark.long

ROLES = ("batch_tenant", "batch_platform")
REQUEST = RunRequest("batch", "run", datetime(2026, 11, 1, 1, tzinfo=UTC), {})


@pytest.mark.parametrize("pool_mode", ["session", "transaction"])
def test_a_promoted_standby_is_usable_although_the_pooler_calls_it_a_standby(
    pool_mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = {"batch_tenant": "secret"}
    with replicating_server(tmp_path / "postgres", monkeypatch) as postgres:
        with psycopg.connect(postgres.admin_dsn()) as admin:
            admin.execute("CREATE ROLE batch_tenant LOGIN PASSWORD 'secret'")
        demote(postgres)
        server = Server(postgres.admin_dsn(), "127.0.0.1", postgres.port, postgres)
        with pgbouncer(server, pool_mode, login) as port, ThreadPoolExecutor(1) as threads:
            uri = f"postgres://batch_tenant:secret@127.0.0.1:{port}/postgres"
            monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_TENANT_DB", uri)
            with psycopg.connect(uri) as connection:
                assert connection.info.parameter_status("in_hot_standby") == "on"
            waiting = threads.submit(TenantDbHook().get_conn)
            promote(postgres)
            with waiting.result() as connection:
                connection.execute("CREATE TEMPORARY TABLE written (value integer)")
            with psycopg.connect(uri) as connection:
                assert connection.info.parameter_status("in_hot_standby") == "on"


@contextmanager
def connections_through(
    database: Database,
    pool_mode: str,
    monkeypatch: pytest.MonkeyPatch,
    passwords: dict[str, str],
    **further: int,
) -> Iterator[dict[str, str]]:
    """Airflow's connections, and the libpq strings by role. ``passwords`` has a login for each role, or one for both; ``further`` other
    settings of PgBouncer.
    """
    logins = list(passwords) if len(passwords) > 1 else [*passwords, *passwords]
    with pgbouncer(database.server, pool_mode, passwords, **further) as port:
        strings = {}
        for role, login in zip(ROLES, logins, strict=True):
            strings[role] = f"postgres://{login}:{passwords[login]}@127.0.0.1:{port}/{database.name}"
            monkeypatch.setenv(f"AIRFLOW_CONN_SKILL_{role.upper()}_DB", strings[role])
        yield strings


@pytest.fixture
def one_login(database: Database) -> Iterator[dict[str, str]]:
    """A login for both roles, with its password."""
    name = f"login_{os.urandom(4).hex()}"
    administer(
        database.server, "CREATE ROLE {} LOGIN PASSWORD 'login' IN ROLE batch_tenant, batch_platform", name
    )
    yield {name: "login"}
    administer(database.server, "DROP ROLE {}", name)


TWO_LOGINS = {role: PASSWORDS[role] for role in ROLES}


def test_session_mode_is_accepted_with_one_login_and_with_two(
    database: Database, one_login: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for passwords in (TWO_LOGINS, one_login):
        with connections_through(database, "session", monkeypatch, passwords) as strings:
            report = check_database(database.dsn, logins=strings)
            assert report.fits, report.as_text()
            open_run(TENANT_USAGE, create_batch(LOCAL), REQUEST, HooksOfAirflow())
    with database.connect() as owner:
        assert owner.execute("SELECT FROM batch.execution_log").rowcount == 2


@pytest.mark.usefixtures("impatient")
def test_a_full_pool_in_session_mode_is_not_called_transaction_mode(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connections_through(
        database, "session", monkeypatch, TWO_LOGINS, default_pool_size=1, query_wait_timeout=1
    ) as strings:
        report = check_database(database.dsn, logins=strings)
        errors = [each for each in report.findings if each.severity is FindingSeverity.ERROR]
        assert [each.code for each in errors] == ["no-connection", "no-connection"]
        assert "接続プーラーに空きがありません" in errors[0].text
        with pytest.raises(DatabaseUnavailableError, match="接続プーラーに空きがありません"):
            open_run(TENANT_USAGE, create_batch(LOCAL), REQUEST, HooksOfAirflow())


@pytest.mark.parametrize("pool_mode", ["transaction", "statement"])
def test_other_modes_are_refused_for_either_login(
    database: Database, pool_mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connections_through(database, pool_mode, monkeypatch, TWO_LOGINS) as strings:
        for role in ROLES:
            report = check_database(database.dsn, logins={role: strings[role]})
            (finding,) = [each for each in report.findings if each.code == "pooler"]
            assert f'ログイン "{role}" の接続プーラー' in finding.text
            assert "トランザクションモード" in finding.text
        for hook in (TenantDbHook(), PlatformDbHook()):
            with pytest.raises(SchemaError, match=rf"'{hook.get_conn_id()}' .*トランザクションモード"):
                hook.check_login()
        with pytest.raises(SchemaError, match="トランザクションモード"):
            open_run(TENANT_USAGE, create_batch(LOCAL), REQUEST, HooksOfAirflow())
    with database.connect() as owner:
        assert owner.execute("SELECT FROM batch.execution_log").rowcount == 0


def test_a_role_that_leaks_into_a_transaction_of_tenants_is_refused(
    database: Database, one_login: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        connections_through(database, "transaction", monkeypatch, one_login),
        TenantDbHook().connect() as tenants,
        PlatformDbHook().connect(),
    ):
        assert tenants.execute("SELECT current_user").fetchone() == ("batch_platform",)
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege, match="batch_platform"),
            tenant_transaction(tenants, ["A"]),
        ):
            tenants.execute("SELECT FROM batch.tenant_outcome")


@pytest.mark.parametrize("pool_mode", ["session", "transaction"])
def test_the_deployment_and_the_backup_ask_for_a_direct_connection(
    database: Database, pool_mode: str, one_login: dict[str, str]
) -> None:
    with pgbouncer(database.server, pool_mode, one_login) as port:
        ((login, password),) = one_login.items()
        dsn = make_conninfo(host="127.0.0.1", port=port, dbname=database.name, user=login, password=password)
        with pytest.raises(SchemaError, match=r"PgBouncer.*直接のホスト"):
            upgrade(dsn)
        with pytest.raises(SettingsError, match=r"'skill_batch_backup_db'.*PgBouncer.*直接のホスト"):
            DatabaseServer(dsn).check()


@pytest.mark.exclusive
def test_all_batches_but_the_backup_run_in_session_mode(
    database: Database, migrated_metadata: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with (
        demo_connections(database, tmp_path / "storage") as variables,
        connections_through(database, "session", monkeypatch, TWO_LOGINS) as strings,
    ):
        through_pooler = {f"AIRFLOW_CONN_SKILL_{role.upper()}_DB": string for role, string in strings.items()}
        airflow = AirflowInstallation(environment_of(home, migrated_metadata) | variables | through_pooler)
        batches = [batch for batch in BATCHES if batch != DATA_BACKUP]
        run_batches(ProductionEnvironment(Path(sys.prefix)), airflow, database, batches)
