"""Taking and restoring backups in tests: real pg_dump, real databases, real files; only Airflow is missing."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from include.skillreport.batches.data_backup.access import BackupAccess
from include.skillreport.batches.data_backup.batch import DataBackupBatch
from include.skillreport.batches.data_backup.files import Packer
from include.skillreport.batches.data_backup.mac import MAC_CONNECTION, MacKeys
from include.skillreport.batches.data_backup.ownership import find_owners, tenant_contents
from include.skillreport.batches.data_backup.restore import TenantRestore, restore_one_tenant
from include.skillreport.batches.data_backup.server import CONNECTION, DatabaseServer
from include.skillreport.batches.data_backup.settings import BackupSettings
from include.skillreport.batches.data_backup.tables import list_tables, table_contents
from include.skillreport.batches.data_backup.tenant_export import restored_schema
from include.skillreport.core.catalog import DATA_BACKUP
from include.skillreport.core.execution.batch import Run, Work
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import RunResult, close_execution
from include.skillreport.core.operation_catalog import RESTORE_BACKUP
from include.skillreport.core.postgres_programs import BIN_VARIABLE, find_programs
from include.skillreport.operations.restore_backup.batch import BackupRestore
from local_stack.batch_runs import LocalInstallation, open_run, process_tenants, run_batch
from local_stack.stack import EXTERNAL_DATABASE, postgres_programs
from tests.conftest import Database
from tests.waiting import wait_until
from tests.worlds import host_rows
from tests.worlds.shared_database import lending_copy

TODAY = date(2026, 11, 1)
HOSTILE = "../../etc"
MAC_KEY = "the key of the tests, which is long enough".replace(" ", "-")

ADD_COLUMN = 'ALTER TABLE "MST_Employee" ADD COLUMN nickname text'


def _server_version() -> int:
    """The major version of the tests' server."""
    external = os.environ.get(EXTERNAL_DATABASE)
    if not external:
        return 18
    with psycopg.connect(external) as connection:
        return connection.info.server_version // 10_000


# The programs that fit the tests' server.
BIN = find_programs(postgres_programs(), _server_version())


def programs(folder: Path, pg_dump: str, version: str = f"exec {BIN}/pg_dump --version") -> str:
    """A folder whose ``pg_dump`` is this shell script; ``version`` is the script of ``--version``."""
    folder.mkdir(exist_ok=True)
    scripts = {
        "pg_dump": f'if [ "$1" = --version ]; then {version}; else\n{pg_dump}\nfi',
        "pg_restore": f'if [ "$1" = --version ]; then {version}; else exec {BIN}/pg_restore "$@"; fi',
    }
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def blocked_programs(folder: Path) -> Path:
    """A folder with programs. Its pg_restore does not end after its work, as long as there is a file ``blocked`` in the folder."""
    folder.mkdir()
    (folder / "blocked").touch()
    (folder / "pg_dump").symlink_to(f"{BIN}/pg_dump")
    (folder / "pg_restore").write_text(
        f'#!/bin/sh\n{BIN}/pg_restore "$@" || exit 1\n'
        f'case "$1" in --exit-on-error) while [ -e {folder}/blocked ]; do sleep 0.1; done ;; esac\n'
    )
    (folder / "pg_restore").chmod(0o755)
    return folder


