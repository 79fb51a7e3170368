"""A migration at the same time as BATCH-001: no false damage, no lasting error, and the migration does not wait for long."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from include.skillreport.batches.data_backup import server as server_module
from include.skillreport.batches.data_backup.access import BackupAccess
from include.skillreport.batches.data_backup.batch import DataBackupBatch
from include.skillreport.batches.data_backup.database_dump import store_dump
from include.skillreport.batches.data_backup.files import Packer
from include.skillreport.batches.data_backup.postgres_tools import SchemaChangingError
from include.skillreport.batches.data_backup.server import DatabaseServer
from include.skillreport.batches.data_backup.snapshot import contents_until_awaited, exported_snapshot
from include.skillreport.batches.data_backup.tables import list_tables, table_sizes
from include.skillreport.core.errors import is_recoverable
from include.skillreport.core.execution.batch import Work
from include.skillreport.core.execution.object_store import ObjectStore
from local_stack.data_management import create_backup_login
from tests.conftest import Database, wait_for_blocked_statement
from tests.waiting import wait_until
from tests.worlds.backup_stages import backups
from tests.worlds.backups import ADD_COLUMN, BIN, Backups, Migration, login, migration_after_pg_dump

__all__ = ["backups"]


def is_reading(database: Database) -> bool:
    with database.connect() as connection:
        return (
            connection.execute(
                """
            SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND state = 'active' AND query LIKE '%%hashtextextended%%'
                AND pid <> pg_backend_pid()
            """
            ).rowcount
            > 0
        )


@contextmanager
def altering(database: Database, statement: str = ADD_COLUMN) -> Iterator[psycopg.Connection]:
    """A migration that has altered a table and is not committed."""
    with database.connect() as connection, connection.transaction():
        connection.execute(statement.encode())
        yield connection


@pytest.mark.slow("changes the schema during a backup")
def test_a_column_that_is_added_during_the_dump_is_no_damage(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The migration comes when pg_dump has ended, and waits until the contents are recorded."""
    migration = migration_after_pg_dump(backups.database, monkeypatch)
    run, _ = backups.open()
    backups.first_steps(run)
    migration.join()


