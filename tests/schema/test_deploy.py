"""Deploying: idempotent, all or nothing, one deployer at a time, without a superuser, and with clear errors."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from include.skillreport.__main__ import main
from include.skillreport.core.errors import SchemaError
from include.skillreport.schema import deploy, later_indexes
from include.skillreport.schema.checks.report import check_database
from include.skillreport.schema.deploy import PLATFORM, TENANT, attach, detach, upgrade
from include.skillreport.schema.deployment_check import check_deployment
from include.skillreport.schema.host_contract import HostVariant
from include.skillreport.schema.revisions import head_revision
from local_stack.host_fixture import create_host_schema, migrate_to_multi_tenant
from local_stack.postgres_server import EmbeddedPostgres
from local_stack.stack import EXTERNAL_DATABASE, PROJECT
from tests.conftest import PASSWORDS, Database, Server, wait_for_blocked_statement
from tests.schema.catalogue import relations, rows_of, snapshot
from tests.schema.conftest import MakeHost, as_deployer, create_deployer
from tests.waiting import LIMIT_SECONDS
from tests.worlds import host_rows
from tests.worlds.planted_rows import plant
from tests.worlds.session_limits import limit_sessions

UPGRADE_COMMAND = "python -m include.skillreport upgrade"

# The batch roles exist and belong to another role (the superuser), unless a test says otherwise.
pytestmark = pytest.mark.usefixtures("templates")


# Idempotent ------------------------------------------------------------------------------------------------------------


def test_deploying_again_changes_neither_the_schema_nor_a_row(database: Database) -> None:
    with database.connect() as connection:
        for table in relations(connection, "r"):
            for tenant_id in ("A", "B"):
                if table not in ("alembic_version", "deployment"):
                    plant(connection, table, tenant_id)
        schema, rows = snapshot(connection), _rows(connection)
        assert all(rows.values())

        upgrade(database.dsn, passwords=PASSWORDS)

        assert snapshot(connection) == schema
        assert _rows(connection) == rows


def test_deploying_again_restores_views_and_revokes_excess_privileges(
    database: Database,
) -> None:
    with database.connect() as connection:
        views, privileges = relations(connection, "v"), _privileges_of_owner(connection)
        granted = snapshot(connection)["relations"]
        connection.execute("DROP VIEW batch.all_report, batch.tenant_usage")
        connection.execute("CREATE VIEW batch.of_other_code AS SELECT 1 AS one")
        connection.execute("GRANT SELECT ON batch.all_tenant TO batch_tenant, public")
        connection.execute('GRANT UPDATE ON "MST_Tenant" TO batch_owner')
        connection.execute('GRANT SELECT (tenant_id) ON "MST_Department" TO batch_owner')
        assert _privileges_of_owner(connection) > privileges

        upgrade(database.dsn)

        assert relations(connection, "v") == views
        assert _privileges_of_owner(connection) == privileges
        assert snapshot(connection)["relations"] == granted


# All or nothing --------------------------------------------------------------------------------------------------------


def test_a_host_that_lacks_a_column_is_left_exactly_as_it_was(host: Database) -> None:
    with host.connect() as connection:
        connection.execute('ALTER TABLE "SYS_SystemLog" DROP COLUMN request_url')
        before = snapshot(connection)

        with pytest.raises(SchemaError, match=r'"SYS_SystemLog"\."request_url" がない'):
            upgrade(host.dsn, passwords=PASSWORDS)

        assert snapshot(connection) == before


def test_limits_for_the_applications_sessions_do_not_end_a_deployment(host: Database) -> None:
    with host.connect() as connection:
        limit_sessions(connection)

    upgrade(host.dsn)

    assert check_database(host.dsn).fits


def test_a_failure_in_the_middle_of_a_migration_leaves_nothing_behind(host: Database) -> None:
    with host.connect() as connection:
        connection.execute(
            "CREATE SCHEMA batch"
        )  # it belongs to another role, so batch_owner must not create in it
        before = snapshot(connection)

        with pytest.raises(SchemaError, match=r"(schema|スキーマ) batch.*SQLSTATE 42501"):
            upgrade(host.dsn)

        assert snapshot(connection) == before


def test_a_host_before_its_multi_tenant_migration_may_hold_one_tenant_only(make_host: MakeHost) -> None:
    host = make_host(HostVariant.BASE)
    with host.connect() as connection:
        host_rows.tenant(connection, "T1")
        host_rows.tenant(connection, "T0", status="DELETED")
        assert upgrade(host.dsn) is HostVariant.BASE
        host_rows.tenant(connection, "T2")
        before = snapshot(connection)

        with pytest.raises(SchemaError, match=r'2 テナント.*"MST_Employee"\."tenant_id" がありません'):
            upgrade(host.dsn)

        assert snapshot(connection) == before


def test_a_foreign_view_on_a_batch_view_survives_an_upgrade(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("CREATE VIEW public.tenant_report AS SELECT tenant_code FROM batch.all_tenant")
        before = snapshot(connection)

        upgrade(database.dsn)

        assert snapshot(connection) == before


# One deployer at a time ------------------------------------------------------------------------------------------------


@pytest.mark.slow("runs sessions against each other")
def test_two_deployers_at_once_both_succeed_and_leave_one_schema(host: Database) -> None:
    together = threading.Barrier(2)

    def run() -> HostVariant:
        together.wait()
        return upgrade(host.dsn, passwords=PASSWORDS)

    with ThreadPoolExecutor() as threads:
        deployers = [threads.submit(run) for _ in range(2)]
        assert [deployer.result() for deployer in deployers] == [HostVariant.MULTI_TENANT] * 2

    with host.connect() as connection:
        check_deployment(connection)
        assert connection.execute("SELECT version_num FROM batch.alembic_version").fetchall() == [
            (head_revision(),)
        ]
        schema = snapshot(connection)
        upgrade(host.dsn)
        assert snapshot(connection) == schema


def test_a_deployment_waits_for_another_that_changes_the_same_role(host: Database, server: Server) -> None:
    with (
        ThreadPoolExecutor() as threads,
        psycopg.connect(server.dsn("postgres")) as other,
        host.connect() as connection,
    ):
        other.execute("ALTER ROLE batch_tenant LOGIN PASSWORD 'of the other deployment'")
        deployer = threads.submit(upgrade, host.dsn, passwords=PASSWORDS)
        wait_for_blocked_statement(host)
        other.commit()

        assert deployer.result() is HostVariant.MULTI_TENANT
        check_deployment(connection)


def test_a_deployer_that_waits_too_long_for_another_says_so(
    host: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "_LOCK_SECONDS", 0.05)
    with host.connect() as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [deploy._DEPLOY_LOCK])
        before = snapshot(connection)

        with pytest.raises(SchemaError, match=r"別のデプロイ.*0\.05 秒以上"):
            upgrade(host.dsn)

        assert snapshot(connection) == before


@pytest.mark.slow("waits for locks")
def test_a_deployer_that_waits_too_long_for_a_running_batch_says_so(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "_LOCK_SECONDS", 2)
    with task_session(database) as batch, batch.transaction():
        batch.execute("SELECT FROM batch.all_tenant")
        pid = batch.info.backend_pid
        named = re.escape(
            f"batch.all_tenant を占有している {TASK} ({batch.info.user}, pid {pid}) が終わるのを 2 秒"
        )

        with pytest.raises(SchemaError, match=f"^ビューの配置は、{named}"):
            upgrade(database.dsn)
        with pytest.raises(SchemaError, match=f"^ビューの削除は、{named}"):
            detach(database.dsn)


def test_a_deployer_that_waits_too_long_for_an_index_says_so(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """CREATE INDEX CONCURRENTLY waits for transactions that never used its table."""
    monkeypatch.setattr(deploy, "_LOCK_SECONDS", 2)
    index, statement = "backup_state", "CREATE INDEX CONCURRENTLY backup_state ON batch.backup (backup_id);"
    (tmp_path / "later_indexes.sql").write_text(statement, encoding="utf-8")
    monkeypatch.setattr(later_indexes, "FILE", tmp_path / "later_indexes.sql")
    with task_session(database) as batch, batch.transaction():
        batch.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        batch.execute("SELECT 1")

        with pytest.raises(
            SchemaError, match=rf"^索引 {index} の作成は、{re.escape(TASK)} \({batch.info.user}, "
        ):
            upgrade(database.dsn)


@pytest.mark.slow("kills processes")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_a_command_after_it_has_cleared_up(database: Database, number: signal.Signals) -> None:
    """The other end of a lost SSH session sends SIGHUP."""
    command = [sys.executable, "-m", "include.skillreport", "detach", "--dsn", database.dsn]
    with database.connect("batch_platform") as batch, batch.transaction():
        batch.execute("SELECT FROM batch.all_tenant")
        process = subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True)
        wait_for_blocked_statement(database)
        process.send_signal(number)
        _, said = process.communicate(timeout=LIMIT_SECONDS)

    assert process.returncode == 128 + number
    assert said.splitlines()[-1] == f"detach: シグナル {number.name} で中断し、途中のものを片付けました。"
    assert "Traceback" not in said


TASK = "batch_003_statistics scheduled__2026-11-01T17:00:00+00:00"


def task_session(database: Database) -> psycopg.Connection:
    """A session as the hooks of a task open it."""
    connection = database.connect("batch_platform")
    connection.execute("SELECT set_config('application_name', %s, false)", [TASK])
    return connection


# The check at the opening of a run ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["database", "base_database"])
def test_a_current_deployment_passes_the_check_of_a_run(variant: str, request: pytest.FixtureRequest) -> None:
    deployed: Database = request.getfixturevalue(variant)
    with deployed.connect(PLATFORM) as platform:
        check_deployment(platform)


def test_the_check_asks_for_a_deployment_where_there_is_none(host: Database) -> None:
    with (
        host.connect() as connection,
        pytest.raises(SchemaError, match=f"batch がありません.*{UPGRADE_COMMAND}"),
    ):
        check_deployment(connection)


def test_the_check_asks_for_a_deployment_when_no_trace_is_left(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("DELETE FROM batch.deployment")
    with (
        database.connect(PLATFORM) as platform,
        pytest.raises(SchemaError, match=f"版は なし .*{UPGRADE_COMMAND}"),
    ):
        check_deployment(platform)


def test_the_check_names_a_column_that_the_host_renamed_after_the_deployment(database: Database) -> None:
    with database.connect() as connection:
        connection.execute('ALTER TABLE "MST_Tenant" RENAME COLUMN status TO state')
    with (
        database.connect(PLATFORM) as platform,
        pytest.raises(SchemaError, match=r'"MST_Tenant"\."status" がない'),
    ):
        check_deployment(platform)


def test_after_the_hosts_multi_tenant_migration_an_upgrade_is_needed(
    base_database: Database,
) -> None:
    with base_database.connect() as host, base_database.connect(PLATFORM) as platform:
        host_rows.tenant(host, "T1")
        migrate_to_multi_tenant(host)
        host_rows.tenant(host, "T2")
        host_rows.user(host, "T2", "u2")

        with pytest.raises(SchemaError, match=f"base 版.*multi_tenant 版.*{UPGRADE_COMMAND}"):
            check_deployment(platform)

        assert upgrade(base_database.dsn) is HostVariant.MULTI_TENANT
        check_deployment(platform)
        assert platform.execute(
            "SELECT person_key, tenant_id FROM batch.all_person_key WHERE named_by = 'user_id'"
        ).fetchall() == [("u2", "T2")]


def test_the_check_refuses_a_second_tenant_before_the_hosts_migration(
    base_database: Database,
) -> None:
    with base_database.connect() as host, base_database.connect(PLATFORM) as platform:
        host_rows.tenant(host, "T1")
        host_rows.tenant(host, "T0", status="deleted")
        host_rows.tenant(host, "T00", is_deleted=True)
        check_deployment(platform)
        host_rows.tenant(host, "T2")

        with pytest.raises(SchemaError, match="2 テナント"):
            check_deployment(platform)


def test_the_check_refuses_row_level_security_that_hides_rows(
    database: Database,
) -> None:
    with database.connect() as host, database.connect(PLATFORM) as platform:
        host_rows.tenant(host, "T1")
        host.execute('ALTER TABLE "MST_UserAuth" ENABLE ROW LEVEL SECURITY')

        with pytest.raises(
            SchemaError, match=r'"MST_UserAuth" の行レベルセキュリティ.*ALTER ROLE batch_owner BYPASSRLS'
        ):
            check_deployment(platform)


def test_the_check_refuses_a_multi_tenant_migration_that_stopped_half_way(base_database: Database) -> None:
    with base_database.connect() as host, base_database.connect(PLATFORM) as platform:
        host.execute('ALTER TABLE "MST_UserAuth" ADD COLUMN tenant_id varchar(255)')

        with pytest.raises(SchemaError, match="マルチテナント移行が途中"):
            check_deployment(platform)


# Logging in ------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(EXTERNAL_DATABASE in os.environ, reason="an external server may trust its clients")
@pytest.mark.parametrize("role", [TENANT, PLATFORM])
def test_a_role_logs_in_over_tcp_with_its_password_only(database: Database, role: str) -> None:
    with psycopg.connect(database.airflow_connection(role)) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (role,)

    wrong = make_conninfo(database.airflow_connection(role), password="wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


@pytest.mark.skipif(EXTERNAL_DATABASE in os.environ, reason="an external server may trust its clients")
def test_a_new_password_replaces_the_old_one(database: Database) -> None:
    try:
        upgrade(database.dsn, passwords={TENANT: "a new ' \\ one"})
        psycopg.connect(make_conninfo(database.airflow_connection(TENANT), password="a new ' \\ one")).close()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(database.airflow_connection(TENANT))
    finally:
        upgrade(database.dsn, passwords=PASSWORDS)


# A managed server ------------------------------------------------------------------------------------------------------


def test_a_server_that_refuses_hashes_gets_advice_to_use_plain_passwords(
    database: Database,
) -> None:
    with database.connect() as connection:
        # As Neon does it: its control plane refuses the role when the transaction commits.
        connection.execute(
            """
            CREATE FUNCTION public.refuse_hash() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                RAISE internal_error USING MESSAGE =
                    'Received HTTP code 400 from control plane: {"error":"Neon only supports being given plaintext passwords"}';
            END $$;
            CREATE CONSTRAINT TRIGGER refuse_hash AFTER UPDATE ON batch.deployment
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.refuse_hash()
            """
        )
        before = snapshot(connection)

        with pytest.raises(SchemaError, match="upgrade --plain-passwords") as raised:
            upgrade(database.dsn, passwords={TENANT: "a secret"})

        assert "a secret" not in str(raised.value)
        assert snapshot(connection) == before


@pytest.mark.skipif(EXTERNAL_DATABASE in os.environ, reason="an external server may trust its clients")
def test_plain_passwords_are_hashed_by_the_server(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "a plain ' \\ one"
    with database.connect() as connection:
        # Only a password that the server hashes itself has this hash.
        connection.execute(
            sql.SQL("ALTER DATABASE {} SET scram_iterations = 4099").format(sql.Identifier(database.name))
            if connection.info.server_version >= 16_00_00
            else sql.SQL("ALTER DATABASE {} SET password_encryption = 'md5'").format(
                sql.Identifier(database.name)
            )
        )
        try:
            monkeypatch.setenv("SKILL_BATCH_TENANT_PASSWORD", secret)
            monkeypatch.setattr(
                sys,
                "argv",
                ["include.skillreport", "upgrade", "--dsn", database.dsn, "--plain-passwords"],
            )
            assert main() == 0

            stored = connection.execute(
                "SELECT rolpassword FROM pg_authid WHERE rolname = 'batch_tenant'"
            ).fetchone()
            assert stored
            assert stored[0].startswith(("SCRAM-SHA-256$4099:", "md5"))
            psycopg.connect(make_conninfo(database.airflow_connection(TENANT), password=secret)).close()
        finally:
            upgrade(database.dsn, passwords=PASSWORDS)


# Without a superuser ---------------------------------------------------------------------------------------------------


@pytest.mark.slow("deploys the schema as another login or by commands")
def test_the_owner_of_host_tables_deploys_with_createrole_alone(
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
            admin.execute("ALTER ROLE deployer NOCREATEROLE")
            with pytest.raises(
                SchemaError, match=r'"deployer" の権限が足りません: .*permission denied to create role'
            ):
                upgrade(dsn, passwords=PASSWORDS)
            admin.execute("ALTER ROLE deployer CREATEROLE")

        assert check_database(dsn, with_passwords=PASSWORDS).fits
        assert upgrade(dsn, passwords=PASSWORDS) is HostVariant.MULTI_TENANT
        assert check_database(dsn, with_passwords=PASSWORDS).fits
        with psycopg.connect(dsn) as connection:
            schema = snapshot(connection)
            connection.rollback()  # reading a view's definition locks the views under it
            upgrade(dsn)
            detach(dsn)
            attach(dsn)
            assert snapshot(connection) == schema
        login = make_conninfo(host="127.0.0.1", port=server.port, dbname="deployer", user=PLATFORM)
        with psycopg.connect(login, password=PASSWORDS[PLATFORM]) as platform:
            check_deployment(platform)
        upgrade(dsn, passwords={PLATFORM: "plain"}, plain_passwords=True)
        with psycopg.connect(login, password="plain") as platform:
            check_deployment(platform)
    finally:
        server.reset()


def test_a_deployer_without_the_roles_learns_the_missing_grant(server: Server, deployer: str) -> None:
    with psycopg.connect(server.dsn(deployer), autocommit=True) as admin:
        before = snapshot(admin)
        dsn = as_deployer(server.dsn(deployer), deployer)
        if admin.info.server_version < 160_000:
            # On this server CREATEROLE covers every role, whoever created it.
            assert upgrade(dsn, passwords=PASSWORDS) is HostVariant.MULTI_TENANT
            return

        with pytest.raises(SchemaError) as raised:
            upgrade(dsn, passwords=PASSWORDS)

        grant = (
            f'GRANT batch_owner, batch_tenant, batch_platform, batch_board TO "{deployer}" WITH ADMIN OPTION'
        )
        assert f'"{deployer}" の権限が足りません' in str(raised.value)
        assert f"`{grant}`" in str(raised.value)
        assert snapshot(admin) == before

        admin.execute(grant.encode())
        assert upgrade(dsn, passwords=PASSWORDS) is HostVariant.MULTI_TENANT


def test_a_member_of_batch_owner_deploys_without_createrole_and_passwords(
    server: Server, deployer: str
) -> None:
    with psycopg.connect(server.dsn(deployer), autocommit=True) as admin:
        admin.execute(sql.SQL("ALTER ROLE {} NOCREATEROLE").format(sql.Identifier(deployer)))
        admin.execute(sql.SQL("GRANT batch_owner TO {}").format(sql.Identifier(deployer)))
        dsn = as_deployer(server.dsn(deployer), deployer)

        assert upgrade(dsn) is HostVariant.MULTI_TENANT
        with pytest.raises(SchemaError, match=r"権限が足りません: .*SQLSTATE 42501"):
            upgrade(dsn, passwords=PASSWORDS)


@pytest.mark.parametrize(
    "privilege_without_grant_option", [None, "SELECT"], ids=["no privilege", "select only"]
)
def test_a_host_table_that_the_deployer_does_not_own_is_named(
    server: Server, deployer: str, privilege_without_grant_option: str | None
) -> None:
    with psycopg.connect(server.dsn(deployer), autocommit=True) as admin:
        admin.execute(sql.SQL("GRANT batch_owner TO {}").format(sql.Identifier(deployer)))
        admin.execute('ALTER TABLE "HIS_AuditLog" OWNER TO CURRENT_USER')
        if privilege_without_grant_option:
            admin.execute(sql.SQL('GRANT SELECT ON "HIS_AuditLog" TO {}').format(sql.Identifier(deployer)))
        before = snapshot(admin)

        with pytest.raises(SchemaError, match=r"権限が足りません: .*HIS_AuditLog"):
            upgrade(as_deployer(server.dsn(deployer), deployer))

        assert snapshot(admin) == before


def test_a_foreign_table_and_the_deployers_own_search_path_do_not_matter(
    server: Server, deployer: str
) -> None:
    with psycopg.connect(server.dsn(deployer), autocommit=True) as admin:
        admin.execute(sql.SQL("GRANT batch_owner TO {}").format(sql.Identifier(deployer)))
        admin.execute("CREATE TABLE public.spatial_ref_sys (srid integer)")
        admin.execute(sql.SQL("ALTER ROLE {} SET search_path TO elsewhere").format(sql.Identifier(deployer)))

        assert upgrade(as_deployer(server.dsn(deployer), deployer)) is HostVariant.MULTI_TENANT


# The command -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow("deploys the schema as another login or by commands")
def test_the_command_deploys_and_checks(host: Database) -> None:
    planned = _command("upgrade", "--plan", SKILL_BATCH_ADMIN_DSN=host.dsn)
    assert (planned.returncode, planned.stderr) == (0, "")
    assert planned.stdout.startswith("アプリケーションの型: multi_tenant\n作成するロール: ")

    done = _command("upgrade", SKILL_BATCH_ADMIN_DSN=host.dsn)
    assert done.returncode == 0
    # With the time and its zone.
    assert re.fullmatch(
        r"\S+ \+\d{4} ロールと表を配置しています。\n\S+ \+\d{4} ビューを配置しています。\n"
        r"(\S+ \+\d{4} 索引 \w+ を作成しています.*\n)+",
        done.stderr,
    )
    assert done.stdout == "スキーマ batch は最新です（アプリケーションの型: multi_tenant）。\n"

    done = _command("check", "--dsn", host.dsn)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith(
        "判定: 適合（ホストは multi_tenant 版、削除の権限なし、不適合 0 件"
    )


def test_the_command_says_in_one_sentence_that_the_server_is_down(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with _port_that_nobody_serves() as port:
        dsn = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
        monkeypatch.setattr(sys, "argv", ["include.skillreport", "upgrade", "--dsn", dsn])
        assert main() == 1

    said = capsys.readouterr()
    assert said.out == ""
    _assert_one_sentence(said.err, "upgrade", "Connection refused")


@pytest.mark.parametrize("action", ["upgrade", "attach"])
def test_the_command_says_in_one_line_what_the_host_lacks(
    database: Database, action: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with database.connect() as connection:
        connection.execute('ALTER TABLE "MST_Tenant" RENAME COLUMN status TO state')
    monkeypatch.setattr(sys, "argv", ["include.skillreport", action, "--dsn", database.dsn])

    assert main() == 1
    _assert_one_sentence(capsys.readouterr().err, action, '列 "MST_Tenant"."status" がない')


@pytest.mark.parametrize("action", ["upgrade", "detach", "attach"])
def test_the_command_says_in_one_sentence_that_the_connection_string_is_none(
    action: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["include.skillreport", action, "--dsn", "nonsense"])

    assert main() == 1
    _assert_one_sentence(capsys.readouterr().err, action, "接続文字列を読めません")


def test_the_command_without_a_connection_string_says_how_to_give_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SKILL_BATCH_ADMIN_DSN", raising=False)
    monkeypatch.setattr(sys, "argv", ["include.skillreport", "upgrade"])

    with pytest.raises(SystemExit, match="2"):
        main()
    assert "--dsn か環境変数 SKILL_BATCH_ADMIN_DSN で" in capsys.readouterr().err


# -----------------------------------------------------------------------------------------------------------------------


def _command(action: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "include.skillreport", action, *arguments],
        cwd=PROJECT,
        # Here is no Airflow to ask for paused DAGs.
        env={
            name: value
            for name, value in os.environ.items()
            if name not in ("SKILL_BATCH_ADMIN_DSN", "AIRFLOW_HOME")
        }
        | environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


def _assert_one_sentence(text: str, action: str, essential: str) -> None:
    assert text.startswith(f"{action}: ")
    assert text.count("\n") == 1
    assert essential in text


@contextmanager
def _port_that_nobody_serves() -> Iterator[int]:
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def _rows(connection: psycopg.Connection) -> dict[str, list[Any]]:
    """The rows of all tables of the batches, without the time of the deployment."""
    contents = {table: rows_of(connection, table) for table in relations(connection, "r")}
    for deployment in contents["deployment"]:
        del deployment["deployed_at"]
    return contents


def _privileges_of_owner(connection: psycopg.Connection) -> set[tuple[Any, ...]]:
    """The privileges of batch_owner on the host, by table and column."""
    return set(
        connection.execute(
            """
            SELECT table_name, column_name, privilege_type FROM information_schema.column_privileges
            WHERE grantee = 'batch_owner' AND table_schema = 'public'
            UNION ALL
            SELECT table_name, NULL, privilege_type FROM information_schema.table_privileges
            WHERE grantee = 'batch_owner' AND table_schema = 'public'
            """
        )
    )