@dataclass
class Backups:
    """BATCH-001 on one test's database and folder."""

    database: Database
    root: Path
    settings: BackupSettings = field(default_factory=lambda: BackupSettings.load())
    secrets: dict[str, str] = field(default_factory=dict)
    bin_dir: str = BIN
    dsn: str = ""
    # The keys of the MACs, separated by spaces.
    mac: str = MAC_KEY

    @contextmanager
    def copied(self, folder: Path, test: str) -> Iterator[Backups]:
        """A copy of the database and of the store, for one test."""
        with lending_copy(self.database, test) as copy:
            if self.root.exists():
                shutil.copytree(self.root, folder)
                with copy.connect() as connection:
                    connection.execute(
                        "UPDATE batch.backup SET location = replace(location, %s, %s)",
                        [str(self.root), str(folder)],
                    )
            yield replace(self, database=copy, root=folder, secrets={})

    @property
    def installation(self) -> LocalInstallation:
        return LocalInstallation(
            object_store=self.store,
            databases={CONNECTION: self.dsn or self.database.dsn},
            secrets=self.secrets | {MAC_CONNECTION: self.mac},
            variables={BIN_VARIABLE: self.bin_dir},
        )

    @property
    def store(self) -> ObjectStore:
        return ObjectStore(self.root)

    @property
    def server(self) -> DatabaseServer:
        return DatabaseServer(self.dsn or self.database.dsn, self.bin_dir)

    def batch(self) -> DataBackupBatch:
        return DataBackupBatch(BackupAccess(self.settings, self.installation))

    def packer(self, backup_id: str) -> Packer:
        return Packer(self.store, f"backups/{backup_id}", identity=self.secrets.get("skill_batch_backup_key"))

    @property
    def mac_keys(self) -> MacKeys:
        return MacKeys(self.mac.split())

    def recorded(self, column: str, backup_id: str) -> str:
        """The value that the ledger has."""
        query = sql.SQL("SELECT {} FROM batch.backup WHERE backup_id = %s").format(sql.Identifier(column))
        with self.database.connect() as connection:
            (value,) = connection.execute(query, [backup_id]).fetchone() or ("",)
        return str(value)

    def restore_tenant(
        self, connection: psycopg.Connection, backup_id: str, tenant_id: str, *, merged: bool = False
    ) -> TenantRestore:
        """``restore_one_tenant`` from a backup of the ledger."""
        return restore_one_tenant(
            connection,
            self.packer(backup_id),
            tenant_id,
            manifest_sha256=self.recorded("manifest_sha256", backup_id),
            keys=self.mac_keys,
            merged=merged,
        )

    def open(
        self, day: date = TODAY, *, codes: tuple[str, ...] = (), dry_run: bool = False, **parameters: Any
    ) -> tuple[Run, list[str]]:
        with self.database.connect("batch_platform") as platform:
            return open_run(
                platform, DATA_BACKUP, self.batch(), day, codes=codes, parameters=parameters, dry_run=dry_run
            )

    def first_steps(self, run: Run, store: ObjectStore | None = None) -> None:
        """``dump`` and ``check``."""
        store = None if run.dry_run else store or self.store
        with self.database.connect("batch_platform") as platform:
            self.batch().dump(Work(run, platform, store=store))
            self.batch().check(Work(run, platform, store=store))

    def tenants_step(self, run: Run, tenant_ids: list[str]) -> Any:
        with (
            self.database.working() as (platform, connection),
        ):
            return process_tenants(connection, platform, self.batch(), run, tenant_ids, self.store)

    def close(self, run: Run) -> RunResult:
        with self.database.connect("batch_platform") as platform:
            try:
                if not run.dry_run:
                    self.batch().finish(Work(run, platform, store=self.store))
            finally:
                result = close_execution(platform, run)
                self.batch().discard(Work(run, platform))
        return result

    def restore(
        self, operation: str, *codes: str, dry_run: bool = False, **values: Any
    ) -> tuple[RunResult, dict[str, dict[str, Any]]]:
        """A whole run of RESTORE-BACKUP; returns it with the details of its tenants, or of the database."""
        batch = BackupRestore(BackupAccess(self.settings, self.installation))
        only_looks = operation in ("compare", "list_deleted_rows")
        form = {"operation": operation, **({} if only_looks else {"reason": "誤った変更"}), **values}
        with self.database.connect("batch_platform") as platform:
            result = run_batch(
                platform,
                platform,
                RESTORE_BACKUP,
                batch,
                TODAY,
                codes=codes,
                parameters=form,
                dry_run=dry_run,
            )
            details = platform.execute(
                "SELECT tenant_id, details FROM batch.tenant_outcome WHERE execution_id = %s",
                [result.execution_id],
            ).fetchall()
        return result, dict(details)

    def logged_reason(self, result: RunResult) -> str | None:
        """Why a person started the run, as the execution log has it."""
        with self.database.connect() as connection:
            row = connection.execute(
                "SELECT parameters ->> 'reason' FROM batch.execution_log WHERE execution_id = %s",
                [result.execution_id],
            ).fetchone()
        assert row is not None
        return row[0]  # type: ignore[no-any-return]

    @property
    def newest(self) -> str:
        """The id of the newest backup of the store."""
        return max(self.store.names("backups"))

    def take(self, day: date = TODAY, **parameters: Any) -> str:
        """A whole run; returns the backup's id."""
        run, tenant_ids = self.open(day, **parameters)
        self.first_steps(run)
        report = self.tenants_step(run, tenant_ids)
        assert report.failures == []
        assert self.close(run).status == "completed"
        with self.database.connect() as connection:
            row = connection.execute(
                "SELECT backup_id FROM batch.backup WHERE execution_id = %s", [run.execution_id]
            ).fetchone()
        assert row is not None
        return str(row[0])