@pytest.mark.slow("changes the schema during a backup")
def test_a_lock_that_pg_dump_does_not_get_is_recoverable(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The migration comes before a process of pg_dump begins with the table. The next attempt succeeds."""
    migration = Migration(backups.database, "ALTER TABLE batch.backup ADD COLUMN remark text")
    pg_dump = DatabaseServer.dump

    def migrate_meanwhile(
        server: DatabaseServer, snapshot: str, folder: Path, jobs: int
    ) -> Generator[Path | None, None, None]:
        first_tables = iter(pg_dump(server, snapshot, folder, jobs))
        yield next(path for path in first_tables if path)
        migration.start()
        yield from first_tables

    run, _ = backups.open()
    with monkeypatch.context() as patched:
        patched.setattr(DatabaseServer, "dump", migrate_meanwhile)
        with pytest.raises(SchemaChangingError, match="移行など") as refusal:
            backups.first_steps(run)
    migration.join()

    assert is_recoverable(refusal.value)
    with backups.database.connect("batch_platform") as platform:
        backups.batch().dump(Work(run, platform, store=backups.store))


@pytest.fixture
def small(database: Database) -> Iterator[DatabaseServer]:
    """The server with a login that cannot choose the language of the server's messages."""
    role = f"small_{os.urandom(4).hex()}"
    with database.connect() as host:
        create_backup_login(host, {"login": role, "password": "test-backup"})
        yield DatabaseServer(login(database, role, "test-backup"), BIN)
        host.execute(f"DROP OWNED BY {role}".encode())
        host.execute(f"DROP ROLE {role}".encode())


def test_an_object_that_is_dropped_during_the_dump_is_recoverable(
    database: Database, small: DatabaseServer, tmp_path: Path
) -> None:
    packer = Packer(ObjectStore(tmp_path / "store"), "backups/b")
    with database.connect() as host:
        host.execute("CREATE VIEW public.gone AS SELECT 1 AS one")
        host.execute("CREATE FUNCTION public.gone() RETURNS integer LANGUAGE sql RETURN 1")
        with small.connect() as connection, exported_snapshot(connection) as snapshot:
            host.execute("DROP VIEW public.gone")
            host.execute("DROP FUNCTION public.gone()")
            with pytest.raises(SchemaChangingError, match="移行など"):
                store_dump(small, packer, snapshot, tmp_path / "dump", jobs=2, waiting_bytes=1)


def test_pg_dump_does_not_wait_behind_a_migration(
    database: Database, small: DatabaseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The migration comes between the snapshot and pg_dump: it waits for the snapshot, and pg_dump waits for it."""
    monkeypatch.setattr(server_module, "_LOCK_WAIT_MILLISECONDS", 100)
    server, migration = small, Migration(database, ADD_COLUMN)
    packer = Packer(ObjectStore(tmp_path / "store"), "backups/b")
    with server.connect() as connection, exported_snapshot(connection) as snapshot:
        migration.start()
        assert not migration.is_done
        with pytest.raises(SchemaChangingError, match="Query was: LOCK TABLE"):
            store_dump(server, packer, snapshot, tmp_path / "dump", jobs=2, waiting_bytes=1)
    migration.join()


def test_a_snapshot_gives_up_on_a_locked_table_and_names_it(database: Database) -> None:
    server = DatabaseServer(database.dsn, BIN)
    with altering(database), server.connect() as connection:
        with (
            pytest.raises(SchemaChangingError, match='（"MST_Employee"）') as refusal,
            exported_snapshot(connection, attempts=1),
        ):
            pass
        with pytest.raises(psycopg.errors.LockNotAvailable) as locked:
            server.sizes(lock_wait=timedelta(milliseconds=1))
    assert is_recoverable(refusal.value)
    assert is_recoverable(locked.value)
    with server.connect() as connection, exported_snapshot(connection, attempts=1) as snapshot:
        assert snapshot


def test_a_table_created_before_the_snapshot_is_locked_by_the_retry(database: Database) -> None:
    """The first attempt waits for a lock while the migration creates another table and ends."""
    server, drop = DatabaseServer(database.dsn, BIN), Migration(database, "DROP TABLE appeared")
    with server.connect() as connection, ExitStack() as stack:
        taking = threading.Thread(target=stack.enter_context, args=[exported_snapshot(connection)])
        with altering(database) as migration:
            taking.start()
            wait_for_blocked_statement(database)
            migration.execute("CREATE TABLE appeared AS SELECT 1 AS one")
        taking.join()
        assert "appeared" in [table.name for table in list_tables(connection)]
        drop.start()
        assert not drop.is_done
    drop.join()


def test_a_table_that_is_dropped_meanwhile_has_no_size(database: Database) -> None:
    with database.connect() as host, database.connect() as connection:
        host.execute("CREATE TABLE vanishing AS SELECT 1 AS one")
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            connection.execute("SELECT 1")
            host.execute("DROP TABLE vanishing")
            sizes = table_sizes(connection)
    assert [table for table in sizes if table.bytes is None] == []
    assert "vanishing" not in [table.name for table in sizes]
    assert len(sizes) > 50


@pytest.mark.slow("changes the schema during a backup")
def test_a_migration_that_waits_ends_the_recording_of_the_contents(database: Database) -> None:
    """The tables before are recorded. The wide rows take longer than the watch needs."""
    with database.connect() as host:
        host.execute("CREATE TABLE public.aa_first AS SELECT 1 AS one")
        host.execute("CREATE TABLE public.zz_last AS SELECT 1 AS one")
        host.execute("CREATE TABLE public.slow AS SELECT repeat('x', 20000000) AS filler")
        for _ in range(7):
            host.execute("INSERT INTO public.slow TABLE public.slow")
    server, migration = DatabaseServer(database.dsn, BIN), Migration(database, ADD_COLUMN)

    def migrate_while_reading() -> None:
        wait_until(lambda: is_reading(database), "the contents are being read")
        migration.start()

    with server.connect() as connection, exported_snapshot(connection):
        tables = [each for each in list_tables(connection) if each.name in ("aa_first", "slow", "zz_last")]
        everything = {(each.schema, each.name) for each in tables}
        waiting = threading.Thread(target=migrate_while_reading)
        waiting.start()
        contents = contents_until_awaited(
            connection, server.connect, tables, hashed=everything, patience=timedelta(0)
        )
        waiting.join()
    migration.join()
    assert [content.name for content in contents] == ["aa_first"]


@pytest.mark.slow("changes the schema during a backup")
def test_a_backup_that_gives_way_names_the_tables_that_are_not_verified(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    migration = migration_after_pg_dump(backups.database, monkeypatch)
    run, tenant_ids = backups.open()
    impatient = DataBackupBatch(BackupAccess(backups.settings, backups.installation), patience=timedelta(0))
    with backups.database.connect("batch_platform") as platform:
        impatient.dump(Work(run, platform, store=backups.store))
        migration.join()
        impatient.check(Work(run, platform, store=backups.store))
    assert backups.tenants_step(run, tenant_ids).failures == []
    result = backups.close(run)

    assert result.status == "partial"
    (problem,) = result.problems
    assert "表（batch." in problem.text
    assert problem.text.endswith("中身を照合していません")
    assert problem.code == "TABLES_UNVERIFIED"
    (folder,) = (backups.root / "backups").iterdir()
    about = json.loads((folder / "manifest.json").read_text())["about"]
    assert "public.MST_Employee" in about["compared"]["unverified"]
    assert about["compared"]["bytes"] == 0
