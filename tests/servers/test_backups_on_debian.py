"""Backups and all batches on Debian's PostgreSQL, with the clients that the images install: one of each major version."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from include.skillreport.batches.data_backup.database_dump import store_dump
from include.skillreport.batches.data_backup.files import DUMP_MANIFEST, Manifest, Packer
from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.batches.data_backup.restore import restore_database
from include.skillreport.batches.data_backup.server import DatabaseServer
from include.skillreport.batches.data_backup.snapshot import exported_snapshot
from include.skillreport.batches.data_backup.tables import list_tables, table_contents
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.postgres_programs import UnsuitableProgramsError, find_programs
from include.skillreport.schema.checks.report import check_database
from local_stack.cluster_roles import BATCH_ROLES, claim_roles
from local_stack.postgres_server import EmbeddedPostgres
from local_stack.stack import EXTERNAL_DATABASE, PROJECT, postgres_programs
from tests.conftest import Database, Server
from tests.servers.conftest import DebianServers
from tests.servers.debian_server import debian_server, programs_of

pytestmark = [pytest.mark.long, pytest.mark.timeout(3_000)]

MAJORS = (15, 17)
JAPANESE = "ja_JP.UTF-8"
BACKUP_TESTS = (
    "tests/batches/data_management/test_backup*.py",
    "tests/batches/data_management/test_database_*.py",
)
ALL_BATCHES = "tests/packaging/test_all_batches.py"


@pytest.mark.parametrize(("major", "messages"), [*((major, "") for major in MAJORS), (17, JAPANESE)])
def test_backups_work_on_debians_server(major: int, messages: str) -> None:
    files = [str(path) for pattern in BACKUP_TESTS for path in sorted(PROJECT.glob(pattern))]
    assert len(files) > 6
    run_tests(major, "-m", "not long", *files, messages=messages)


def test_messages_are_sent_on_the_oldest_server() -> None:
    """Its SQL knows less: before 17, nothing can be subtracted from an infinite time."""
    run_tests(min(MAJORS), "-m", "not long", "tests/messaging")


@pytest.mark.parametrize("major", MAJORS)
def test_all_batches_run_on_debians_server(major: int) -> None:
    run_tests(major, "-m", "long", ALL_BATCHES)


def run_tests(major: int, *arguments: str, messages: str = "") -> None:
    """Run tests in a process of their own on a new server of this version, with messages in this locale."""
    with debian_server(major, messages) as url:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=PROJECT,
            env=os.environ | {EXTERNAL_DATABASE: url},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-6_000:]


@pytest.mark.parametrize("major", MAJORS)
def test_the_servers_own_client_is_chosen_among_the_installed_ones(
    debian_servers: DebianServers, major: int
) -> None:
    debian_servers(major)
    assert find_programs("", major) == str(programs_of(major))
    assert find_programs(str(programs_of(max(MAJORS))), major) == str(programs_of(major))


def test_a_client_of_another_version_is_refused_before_anything_is_dumped(
    debian_servers: DebianServers,
) -> None:
    dsn, embedded = debian_servers(15).dsn("postgres"), str(EmbeddedPostgres.binary("pg_dump").parent)
    with pytest.raises(UnsuitableProgramsError, match="PostgreSQL 15 のクライアントを入れ") as refusal:
        DatabaseServer(dsn, embedded).check()
    findings = check_database(dsn, bin_dir=embedded).findings
    assert [each.text for each in findings if each.code == "pg-dump-version"] == [str(refusal.value)]


class Dump:
    """A dump of a database in a folder, with the contents of its tables."""

    def __init__(self, dsn: str, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        server = DatabaseServer(dsn, postgres_programs())
        self.packer = Packer(ObjectStore(folder / "store"), "backups/b")
        with server.connect() as connection, exported_snapshot(connection) as snapshot:
            files = store_dump(server, self.packer, snapshot, folder / "dump", jobs=2, waiting_bytes=1 << 20)
            self.tables = table_contents(connection, list_tables(connection))
        self.written = self.packer.write_manifest(Manifest({}, files, self.tables), DUMP_MANIFEST)

    def restore(self, target: Server, database: str) -> None:
        """Restore it, which compares all tables."""
        restore_database(
            DatabaseServer(target.dsn("postgres"), postgres_programs()),
            self.packer,
            database,
            2,
            sha256=self.written.sha256,
            with_owners=False,
        )


@pytest.fixture
def source(debian_servers: DebianServers, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database on the server of this version, with a table."""
    server, name = debian_servers(request.param), "source"
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with psycopg.connect(server.dsn(name)) as connection:
            connection.execute("CREATE TABLE t AS SELECT number FROM generate_series(1, 9) AS number")
        yield server.dsn(name)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def databases(server: Server) -> set[str]:
    with psycopg.connect(server.dsn("postgres")) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}


@pytest.mark.parametrize("source", [15], indirect=True)
def test_a_dump_of_an_older_version_is_restored_into_a_newer_one(
    source: str, debian_servers: DebianServers, server: Server, tmp_path: Path
) -> None:
    dump = Dump(source, tmp_path)
    assert [(each.name, each.rows) for each in dump.tables] == [("t", 9)]
    for newer in (debian_servers(17), server):
        dump.restore(newer, "restored_from_15")
        with psycopg.connect(newer.dsn("restored_from_15")) as connection:
            assert connection.execute("SELECT count(*) FROM t").fetchone() == (9,)
        DatabaseServer(newer.dsn("postgres")).drop("restored_from_15")


@pytest.mark.parametrize("source", [17], indirect=True)
def test_a_server_before_17_refuses_a_dump_of_a_newer_version(
    source: str, debian_servers: DebianServers, tmp_path: Path
) -> None:
    before = databases(debian_servers(15))
    with pytest.raises(
        BackupError, match=r"PostgreSQL 15 に使える pg_restore では読めません。.*サーバーに復元"
    ):
        Dump(source, tmp_path).restore(debian_servers(15), "restored")
    assert databases(debian_servers(15)) == before


@pytest.fixture
def with_roles() -> Iterator[Server]:
    """A server 17 with the roles that the policies of schema ``batch`` name."""
    with debian_server(17) as url:
        with psycopg.connect(url) as admin:
            claim_roles(admin, BATCH_ROLES, "the tests")
        yield Server(url, "127.0.0.1", urlsplit(url).port or 0)


def test_a_dump_of_18_restores_into_17_unless_17_lacks_something(
    database: Database, with_roles: Server, tmp_path: Path
) -> None:
    before = databases(with_roles)
    Dump(database.dsn, tmp_path / "all").restore(with_roles, "restored")
    assert databases(with_roles) == before | {"restored"}
    DatabaseServer(with_roles.dsn("postgres")).drop("restored")

    with database.connect() as host:
        host.execute("CREATE TABLE virtual (a integer, b integer GENERATED ALWAYS AS (a + 1) VIRTUAL)")
    with pytest.raises(BackupError, match=r"PostgreSQL 18 のもので、復元先の PostgreSQL 17 にない機能"):
        Dump(database.dsn, tmp_path / "new").restore(with_roles, "restored")
    assert databases(with_roles) == before