def login(database: Database, role: str, password: str) -> str:
    """The connection string of a login that may come over TCP."""
    return make_conninfo(
        host=database.server.host,
        port=database.server.port,
        dbname=database.name,
        user=role,
        password=password,
    )


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def of_tenant(
    database: Database, tenant_id: str, schema: str = "public"
) -> dict[str, tuple[int, str | None]]:
    """Rows and hash of each of the tenant's tables of the host."""
    with database.connect() as connection:
        connection.execute("SET timezone = UTC")
        with connection.transaction():
            tables = [owned for owned in find_owners(connection) if owned.table.schema == schema]
            return {
                content.name: (content.rows, content.content_hash)
                for _, content in tenant_contents(connection, tables, tenant_id)
            }


def of_restored(database: Database, tenant_id: str) -> dict[str, tuple[int, str | None]]:
    """The same values of the restored host tables."""
    with database.connect() as connection:
        connection.execute("SET timezone = UTC")
        tables = [
            table
            for table in list_tables(connection)
            if table.schema == restored_schema(tenant_id) and not table.name.startswith("batch.")
        ]
        return {table.name: (table.rows, table.content_hash) for table in table_contents(connection, tables)}


def planted(database: Database, root: Path) -> Backups:
    """Two tenants with people, settings and requests, one of them with a name that would lead to another folder; and a tenant that has
    left.
    """
    with database.connect() as host:
        host.execute(
            """
            ALTER TABLE "MST_Employee" ADD COLUMN code_length integer GENERATED ALWAYS AS (length(employee_code)) STORED;
            ALTER TABLE "MST_CareerPlan" ALTER COLUMN tenant_id TYPE char(40);
            """
        )
        for tenant_id in ("A", HOSTILE):
            host_rows.tenant(host, tenant_id, tenant_name='=HYPERLINK("x"), "髙橋﨑"\n二行目')
            for number in range(30):
                user = host_rows.user(host, tenant_id, f"{tenant_id}-{number}")
                host_rows.request(host, user, datetime(2026, 10, 1))
            host_rows.report(host, tenant_id, datetime(2026, 10, 2))
            _plant_settings(host, tenant_id)
        host_rows.tenant(host, "GONE", status="deleted")
    return Backups(database, root)


def _plant_settings(host: psycopg.Connection, tenant_id: str) -> None:
    """Two rows of A, and three of another tenant, in tables whose tenant columns have different types of strings."""
    for number in range(2 if tenant_id == "A" else 3):
        key = f"{tenant_id}-{number}"
        own = {"tenant_id": tenant_id, "updated_at": host_rows.UPDATED_AT}
        host_rows.insert(host, "MST_CareerPlan", career_plan_id=key, **own)
        host_rows.insert(host, "MST_Department", department_code=key, **own)
        host_rows.insert(host, "MST_RolePermission", id=key, **own)
        host_rows.insert(host, "MST_UserRole", id=key, user_id=key, role_id="r", **own)


def flip(path: Path) -> None:
    """Change one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


class Migration:
    """Runs a statement in a thread, as another session."""

    def __init__(self, database: Database, statement: str) -> None:
        self.is_done = False
        self._database = database
        self._statement = statement
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Start, and wait until the statement has ended or waits for a lock."""
        self._thread.start()
        wait_until(
            lambda: self.is_done or is_blocked(self._database), "the migration has ended or waits for a lock"
        )

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join(60)
        assert self.is_done

    def _run(self) -> None:
        with self._database.connect() as connection:
            connection.execute(self._statement.encode())
        self.is_done = True


def is_blocked(database: Database) -> bool:
    with database.connect() as connection:
        return (
            connection.execute(
                "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ).rowcount
            > 0
        )


def migration_after_pg_dump(database: Database, monkeypatch: pytest.MonkeyPatch) -> Migration:
    """A migration that starts when pg_dump has ended, and waits for the locks of the snapshot."""
    migration = Migration(database, ADD_COLUMN)
    pg_dump = DatabaseServer.dump

    def then_migrate(
        server: DatabaseServer, snapshot: str, folder: Path, jobs: int
    ) -> Generator[Path | None, None, None]:
        yield from pg_dump(server, snapshot, folder, jobs)
        migration.start()

    monkeypatch.setattr(DatabaseServer, "dump", then_migrate)
    return migration
