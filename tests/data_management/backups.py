"""Taking and restoring backups in tests: real pg_dump, real databases, real files; only Airflow is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from psycopg.conninfo import make_conninfo

from include.catalog import DATA_BACKUP
from include.data_management.data_backup.batch import DataBackupBatch
from include.data_management.data_backup.files import Packer
from include.data_management.data_backup.server import DatabaseServer
from include.errors import ConnectionMissingError
from include.execution.object_store import ObjectStore
from include.execution.run_log import RunResult, close_execution
from include.execution.tenant_work import Run, process_shard
from include.settings import BackupSettings, load_settings
from local_stack.postgres_server import EmbeddedPostgres
from local_stack.whole_run import open_run
from tests.conftest import Database

TODAY = date(2026, 11, 1)
BIN = str(EmbeddedPostgres.binary("pg_dump").parent)


@dataclass
class TestInstallation:
    """Where this test has its things."""

    __test__ = False

    dsn: str = field(repr=False)
    root: Path
    bin_dir: str = BIN
    secrets: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    def database(self, name: str) -> str:
        assert name == "batch_backup_db"
        return self.dsn

    def secret(self, name: str) -> str:
        if name not in self.secrets:
            raise ConnectionMissingError(f"Airflow の接続 '{name}' が定義されていません。")
        return self.secrets[name]

    def variable(self, name: str) -> str:
        return self.bin_dir if name == "batch_postgres_bin" else self.variables.get(name, "")

    def store(self) -> ObjectStore:
        return ObjectStore(self.root)


@dataclass
class Backups:
    """BATCH-001 on one test's database and folder."""

    database: Database
    root: Path
    settings: BackupSettings = field(default_factory=lambda: load_settings().backup)
    secrets: dict[str, str] = field(default_factory=dict)
    bin_dir: str = BIN
    dsn: str = ""

    @property
    def installation(self) -> TestInstallation:
        return TestInstallation(self.dsn or self.database.dsn, self.root, self.bin_dir, self.secrets)

    @property
    def store(self) -> ObjectStore:
        return ObjectStore(self.root)

    @property
    def server(self) -> DatabaseServer:
        return DatabaseServer(self.dsn or self.database.dsn, self.bin_dir)

    def batch(self) -> DataBackupBatch:
        batch = DataBackupBatch(self.settings)
        batch.install(self.installation)
        return batch

    def packer(self, backup_id: str) -> Packer:
        return Packer(self.store, f"backups/{backup_id}", identity=self.secrets.get("batch_backup_key"))

    def open(
        self,
        day: date = TODAY,
        parameters: Mapping[str, Any] | None = None,
        codes: tuple[str, ...] = (),
        *,
        dry_run: bool = False,
    ) -> tuple[Run, list[str]]:
        with self.database.connect("batch_platform") as platform:
            run, tenants = open_run(
                platform, DATA_BACKUP, self.batch(), day, codes=codes, parameters=parameters, dry_run=dry_run
            )
        return run, [tenant.id for tenant in tenants]

    def first_steps(self, run: Run, store: ObjectStore | None = None) -> None:
        """``dump`` and ``check``."""
        store = None if run.dry_run else store or self.store
        with self.database.connect("batch_platform") as platform:
            self.batch().dump(platform, run, store)
            self.batch().check(platform, run, store)

    def tenants_step(self, run: Run, tenant_ids: list[str]) -> Any:
        with (
            self.database.connect("batch_platform") as platform,
            self.database.connect("batch_tenant") as connection,
        ):
            return process_shard(connection, platform, self.batch(), run, tenant_ids, self.store)

    def close(self, run: Run) -> RunResult:
        with self.database.connect("batch_platform") as platform:
            try:
                if not run.dry_run:
                    self.batch().finish(platform, run, self.store)
            finally:
                result = close_execution(platform, run)
                self.batch().discard(platform, run)
        return result

    def take(self, day: date = TODAY, **parameters: Any) -> str:
        """A whole run; returns the backup's id."""
        run, tenant_ids = self.open(day, parameters)
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
